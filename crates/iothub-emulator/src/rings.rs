//! The logs that readers read, as a start finds them in a state directory or makes them.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::hub::{Event, Feedback, Heads, LogLimits, Place, Ring, SharedRing, Showing};
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

/// The last event of each partition. With a state directory that means reading its log from behind, as far as it takes to
/// find one of each that ever had one.
pub(crate) fn heads(partitions: &[Place], state: Option<&Opened>) -> Heads {
    let ever = partitions.iter().enumerate();
    let ever = ever.filter(|(_, next)| next.sequence_number() > 0);
    let mut wanted: BTreeSet<_> = ever
        .filter_map(|(number, _)| u16::try_from(number).ok())
        .collect();
    let last = state.map(|state| state.archive.last_of(&mut wanted));
    Heads::new(partitions, last.unwrap_or_default())
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
