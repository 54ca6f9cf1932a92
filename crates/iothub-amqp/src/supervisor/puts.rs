//! The tokens that are on their way to the one `$cbs` node of a connection, and what its silence means.
//!
//! A hub that leaves one device's token without an answer is no matter of the others on the connection. But of a node that answers
//! nobody any more nothing else would tell: messages flow on, and one device after the other loses its token. So others whose tokens
//! hold put them once more when it is silent: if it answers any, it lives, and if it does not, the connection is replaced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::error::{Interruption, Phase};
use crate::recovery::Recovery;

use super::slot::{Access, Slot};
use super::{Action, Cause, SlotId, Supervisor};

#[derive(Debug, Clone, Default)]
pub(super) struct Puts {
    waiting: VecDeque<SlotId>,
    flying: BTreeMap<u32, Put>,
    /// Counts those of all connections, so that a late answer is known for one.
    last: u32,
    /// When the node has last answered anything.
    heard: Option<Instant>,
    /// Whose tokens it has taken before, and leaves without an answer now; nobody has had one meanwhile.
    silent: BTreeSet<SlotId>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Put {
    pub(super) slot: SlotId,
    pub(super) since: Instant,
}

/// What it means that a token has had no answer.
enum Silence {
    /// That is its own device's matter.
    OfOne,
    /// Whether it is the connection's is judged as of whatever is not answered.
    Unknown,
    /// The node answers nobody.
    OfAll,
}

impl Puts {
    pub(super) fn queue(&mut self, slot: SlotId) {
        self.waiting.push_back(slot);
    }

    /// The next one that may go, by its number.
    fn next(&mut self, now: Instant) -> Option<(u32, SlotId)> {
        if self.flying.len() >= MAX_PUTS {
            return None;
        }
        let slot = self.waiting.pop_front()?;
        self.last += 1;
        self.flying.insert(self.last, Put { slot, since: now });
        Some((self.last, slot))
    }

    /// The oldest that has no answer.
    pub(super) fn oldest(&self) -> Option<(u32, Put)> {
        self.flying.first_key_value().map(|(number, put)| (*number, *put))
    }

    pub(super) fn forget(&mut self, slot: SlotId) {
        self.waiting.retain(|waiting| *waiting != slot);
        self.flying.retain(|_, put| put.slot != slot);
        self.silent.remove(&slot);
    }

    /// The connection is gone, or is about to go.
    pub(super) fn clear(&mut self) {
        *self = Self {
            last: self.last,
            ..Self::default()
        };
    }

    pub(super) fn slot(&self, put: u32) -> Option<SlotId> {
        self.flying.get(&put).map(|put| put.slot)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flying.len()
    }
}

impl Supervisor {
    pub(super) fn token_put(&mut self, conn: u32, put: u32, result: Result<(), Cause>, now: Instant) {
        if conn != self.core.conn {
            return;
        }
        let puts = &mut self.core.puts;
        if result.as_ref().err().is_none_or(Cause::is_of_peer) {
            puts.heard = Some(now);
            puts.silent.clear();
        }
        if let Some(put) = puts.flying.remove(&put) {
            self.with(put.slot, now, |slot, core, now| slot.token_put(core, result, now));
        }
    }

    /// Puts tokens as the queue allows, and gives up on those that have no answer.
    pub(super) fn advance_puts(&mut self, now: Instant) {
        if !self.core.is_up() {
            return;
        }
        let after = self.core.settings.operation_timeout;
        while let Some((number, put)) = self.core.puts.oldest()
            && now >= put.since + after
        {
            self.core.puts.flying.remove(&number);
            let since = match self.silence(put, now) {
                Silence::OfAll if self.core.settings.recover && self.core.heard > put.since => {
                    self.core.retire(now);
                    return self.advance_line(now);
                }
                Silence::OfOne => None,
                Silence::OfAll | Silence::Unknown => Some(put.since),
            };
            let phase = Phase::Token;
            let why = Interruption::TimedOut { phase, after };
            let recovery = Recovery::Reconnect;
            self.with(put.slot, now, |slot, core, now| {
                slot.not_put(core, Cause { why, recovery }, since, now);
            });
            self.settle_faults(now);
        }
        while let Some((put, slot)) = self.core.is_up().then(|| self.core.puts.next(now)).flatten() {
            if self.slots.get(&slot).is_some_and(|slot| slot.can_put(now)) {
                let conn = self.core.conn;
                self.core.act(Action::PutToken { conn, put, slot });
            } else {
                self.core.puts.flying.remove(&put);
                self.with(slot, now, |slot, _, now| slot.put_too_late(now));
                self.settle_faults(now);
            }
        }
    }

    /// What it means that this one has had no answer. If the node may be dead, others are to tell.
    ///
    /// Only a device whose token was taken on this very connection counts, so that those which never have an answer cost the others
    /// no connection, however many they are; and each replacement is preceded by an answer to each that counts for it.
    fn silence(&mut self, put: Put, now: Instant) -> Silence {
        let puts = &mut self.core.puts;
        if puts.heard.is_some_and(|heard| heard > put.since) {
            return Silence::Unknown;
        }
        let is_granted = |slot: &Slot| slot.access == Access::Granted;
        if self.slots.get(&put.slot).is_some_and(|slot| is_granted(slot)) {
            puts.silent.insert(put.slot);
        }
        let mut granted: Vec<_> = self.slots.values_mut().filter(|slot| is_granted(slot)).collect();
        let enough = granted.len().min(WITNESSES);
        if enough == 0 {
            return Silence::Unknown;
        }
        let Some(more) = enough.checked_sub(puts.silent.len()).filter(|more| *more > 0) else {
            return Silence::OfAll;
        };
        granted.retain(|slot| !puts.silent.contains(&slot.id));
        let asked = granted.iter().filter(|slot| slot.is_renewing()).count();
        let able = granted.iter_mut().filter(|slot| slot.can_put_again(now));
        let mut asking = 0;
        for slot in able.take(more.saturating_sub(asked)) {
            slot.put_again();
            puts.waiting.push_front(slot.id);
            asking += 1;
        }
        if asked + asking > 0 {
            Silence::OfOne
        } else {
            Silence::Unknown
        }
    }
}

/// How many tokens may wait for the hub's answer at once.
pub const MAX_PUTS: usize = 30;

/// How many devices have to find that the node answers nobody; where there are fewer, all of them.
const WITNESSES: usize = 2;
