//! The logs that readers read, as a start finds them in a state directory or makes them.

use crate::clock::Timestamp;
use crate::hub::{Event, Feedback, LogLimits, Ring, SharedRing, Showing};
use crate::store::Opened;

/// The event log as far as it is in memory. With a state directory that is its end alone, which readers are mostly
/// at.
pub(crate) fn events(limits: LogLimits, state: Option<&Opened>) -> SharedRing<Event> {
    let Some(state) = state else {
        return SharedRing::new(limits);
    };
    let end = LogLimits {
        entries: limits.entries.min(IN_MEMORY.entries),
        bytes: limits.bytes.min(IN_MEMORY.bytes),
        age: limits.age,
    };
    SharedRing::of(Ring::new(end, state.log.next, Showing::WhenTold))
}

/// The feedback that is kept; the next goes on behind it.
pub(crate) fn feedback(state: Option<&mut Opened>, now: Timestamp) -> SharedRing<Feedback> {
    let Some(state) = state else {
        return SharedRing::new(FEEDBACK_LIMITS);
    };
    let kept = std::mem::take(&mut state.feedback);
    let first = kept.first().map_or(0, |(place, _)| *place);
    let mut ring = Ring::new(FEEDBACK_LIMITS, first, Showing::WhenTold);
    for (_, feedback) in kept {
        let weight = feedback.original_message_id.len();
        ring.push(feedback, weight, now);
    }
    ring.show(u64::MAX);
    SharedRing::of(ring)
}

/// What of the events is in memory beside those in a state directory.
const IN_MEMORY: LogLimits = LogLimits::new(8192, 4 * 1024 * 1024);
/// How much feedback is kept.
const FEEDBACK_LIMITS: LogLimits = LogLimits::new(10_000, 16 * 1024 * 1024);
