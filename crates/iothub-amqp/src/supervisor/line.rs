//! The connection: when it is made, when it is left, and what its loss means.

use std::time::{Duration, Instant};

use crate::error::{Interruption, Phase, SendError};
use crate::recovery::Recovery;
use crate::status::Status;

use super::lane::{Lane, LaneHealth};
use super::{Action, Cause, Epoch, SignIn, Supervisor};

/// Where the connection stands.
#[derive(Debug, Clone)]
pub(super) enum Line {
    /// There is none until then.
    Down {
        until: Instant,
    },
    /// One is to be made, with a token that has been asked for.
    AwaitingToken,
    /// It is being made.
    Dialling {
        deadline: Instant,
    },
    /// It is open, its first token is with the hub.
    Authorizing,
    Up,
    /// It is to be replaced as soon as nothing flies, or then.
    Retiring {
        deadline: Instant,
    },
    /// It is being closed.
    Leaving {
        deadline: Instant,
    },
    Ended {
        why: Interruption,
    },
}

impl Line {
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Down { until: at }
            | Self::Dialling { deadline: at }
            | Self::Retiring { deadline: at }
            | Self::Leaving { deadline: at } => Some(*at),
            Self::AwaitingToken | Self::Authorizing | Self::Up | Self::Ended { .. } => None,
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self, Self::Leaving { .. })
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    pub(super) fn ended_because(&self) -> Option<&Interruption> {
        match self {
            Self::Ended { why } => Some(why),
            _ => None,
        }
    }

    /// The driver has a connection, or is making or closing one.
    fn exists(&self) -> bool {
        match self {
            Self::Dialling { .. }
            | Self::Authorizing
            | Self::Up
            | Self::Retiring { .. }
            | Self::Leaving { .. } => true,
            Self::Down { .. } | Self::AwaitingToken | Self::Ended { .. } => false,
        }
    }
}

impl Supervisor {
    pub(super) fn advance_line(&mut self, now: Instant) {
        match self.line {
            Line::Down { until } if now >= until => self.begin_attempt(now),
            Line::Dialling { deadline } if now >= deadline => self.break_off(
                Interruption::TimedOut {
                    phase: Phase::Open,
                    after: DIAL_STEPS * self.settings.operation_timeout,
                },
                now,
            ),
            Line::Retiring { deadline } if self.ledger.nothing_out() || now >= deadline => {
                self.requeue_all(Certainty::FactsMayFollow);
                self.start_leaving(now + self.settings.operation_timeout.min(RETIRE_TIMEOUT));
            }
            Line::Leaving { deadline } if now >= deadline => {
                self.blow();
                let after = self.closing.map_or(RETIRE_TIMEOUT, |closing| closing.limit);
                self.left(
                    Err(Interruption::TimedOut {
                        phase: Phase::Close,
                        after,
                    }),
                    now,
                );
            }
            _ => {}
        }
    }

    fn begin_attempt(&mut self, now: Instant) {
        if self.token.is_fresh(now) {
            self.dial(now);
        } else {
            self.line = Line::AwaitingToken;
            self.fetch_token(now);
        }
    }

    pub(super) fn dial(&mut self, now: Instant) {
        // A token that was long in coming does not make room for an attempt more.
        let allowed = self.backoff.allowed(now);
        if allowed > now {
            self.line = Line::Down { until: allowed };
            return;
        }
        self.epoch = Epoch {
            conn: self.epoch.conn + 1,
            session: 0,
            lane: 0,
        };
        self.backoff.attempted(now);
        self.statistics.attempts += 1;
        self.line = Line::Dialling {
            deadline: now + DIAL_STEPS * self.settings.operation_timeout,
        };
        self.actions.push_back(Action::Dial {
            conn: self.epoch.conn,
        });
    }

    pub(super) fn up(&mut self, conn: u32, now: Instant) {
        if conn != self.epoch.conn || !matches!(self.line, Line::Dialling { .. }) {
            return;
        }
        match self.settings.sign_in {
            SignIn::Plain => self.authorized(now),
            SignIn::Claims => {
                self.line = Line::Authorizing;
                self.put_token(now);
            }
        }
    }

    pub(super) fn authorized(&mut self, now: Instant) {
        self.line = Line::Up;
        self.lane = Lane::Down { until: now };
        self.lane_health = LaneHealth::default();
    }

