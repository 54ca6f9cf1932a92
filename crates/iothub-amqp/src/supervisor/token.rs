//! The token: fetched before it is needed, put to the hub, renewed before it ends.

use std::time::{Duration, Instant};

use crate::error::{Interruption, Phase};
use crate::recovery::{Recovery, UNAUTHORIZED};
use crate::status::Status;

use super::core::Core;
use super::line::Line;
use super::slot::{Access, Slot};
use super::{Action, Cause, SignIn, TokenLife};

/// What is known of a slot's token.
#[derive(Debug, Clone, Default)]
pub(super) struct Token {
    /// The last one that the credential gave.
    have: Option<Held>,
    /// The credential is asked, until then.
    fetching: Option<Instant>,
    /// Another one, or the same once more, is with the hub or in the queue for it, while links are up by the one before.
    renewing: bool,
    /// Not asked again before then.
    again: Option<Instant>,
    /// Failures in a row.
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    /// `None` if it can't be renewed.
    renew_at: Option<Instant>,
    /// `None` if it had ended by this machine's clock when it came: then the clock may be wrong, and the hub knows.
    ends_at: Option<Instant>,
}

impl Token {
    /// Whether it may be used for a new connection.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.have
            .is_some_and(|held| held.renew_at.is_none_or(|renew_at| now < renew_at))
    }

    /// Whether it has had its time, and there is no other.
    pub(super) fn has_ended(&self, now: Instant) -> bool {
        self.have
            .is_some_and(|held| held.renew_at.is_none() && held.ends_at.is_some_and(|ends_at| now >= ends_at))
    }

    pub(super) fn forget_put(&mut self) {
        self.renewing = false;
    }

    /// When the credential may be asked, if it is not; its own time-out counts if it is.
    pub(super) fn fetch_due(&self, from: Instant) -> Option<Instant> {
        let at = self.again.map_or(from, |again| again.max(from));
        self.fetching.is_none().then_some(at)
    }

    pub(super) fn due(&self, access: Access, line: &Line) -> Option<Instant> {
        let idle = self.fetching.is_none() && !self.renewing;
        let renewal = match (access, line) {
            // A token that is not renewed is due at no time, whatever came of putting it once more.
            (Access::Granted, Line::Up) if idle => {
                let renew_at = self.have.and_then(|held| held.renew_at);
                renew_at.map(|at| self.again.map_or(at, |again| again.max(at)))
            }
            (Access::None, Line::AwaitingToken) if idle => self.again,
            _ => None,
        };
        self.fetching.into_iter().chain(renewal).min()
    }
}

impl Slot {
    pub(super) fn advance_token(&mut self, core: &mut Core, now: Instant) {
        let after = core.settings.operation_timeout;
        if self.token.fetching.is_some_and(|deadline| now >= deadline) {
            let phase = Phase::Credential;
            let why = Interruption::TimedOut { phase, after };
            let recovery = Recovery::Reconnect;
            self.token_fetched(core, Err(Cause { why, recovery }), now);
        }
        let due = match (self.access, &core.line) {
            // Whoever leaves does with the one that it has.
            (Access::Granted, Line::Up) if self.leaving.is_none() => {
                self.token.have.and_then(|held| held.renew_at)
            }
            (Access::None, Line::AwaitingToken) if !self.token.is_fresh(now) => Some(now),
            _ => None,
        };
        if !self.token.renewing && due.is_some_and(|renew_at| now >= renew_at) {
            self.fetch_token(core, now);
        }
    }

    pub(super) fn fetch_token(&mut self, core: &mut Core, now: Instant) {
        if self.token.fetching.is_none() && self.token.again.is_none_or(|again| now >= again) {
            self.token.fetching = Some(now + core.settings.operation_timeout);
            core.act(Action::FetchToken(self.id));
        }
    }

    pub(super) fn token_fetched(&mut self, core: &mut Core, result: Result<TokenLife, Cause>, now: Instant) {
        if self.token.fetching.take().is_none() {
            return; // it came too late, and was asked for again or is not needed
        }
        match result {
            Ok(life) => {
                let share = self.backoff.share(life.left, RENEW_FROM, RENEW_TO);
                // One that has ended already is no reason to ask without a pause.
                let renew_at = life.renews.then(|| now + share.max(FETCH_AGAIN));
                let ends_at = (!life.left.is_zero()).then(|| now + life.left);
                self.token.have = Some(Held { renew_at, ends_at });
                self.token.again = None;
                self.token.failures = 0;
                if matches!((self.access, &core.line), (Access::Granted, Line::Up)) {
                    match core.settings.sign_in {
                        SignIn::Claims => {
                            self.token.renewing = true;
                            core.puts.queue(self.id);
                        }
                        SignIn::Plain => core.retire(now),
                        SignIn::Certificate => {}
                    }
                }
            }
            Err(cause) if cause.recovery == Recovery::GiveUp => self.give_up(core, cause.why),
            Err(cause) => self.no_token(core, cause, now),
        }
    }

