//! Who is there. A device or module is there while it has a link, of whatever kind, so that it stays when some of its
//! links close; and it is there once: who comes on another connection takes over.

use std::collections::BTreeMap;

use iothub_address::Identity;

use super::Hub;
use super::activity::What;
use super::command::{ConnectionId, Effect, Grant};
use super::connection::{Connection, Use};
use super::event::AuthMethod;
use super::refusal::{Condition, Refusal, code};
use super::registry::RegistryError;
use crate::clock::Timestamp;

/// Whether a device or module is there, as the registry's and the twin's objects say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// `connectionState`.
    pub state: ConnectionState,
    /// `connectionStateUpdatedTime`: when it last came, went, or came on another connection; `None` if it never did in
    /// this hub's life. The real hub writes `0001-01-01T00:00:00` for that.
    pub state_updated: Option<Timestamp>,
    /// `lastActivityTime`: when it last connected, sent or received a message; `None` as above.
    pub last_activity: Option<Timestamp>,
}

/// `connectionState`, by the hub's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It has a link: telemetry, cloud-to-device messages, twin or methods.
    Connected,
    /// It has none.
    #[default]
    Disconnected,
}

impl ConnectionState {
    /// The hub's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
        }
    }
}

impl std::fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where everyone is who came since the hub began.
pub(crate) type Presences = BTreeMap<Identity, Whereabouts>;

#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    /// The connection that it is on, and how many links it has there.
    on: Option<(ConnectionId, usize)>,
    updated: Option<Timestamp>,
    active: Option<Timestamp>,
}

impl Whereabouts {
    pub(super) const fn is_there(&self) -> bool {
        self.on.is_some()
    }
}

impl Hub {
    /// Whether a device or module is there.
    pub(crate) fn presence(&self, identity: &Identity) -> Result<Presence, RegistryError> {
        if self.registry.get(identity).is_none() {
            return Err(RegistryError::NotFound(identity.clone()));
        }
        let known = self.presences.get(identity);
        Ok(Presence {
            state: match known.and_then(|known| known.on) {
                Some(_) => ConnectionState::Connected,
                None => ConnectionState::Disconnected,
            },
            state_updated: known.and_then(|known| known.updated),
            last_activity: known.and_then(|known| known.active),
        })
    }

    /// It has been granted a link on this connection.
    pub(super) fn arrived(&mut self, identity: &Identity, on: ConnectionId, now: Timestamp) {
        let known = self.presences.entry(identity.clone()).or_default();
        known.active = Some(now);
        let before = known.on;
        known.on = match before {
            Some((connection, links)) if connection == on => Some((on, links + 1)),
            _ => {
                known.updated = Some(now);
                Some((on, 1))
            }
        };
        if let Some((former, _)) = before
            && former != on
        {
            self.take_over(identity, former, on, now);
        }
    }

    /// A link that it had on this connection is no more.
    pub(super) fn left(&mut self, identity: &Identity, on: ConnectionId, now: Timestamp) {
        let Some(known) = self.presences.get_mut(identity) else {
            return;
        };
        match &mut known.on {
            Some((connection, links)) if *connection == on && *links > 1 => *links -= 1,
            Some((connection, _)) if *connection == on => {
                known.on = None;
                known.updated = Some(now);
            }
            // It has gone elsewhere already.
            _ => {}
        }
    }

    /// It has sent something, or was sent something.
    pub(super) fn active(&mut self, identity: &Identity, now: Timestamp) {
        if let Some(known) = self.presences.get_mut(identity) {
            known.active = Some(now);
        }
    }

    /// Ends the links that the identity has on the connection that it was on. A connection that is its alone, by
    /// PLAIN or by its certificate, is closed: it is good for nothing else. One that came by `$cbs` lives, and may
    /// carry others.
    ///
    /// That the newer wins is documented; what the older is told is not, and traces disagree. With
    /// `amqp:link:stolen` the C# and Java SDKs connect again.
    fn take_over(&mut self, identity: &Identity, former: ConnectionId, newer: ConnectionId, now: Timestamp) {
        let keep = Use::Keep(self.token_grace);
        let Some(connection) = self.connections.get_mut(&former) else {
            return;
        };
        let closes = connection.is_only(identity)
            && (connection.plain_is(identity)
                || matches!(
                    connection.right(identity, &self.registry, keep, now),
                    Some(AuthMethod::Certificate(_))
                ));
        connection.superseded = closes;
        let links: Vec<_> = connection
            .links()
            .filter(|(_, grant)| grant.identity() == Some(identity))
            .map(|(link, grant)| (link, grant.clone()))
            .collect();
        let what = What::TakenOver {
            identity: identity.clone(),
            by: newer,
        };
        self.note(former, what, now);
        for (link, grant) in links {
            // From now on nothing goes over it.
            self.link_gone(former, link, now);
            if !closes {
                let text = match grant {
                    Grant::CloudToDevice(_) => RECEIVER_TAKEN.to_owned(),
                    _ => format!("{identity} has connected on another connection."),
                };
                let refusal =
                    self.refusals
                        .refuse(Condition::LinkStolen, code::CLOSED_ON_NEW_CONNECTION, text, now);
                self.effects.push_back(Effect::Detach(link, refusal));
            }
        }
        if closes {
            let refusal = self.superseded(now);
            self.effects.push_back(Effect::Close(former, refusal));
        }
    }

    /// Refuses links to a connection that is about to be closed: with one more its device would come back, and the
    /// newer connection go.
    pub(super) fn unless_superseded(&mut self, from: ConnectionId, now: Timestamp) -> Result<(), Refusal> {
        let connection = self.connections.get(&from);
        if connection.is_some_and(|connection| connection.superseded) {
            return Err(self.superseded(now));
        }
        Ok(())
    }

    fn superseded(&mut self, now: Timestamp) -> Refusal {
        let text = "The device has connected on another connection.";
        self.refusals.refuse(
            Condition::ConnectionForced,
            code::CLOSED_ON_NEW_CONNECTION,
            text,
            now,
        )
    }
}

impl Connection {
    /// Whether no link is another identity's.
    fn is_only(&self, identity: &Identity) -> bool {
        let mut identities = self.links().filter_map(|(_, grant)| grant.identity());
        identities.all(|other| other == identity)
    }
}

/// As traces of the real hub have it.
pub(super) const RECEIVER_TAKEN: &str = "Another AMQP Client has opened a Receive Link";

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
