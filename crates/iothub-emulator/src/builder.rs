//! What an emulator starts with, and starting it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iothub_address::{ConsumerGroup, DeviceId, HubHost, HubName, Identity, ModuleId, PolicyName};
use iothub_sas::SharedKey;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::admin::{Admin, AdminToken};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::emulator::{Emulator, Parts, Way};
use crate::feed::Feed;
use crate::given::{PolicyKeys, Shown, add_identities, add_policies};
use crate::guests::Guests;
use crate::http;
use crate::hub::{
    Authentication, CloudToDevice, DeviceAuthorities, EventEndpoint, Hub, Keeping, Keys, Limits, LogLimits,
    Names, Place, Rights, Setup, SharedRing, Tier, entity_of,
};
use crate::owner::{self, HubHandle};
use crate::page::{Page, View};
use crate::partitions::Partitions;
use crate::random;
use crate::rest::Rest;
use crate::rings;
use crate::seed;
use crate::start::{Endpoint, StartError};
use crate::store::{self, Opened, STATE_FILE, StateError};
use crate::tls::{self, Authority, TlsError};
use crate::wire::{self, Context, Transport};

/// Makes an [`Emulator`]. Without a call it is hub `emulator` on free ports of 127.0.0.1, with no device, in
/// memory.
#[must_use = "an emulator begins with `start`"]
pub struct Builder {
    hub: Option<HubName>,
    listen: IpAddr,
    amqps_port: u16,
    https_port: Option<u16>,
    amqp_port: Option<u16>,
    identities: Vec<(Identity, Shown)>,
    seeds: Vec<PathBuf>,
    policies: Vec<(PolicyName, PolicyKeys, Rights)>,
    state_dir: Option<PathBuf>,
    device_authorities: Vec<PathBuf>,
    extra_names: Vec<HubHost>,
    clock: Arc<dyn Clock>,
    pub(crate) randomness: Option<u64>,
    partitions: Option<u16>,
    consumer_groups: Vec<ConsumerGroup>,
    journal: LogLimits,
    token_grace: Duration,
    clock_skew: Duration,
    tier: Option<Tier>,
    units: u16,
    cloud_to_device: CloudToDevice,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            hub: None,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            amqps_port: 0,
            https_port: Some(0),
            amqp_port: None,
            identities: Vec::new(),
            seeds: Vec::new(),
            policies: Vec::new(),
            state_dir: None,
            device_authorities: Vec::new(),
            extra_names: Vec::new(),
            clock: Arc::new(SystemClock),
            randomness: None,
            partitions: None,
            consumer_groups: Vec::new(),
            journal: LogLimits::default(),
            token_grace: DEFAULT_TOKEN_GRACE,
            clock_skew: Duration::ZERO,
            tier: None,
            units: 1,
            cloud_to_device: CloudToDevice::default(),
        }
    }

    /// The hub's name, `HUB` in `HUB.azure-devices.net`. Default `emulator`.
    pub fn hub(mut self, name: HubName) -> Self {
        self.hub = Some(name);
        self
    }

    /// The address to listen on. Default 127.0.0.1. Any other than a loopback address lets other machines in, to
    /// a hub that is made for tests; its certificate names that address too.
    pub fn listen(mut self, address: IpAddr) -> Self {
        self.listen = address;
        self
    }

    /// The port for AMQP over TLS; 0, the default, takes a free one. SDKs look at 5671 unless they are told.
    pub fn amqps_port(mut self, port: u16) -> Self {
        self.amqps_port = port;
        self
    }

    /// The port for HTTPS; 0, the default, takes a free one, `None` does without.
    pub fn https_port(mut self, port: impl Into<Option<u16>>) -> Self {
        self.https_port = port.into();
        self
    }

    /// A port for AMQP without TLS, 0 for a free one. Default `None`. It is on a loopback address whatever
    /// [`listen`](Self::listen) says, since tokens cross it in the clear.
    pub fn amqp_port(mut self, port: impl Into<Option<u16>>) -> Self {
        self.amqp_port = port.into();
        self
    }

    /// A file of identities and twins that are there from the start, in the service's own form of export: a JSON object a
    /// line, as [`Export`](crate::Export) and the real hub's export jobs write it (Azure docs, "Import and export IoT Hub
    /// device identities in bulk"). Each call adds a file, read in order.
    ///
    /// A line's `importMode` says what is done: `create`, `update`, `delete` and so on; without one, `createOrUpdate`. An
    /// identity without keys in its line keeps those that it has, and gets new ones if it is new. Beside what the real hub
    /// does, a new or overwritten identity takes the line's `eTag`, `twinETag` and versions, so that an export comes back
    /// as it was. What is given by [`device`](Self::device) and [`module`](Self::module) comes after.
    pub fn seed(mut self, file: impl Into<PathBuf>) -> Self {
        self.seeds.push(file.into());
        self
    }

    /// A device that is there from the start, with its keys, the thumbprints of its certificates, or another
    /// [`Authentication`]; with `None` keys are made for it.
    pub fn device(mut self, id: DeviceId, authentication: impl Into<Option<Authentication>>) -> Self {
        self.identities
            .push((id.into(), Shown::of(authentication.into())));
        self
    }

    /// A device that is there from the start, by its primary key; a secondary one is made, or kept from an earlier run.
    pub fn device_key(mut self, id: DeviceId, primary: SharedKey) -> Self {
        self.identities.push((id.into(), Shown::Primary(primary)));
        self
    }

    /// A module that is there from the start, of a device that was given before; its authentication as a device's.
    pub fn module(
        mut self,
        device: DeviceId,
        module: ModuleId,
        authentication: impl Into<Option<Authentication>>,
    ) -> Self {
        let identity = Identity::Module(device, module);
        self.identities.push((identity, Shown::of(authentication.into())));
        self
    }

    /// A module that is there from the start, by its primary key; a secondary one is made, or kept from an earlier run.
    pub fn module_key(mut self, device: DeviceId, module: ModuleId, primary: SharedKey) -> Self {
        let identity = Identity::Module(device, module);
        self.identities.push((identity, Shown::Primary(primary)));
        self
    }

    /// A shared access policy by its primary key; a secondary one is made. The hub's five built-in names
    /// ([`Rights::BUILT_IN`]) have the rights that they have there, and are there with new keys if they are not given; a
    /// policy of any other name has all rights.
    pub fn policy(mut self, name: PolicyName, key: SharedKey) -> Self {
        let rights = Rights::of_built_in(name.as_str()).unwrap_or(Rights::ALL);
        self.policies.push((name, PolicyKeys::One(key), rights));
        self
    }

    /// A shared access policy with these keys and rights.
    pub fn policy_with(mut self, name: PolicyName, keys: Keys, rights: Rights) -> Self {
        self.policies.push((name, PolicyKeys::Both(keys), rights));
        self
    }

    /// The directory where the hub is kept: identities, twins, messages for devices, feedback, policies and the event log
    /// in one file ([`STATE_FILE`](crate::STATE_FILE)), and the certificate authority. It is made at the first start, and
    /// the next start goes on from there. Default none: all of it lives and dies with the emulator.
    ///
    /// Messages go on with their numbers and delivery counts. No lock outlives the hub: a message that was out for
    /// delivery waits again, and that delivery counts. Method calls and throttles begin anew.
    ///
    /// What is acknowledged to a client, or returned from a method of [`Emulator`], has been written and synced
    /// (`fdatasync`) before: it survives a killed process, and a power cut as far as the disk keeps what it says it has.
    /// One sync serves all that came while the one before it ran. One hub at a time may use a directory.
    ///
    /// A device, module or policy that is given here and is there already keeps what it has, but for the keys or
    /// thumbprints that are given with it.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// A file of certificates, PEM, of authorities whose word counts for devices and modules that are registered with
    /// [`Authentication::CertificateAuthority`]. Each call adds one. Default none.
    pub fn device_authority(mut self, file: impl Into<PathBuf>) -> Self {
        self.device_authorities.push(file.into());
        self
    }

    /// More names or addresses that the hub answers to and that its certificate holds, besides `localhost`,
    /// `127.0.0.1`, `::1` and `HUB.azure-devices.net`.
    pub fn extra_names(mut self, names: impl IntoIterator<Item = HubHost>) -> Self {
        self.extra_names.extend(names);
        self
    }

    /// Where the hub takes the time from. Default the machine's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long an open connection or link outlives its token. Default 5 minutes, after which the real hub drops such
    /// within another 5. Shorter finds out sooner whether a client renews its tokens; what is opened anew needs
    /// a token that holds, whatever this says. Nothing that [`clock_skew`](Self::clock_skew) lets in is dropped before
    /// that is over.
    pub fn token_grace(mut self, grace: Duration) -> Self {
        self.token_grace = grace;
        self
    }

    /// How long after its end a token is still taken, cut to whole seconds. Default 0. More lets devices in whose clocks
    /// go wrong; the real hub is said to allow about 5 minutes.
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew;
        self
    }

    /// The tier, with whose throttles and daily quota the hub does as a real one. Default `None`: no limit but those
    /// that hold for every message.
    ///
    /// What is above a throttle passes for a while, then waits for its answer, at most 10 s, and then is refused: a
    /// message with `com.microsoft:device-container-throttled`, a token with status 429. Above the quota a message is
    /// rejected with `amqp:resource-limit-exceeded` and code 403002 until midnight UTC. All of it goes by the hub's
    /// clock.
    pub fn tier(mut self, tier: impl Into<Option<Tier>>) -> Self {
        self.tier = tier.into();
        self
    }

    /// How many units the hub has, which multiply the limits of its tier. Default 1; a free hub never has more.
    pub fn units(mut self, units: u16) -> Self {
        self.units = units;
        self
    }

    /// How cloud-to-device messages are kept and delivered. Default as at the real hub.
    pub fn cloud_to_device(mut self, settings: CloudToDevice) -> Self {
        self.cloud_to_device = settings;
        self
    }

    /// How many partitions the event log has, at least 1. Default 4, or as many as the hub in the state directory has:
    /// another number is an error there. A reader of one looks through the log of all, so more of them cost more.
    ///
    /// Which one a device's events go to is FNV-1a of its id, 64 bits, modulo this number. The real hub's hash is not
    /// published.
    pub fn partitions(mut self, count: u16) -> Self {
        self.partitions = Some(count.max(1));
        self
    }

    /// A consumer group of the event endpoint, beside `$Default` which is always there. Each call adds one. Groups have
    /// readers, and nothing that would be kept.
    pub fn consumer_group(mut self, name: ConsumerGroup) -> Self {
        self.consumer_groups.push(name);
        self
    }

    /// How many events are kept, in how much room, and for how long: in memory, or in the state directory. It is one bound
    /// for all partitions together: a busy one drives out the older events of a quiet one.
    pub fn journal_limits(mut self, limits: LogLimits) -> Self {
        self.journal = limits;
        self
    }

    /// Starts the hub. When this returns its ports are open.
    ///
    /// # Errors
    /// [`StartError`] says which port or file was not to be had, and why. Nothing is left running then.
    ///
    /// # Cancel safety
    /// Dropping it leaves at most the certificate authority's files behind.
    pub async fn start(self) -> Result<Emulator, StartError> {
        let mut state = self.open_state().await?;
        let started = self.start_on(&mut state).await;
        if let Some(unused) = state {
            unused.writer.close().await;
        }
        started
    }

    async fn open_state(&self) -> Result<Option<Opened>, StateError> {
        let Some(directory) = self.state_dir.clone() else {
            return Ok(None);
        };
        let (partitions, limits) = (self.partitions, self.journal);
        let opening = tokio::task::spawn_blocking(move || {
            store::open(&directory, partitions, DEFAULT_PARTITIONS, limits)
        });
        // It can only fail by a panic, which goes on here.
        let opened = opening
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        opened.map(Some)
    }

    /// Takes the state when all else is there.
    async fn start_on(self, state: &mut Option<Opened>) -> Result<Emulator, StartError> {
        let hub_name = self.hub.clone().unwrap_or_else(default_hub);
        let names = self.names(&hub_name);
        let (authority, tls) = self.tls(&names).await?;
        let authorities = self.authorities()?;
        let amqps = bind(Endpoint::Amqps, self.listen, self.amqps_port).await?;
        let https = match self.https_port {
            Some(port) => Some(bind(Endpoint::Https, self.listen, port).await?),
            None => None,
        };
        let amqp = match self.amqp_port {
            Some(port) => Some(bind(Endpoint::Amqp, self.loopback(), port).await?),
            None => None,
        };

        let events = rings::events(self.journal, state.as_ref());
        let activities = SharedRing::new(ACTIVITY_LIMITS);
        let (journal, events_grow) = Feed::new(
            events.clone(),
            state.as_ref().map(|state| Arc::new(state.archive.clone()) as _),
        );
        let (activity, activities_grow) = Feed::new(activities.clone(), None);
        let passed = SharedRing::new(ACTIVITY_LIMITS);
        let (traffic, traffic_grows) = Feed::new(passed.clone(), None);
        let fates = rings::feedback(state.as_mut(), self.clock.now());
        let (feedback, fates_grow) = Feed::new(fates.clone(), None);
        let names = Names::new(names, &hub_name);
        let partitions = match &state {
            Some(state) => state.log.partitions.clone(),
            None => vec![Place::default(); self.partitions.unwrap_or(DEFAULT_PARTITIONS).into()],
        };
        let heads = rings::heads(&partitions, state.as_ref());
        let clock = SharedClock::new(Arc::clone(&self.clock));
        let way = Way::new(self.listen, amqps.1.port());
        let endpoint = EventEndpoint::new(
            &hub_name,
            way.host(),
            way.amqps_port(),
            self.consumer_groups,
            heads.clone(),
        );
        let setup = Setup {
            hub: hub_name.clone(),
            token_grace: self.token_grace,
            clock_skew: Duration::from_secs(self.clock_skew.as_secs()),
            limits: self.tier.map_or_else(Limits::default, |tier| {
                Limits::of(tier, self.units, self.clock.now())
            }),
            names,
            authorities,
            partitions,
            heads: heads.clone(),
            endpoint,
            keeping: match &state {
                Some(_) => Keeping::Everything,
                None => Keeping::Nothing,
            },
            events,
            activities,
            traffic: passed,
            feedback: fates,
            feedback_done: state.as_ref().map_or(0, |state| state.feedback_done),
            now: self.clock.now(),
            cloud_to_device: self.cloud_to_device,
            seed: self.randomness.map_or_else(random::seed, Ok)?,
        };
        let mut hub = Hub::new(setup);
        if let Some(state) = state {
            hub.restore(std::mem::take(&mut state.kept), self.clock.now());
        }
        for file in &self.seeds {
            seed::sow(&mut hub, file, self.clock.now())?;
        }
        add_identities(&mut hub, self.identities)?;
        add_policies(&mut hub, self.policies)?;

        let (handle, requests) = HubHandle::new();
        let owner = tokio::spawn(owner::run(
            hub,
            requests,
            clock.clone(),
            owner::Logs {
                events: events_grow,
                heads: heads.clone(),
                activities: activities_grow,
                traffic: traffic_grows,
                feedback: fates_grow,
            },
            state.take().map(|state| state.writer),
        ));
        // Whoever learns a key from here on finds it there after a crash.
        handle
            .run(|_, _| ())
            .await
            .map_err(|_| unwritten(self.state_dir))?;
        let partitions = Partitions::new(journal.clone(), heads, entity_of(&hub_name), clock);
        let (stop, stopping) = watch::channel(false);
        let permits = Arc::new(Semaphore::new(wire::MAX_CONNECTIONS));
        let parts = Parts {
            listen: self.listen,
            amqps: amqps.1,
            https: https.as_ref().map(|bound| bound.1),
            amqp: amqp.as_ref().map(|bound| bound.1),
            hub_name,
            authority,
            admin_token: AdminToken::generate()?,
            hub: handle.clone(),
            journal,
            activity,
            traffic,
            feedback,
            stop,
            owner,
        };

        let context = Context {
            hub: handle.clone(),
            container_id: format!("DeviceGateway_{}", hex(&random::id(self.randomness)?)),
            partitions,
            stopping: stopping.clone(),
        };
        let mut listeners = JoinSet::new();
        let transports = [
            (Some(amqps), Transport::Tls(Arc::clone(&tls))),
            (amqp, Transport::Plain),
        ];
        for (bound, transport) in transports {
            let Some((listener, _)) = bound else { continue };
            let context = context.clone();
            let serve = move |stream, peer| context.clone().serve_amqp(stream, peer, transport.clone());
            listeners.spawn(wire::serve(
                listener,
                Arc::clone(&permits),
                stopping.clone(),
                serve,
            ));
        }
        let about = http::About::new(&parts);
        let admin = Admin::new(handle.clone(), parts.admin_token.clone(), parts.way());
        let page = Page::new(View::new(
            handle.clone(),
            parts.hub_name.clone(),
            parts.journal.clone(),
            parts.activity.clone(),
            parts.traffic.clone(),
        ));
        let site = http::Site::new(
            Rest::new(handle),
            page,
            context.clone(),
            admin,
            tls,
            about,
            stopping.clone(),
        );
        let guests = Guests::new(context, site.clone(), Arc::clone(&permits));
        if let Some((listener, _)) = https {
            let serve = move |stream, peer| site.clone().serve(stream, peer);
            listeners.spawn(wire::serve(listener, permits, stopping, serve));
        }
        Ok(Emulator::new(parts, listeners, guests))
    }

    fn names(&self, hub: &HubName) -> Vec<HubHost> {
        let fixed = [
            "localhost",
            "127.0.0.1",
            "::1",
            &format!("{hub}.azure-devices.net"),
        ]
        .map(|name| HubHost::parse(name).expect("these are hosts, and a hub's name is a label of one"));
        let mut names = fixed.to_vec();
        let listen = HubHost::parse(&self.listen.to_string()).ok();
        let listen = listen.filter(|_| !self.listen.is_unspecified());
        for name in listen.iter().chain(&self.extra_names) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    fn authorities(&self) -> Result<DeviceAuthorities, TlsError> {
        let mut certificates = Vec::new();
        for file in &self.device_authorities {
            certificates.extend(tls::authorities_in(file)?);
        }
        DeviceAuthorities::new(certificates).map_err(TlsError::Setup)
    }

    async fn tls(&self, names: &[HubHost]) -> Result<(Authority, Arc<rustls::ServerConfig>), TlsError> {
        let directory = self.state_dir.clone();
        let made = tokio::task::spawn_blocking(move || match directory {
            Some(directory) => Authority::in_directory(&directory),
            None => Authority::in_memory(),
        });
        // It can only fail by a panic, which goes on here.
        let authority = made
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let addresses: Vec<IpAddr> = names.iter().filter_map(HubHost::ip).collect();
        let names: Vec<String> = names
            .iter()
            .filter(|name| name.ip().is_none())
            .map(ToString::to_string)
            .collect();
        let config = authority.server_config(&names, &addresses)?;
        Ok((authority, config))
    }

    fn loopback(&self) -> IpAddr {
        match self.listen {
            IpAddr::V6(address) if address.is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("hub", &self.hub)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

fn unwritten(state_dir: Option<PathBuf>) -> StateError {
    StateError::Io {
        file: state_dir.unwrap_or_default().join(STATE_FILE),
        source: io::Error::other("it does not take what is written to it"),
    }
}

async fn bind(endpoint: Endpoint, ip: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = SocketAddr::new(ip, port);
    let failed = |source| StartError::Listen {
        endpoint,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn default_hub() -> HubName {
    HubName::parse("emulator").expect("it is a hub's name")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Traces of the real hub show connections that end 5 to 10 minutes after their token.
const DEFAULT_TOKEN_GRACE: Duration = Duration::from_secs(300);
/// What a new hub has unless more are asked for.
const DEFAULT_PARTITIONS: u16 = 4;
/// How much of what happened at the door is kept, and of what passed to and from devices.
const ACTIVITY_LIMITS: LogLimits = LogLimits::new(10_000, 16 * 1024 * 1024);
