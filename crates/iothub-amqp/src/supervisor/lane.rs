//! The telemetry link: when it is attached, what is handed to it, and what outcomes mean.

use std::time::{Duration, Instant};

use crate::error::{Accepted, Condition, Interruption, Phase, SendError};
use crate::recovery::{Operation, Recovery, STOLEN, classify};
use crate::status::Status;

use super::ledger::Window;
use super::line::{Certainty, Line};
use super::{Action, Cause, Epoch, NotHanded, Outcome, Supervisor, TicketId, TransferId};

/// Where the link stands.
#[derive(Debug, Clone)]
pub(super) enum Lane {
    /// There is no connection for one.
    Absent,
    /// It is to be attached then.
    Down { until: Instant },
    /// It is being attached.
    Opening { deadline: Instant },
    /// It takes messages of up to `limit` bytes (0: any).
    Up { limit: u64, feed: Feed },
}

/// Whether messages are handed over.
#[derive(Debug, Clone)]
pub(super) enum Feed {
    Open,
    /// Some came back: once nothing flies, and not before then, it goes on with the oldest.
    Paused {
        until: Instant,
    },
}

impl Lane {
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

/// What the lanes of one connection have gone through.
#[derive(Debug, Clone, Default)]
pub(super) struct LaneHealth {
    /// Losses in a row, and the last of them.
    losses: u32,
    last_loss: Option<Instant>,
    /// Messages that came back in a row.
    refusals: u32,
    /// A silent link was replaced already.
    settle_timed_out: bool,
    /// The hub said that it has too much to do.
    throttled: bool,
}

impl Supervisor {
    pub(super) fn lane_due(&self) -> Option<Instant> {
        let settle = self
            .ledger
            .oldest_flying()
            .map(|handed| handed + self.settings.settle_timeout);
        let own = match &self.lane {
            Lane::Absent => None,
            _ if !matches!(self.line, Line::Up | Line::Retiring { .. }) => None,
            Lane::Down { until } | Lane::Opening { deadline: until } => Some(*until),
            Lane::Up {
                feed: Feed::Paused { until },
                ..
            } if self.ledger.nothing_out() => Some(*until),
            Lane::Up { .. } => None,
        };
        let settle = settle.filter(|_| matches!(self.line, Line::Up));
        own.into_iter().chain(settle).min()
    }

    pub(super) fn advance_lane(&mut self, now: Instant) {
        if !matches!(self.line, Line::Up) {
            return;
        }
        if let Some(handed) = self.ledger.oldest_flying()
            && now >= handed + self.settings.settle_timeout
        {
            return self.settle_timed_out(now);
        }
        match &mut self.lane {
            Lane::Down { until } if now >= *until => {
                self.epoch.lane += 1;
                self.statistics.links += 1;
                self.lane = Lane::Opening {
                    deadline: now + OPENING_STEPS * self.settings.operation_timeout,
                };
                self.actions.push_back(Action::OpenLane(self.epoch));
            }
            Lane::Opening { deadline } if now >= *deadline => {
                let after = OPENING_STEPS * self.settings.operation_timeout;
                let phase = Phase::Attach;
                self.break_off(Interruption::TimedOut { phase, after }, now);
            }
            Lane::Up { feed, .. } => {
                if matches!(feed, Feed::Paused { until } if now >= *until) && self.ledger.nothing_out() {
                    *feed = Feed::Open;
                    self.report(Status::Connected);
                }
                self.feed();
            }
            _ => {}
        }
    }

    pub(super) fn lane_up(&mut self, epoch: Epoch, limit: u64, now: Instant) {
        if epoch != self.epoch || !matches!(self.lane, Lane::Opening { .. }) {
            return;
        }
        self.lane = Lane::Up {
            limit,
            feed: Feed::Open,
        };
        if epoch.lane == 1 {
            self.backoff.connected(now);
        }
        self.ever_up = true;
        self.report(Status::Connected);
    }

