//! The telemetry link: what is handed to it, and what outcomes mean.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::error::{Accepted, Interruption, Phase, SendError};
use crate::recovery::{Operation, Recovery, classify};
use crate::status::Status;

use super::batch::MAX_BATCH_BYTES;
use super::core::Core;
use super::lane::{Lane, LaneState};
use super::ledger::{Certainty, Ledger, Overdue, Window};
use super::slot::Slot;
use super::{Action, Epoch, LaneId, NotHanded, Outcome, TicketId, TransferId};

/// The telemetry of one slot.
#[derive(Debug, Clone)]
pub(super) struct Telemetry {
    pub(super) lane: Lane,
    /// Whether there is to be such a link.
    pub(super) wanted: bool,
    pub(super) ledger: Ledger,
    feed: Feed,
    /// Messages that came back in a row.
    refusals: u32,
    /// A silent link was replaced already.
    settle_timed_out: bool,
    /// The most bytes of a batch: a line may be too slow for the largest to have its outcome in time, however often it is sent.
    batch_bytes: usize,
    /// The hub said that it has too much to do, and has accepted nothing since.
    throttled: bool,
    /// Tickets whose time is up while it is not known whether they were handed over.
    expired: BTreeSet<TicketId>,
    /// The lane was asked to give this transfer back and all behind it; until it has, nothing may be put behind them.
    taken_back: Option<TransferId>,
    /// Nothing more is sent.
    stopped: bool,
}

/// Whether messages are handed over.
#[derive(Debug, Clone)]
enum Feed {
    Open,
    /// Some came back: once nothing flies, and not before then, it goes on with the oldest.
    Paused {
        until: Instant,
    },
    /// The same, and the hub said that it has too much to do: by another link it would have as much.
    Throttled {
        until: Instant,
        why: Interruption,
    },
}

impl Telemetry {
    pub(super) fn new(id: LaneId, wanted: bool) -> Self {
        Self {
            lane: Lane::new(id),
            wanted,
            ledger: Ledger::default(),
            feed: Feed::Open,
            refusals: 0,
            settle_timed_out: false,
            batch_bytes: MAX_BATCH_BYTES,
            throttled: false,
            expired: BTreeSet::new(),
            taken_back: None,
            stopped: false,
        }
    }

    /// A new connection has no past, and the hub is the same.
    pub(super) fn renewed(&mut self, now: Instant) {
        self.lane.forget_losses();
        self.refusals = 0;
        self.settle_timed_out = false;
        self.resume(now);
    }

    /// Ends a pause whose time is up, once nothing flies. Whether there was one to end.
    fn resume(&mut self, now: Instant) -> bool {
        let until = match self.feed {
            Feed::Open => return false,
            Feed::Paused { until } | Feed::Throttled { until, .. } => until,
        };
        let over = now >= until && self.ledger.nothing_out();
        if over {
            self.feed = Feed::Open;
        }
        over
    }

    /// That the hub is left alone, if it is and there is something to be sent to it.
    pub(super) fn throttling(&self) -> Option<Status> {
        match &self.feed {
            Feed::Throttled { until, why } if self.wanted => Some(Status::Throttled {
                why: why.clone(),
                until: *until,
            }),
            _ => None,
        }
    }

    pub(super) fn due(&self, settle_timeout: Duration) -> Option<Instant> {
        let settle = self.ledger.oldest_flying().map(|handed| handed + settle_timeout);
        let paused = match self.feed {
            Feed::Paused { until } | Feed::Throttled { until, .. }
                if self.lane.is_up() && self.ledger.nothing_out() =>
            {
                Some(until)
            }
            _ => None,
        };
        [settle, paused, self.lane.due()].into_iter().flatten().min()
    }
}