    pub(super) fn lost(&mut self, conn: u32, cause: Cause, now: Instant) {
        if conn != self.epoch.conn || !self.line.exists() {
            return;
        }
        if self.line.is_leaving() {
            return self.left(Err(cause.why), now);
        }
        self.requeue_all(Certainty::AllIsHeard);
        self.recover(cause, now);
    }

    /// Ends a connection that is of no use any more.
    pub(super) fn break_off(&mut self, why: Interruption, now: Instant) {
        self.blow();
        self.requeue_all(Certainty::FactsMayFollow);
        let recovery = Recovery::Reconnect;
        self.recover(Cause { why, recovery }, now);
    }

    /// After the connection is gone: make another, or give up.
    pub(super) fn recover(&mut self, cause: Cause, now: Instant) {
        let Cause { why, recovery } = cause;
        self.token.forget_put();
        if recovery == Recovery::GiveUp || !self.settings.recover || !self.ever_up {
            return self.give_up(why);
        }
        self.last_loss = Some(why.clone());
        let next = self.backoff.lost(now);
        if recovery == Recovery::Throttled {
            let until = next.max(now + self.backoff.throttled(now));
            self.line = Line::Down { until };
            self.report(Status::Throttled { why, until });
        } else {
            self.line = Line::Down { until: next };
            self.report(Status::Recovering {
                why,
                next_attempt: next,
            });
        }
    }

    /// Replaces the connection in good order: nothing new is sent, and it is closed once nothing flies.
    pub(super) fn retire(&mut self, now: Instant) {
        self.line = Line::Retiring {
            deadline: now + self.settings.settle_timeout,
        };
        self.report(Status::Renewing);
    }

    /// Closes for good, as well as the connection allows.
    pub(super) fn leave(&mut self, deadline: Instant) {
        match self.line {
            Line::Up | Line::Retiring { .. } => self.start_leaving(deadline),
            Line::Leaving { .. } | Line::Ended { .. } => {}
            _ => {
                self.blow();
                let why = self.last_loss.clone().unwrap_or(Interruption::Stopped);
                self.finish(Interruption::Stopped, Err(why));
            }
        }
    }

    fn start_leaving(&mut self, deadline: Instant) {
        self.line = Line::Leaving { deadline };
        self.actions.push_back(Action::CloseGently {
            conn: self.epoch.conn,
            deadline,
        });
    }

    pub(super) fn closed(&mut self, conn: u32, result: Result<(), Interruption>, now: Instant) {
        if conn == self.epoch.conn && self.line.is_leaving() {
            self.left(result, now);
        }
    }

    /// The connection was left: for good, or for the next one.
    fn left(&mut self, result: Result<(), Interruption>, now: Instant) {
        if self.closing.is_some() {
            return self.finish(Interruption::Stopped, result);
        }
        self.line = Line::Down {
            until: self.backoff.allowed(now),
        };
        self.advance_line(now);
    }

    pub(super) fn give_up(&mut self, why: Interruption) {
        self.blow();
        self.fail_all(&why);
        self.finish(why.clone(), Err(why));
    }

    fn finish(&mut self, why: Interruption, result: Result<(), Interruption>) {
        self.fail_all(&why);
        self.line = Line::Ended { why: why.clone() };
        self.report(Status::Ended { why });
        self.actions.push_back(Action::Finished(result));
    }

    pub(super) fn blow(&mut self) {
        if self.line.exists() {
            self.actions.push_back(Action::Blow {
                conn: self.epoch.conn,
            });
        }
    }

    pub(super) fn requeue_all(&mut self, certainty: Certainty) {
        self.lane = Lane::Absent;
        self.statistics.resent += self.ledger.lost(certainty) as u64;
        // Those whose time had come were only waiting for the lane's word.
        for ticket in std::mem::take(&mut self.expired) {
            let after = self.ledger.limit(ticket);
            let phase = Phase::Credit;
            let why = Interruption::TimedOut { phase, after };
            let maybe = self.ledger.is_maybe(ticket);
            let error = if maybe {
                SendError::Unknown(why)
            } else {
                SendError::NotSent(why)
            };
            self.complete(ticket, Err(error));
        }
    }
}

/// Whether all that a lane had to say has been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// It ended by itself and said so last.
    AllIsHeard,
    /// It is ended from here: what it handed over a moment ago may not be known yet.
    FactsMayFollow,
}

/// Resolving, connecting, TLS and opening are bounded one by one; all of them together by this many such bounds.
const DIAL_STEPS: u32 = 5;

/// How long the farewell to a connection that is replaced may take.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(5);
