//! When to try again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::within_reason;

/// How eagerly connections are made anew.
///
/// Whatever it says, no more than six attempts are made within a minute.
///
/// # Delivery
/// It says when, and not what: whatever it is, what was on its way at a loss is sent again first and in order.
///
/// # Cancel safety
/// Attempts come by it whoever waits: a dropped future brings none forward and holds none up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    spread: Duration,
    first: Duration,
    longest: Duration,
    pub(super) healthy: Duration,
}

impl Schedule {
    /// The first attempt after a loss comes at an even chance within this time. Default 10 s. Shorter is back sooner;
    /// with many devices it makes a hub that restarts see all of them at once.
    #[must_use]
    pub fn spread(mut self, spread: Duration) -> Self {
        self.spread = within_reason(spread);
        self
    }

    /// The most that the second attempt waits; it doubles with each further one, and each waits an even chance of it.
    /// Default 1 s.
    #[must_use]
    pub fn first(mut self, first: Duration) -> Self {
        self.first = within_reason(first);
        self
    }

    /// The most that any attempt waits. Default 60 s.
    #[must_use]
    pub fn longest(mut self, longest: Duration) -> Self {
        self.longest = within_reason(longest);
        self
    }

    /// After a connection has held this long, the next loss counts as the first. Default 60 s.
    #[must_use]
    pub fn healthy(mut self, healthy: Duration) -> Self {
        self.healthy = within_reason(healthy);
        self
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            spread: Duration::from_secs(10),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            healthy: Duration::from_secs(60),
        }
    }
}

/// Picks the times of attempts: spread, then full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog,
/// 2015), its own slower schedule for throttling, and never more than [`MAX_ATTEMPTS`] within [`ATTEMPTS_WINDOW`].
///
/// It reads no clock, and its dice are its own: the same seed and calls give the same times.
#[derive(Debug, Clone)]
pub struct Backoff {
    schedule: Schedule,
    dice: Dice,
    /// Losses in a row without a time of health between them.
    losses: u32,
    throttlings: u32,
    /// When the present connection came up, or throttling was last heard of.
    up: Option<Instant>,
    throttled: Option<Instant>,
    /// The last attempts, the oldest first.
    attempts: VecDeque<Instant>,
}

impl Backoff {
    /// Nothing was tried yet.
    #[must_use]
    pub fn new(schedule: Schedule, seed: u64) -> Self {
        Self {
            schedule,
            dice: Dice(seed),
            losses: 0,
            throttlings: 0,
            up: None,
            throttled: None,
            attempts: VecDeque::with_capacity(MAX_ATTEMPTS),
        }
    }

    /// An attempt is made now.
    pub fn attempted(&mut self, now: Instant) {
        if self.attempts.len() == MAX_ATTEMPTS {
            self.attempts.pop_front();
        }
        self.attempts.push_back(now);
    }

    /// The connection is of use. That it was so before counts.
    pub fn connected(&mut self, now: Instant) {
        self.up.get_or_insert(now);
    }

    /// The connection, or the attempt at one, has failed: when to make the next attempt.
    pub fn lost(&mut self, now: Instant) -> Instant {
        if self
            .up
            .take()
            .is_some_and(|up| now.saturating_duration_since(up) >= self.schedule.healthy)
        {
            self.losses = 0;
        }
        let most = match self.losses {
            0 => self.schedule.spread,
            losses => doubled(self.schedule.first, losses - 1, self.schedule.longest),
        };
        self.losses = self.losses.saturating_add(1);
        let at = now + self.dice.up_to(most);
        self.allowed(at)
    }

    /// The hub throttles: how long to leave it alone. Between half of the step and all of it, so that nobody comes
    /// back at once.
    pub fn throttled(&mut self, now: Instant) -> Duration {
        if self
            .throttled
            .replace(now)
            .is_some_and(|last| now.saturating_duration_since(last) >= 2 * THROTTLE_LONGEST)
        {
            self.throttlings = 0;
        }
        let step = doubled(THROTTLE_FIRST, self.throttlings, THROTTLE_LONGEST);
        self.throttlings = self.throttlings.saturating_add(1);
        step / 2 + self.dice.up_to(step / 2)
    }

    /// The hub takes messages again.
    pub fn unthrottled(&mut self) {
        self.throttlings = 0;
    }

    /// How long to wait before the try of this number (from 0) at something smaller than a connection: none before the
    /// first, then full jitter on the same steps.
    pub fn pause(&mut self, tries: u32) -> Duration {
        match tries {
            0 => Duration::ZERO,
            _ => self
                .dice
                .up_to(doubled(self.schedule.first, tries - 1, self.schedule.longest)),
        }
    }

