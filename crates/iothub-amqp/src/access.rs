//! How a service comes to its hub, or to an event endpoint.

use std::sync::Arc;
use std::time::Duration;

use iothub_address::{ConnectionString, HubHost, HubName, PolicyName, Resource, User};
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime};

use crate::builder::Recover;
use crate::config::{IDLE_TIMEOUT, OPERATION_TIMEOUT, QUEUE_TIMEOUT, WINDOW, WINDOW_BYTES};
use crate::credential::TOKEN_LIFE;
use crate::device::Shared;
use crate::driver::connection::Plan;
use crate::driver::names::Names;
use crate::driver::place::Place;
use crate::error::ConnectError;
use crate::joining::{Newcomer, start};
use crate::machine::Machine;
use crate::supervisor::backoff::Schedule;
use crate::supervisor::{Lifetime, Principal, Settings, SignIn, SlotSettings};
use crate::way::Way;
use crate::{Batching, Credential, CredentialError, TokenFuture};

/// What a service's builder holds.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) way: Way,
    pub(crate) machine: Machine,
    pub(crate) credential: Arc<dyn Credential>,
    /// The policy of SASL PLAIN, if that is the way in.
    pub(crate) plain: Option<PolicyName>,
    pub(crate) hub: Option<HubName>,
    pub(crate) operation_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) recover: Recover,
}

impl Access {
    pub(crate) fn new(host: HubHost, credential: Arc<dyn Credential>) -> Self {
        Self {
            hub: host.hub_name(),
            way: Way::to(host),
            machine: Machine::own(),
            credential,
            plain: None,
            operation_timeout: OPERATION_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            recover: Recover::default(),
        }
    }

    /// As a connection string says; it is the caller's to see that it is of the right kind.
    pub(crate) fn with(connection: &ConnectionString) -> Result<Self, ConnectError> {
        let credential: Arc<dyn Credential> =
            match (connection.policy(), connection.key(), connection.signature()) {
                (Some(policy), Some(key), _) => {
                    Arc::new(PolicyKey::new(policy, key.expose()).map_err(ConnectError::BadKey)?)
                }
                (_, None, Some(token)) => {
                    Arc::new(SasToken::parse(token.expose()).map_err(ConnectError::BadToken)?)
                }
                _ => return Err(ConnectError::NotAServicesConnection),
            };
        let mut access = Self::new(connection.host().clone(), credential);
        access.way.port = connection.port();
        Ok(access)
    }

    /// Connects and signs in, in one attempt.
    pub(crate) async fn join(self, place: Place, resource: Resource) -> Result<Arc<Shared>, ConnectError> {
        let (sign_in, user) = match (self.plain, self.hub) {
            (None, _) => (SignIn::Claims, String::new()),
            (Some(_), None) => return Err(ConnectError::NoHubName(self.way.host.to_string())),
            (Some(policy), Some(hub)) => (SignIn::Plain, User::for_policy(policy, hub).to_string()),
        };
        let seed = self.machine.seed();
        let settings = Settings {
            sign_in,
            lifetime: Lifetime::OfItsSlots,
            recover: self.recover != Recover::Never,
            schedule: match self.recover {
                Recover::On(schedule) => schedule,
                Recover::Never => Schedule::default(),
            },
            operation_timeout: self.operation_timeout,
            window_bytes: WINDOW_BYTES,
            seed,
        };
        let plan = Plan {
            route: self.way.route().await?,
            hostname: self.way.place().as_str().to_owned(),
            container: CONTAINER.to_owned(),
            sign_in,
            limit: self.operation_timeout,
            idle_timeout: self.idle_timeout,
            clock: self.machine.clock,
            names: Names::new(seed),
        };
        let newcomer = Newcomer {
            place,
            resource,
            user,
            credential: Some(self.credential),
            settings: SlotSettings {
                principal: Principal::Service,
                settle_timeout: self.operation_timeout,
                window: WINDOW,
                batching: Batching::Off,
            },
            operation_timeout: self.operation_timeout,
            queue_timeout: QUEUE_TIMEOUT,
        };
        let (commands, counters) = start(settings, plan);
        let slot = counters.join().ok_or(ConnectError::ConnectionFull)?;
        newcomer.join(slot, commands, counters).await
    }
}

/// A policy's key. It signs as the hub wants it for the hub, and as Event Hubs wants it for the event endpoint: there the
/// key's text signs, where a hub decodes it first (seen with both kinds of SDK).
struct PolicyKey {
    hub: Signer,
    event_hub: Signer,
}

