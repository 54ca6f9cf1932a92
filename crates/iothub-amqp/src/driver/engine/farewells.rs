//! Who was first to end a session or the connection: an error in the answer to this side's own farewell is no verdict.
//!
//! It speaks of what crossed. An engine that hears `end` while it has an `attach` to answer may call that an illegal state, which
//! said of a device would be final. So the answer passes without its error; a peer that has more to say says it again to what
//! is begun anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::performative::{BEGIN, CLOSE, END, first_fields, performative};

/// What this side has ended; the connection's, and clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Farewells(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    /// Sessions, by this side's channel.
    ended: BTreeSet<u16>,
    closed: bool,
}

impl Farewells {
    /// Takes note of what leaves.
    pub(super) fn leaves(&self, channel: u16, code: u8) {
        let mut said = self.lock();
        match code {
            BEGIN => drop(said.ended.remove(&channel)),
            END => drop(said.ended.insert(channel)),
            CLOSE => said.closed = true,
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears the peer's farewells.
#[derive(Debug, Default)]
pub(super) struct Answers {
    farewells: Farewells,
    /// This side's channel of a session, by the peer's.
    ours: BTreeMap<u16, u16>,
}

impl Answers {
    pub(super) fn to(farewells: Farewells) -> Self {
        Self {
            farewells,
            ours: BTreeMap::new(),
        }
    }

    /// This side's channel of the session that the peer has on this one.
    pub(super) fn ours(&self, frame: &[u8]) -> Option<u16> {
        let (channel, ..) = performative(frame)?;
        self.ours.get(&channel).copied()
    }

    /// Takes note of a frame that has come; what is to be passed on in its place, if that is not itself.
    pub(super) fn hear(&mut self, frame: &[u8]) -> Option<[u8; PLAIN]> {
        let (channel, code, fields) = performative(frame)?;
        let answers = match code {
            BEGIN => {
                if let Ok([[0x60, high, low]]) = first_fields(fields) {
                    let ours = u16::from_be_bytes([*high, *low]);
                    self.ours.insert(channel, ours);
                }
                false
            }
            END => {
                let ours = self.ours.remove(&channel)?;
                self.farewells.lock().ended.contains(&ours)
            }
            CLOSE => self.farewells.lock().closed,
            _ => false,
        };
        let [high, low] = channel.to_be_bytes();
        answers.then_some([0, 0, 0, 12, 2, 0, high, low, 0x00, 0x53, code, EMPTY])
    }
}

/// The size of a farewell without an error.
const PLAIN: usize = 12;
/// A list without a field.
const EMPTY: u8 = 0x45;

#[cfg(test)]
mod tests {
    use super::*;

    /// The peer's `begin` on its channel 5 in answer to ours on 7 (§2.7.2).
    const BEGUN: [u8; 19] = [
        0, 0, 0, 19, 2, 0, 0, 5, 0x00, 0x53, BEGIN, 0xc0, 6, 1, 0x60, 0, 7, 0x40, 0x40,
    ];

    /// A farewell on this channel, with `amqp:illegal-state` (§2.7.7, §2.7.9, §2.8.14).
    fn farewell(code: u8, channel: u8) -> Vec<u8> {
        let symbol = b"amqp:illegal-state";
        let head = [
            0x00, 0x53, code, 0xc0, 27, 1, 0x00, 0x53, 0x1d, 0xc0, 21, 1, 0xa3, 18,
        ];
        let size = u8::try_from(8 + head.len() + symbol.len()).unwrap();
        [&[0, 0, 0, size, 2, 0, 0, channel], &head[..], symbol].concat()
    }

    #[test]
    fn an_error_in_the_answer_to_an_end_of_ours_does_not_pass_and_one_that_the_peer_says_first_does() {
        let farewells = Farewells::default();
        let mut answers = Answers::to(farewells.clone());
        let mut hears = |ends_first: bool| {
            farewells.leaves(7, BEGIN);
            assert_eq!(answers.hear(&BEGUN), None);
            if ends_first {
                farewells.leaves(7, END);
            }
            answers.hear(&farewell(END, 5))
        };
        assert_eq!(hears(false), None);
        let plain = [0, 0, 0, 12, 2, 0, 0, 5, 0x00, 0x53, END, EMPTY];
        assert_eq!(hears(true), Some(plain));
        // The next session on these channels is another one.
        assert_eq!(hears(false), None);
    }

    #[test]
    fn the_end_of_one_session_says_nothing_of_another_and_that_of_the_connection_is_its_own() {
        let farewells = Farewells::default();
        let mut answers = Answers::to(farewells.clone());
        assert_eq!(answers.hear(&BEGUN), None);
        farewells.leaves(5, END);
        assert_eq!(answers.hear(&farewell(CLOSE, 0)), None);
        assert_eq!(answers.hear(&farewell(END, 5)), None);
        farewells.leaves(0, CLOSE);
        let plain = [0, 0, 0, 12, 2, 0, 0, 0, 0x00, 0x53, CLOSE, EMPTY];
        assert_eq!(answers.hear(&farewell(CLOSE, 0)), Some(plain));
    }
}
