//! A token bucket that lends: what it has not got yet is waited for, up to a limit.

use std::time::Duration;

use crate::clock::Timestamp;

/// Fills at so much a minute, and holds what fills it in a minute: the throttles are "applied in minute ranges", and
/// what is above them passes for "the first minute or two" (Azure docs, "IoT Hub quotas and throttling").
///
/// The level is counted in the 60,000th parts of one, so that each millisecond fills a whole number of them.
#[derive(Debug)]
pub(super) struct Bucket {
    per_minute: i64,
    /// Below zero by what has been promised and is waited for.
    level: i64,
    filled: Timestamp,
}

impl Bucket {
    pub(super) fn full(per_minute: u64, now: Timestamp) -> Self {
        let per_minute = i64::try_from(per_minute).unwrap_or(i64::MAX).clamp(1, MOST);
        Self {
            per_minute,
            level: per_minute * MINUTE_MILLIS,
            filled: now,
        }
    }

    /// Takes `cost` and says how long to wait for it, at most `longest`; takes nothing if that is not enough.
    pub(super) fn take(&mut self, cost: u64, longest: Duration, now: Timestamp) -> Option<Duration> {
        self.fill(now);
        let cost = i64::try_from(cost).ok()?.checked_mul(MINUTE_MILLIS)?;
        let left = self.level.checked_sub(cost)?;
        let lent = u64::try_from(left.checked_neg()?).unwrap_or(0);
        let wait = Duration::from_millis(lent.div_ceil(self.per_minute.unsigned_abs()));
        if wait > longest {
            return None;
        }
        self.level = left;
        Some(wait)
    }

    fn fill(&mut self, now: Timestamp) {
        // A clock that was turned back fills nothing, and goes on from where it is.
        let passed = now.as_millis().saturating_sub(self.filled.as_millis()).max(0);
        self.filled = now;
        let full = self.per_minute * MINUTE_MILLIS;
        self.level = self
            .level
            .saturating_add(self.per_minute.saturating_mul(passed))
            .min(full);
    }
}

const MINUTE_MILLIS: i64 = 60_000;
/// So that a full bucket can be counted.
const MOST: i64 = i64::MAX / MINUTE_MILLIS;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn a_minutes_worth_passes_at_once_then_one_waits_for_each_and_then_none_passes() {
        let mut bucket = Bucket::full(6000, at(0));
        for _ in 0..6000 {
            assert_eq!(bucket.take(1, SECOND, at(0)), Some(Duration::ZERO));
        }
        for waited in 1..=100 {
            assert_eq!(
                bucket.take(1, SECOND, at(0)),
                Some(Duration::from_millis(10 * waited))
            );
        }
        assert_eq!(bucket.take(1, SECOND, at(0)), None);
        // What was refused was not taken: ten milliseconds later there is room for one.
        assert_eq!(bucket.take(1, SECOND, at(10)), Some(SECOND));
        assert_eq!(bucket.take(1, SECOND, at(10)), None);
    }

    #[test]
    fn an_idle_bucket_holds_a_minutes_worth_and_no_more() {
        let mut bucket = Bucket::full(100, at(0));
        assert_eq!(bucket.take(100, SECOND, at(3_600_000)), Some(Duration::ZERO));
        // 100 a minute: the next one is there after 600 ms.
        assert_eq!(
            bucket.take(1, SECOND, at(3_600_000)),
            Some(Duration::from_millis(600))
        );
    }

    #[test]
    fn a_rate_that_no_millisecond_divides_is_kept_in_the_long_run() {
        let mut bucket = Bucket::full(7, at(0));
        assert_eq!(bucket.take(7, SECOND, at(0)), Some(Duration::ZERO));
        let mut taken = 0;
        for millis in 0..=600_000 {
            taken += u32::from(bucket.take(1, Duration::ZERO, at(millis)).is_some());
        }
        assert_eq!(taken, 70);
    }

    #[test]
    fn a_clock_that_is_turned_back_fills_nothing_and_goes_on() {
        let mut bucket = Bucket::full(60, at(0));
        assert_eq!(bucket.take(60, SECOND, at(0)), Some(Duration::ZERO));
        assert_eq!(bucket.take(1, Duration::ZERO, at(-5000)), None);
        assert_eq!(bucket.take(1, Duration::ZERO, at(-4000)), Some(Duration::ZERO));
    }

    #[test]
    fn no_cost_is_too_large_to_be_refused() {
        let mut bucket = Bucket::full(u64::MAX, at(0));
        assert_eq!(bucket.take(u64::MAX, SECOND, at(0)), None);
        assert_eq!(bucket.take(1, SECOND, at(0)), Some(Duration::ZERO));
    }
}
