//! How a device client is to connect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iothub_address::{AmqpUrl, ConnectionString, HubHost, HubName, Identity, Node, Resource, Scheme, User};
use iothub_sas::{SasToken, SharedKey, Signer};
use rustls_pki_types::CertificateDer;

use crate::config::{
    IDLE_TIMEOUT, MAX_WINDOW, OPERATION_TIMEOUT, QUEUE_TIMEOUT, WINDOW, WINDOW_BYTES, within_reason,
};
use crate::driver::connection::Plan;
use crate::driver::names::Names;
use crate::error::ConnectError;
use crate::joining::{Device, start};
use crate::machine::{Clock, Machine};
use crate::supervisor::backoff::Schedule;
use crate::supervisor::{Lifetime, Settings, SignIn};
use crate::way::Way;
use crate::{Batching, ClientCertificate, Credential, DeviceClient, Key, Network, Proxies, Transport};

/// What a client does about a connection, session or link that is lost.
///
/// # Delivery
/// With [`On`](Self::On) what was on its way at a loss is sent again by itself, so that the hub may get it twice. With
/// [`Never`](Self::Never) it is not: it ends as [`SendError::Unknown`](crate::SendError::Unknown), and what had not
/// left as [`SendError::NotSent`](crate::SendError::NotSent).
///
/// # Cancel safety
/// Whether it recovers is the client's affair and nobody's who waits: a dropped future neither starts an attempt nor
/// stops one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recover {
    /// It makes it anew, on this schedule, for as long as that may help.
    On(Schedule),
    /// It ends. For a program that sends a message and exits, and for one that has a recovery of its own.
    Never,
}

impl Default for Recover {
    fn default() -> Self {
        Self::On(Schedule::default())
    }
}

/// How a [`DeviceClient`] is to connect.
///
/// # Delivery
/// Nobody is contacted before [`connect`](Self::connect), and no message leaves by it. What is set here says how often
/// the hub may get one again after a loss: at the most one [window](Self::window), of [batches](Self::batching) if so,
/// and none without [recovery](Self::recovery).
///
/// # Cancel safety
/// Dropping it tells nobody anything. Dropping a future of [`connect`](Self::connect) leaves neither a connection nor a
/// task.
#[derive(Clone)]
pub struct DeviceClientBuilder {
    way: Way,
    machine: Machine,
    hub: Option<HubName>,
    identity: Identity,
    /// Unless a certificate takes its place.
    credential: Option<Arc<dyn Credential>>,
    sign_in: SignIn,
    operation_timeout: Duration,
    idle_timeout: Duration,
    queue_timeout: Duration,
    recover: Recover,
    batching: Batching,
    window: usize,
    model: Option<String>,
}

impl DeviceClientBuilder {
    pub(crate) fn new(
        host: HubHost,
        identity: Identity,
        credential: Option<Arc<dyn Credential>>,
        sign_in: SignIn,
    ) -> Self {
        Self {
            hub: host.hub_name(),
            way: Way::to(host),
            machine: Machine::own(),
            identity,
            credential,
            sign_in,
            operation_timeout: OPERATION_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            queue_timeout: QUEUE_TIMEOUT,
            recover: Recover::default(),
            batching: Batching::default(),
            window: WINDOW,
            model: None,
        }
    }

    pub(crate) fn at(url: &AmqpUrl) -> Result<Self, ConnectError> {
        let (user, password) = (
            url.user().ok_or(ConnectError::NoToken)?,
            url.password().ok_or(ConnectError::NoToken)?,
        );
        let identity = user
            .identity()
            .ok_or_else(|| ConnectError::NotADevice(user.to_string()))?;
        if url.node() != Some(&Node::Events(identity.clone())) {
            return Err(ConnectError::NotADevice(url.path().into_owned()));
        }
        let token = SasToken::parse(password.expose()).map_err(ConnectError::BadToken)?;
        let credential: Arc<dyn Credential> = Arc::new(token);
        let (host, hub) = (url.host().clone(), user.hub().clone());
        let mut builder = Self::new(host, identity.clone(), Some(credential), SignIn::Plain).hub(hub);
        builder.way.port = url.port();
        builder.way.plain_tcp = url.scheme() == Scheme::Amqp;
        Ok(builder)
    }

