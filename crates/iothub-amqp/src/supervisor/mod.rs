//! The sans-IO heart of a client: it decides everything and touches nothing.
//!
//! It is told what the application wishes and what the driver has found out ([`Input`]), with the time, and says what
//! to do ([`Action`]). It opens nothing, sleeps never, reads no clock, and its dice are seeded: the same inputs give
//! the same actions. Payloads stay outside; it sees tickets and sizes.
//!
//! Connection, session and link carry counters ([`Epoch`]), so that what is heard of one that is gone is known for
//! stale. Only an acceptance is true whatever epoch brings it.

mod action;
pub mod backoff;
mod batch;
mod input;
mod lane;
mod ledger;
mod line;
mod token;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::error::{Accepted, Interruption, Phase, SendError};
use crate::status::{Statistics, Status};

pub use action::Action;
use backoff::{Backoff, Schedule};
pub use batch::{Batching, MAX_BATCH_MESSAGES};
pub use input::{Cause, Input, NotHanded, Outcome, TokenLife};
use lane::{Lane, LaneHealth};
use ledger::{Ledger, Overdue};
use line::Line;
use token::Token;

/// A message, by the order in which it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u64);

/// One or more messages in one AMQP transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// Which connection, which session on it and which link on that. Each counter only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch {
    pub conn: u32,
    pub session: u32,
    pub lane: u32,
}

/// How the connection is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// By SASL PLAIN: the connection is worth its one token.
    Plain,
    /// By tokens put to the `$cbs` node, renewed in place.
    Claims,
}

