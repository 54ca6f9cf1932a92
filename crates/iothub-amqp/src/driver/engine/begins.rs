//! Sessions that were given up before the peer had answered their `begin`.
//!
//! The engine forgets one whose future is dropped, and when the answer comes after all it ends the connection, and with it the
//! sessions of everybody. So the answer is kept from it, and the session is ended here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::performative::{ATTACH, BEGIN, END, first_fields, performative};

/// Those of one connection; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Begins(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// On which channel the last `begin` has left, until its answer is here.
    unanswered: Option<u16>,
    /// The channels of those that nobody waits for any more. The engine uses none of them again.
    given_up: BTreeSet<u16>,
    /// The peer's channels of those that it has answered late, until it has ended them.
    late: BTreeSet<u16>,
}

/// What becomes of a frame that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    LeftOut,
    /// It is left out, and answered by the end of the session on this channel of ours.
    Ended(u16),
}

impl Begins {
    /// A `begin` leaves on this channel.
    pub(super) fn leaves(&self, channel: u16) {
        self.lock().unanswered = Some(channel);
    }

    /// Nobody waits any more for the session that was begun last; false if the engine has its answer, or has not asked yet.
    pub(super) fn give_up(&self) -> bool {
        let mut state = self.lock();
        let Some(channel) = state.unanswered.take() else {
            return false;
        };
        state.given_up.insert(channel)
    }

    /// Judges a frame that comes in.
    pub(super) fn judge(&self, frame: &[u8]) -> Fate {
        let Some((theirs, code, fields)) = performative(frame) else {
            return Fate::Passes;
        };
        let mut state = self.lock();
        if code == BEGIN {
            let ours = match first_fields(fields) {
                Ok([[0x60, high, low]]) => u16::from_be_bytes([*high, *low]),
                _ => return Fate::Passes, // no answer
            };
            if state.given_up.remove(&ours) {
                state.late.insert(theirs);
                return Fate::Ended(ours);
            }
            state.unanswered.take_if(|channel| *channel == ours);
            return Fate::Passes;
        }
        match code {
            END if state.late.remove(&theirs) => Fate::LeftOut,
            ATTACH..END if state.late.contains(&theirs) => Fate::LeftOut,
            _ => Fate::Passes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An `end` without an error (§2.7.7).
pub(super) fn end(channel: u16) -> [u8; 12] {
    let [high, low] = channel.to_be_bytes();
    [0, 0, 0, 12, 2, 0, high, low, 0x00, 0x53, END, 0x45]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a `begin` (§2.7.2) of our channel, on the peer's.
    fn answer(ours: u8, theirs: u8) -> Vec<u8> {
        let fields = [0x60, 0, ours, 0x43, 0x52, 8, 0x52, 8];
        let head = [0, 0, 0, 22, 2, 0, 0, theirs, 0x00, 0x53, BEGIN, 0xc0, 9, 4];
        [&head[..], &fields].concat()
    }

    /// A `flow` of a session (§2.7.4).
    fn flow(theirs: u8) -> [u8; 12] {
        [0, 0, 0, 12, 2, 0, 0, theirs, 0x00, 0x53, 0x13, 0x45]
    }

    #[test]
    fn a_session_that_comes_late_is_ended_and_its_channel_is_free_when_the_peer_has_ended_it() {
        let begins = Begins::default();
        begins.leaves(1);
        assert!(begins.give_up());
        // Others come and go meanwhile.
        begins.leaves(2);
        assert_eq!(begins.judge(&answer(2, 7)), Fate::Passes);
        assert_eq!(begins.judge(&answer(1, 5)), Fate::Ended(1));
        assert_eq!(begins.judge(&flow(5)), Fate::LeftOut);
        assert_eq!(begins.judge(&flow(7)), Fate::Passes);
        assert_eq!(begins.judge(&end(7)), Fate::Passes);
        assert_eq!(begins.judge(&end(5)), Fate::LeftOut);
        begins.leaves(3);
        assert_eq!(begins.judge(&answer(3, 5)), Fate::Passes);
        assert_eq!(begins.judge(&flow(5)), Fate::Passes);
    }

    #[test]
    fn what_is_answered_or_was_never_asked_is_not_given_up() {
        let begins = Begins::default();
        assert!(!begins.give_up());
        begins.leaves(1);
        assert_eq!(begins.judge(&answer(1, 1)), Fate::Passes);
        assert!(!begins.give_up());
        assert_eq!(begins.judge(&flow(1)), Fate::Passes);
    }

    #[test]
    fn heartbeats_headers_and_what_is_of_the_connection_pass() {
        let begins = Begins::default();
        begins.leaves(0);
        begins.give_up();
        assert_eq!(begins.judge(&answer(0, 0)), Fate::Ended(0));
        let close = [0, 0, 0, 12, 2, 0, 0, 0, 0x00, 0x53, 0x18, 0x45];
        for frame in [&b"AMQP\x00\x01\x00\x00"[..], &[0, 0, 0, 8, 2, 0, 0, 0], &close] {
            assert_eq!(begins.judge(frame), Fate::Passes);
        }
    }
}