    pub(crate) fn with(connection: &ConnectionString) -> Result<Self, ConnectError> {
        let identity = connection.identity().ok_or(ConnectError::NotADevicesConnection)?;
        let credential: Option<Arc<dyn Credential>> = match (connection.key(), connection.signature()) {
            (Some(key), _) => {
                let key = SharedKey::from_base64(key.expose()).map_err(ConnectError::BadKey)?;
                let mut signer = Signer::new(key);
                if let Some(policy) = connection.policy() {
                    signer = signer.policy(policy);
                }
                Some(Arc::new(Key::signer(signer)))
            }
            (None, Some(token)) => {
                let token = SasToken::parse(token.expose()).map_err(ConnectError::BadToken)?;
                Some(Arc::new(token))
            }
            (None, None) if connection.x509() => None,
            (None, None) => return Err(ConnectError::NotADevicesConnection),
        };
        let sign_in = match credential {
            Some(_) => SignIn::Claims,
            None => SignIn::Certificate,
        };
        let mut builder = Self::new(connection.host().clone(), identity.clone(), credential, sign_in);
        builder.way.gateway = connection.gateway().cloned();
        builder.way.port = match connection.gateway() {
            Some(_) => connection.gateway_port(),
            None => connection.port(),
        };
        Ok(builder)
    }

    /// The hub's name in the SASL user, `DEVICE@sas.HUB`. Default: the host's first label. A gateway, a host of one's
    /// own and an IP address need it said.
    #[must_use]
    pub fn hub(mut self, hub: HubName) -> Self {
        self.hub = Some(hub);
        self
    }

    /// Signs in by claims-based security (CBS) in place of SASL PLAIN: SASL ANONYMOUS, then tokens put to the `$cbs`
    /// node. They may be of any length, and are renewed in place at 80 % of their life, with nothing lost. This is
    /// what a connection string gives.
    #[must_use]
    pub fn claims_based(mut self) -> Self {
        self.sign_in = SignIn::Claims;
        self
    }

    /// Signs in by this certificate, shown in the TLS handshake, in place of any token: there is no SASL then, and no
    /// token to renew. A connection string with `x509=true` needs it.
    #[must_use]
    pub fn certificate(mut self, certificate: ClientCertificate) -> Self {
        self.sign_in = SignIn::Certificate;
        self.credential = None;
        self.way.certificate = Some(certificate);
        self
    }

    /// Connects to this host, such as an IoT Edge gateway, in place of the hub's: TLS and AMQP's open name it, and
    /// tokens are for the hub all the same.
    #[must_use]
    pub fn gateway(mut self, host: HubHost) -> Self {
        self.way.gateway = Some(host);
        self
    }

