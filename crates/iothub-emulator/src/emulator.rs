//! A running hub.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use iothub_address::{
    AddressError, ConnectionString, ConnectionStringBuilder, DeviceId, HubHost, HubName, Identity, ModuleId,
    PolicyName, Secret,
};
use iothub_sas::SharedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::admin::AdminToken;
use crate::builder::Builder;
use crate::clock::Timestamp;
use crate::fault::{Fault, FaultError, InjectedFault};
use crate::feed::Feed;
use crate::guests::Guests;
use crate::hub::{
    Activity, Authentication, Event, Feedback, Hub, Keys, MailboxError, MethodError, RegistryError, Status,
    Traffic, TwinError, entity_of,
};
use crate::owner::{HubHandle, NotDone};
use crate::random::NoRandomness;
use crate::tls::Authority;

/// An IoT Hub in this process. Any number of them live side by side.
///
/// Dropping it stops it too, but does not wait until all its tasks have ended; [`stop`](Self::stop) does.
///
/// # Examples
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use iothub_emulator::Emulator;
///
/// let hub = Emulator::builder().device("myFirstDevice".parse()?, None).start().await?;
/// let device = hub.connection_string(&"myFirstDevice".parse()?).await?;
/// // … let a device client connect with `device.expose()` and trust `hub.root_certificate_pem()` …
/// for event in hub.journal().snapshot() {
///     println!("{} sent {:?}", event.device(), event.message.body);
/// }
/// hub.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Emulator {
    parts: Parts,
    listeners: JoinSet<()>,
    guests: Guests,
}

/// All of an emulator but its listeners, which need to know of it.
pub(crate) struct Parts {
    pub(crate) listen: IpAddr,
    pub(crate) amqps: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) amqp: Option<SocketAddr>,
    pub(crate) hub_name: HubName,
    pub(crate) authority: Authority,
    pub(crate) admin_token: AdminToken,
    pub(crate) hub: HubHandle,
    pub(crate) journal: Feed<Event>,
    pub(crate) activity: Feed<Activity>,
    pub(crate) traffic: Feed<Traffic>,
    pub(crate) feedback: Feed<Feedback>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) owner: JoinHandle<()>,
}

/// Why a change to the registry, or a connection string, was not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The registry would not do it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The twin would not take it.
    #[error(transparent)]
    Twin(#[from] TwinError),
    /// The method has no response.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The mailbox would not take it.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// There is no such policy.
    #[error("there is no policy {0}")]
    NoPolicy(PolicyName),
    /// No connection string can hold the identity's credential: it has none.
    #[error("{0} has nothing to connect with")]
    NoCredential(Identity),
    /// No connection string can hold the identity: an id with a `;` is legal, and ends a field there.
    #[error(transparent)]
    NoConnectionString(#[from] AddressError),
    /// There is no randomness to make keys of.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The fault cannot be.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The state directory did not take the change: a full disk, mostly. It holds as long as the hub runs, and is
    /// written when that is possible again.
    #[error("the hub cannot write its state")]
    Unsaved,
    /// The hub has stopped.
    #[error("the hub has stopped")]
    Stopped,
}

impl From<NotDone> for HubError {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Stopped => Self::Stopped,
            NotDone::Unsaved => Self::Unsaved,
        }
    }
}

