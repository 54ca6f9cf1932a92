//! The hub itself: who is known, who is there, what was said. It knows nothing of AMQP's frames, of sockets or
//! of tasks: it takes commands and the time, and gives effects.

mod activity;
mod authentication;
mod cbs;
mod connection;
mod event;
mod log;
mod message;
mod refusal;
mod registry;
mod ring;
mod thumbprint;
mod tokens;
mod value;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use iothub_address::{DeviceId, HubName, Identity, Node, PolicyName};
use iothub_sas::UnixTime;

pub use activity::{Activity, What};
pub use authentication::AuthFailure;
pub(crate) use authentication::{Names, Principal};
pub(crate) use cbs::{TokenRefusal, TokenRequest};
pub use event::{AuthMethod, Event, Scope, Sender, Source};
pub use message::{Body, Message, MessageId, Properties};
pub(crate) use refusal::{Condition, Refusal, Refusals};
pub use registry::{Authentication, Keys, RegistryError, Rights, Status};
pub(crate) use registry::{Policy, Registry};
pub use ring::LogLimits;
pub(crate) use ring::SharedRing;
pub use thumbprint::{NoThumbprint, Thumbprint, Thumbprints};
pub use value::Value;

use self::connection::{Connection, Use};
use self::log::Log;
use self::refusal::code;
use crate::clock::Timestamp;

/// A connection's number, from 1, never used twice.
pub(crate) type ConnectionId = u64;
/// A link's number, from 1, never used twice.
pub(crate) type LinkId = u64;
/// Ties an answer to the command that asked.
pub(crate) type Reply = u64;

/// What a connection asks of the hub.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client is there.
    Came { peer: SocketAddr },
    /// It shows who it is, or that it shows nothing. Answered by [`Answer::Admitted`].
    Authenticate { claim: Claim, reply: Reply },
    /// It puts a token. Answered by [`Answer::Token`].
    PutToken { request: TokenRequest, reply: Reply },
    /// It wants a link. Answered by [`Answer::Link`].
    OpenLink {
        link: LinkId,
        address: String,
        side: Side,
        reply: Reply,
    },
    /// It sends telemetry over a link that it was granted. Answered by [`Answer::Took`]: all of it or nothing.
    Telemetry {
        sender: Identity,
        messages: Vec<Message>,
        reply: Reply,
    },
    /// A link that it was granted has ended.
    LinkGone { link: LinkId },
    /// It is gone.
    Gone { why: String },
}

/// What a client shows for itself.
pub(crate) enum Claim {
    /// No SASL at all.
    Nothing,
    /// SASL PLAIN.
    Plain {
        user: String,
        password: zeroize::Zeroizing<String>,
    },
    /// SASL that went wrong before it came to a name.
    Broken(AuthFailure),
}

/// Which end of a link the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

