//! The built-in event endpoint: it looks like a namespace of Event Hubs with one event hub in it, which is named as the hub
//! is, in small letters. Clients find it by a redirect, or know it.

mod heads;
mod position;
mod reach;
mod readers;

use std::collections::BTreeSet;

use iothub_address::{ConsumerGroup, EventHubName, HubHost, HubName};

pub(crate) use self::heads::{Head, Heads, Reached};
#[cfg(test)]
pub(crate) use self::position::Bound;
pub(crate) use self::position::Position;
pub(crate) use self::reach::Reach;
use self::readers::{MAX_SHARED, NoSeat, Readers};
use super::Hub;
use super::authentication;
use super::command::{ConnectionId, Effect, Filter, Grant, LinkId, Terms};
use super::connection::{Connection, Use};
use super::refusal::{Condition, Redirect, Refusal, code};
use super::value::Value;
use crate::clock::Timestamp;

/// What the endpoint is made of.
#[derive(Debug)]
pub(crate) struct EventEndpoint {
    entity: EventHubName,
    /// Where clients are sent that did not say by which of the hub's names they came.
    host: HubHost,
    port: u16,
    groups: BTreeSet<ConsumerGroup>,
    readers: Readers,
    heads: Heads,
}

/// What a reader reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    pub(crate) group: ConsumerGroup,
    pub(crate) partition: u16,
    pub(crate) position: Position,
    /// With each event it gets how far the partition has come.
    pub(crate) runtime_metric: bool,
    /// It reads alone, and who comes with a higher one, or the same, takes its place.
    pub(crate) epoch: Option<u64>,
}

impl EventEndpoint {
    /// `groups` are those beside `$Default`, which is always there.
    pub(crate) fn new(
        hub: &HubName,
        host: HubHost,
        port: u16,
        groups: impl IntoIterator<Item = ConsumerGroup>,
        heads: Heads,
    ) -> Self {
        let default = DEFAULT_GROUP.parse().expect("it is a consumer group's name");
        Self {
            entity: entity_of(hub),
            host,
            port,
            groups: std::iter::once(default).chain(groups).collect(),
            readers: Readers::default(),
            heads,
        }
    }

    /// Whether the address is that of the management node with the event hub's name before it, as a redirect has it.
    pub(crate) fn is_management(&self, address: &str) -> bool {
        let path = address.split_once("://").map_or(address, |(_, rest)| {
            rest.split_once('/').map_or("", |(_, path)| path)
        });
        let path = path.strip_prefix('/').unwrap_or(path);
        path.split_once('/').is_some_and(|(entity, node)| {
            entity.eq_ignore_ascii_case(self.entity.as_str()) && node.eq_ignore_ascii_case("$management")
        })
    }

    fn reader_path(&self, group: &ConsumerGroup, partition: u16) -> String {
        format!("/{}/ConsumerGroups/{group}/Partitions/{partition}", self.entity)
    }

    /// What a client must reach to have the link; `None` for what is no link of a service.
    pub(crate) fn asks_of(&self, grant: &Grant) -> Option<Reach> {
        match grant {
            Grant::Events(reader) => Some(Reach::events(&self.reader_path(&reader.group, reader.partition))),
            Grant::ServiceCommands | Grant::Feedback | Grant::FileNotifications => Some(Reach::Hub),
            _ => None,
        }
    }
}

/// The name of the event hub in the endpoint.
pub(crate) fn entity_of(hub: &HubName) -> EventHubName {
    EventHubName::parse(&hub.as_str().to_ascii_lowercase())
        .expect("what a hub's name is made of, an event hub's may be")
}

impl Hub {
    /// Sends a reader of the hub's events on to the event endpoint, which is at the hub's own AMQPS port: by the name that
    /// the client has dialled, since that is one which leads here and which the certificate holds.
    pub(super) fn redirect(
        &mut self,
        from: ConnectionId,
        address: &str,
        terms: &Terms,
        now: Timestamp,
    ) -> Refusal {
        if let Err(refusal) = self.authorize_service(from, &Reach::Hub, Use::Open, now) {
            return refusal;
        }
        let dialled = terms.dialled.as_deref().and_then(|name| self.names.host(name));
        let host = dialled.unwrap_or(&self.endpoint.host).to_string();
        let port = self.endpoint.port;
        let tail = tail_of(address);
        let address = format!("amqps://{host}:{port}/{}/{tail}", self.endpoint.entity);
        self.refusals.redirect(Redirect { host, port, address }, now)
    }

