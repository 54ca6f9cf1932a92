//! A connection that many devices share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iothub_address::{HubHost, Identity, Resource};
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot};

use crate::config::{
    IDLE_TIMEOUT, MAX_WINDOW, OPERATION_TIMEOUT, QUEUE_TIMEOUT, WINDOW, WINDOW_BYTES, within_reason,
};
use crate::device::Counters;
use crate::driver::command::Command;
use crate::driver::connection::Plan;
use crate::driver::names::Names;
use crate::error::{CloseError, ConnectError, Interruption};
use crate::joining::{Device, start};
use crate::machine::{Clock, Machine};
use crate::supervisor::backoff::Schedule;
use crate::supervisor::{Lifetime, Settings, SignIn};
use crate::way::Way;
use crate::{Batching, Credential, DeviceClient, Network, Proxies, Recover, Transport};

/// A connection to a hub that many devices and modules share, each with a [`DeviceClient`] of its own.
///
/// They sign in by claims-based security: each puts its own token, over one pair of links, and has a session of its
/// own. A device that is refused, is throttled, falls silent or leaves does not disturb the others, nor does a hub that is
/// silent to one of them, but for this: when it does not answer the end of a session within the operation timeout, the
/// connection is made anew for all. Nothing is connected while there is no device.
///
/// Clones share it. It lasts until [`close`](Self::close), or until the last clone and the last client are dropped.
///
/// # Delivery
/// What [`DeviceClient`] says holds for each. When the connection is lost it is made anew for all of them, and one
/// attempt counts for all.
///
/// # Cancel safety
/// As for [`DeviceClient`]: dropping a future disturbs no device.
///
/// # Limits
/// [`MAX_DEVICES`](crate::MAX_DEVICES), since a hub takes so many tokens on a connection. All devices together have
/// [`WINDOW_BYTES`] of messages on their way; but each may always have one.
///
/// # Examples
/// ```no_run
/// use iothub_address::{DeviceId, HubHost, Identity};
/// use iothub_amqp::{Connection, Key, Message};
/// use iothub_sas::SharedKey;
///
/// # async fn example(key: SharedKey) -> Result<(), Box<dyn std::error::Error>> {
/// let connection = Connection::builder(HubHost::parse("myhub.azure-devices.net")?).open().await?;
/// let device = Identity::Device(DeviceId::parse("sensor-1")?);
/// let client = connection.device(device, Key::new(key)).connect().await?;
/// client.send(Message::new("Hello World!")).await?;
/// connection.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    commands: mpsc::UnboundedSender<Command>,
    counters: Arc<Counters>,
    host: HubHost,
    operation_timeout: Duration,
}

impl Connection {
    /// A connection to this hub.
    #[must_use]
    pub fn builder(host: HubHost) -> ConnectionBuilder {
        ConnectionBuilder {
            way: Way::to(host),
            machine: Machine::own(),
            operation_timeout: OPERATION_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            recover: Recover::default(),
        }
    }

    /// A device or module that comes to the connection, with tokens of its credential.
    pub fn device(&self, identity: Identity, credential: impl Credential) -> DeviceBuilder {
        DeviceBuilder {
            place: Place::On(self.clone()),
            identity,
            credential: Arc::new(credential),
            queue_timeout: QUEUE_TIMEOUT,
            batching: Batching::default(),
            window: WINDOW,
            model: None,
        }
    }

    /// How many devices and modules have a client here, or are about to.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.inner.counters.members()
    }

    /// Waits for the outcome of everything that was sent and queued, ends all clients, and closes; all within the
    /// [operation timeout](ConnectionBuilder::operation_timeout).
    ///
    /// # Errors
    /// [`CloseError`] if the farewell did not go as it should. The connection is gone in any case.
    ///
    /// # Delivery
    /// As with [`DeviceClient::close`].
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing, only the waiting for it.
    pub async fn close(self) -> Result<(), CloseError> {
        let limit = self.inner.operation_timeout;
        self.close_within(limit).await
    }

    /// Like [`close`](Self::close), within a time of one's own.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    ///
    /// # Cancel safety
    /// As [`close`](Self::close).
    pub async fn close_within(self, limit: Duration) -> Result<(), CloseError> {
        let (reply, closed) = oneshot::channel();
        let close = Command::Close { limit, reply };
        if self.inner.commands.send(close).is_err() {
            return Err(CloseError::Ended(Interruption::Stopped));
        }
        closed
            .await
            .unwrap_or(Err(CloseError::Ended(Interruption::Stopped)))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.inner.host)
            .field("devices", &self.devices())
            .finish_non_exhaustive()
    }
}

