//! Which links are granted, and to whom.

use iothub_address::{Identity, Node};

use super::Hub;
use super::activity::What;
use super::command::{ConnectionId, Grant, LinkId, Side, Terms};
use super::connection::{Connection, Use};
use super::event::Sender;
use super::message::Message;
use super::pairs::Kind;
use super::record::Part;
use super::refusal::{Condition, Refusal, code};
use crate::clock::Timestamp;

impl Hub {
    /// A link was granted.
    pub(super) fn open_link(
        &mut self,
        from: ConnectionId,
        link: LinkId,
        grant: &Grant,
        terms: &Terms,
        now: Timestamp,
    ) {
        if let Some(connection) = self.connections.get_mut(&from) {
            connection.add_link(link, grant.clone());
        }
        if let Some(identity) = grant.identity() {
            self.arrived(identity, from, now);
        }
        match grant {
            Grant::CloudToDevice(identity) => self.open_receiver(identity, link, terms.presettled, now),
            Grant::MethodCalls(identity) => {
                self.join_pair(grant, from, link, &terms.pair);
                self.methods_opened(identity, now);
            }
            Grant::TwinRequests(_) | Grant::TwinReplies(_) | Grant::MethodReplies(_) => {
                self.join_pair(grant, from, link, &terms.pair);
            }
            Grant::Events(reader) => self.open_reader(link, reader, now),
            Grant::Feedback => self.open_feedback(link, terms.presettled),
            Grant::Telemetry(identity) => self.note_model(identity, terms.model.as_deref()),
            Grant::TokenRequests
            | Grant::TokenReplies
            | Grant::ManagementRequests
            | Grant::ManagementReplies
            | Grant::ServiceCommands
            | Grant::FileNotifications => {}
        }
    }

    /// A device says with its telemetry link which model it speaks.
    fn note_model(&mut self, identity: &Identity, model: Option<&str>) {
        if let (Identity::Device(device), Some(model)) = (identity, model)
            && model.len() <= MAX_MODEL
            && self.registry.set_model(device, model)
        {
            self.changes.touch(|| Part::Identity(identity.clone()));
            self.twin_is_stale(identity);
        }
    }

    pub(super) fn link_gone(&mut self, from: ConnectionId, link: LinkId, now: Timestamp) {
        let connection = self.connections.get_mut(&from);
        let grant = connection.and_then(|connection| connection.remove_link(link));
        if let Some(identity) = grant.as_ref().and_then(Grant::identity) {
            self.left(identity, from, now);
        }
        match grant {
            Some(Grant::CloudToDevice(identity)) => self.receiver_gone(&identity, link, now),
            Some(Grant::MethodCalls(_) | Grant::MethodReplies(_)) => {
                if let Some(key) = self.leave_pair(link) {
                    self.methods_gone(&key, now);
                }
            }
            Some(Grant::TwinRequests(_) | Grant::TwinReplies(_)) => {
                self.leave_pair(link);
            }
            Some(Grant::Events(reader)) => self.reader_gone(link, &reader),
            Some(Grant::Feedback) => self.feedback_gone(link, now),
            Some(
                Grant::Telemetry(_)
                | Grant::TokenRequests
                | Grant::TokenReplies
                | Grant::ManagementRequests
                | Grant::ManagementReplies
                | Grant::ServiceCommands
                | Grant::FileNotifications,
            )
            | None => {}
        }
    }

    /// A message came over a link that is half of a pair.
    pub(super) fn request(
        &mut self,
        from: ConnectionId,
        link: LinkId,
        message: &Message,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(key) = self.pairs.of_link(link).cloned() else {
            return Ok(());
        };
        self.authorize(from, &key.identity, Use::Keep(self.token_grace), now)?;
        self.active(&key.identity, now);
        match key.kind {
            Kind::Twin => self.twin_request(&key, message, now),
            Kind::Methods => self.method_response(&key, message, now),
        }
        Ok(())
    }

    /// The connection has ended, and its links with it.
    pub(super) fn links_gone(&mut self, from: ConnectionId, now: Timestamp) {
        let connection = self.connections.get(&from);
        let links: Vec<_> = connection
            .into_iter()
            .flat_map(Connection::links)
            .map(|(link, _)| link)
            .collect();
        for link in links {
            self.link_gone(from, link, now);
        }
    }