    /// The credential has given none, and may give one later.
    fn no_token(&mut self, core: &mut Core, cause: Cause, now: Instant) {
        let failures = self.token.failures;
        self.token.failures = failures.saturating_add(1);
        self.token.again = Some(now + self.backoff.pause(failures + 1).max(FETCH_AGAIN));
        if self.access == Access::Granted {
            return; // the token in use still holds for a while
        }
        if !self.ever_up {
            return self.give_up(core, cause.why);
        }
        if core.members == 1 && matches!(core.line, Line::AwaitingToken) {
            self.token.again = None; // the connection's back-off counts
            core.fault = Some(cause);
        } else if matches!(core.line, Line::AwaitingToken | Line::Up) {
            self.wait_for_access(core, cause.why, self.token.again.unwrap_or(now));
        }
    }

    /// Not let in yet: tries again then.
    fn wait_for_access(&mut self, core: &mut Core, why: Interruption, until: Instant) {
        // Of a connection that has just gone nothing is to be had any more.
        if self.access != Access::None {
            self.access = Access::Down { until };
        }
        self.last_loss = Some(why.clone());
        self.report(
            core,
            Status::Recovering {
                why,
                next_attempt: until,
            },
        );
    }

    /// Has the token put as soon as there is one.
    pub(super) fn advance_access(&mut self, core: &mut Core, now: Instant) {
        let Access::Down { until } = self.access else {
            return;
        };
        if now < until || !core.is_up() {
            return;
        }
        if self.token.has_ended(now) {
            self.give_up(core, Interruption::TokenExpired);
        } else if self.token.is_fresh(now) {
            self.access = Access::Putting;
            core.puts.queue(self.id);
        } else {
            self.fetch_token(core, now);
        }
    }

    pub(super) fn token_put(&mut self, core: &mut Core, result: Result<(), Cause>, now: Instant) {
        self.token.renewing = false;
        match result {
            Ok(()) => {
                self.statistics.tokens_put += 1;
                self.token.failures = 0;
                if self.access == Access::Putting {
                    self.granted(core, now);
                }
            }
            Err(cause) => {
                let cause = self.mend(core, cause, now);
                if cause.recovery == Recovery::GiveUp {
                    return self.give_up(core, cause.why);
                }
                self.not_put(core, cause, None, now);
            }
        }
    }

    /// Its turn in the queue has come, and it would not be used for anything else any more: another one is to be had.
    pub(super) fn put_too_late(&mut self, now: Instant) {
        self.token.renewing = false;
        if self.access == Access::Putting {
            self.access = Access::Down { until: now };
        }
    }

    /// The hub has not taken the token, or has not said that it has.
    pub(super) fn not_put(&mut self, core: &mut Core, cause: Cause, since: Option<Instant>, now: Instant) {
        self.token.renewing = false;
        let failures = self.token.failures;
        self.token.failures = failures.saturating_add(1);
        let mut pause = self.backoff.pause(failures + 1).max(FETCH_AGAIN);
        if cause.recovery == Recovery::Throttled {
            pause = self.backoff.throttled(now);
        }
        // An answer, if not a good one, says that the connection is alive.
        let in_place = self.access == Access::Granted && since.is_none();
        if in_place || core.others_fare_well(since) {
            if self.access == Access::Granted {
                // The token before holds for a while yet, and not as long as this one would: another is put soon.
                self.token.again = Some(now + pause);
                if let Some(Held {
                    renew_at: Some(renew_at),
                    ..
                }) = &mut self.token.have
                {
                    *renew_at = now;
                }
                return;
            }
            if !self.ever_up {
                return self.give_up(core, cause.why);
            }
            return self.wait_for_access(core, cause.why, now + pause);
        }
        core.fault = Some(cause);
    }

    pub(super) fn is_renewing(&self) -> bool {
        self.token.renewing
    }

    /// Whether the token is worth being put.
    pub(super) fn can_put(&self, now: Instant) -> bool {
        self.token.is_fresh(now) && !self.token.has_ended(now)
    }

    /// Whether the token in use may be put once more.
    pub(super) fn can_put_again(&self, now: Instant) -> bool {
        let rests = !self.token.renewing && self.token.fetching.is_none();
        rests && self.leaving.is_none() && self.can_put(now)
    }

    pub(super) fn put_again(&mut self) {
        self.token.renewing = true;
    }

    /// What the hub says to a token that has had its time is no last word: there is a new one to be had, or on its way.
    pub(super) fn mend(&self, core: &Core, cause: Cause, now: Instant) -> Cause {
        let Cause { why, recovery } = cause;
        let unauthorised = matches!(&why, Interruption::Refused(condition) if condition.name == UNAUTHORIZED);
        if unauthorised && self.token.has_ended(now) {
            let why = Interruption::TokenExpired;
            let recovery = Recovery::GiveUp;
            return Cause { why, recovery };
        }
        let renews = self.token.have.is_some_and(|held| held.renew_at.is_some());
        // A new one is with the hub, or waits for its connection: this was said of the one before.
        let is_of_old = self.token.renewing || core.line.is_retiring() || !self.token.is_fresh(now);
        let recovery = if unauthorised && renews && is_of_old && self.ever_up {
            Recovery::Reconnect
        } else {
            recovery
        };
        Cause { why, recovery }
    }
}

/// In thousandths of a token's life: 80 % ± 5 %.
const RENEW_FROM: u32 = 750;
const RENEW_TO: u32 = 850;

/// How soon a credential that failed is asked again, as the Java SDK does.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
