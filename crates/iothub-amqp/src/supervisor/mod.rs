//! The sans-IO heart of a connection and of all devices on it: it decides everything and touches nothing.
//!
//! It is told what the application wishes and what the driver has found out ([`Input`]), with the time, and says what
//! to do ([`Action`]). It opens nothing, sleeps never, reads no clock, and its dice are seeded: the same inputs give
//! the same actions. Payloads stay outside; it sees tickets and sizes.
//!
//! The connection is one, and each device or module on it, or the service that has it, has a slot of its own: its token, its session, its lanes, its
//! messages, its back-off. What one slot meets ends that slot at the most, unless it is the connection's own fault.
//!
//! Connection, session and link carry counters ([`Epoch`]), so that what is heard of one that is gone is known for
//! stale. Only an acceptance is true whatever epoch brings it.

mod action;
pub mod backoff;
mod batch;
mod core;
mod ids;
mod inbox;
mod input;
mod lane;
mod ledger;
mod line;
mod loss;
mod ordered;
mod principal;
mod puts;
mod roster;
mod slot;
mod telemetry;
mod token;
mod twin;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::config::MAX_DEVICES;
use crate::error::{Interruption, SendError};
use crate::status::Statistics;

use self::core::Core;
pub use action::{Action, Word};
use backoff::{Backoff, Schedule};
pub(crate) use batch::MAX_BATCH_BYTES;
pub use batch::{Batching, MAX_BATCH_MESSAGES};
pub use ids::{DeliveryId, Epoch, LaneId, LaneKind, RequestId, SlotId, TicketId, TransferId};
use inbox::Opening;
pub use input::{Cause, Input, NotHanded, Outcome, Question, TokenLife, Verdict};
use line::Line;
pub use principal::Principal;
pub use puts::MAX_PUTS;
use puts::Puts;
use slot::{Leaving, Slot};
pub use twin::{MAX_REQUESTS, MAX_UNTAKEN};

/// How the connection is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// By SASL PLAIN: the connection is worth its one token, and has one slot.
    Plain,
    /// By tokens put to the `$cbs` node, renewed in place.
    Claims,
    /// By the certificate that TLS shows: there are no tokens.
    Certificate,
}

/// How long the connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It ends with its last slot.
    OfItsSlots,
    /// Until it is closed; while it has no slots, nothing is connected.
    UntilClosed,
}

/// What a supervisor goes by.
#[derive(Debug, Clone)]
pub struct Settings {
    pub sign_in: SignIn,
    pub lifetime: Lifetime,
    /// Whether what is lost is made anew. If not, the first loss is the end.
    pub recover: bool,
    pub schedule: Schedule,
    /// Bounds each step that waits for the peer.
    pub operation_timeout: Duration,
    /// The most bytes of messages that fly at once, of all slots; but each slot may always have one message out.
    pub window_bytes: usize,
    /// For the jitter.
    pub seed: u64,
}

/// What a slot goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSettings {
    pub principal: Principal,
    /// How long a transfer may fly before the link counts as dead.
    pub settle_timeout: Duration,
    /// The most transfers that fly at once.
    pub window: usize,
    pub batching: Batching,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Supervisor {
    core: Core,
    /// Boxed, since a tree's node has room for eleven, and most connections have one.
    slots: BTreeMap<SlotId, Box<Slot>>,
    /// When which slot is to be looked after.
    due: BTreeSet<(Instant, SlotId)>,
    /// Those that leave while others stay.
    going: BTreeSet<SlotId>,
    /// When to stop waiting for outcomes, and to be closed.
    closing: Option<Leaving>,
}