    /// What the link is for, if the client may have it.
    pub(super) fn grant(
        &mut self,
        from: ConnectionId,
        address: &str,
        side: Side,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        self.unless_superseded(from, now)?;
        // How an id was escaped cannot be seen in the address; only the registry knows which reading is one.
        let mut readings = Node::readings(address);
        let registered = |node: &Node| {
            node.identity()
                .is_some_and(|found| self.registry.get(found).is_some())
        };
        let likeliest = readings.iter().position(registered).unwrap_or(0);
        let node = match readings.is_empty() {
            true if self.endpoint.is_management(address) => Some(Node::Management),
            true => None,
            false => Some(readings.swap_remove(likeliest)),
        };
        match (node, side) {
            (Some(Node::Events(identity)), Side::Sender) => {
                self.authorize(from, &identity, Use::Open, now)?;
                Ok(Grant::Telemetry(identity))
            }
            (Some(Node::Commands(identity)), Side::Receiver) => {
                self.authorize(from, &identity, Use::Open, now)?;
                Ok(Grant::CloudToDevice(identity))
            }
            // A module receives from its inputs at either address.
            (Some(Node::Events(identity @ Identity::Module(..))), Side::Receiver) => {
                self.authorize(from, &identity, Use::Open, now)?;
                Ok(Grant::CloudToDevice(identity))
            }
            (Some(Node::Twin(identity)), side) => {
                self.authorize(from, &identity, Use::Open, now)?;
                let grant = match side {
                    Side::Sender => Grant::TwinRequests(identity),
                    Side::Receiver => Grant::TwinReplies(identity),
                };
                self.check_pair(&grant, from, &terms.pair, now)?;
                Ok(grant)
            }
            (Some(Node::Methods(identity)), side) => {
                self.authorize(from, &identity, Use::Open, now)?;
                let grant = match side {
                    Side::Sender => Grant::MethodReplies(identity),
                    Side::Receiver => Grant::MethodCalls(identity),
                };
                self.check_pair(&grant, from, &terms.pair, now)?;
                Ok(grant)
            }
            (Some(Node::Cbs), Side::Sender) => self.once(from, Grant::TokenRequests, now),
            (Some(Node::Cbs), Side::Receiver) => self.once(from, Grant::TokenReplies, now),
            (Some(Node::HubEvents { .. } | Node::HubEventsManagement), Side::Receiver) => {
                Err(self.redirect(from, address, terms, now))
            }
            (
                Some(Node::EventHub {
                    name,
                    group,
                    partition,
                }),
                Side::Receiver,
            ) => self.grant_reader(from, (&name, &group, partition), terms, now),
            (Some(Node::ServiceCommands), Side::Sender) => {
                self.grant_service(from, Grant::ServiceCommands, now)
            }
            (Some(Node::Feedback), Side::Receiver) => self.grant_service(from, Grant::Feedback, now),
            (Some(Node::FileNotifications), Side::Receiver) => {
                self.grant_service(from, Grant::FileNotifications, now)
            }
            (Some(Node::Management), Side::Sender) => Ok(Grant::ManagementRequests),
            (Some(Node::Management), Side::Receiver) => Ok(Grant::ManagementReplies),
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

    /// Whether the connection may act as `identity` now. It is asked for every link and every message: rights end
    /// while links are open.
    pub(super) fn authorize(
        &mut self,
        from: ConnectionId,
        identity: &Identity,
        at: Use,
        now: Timestamp,
    ) -> Result<Sender, Refusal> {
        let connection = self.connections.get(&from);
        let right =
            connection.and_then(|connection| connection.right_or_why(identity, &self.registry, at, now));
        let method = match right {
            Some(Ok(method)) => method,
            Some(Err(why)) => {
                // The client is not told more than that it may not.
                self.note(from, What::Refused(why), now);
                return Err(self.unauthorized(identity, now));
            }
            None => return Err(self.unauthorized(identity, now)),
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
}

/// The longest name of a model, in bytes: DTDL allows 2,048 characters.
const MAX_MODEL: usize = 2048;