/// How a [`Connection`] is to be made. What is set on it means what it means on a
/// [`DeviceClientBuilder`](crate::DeviceClientBuilder).
///
/// # Delivery
/// Nobody is contacted for it: [`open`](Self::open) makes ready, and the first device that comes connects.
///
/// # Cancel safety
/// Dropping it, or a future of [`open`](Self::open), leaves neither a connection nor a task.
#[derive(Clone)]
pub struct ConnectionBuilder {
    way: Way,
    machine: Machine,
    operation_timeout: Duration,
    idle_timeout: Duration,
    recover: Recover,
}

impl ConnectionBuilder {
    /// Connects to this host in place of the hub's. Tokens are for the hub all the same.
    #[must_use]
    pub fn gateway(mut self, host: HubHost) -> Self {
        self.way.gateway = Some(host);
        self
    }

    /// The TCP port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.way.port = Some(port);
        self
    }

    /// What carries AMQP.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.way.transport = transport;
        self
    }

    /// Which connections go through an HTTP proxy.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.way.proxies = Some(proxies);
        self
    }

    /// Takes the time of day from this clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.machine.clock = Arc::new(clock);
        self
    }

    /// Draws jitter and names from this seed. The connections of a [`Pool`](crate::Pool) have seeds that follow it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.machine.seed = Some(seed);
        self
    }

    /// The next of several.
    pub(crate) fn next(mut self) -> Self {
        self.machine.seed = self.machine.seed.map(|seed| seed.wrapping_add(1));
        self
    }

    /// Looks names up and connects by this network.
    #[must_use]
    pub fn network(mut self, network: impl Network) -> Self {
        self.way.network = Arc::new(network);
        self
    }

    /// Trusts this certificate too.
    #[must_use]
    pub fn root_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.way.roots.push(certificate);
        self
    }

    /// Goes without TLS, to this machine only.
    #[must_use]
    pub fn plain_tcp_to_this_machine(mut self) -> Self {
        self.way.plain_tcp = true;
        self
    }

    /// Bounds each step that waits for the peer. Default [`OPERATION_TIMEOUT`].
    #[must_use]
    pub fn operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = within_reason(limit);
        self
    }

    /// After how long without a frame the peer counts as gone. Default [`IDLE_TIMEOUT`].
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = within_reason(limit);
        self
    }

    /// What to do about losses. Default [`Recover::On`] with the default [`Schedule`].
    #[must_use]
    pub fn recovery(mut self, recover: Recover) -> Self {
        self.recover = recover;
        self
    }

    /// Makes it ready. It connects when the first device comes.
    ///
    /// # Errors
    /// What is wrong with certificates, proxies and the like; nothing is contacted.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn open(self) -> Result<Connection, ConnectError> {
        let seed = self.machine.seed();
        let plan = Plan {
            route: self.way.route().await?,
            hostname: self.way.place().as_str().to_owned(),
            container: CONTAINER.to_owned(),
            sign_in: SignIn::Claims,
            limit: self.operation_timeout,
            idle_timeout: self.idle_timeout,
            clock: self.machine.clock,
            names: Names::new(seed),
        };
        let settings = Settings {
            sign_in: SignIn::Claims,
            lifetime: Lifetime::UntilClosed,
            recover: self.recover != Recover::Never,
            schedule: match self.recover {
                Recover::On(schedule) => schedule,
                Recover::Never => Schedule::default(),
            },
            operation_timeout: self.operation_timeout,
            window_bytes: WINDOW_BYTES,
            seed,
        };
        let (commands, counters) = start(settings, plan);
        Ok(Connection {
            inner: Arc::new(Inner {
                commands,
                counters,
                host: self.way.host,
                operation_timeout: self.operation_timeout,
            }),
        })
    }
}

impl fmt::Debug for ConnectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionBuilder")
            .field("host", &self.way.host)
            .finish_non_exhaustive()
    }
}

