//! The device client: one connection, one device or module, its telemetry.

use std::fmt;
use std::time::Duration;

use iothub_address::{AmqpUrl, HubHost, HubName, Identity, Node, Scheme, User};
use iothub_sas::SasToken;
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::Message;
use crate::config::{AMQP_PORT, AMQPS_PORT, IDLE_TIMEOUT, OPERATION_TIMEOUT};
use crate::driver::dial::{Endpoint, dial};
use crate::driver::engine::{Encoded, Login, Opening, open};
use crate::driver::owner::{Command, Ended, run};
use crate::driver::tls::{client_config, shake_hands};
use crate::error::{Accepted, CloseError, ConnectError, Interruption, Lost, Phase, SendError};

/// A device's or module's connection to its hub, by AMQP 1.0 over TLS with SASL PLAIN.
///
/// Clones share the connection. It lasts until [`close`](Self::close), until the last clone is dropped, or until the
/// hub ends it, which a hub does some minutes after the token has expired: SASL PLAIN knows no renewal. It does not
/// reconnect.
///
/// # Examples
/// ```no_run
/// use iothub_address::AmqpUrl;
/// use iothub_amqp::{DeviceClient, Message};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = std::env::var("DEVICE_URL")?; // amqps://DEVICE@sas.HUB:TOKEN@HUB.azure-devices.net/devices/DEVICE/messages/events
/// let client = DeviceClient::at(&AmqpUrl::parse(&url)?)?.connect().await?;
/// client.send(Message::new("Hello World!")).await?;
/// client.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeviceClient {
    commands: mpsc::Sender<Command>,
    ended: Ended,
    limit: Duration,
}

impl DeviceClient {
    /// A connection to be made to `host`, as `identity`, with a token for it.
    #[must_use]
    pub fn builder(host: HubHost, identity: Identity, token: SasToken) -> DeviceClientBuilder {
        DeviceClientBuilder {
            hub: host.hub_name(),
            host,
            identity,
            token,
            port: None,
            plain_tcp: false,
            roots: Vec::new(),
            operation_timeout: OPERATION_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// A connection to be made as a double-"@" address says: host, port, hub, identity and token.
    ///
    /// An `amqp` address asks for [plain TCP](DeviceClientBuilder::plain_tcp_to_this_machine).
    ///
    /// # Errors
    /// [`ConnectError::NoToken`] without a password that is a token, [`ConnectError::NotADevice`] for a policy's user or
    /// another node than the identity's own telemetry.
    pub fn at(url: &AmqpUrl) -> Result<DeviceClientBuilder, ConnectError> {
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
        let mut builder = Self::builder(url.host().clone(), identity.clone(), token).hub(user.hub().clone());
        builder.port = url.port();
        builder.plain_tcp = url.scheme() == Scheme::Amqp;
        Ok(builder)
    }

    /// Sends a message and waits for its outcome.
    ///
    /// Calls may overlap: up to [`WINDOW`](crate::WINDOW) messages of a client fly at once, handed over in the order of
    /// the calls.
    ///
    /// # Errors
    /// See [`SendError`]; only [`SendError::Unknown`] leaves open whether the hub has the message.
    ///
    /// # Delivery
    /// `Ok` means that the hub has accepted the message. Nothing is ever sent twice.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the message back: it may have been handed over, or be handed over later.
    pub async fn send(&self, message: Message) -> Result<Accepted, SendError> {
        let deadline = Instant::now() + self.limit;
        let (reply, outcome) = oneshot::channel();
        let weight = message.weight();
        let command = Command::Send {
            message: Encoded::from(message),
            weight,
            deadline,
            reply,
        };
        match timeout_at(deadline, self.commands.send(command)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(SendError::NotSent(self.why_ended())),
            Err(_) => {
                let why = Interruption::TimedOut {
                    phase: Phase::Credit,
                    after: self.limit,
                };
                return Err(SendError::NotSent(why));
            }
        }
        // The owner answers everything it took by a deadline, unless its task died.
        outcome
            .await
            .unwrap_or_else(|_| Err(SendError::Unknown(self.why_ended())))
    }

    /// Waits for the outcome of everything that was handed over, then detaches, ends and closes.
    ///
    /// # Errors
    /// [`CloseError`] if the farewell did not go as it should. The connection is gone in any case.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing, only the waiting for it.
    pub async fn close(self) -> Result<(), CloseError> {
        let (reply, closed) = oneshot::channel();
        if self.commands.send(Command::Close { reply }).await.is_err() {
            return Err(CloseError::Ended(self.why_ended()));
        }
        closed
            .await
            .unwrap_or_else(|_| Err(CloseError::Ended(self.why_ended())))
    }

    fn why_ended(&self) -> Interruption {
        self.ended
            .get()
            .cloned()
            .unwrap_or(Interruption::Lost(Lost::Protocol))
    }
}

impl fmt::Debug for DeviceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceClient")
            .field("ended", &self.ended.get())
            .finish_non_exhaustive()
    }
}

/// How a [`DeviceClient`] is to connect.
#[derive(Debug, Clone)]
pub struct DeviceClientBuilder {
    host: HubHost,
    hub: Option<HubName>,
    identity: Identity,
    token: SasToken,
    port: Option<u16>,
    plain_tcp: bool,
    roots: Vec<CertificateDer<'static>>,
    operation_timeout: Duration,
    idle_timeout: Duration,
}

impl DeviceClientBuilder {
    /// The hub's name in the SASL user, `DEVICE@sas.HUB`. Default: the host's first label. A gateway, a host of one's
    /// own and an IP address need it said.
    #[must_use]
    pub fn hub(mut self, hub: HubName) -> Self {
        self.hub = Some(hub);
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

    /// Connects, signs in and attaches the telemetry link.
    ///
    /// A hub may accept the link first and refuse it a moment later; the first message then tells.
    ///
    /// # Errors
    /// See [`ConnectError`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(self) -> Result<DeviceClient, ConnectError> {
        let hub = self
            .hub
            .ok_or_else(|| ConnectError::NoHubName(self.host.to_string()))?;
        let user = User::for_identity(self.identity.clone(), hub);
        let login = Login {
            user: user.to_string(),
            token: self.token,
        };
        login.check_size()?;

        let default_port = if self.plain_tcp { AMQP_PORT } else { AMQPS_PORT };
        let endpoint = Endpoint {
            host: self.host.as_str().to_owned(),
            port: self.port.unwrap_or(default_port),
            loopback_only: self.plain_tcp,
        };
        let limit = self.operation_timeout;
        let opening = Opening {
            hostname: self.host.as_str(),
            container_id: unique_name(self.identity.device().as_str()),
            login: &login,
            link_name: unique_name("telemetry"),
            target: Node::Events(self.identity.clone()).to_string(),
            limit,
            idle_timeout: self.idle_timeout,
        };

        let wire = if self.plain_tcp {
            open(dial(&endpoint, limit).await?, opening).await?
        } else {
            let config = client_config(self.roots).await?;
            let stream = dial(&endpoint, limit).await?;
            open(shake_hands(stream, &endpoint, config, limit).await?, opening).await?
        };
        let (commands, queue) = mpsc::channel(QUEUE);
        let ended = Ended::default();
        tokio::spawn(run(wire, queue, Ended::clone(&ended), limit));
        Ok(DeviceClient {
            commands,
            ended,
            limit,
        })
    }
}

/// A name that no other connection or link has: a hub keys links by name.
fn unique_name(prefix: &str) -> String {
    let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    format!("{prefix}-{random:016x}")
}

/// How many messages wait in the queue before [`DeviceClient::send`] waits for room in it.
const QUEUE: usize = 64;