impl Slot {
    /// Ends tickets whose time is up.
    pub(super) fn expire(&mut self, core: &mut Core, now: Instant) {
        while let Some((ticket, limit, known)) = self.telemetry.ledger.overdue(now) {
            let timed_out = |phase| Interruption::TimedOut { phase, after: limit };
            // While there is no link, why there is none says more than that the time is up.
            let loss = self.last_loss.clone().filter(|_| !self.telemetry.lane.is_up());
            let result = match known {
                Overdue::NeverHanded => SendError::NotSent(loss.unwrap_or_else(|| timed_out(Phase::Credit))),
                Overdue::Maybe => SendError::Unknown(loss.unwrap_or_else(|| timed_out(Phase::Settle))),
                Overdue::Offered(transfer) if self.telemetry.expired.insert(ticket) => {
                    let telemetry = &mut self.telemetry;
                    let first = telemetry
                        .taken_back
                        .map_or(transfer, |before| before.min(transfer));
                    telemetry.taken_back = Some(first);
                    core.act(Action::TakeBack {
                        lane: telemetry.lane.id,
                        epoch: telemetry.lane.epoch,
                        transfer,
                    });
                    telemetry.ledger.extend(ticket, now + TAKE_BACK_TIMEOUT);
                    continue;
                }
                // The lane does not answer: it may have handed it over.
                Overdue::Offered(_) => SendError::Unknown(timed_out(Phase::Settle)),
            };
            self.complete(core, ticket, Err(result));
        }
    }

    pub(super) fn telemetry_up(&mut self, core: &mut Core, now: Instant) {
        self.statistics.links += 1;
        self.telemetry.resume(now);
        core.backoff.connected(now);
        self.ever_up = true;
        self.report_connected(core);
    }

    /// Goes on after a pause, and hands over what there is room for.
    pub(super) fn advance_feed(&mut self, core: &mut Core, now: Instant) {
        if !self.telemetry.lane.is_up() {
            return;
        }
        if self.telemetry.resume(now) {
            self.report_connected(core);
        }
        self.feed(core);
    }

    fn feed(&mut self, core: &mut Core) {
        if self
            .telemetry
            .taken_back
            .is_some_and(|first| self.telemetry.ledger.has_unhanded_from(first))
        {
            return;
        }
        self.telemetry.taken_back = None;
        while let (LaneState::Up { limit }, Feed::Open) = (&self.telemetry.lane.state, &self.telemetry.feed) {
            let limit = *limit;
            if let Some((ticket, size)) = self.telemetry.ledger.front()
                && limit > 0
                && size as u64 > limit
            {
                self.refuse_too_large(core, ticket, size as u64, limit);
                continue;
            }
            let (flying, mine) = self.telemetry.ledger.out();
            // Who finds others waiting waits behind them; but each may always have one out.
            if flying > 0 && !core.hungry.is_empty() && core.turn != Some(self.id) {
                return self.wait_for_turn(core);
            }
            let window = Window {
                transfers: self.settings.window,
                bytes: mine + core.room(mine),
                batch: self.telemetry.batch_bytes,
            };
            let (id, epoch) = (self.telemetry.lane.id, self.telemetry.lane.epoch);
            let taken = self
                .telemetry
                .ledger
                .take(epoch, window, limit, self.settings.batching);
            let Some((transfer, tickets)) = taken else {
                return self.wait_for_turn(core);
            };
            core.act(Action::Transfer {
                lane: id,
                epoch,
                transfer,
                tickets,
            });
            if core.turn == Some(self.id) {
                return self.wait_for_turn(core);
            }
        }
    }

    /// Gets in line for the room that others take; its own window is no matter of theirs.
    fn wait_for_turn(&self, core: &mut Core) {
        let (flying, _) = self.telemetry.ledger.out();
        let waits = flying < self.settings.window && self.telemetry.ledger.has_queued();
        if waits && core.members > 1 && !core.hungry.contains(&self.id) {
            core.hungry.push_back(self.id);
        }
    }

    pub(super) fn handed(&mut self, transfer: TransferId, now: Instant) {
        self.statistics.transfers += u64::from(self.telemetry.ledger.handed(transfer, now));
    }

    pub(super) fn not_handed(&mut self, core: &mut Core, epoch: Epoch, transfer: TransferId, why: NotHanded) {
        let Some((tickets, is_batch)) = self.telemetry.ledger.land(transfer, epoch) else {
            return;
        };
        for ticket in tickets {
            match why {
                NotHanded::TooLarge { size, limit } if !is_batch => {
                    self.refuse_too_large(core, ticket, size, limit);
                }
                _ => self.requeue(core, vec![ticket], matches!(why, NotHanded::TooLarge { .. })),
            }
        }
    }

    /// The hub has them not: they go again, those whose time was not up before.
    fn requeue(&mut self, core: &mut Core, tickets: Vec<TicketId>, single: bool) {
        let expired = &self.telemetry.expired;
        let (late, again): (Vec<_>, Vec<_>) =
            tickets.into_iter().partition(|ticket| expired.contains(ticket));
        self.telemetry.ledger.requeue(&again, single);
        for ticket in late {
            self.expired_unheard(core, ticket);
        }
    }

