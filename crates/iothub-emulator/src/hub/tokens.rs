//! Tokens while connections are open: those that are put, and those that end.

use iothub_sas::UnixTime;

use super::authentication::{self, AuthFailure};
use super::cbs::{SAS_TYPES, TokenRequest};
use super::connection::Use;
use super::refusal::code;
use super::{Condition, ConnectionId, Effect, Grant, Hub, Refusals, What};
use crate::clock::Timestamp;

impl Hub {
    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes back what tokens allowed that ended more than the grace ago.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((deadline, connection)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.expire(connection, now);
        }
    }

    pub(super) fn put_token(
        &mut self,
        from: ConnectionId,
        request: TokenRequest,
        now: Timestamp,
    ) -> Result<(), AuthFailure> {
        let outcome = self.try_put_token(from, request, now);
        self.note_authentication(from, outcome, now)
    }

    /// Gives the principal that the token makes of the client.
    fn try_put_token(
        &mut self,
        from: ConnectionId,
        request: TokenRequest,
        now: Timestamp,
    ) -> Result<String, AuthFailure> {
        let (kind, audience, token) = match request {
            TokenRequest::Put {
                kind,
                audience,
                token,
            } => (kind, audience, token),
            TokenRequest::Broken(failure) => return Err(failure),
        };
        tracing::debug!(connection = from, audience, "a token is put");
        if !SAS_TYPES.contains(&kind.as_str()) {
            return Err(AuthFailure::TokenType(kind.chars().take(64).collect()));
        }
        let unix = UnixTime::from_secs(now.as_unix_seconds());
        let held = authentication::put_token(&self.registry, &self.names, &token, unix)?;
        let principal = held.principal.to_string();
        self.unschedule(from);
        let put = self.connections.entry(from).or_default().put(held);
        self.schedule(from);
        put.map(|()| principal)
    }

    /// Takes back what the connection's tokens allowed that have ended. PLAIN knows no renewal, so with its token
    /// the connection ends; with a token that was put, the links that no other one covers. The connection's
    /// deadline has been taken off the list.
    fn expire(&mut self, from: ConnectionId, now: Timestamp) {
        let keep = Use::Keep(self.token_grace);
        let Some(connection) = self.connections.get_mut(&from) else {
            return;
        };
        let mut expired = connection.expire(self.token_grace, now);
        let plain = connection.plain().filter(|held| !keep.allows(held, now));
        let close = plain.map(|held| held.principal.clone());
        let mut ended = Vec::new();
        if close.is_none() {
            for (link, grant) in connection.links() {
                if let Grant::Telemetry(identity) = grant
                    && connection.right(identity, keep, now).is_none()
                {
                    ended.push((link, format!("The token for {identity} has expired.")));
                }
            }
            self.schedule(from);
        }
        let refuse = |refusals: &mut Refusals, text| {
            refusals.refuse(
                Condition::UnauthorizedAccess,
                code::UNAUTHORIZED_ACCESS,
                text,
                now,
            )
        };
        for (link, text) in ended {
            let refused = refuse(&mut self.refusals, text);
            self.effects.push_back(Effect::Detach(link, refused));
        }
        if let Some(principal) = &close {
            let text = format!("The token for {principal} has expired.");
            let refused = refuse(&mut self.refusals, text);
            self.effects.push_back(Effect::Close(from, refused));
        }
        expired.extend(close);
        for principal in expired {
            let principal = principal.to_string();
            self.note(from, What::Expired { principal }, now);
        }
    }

    /// The moment at which the connection's first token is to be taken back.
    fn deadline(&self, of: ConnectionId) -> Option<Timestamp> {
        let end = self.connections.get(&of)?.first_end()?;
        Some(end + self.token_grace)
    }

    pub(super) fn schedule(&mut self, connection: ConnectionId) {
        if let Some(deadline) = self.deadline(connection) {
            self.deadlines.insert((deadline, connection));
        }
    }

    /// Before the connection's tokens change.
    pub(super) fn unschedule(&mut self, connection: ConnectionId) {
        if let Some(deadline) = self.deadline(connection) {
            self.deadlines.remove(&(deadline, connection));
        }
    }
}