    /// The TCP port. Default that of the [transport](Self::transport), or [`AMQP_PORT`](crate::AMQP_PORT) for plain TCP.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.way.port = Some(port);
        self
    }

    /// What carries AMQP. Default [`Transport::Amqp`].
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.way.transport = transport;
        self
    }

    /// Which connections go through an HTTP proxy. Default what the environment says when it
    /// [connects](Self::connect): [`Proxies::from_environment`]. [Plain TCP](Self::plain_tcp_to_this_machine) never does.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.way.proxies = Some(proxies);
        self
    }

    /// Takes the time of day from this clock. Default [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.machine.clock = Arc::new(clock);
        self
    }

    /// Draws the jitter of back-off and the names of connections and links from this seed, in place of the operating
    /// system's randomness: for simulations, which want to be repeated. Two clients of one seed act in step, and a hub that
    /// keys links by their names confuses them.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.machine.seed = Some(seed);
        self
    }

    /// Looks names up and connects by this network. Default [`SystemNetwork`](crate::SystemNetwork).
    #[must_use]
    pub fn network(mut self, network: impl Network) -> Self {
        self.way.network = Arc::new(network);
        self
    }

    /// Trusts this certificate too, beside the platform's roots. There is no way to trust less carefully.
    #[must_use]
    pub fn root_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.way.roots.push(certificate);
        self
    }

    /// Goes without TLS. Refused towards a host that is not this machine: the token would be there for all to read.
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

    /// How long an enqueued message may wait for its outcome. Default [`QUEUE_TIMEOUT`]. Longer bridges longer outages.
    #[must_use]
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = within_reason(limit);
        self
    }

    /// What to do about losses, once a connection has been made. Default [`Recover::On`] with the default [`Schedule`].
    #[must_use]
    pub fn recovery(mut self, recover: Recover) -> Self {
        self.recover = recover;
        self
    }

    /// How many transfers may wait for their outcome at once: 1 to [`MAX_WINDOW`], a number beyond is taken as the nearest
    /// of them. Default [`WINDOW`]. A larger one is faster over a long way; after a loss, more may come to the hub twice.
    #[must_use]
    pub fn window(mut self, transfers: usize) -> Self {
        self.window = transfers.clamp(1, MAX_WINDOW);
        self
    }

    /// Whether queued messages are sent in batches. Default [`Batching::Off`].
    #[must_use]
    pub fn batching(mut self, batching: Batching) -> Self {
        self.batching = batching;
        self
    }

    /// Says the digital-twin model (DTDL) that the device speaks, such as `dtmi:com:example:Thermostat;1`.
    #[must_use]
    pub fn model_id(mut self, id: impl Into<String>) -> Self {
        self.model = Some(id.into());
        self
    }

    /// Connects, signs in and attaches the telemetry link, in one attempt. Each step has the
    /// [operation timeout](Self::operation_timeout), and all of them together have twelve.
    ///
    /// A hub may accept the link first and refuse it a moment later; the first message then tells.
    ///
    /// # Errors
    /// See [`ConnectError`]; [`recovery::classify_connect`](crate::recovery::classify_connect) says whether another
    /// attempt may help.
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(self) -> Result<DeviceClient, ConnectError> {
        let user = match (self.sign_in, &self.hub) {
            (SignIn::Plain, None) => return Err(ConnectError::NoHubName(self.way.host.to_string())),
            (SignIn::Plain, Some(hub)) => User::for_identity(self.identity.clone(), hub.clone()).to_string(),
            (SignIn::Certificate, _) if self.way.certificate.is_none() => {
                return Err(ConnectError::NoCertificate);
            }
            (SignIn::Claims | SignIn::Certificate, _) => String::new(),
        };
        let seed = self.machine.seed();
        let settings = self.settings(seed);
        let plan = Plan {
            route: self.way.route().await?,
            hostname: self.way.place().as_str().to_owned(),
            container: self.identity.device().to_string(),
            sign_in: self.sign_in,
            limit: self.operation_timeout,
            idle_timeout: self.idle_timeout,
            clock: self.machine.clock,
            names: Names::new(seed),
        };
        let (commands, counters) = start(settings, plan);
        let joining = Device {
            resource: Resource::identity(&self.way.host, &self.identity),
            identity: self.identity,
            user,
            credential: self.credential,
            model: self.model,
            batching: self.batching,
            window: self.window,
            operation_timeout: self.operation_timeout,
            queue_timeout: self.queue_timeout,
        };
        let slot = counters.join().ok_or(ConnectError::ConnectionFull)?;
        joining.join(slot, commands, counters).await
    }

    fn settings(&self, seed: u64) -> Settings {
        Settings {
            sign_in: self.sign_in,
            lifetime: Lifetime::OfItsSlots,
            recover: self.recover != Recover::Never,
            schedule: match self.recover {
                Recover::On(schedule) => schedule,
                Recover::Never => Schedule::default(),
            },
            operation_timeout: self.operation_timeout,
            window_bytes: WINDOW_BYTES,
            seed,
        }
    }
}

impl fmt::Debug for DeviceClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceClientBuilder")
            .field("host", &self.way.host)
            .field("identity", &self.identity)
            .field("sign_in", &self.sign_in)
            .finish_non_exhaustive()
    }
}
