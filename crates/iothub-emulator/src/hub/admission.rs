//! Who is let in, and as whom.

use super::Hub;
use super::activity::What;
use super::authentication::{self, AuthFailure};
use super::command::{Claim, ConnectionId};
use crate::clock::Timestamp;

impl Hub {
    pub(super) fn authenticate(
        &mut self,
        from: ConnectionId,
        claim: Claim,
        now: Timestamp,
    ) -> Result<(), AuthFailure> {
        let outcome = match claim {
            Claim::Nothing => {
                self.note(from, What::Anonymous, now);
                return Ok(());
            }
            Claim::Broken(failure) => Err(failure),
            Claim::Plain { user, password } => {
                let time = self.token_time(now);
                authentication::plain(&self.registry, &self.names, &user, &password, time)
                    .map(|held| self.with_skew(held))
            }
        };
        let admitted = outcome.map(|held| {
            let principal = held.principal.to_string();
            self.connections.entry(from).or_default().admit(held);
            self.schedule_tokens(from);
            principal
        });
        self.note_authentication(from, admitted, now)
    }

    pub(super) fn note_authentication(
        &self,
        from: ConnectionId,
        outcome: Result<String, AuthFailure>,
        now: Timestamp,
    ) -> Result<(), AuthFailure> {
        match outcome {
            Ok(principal) => {
                self.note(from, What::Authenticated { principal }, now);
                Ok(())
            }
            Err(failure) => {
                self.note(from, What::Refused(failure.clone()), now);
                Err(failure)
            }
        }
    }
}