impl Supervisor {
    /// Connects as soon as something joins.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            core: Core {
                backoff: Backoff::new(settings.schedule, settings.seed),
                line: Line::Idle,
                conn: 0,
                attempts: 0,
                puts: Puts::default(),
                members: 0,
                others_out: 0,
                hungry: VecDeque::new(),
                turn: None,
                heard: now,
                fault: None,
                last_loss: None,
                actions: VecDeque::new(),
                settings,
            },
            slots: BTreeMap::new(),
            due: BTreeSet::new(),
            going: BTreeSet::new(),
            closing: None,
        }
    }

    /// Takes a wish or a fact, and decides what follows.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.note(input, now);
        self.handle_timeout(now);
    }

    /// Takes a wish or a fact. What follows is decided by the next [`handle_timeout`](Self::handle_timeout), which is due
    /// at once: for those that come together it is decided together.
    pub fn note(&mut self, input: Input, now: Instant) {
        if input.is_sign_of_life() {
            self.core.heard = now;
        }
        match input {
            Input::Join { slot, settings } => self.join(slot, settings, now),
            Input::Leave { slot, deadline } => self.leave_slot(slot, deadline, now),
            Input::Enqueue {
                slot,
                ticket,
                size,
                deadline,
                limit,
            } => self.enqueue(slot, ticket, size, (deadline, limit), now),
            Input::Withdraw { slot, ticket } => self.with(slot, now, |slot, core, _| {
                if slot.telemetry.ledger.withdraw(ticket) {
                    slot.told(core, ticket, Err(SendError::NotSent(Interruption::Stopped)));
                }
            }),
            Input::Subscribe {
                lane,
                deadline,
                limit,
            } => self.subscribe(lane, Opening { deadline, limit }, now),
            Input::Unsubscribe(lane) => {
                self.with(lane.slot, now, |slot, core, _| slot.unsubscribe(core, lane.kind));
            }
            Input::Answer {
                lane,
                epoch,
                delivery,
                verdict,
            } => self.answer(lane, epoch, delivery, verdict, now),
            Input::Request {
                slot,
                request,
                question,
                deadline,
                limit,
            } => self.request(slot, request, question, (deadline, limit), now),
            Input::Taken(slot) => self.with(slot, now, |slot, _, _| {
                if let Some(twin) = &mut slot.twin {
                    twin.taken();
                }
            }),
            Input::Close { deadline } => self.close(deadline, now),
            Input::Token { slot, result } => {
                self.with(slot, now, |slot, core, now| {
                    if slot.ended.is_none() {
                        slot.token_fetched(core, result, now);
                    }
                });
            }
            Input::Up { conn } => self.up(conn, now),
            Input::TokenPut { conn, put, result } => self.token_put(conn, put, result, now),
            Input::Lost { conn, cause } => self.lost(conn, cause, now),
            Input::Closed { conn, result } => self.closed(conn, result, now),
            Input::SessionEnded { slot } => self.session_ended(slot, now),
            Input::Handed { lane, transfer, .. } => {
                self.stir(lane.slot, now, |slot, _| slot.handed(transfer, now));
            }
            Input::Settled {
                lane,
                epoch,
                transfer,
                outcome,
            } => self.stir(lane.slot, now, |slot, core| {
                slot.settled(core, epoch, transfer, outcome, now);
            }),
            fact => self.lane_fact(fact, now),
        }
    }

    /// What is heard of a lane.
    fn lane_fact(&mut self, fact: Input, now: Instant) {
        let Some(lane) = fact.lane() else { return };
        self.with(lane.slot, now, |slot, core, now| match fact {
            Input::LaneUp { epoch, limit, .. } => slot.lane_up(core, lane.kind, epoch, limit, now),
            Input::LaneLost { epoch, cause, .. } => slot.lane_lost(core, lane.kind, epoch, cause, now),
            Input::SessionSpoilt { epoch, .. } => slot.session_spoilt(core, lane.kind, epoch, now),
            Input::NotHanded {
                epoch, transfer, why, ..
            } => slot.not_handed(core, epoch, transfer, why),
            Input::Arrived { epoch, delivery, .. } => {
                if let Some(inbox) = slot.inboxes.get_mut(&lane.kind) {
                    inbox.arrived(core, epoch, delivery);
                }
            }
            Input::Disposed { epoch, delivery, .. } => {
                if let Some(inbox) = slot.inboxes.get_mut(&lane.kind) {
                    inbox.disposed(core, epoch, delivery);
                }
            }
            Input::Asked { epoch, request, .. } => {
                if let Some(twin) = &mut slot.twin {
                    twin.asked(epoch, request);
                }
            }
            Input::NotAsked {
                epoch,
                request,
                size,
                limit,
                ..
            } => {
                if let Some(twin) = &mut slot.twin {
                    twin.not_asked(core, epoch, request, (size, limit), now);
                }
            }
            Input::Answered {
                epoch,
                request,
                status,
                desired,
                ..
            } => {
                if let Some(twin) = &mut slot.twin {
                    twin.answered(core, &mut slot.backoff, epoch, request, (status, desired), now);
                }
            }
            Input::Changed { epoch, version, .. } => {
                if let Some(twin) = &mut slot.twin {
                    twin.changed(core, epoch, version, now);
                }
            }
            _ => {}
        });
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<_> = self
            .due
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, id)| *id)
            .collect();
        for id in due {
            self.with(id, now, |_, _, _| {});
        }
        self.settle_faults(now);
        self.advance_closing(now);
        self.advance_leaving(now);
        self.advance_line(now);
        self.settle_faults(now);
        self.advance_puts(now);
        self.without_slots(now);
        self.feed_the_hungry(now);
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.core.line.is_ended() {
            return None;
        }
        let leaving = |leaving: Leaving| {
            if leaving.ending {
                leaving.closed_by
            } else {
                leaving.drained_by
            }
        };
        let closing = self.closing.map(|mut closing| {
            closing.ending = self.core.line.is_leaving();
            leaving(closing)
        });
        let going = self.going.iter().filter_map(|id| self.slots.get(id)?.leaving);
        let going = going.map(leaving).min().filter(|_| self.closing.is_none());
        let put = self
            .core
            .puts
            .oldest()
            .map(|(_, put)| put.since + self.core.settings.operation_timeout);
        [
            self.due.first().map(|(at, _)| *at),
            self.core.line.due(),
            put,
            closing,
            going,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What was done so far for a slot; `None` if it has left.
    #[must_use]
    pub fn statistics(&self, slot: SlotId) -> Option<Statistics> {
        self.slots.get(&slot).map(|slot| Statistics {
            waiting: slot.telemetry.ledger.len(),
            attempts: self.core.attempts,
            ..slot.statistics
        })
    }

    /// How many transfers of a slot, and bytes of messages, are out on the present link.
    #[must_use]
    pub fn out(&self, slot: SlotId) -> (usize, usize) {
        self.slots
            .get(&slot)
            .map_or((0, 0), |slot| slot.telemetry.ledger.out())
    }

    /// How many tokens wait for the hub's answer.
    #[must_use]
    pub fn puts_in_flight(&self) -> usize {
        self.core.puts.in_flight()
    }

    /// Whose token was put by this number.
    #[must_use]
    pub fn slot_of_put(&self, put: u32) -> Option<SlotId> {
        self.core.puts.slot(put)
    }

    /// Whether one more may join.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let most = match self.core.settings.sign_in {
            SignIn::Plain | SignIn::Certificate => 1,
            SignIn::Claims => MAX_DEVICES,
        };
        self.core.members < most
    }

    fn settle_faults(&mut self, now: Instant) {
        if let Some(cause) = self.core.fault.take() {
            self.fault(cause, now);
        }
    }

    /// Messages of others have come to their end: who waited for that goes on, one after the other.
    fn feed_the_hungry(&mut self, now: Instant) {
        let mut in_vain = 0;
        while in_vain < self.core.hungry.len() && self.core.others_out < self.core.settings.window_bytes {
            let Some(id) = self.core.hungry.pop_front() else {
                return;
            };
            let before = self.out(id);
            self.core.turn = Some(id);
            self.with(id, now, |_, _, _| {});
            self.core.turn = None;
            in_vain = if self.out(id) == before { in_vain + 1 } else { 0 };
        }
    }

    /// Does something with a slot, and then what follows from it.
    fn with(&mut self, id: SlotId, now: Instant, f: impl FnOnce(&mut Slot, &mut Core, Instant)) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let core = &mut self.core;
        let (_, before) = slot.telemetry.ledger.out();
        core.others_out = core.others_out.saturating_sub(before);
        f(slot, core, now);
        let rests = core.line.is_ended() || core.line.is_leaving();
        if !rests {
            slot.advance(core, now);
        }
        let (_, after) = slot.telemetry.ledger.out();
        core.others_out += after;
        let due = if rests { None } else { slot.due(core) };
        slot.index(&mut self.due, due);
    }

    /// Does something with a slot that is then due at once.
    fn stir(&mut self, id: SlotId, now: Instant, f: impl FnOnce(&mut Slot, &mut Core)) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let core = &mut self.core;
        let (_, before) = slot.telemetry.ledger.out();
        core.others_out = core.others_out.saturating_sub(before);
        f(slot, core);
        let (_, after) = slot.telemetry.ledger.out();
        core.others_out += after;
        if slot.indexed.is_none_or(|due| due > now) {
            slot.index(&mut self.due, Some(now));
        }
    }

    fn each_slot(&mut self, now: Instant, mut f: impl FnMut(&mut Slot, &mut Core, Instant)) {
        let all: Vec<_> = self.slots.keys().copied().collect();
        for id in all {
            self.with(id, now, |slot, core, now| {
                if slot.ended.is_none() {
                    f(slot, core, now);
                }
            });
        }
    }
}
