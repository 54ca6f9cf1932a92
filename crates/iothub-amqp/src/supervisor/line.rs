//! The connection: when it is made, when it is left, and what its loss means.

use std::time::{Duration, Instant};

use crate::error::{Interruption, Phase};
use crate::recovery::Recovery;
use crate::status::Status;

use super::core::Core;
use super::ledger::Certainty;
use super::slot::Slot;
use super::{Action, Cause, Lifetime, SignIn, Supervisor};

/// Where the connection stands.
#[derive(Debug, Clone)]
pub(super) enum Line {
    /// Nobody needs one.
    Idle,
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
    Up,
    /// It is to be replaced as soon as nothing flies, or then. Nothing new is handed over meanwhile but words on what came by
    /// this connection, since no other can take them.
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
            Self::Idle | Self::AwaitingToken | Self::Up | Self::Ended { .. } => None,
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self, Self::Leaving { .. })
    }

    pub(super) fn is_retiring(&self) -> bool {
        matches!(self, Self::Retiring { .. })
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
            Self::Dialling { .. } | Self::Up | Self::Retiring { .. } | Self::Leaving { .. } => true,
            Self::Idle | Self::Down { .. } | Self::AwaitingToken | Self::Ended { .. } => false,
        }
    }
}

impl Core {
    /// Replaces the connection in good order: nothing new is sent, and it is closed once nothing flies.
    pub(super) fn retire(&mut self, now: Instant) {
        self.puts.clear();
        self.line = Line::Retiring {
            deadline: now + self.settings.operation_timeout,
        };
    }

    fn blow(&mut self) {
        if self.line.exists() {
            self.act(Action::Blow { conn: self.conn });
        }
        self.puts.clear();
    }
}

impl Supervisor {
    pub(super) fn advance_line(&mut self, now: Instant) {
        match self.core.line {
            Line::Down { until } if now >= until => self.begin_attempt(now),
            Line::AwaitingToken if self.has_a_token(now) => self.dial(now),
            Line::Dialling { deadline } if now >= deadline => {
                let after = DIAL_STEPS * self.core.settings.operation_timeout;
                let phase = Phase::Open;
                self.break_off(Interruption::TimedOut { phase, after }, now);
            }
            Line::Retiring { deadline } => {
                self.each_slot(now, |slot, core, _| slot.report(core, Status::Renewing));
                if now < deadline && self.slots.values().any(|slot| slot.flies()) {
                    return self.each_slot(now, |slot, core, _| slot.quieten(core));
                }
                self.lose_all(&Interruption::Closed, Certainty::FactsMayFollow, now);
                self.start_leaving(now + self.core.settings.operation_timeout.min(RETIRE_TIMEOUT));
            }
            Line::Leaving { deadline } if now >= deadline => {
                self.core.blow();
                let after = self.closing.map_or(RETIRE_TIMEOUT, |closing| closing.limit);
                let phase = Phase::Close;
                self.left(Err(Interruption::TimedOut { phase, after }), now);
            }
            _ => {}
        }
    }

    fn begin_attempt(&mut self, now: Instant) {
        self.each_slot(now, |slot, core, now| {
            if slot.token.has_ended(now) {
                slot.give_up(core, Interruption::TokenExpired);
            }
        });
        if self.core.members == 0 {
            self.core.line = Line::Idle;
            return;
        }
        let needs_no_token = self.core.settings.sign_in == SignIn::Certificate;
        if needs_no_token || self.has_a_token(now) {
            self.dial(now);
        } else {
            self.core.line = Line::AwaitingToken;
            self.each_slot(now, |slot, core, now| slot.fetch_token(core, now));
        }
    }

    /// Whether anybody who needs a connection has what opens one.
    fn has_a_token(&self, now: Instant) -> bool {
        let mut slots = self.slots.values();
        slots.any(|slot| slot.ended.is_none() && slot.token.is_fresh(now))
    }

    fn dial(&mut self, now: Instant) {
        // A token that was long in coming does not make room for an attempt more.
        let allowed = self.core.backoff.allowed(now);
        if allowed > now {
            self.core.line = Line::Down { until: allowed };
            return;
        }
        let core = &mut self.core;
        core.conn += 1;
        core.backoff.attempted(now);
        core.attempts += 1;
        core.line = Line::Dialling {
            deadline: now + DIAL_STEPS * core.settings.operation_timeout,
        };
        core.act(Action::Dial { conn: core.conn });
    }

    pub(super) fn up(&mut self, conn: u32, now: Instant) {
        if conn != self.core.conn || !matches!(self.core.line, Line::Dialling { .. }) {
            return;
        }
        self.core.line = Line::Up;
        self.core.last_loss = None;
        self.each_slot(now, Slot::line_up);
    }

    pub(super) fn lost(&mut self, conn: u32, cause: Cause, now: Instant) {
        if conn != self.core.conn || !self.core.line.exists() {
            return;
        }
        if self.core.line.is_leaving() {
            return self.left(Err(cause.why), now);
        }
        let was_up = !matches!(self.core.line, Line::Dialling { .. });
        let cause = self.whose_fault(cause, was_up, now);
        self.lose_all(&cause.why, Certainty::AllIsHeard, now);
        self.recover(cause, now);
    }