    /// Hands over what the window has room for.
    fn feed(&mut self) {
        if self
            .taken_back
            .is_some_and(|first| self.ledger.has_unhanded_from(first))
        {
            return;
        }
        self.taken_back = None;
        let window = Window {
            transfers: self.settings.window,
            bytes: self.settings.window_bytes,
        };
        while let Lane::Up {
            limit,
            feed: Feed::Open,
        } = self.lane
        {
            if let Some((ticket, size)) = self.ledger.front()
                && limit > 0
                && size as u64 > limit
            {
                self.refuse_too_large(ticket, size as u64, limit);
                continue;
            }
            let Some((transfer, tickets)) =
                self.ledger
                    .take(self.epoch, window, limit, self.settings.batching)
            else {
                return;
            };
            self.statistics.transfers += 1;
            self.actions.push_back(Action::Transfer {
                epoch: self.epoch,
                transfer,
                tickets,
            });
        }
    }

    pub(super) fn not_handed(&mut self, epoch: Epoch, transfer: TransferId, why: NotHanded) {
        let Some((tickets, is_batch)) = self.ledger.land(transfer, epoch) else {
            return;
        };
        for ticket in tickets {
            match why {
                NotHanded::TooLarge { size, limit } if !is_batch => {
                    self.refuse_too_large(ticket, size, limit);
                }
                _ if self.expired.contains(&ticket) => {
                    let after = self.ledger.limit(ticket);
                    let phase = Phase::Credit;
                    let why = Interruption::TimedOut { phase, after };
                    let error = if self.ledger.is_maybe(ticket) {
                        SendError::Unknown(why)
                    } else {
                        SendError::NotSent(why)
                    };
                    self.complete(ticket, Err(error));
                }
                _ => self
                    .ledger
                    .requeue(&[ticket], matches!(why, NotHanded::TooLarge { .. })),
            }
        }
    }

    pub(super) fn settled(&mut self, epoch: Epoch, transfer: TransferId, outcome: Outcome, now: Instant) {
        let condition = match outcome {
            Outcome::Accepted => return self.accepted(transfer),
            Outcome::Rejected(condition) => Some(condition),
            Outcome::Released => None,
        };
        let Some((tickets, is_batch)) = self.ledger.land(transfer, epoch) else {
            return; // of a lane of before: the tickets are on their way again
        };
        let recovery = condition
            .as_ref()
            .map_or(Recovery::Retry, |condition| classify(condition, Operation::Send));
        let again = self.settings.recover && recovery != Recovery::GiveUp;
        if again {
            self.ledger.requeue(&tickets, false);
            let why = condition.map_or(Interruption::Closed, Interruption::Refused);
            self.pause(recovery, why, now);
        } else if is_batch {
            // Which of them is meant is not said: each gets a word of its own.
            self.ledger.requeue(&tickets, true);
        } else {
            for ticket in tickets {
                let error = condition.clone().map_or(SendError::Released, SendError::Rejected);
                self.complete(ticket, Err(error));
            }
        }
    }

    fn accepted(&mut self, transfer: TransferId) {
        let (done, before) = self.ledger.accepted(transfer);
        self.statistics.duplicates += before as u64;
        self.lane_health.refusals = 0;
        self.lane_health.settle_timed_out = false;
        if std::mem::take(&mut self.lane_health.throttled) {
            self.backoff.unthrottled();
        }
        for ticket in done {
            self.expired.remove(&ticket);
            self.told(ticket, Ok(Accepted {}));
        }
    }

    /// Stops handing over for a while, after messages came back.
    fn pause(&mut self, recovery: Recovery, why: Interruption, now: Instant) {
        let Lane::Up { limit, feed } = &self.lane else {
            return;
        };
        // Those that flew together come back together, and count once.
        let wait = match feed {
            Feed::Paused { .. } if recovery != Recovery::Throttled || self.lane_health.throttled => return,
            _ if recovery == Recovery::Throttled => {
                self.lane_health.throttled = true;
                self.backoff.throttled(now)
            }
            _ => {
                let tries = self.lane_health.refusals;
                self.lane_health.refusals = tries.saturating_add(1);
                self.backoff.pause(tries)
            }
        };
        let until = now + wait;
        self.lane = Lane::Up {
            limit: *limit,
            feed: Feed::Paused { until },
        };
        if recovery == Recovery::Throttled {
            self.report(Status::Throttled { why, until });
        }
    }

