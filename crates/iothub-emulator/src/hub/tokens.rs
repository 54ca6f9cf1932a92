//! Tokens while connections are open: those that are put, and those that end.

use iothub_sas::UnixTime;

use super::Hub;
use super::activity::What;
use super::agenda::Due;
use super::authentication::{self, AuthFailure, Held, Principal};
use super::cbs::{SAS_TYPES, TokenRequest};
use super::command::{ConnectionId, Effect};
use super::connection::{Connection, Use};
use super::faults::TokenFault;
use super::refusal::{Condition, Refusals, code};
use crate::clock::Timestamp;

impl Hub {
    /// Gives when the client is to be told that its token was taken.
    pub(super) fn put_token(
        &mut self,
        from: ConnectionId,
        request: TokenRequest,
        now: Timestamp,
    ) -> Result<Timestamp, AuthFailure> {
        let (principal, at) = match self.try_put_token(from, request, now) {
            Ok((principal, at)) => (Ok(principal), at),
            Err(failure) => (Err(failure), now),
        };
        self.note_authentication(from, principal, now)?;
        Ok(at)
    }

    /// Gives the principal that the token makes of the client.
    fn try_put_token(
        &mut self,
        from: ConnectionId,
        request: TokenRequest,
        now: Timestamp,
    ) -> Result<(String, Timestamp), AuthFailure> {
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
        let held = authentication::put_token(&self.registry, &self.names, &token, self.token_time(now))?;
        let held = self.with_skew(held);
        let identity = match &held.principal {
            Principal::Identity { identity, .. } => Some(identity),
            Principal::Policy { .. } => None,
        };
        let fault = self.token_fault(identity);
        if let Some(TokenFault::Refused(status)) = fault {
            return Err(AuthFailure::Injected { status });
        }
        let principal = held.principal.to_string();
        let renews = self.connections.entry(from).or_default().holds(&held.principal);
        let at = if renews { now } else { self.count_token(now)? };
        let put = self.connections.entry(from).or_default().put(held);
        self.schedule_tokens(from);
        put?;
        match fault {
            Some(_) => Err(AuthFailure::Swallowed),
            None => Ok((principal, at)),
        }
    }

    /// The time that a token has to outlive.
    pub(super) fn token_time(&self, now: Timestamp) -> UnixTime {
        let skew = self.clock_skew.as_secs();
        UnixTime::from_secs(now.as_unix_seconds().saturating_sub(skew))
    }

    /// The token holds for longer, by as much as clocks may differ.
    pub(super) fn with_skew(&self, held: Held) -> Held {
        Held {
            until: held.until + self.clock_skew,
            ..held
        }
    }

    /// Takes back what the connection's tokens allowed that have ended. PLAIN knows no renewal, so with its token
    /// the connection ends; with a token that was put, the links that no other one covers. The connection's
    /// deadline has been taken off the list.
    pub(super) fn expire(&mut self, from: ConnectionId, now: Timestamp) {
        let keep = Use::Keep(self.token_grace);
        let Some(connection) = self.connections.get_mut(&from) else {
            return;
        };
        let mut expired = connection.expire(self.token_grace, now);
        let connection = &self.connections[&from];
        let plain = connection.plain().filter(|held| !keep.allows(held, now));
        let close = plain.map(|held| held.principal.clone());
        let mut ended = Vec::new();
        if close.is_none() {
            for (link, grant) in connection.links() {
                if let Some(identity) = grant.identity()
                    && connection.right(identity, &self.registry, keep, now).is_none()
                {
                    ended.push((link, format!("The token for {identity} has expired.")));
                }
            }
            let services = self.services_without_right(connection, keep, now).into_iter();
            ended.extend(services.map(|link| (link, "The token has expired.".to_owned())));
            self.schedule_tokens(from);
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

    /// After the connection's tokens have changed.
    pub(super) fn schedule_tokens(&mut self, of: ConnectionId) {
        let end = self.connections.get(&of).and_then(Connection::first_end);
        self.agenda
            .set(Due::Tokens(of), end.map(|end| end + self.token_grace));
    }
}