impl Emulator {
    /// Begins to make one.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) const fn new(parts: Parts, listeners: JoinSet<()>, guests: Guests) -> Self {
        Self {
            parts,
            listeners,
            guests,
        }
    }

    /// The hub's name.
    pub const fn hub(&self) -> &HubName {
        &self.parts.hub_name
    }

    /// Where it listens for AMQP over TLS.
    pub const fn amqps_address(&self) -> SocketAddr {
        self.parts.amqps
    }

    /// Where it listens for HTTPS, if it does.
    pub const fn https_address(&self) -> Option<SocketAddr> {
        self.parts.https
    }

    /// Where it listens for AMQP without TLS, if it does.
    pub const fn amqp_address(&self) -> Option<SocketAddr> {
        self.parts.amqp
    }

    /// The certificate that clients must trust, PEM.
    pub fn root_certificate_pem(&self) -> &str {
        self.parts.authority.pem()
    }

    /// The certificate that clients must trust, DER.
    pub fn root_certificate_der(&self) -> &[u8] {
        self.parts.authority.der()
    }

    /// Registers a device with its keys, the thumbprints of its certificates, or another [`Authentication`]; with
    /// `None` keys are made for it.
    ///
    /// # Errors
    /// [`RegistryError::Exists`] if it is registered already.
    pub async fn register_device(
        &self,
        id: DeviceId,
        authentication: impl Into<Option<Authentication>>,
    ) -> Result<(), HubError> {
        self.register(Identity::Device(id), authentication.into()).await
    }

    /// Registers a module of a registered device; its authentication as a device's.
    ///
    /// # Errors
    /// [`RegistryError`] if there is no such device, if it has such a module, or as many as one may have.
    pub async fn register_module(
        &self,
        device: DeviceId,
        module: ModuleId,
        authentication: impl Into<Option<Authentication>>,
    ) -> Result<(), HubError> {
        self.register(Identity::Module(device, module), authentication.into())
            .await
    }

    /// The devices that are registered, by id.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn devices(&self) -> Result<Vec<DeviceId>, HubError> {
        Ok(self
            .parts
            .hub
            .run(|hub, _| hub.devices().cloned().collect())
            .await?)
    }

    /// Removes a device with its modules, or a module. Who is connected as it is sent away.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub async fn remove(&self, identity: &Identity) -> Result<(), HubError> {
        let identity = identity.clone();
        Ok(self
            .parts
            .hub
            .run(move |hub, now| hub.remove(&identity, now))
            .await??)
    }

    /// Enables or disables a device and its modules. Who is connected as a disabled one is sent away.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub async fn set_status(&self, device: &DeviceId, status: Status) -> Result<(), HubError> {
        let device = device.clone();
        Ok(self
            .parts
            .hub
            .run(move |hub, now| hub.set_status(&device, status, now))
            .await??)
    }

    /// What a device or module connects with: its primary key or `x509=true`, and `localhost` (or the address that the hub
    /// listens on, if `localhost` does not lead there) with the AMQPS port unless that is 5671.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`HubError::NoConnectionString`] for an id with a `;`, or
    /// [`HubError::NoCredential`] for an identity of type `none`.
    pub async fn connection_string(&self, identity: &Identity) -> Result<ConnectionString, HubError> {
        connection_string(&self.parts.hub, self.parts.way(), identity).await
    }

    /// What a back end connects with: a policy's primary key.
    ///
    /// # Errors
    /// [`HubError::NoPolicy`].
    pub async fn policy_connection_string(&self, policy: &PolicyName) -> Result<ConnectionString, HubError> {
        let keys = self.policy_keys(policy).await?;
        let string = self
            .parts
            .way()
            .string()
            .policy(policy.clone())
            .key(secret(keys.primary()));
        Ok(string.build()?)
    }

    /// What a reader of events connects with that knows Event Hubs and no IoT Hub: the event endpoint, which is at the
    /// hub's own AMQPS port, with a policy's primary key and the event hub in it, `EntityPath`, which is named as the hub
    /// is, in small letters.
    ///
    /// # Errors
    /// [`HubError::NoPolicy`].
    pub async fn events_connection_string(&self, policy: &PolicyName) -> Result<ConnectionString, HubError> {
        let keys = self.policy_keys(policy).await?;
        let string = self.parts.way().events_string();
        let string = string
            .policy(policy.clone())
            .key(secret(keys.primary()))
            .entity_path(entity_of(&self.parts.hub_name));
        Ok(string.build()?)
    }

    async fn policy_keys(&self, policy: &PolicyName) -> Result<Keys, HubError> {
        let wanted = policy.clone();
        let find = move |hub: &mut Hub, _| hub.policy(&wanted).map(|policy| policy.keys.clone());
        let keys = self.parts.hub.run(find).await?;
        keys.ok_or_else(|| HubError::NoPolicy(policy.clone()))
    }

    /// Lets something go wrong.
    ///
    /// # Errors
    /// [`HubError::Fault`] for what cannot be, and [`RegistryError::NotFound`] if it is for a device that is not there.
    pub async fn inject(&self, fault: Fault) -> Result<(), HubError> {
        inject(&self.parts.hub, fault).await
    }

    /// The faults that last, and then those that are to come.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn faults(&self) -> Result<Vec<InjectedFault>, HubError> {
        Ok(self.parts.hub.run(|hub, _| hub.faults()).await?)
    }

    /// Ends the faults that last, and forgets those that are to come. What they have done stays done. Gives how many
    /// there were.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn clear_faults(&self) -> Result<usize, HubError> {
        Ok(self.parts.hub.run(|hub, _| hub.clear_faults()).await?)
    }

    /// What the administration at the HTTPS port, under `/admin/`, wants to see as a bearer token. It is made anew at
    /// each start. Who has it may let anything go wrong in the hub, and read what the hub keeps.
    pub const fn admin_token(&self) -> &Secret {
        self.parts.admin_token.secret()
    }

    /// Turns the hub's clock on by `by`, cut to whole milliseconds, whatever clock it has. What falls due by that has
    /// been done when this returns.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn turn_clock(&self, by: Duration) -> Result<Timestamp, HubError> {
        Ok(self.parts.hub.turn_clock(by).await?)
    }

    /// The time by the hub's clock.
    ///
    /// # Errors
    /// [`HubError::Stopped`].
    pub async fn now(&self) -> Result<Timestamp, HubError> {
        Ok(self.parts.hub.run(|_, now| now).await?)
    }

    /// The events that the hub took, and those to come.
    pub fn journal(&self) -> Feed<Event> {
        self.parts.journal.clone()
    }

    /// What happened at the hub's door: who came, who was let in, who was refused and why.
    pub fn activity(&self) -> Feed<Activity> {
        self.parts.activity.clone()
    }

    /// What passed between services and devices beside telemetry: messages to devices and what became of them, methods, and
    /// changes of twins. The last 10,000 are kept.
    pub fn traffic(&self) -> Feed<Traffic> {
        self.parts.traffic.clone()
    }

    /// Serves AMQP on a stream that did not come to a port: one end of a [`duplex`](tokio::io::duplex) in a test without
    /// sockets, or what comes out of a tunnel. All is as on the port without TLS, from the client's first byte on, and
    /// nobody has shown a certificate. In [`activity`](Self::activity) the client's address is `0.0.0.0:0`.
    ///
    /// It returns at once; the connection ends as those of the ports do, and with the hub.
    ///
    /// # Panics
    /// Outside a tokio runtime, since it spawns the connection's task.
    ///
    /// # Limits
    /// Such connections count among the 10,000 of all ports together. One more is dropped, so that the client finds the
    /// end of its stream.
    pub fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.guests.serve(stream);
    }

    /// Serves what the HTTPS port does on a stream that did not come to it, without TLS: the REST API, the administration,
    /// and AMQP over WebSocket. All else is as with [`serve`](Self::serve).
    ///
    /// # Panics
    /// Outside a tokio runtime, since it spawns the connection's task.
    ///
    /// # Limits
    /// As with [`serve`](Self::serve).
    pub fn serve_http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.guests.serve_http(stream);
    }

    /// Stops: ports closed, connections closed with `amqp:connection:forced`, all tasks ended. It takes a few
    /// seconds at most, however clients behave.
    ///
    /// # Cancel safety
    /// The hub stops even if this is dropped, but nobody waits for it.
    pub async fn stop(mut self) {
        self.parts.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
        self.guests.gone().await;
        drop(self.parts.hub);
        // A panic of the owner has been reported where it happened.
        let _ = self.parts.owner.await;
    }

    async fn register(
        &self,
        identity: Identity,
        authentication: Option<Authentication>,
    ) -> Result<(), HubError> {
        let authentication = authentication.map_or_else(Authentication::generate, Ok)?;
        Ok(self
            .parts
            .hub
            .run(move |hub, _| hub.register(&identity, authentication))
            .await??)
    }

    pub(crate) const fn handle(&self) -> &HubHandle {
        &self.parts.hub
    }

    pub(crate) fn feedback_feed(&self) -> Feed<Feedback> {
        self.parts.feedback.clone()
    }
}