    pub(super) fn lane_lost(&mut self, epoch: Epoch, cause: Cause, now: Instant) {
        if epoch != self.epoch || !matches!(self.lane, Lane::Opening { .. } | Lane::Up { .. }) {
            return;
        }
        let retiring = matches!(self.line, Line::Retiring { .. });
        self.requeue_all(Certainty::AllIsHeard);
        if !matches!(self.line, Line::Up) && !retiring {
            return; // it goes with its connection
        }
        let Cause { why, recovery } = cause;
        if self.stolen_too_often(&why, now) {
            return self.give_up(Interruption::Stolen);
        }
        if recovery == Recovery::GiveUp || !self.settings.recover || !self.ever_up {
            return self.give_up(why);
        }
        if retiring {
            return; // a new connection comes anyway
        }
        let losses = self.count_loss(now);
        let wait = match recovery {
            Recovery::Throttled => self.backoff.throttled(now),
            Recovery::Retry | Recovery::Relink | Recovery::Resession if losses < MAX_RELINKS => {
                self.backoff.pause(losses)
            }
            _ => return self.break_off(why, now),
        };
        if recovery == Recovery::Resession {
            self.epoch.session += 1;
        }
        self.relink(why, recovery, now + wait);
    }

    fn relink(&mut self, why: Interruption, recovery: Recovery, until: Instant) {
        self.lane = Lane::Down { until };
        self.last_loss = Some(why.clone());
        self.report(match recovery {
            Recovery::Throttled => Status::Throttled { why, until },
            _ => Status::Recovering {
                why,
                next_attempt: until,
            },
        });
    }

    /// The hub says nothing of a message that it has: first the link is suspected, then the connection.
    fn settle_timed_out(&mut self, now: Instant) {
        let why = Interruption::TimedOut {
            phase: Phase::Settle,
            after: self.settings.settle_timeout,
        };
        if !self.settings.recover {
            self.requeue_all(Certainty::FactsMayFollow);
            return self.give_up(why);
        }
        if std::mem::replace(&mut self.lane_health.settle_timed_out, true) {
            return self.break_off(why, now);
        }
        self.actions.push_back(Action::CloseLane(self.epoch));
        self.requeue_all(Certainty::FactsMayFollow);
        self.relink(why, Recovery::Relink, now);
        self.advance_lane(now);
    }

    /// How many losses there were before this one, without a time of health between them.
    fn count_loss(&mut self, now: Instant) -> u32 {
        let health = &mut self.lane_health;
        let last = health.last_loss.replace(now);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= self.settings.schedule.healthy) {
            health.losses = 0;
        }
        health.losses += 1;
        health.losses - 1
    }

    fn stolen_too_often(&mut self, why: &Interruption, now: Instant) -> bool {
        if !matches!(why, Interruption::Refused(Condition { name, .. }) if name == STOLEN) {
            return false;
        }
        self.thefts.push_back(now);
        while self
            .thefts
            .front()
            .is_some_and(|theft| now.saturating_duration_since(*theft) > THEFTS_WINDOW)
        {
            self.thefts.pop_front();
        }
        self.thefts.len() >= MAX_THEFTS
    }

    fn refuse_too_large(&mut self, ticket: TicketId, size: u64, limit: u64) {
        let error = if self.ledger.is_maybe(ticket) {
            // An earlier link took it.
            SendError::Unknown(self.last_loss.clone().unwrap_or(Interruption::Closed))
        } else {
            SendError::TooLarge { size, limit }
        };
        self.complete(ticket, Err(error));
    }
}

/// Beginning the session and attaching the link are bounded one by one; together by this many such bounds.
const OPENING_STEPS: u32 = 3;

/// How often a link that goes is attached anew before its connection is suspected.
const MAX_RELINKS: u32 = 3;

/// Two clients that share an identity take the link from each other, each as often as it comes back.
const MAX_THEFTS: usize = 3;
const THEFTS_WINDOW: Duration = Duration::from_secs(60);
