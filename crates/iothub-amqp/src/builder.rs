//! How a device client is to connect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iothub_address::{AmqpUrl, ConnectionString, HubHost, HubName, Identity, Node, Resource, Scheme, User};
use iothub_sas::{SasToken, SharedKey, Signer};
use rustls_pki_types::CertificateDer;

use crate::config::{AMQP_PORT, AMQPS_PORT, IDLE_TIMEOUT, OPERATION_TIMEOUT, QUEUE_TIMEOUT, WINDOW_BYTES};
use crate::driver::connection::Plan;
use crate::driver::dial::Endpoint;
use crate::driver::tls::client_config;
use crate::error::ConnectError;
use crate::joining::{Device, start};
use crate::supervisor::backoff::Schedule;
use crate::supervisor::{Lifetime, Settings, SignIn};
use crate::{Batching, Credential, DeviceClient, Key};

/// What a client does about a connection, session or link that is lost.
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
#[derive(Clone)]
pub struct DeviceClientBuilder {
    host: HubHost,
    hub: Option<HubName>,
    /// Where to connect to, if not the host.
    gateway: Option<HubHost>,
    identity: Identity,
    credential: Arc<dyn Credential>,
    sign_in: SignIn,
    port: Option<u16>,
    plain_tcp: bool,
    roots: Vec<CertificateDer<'static>>,
    operation_timeout: Duration,
    idle_timeout: Duration,
    queue_timeout: Duration,
    recover: Recover,
    batching: Batching,
    model: Option<String>,
}

impl DeviceClientBuilder {
    pub(crate) fn new(host: HubHost, identity: Identity, credential: Arc<dyn Credential>) -> Self {
        Self {
            hub: host.hub_name(),
            host,
            gateway: None,
            identity,
            credential,
            sign_in: SignIn::Plain,
            port: None,
            plain_tcp: false,
            roots: Vec::new(),
            operation_timeout: OPERATION_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            queue_timeout: QUEUE_TIMEOUT,
            recover: Recover::default(),
            batching: Batching::default(),
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
        let mut builder =
            Self::new(url.host().clone(), identity.clone(), Arc::new(token)).hub(user.hub().clone());
        builder.port = url.port();
        builder.plain_tcp = url.scheme() == Scheme::Amqp;
        Ok(builder)
    }

    pub(crate) fn with(connection: &ConnectionString) -> Result<Self, ConnectError> {
        let identity = connection.identity().ok_or(ConnectError::NotADevicesConnection)?;
        let credential: Arc<dyn Credential> = match (connection.key(), connection.signature()) {
            (Some(key), _) => {
                let key = SharedKey::from_base64(key.expose()).map_err(ConnectError::BadKey)?;
                let mut signer = Signer::new(key);
                if let Some(policy) = connection.policy() {
                    signer = signer.policy(policy);
                }
                Arc::new(Key::signer(signer))
            }
            (None, Some(token)) => Arc::new(SasToken::parse(token.expose()).map_err(ConnectError::BadToken)?),
            (None, None) => return Err(ConnectError::NotADevicesConnection),
        };
        let mut builder = Self::new(connection.host().clone(), identity.clone(), credential).claims_based();
        builder.gateway = connection.gateway().cloned();
        builder.port = connection.gateway_port().or_else(|| connection.port());
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

    /// Connects to this host in place of the hub's. Tokens are for the hub all the same.
    #[must_use]
    pub fn gateway(mut self, host: HubHost) -> Self {
        self.gateway = Some(host);
        self
    }

    /// The TCP port. Default [`AMQPS_PORT`], or [`AMQP_PORT`] for plain TCP.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Trusts this certificate too, beside the platform's roots. There is no way to trust less carefully.
    #[must_use]
    pub fn root_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.roots.push(certificate);
        self
    }

    /// Goes without TLS. Refused towards a host that is not this machine: the token would be there for all to read.
    #[must_use]
    pub fn plain_tcp_to_this_machine(mut self) -> Self {
        self.plain_tcp = true;
        self
    }

    /// Bounds each step that waits for the peer. Default [`OPERATION_TIMEOUT`].
    #[must_use]
    pub fn operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = limit;
        self
    }

    /// After how long without a frame the peer counts as gone. Default [`IDLE_TIMEOUT`].
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// How long an enqueued message may wait for its outcome. Default [`QUEUE_TIMEOUT`]. Longer bridges longer outages.
    #[must_use]
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = limit;
        self
    }

    /// What to do about losses, once a connection has been made. Default [`Recover::On`] with the default [`Schedule`].
    #[must_use]
    pub fn recovery(mut self, recover: Recover) -> Self {
        self.recover = recover;
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

    /// Connects, signs in and attaches the telemetry link, in one attempt.
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
            (SignIn::Plain, None) => return Err(ConnectError::NoHubName(self.host.to_string())),
            (SignIn::Plain, Some(hub)) => User::for_identity(self.identity.clone(), hub.clone()).to_string(),
            (SignIn::Claims, _) => String::new(),
        };
        let roots = self.roots.clone();
        let settings = self.settings();
        let tls = if self.plain_tcp {
            None
        } else {
            Some(client_config(roots).await?)
        };
        let place = self.gateway.as_ref().unwrap_or(&self.host);
        let default_port = if self.plain_tcp { AMQP_PORT } else { AMQPS_PORT };
        let plan = Plan {
            endpoint: Endpoint {
                host: place.as_str().to_owned(),
                port: self.port.unwrap_or(default_port),
                loopback_only: self.plain_tcp,
            },
            hostname: self.host.as_str().to_owned(),
            tls,
            container: self.identity.device().to_string(),
            sign_in: self.sign_in,
            limit: self.operation_timeout,
            idle_timeout: self.idle_timeout,
        };
        let (commands, counters) = start(settings, plan);
        let joining = Device {
            resource: Resource::identity(&self.host, &self.identity),
            identity: self.identity,
            user,
            credential: self.credential,
            model: self.model,
            batching: self.batching,
            operation_timeout: self.operation_timeout,
            queue_timeout: self.queue_timeout,
        };
        joining.join(commands, counters).await
    }

    fn settings(&self) -> Settings {
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
            // Without a source of randomness the clients of one machine at least differ.
            seed: getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())),
        }
    }
}

impl fmt::Debug for DeviceClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceClientBuilder")
            .field("host", &self.host)
            .field("identity", &self.identity)
            .field("sign_in", &self.sign_in)
            .finish_non_exhaustive()
    }
}