    /// Its time was up before, and now it is known where it is.
    fn expired_unheard(&mut self, core: &mut Core, ticket: TicketId) {
        let why = if self.telemetry.stopped {
            Interruption::Stopped
        } else {
            Interruption::TimedOut {
                phase: Phase::Credit,
                after: self.telemetry.ledger.limit(ticket),
            }
        };
        let error = if self.telemetry.ledger.is_maybe(ticket) {
            SendError::Unknown(why)
        } else {
            SendError::NotSent(why)
        };
        self.complete(core, ticket, Err(error));
    }

    pub(super) fn settled(
        &mut self,
        core: &mut Core,
        epoch: Epoch,
        transfer: TransferId,
        outcome: Outcome,
        now: Instant,
    ) {
        let condition = match outcome {
            Outcome::Accepted => return self.accepted(core, transfer),
            Outcome::Rejected(condition) => Some(condition),
            Outcome::Released => None,
        };
        let Some((tickets, is_batch)) = self.telemetry.ledger.land(transfer, epoch) else {
            return; // of a lane of before: the tickets are on their way again
        };
        let recovery = condition
            .as_ref()
            .map_or(Recovery::Retry, |condition| classify(condition, Operation::Send));
        let again = core.settings.recover && recovery != Recovery::GiveUp;
        if again {
            self.requeue(core, tickets, false);
            let why = condition.map_or(Interruption::Closed, Interruption::Refused);
            self.pause(core, recovery, why, now);
        } else if is_batch {
            // Which of them is meant is not said: each gets a word of its own.
            self.requeue(core, tickets, true);
        } else {
            for ticket in tickets {
                let error = condition.clone().map_or(SendError::Released, SendError::Rejected);
                self.complete(core, ticket, Err(error));
            }
        }
    }

    fn accepted(&mut self, core: &mut Core, transfer: TransferId) {
        let (done, before) = self.telemetry.ledger.accepted(transfer);
        self.statistics.duplicates += before as u64;
        self.telemetry.refusals = 0;
        self.telemetry.settle_timed_out = false;
        self.telemetry.batch_bytes = (self.telemetry.batch_bytes + BATCH_GROWTH).min(MAX_BATCH_BYTES);
        if std::mem::take(&mut self.telemetry.throttled) {
            self.backoff.unthrottled();
        }
        for ticket in done {
            self.telemetry.expired.remove(&ticket);
            self.told(core, ticket, Ok(Accepted {}));
        }
    }

    /// Stops handing over for a while, after messages came back.
    fn pause(&mut self, core: &mut Core, recovery: Recovery, why: Interruption, now: Instant) {
        if !self.telemetry.lane.is_up() {
            return;
        }
        let throttled = recovery == Recovery::Throttled;
        // Those that flew together come back together, and count once.
        match self.telemetry.feed {
            Feed::Throttled { .. } => return,
            Feed::Paused { .. } if !throttled => return,
            _ => {}
        }
        self.telemetry.feed = if throttled {
            self.telemetry.throttled = true;
            let until = now + self.backoff.throttled(now);
            Feed::Throttled { until, why }
        } else {
            let tries = self.telemetry.refusals;
            self.telemetry.refusals = tries.saturating_add(1);
            let until = now + self.backoff.pause(tries);
            Feed::Paused { until }
        };
        // What is behind those that came back stays behind them, and does not go to a hub that is to be left alone.
        self.take_back(core);
        if let Some(status) = self.telemetry.throttling() {
            self.report(core, status);
        }
    }

    pub(super) fn settle_overdue(&self, now: Instant) -> bool {
        let oldest = self.telemetry.ledger.oldest_flying();
        oldest.is_some_and(|handed| now >= handed + self.settings.settle_timeout)
    }