/// What the hub wants done. In order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Give an answer to who waits for it.
    Answer(Reply, Answer),
    /// Detach a link and say why.
    Detach(LinkId, Refusal),
    /// Close a connection and say why.
    Close(ConnectionId, Refusal),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Admitted(Result<(), AuthFailure>),
    Token(Result<(), TokenRefusal>),
    Link(Result<Grant, Refusal>),
    Took(Result<(), Refusal>),
}

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Telemetry of this device or module.
    Telemetry(Identity),
    /// Requests to `$cbs`.
    TokenRequests,
    /// Its answers.
    TokenReplies,
}

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
    /// When each connection that has a token is to be looked at again.
    deadlines: BTreeSet<(Timestamp, ConnectionId)>,
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
            deadlines: BTreeSet::new(),
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
                self.unschedule(from);
                self.connections.remove(&from);
                self.note(from, What::Gone { why }, now);
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

    /// Removes the identity; who is connected as it is sent away.
    pub(crate) fn remove(&mut self, identity: &Identity, now: Timestamp) -> Result<(), RegistryError> {
        self.registry.remove(identity)?;
        self.send_away(&REMOVED, now);
        Ok(())
    }

    /// Enables or disables the device with its modules; who is connected as a disabled one is sent away.
    pub(crate) fn set_status(
        &mut self,
        device: &DeviceId,
        status: Status,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        self.registry.set_status(device, status)?;
        self.send_away(&DISABLED, now);
        Ok(())
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

    fn authenticate(&mut self, from: ConnectionId, claim: Claim, now: Timestamp) -> Result<(), AuthFailure> {
        let outcome = match claim {
            Claim::Nothing => {
                self.note(from, What::Anonymous, now);
                return Ok(());
            }
            Claim::Broken(failure) => Err(failure),
            Claim::Plain { user, password } => {
                let now = UnixTime::from_secs(now.as_unix_seconds());
                authentication::plain(&self.registry, &self.names, &user, &password, now)
            }
        };
        let admitted = outcome.map(|held| {
            let principal = held.principal.to_string();
            self.unschedule(from);
            self.connections.entry(from).or_default().admit(held);
            self.schedule(from);
            principal
        });
        self.note_authentication(from, admitted, now)
    }

    fn note_authentication(
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

    fn open_link(
        &mut self,
        from: ConnectionId,
        link: LinkId,
        address: &str,
        side: Side,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        let grant = self.grant(from, address, side, now)?;
        if let Some(connection) = self.connections.get_mut(&from) {
            connection.add_link(link, grant.clone());
        }
        Ok(grant)
    }

    fn grant(
        &mut self,
        from: ConnectionId,
        address: &str,
        side: Side,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        // How an id was escaped cannot be seen in the address; only the registry knows which reading is one.
        let mut readings = Node::readings(address);
        let registered = |node: &Node| {
            node.identity()
                .is_some_and(|found| self.registry.get(found).is_some())
        };
        let likeliest = readings.iter().position(registered).unwrap_or(0);
        let node = (!readings.is_empty()).then(|| readings.swap_remove(likeliest));
        match (node, side) {
            (Some(Node::Events(identity)), Side::Sender) => {
                self.authorize(from, &identity, Use::Open, now)?;
                Ok(Grant::Telemetry(identity))
            }
            (Some(Node::Cbs), Side::Sender) => self.once(from, Grant::TokenRequests, now),
            (Some(Node::Cbs), Side::Receiver) => self.once(from, Grant::TokenReplies, now),
            _ => Err(self.no_such_address(address, now)),
        }
    }

    /// One `$cbs` pair a connection, as at Event Hubs: a second one would leave open which link is answered on.
    fn once(&mut self, from: ConnectionId, grant: Grant, now: Timestamp) -> Result<Grant, Refusal> {
        let mut links = self
            .connections
            .get(&from)
            .into_iter()
            .flat_map(Connection::links);
        if !links.any(|(_, open)| *open == grant) {
            return Ok(grant);
        }
        let text = format!("A link to connection '{from}' $cbs node has already been opened.");
        Err(self
            .refusals
            .refuse(Condition::NotAllowed, code::INVALID_OPERATION, text, now))
    }

    fn telemetry(
        &mut self,
        from: ConnectionId,
        identity: &Identity,
        messages: Vec<Message>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let sender = self.authorize(from, identity, Use::Keep(self.token_grace), now)?;
        self.log.append(sender, Source::Telemetry, messages, now);
        Ok(())
    }

    /// Whether the connection may act as `identity` now. It is asked for every link and every message: rights end
    /// while links are open.
    fn authorize(
        &mut self,
        from: ConnectionId,
        identity: &Identity,
        at: Use,
        now: Timestamp,
    ) -> Result<Sender, Refusal> {
        let connection = self.connections.get(&from);
        let Some(method) = connection.and_then(|connection| connection.right(identity, at, now)) else {
            return Err(self.unauthorized(identity, now));
        };
        match self.registry.get(identity) {
            Some(entry) if self.registry.is_enabled(identity) => {
                Ok(Sender::new(identity.clone(), entry.generation_id.clone(), method))
            }
            // Only the holder of a policy can come here for an identity that is not there.
            None => {
                let text = format!("Device {identity} not registered.");
                Err(self
                    .refusals
                    .refuse(Condition::NotFound, code::DEVICE_NOT_FOUND, text, now))
            }
            Some(_) => Err(self.unauthorized(identity, now)),
        }
    }

    fn unauthorized(&mut self, identity: &Identity, now: Timestamp) -> Refusal {
        let text = format!("Not authorized to act as {identity}.");
        self.refusals.refuse(
            Condition::UnauthorizedAccess,
            code::UNAUTHORIZED_ACCESS,
            text,
            now,
        )
    }

    fn no_such_address(&mut self, address: &str, now: Timestamp) -> Refusal {
        let text = format!("The link address '{address}' did not match any of the expected formats.");
        self.refusals
            .refuse(Condition::NotFound, code::ADDRESS_NOT_FOUND, text, now)
    }

    /// After a change of the registry: closes the connections that came in by PLAIN as someone who may not be
    /// connected any more; of other connections, ends the links of such.
    fn send_away(&mut self, cause: &Cause, now: Timestamp) {
        self.deadlines.clear();
        for (connection, known) in &mut self.connections {
            known.drop_disabled(&self.registry);
            let end = known.first_end();
            self.deadlines
                .extend(end.map(|end| (end + self.token_grace, *connection)));
            let text = |identity: &Identity| format!("Device {identity} {}.", cause.what);
            if let Some(Principal::Identity { identity, .. }) = known.plain().map(|held| &held.principal)
                && !self.registry.is_enabled(identity)
            {
                let refused =
                    self.refusals
                        .refuse(Condition::ConnectionForced, cause.code, text(identity), now);
                self.effects.push_back(Effect::Close(*connection, refused));
                continue;
            }
            for (link, grant) in known.links() {
                if let Grant::Telemetry(identity) = grant
                    && !self.registry.is_enabled(identity)
                {
                    let refused = self
                        .refusals
                        .refuse(cause.condition, cause.code, text(identity), now);
                    self.effects.push_back(Effect::Detach(link, refused));
                }
            }
        }
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

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Plain { user, .. } => f
                .debug_struct("Plain")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Broken(failure) => f.debug_tuple("Broken").field(failure).finish(),
        }
    }
}

/// Why an identity may not be connected any more.
struct Cause {
    /// Of a link's detach.
    condition: Condition,
    code: u32,
    what: &'static str,
}

const REMOVED: Cause = Cause {
    condition: Condition::NotFound,
    code: code::DEVICE_NOT_FOUND,
    what: "was removed",
};
const DISABLED: Cause = Cause {
    condition: Condition::UnauthorizedAccess,
    code: code::DEVICE_DISABLED,
    what: "is disabled",
};

#[cfg(test)]
mod certificate_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tokens_tests;
