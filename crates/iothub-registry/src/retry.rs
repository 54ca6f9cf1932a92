//! Whether a request may be made again, and when: one table, which opens nothing and reads no clock.

use std::time::Duration;

/// What may be done again about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safety {
    /// It changes nothing. Gets, lists, queries, statistics, checks of queries.
    Read,
    /// It changes the hub's state. Done twice, the second answer speaks of the first: a creation would find what it made
    /// itself (409), a change with an ETag its own new one (412), a deletion nothing (404), a purge an empty queue, a change of
    /// `*` perhaps another's change that came between. A creation without keys would moreover leave the caller with
    /// none. So it is made again only if the hub has surely not begun it.
    Write,
    /// It makes a device do something: a direct method.
    Method,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was not sent, for a reason that may pass.
    NotSent,
    /// It was sent, and no answer came.
    Lost,
    /// The hub answered with a status that is no success.
    Status(u16, Option<Duration>),
}

/// How often, and when next.
#[derive(Debug)]
pub(crate) struct Retry {
    safety: Safety,
    attempts: u32,
}

impl Retry {
    pub(crate) const fn new(safety: Safety) -> Self {
        Self { safety, attempts: 0 }
    }

    /// How long to wait before the request is made again; `None` if it is not to be. `dice` is uniform over 0..=255.
    pub(crate) fn after(&mut self, ended: Ended, dice: u8) -> Option<Duration> {
        self.attempts += 1;
        let (first, most) = match (self.safety, ended) {
            (_, Ended::NotSent) => (SHORT, MAX_CONNECTS),
            (Safety::Read, Ended::Lost) => (SHORT, MAX_CONNECTS),
            (Safety::Write | Safety::Method, Ended::Lost) => return None,
            // RFC 6585 §4: the request was not let in. The hub throttles before it does anything (Azure docs, "IoT Hub
            // quotas and throttling").
            (_, Ended::Status(429, _)) => (LONG, MAX_ATTEMPTS),
            // RFC 9110 §15.6.4: the server is "currently unable to handle the request". Of a method it may be the device's
            // connection that was lost on the way.
            (Safety::Read | Safety::Write, Ended::Status(503, _)) => (LONG, MAX_ATTEMPTS),
            // A fault, or a gateway's: what was changed is open.
            (Safety::Read, Ended::Status(408 | 500 | 502 | 504, _)) => (SHORT, MAX_CONNECTS),
            (_, Ended::Status(..)) => return None,
        };
        if self.attempts >= most {
            return None;
        }
        let doubled = first
            .saturating_mul(1 << (self.attempts - 1).min(10))
            .min(LONGEST);
        // Between half of it and all of it, so that many clients do not come back together.
        let own = doubled / 2 + doubled / 2 * u32::from(dice) / 255;
        match ended {
            // What the hub says counts; not sooner, and not together with all whom it says the same.
            Ended::Status(_, Some(wanted)) => Some(wanted + (own - doubled / 2).min(SPREAD)),
            _ => Some(own),
        }
    }
}

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
/// How much later than the hub wants it at most.
const SPREAD: Duration = Duration::from_secs(1);
/// How often a request is made in all while the hub is not reached, or its answers are lost.
const MAX_CONNECTS: u32 = 3;
/// How often in all while the hub wants it later. The deadline may come sooner.
const MAX_ATTEMPTS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn again(safety: Safety, ended: Ended) -> bool {
        Retry::new(safety).after(ended, 0).is_some()
    }

    #[test]
    fn what_may_have_been_done_is_made_again_only_if_it_reads() {
        assert!(again(Safety::Read, Ended::Lost));
        assert!(!again(Safety::Write, Ended::Lost));
        assert!(!again(Safety::Method, Ended::Lost));
        for status in [408, 500, 502, 504] {
            assert!(again(Safety::Read, Ended::Status(status, None)), "{status}");
            assert!(!again(Safety::Write, Ended::Status(status, None)), "{status}");
            assert!(!again(Safety::Method, Ended::Status(status, None)), "{status}");
        }
        assert!(again(Safety::Write, Ended::Status(503, None)));
        assert!(!again(Safety::Method, Ended::Status(503, None)));
    }

    #[test]
    fn what_was_not_let_in_is_made_again() {
        for safety in [Safety::Read, Safety::Write, Safety::Method] {
            assert!(again(safety, Ended::NotSent));
            assert!(again(safety, Ended::Status(429, None)));
        }
    }

    #[test]
    fn a_refusal_is_final() {
        for status in [301, 400, 401, 403, 404, 405, 409, 412, 413, 501] {
            assert!(!again(Safety::Read, Ended::Status(status, None)), "{status}");
        }
    }

    #[test]
    fn the_hub_is_never_asked_before_it_wants() {
        let wanted = Duration::from_secs(7);
        for dice in [0, 128, 255] {
            let mut retry = Retry::new(Safety::Write);
            for _ in 0..9 {
                let wait = retry.after(Ended::Status(429, Some(wanted)), dice).unwrap();
                assert!(
                    (wanted..=wanted + Duration::from_secs(1)).contains(&wait),
                    "{wait:?}"
                );
            }
        }
    }

    #[test]
    fn waits_double_up_to_ten_seconds_and_end() {
        let mut retry = Retry::new(Safety::Read);
        let waits: Vec<_> = std::iter::from_fn(|| retry.after(Ended::Status(503, None), 255))
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(waits, [1000, 2000, 4000, 8000, 10000, 10000, 10000, 10000, 10000]);
    }
}
