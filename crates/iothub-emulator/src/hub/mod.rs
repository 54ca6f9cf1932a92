//! The hub itself: who is known, who is there, what was said. It knows nothing of AMQP's frames, of sockets or
//! of tasks: it takes commands and the time, and gives effects.

mod activity;
mod admission;
mod agenda;
mod authentication;
mod cbs;
mod command;
mod connection;
mod departure;
mod event;
mod links;
mod log;
mod message;
mod refusal;
mod registry;
mod ring;
mod telemetry;
mod thumbprint;
mod tokens;
mod value;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use iothub_address::{HubName, Identity, PolicyName};

pub use activity::{Activity, What};
pub use authentication::AuthFailure;
pub(crate) use authentication::Names;
pub(crate) use cbs::{TokenRefusal, TokenRequest};
pub(crate) use command::{Answer, Claim, Command, ConnectionId, Effect, Grant, LinkId, Reply, Side};
pub use event::{AuthMethod, Event, Scope, Sender, Source};
pub use message::{Body, Message, MessageId, Properties};
pub(crate) use refusal::Refusal;
use refusal::Refusals;
pub use registry::{Authentication, Keys, RegistryError, Rights, Status};
pub(crate) use registry::{Policy, Registry};
pub use ring::LogLimits;
pub(crate) use ring::SharedRing;
pub use thumbprint::{NoThumbprint, Thumbprint, Thumbprints};
pub use value::Value;

use self::agenda::{Agenda, Due};
use self::connection::Connection;
use self::log::Log;
use crate::clock::Timestamp;

/// What a hub starts with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) hub: HubName,
    pub(crate) names: Names,
    pub(crate) partitions: u16,
    pub(crate) events: SharedRing<Event>,
    pub(crate) activities: SharedRing<Activity>,
    /// How long what was opened with a token outlives it.
    pub(crate) token_grace: Duration,
    /// Random: it makes generation ids and tracking ids of two hubs differ.
    pub(crate) seed: u64,
}

/// The hub. One task owns it.
#[derive(Debug)]
pub(crate) struct Hub {
    name: HubName,
    names: Names,
    registry: Registry,
    log: Log,
    activities: SharedRing<Activity>,
    connections: BTreeMap<ConnectionId, Connection>,
    token_grace: Duration,
    agenda: Agenda,
    refusals: Refusals,
    effects: VecDeque<Effect>,
    seed: u64,
}

impl Hub {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            name: setup.hub,
            names: setup.names,
            registry: Registry::default(),
            log: Log::new(setup.partitions, setup.events),
            activities: setup.activities,
            connections: BTreeMap::new(),
            token_grace: setup.token_grace,
            agenda: Agenda::default(),
            refusals: Refusals::new(setup.seed),
            effects: VecDeque::new(),
            seed: setup.seed,
        }
    }

    pub(crate) fn handle(&mut self, from: ConnectionId, command: Command, now: Timestamp) {
        match command {
            Command::Came { peer } => {
                self.connections.insert(from, Connection::default());
                self.note(from, What::Came { peer }, now);
            }
            Command::Authenticate { claim, reply } => {
                let outcome = self.authenticate(from, claim, now);
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Admitted(outcome)));
            }
            Command::PutToken { request, reply } => {
                let outcome = self.put_token(from, request, now);
                let answer = outcome.map_err(|failure| TokenRefusal::new(&failure, self.name.as_str()));
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Token(answer)));
            }
            Command::OpenLink {
                link,
                address,
                side,
                reply,
            } => {
                let outcome = self.open_link(from, link, &address, side, now);
                if let Err(refusal) = &outcome {
                    let condition = refusal.condition.as_str();
                    self.note(from, What::LinkRefused { address, condition }, now);
                }
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Link(outcome)));
            }
            Command::Telemetry {
                sender,
                messages,
                reply,
            } => {
                let outcome = self.telemetry(from, &sender, messages, now);
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Took(outcome)));
            }
            Command::LinkGone { link } => {
                if let Some(connection) = self.connections.get_mut(&from) {
                    connection.remove_link(link);
                }
            }
            Command::Gone { why } => {
                self.agenda.set(Due::Tokens(from), None);
                self.connections.remove(&from);
                self.note(from, What::Gone { why }, now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.agenda.first()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(due) = self.agenda.take(now) {
            match due {
                Due::Tokens(connection) => self.expire(connection, now),
            }
        }
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(crate) fn register(
        &mut self,
        identity: &Identity,
        authentication: Authentication,
    ) -> Result<(), RegistryError> {
        self.registry.register(identity, authentication, self.seed)
    }

    pub(crate) fn set_policy(&mut self, name: PolicyName, policy: Policy) {
        self.registry.set_policy(name, policy);
    }

    pub(crate) fn authentication(&self, identity: &Identity) -> Option<&Authentication> {
        self.registry.get(identity).map(|entry| &entry.authentication)
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = (&PolicyName, &Policy)> {
        self.registry.policies()
    }

    /// A tracking id for an answer that is made outside of the hub.
    pub(crate) fn tracking_id(&mut self, now: Timestamp) -> String {
        self.refusals.tracking_id(now)
    }

    fn note(&self, connection: ConnectionId, what: What, now: Timestamp) {
        let weight = match &what {
            What::LinkRefused { address, .. } => address.len(),
            What::Gone { why } => why.len(),
            _ => 0,
        };
        tracing::debug!(connection, "{what}");
        self.activities
            .lock()
            .push(Activity::new(now, connection, what), weight);
    }
}

#[cfg(test)]
mod certificate_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tokens_tests;
