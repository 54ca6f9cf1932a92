//! The token: fetched before it is needed, put to the hub, renewed before it ends.

use std::time::{Duration, Instant};

use crate::error::{Interruption, Phase};
use crate::recovery::Recovery;

use super::line::{Certainty, Line};
use super::{Action, Cause, SignIn, Supervisor, TokenLife};

/// What is known of the token.
#[derive(Debug, Clone, Default)]
pub(super) struct Token {
    /// The last one that the credential gave.
    have: Option<Held>,
    /// The credential is asked, until then.
    fetching: Option<Instant>,
    /// The hub has it, and is to answer by then.
    putting: Option<Instant>,
    /// Counts the puts of all connections, so that a late answer is known for one.
    put: u32,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    /// `None` if it can't be renewed.
    renew_at: Option<Instant>,
}

impl Token {
    /// Whether it may be used for a new connection.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.have
            .is_some_and(|held| held.renew_at.is_none_or(|renew_at| now < renew_at))
    }

    pub(super) fn forget_put(&mut self) {
        self.putting = None;
    }
}

impl Supervisor {
    pub(super) fn token_due(&self) -> Option<Instant> {
        if self.line.is_leaving() {
            return None;
        }
        let renewal = match self.line {
            Line::Up if self.token.fetching.is_none() && self.token.putting.is_none() => {
                self.token.have.and_then(|held| held.renew_at)
            }
            _ => None,
        };
        [self.token.fetching, self.token.putting, renewal]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn advance_token(&mut self, now: Instant) {
        if self.line.is_leaving() || self.line.is_ended() {
            return;
        }
        let after = self.settings.operation_timeout;
        if self.token.fetching.is_some_and(|deadline| now >= deadline) {
            let phase = Phase::Credential;
            let why = Interruption::TimedOut { phase, after };
            let recovery = Recovery::Reconnect;
            self.token_fetched(Err(Cause { why, recovery }), now);
        }
        if self.token.putting.is_some_and(|deadline| now >= deadline) {
            let phase = Phase::Token;
            return self.break_off(Interruption::TimedOut { phase, after }, now);
        }
        let due = self.token.have.and_then(|held| held.renew_at);
        if matches!(self.line, Line::Up)
            && self.closing.is_none()
            && self.token.fetching.is_none()
            && self.token.putting.is_none()
            && due.is_some_and(|renew_at| now >= renew_at)
        {
            self.fetch_token(now);
        }
    }

    pub(super) fn fetch_token(&mut self, now: Instant) {
        if self.token.fetching.is_none() {
            self.token.fetching = Some(now + self.settings.operation_timeout);
            self.actions.push_back(Action::FetchToken);
        }
    }

    pub(super) fn token_fetched(&mut self, result: Result<TokenLife, Cause>, now: Instant) {
        if self.token.fetching.take().is_none() {
            return; // it came too late, and was asked for again or is not needed
        }
        match result {
            Ok(life) => {
                let share = self.backoff.share(life.left, RENEW_FROM, RENEW_TO);
                // One that has ended already is no reason to ask without a pause.
                let renew_at = life.renews.then(|| now + share.max(FETCH_AGAIN));
                self.token.have = Some(Held { renew_at });
                match self.line {
                    Line::AwaitingToken => self.dial(now),
                    Line::Up => self.renew(now),
                    _ => {}
                }
            }
            Err(cause) if matches!(self.line, Line::AwaitingToken) => self.recover(cause, now),
            Err(cause) if cause.recovery == Recovery::GiveUp => {
                self.requeue_all(Certainty::FactsMayFollow);
                self.give_up(cause.why);
            }
            // The token in use still holds for a while.
            Err(_) => {
                if let Some(held) = &mut self.token.have {
                    held.renew_at = held.renew_at.map(|_| now + FETCH_AGAIN);
                }
            }
        }
    }

    fn renew(&mut self, now: Instant) {
        match self.settings.sign_in {
            SignIn::Claims => self.put_token(now),
            SignIn::Plain => self.retire(now),
        }
    }

    pub(super) fn put_token(&mut self, now: Instant) {
        self.token.put += 1;
        self.token.putting = Some(now + self.settings.operation_timeout);
        self.actions.push_back(Action::PutToken {
            conn: self.epoch.conn,
            put: self.token.put,
        });
    }

    pub(super) fn token_put(&mut self, conn: u32, put: u32, result: Result<(), Cause>, now: Instant) {
        if conn != self.epoch.conn || put != self.token.put || self.token.putting.take().is_none() {
            return;
        }
        match result {
            Ok(()) => {
                self.statistics.tokens_put += 1;
                if matches!(self.line, Line::Authorizing) {
                    self.authorized(now);
                }
            }
            Err(cause) if cause.recovery == Recovery::GiveUp => {
                self.requeue_all(Certainty::FactsMayFollow);
                self.give_up(cause.why);
            }
            Err(cause) => {
                self.blow();
                self.requeue_all(Certainty::FactsMayFollow);
                self.recover(cause, now);
            }
        }
    }
}

/// In thousandths of a token's life: 80 % ± 5 %.
const RENEW_FROM: u32 = 750;
const RENEW_TO: u32 = 850;

/// How soon a credential that failed is asked again, as the Java SDK does.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