impl PolicyKey {
    fn new(policy: &PolicyName, key: &str) -> Result<Self, iothub_sas::KeyError> {
        let event_hub = Signer::new(SharedKey::from_text(key)?).policy(policy);
        // An event hub's key need not be base64, and then signs nothing for a hub.
        let hub = SharedKey::from_base64(key)
            .map_or_else(|_| event_hub.clone(), |key| Signer::new(key).policy(policy));
        Ok(Self { hub, event_hub })
    }
}

impl Credential for PolicyKey {
    fn token<'a>(&'a self, resource: &'a Resource, now: UnixTime) -> TokenFuture<'a> {
        let signer = if resource.as_str().starts_with("sb://") {
            &self.event_hub
        } else {
            &self.hub
        };
        let token: Result<_, CredentialError> = Ok(signer.sign(resource.as_ref(), now + TOKEN_LIFE));
        Box::pin(std::future::ready(token))
    }
}

/// The settings that every builder of a service's client has, over its field `access`.
macro_rules! service_settings {
    () => {
        /// Signs in to the hub by SASL PLAIN as this policy, in place of claims-based security (CBS). The token has to fit
        /// into 512 bytes with the user. An event endpoint is signed in to by CBS all the same.
        #[must_use]
        pub fn plain(mut self, policy: iothub_address::PolicyName) -> Self {
            self.access.plain = Some(policy);
            self
        }

        /// The hub's name in the SASL user, `POLICY@sas.root.HUB`. Default: the host's first label.
        #[must_use]
        pub fn hub(mut self, hub: iothub_address::HubName) -> Self {
            self.access.hub = Some(hub);
            self
        }

        /// The TCP port. Default that of the [transport](Self::transport), or
        /// [`AMQP_PORT`](crate::AMQP_PORT) for plain TCP.
        #[must_use]
        pub fn port(mut self, port: u16) -> Self {
            self.access.way.port = Some(port);
            self
        }

        /// What carries AMQP. Default [`Transport::Amqp`](crate::Transport::Amqp).
        #[must_use]
        pub fn transport(mut self, transport: crate::Transport) -> Self {
            self.access.way.transport = transport;
            self
        }

        /// Which connections go through an HTTP proxy. Default what the environment says when it
        /// [connects](Self::connect).
        #[must_use]
        pub fn proxies(mut self, proxies: crate::Proxies) -> Self {
            self.access.way.proxies = Some(proxies);
            self
        }

        /// Takes the time of day from this clock. Default [`SystemClock`](crate::SystemClock).
        #[must_use]
        pub fn clock(mut self, clock: impl crate::Clock) -> Self {
            self.access.machine.clock = std::sync::Arc::new(clock);
            self
        }

        /// Draws jitter and names from this seed, in place of the operating system's randomness: for simulations.
        #[must_use]
        pub fn seed(mut self, seed: u64) -> Self {
            self.access.machine.seed = Some(seed);
            self
        }

        /// Looks names up and connects by this network. Default [`SystemNetwork`](crate::SystemNetwork).
        #[must_use]
        pub fn network(mut self, network: impl crate::Network) -> Self {
            self.access.way.network = std::sync::Arc::new(network);
            self
        }

        /// Trusts this certificate too, beside the platform's roots.
        #[must_use]
        pub fn root_certificate(mut self, certificate: rustls_pki_types::CertificateDer<'static>) -> Self {
            self.access.way.roots.push(certificate);
            self
        }

        /// Goes without TLS. Refused towards a host that is not this machine.
        #[must_use]
        pub fn plain_tcp_to_this_machine(mut self) -> Self {
            self.access.way.plain_tcp = true;
            self
        }

        /// Bounds each step that waits for the peer. Default [`OPERATION_TIMEOUT`](crate::OPERATION_TIMEOUT).
        #[must_use]
        pub fn operation_timeout(mut self, limit: std::time::Duration) -> Self {
            self.access.operation_timeout = crate::config::within_reason(limit);
            self
        }

        /// After how long without a frame the peer counts as gone. Default [`IDLE_TIMEOUT`](crate::IDLE_TIMEOUT).
        #[must_use]
        pub fn idle_timeout(mut self, limit: std::time::Duration) -> Self {
            self.access.idle_timeout = crate::config::within_reason(limit);
            self
        }

        /// What to do about losses, once a connection has been made. Default [`Recover::On`](crate::Recover::On) with
        /// the default [`Schedule`](crate::Schedule).
        #[must_use]
        pub fn recovery(mut self, recover: crate::Recover) -> Self {
            self.access.recover = recover;
            self
        }
    };
}
pub(crate) use service_settings;

const CONTAINER: &str = "iothub-amqp";