impl Parts {
    pub(crate) const fn way(&self) -> Way {
        Way::new(self.listen, self.amqps.port())
    }
}

/// Where connection strings lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    listen: IpAddr,
    amqps_port: u16,
}

impl Way {
    pub(crate) const fn new(listen: IpAddr, amqps_port: u16) -> Self {
        Self { listen, amqps_port }
    }

    /// A name by which clients find the hub and which its certificate holds.
    pub(crate) fn host(self) -> HubHost {
        let ip = self.listen;
        let is_localhost = ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST;
        let host = if is_localhost || ip.is_unspecified() {
            "localhost".to_owned()
        } else {
            ip.to_string()
        };
        HubHost::parse(&host).expect("an address, or localhost, is a host")
    }

    pub(crate) const fn amqps_port(self) -> u16 {
        self.amqps_port
    }

    fn string(self) -> ConnectionStringBuilder {
        let port = self.amqps_port;
        ConnectionString::builder(self.host()).port((port != AMQPS_PORT).then_some(port))
    }

    fn events_string(self) -> ConnectionStringBuilder {
        let port = self.amqps_port;
        ConnectionString::event_hub_builder(self.host()).port((port != AMQPS_PORT).then_some(port))
    }
}

pub(crate) async fn connection_string(
    hub: &HubHandle,
    way: Way,
    identity: &Identity,
) -> Result<ConnectionString, HubError> {
    let wanted = identity.clone();
    let find = move |hub: &mut Hub, _| hub.authentication(&wanted).cloned();
    let found = hub.run(find).await?;
    let string = way.string().identity(identity.clone());
    let string = match found.ok_or_else(|| RegistryError::NotFound(identity.clone()))? {
        Authentication::Sas(keys) => string.key(secret(keys.primary())),
        Authentication::SelfSigned(_) | Authentication::CertificateAuthority => string.x509(),
        Authentication::None => return Err(HubError::NoCredential(identity.clone())),
    };
    Ok(string.build()?)
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator")
            .field("hub", &self.parts.hub_name)
            .field("amqps", &self.parts.amqps)
            .field("https", &self.parts.https)
            .finish_non_exhaustive()
    }
}

pub(crate) async fn inject(hub: &HubHandle, fault: Fault) -> Result<(), HubError> {
    let inject = move |hub: &mut Hub, now| match &fault.whom {
        Some(whom) if !hub.knows(whom) => Err(RegistryError::NotFound(whom.clone()).into()),
        _ => hub.inject(fault, now).map_err(HubError::Fault),
    };
    hub.run(inject).await?
}

fn secret(key: &SharedKey) -> Secret {
    Secret::new(key.to_base64().expose())
}

/// Where SDKs look for AMQP over TLS.
const AMQPS_PORT: u16 = 5671;