/// What a supervisor goes by.
#[derive(Debug, Clone)]
pub struct Settings {
    pub sign_in: SignIn,
    /// Whether what is lost is made anew. If not, the first loss is the end.
    pub recover: bool,
    pub schedule: Schedule,
    /// Bounds each step that waits for the peer.
    pub operation_timeout: Duration,
    /// How long a transfer may fly before the link counts as dead.
    pub settle_timeout: Duration,
    /// The most transfers, and bytes, that fly at once.
    pub window: usize,
    pub window_bytes: usize,
    pub batching: Batching,
    /// For the jitter.
    pub seed: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Supervisor {
    settings: Settings,
    backoff: Backoff,
    ledger: Ledger,
    line: Line,
    lane: Lane,
    lane_health: LaneHealth,
    /// When another client took the link, within the last minute.
    thefts: VecDeque<Instant>,
    token: Token,
    epoch: Epoch,
    /// The link has been up once: from now on losses are recovered from.
    ever_up: bool,
    /// When to stop waiting for outcomes, and to be closed.
    closing: Option<Closing>,
    /// Tickets whose time is up while it is not known whether they were handed over.
    expired: BTreeSet<TicketId>,
    /// The lane was asked to give this transfer back and all behind it; until it has, nothing may be put behind them.
    taken_back: Option<TransferId>,
    /// Why the last connection, session or link ended.
    last_loss: Option<Interruption>,
    status: Status,
    statistics: Statistics,
    actions: VecDeque<Action>,
}

#[derive(Debug, Clone, Copy)]
struct Closing {
    drained_by: Instant,
    closed_by: Instant,
    limit: Duration,
}

impl Supervisor {
    /// Connects as soon as it is told the time.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            backoff: Backoff::new(settings.schedule, settings.seed),
            ledger: Ledger::default(),
            line: Line::Down { until: now },
            lane: Lane::Absent,
            lane_health: LaneHealth::default(),
            thefts: VecDeque::new(),
            token: Token::default(),
            epoch: Epoch::default(),
            ever_up: false,
            closing: None,
            expired: BTreeSet::new(),
            taken_back: None,
            last_loss: None,
            status: Status::Connecting,
            statistics: Statistics::default(),
            actions: VecDeque::new(),
            settings,
        }
    }

    /// Takes a wish or a fact.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Enqueue {
                ticket,
                size,
                deadline,
                limit,
            } => self.enqueue(ticket, size, deadline, limit),
            Input::Withdraw(ticket) => {
                if self.ledger.withdraw(ticket) {
                    self.told(ticket, Err(SendError::NotSent(Interruption::Stopped)));
                }
            }
            Input::Close { deadline } => self.close(deadline, now),
            Input::Token(result) => self.token_fetched(result, now),
            Input::Up { conn } => self.up(conn, now),
            Input::TokenPut { conn, put, result } => self.token_put(conn, put, result, now),
            Input::Lost { conn, cause } => self.lost(conn, cause, now),
            Input::Closed { conn, result } => self.closed(conn, result, now),
            Input::LaneUp { epoch, limit } => self.lane_up(epoch, limit, now),
            Input::LaneLost { epoch, cause } => self.lane_lost(epoch, cause, now),
            Input::Handed { transfer, .. } => self.ledger.handed(transfer, now),
            Input::NotHanded { epoch, transfer, why } => self.not_handed(epoch, transfer, why),
            Input::Settled {
                epoch,
                transfer,
                outcome,
            } => self.settled(epoch, transfer, outcome, now),
        }
        self.handle_timeout(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
        self.advance_closing(now);
        self.advance_line(now);
        self.advance_token(now);
        self.advance_lane(now);
        self.statistics.waiting = self.ledger.len();
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.line.is_ended() {
            return None;
        }
        let closing = self.closing.map(|closing| {
            if self.line.is_leaving() {
                closing.closed_by
            } else {
                closing.drained_by
            }
        });
        [
            self.ledger.next_deadline(),
            self.line.due(),
            self.token_due(),
            self.lane_due(),
            closing,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What was done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// How many transfers, and bytes of messages, are out on the present link.
    #[must_use]
    pub fn out(&self) -> (usize, usize) {
        self.ledger.out()
    }

    fn enqueue(&mut self, ticket: TicketId, size: usize, deadline: Instant, limit: Duration) {
        let ended = if self.closing.is_some() {
            Some(Interruption::Stopped)
        } else {
            self.line.ended_because().cloned()
        };
        match ended {
            Some(why) => self.told(ticket, Err(SendError::NotSent(why))),
            None => self.ledger.enter(ticket, size, deadline, limit),
        }
    }

    fn close(&mut self, deadline: Instant, now: Instant) {
        if self.closing.is_some() || self.line.is_ended() {
            return;
        }
        let limit = deadline.saturating_duration_since(now);
        self.closing = Some(Closing {
            // The farewell needs a share of the time too.
            drained_by: deadline - (limit / 2).min(FAREWELL),
            closed_by: deadline,
            limit,
        });
        self.report(Status::Closing);
    }

    /// Ends tickets whose time is up.
    fn expire(&mut self, now: Instant) {
        while let Some((ticket, limit, known)) = self.ledger.overdue(now) {
            let timed_out = |phase| Interruption::TimedOut { phase, after: limit };
            // While there is no link, why there is none says more than that the time is up.
            let loss = self.last_loss.clone().filter(|_| !self.lane.is_up());
            let result = match known {
                Overdue::NeverHanded => SendError::NotSent(loss.unwrap_or_else(|| timed_out(Phase::Credit))),
                Overdue::Maybe => SendError::Unknown(loss.unwrap_or_else(|| timed_out(Phase::Settle))),
                Overdue::Offered(transfer) if self.expired.insert(ticket) => {
                    let first = self.taken_back.map_or(transfer, |before| before.min(transfer));
                    self.taken_back = Some(first);
                    self.actions.push_back(Action::TakeBack {
                        epoch: self.epoch,
                        transfer,
                    });
                    self.ledger.extend(ticket, now + TAKE_BACK_TIMEOUT);
                    continue;
                }
                // The lane does not answer: it may have handed it over.
                Overdue::Offered(_) => SendError::Unknown(timed_out(Phase::Settle)),
            };
            self.complete(ticket, Err(result));
        }
    }

    fn advance_closing(&mut self, now: Instant) {
        let Some(closing) = self.closing else { return };
        if self.line.is_leaving() || self.line.is_ended() {
            return;
        }
        if now >= closing.drained_by || !self.ever_up {
            self.fail_all(&Interruption::Stopped);
        }
        if self.ledger.is_empty() {
            self.leave(closing.closed_by);
        }
    }

    fn complete(&mut self, ticket: TicketId, result: Result<Accepted, SendError>) {
        self.expired.remove(&ticket);
        if self.ledger.complete(ticket) {
            self.told(ticket, result);
        }
    }

    /// Passes the outcome on of a ticket that the ledger does not hold, or holds no more.
    fn told(&mut self, ticket: TicketId, result: Result<Accepted, SendError>) {
        let count = match &result {
            Ok(_) => &mut self.statistics.accepted,
            Err(SendError::NotSent(_) | SendError::Released) => &mut self.statistics.not_sent,
            Err(SendError::Rejected(_) | SendError::TooLarge { .. }) => &mut self.statistics.rejected,
            Err(SendError::Unknown(_)) => &mut self.statistics.unknown,
        };
        *count += 1;
        self.actions.push_back(Action::Complete(ticket, result));
    }

    fn fail_all(&mut self, why: &Interruption) {
        self.expired.clear();
        for (ticket, maybe) in self.ledger.drain() {
            let error = if maybe {
                SendError::Unknown(why.clone())
            } else {
                SendError::NotSent(why.clone())
            };
            self.told(ticket, Err(error));
        }
    }

    fn report(&mut self, status: Status) {
        // Whoever closes a client is told no more than that it does, and that it has.
        let heard = self.closing.is_none() || matches!(status, Status::Closing | Status::Ended { .. });
        if heard && self.status != status {
            self.status = status.clone();
            self.actions.push_back(Action::Report(status));
        }
    }
}

/// The most of a closing's time that is kept for detaching, ending and closing.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a lane has to say whether it handed a message over whose time is up. It needs no peer to know.
const TAKE_BACK_TIMEOUT: Duration = Duration::from_secs(1);