    /// A link to read a partition by.
    pub(super) fn grant_reader(
        &mut self,
        from: ConnectionId,
        (entity, group, partition): (&EventHubName, &ConsumerGroup, u32),
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        let path = format!("/{entity}/ConsumerGroups/{group}/Partitions/{partition}");
        self.authorize_service(from, &Reach::events(&path), Use::Open, now)?;
        if *entity != self.endpoint.entity {
            let text = format!("The messaging entity '{entity}' could not be found.");
            return Err(self.not_found(text, now));
        }
        let Some(group) = self.endpoint.groups.get(group).cloned() else {
            let text = format!("The messaging entity '{entity}~{group}' could not be found.");
            return Err(self.not_found(text, now));
        };
        let count = self.endpoint.heads.partitions();
        let known = u16::try_from(partition).ok().filter(|number| *number < count);
        let Some(partition) = known else {
            let text = format!(
                "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 \
                 and {}.",
                count - 1
            );
            return Err(self.out_of_range(text, now));
        };
        let position = self.position_of(partition, &terms.filter, now)?;
        let epoch = self.epoch_of(terms.epoch.as_ref(), now)?;
        if let Err(why) = self.endpoint.readers.check(&group, partition, epoch) {
            return Err(self.no_seat(why, epoch, now));
        }
        Ok(Grant::Events(Box::new(Reader {
            group,
            partition,
            position,
            runtime_metric: terms.runtime_metric,
            epoch,
        })))
    }

    /// Whether who asks the management node may: by a token that the connection has shown, or by one in the request, as
    /// the .NET SDK has it, which opens the node's links without any. So the links are everyone's.
    pub(super) fn may_manage(
        &mut self,
        from: ConnectionId,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let asked = Reach::events(&format!("/{}/$management", self.endpoint.entity));
        let shown = token.map(|token| {
            let time = self.token_time(now);
            authentication::put_token(&self.registry, &self.names, token, time)
        });
        match shown {
            Some(Ok(held)) if held.principal.may_serve(&asked) => Ok(()),
            _ => self.authorize_service(from, &asked, Use::Keep(self.token_grace), now),
        }
    }

    /// It reads from now on, and others perhaps no more.
    pub(super) fn open_reader(&mut self, link: LinkId, reader: &Reader, now: Timestamp) {
        let Reader {
            group,
            partition,
            epoch,
            ..
        } = reader;
        for (gone, had) in self.endpoint.readers.sit(group, *partition, *epoch, link) {
            let (epoch, had) = (epoch.unwrap_or_default(), had.unwrap_or_default());
            let text = format!(
                "New receiver 'nil' with higher epoch of '{epoch}' is created hence current receiver 'nil' with epoch '{had}' \
                 is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used."
            );
            let refusal = self.stolen(text, now);
            self.effects.push_back(Effect::Detach(gone, refusal));
        }
    }

    pub(super) fn reader_gone(&mut self, link: LinkId, reader: &Reader) {
        self.endpoint.readers.leave(&reader.group, reader.partition, link);
    }

    /// Whether the connection may use a part of what services use. It is asked for every link.
    pub(super) fn authorize_service(
        &mut self,
        from: ConnectionId,
        asked: &Reach,
        at: Use,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let connection = self.connections.get(&from);
        if connection.is_some_and(|connection| connection.may_serve(asked, at, now)) {
            return Ok(());
        }
        let text = "Unauthorized access. 'ServiceConnect' rights are required to perform this operation.";
        Err(self.refusals.refuse(
            Condition::UnauthorizedAccess,
            code::UNAUTHORIZED_ACCESS,
            text,
            now,
        ))
    }

    /// The links of services on a connection that none of its tokens is good for any more.
    pub(super) fn services_without_right(
        &self,
        connection: &Connection,
        keep: Use,
        now: Timestamp,
    ) -> Vec<LinkId> {
        let links = connection.links().filter(|(_, grant)| {
            let asked = self.endpoint.asks_of(grant);
            asked.is_some_and(|asked| !connection.may_serve(&asked, keep, now))
        });
        links.map(|(link, _)| link).collect()
    }