/// How a device comes to a [`Connection`] or a [`Pool`](crate::Pool).
///
/// # Delivery
/// Nobody is contacted before [`connect`](Self::connect), and no message leaves by it. What is set here says how often
/// the hub may get one again after a loss: at the most one [window](Self::window), of [batches](Self::batching) if so.
///
/// # Cancel safety
/// Dropping it tells nobody anything. A device whose future of [`connect`](Self::connect) is dropped leaves, and its
/// place on the connection is free again.
#[must_use = "nothing happens until it connects"]
pub struct DeviceBuilder {
    place: Place,
    identity: Identity,
    credential: Arc<dyn Credential>,
    queue_timeout: Duration,
    batching: Batching,
    window: usize,
    model: Option<String>,
}

/// Where it goes.
pub(crate) enum Place {
    On(Connection),
    /// The one of these that has the fewest.
    OnOneOf(Arc<[Connection]>),
}

impl DeviceBuilder {
    pub(crate) fn in_pool(
        connections: Arc<[Connection]>,
        identity: Identity,
        credential: Arc<dyn Credential>,
    ) -> Self {
        Self {
            place: Place::OnOneOf(connections),
            identity,
            credential,
            queue_timeout: QUEUE_TIMEOUT,
            batching: Batching::default(),
            window: WINDOW,
            model: None,
        }
    }

    /// How long an enqueued message may wait for its outcome. Default [`QUEUE_TIMEOUT`].
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = within_reason(limit);
        self
    }

    /// How many transfers may wait for their outcome at once: 1 to [`MAX_WINDOW`], a number beyond is taken as the nearest
    /// of them. Default [`WINDOW`]. A larger one is faster over a long way; after a loss, more may come to the hub twice.
    pub fn window(mut self, transfers: usize) -> Self {
        self.window = transfers.clamp(1, MAX_WINDOW);
        self
    }

    /// Whether queued messages are sent in batches. Default [`Batching::Off`].
    pub fn batching(mut self, batching: Batching) -> Self {
        self.batching = batching;
        self
    }

    /// Says the digital-twin model (DTDL) that the device speaks.
    pub fn model_id(mut self, id: impl Into<String>) -> Self {
        self.model = Some(id.into());
        self
    }

    /// Puts the token, begins a session and attaches the telemetry link, in one attempt; while the connection is being
    /// made anew, it waits for that. All of it together has twelve [operation timeouts](ConnectionBuilder::operation_timeout).
    ///
    /// # Errors
    /// [`ConnectError::ConnectionFull`] if there are as many devices as may be; otherwise as
    /// [`DeviceClientBuilder::connect`](crate::DeviceClientBuilder::connect).
    ///
    /// # Cancel safety
    /// Dropping the future has the device leave.
    pub async fn connect(self) -> Result<DeviceClient, ConnectError> {
        let reserved = match &self.place {
            Place::On(connection) => connection.inner.counters.join().map(|slot| (slot, connection)),
            Place::OnOneOf(connections) => {
                // One that has ended takes nobody, and has nobody.
                let alive = |connection: &&Connection| !connection.inner.commands.is_closed();
                let mut by_load: Vec<_> = connections.iter().filter(alive).collect();
                if by_load.is_empty() {
                    return Err(ConnectError::Ended(Interruption::Stopped));
                }
                by_load.sort_by_key(|connection| connection.devices());
                by_load
                    .into_iter()
                    .find_map(|connection| connection.inner.counters.join().map(|slot| (slot, connection)))
            }
        };
        let (slot, connection) = reserved.ok_or(ConnectError::ConnectionFull)?;
        let inner = &connection.inner;
        let device = Device {
            resource: Resource::identity(&inner.host, &self.identity),
            identity: self.identity,
            user: String::new(),
            credential: Some(self.credential),
            model: self.model,
            batching: self.batching,
            window: self.window,
            operation_timeout: inner.operation_timeout,
            queue_timeout: self.queue_timeout,
        };
        device
            .join(slot, inner.commands.clone(), Arc::clone(&inner.counters))
            .await
    }
}

impl fmt::Debug for DeviceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceBuilder")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

const CONTAINER: &str = "iothub-amqp";