    /// The hub says nothing of a message that it has: first the session is suspected, then the connection.
    pub(super) fn settle_timed_out(&mut self, core: &mut Core, now: Instant) {
        let why = Interruption::TimedOut {
            phase: Phase::Settle,
            after: self.settings.settle_timeout,
        };
        if !core.settings.recover {
            return self.give_up(core, why);
        }
        self.telemetry.batch_bytes /= 2;
        let since = self.telemetry.ledger.oldest_flying();
        if std::mem::replace(&mut self.telemetry.settle_timed_out, true) {
            return self.suspect(core, why, since, now);
        }
        // By another link of the same session the engine would send what a closed window has held back of this one, and take
        // what the hub says of it for the word on the new link's transfers.
        self.resession(core, &why, now, now);
        self.relinking(core, why, Recovery::Resession, now);
    }

    fn refuse_too_large(&mut self, core: &mut Core, ticket: TicketId, size: u64, limit: u64) {
        let error = if self.telemetry.ledger.is_maybe(ticket) {
            // An earlier link took it.
            SendError::Unknown(self.last_loss.clone().unwrap_or(Interruption::Closed))
        } else {
            SendError::TooLarge { size, limit }
        };
        self.complete(core, ticket, Err(error));
    }

    /// Takes back what is on the link: it is gone, or is about to go.
    pub(super) fn requeue_all(&mut self, core: &mut Core, certainty: Certainty) {
        self.statistics.resent += self.telemetry.ledger.lost(certainty) as u64;
        if matches!(self.telemetry.feed, Feed::Paused { .. }) {
            self.telemetry.feed = Feed::Open;
        }
        // Those whose time had come were only waiting for the lane's word.
        for ticket in std::mem::take(&mut self.telemetry.expired) {
            self.expired_unheard(core, ticket);
        }
    }

    pub(super) fn complete(
        &mut self,
        core: &mut Core,
        ticket: TicketId,
        result: Result<Accepted, SendError>,
    ) {
        self.telemetry.expired.remove(&ticket);
        if self.telemetry.ledger.complete(ticket) {
            self.told(core, ticket, result);
        }
    }

    /// Passes the outcome on of a ticket that the ledger does not hold, or holds no more.
    pub(super) fn told(&mut self, core: &mut Core, ticket: TicketId, result: Result<Accepted, SendError>) {
        let count = match &result {
            Ok(_) => &mut self.statistics.accepted,
            Err(SendError::NotSent(_) | SendError::Released) => &mut self.statistics.not_sent,
            Err(SendError::Rejected(_) | SendError::TooLarge { .. }) => &mut self.statistics.rejected,
            Err(SendError::Unknown(_)) => &mut self.statistics.unknown,
        };
        *count += 1;
        core.act(Action::Complete(ticket, result));
    }

    /// Nothing more is sent: ends all of which it is known whether it was handed over, and asks the lane for the rest. It
    /// says so before its session or connection has ended.
    pub(super) fn stop_sending(&mut self, core: &mut Core) {
        self.telemetry.stopped = true;
        let why = Interruption::Stopped;
        let known = self.telemetry.ledger.drain_known();
        self.fail(core, known, &why);
        let asked_for = self.take_back(core);
        self.telemetry.expired.extend(asked_for);
    }

    /// Asks the lane for all that it may not have handed over yet: these tickets.
    fn take_back(&mut self, core: &mut Core) -> Vec<TicketId> {
        let telemetry = &mut self.telemetry;
        let Some((transfer, tickets)) = telemetry.ledger.offered() else {
            return Vec::new();
        };
        telemetry.taken_back = Some(transfer);
        core.act(Action::TakeBack {
            lane: telemetry.lane.id,
            epoch: telemetry.lane.epoch,
            transfer,
        });
        tickets
    }

    pub(super) fn fail_all(&mut self, core: &mut Core, why: &Interruption) {
        self.telemetry.expired.clear();
        let all = self.telemetry.ledger.drain();
        self.fail(core, all, why);
    }

    fn fail(&mut self, core: &mut Core, tickets: Vec<(TicketId, bool)>, why: &Interruption) {
        for (ticket, maybe) in tickets {
            let error = if maybe {
                SendError::Unknown(why.clone())
            } else {
                SendError::NotSent(why.clone())
            };
            self.telemetry.expired.remove(&ticket);
            self.told(core, ticket, Err(error));
        }
    }
}

/// How long a lane has to say whether it handed a message over whose time is up. It needs no peer to know.
const TAKE_BACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How much larger the next batch may be after each that has come through: a hub that was silent for a while has batches of
/// the full size again after some sixty, and a line that is too slow for them is tried seldom.
const BATCH_GROWTH: usize = 4 * 1024;