    /// The first time from `at` on at which an attempt keeps within the bound.
    #[must_use]
    pub fn allowed(&self, at: Instant) -> Instant {
        match self.attempts.front() {
            Some(oldest) if self.attempts.len() == MAX_ATTEMPTS => at.max(*oldest + ATTEMPTS_WINDOW),
            _ => at,
        }
    }

    /// A share of `whole`, anywhere between these two, in thousandths.
    pub(super) fn share(&mut self, whole: Duration, from: u32, to: u32) -> Duration {
        let thousandth = whole / 1000;
        thousandth * from + self.dice.up_to(thousandth * (to - from))
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first
        .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
        .min(longest)
}

/// SplitMix64 (Steele, Lea and Flood, 2014): nothing secret hangs on these dice.
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From nothing to `most`, evenly.
    fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = (u128::from(self.throw()) * (most.as_nanos() + 1)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The most attempts at a connection within [`ATTEMPTS_WINDOW`]. All addresses of one dial are one attempt.
pub const MAX_ATTEMPTS: usize = 6;

/// See [`MAX_ATTEMPTS`].
pub const ATTEMPTS_WINDOW: Duration = Duration::from_secs(60);

/// The first step of the schedule for throttling: the least that Node's slow policy waits.
const THROTTLE_FIRST: Duration = Duration::from_secs(10);
const THROTTLE_LONGEST: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    proptest! {
        #[test]
        fn each_attempt_waits_at_most_its_step(seed: u64, losses in 1_u32..40) {
            let now = Instant::now() + seconds(3600);
            let mut backoff = Backoff::new(Schedule::default(), seed);
            for loss in 0..losses {
                let wait = backoff.lost(now) - now;
                let most = if loss == 0 { 10 } else { (1 << (loss - 1).min(10)).min(60) };
                prop_assert!(wait <= seconds(most), "loss {loss}: {wait:?}");
            }
        }

        #[test]
        fn no_minute_sees_more_than_six_attempts(seed: u64, holds in prop::collection::vec(0_u64..90, 1..60)) {
            let mut now = Instant::now();
            let mut backoff = Backoff::new(Schedule::default(), seed);
            let mut attempts = Vec::new();
            for hold in holds {
                backoff.attempted(now);
                attempts.push(now);
                backoff.connected(now);
                now += seconds(hold);
                now = backoff.lost(now);
            }
            for window in attempts.windows(MAX_ATTEMPTS + 1) {
                prop_assert!(window[MAX_ATTEMPTS] - window[0] >= ATTEMPTS_WINDOW);
            }
        }

        #[test]
        fn a_minute_of_health_makes_the_next_loss_the_first(seed: u64, before in 0_u32..20, hold in 0_u64..200) {
            let mut now = Instant::now();
            let mut steady = Backoff::new(Schedule { spread: Duration::ZERO, ..Schedule::default() }, seed);
            for _ in 0..=before {
                steady.lost(now);
            }
            steady.connected(now);
            now += seconds(hold);
            let at_once = steady.lost(now) == now;
            // With no spread, only the first attempt after a time of health comes at once; the others roll dice.
            prop_assert_eq!(at_once, hold >= 60);
        }

        #[test]
        fn throttling_waits_longer_and_longer_and_never_nothing(seed: u64) {
            let now = Instant::now();
            let mut backoff = Backoff::new(Schedule::default(), seed);
            for step in [10, 20, 40, 80, 160, 300, 300] {
                let wait = backoff.throttled(now);
                prop_assert!(wait >= seconds(step) / 2 && wait <= seconds(step), "{wait:?}");
            }
            backoff.unthrottled();
            prop_assert!(backoff.throttled(now) <= seconds(10));
        }

        #[test]
        fn the_same_seed_gives_the_same_times(seed: u64) {
            let now = Instant::now();
            let times = |mut backoff: Backoff| (0..20).map(|_| backoff.lost(now)).collect::<Vec<_>>();
            let made = || Backoff::new(Schedule::default(), seed);
            prop_assert_eq!(times(made()), times(made()));
        }
    }

    #[test]
    fn a_thousand_clients_come_back_evenly_over_ten_seconds() {
        let now = Instant::now();
        let mut tenths = [0; 10];
        for seed in 0..1000_u64 {
            let wait = Backoff::new(Schedule::default(), seed.wrapping_mul(0x9e37)).lost(now) - now;
            tenths[(wait.as_secs() as usize).min(9)] += 1;
        }
        // 15 % of the clients in any second is what the hub is asked to bear.
        assert!(
            tenths.iter().all(|count| (60..=150).contains(count)),
            "{tenths:?}"
        );
    }
}
