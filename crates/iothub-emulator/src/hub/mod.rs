//! The hub itself: who is known, who is there, what was said. It knows nothing of AMQP's frames, of sockets or
//! of tasks: it takes commands and the time, and gives effects.

mod activity;
mod authentication;
mod event;
mod log;
mod message;
mod refusal;
mod registry;
mod ring;
mod value;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use iothub_address::{DeviceId, Identity, Node, PolicyName};
use iothub_sas::UnixTime;

pub use activity::{Activity, What};
pub use authentication::AuthFailure;
pub(crate) use authentication::{Names, Principal};
pub use event::{AuthMethod, Event, Scope, Sender, Source};
pub use message::{Body, Message, MessageId, Properties};
pub(crate) use refusal::{Condition, Refusal, Refusals};
pub use registry::{Keys, RegistryError, Rights, Status};
pub(crate) use registry::{Policy, Registry};
pub use ring::LogLimits;
pub(crate) use ring::SharedRing;
pub use value::Value;

use self::log::Log;
use self::refusal::code;
use crate::clock::Timestamp;

/// A connection's number, from 1, never used twice.
pub(crate) type ConnectionId = u64;
/// Ties an answer to the command that asked.
pub(crate) type Reply = u64;

/// What a connection asks of the hub.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client is there.
    Came { peer: SocketAddr },
    /// It shows who it is, or that it shows nothing. Answered by [`Answer::Admitted`].
    Authenticate { claim: Claim, reply: Reply },
    /// It wants a link. Answered by [`Answer::Link`].
    OpenLink {
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
    /// Close a connection and say why.
    Close(ConnectionId, Refusal),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Admitted(Result<(), AuthFailure>),
    Link(Result<Grant, Refusal>),
    Took(Result<(), Refusal>),
}

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Telemetry of this device or module.
    Telemetry(Identity),
}

/// What a hub starts with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) names: Names,
    pub(crate) partitions: u16,
    pub(crate) events: SharedRing<Event>,
    pub(crate) activities: SharedRing<Activity>,
    /// Random: it makes generation ids and tracking ids of two hubs differ.
    pub(crate) seed: u64,
}

/// The hub. One task owns it.
#[derive(Debug)]
pub(crate) struct Hub {
    names: Names,
    registry: Registry,
    log: Log,
    activities: SharedRing<Activity>,
    /// Who is behind each connection; `None` for one that showed nothing.
    connections: HashMap<ConnectionId, Option<Principal>>,
    refusals: Refusals,
    effects: VecDeque<Effect>,
    seed: u64,
}

impl Hub {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            names: setup.names,
            registry: Registry::default(),
            log: Log::new(setup.partitions, setup.events),
            activities: setup.activities,
            connections: HashMap::new(),
            refusals: Refusals::new(setup.seed),
            effects: VecDeque::new(),
            seed: setup.seed,
        }
    }

    pub(crate) fn handle(&mut self, from: ConnectionId, command: Command, now: Timestamp) {
        match command {
            Command::Came { peer } => {
                self.connections.insert(from, None);
                self.note(from, What::Came { peer }, now);
            }
            Command::Authenticate { claim, reply } => {
                let outcome = self.authenticate(from, claim, now);
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Admitted(outcome)));
            }
            Command::OpenLink { address, side, reply } => {
                let outcome = self.open_link(from, &address, side, now);
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
            Command::Gone { why } => {
                self.connections.remove(&from);
                self.note(from, What::Gone { why }, now);
            }
        }
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(crate) fn register(&mut self, identity: &Identity, keys: Keys) -> Result<(), RegistryError> {
        self.registry.register(identity, keys, self.seed)
    }

    /// Removes the identity; who is connected as it is sent away.
    pub(crate) fn remove(&mut self, identity: &Identity, now: Timestamp) -> Result<(), RegistryError> {
        self.registry.remove(identity)?;
        self.send_away(code::DEVICE_NOT_FOUND, "was removed", now);
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
        self.send_away(code::DEVICE_DISABLED, "is disabled", now);
        Ok(())
    }

    pub(crate) fn set_policy(&mut self, name: PolicyName, policy: Policy) {
        self.registry.set_policy(name, policy);
    }

    pub(crate) fn keys(&self, identity: &Identity) -> Option<&Keys> {
        self.registry.get(identity).map(|entry| &entry.keys)
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
        match outcome {
            Ok(principal) => {
                self.note(
                    from,
                    What::Authenticated {
                        principal: principal.to_string(),
                    },
                    now,
                );
                self.connections.insert(from, Some(principal));
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
                self.authorize(from, &identity, now)?;
                Ok(Grant::Telemetry(identity))
            }
            _ => Err(self.no_such_address(address, now)),
        }
    }

    fn telemetry(
        &mut self,
        from: ConnectionId,
        identity: &Identity,
        messages: Vec<Message>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let sender = self.authorize(from, identity, now)?;
        self.log.append(sender, Source::Telemetry, messages, now);
        Ok(())
    }

    /// Whether the connection may act as `identity` now. It is asked for every link and every message: rights end
    /// while links are open.
    fn authorize(
        &mut self,
        from: ConnectionId,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Sender, Refusal> {
        let method = match self.connections.get(&from).and_then(Option::as_ref) {
            Some(Principal::Identity {
                identity: own,
                method,
            }) if own == identity => *method,
            Some(Principal::Policy { rights, .. }) if rights.device_connect => AuthMethod::Policy,
            _ => return Err(self.unauthorized(identity, now)),
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

    /// Closes every connection whose identity may not be connected any more.
    fn send_away(&mut self, code: u32, what: &str, now: Timestamp) {
        for (connection, principal) in &self.connections {
            let Some(Principal::Identity { identity, .. }) = principal else {
                continue;
            };
            if !self.registry.is_enabled(identity) {
                let text = format!("Device {identity} {what}.");
                let refusal = self.refusals.refuse(Condition::ConnectionForced, code, text, now);
                self.effects.push_back(Effect::Close(*connection, refusal));
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

#[cfg(test)]
mod tests;
