//! Who is let in, and as whom.

use super::Hub;
use super::activity::What;
use super::authentication::{self, AuthFailure};
use super::certificate::{ClientCertificate, Shown};
use super::command::{Claim, ConnectionId};
use crate::clock::Timestamp;

impl Hub {
    pub(super) fn authenticate(
        &mut self,
        from: ConnectionId,
        claim: Claim,
        certificate: Option<ClientCertificate>,
        now: Timestamp,
    ) -> Result<(), AuthFailure> {
        let shown = certificate.map(|certificate| Shown::new(certificate, &self.authorities, now));
        let outcome = match claim {
            Claim::Nothing => {
                let what = shown
                    .as_ref()
                    .map_or(What::Anonymous, |shown| What::ShowedCertificate {
                        thumbprint: shown.thumbprint(),
                    });
                self.note(from, what, now);
                self.connections.entry(from).or_default().show(shown);
                return Ok(());
            }
            Claim::External => {
                let known = match &shown {
                    Some(shown) => shown.external(&self.registry, now),
                    None => Err(AuthFailure::Mechanism),
                };
                self.note_authentication(from, known, now)?;
                self.connections.entry(from).or_default().show(shown);
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
            let connection = self.connections.entry(from).or_default();
            connection.show(shown);
            connection.admit(held);
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
