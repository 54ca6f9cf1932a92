//! What the hub says when more is asked of it than its tier lets through.

use super::Hub;
use super::authentication::AuthFailure;
use super::command::{ConnectionId, Effect};
use super::limits::{Admission, Excess, Operation};
use super::refusal::{Condition, Refusal, code};
use crate::clock::Timestamp;

impl Hub {
    /// Counts a device that has come in by SASL; gives when it is to be told so. One too many is closed as soon as its
    /// connection is open: SASL has no word for it.
    pub(super) fn count_connection(&mut self, from: ConnectionId, now: Timestamp) -> Timestamp {
        match self.limits.admit(Operation::Connect, [], now) {
            Ok(admission) => admission.at(now),
            Err(excess) => {
                let refusal = self.excess(excess, now);
                self.effects.push_back(Effect::Close(from, refusal));
                now
            }
        }
    }

    /// Counts a device that comes in by a token to `$cbs`; gives when it is to be told so.
    pub(super) fn count_token(&mut self, now: Timestamp) -> Result<Timestamp, AuthFailure> {
        match self.limits.admit(Operation::Connect, [], now) {
            Ok(admission) => Ok(admission.at(now)),
            Err(_) => Err(AuthFailure::Throttled),
        }
    }

    /// Counts a request over HTTPS. What waits in a throttle's queue is answered at once: the rate over time is the tier's
    /// all the same.
    pub(crate) fn count_request(
        &mut self,
        operation: Operation,
        size: usize,
        now: Timestamp,
    ) -> Result<(), Excess> {
        self.limits.admit(operation, [size], now).map(drop)
    }

    pub(super) fn excess(&mut self, excess: Excess, now: Timestamp) -> Refusal {
        match excess {
            Excess::Throttled(row) => {
                let text = format!("The throttle of {} was exceeded; try again later.", row.name);
                self.refusals
                    .refuse(Condition::Throttled, code::THROTTLING, text, now)
            }
            Excess::Quota { per_day } => {
                let text = format!(
                    "Total number of messages on the hub exceeded the allocated quota. Max allowed message count: {per_day}."
                );
                self.refusals
                    .refuse(Condition::ResourceLimitExceeded, code::QUOTA_EXCEEDED, text, now)
            }
        }
    }
}

impl Admission {
    /// When the answer is due.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::At(at) => at,
        }
    }
}
