//! Which of a host's addresses is tried when: the race of RFC 8305 ("Happy Eyeballs"), without a socket or a clock.
//!
//! The operating system's resolver gives both families at once and in its order of preference (RFC 6724), so what the
//! RFC says about answers that come one after another has no place here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The addresses that are left, and when the next one starts.
#[derive(Debug)]
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    running: usize,
    next_at: Instant,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Connect to this one too.
    Start(SocketAddr),
    /// Wait for those that were started, but only until then.
    WaitUntil(Instant),
    /// Wait for those that were started; there are no more.
    Wait,
    /// All have failed.
    Lost,
}

impl Race {
    /// `addresses` in the resolver's order.
    pub(super) fn new(addresses: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            waiting: interleave(addresses),
            running: 0,
            next_at: now,
        }
    }

    pub(super) fn next(&mut self, now: Instant) -> Step {
        if now >= self.next_at
            && let Some(address) = self.waiting.pop_front()
        {
            self.running += 1;
            self.next_at = now + ATTEMPT_DELAY;
            return Step::Start(address);
        }
        match (self.waiting.is_empty(), self.running) {
            (true, 0) => Step::Lost,
            (true, _) => Step::Wait,
            (false, _) => Step::WaitUntil(self.next_at),
        }
    }

    /// One that was started has failed: the next need not wait.
    pub(super) fn failed(&mut self, now: Instant) {
        self.running -= 1;
        self.next_at = now;
    }
}

/// The resolver's order, with the two address families taking turns (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

/// RFC 8305 §5: "Connection Attempt Delay".
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn millis(after: u64) -> Duration {
        Duration::from_millis(after)
    }

    #[test]
    fn the_families_take_turns_in_the_resolvers_order() {
        let resolved = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleave(resolved), turns);
    }

    #[test]
    fn the_next_address_starts_a_quarter_of_a_second_after_one_that_says_nothing() {
        let now = Instant::now();
        let both = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let mut race = Race::new(both.clone(), now);
        assert_eq!(race.next(now), Step::Start(both[0]));
        assert_eq!(race.next(now), Step::WaitUntil(now + millis(250)));
        assert_eq!(race.next(now + millis(249)), Step::WaitUntil(now + millis(250)));
        assert_eq!(race.next(now + millis(250)), Step::Start(both[1]));
        assert_eq!(race.next(now + millis(250)), Step::Wait);
    }

    #[test]
    fn the_next_address_starts_at_once_after_one_that_refuses_and_all_that_fail_lose() {
        let now = Instant::now();
        let both = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let mut race = Race::new(both.clone(), now);
        assert_eq!(race.next(now), Step::Start(both[0]));
        race.failed(now + millis(1));
        assert_eq!(race.next(now + millis(1)), Step::Start(both[1]));
        assert_eq!(race.next(now + millis(1)), Step::Wait);
        race.failed(now + millis(2));
        assert_eq!(race.next(now + millis(2)), Step::Lost);
    }

    #[test]
    fn a_host_without_addresses_has_lost() {
        let now = Instant::now();
        assert_eq!(Race::new(Vec::new(), now).next(now), Step::Lost);
    }
}
