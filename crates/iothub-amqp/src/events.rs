//! The client of a hub's event endpoint.

mod builder;
mod endpoint;
mod management;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream as streams};
use iothub_address::{ConnectionString, HubHost};
use tokio::sync::{mpsc, watch};

pub use builder::EventsClientBuilder;
pub use management::PartitionState;
pub use stream::{Duplicate, Ended, Events, Gap, Read};

use crate::cursor::Position;
use crate::device::Shared;
use crate::driver::member::Items;
use crate::driver::tray::Tray;
use crate::error::{CloseError, ConnectError, EventsError};
use crate::listening::Listening;
use crate::supervisor::LaneKind;
use crate::{Credential, Status};
use stream::Reader;

/// A client of a hub's built-in event endpoint, or of another event hub, by AMQP 1.0.
///
/// It finds the endpoint by the redirect that a hub answers a reader with, or by an Event Hubs-compatible connection
/// string, and signs in there by claims-based security, with tokens that it renews. Clones share the connection, which is
/// made anew as need be, as that of a [`DeviceClient`](crate::DeviceClient) is; it lasts until [`close`](Self::close), or
/// until the last clone and the last of its streams is dropped.
///
/// # Delivery
/// A stream of [events](Self::events) gives each event of a partition once and in order, through lost links and
/// connections: it goes on at the sequence number that comes next. What is missing all the same, because the hub has
/// dropped it meanwhile, is said to be: [`Read::Gap`].
///
/// # Cancel safety
/// Any future of a client and its streams may be dropped at any point. Nothing is lost by it: an event is taken when it
/// was given to the application.
///
/// # Examples
/// ```no_run
/// use iothub_address::ConnectionString;
/// use iothub_amqp::{EventsClient, Position, Read};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let text = std::env::var("SERVICE_CONNECTION_STRING")?; // HostName=…;SharedAccessKeyName=service;SharedAccessKey=…
/// let client = EventsClient::with(&ConnectionString::parse(&text)?)?.connect().await?;
/// let mut events = client.events(Position::Latest).open().await?;
/// while let Some(read) = events.next().await {
///     if let Read::Event(event) = read {
///         println!("{:?}: {} bytes", event.device, event.body.len());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EventsClient {
    shared: Arc<Shared>,
    about: Arc<About>,
}

/// What was found out when it connected.
struct About {
    host: HubHost,
    event_hub: String,
    partitions: Vec<u32>,
}

impl EventsClient {
    /// A client of the events of the hub at `host`, with tokens of `credential`: it is asked for two, one for the hub and
    /// one for the event endpoint (`sb://…`).
    #[must_use]
    pub fn builder(host: HubHost, credential: impl Credential) -> EventsClientBuilder {
        EventsClientBuilder::hub_events(host, Arc::new(credential))
    }

    /// A client as a service's or an Event Hubs-compatible connection string says.
    ///
    /// # Errors
    /// [`ConnectError::NotAServicesConnection`] for any other, or one of an event hub without `EntityPath`;
    /// [`ConnectError::BadKey`] and [`ConnectError::BadToken`] for one that can't be read.
    pub fn with(connection: &ConnectionString) -> Result<EventsClientBuilder, ConnectError> {
        EventsClientBuilder::with(connection)
    }

    /// The host of the endpoint, as the redirect or the connection string has it.
    #[must_use]
    pub fn host(&self) -> &HubHost {
        &self.about.host
    }

    /// The event hub's name (`EntityPath`).
    #[must_use]
    pub fn event_hub(&self) -> &str {
        &self.about.event_hub
    }

    /// The partitions, as the endpoint's management named them when the client connected.
    #[must_use]
    pub fn partitions(&self) -> &[u32] {
        &self.about.partitions
    }

    /// Asks the endpoint's management how far a partition is, and waits at most for the
    /// [operation timeout](EventsClientBuilder::operation_timeout).
    ///
    /// # Errors
    /// [`EventsError::NoSuchPartition`], [`EventsError::Management`] if it refuses, [`EventsError::NotAnswered`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn partition(&self, partition: u32) -> Result<PartitionState, EventsError> {
        self.check(partition)?;
        management::partition(&self.shared, partition).await
    }

    /// What is to be read of the events: all partitions, from this position on, unless more is said.
    #[must_use = "nothing is read until it is opened"]
    pub fn events(&self, from: Position) -> Reading {
        Reading {
            client: self.clone(),
            from,
            positions: BTreeMap::new(),
            partitions: None,
            owner_level: None,
            buffer: BUFFER,
        }
    }

    /// How the client stands, now and whenever that changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status()
    }

    /// Ends all streams and closes, within the [operation timeout](EventsClientBuilder::operation_timeout).
    ///
    /// # Errors
    /// [`CloseError`] if the farewell did not go as it should. The connection is gone in any case.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing, only the waiting for it.
    pub async fn close(self) -> Result<(), CloseError> {
        self.shared.leave(self.shared.limit).await
    }

    /// As [`close`](Self::close), within a time of one's own.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    ///
    /// # Cancel safety
    /// As [`close`](Self::close).
    pub async fn close_within(self, limit: Duration) -> Result<(), CloseError> {
        self.shared.leave(limit).await
    }

    fn check(&self, partition: u32) -> Result<(), EventsError> {
        match self.about.partitions.contains(&partition) {
            true => Ok(()),
            false => Err(EventsError::NoSuchPartition(partition)),
        }
    }
}