    fn position_of(&mut self, partition: u16, filter: &Filter, now: Timestamp) -> Result<Position, Refusal> {
        let position = match filter {
            Filter::None => Ok(Position::Start),
            Filter::Selector(text) => Position::of_selector(text).map_err(|why| why.to_string()),
            Filter::NoText => Err("a selector is a described string".to_owned()),
        };
        let position =
            position.map_err(|why| self.invalid_argument(format!("The filter is not valid: {why}."), now))?;
        let next = self.log.next(partition);
        let head = self.endpoint.heads.of(partition).and_then(|reached| reached.head);
        let last = |of: fn(&Head) -> u64| {
            head.as_ref()
                .map_or_else(|| "-1".to_owned(), |head| of(head).to_string())
        };
        let (what, asked, next, last) = match position {
            Position::Offset(bound) => ("offset", bound.value(), next.offset(), last(|head| head.offset)),
            Position::SequenceNumber(bound) => (
                "sequence number",
                bound.value(),
                next.sequence_number(),
                last(|head| head.sequence_number),
            ),
            _ => return Ok(position),
        };
        // What comes next may be asked for before it is there; what cannot be there yet is another log's, mostly one of a
        // hub that has been started anew.
        // In the words of traces in azure-event-hubs-python issue 13, azure-sdk-for-java issue 10215 and azure-firewall-mon
        // issue 21.
        if asked > i64::try_from(next).unwrap_or(i64::MAX) {
            let text = format!(
                "The supplied {what} '{asked}' is invalid. The last {what} in the system is '{last}'"
            );
            return Err(self.invalid_argument(text, now));
        }
        Ok(position)
    }

    fn epoch_of(&mut self, epoch: Option<&Value>, now: Timestamp) -> Result<Option<u64>, Refusal> {
        let number = match epoch {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Long(epoch)) => u64::try_from(*epoch).ok(),
            Some(Value::Int(epoch)) => u64::try_from(*epoch).ok(),
            Some(Value::Ulong(epoch)) => Some(*epoch),
            Some(Value::Uint(epoch)) => Some(u64::from(*epoch)),
            Some(_) => None,
        };
        if number.is_none() {
            let text = "The link property com.microsoft:epoch is no number from 0 on.";
            return Err(self.invalid_argument(text.to_owned(), now));
        }
        Ok(number)
    }

    /// In the real endpoint's words (traces in Azure/azure-sdk-for-java issues 12483 and 26583, azure-docs issue 24985 and
    /// iothub-explorer issue 57). It calls those who have told no name `nil`.
    fn no_seat(&mut self, why: NoSeat, epoch: Option<u64>, now: Timestamp) -> Refusal {
        let text = match why {
            NoSeat::HigherEpoch(there) => format!(
                "Receiver 'nil' with a higher epoch '{there}' already exists. Receiver 'nil' with epoch {} cannot be created. Make \
                 sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old \
                 epoch receivers are closed or disconnected.",
                epoch.unwrap_or_default()
            ),
            NoSeat::Exclusive(there) => format!(
                "At least one receiver for the endpoint is created with epoch of '{there}', and so non-epoch receiver is \
                 not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or \
                 disconnected."
            ),
            NoSeat::TooMany => {
                let text = format!(
                    "Exceeded the maximum number of allowed receivers per partition in a consumer group which is \
                     {MAX_SHARED}. List of connected receivers - {}.",
                    ["nil"; MAX_SHARED].join(", ")
                );
                return self.refusals.refuse(
                    Condition::ResourceLimitExceeded,
                    code::QUOTA_EXCEEDED,
                    text,
                    now,
                );
            }
        };
        self.stolen(text, now)
    }

    fn stolen(&mut self, text: String, now: Timestamp) -> Refusal {
        self.refusals
            .refuse(Condition::LinkStolen, code::CLOSED_ON_NEW_CONNECTION, text, now)
    }

    fn not_found(&mut self, text: String, now: Timestamp) -> Refusal {
        self.refusals
            .refuse(Condition::NotFound, code::ADDRESS_NOT_FOUND, text, now)
    }

    fn out_of_range(&mut self, text: String, now: Timestamp) -> Refusal {
        self.refusals
            .refuse(Condition::OutOfRange, code::INVALID_ARGUMENT, text, now)
    }

    fn invalid_argument(&mut self, text: String, now: Timestamp) -> Refusal {
        self.refusals
            .refuse(Condition::InvalidArgument, code::INVALID_ARGUMENT, text, now)
    }
}

/// What stands behind `messages/events/` in a link address: the redirect repeats it.
fn tail_of(address: &str) -> &str {
    let found = address.to_ascii_lowercase().find(EVENTS);
    found.map_or("", |at| &address[at + EVENTS.len()..])
}

/// The consumer group that every hub has.
const DEFAULT_GROUP: &str = "$Default";
const EVENTS: &str = "messages/events/";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::of_tests;
