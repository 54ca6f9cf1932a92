//! Throttles and the daily quota: what a hub of some tier and size lets through, and how fast.

mod bucket;
mod quota;
mod table;

use std::time::Duration;

use self::bucket::Bucket;
use self::quota::Quota;
pub use self::table::Tier;
pub(crate) use self::table::{Operation, Row};
use crate::clock::Timestamp;

/// What a hub lets through. Without a tier: everything, at once.
#[derive(Debug, Default)]
pub(crate) struct Limits(Option<Metered>);

/// The meters of a hub that has a tier.
#[derive(Debug)]
struct Metered {
    tier: Tier,
    /// One for each of [`table::ROWS`], in that order.
    buckets: [Bucket; table::ROWS.len()],
    quota: Quota,
}

/// What becomes of something that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Now,
    /// It is queued, and its answer is due then.
    At(Timestamp),
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The throttle's queue is full.
    Throttled(&'static Row),
    /// The day's messages are used up; the next day begins in UTC.
    Quota { per_day: u64 },
}

impl Limits {
    /// Whether there is anything to count.
    pub(crate) const fn are_off(&self) -> bool {
        self.0.is_none()
    }

    /// How many jobs may be active at once.
    pub(crate) fn active_jobs(&self) -> Option<usize> {
        self.0.as_ref().map(|metered| metered.tier.active_jobs())
    }

    /// As of a hub that has been idle until `now`.
    pub(crate) fn of(tier: Tier, units: u16, now: Timestamp) -> Self {
        let units = tier.units(units);
        Self(Some(Metered {
            tier,
            buckets: table::ROWS
                .each_ref()
                .map(|row| Bucket::full(row.per_minute(tier, units), now)),
            quota: Quota::of(tier, units, now),
        }))
    }

    /// One operation on messages of these sizes, in bytes: one but for a batch. Throttles count operations, or bytes
    /// where they are metered by size; the quota counts messages by their sizes, where they are charged.
    pub(crate) fn admit(
        &mut self,
        operation: Operation,
        sizes: impl IntoIterator<Item = usize>,
        now: Timestamp,
    ) -> Result<Admission, Excess> {
        let Some(metered) = &mut self.0 else {
            return Ok(Admission::Now);
        };
        let (row, bucket) = table::ROWS
            .iter()
            .zip(&mut metered.buckets)
            .find(|(row, _)| row.operation == operation)
            .expect("each operation has its row");
        let (mut size, mut messages) = (0, 0);
        for each in sizes {
            size += each;
            messages += metered.tier.messages(each);
        }
        if row.charged && !metered.quota.has_left(messages, now) {
            return Err(Excess::Quota {
                per_day: metered.quota.per_day(),
            });
        }
        let Some(wait) = bucket.take(row.cost(size), LONGEST_WAIT, now) else {
            return Err(Excess::Throttled(row));
        };
        if row.charged {
            metered.quota.take(messages);
        }
        Ok(if wait.is_zero() {
            Admission::Now
        } else {
            Admission::At(now + wait)
        })
    }
}

/// How long the tail of a throttle's queue waits; what would wait longer is refused. Azure's documentation says
/// that the queue is limited, and no more.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