impl fmt::Debug for EventsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsClient")
            .field("host", &self.about.host)
            .field("event_hub", &self.about.event_hub)
            .field("ended", &self.shared.ended.get())
            .finish_non_exhaustive()
    }
}

/// What is to be read of the events.
///
/// # Delivery
/// Nothing is read before [`open`](Self::open). Then each event of these partitions comes once, in the order of its
/// partition.
///
/// # Cancel safety
/// Dropping it, or a future of [`open`](Self::open), leaves no link; the partitions are free to be read.
#[derive(Debug)]
#[must_use = "nothing is read until it is opened"]
pub struct Reading {
    client: EventsClient,
    from: Position,
    positions: BTreeMap<u32, Position>,
    partitions: Option<Vec<u32>>,
    owner_level: Option<i64>,
    buffer: u32,
}

impl Reading {
    /// Reads only these partitions. A stream for each partition is one [`Reading`] for each.
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = u32>) -> Self {
        self.partitions = Some(partitions.into_iter().collect());
        self
    }

    /// Reads this partition from a position of its own, as who keeps how far it has come goes on.
    pub fn from(mut self, partition: u32, position: Position) -> Self {
        self.positions.insert(partition, position);
        self
    }

    /// Reads alone in the consumer group, as its owner by this level (Event Hubs' epoch), from 0. Who comes with the same
    /// level or a higher one takes its place ([`EventsError::Stolen`]); a lower one, and one without, is refused.
    pub fn owner_level(mut self, level: u32) -> Self {
        self.owner_level = Some(i64::from(level));
        self
    }

    /// How many events of each partition may wait here for the application: 1 to [`MAX_BUFFER`], a number beyond is taken
    /// as the nearest of them. Default [`BUFFER`]. The endpoint is given credit for no more. More bridges longer pauses
    /// of a reader over a long way, and takes memory.
    pub fn buffer(mut self, events: u32) -> Self {
        self.buffer = events.clamp(1, MAX_BUFFER);
        self
    }

    /// Attaches a link for each partition, and returns when all are.
    ///
    /// [`Position::Latest`] is what comes after the last event that there is now, by the endpoint's management: what comes
    /// while a link is gone is read too.
    ///
    /// An endpoint may accept a link first and refuse it a moment later; the stream then says so by [`Read::Ended`].
    ///
    /// # Errors
    /// [`EventsError`]: [`AlreadyOpen`](EventsError::AlreadyOpen) while another stream of this client reads one of the
    /// partitions, [`Stolen`](EventsError::Stolen) while an owner reads one, [`Ended`](EventsError::Ended) if a link is
    /// refused or not there within three operation timeouts.
    ///
    /// # Cancel safety
    /// Dropping the future detaches what was attached.
    pub async fn open(self) -> Result<Events, EventsError> {
        let client = &self.client;
        let partitions = match &self.partitions {
            Some(partitions) => partitions.clone(),
            None => client.about.partitions.clone(),
        };
        let (parcels, received) = mpsc::unbounded_channel();
        let readers: BTreeMap<u32, Reader> = streams::iter(partitions)
            .map(|partition| self.attach(partition, parcels.clone()))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        drop(parcels);
        Ok(Events::new(received, readers))
    }

    async fn attach(
        &self,
        partition: u32,
        parcels: mpsc::UnboundedSender<crate::driver::tray::Parcel>,
    ) -> Result<(u32, Reader), EventsError> {
        let state = self.client.partition(partition).await?;
        let from = match self.positions.get(&partition).unwrap_or(&self.from) {
            Position::Latest => Position::AfterSequence(state.last.unwrap_or(-1)),
            position => position.clone(),
        };
        let reader = |listening| Reader::new(listening, &state, &from, self.buffer);
        let tray = Tray::new(partition, from.clone(), self.owner_level, self.buffer, parcels);
        let kind = LaneKind::Partition(partition);
        let listening = Listening::to(&self.client.shared, kind, Items::Events(tray))
            .await
            .map_err(|error| EventsError::of_subscribing(partition, error))?;
        Ok((partition, reader(listening)))
    }
}

/// How many events of a partition wait for the application at the most, unless it says otherwise.
pub const BUFFER: u32 = 1_000;

/// The most that it may say.
pub const MAX_BUFFER: u32 = 100_000;

/// How many partitions are asked about and attached at a time.
const AT_ONCE: usize = 16;
