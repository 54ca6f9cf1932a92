//! How a client of events is to connect.

use std::fmt;
use std::sync::Arc;

use iothub_address::{
    ConnectionString, ConnectionStringKind, ConsumerGroup, EventHubName, HubHost, Resource,
};

use super::endpoint::Endpoint;
use super::{About, EventsClient, management};
use crate::access::{Access, service_settings};
use crate::driver::place::Place;
use crate::error::{ConnectError, EventsError};
use crate::{Credential, Transport};

/// How an [`EventsClient`] is to connect.
///
/// # Delivery
/// Nobody is contacted before [`connect`](Self::connect), which finds the endpoint and takes no event.
///
/// # Cancel safety
/// Dropping it tells nobody anything. Dropping a future of [`connect`](Self::connect) leaves neither a connection nor a
/// task.
#[derive(Clone)]
pub struct EventsClientBuilder {
    access: Access,
    /// `None` if the hub is to be asked.
    event_hub: Option<EventHubName>,
    group: ConsumerGroup,
}

impl EventsClientBuilder {
    pub(super) fn hub_events(host: HubHost, credential: Arc<dyn Credential>) -> Self {
        Self {
            access: Access::new(host, credential),
            event_hub: None,
            group: default_group(),
        }
    }

    pub(super) fn with(connection: &ConnectionString) -> Result<Self, ConnectError> {
        let event_hub = match (connection.kind(), connection.entity_path()) {
            (ConnectionStringKind::Service, _) => None,
            (ConnectionStringKind::EventHub, Some(name)) => Some(name.clone()),
            _ => return Err(ConnectError::NotAServicesConnection),
        };
        Ok(Self {
            access: Access::with(connection)?,
            event_hub,
            group: default_group(),
        })
    }

    /// Reads as one of this consumer group. Default `$Default`.
    #[must_use]
    pub fn consumer_group(mut self, group: ConsumerGroup) -> Self {
        self.group = group;
        self
    }

    service_settings!();

    /// Connects to the hub and follows its redirect, unless the event hub is known; connects there, signs in and asks for
    /// the partitions. One attempt.
    ///
    /// The second connection is made as the first, to the host that the redirect names; to its port too, but for
    /// WebSockets and plain TCP, for which it names none.
    ///
    /// # Errors
    /// [`EventsError::Connect`] if a connection can't be made, [`EventsError::NoRedirect`] and
    /// [`EventsError::BadRedirect`] if the hub does not say where its events are, [`EventsError::Management`] and
    /// [`EventsError::NotAnswered`] if the endpoint does not say what partitions it has.
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(self) -> Result<EventsClient, EventsError> {
        let mut access = self.access;
        let name = match self.event_hub {
            Some(name) => name,
            None => {
                let Endpoint { host, port, name } = super::endpoint::of_hub(access.clone()).await?;
                access.way.host = host;
                if access.way.transport == Transport::Amqp && !access.way.plain_tcp {
                    access.way.port = port.or(access.way.port);
                }
                name
            }
        };
        access.plain = None;
        let host = access.way.host.clone();
        let resource = Resource::event_hub(&host, &name);
        let event_hub = name.to_string();
        let group = self.group;
        let shared = access.join(Place::EventHub { name, group }, resource).await?;
        let partitions = management::partitions(&shared).await?;
        Ok(EventsClient {
            shared,
            about: Arc::new(About {
                host,
                event_hub,
                partitions,
            }),
        })
    }
}

impl fmt::Debug for EventsClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsClientBuilder")
            .field("host", &self.access.way.host)
            .field("event_hub", &self.event_hub)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// The group that every event hub has.
fn default_group() -> ConsumerGroup {
    ConsumerGroup::parse("$Default").expect("it is a consumer group's name")
}
