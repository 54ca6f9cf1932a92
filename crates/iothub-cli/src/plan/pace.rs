//! When the next message goes: as fast as it can, at a rate, or with a pause between each two.

use std::time::{Duration, Instant};

/// The rhythm of messages.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Between two messages; zero for none.
    every: Duration,
    /// How far behind it may be and still catch up.
    catch_up: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub(crate) const fn unbounded() -> Self {
        Self {
            every: Duration::ZERO,
            catch_up: Duration::ZERO,
            next: None,
        }
    }

    /// So many a time on average: what a slow moment held up is caught up with, as far as it was short.
    pub(crate) const fn rate(every: Duration) -> Self {
        Self {
            every,
            catch_up: CATCH_UP,
            next: None,
        }
    }

    /// At least so long between two.
    pub(crate) const fn interval(every: Duration) -> Self {
        Self {
            every,
            catch_up: Duration::ZERO,
            next: None,
        }
    }

    /// When the next message may go, if not at once.
    pub(crate) fn wait(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    /// One has gone.
    pub(crate) fn gone(&mut self, now: Instant) {
        let due = self.next.unwrap_or(now);
        let earliest = now.checked_sub(self.catch_up).unwrap_or(now);
        self.next = Some(due.max(earliest) + self.every);
    }
}

/// Longer than a timer's grain, shorter than a person sees.
const CATCH_UP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    /// How many go within this time, when it is looked after each millisecond.
    fn count(mut pace: Pace, within: Duration, from: Instant) -> usize {
        let mut gone = 0;
        for millis in 0..within.as_millis() as u64 {
            let now = from + Duration::from_millis(millis);
            while pace.wait(now).is_none() {
                pace.gone(now);
                gone += 1;
            }
        }
        gone
    }

    #[test]
    fn a_rate_holds_on_average_though_timers_are_coarse() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(count(Pace::rate(second / 10_000), second, start), 9_991);
        assert_eq!(count(Pace::rate(second / 7), second, start), 7);
        // Not fewer and not more for as long as it goes on.
        assert_eq!(count(Pace::rate(second / 10), second * 600, start), 6_000);
    }

    #[test]
    fn a_long_halt_is_not_caught_up_with() {
        let start = Instant::now();
        let mut pace = Pace::rate(Duration::from_millis(10));
        pace.gone(start);
        let later = start + Duration::from_secs(60);
        let burst = (0..).take_while(|_| {
            let due = pace.wait(later).is_none();
            pace.gone(later);
            due
        });
        assert_eq!(burst.count(), 11);
    }

    #[test]
    fn an_interval_is_the_least_time_between_two() {
        let start = Instant::now();
        let mut pace = Pace::interval(Duration::from_secs(1));
        assert_eq!(pace.wait(start), None);
        pace.gone(start);
        assert_eq!(pace.wait(start), Some(start + Duration::from_secs(1)));
        let late = start + Duration::from_secs(5);
        assert_eq!(pace.wait(late), None);
        pace.gone(late);
        assert_eq!(pace.wait(late), Some(late + Duration::from_secs(1)));
        // And it is the most too, where nothing else holds them up.
        let second = Duration::from_secs(1);
        assert_eq!(count(Pace::interval(second / 10), second * 600, start), 6_000);
    }
}