    /// A connection that has worked may end by one device's fault, or by a token that has had its time.
    fn whose_fault(&mut self, cause: Cause, was_up: bool, now: Instant) -> Cause {
        let mut live = self.slots.values_mut().filter(|slot| slot.ended.is_none());
        match (live.next(), live.next()) {
            (Some(alone), None) if was_up => {
                let taken = alone.all_of(self.core.conn);
                if !alone.stolen_too_often(&cause.why, taken, now) {
                    return alone.mend(&self.core, cause, now);
                }
                let (why, recovery) = (Interruption::Stolen, Recovery::GiveUp);
                Cause { why, recovery }
            }
            (Some(_), Some(_)) if was_up => Cause {
                why: cause.why,
                recovery: match cause.recovery {
                    Recovery::GiveUp => Recovery::Reconnect,
                    recovery => recovery,
                },
            },
            _ => cause,
        }
    }

    /// Ends a connection that is of no use any more.
    fn break_off(&mut self, why: Interruption, now: Instant) {
        let recovery = Recovery::Reconnect;
        self.fault(Cause { why, recovery }, now);
    }

    /// A slot has found out that the connection is of no use any more.
    pub(super) fn fault(&mut self, cause: Cause, now: Instant) {
        if self.core.line.is_leaving() || self.core.line.is_ended() {
            return;
        }
        self.core.blow();
        self.lose_all(&cause.why, Certainty::FactsMayFollow, now);
        self.recover(cause, now);
    }

    fn lose_all(&mut self, why: &Interruption, certainty: Certainty, now: Instant) {
        self.core.puts.clear();
        self.each_slot(now, |slot, core, now| slot.line_lost(core, why, certainty, now));
    }

    /// After the connection is gone: make another, or give up.
    fn recover(&mut self, cause: Cause, now: Instant) {
        let Cause { why, recovery } = cause;
        let gives_up = recovery == Recovery::GiveUp || !self.core.settings.recover;
        self.core.last_loss = Some(why.clone());
        let mut until = self.core.backoff.lost(now);
        let throttled = recovery == Recovery::Throttled;
        if throttled {
            until = until.max(now + self.core.backoff.throttled(now));
        }
        // Before the slots are told, since one that ends may end all.
        self.core.line = Line::Down { until };
        self.each_slot(now, |slot, core, _| {
            if gives_up || !slot.ever_up {
                return slot.end(core, why.clone());
            }
            let why = why.clone();
            slot.last_loss = Some(why.clone());
            slot.report(
                core,
                match throttled {
                    true => Status::Throttled { why, until },
                    false => Status::Recovering {
                        why,
                        next_attempt: until,
                    },
                },
            );
        });
    }

    /// Closes for good, as well as the connection allows.
    pub(super) fn leave(&mut self, deadline: Instant, now: Instant) {
        match self.core.line {
            Line::Up | Line::Retiring { .. } => self.start_leaving(deadline),
            Line::Leaving { .. } | Line::Ended { .. } => {}
            Line::Idle => self.finish(Interruption::Stopped, Ok(()), now),
            _ => {
                self.core.blow();
                // Between a connection that was replaced and the next nothing is lost.
                let was_there = self.slots.values().any(|slot| slot.ever_up);
                let result = match self.core.last_loss.clone() {
                    None if was_there => Ok(()),
                    why => Err(why.unwrap_or(Interruption::Stopped)),
                };
                self.finish(Interruption::Stopped, result, now);
            }
        }
    }

    pub(super) fn start_leaving(&mut self, deadline: Instant) {
        self.core.puts.clear();
        self.core.line = Line::Leaving { deadline };
        let conn = self.core.conn;
        self.core.act(Action::CloseGently { conn, deadline });
    }

    pub(super) fn closed(&mut self, conn: u32, result: Result<(), Interruption>, now: Instant) {
        if conn == self.core.conn && self.core.line.is_leaving() {
            self.left(result, now);
        }
    }

    /// The connection was left: for good, or for the next one, which a closing too needs while something waits to be sent.
    fn left(&mut self, result: Result<(), Interruption>, now: Instant) {
        if self.is_done_with_closing(now) {
            return self.finish(Interruption::Stopped, result, now);
        }
        self.core.line = Line::Down {
            until: self.core.backoff.allowed(now),
        };
        self.each_slot(now, |_, _, _| {});
        self.advance_line(now);
    }

    /// After slots have ended: a connection without any is closed, and perhaps with it all.
    pub(super) fn without_slots(&mut self, now: Instant) {
        if self.core.members > 0 || self.closing.is_some() || self.core.line.is_ended() {
            return;
        }
        if self.core.settings.lifetime == Lifetime::OfItsSlots
            && let Some(slot) = self.slots.values().next_back()
            && let Some(why) = slot.ended.clone()
        {
            self.core.blow();
            return self.finish(why.clone(), Err(why), now);
        }
        match self.core.line {
            Line::Up | Line::Retiring { .. } => {
                self.start_leaving(now + self.core.settings.operation_timeout.min(RETIRE_TIMEOUT));
            }
            Line::Leaving { .. } => {}
            _ => {
                self.core.blow();
                self.core.line = Line::Idle;
            }
        }
    }

    fn finish(&mut self, why: Interruption, result: Result<(), Interruption>, now: Instant) {
        self.core.line = Line::Ended { why: why.clone() };
        self.each_slot(now, |slot, core, _| slot.end(core, why.clone()));
        self.core.act(Action::Finished(result));
    }
}

/// Resolving, connecting, TLS and opening are bounded one by one; all of them together by this many such bounds.
const DIAL_STEPS: u32 = 5;

/// How long the farewell to a connection that is replaced may take.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(5);
