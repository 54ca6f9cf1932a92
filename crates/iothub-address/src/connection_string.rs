//! Connection strings: `Key=Value;Key=Value`.

mod fields;

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use self::fields::{
    DEVICE_ID, ENDPOINT, ENTITY_PATH, Field, Fields, GATEWAY_HOST_NAME, HOST_NAME, HostPort, MODULE_ID,
    SHARED_ACCESS_KEY, SHARED_ACCESS_KEY_NAME, SHARED_ACCESS_SIGNATURE, X509,
};
use crate::error::AddressError;
use crate::host::HubHost;
use crate::identity::Identity;
use crate::name::{EventHubName, PolicyName};
use crate::secret::{Length, REDACTED, Secret};

/// A connection string of a device, a module, a service, an event hub, or a provisioning service.
///
/// Reading is strict about what is contradictory: a key that is there twice, unknown, or excluded by another
/// is an error that names it, where the SDKs differ or stay silent. Keys compare exactly; empty parts, such
/// as the one after a last `;`, are passed over. `HostName` and `GatewayHostName` may carry a port, as the
/// Node SDK takes it.
///
/// `Display` and `Debug` redact key and signature, [`expose`](Self::expose) does not.
///
/// # Examples
/// ```
/// use iothub_address::ConnectionString;
/// let text = "HostName=myhub.azure-devices.net;DeviceId=dev=1;SharedAccessKey=a2V5a2V5a2V5a2V5a2V5a2V5";
/// let string = ConnectionString::parse(text)?;
/// assert_eq!(string.identity().unwrap().device().as_str(), "dev=1");
/// assert_eq!(string.to_string(), "HostName=myhub.azure-devices.net;DeviceId=dev=1;SharedAccessKey=***");
/// assert_eq!(string.expose(), text);
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone)]
pub struct ConnectionString {
    host: HubHost,
    port: Option<u16>,
    gateway: Option<(HubHost, Option<u16>)>,
    identity: Option<Identity>,
    policy: Option<PolicyName>,
    auth: Auth,
    endpoint: Endpoint,
}

/// What a connection string opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionStringKind {
    /// A device: `HostName`, `DeviceId` and a credential.
    Device,
    /// A module: with `ModuleId`.
    Module,
    /// A hub, with a policy: `HostName` and `SharedAccessKeyName`, or a ready signature.
    Service,
    /// An event hub: `Endpoint` in place of `HostName`.
    EventHub,
    /// A provisioning service: as a service, on a host below `azure-devices-provisioning`.
    Provisioning,
}

/// How a connection string authenticates.
#[derive(Clone)]
enum Auth {
    Key(Secret),
    Signature(Secret),
    X509,
}

#[derive(Clone)]
enum Endpoint {
    /// `HostName=HOST[:PORT]`.
    Hub,
    /// `Endpoint=sb://HOST[:PORT]/` and perhaps `EntityPath`.
    EventHub(Option<EventHubName>),
}

impl ConnectionString {
    /// Reads a connection string.
    ///
    /// # Errors
    /// Names the key that is missing, twice there, misspelled, in contradiction or of a wrong value; for an
    /// id or host that is wrong, what [`DeviceId`](crate::DeviceId) or [`HubHost`] say. Places are bytes of `text`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Fields::parse(text)?.check(text.len()..text.len())
    }

    /// Starts a connection string with `HostName`.
    pub fn builder(host: HubHost) -> ConnectionStringBuilder {
        let host = HostPort { host, port: None };
        ConnectionStringBuilder {
            fields: Fields {
                host_name: Some(Field::built(host)),
                ..Fields::default()
            },
        }
    }

    /// Starts a connection string with `Endpoint`.
    pub fn event_hub_builder(host: HubHost) -> ConnectionStringBuilder {
        let host = HostPort { host, port: None };
        ConnectionStringBuilder {
            fields: Fields {
                endpoint: Some(Field::built(host)),
                ..Fields::default()
            },
        }
    }

    /// What it opens.
    #[must_use]
    pub fn kind(&self) -> ConnectionStringKind {
        match (&self.endpoint, &self.identity) {
            (Endpoint::EventHub(_), _) => ConnectionStringKind::EventHub,
            (Endpoint::Hub, Some(Identity::Device(_))) => ConnectionStringKind::Device,
            (Endpoint::Hub, Some(Identity::Module(..))) => ConnectionStringKind::Module,
            (Endpoint::Hub, None) => {
                let mut labels = self.host.as_str().split('.');
                if labels.any(|label| label.eq_ignore_ascii_case("azure-devices-provisioning")) {
                    ConnectionStringKind::Provisioning
                } else {
                    ConnectionStringKind::Service
                }
            }
        }
    }

    /// The hub's host (`HostName`, or that of `Endpoint`): what tokens are for.
    #[must_use]
    pub const fn host(&self) -> &HubHost {
        &self.host
    }

    /// The port behind the host.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// What is dialled in place of the host (`GatewayHostName`).
    #[must_use]
    pub fn gateway(&self) -> Option<&HubHost> {
        Some(&self.gateway.as_ref()?.0)
    }

    /// The port behind the gateway.
    #[must_use]
    pub fn gateway_port(&self) -> Option<u16> {
        self.gateway.as_ref()?.1
    }

    /// The device or module.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The policy (`SharedAccessKeyName`).
    #[must_use]
    pub const fn policy(&self) -> Option<&PolicyName> {
        self.policy.as_ref()
    }

    /// The key, in base64, not decoded.
    #[must_use]
    pub const fn key(&self) -> Option<&Secret> {
        match &self.auth {
            Auth::Key(key) => Some(key),
            _ => None,
        }
    }

    /// The ready token (`SharedAccessSignature`).
    #[must_use]
    pub const fn signature(&self) -> Option<&Secret> {
        match &self.auth {
            Auth::Signature(signature) => Some(signature),
            _ => None,
        }
    }

    /// Whether a client certificate authenticates (`x509=true`).
    #[must_use]
    pub const fn x509(&self) -> bool {
        matches!(self.auth, Auth::X509)
    }

    /// The event hub (`EntityPath`).
    #[must_use]
    pub const fn entity_path(&self) -> Option<&EventHubName> {
        match &self.endpoint {
            Endpoint::EventHub(name) => name.as_ref(),
            Endpoint::Hub => None,
        }
    }

    /// The whole string, **with the key or signature**, keys in the portal's order. The text is the
    /// caller's to wipe.
    #[must_use]
    pub fn expose(&self) -> String {
        let secret = match &self.auth {
            Auth::Key(secret) | Auth::Signature(secret) => secret.expose(),
            Auth::X509 => "",
        };
        let mut length = Length::default();
        // Counting and writing into a `String` cannot fail.
        let _ = self.write(&mut length, secret);
        // Room for all of it at once, so that no outgrown copy of the secret stays behind.
        let mut text = String::with_capacity(length.bytes());
        let _ = self.write(&mut text, secret);
        text
    }

    fn write(&self, out: &mut dyn fmt::Write, secret: &str) -> fmt::Result {
        let host = WithPort(&self.host, self.port);
        match &self.endpoint {
            Endpoint::Hub => write!(out, "{HOST_NAME}={host}")?,
            Endpoint::EventHub(_) => write!(out, "{ENDPOINT}=sb://{host}/")?,
        }
        if let Some(identity) = &self.identity {
            write!(out, ";{DEVICE_ID}={}", identity.device())?;
            if let Some(module) = identity.module() {
                write!(out, ";{MODULE_ID}={module}")?;
            }
        }
        if let Some(policy) = &self.policy {
            write!(out, ";{SHARED_ACCESS_KEY_NAME}={policy}")?;
        }
        match &self.auth {
            Auth::Key(_) => write!(out, ";{SHARED_ACCESS_KEY}={secret}")?,
            Auth::Signature(_) => write!(out, ";{SHARED_ACCESS_SIGNATURE}={secret}")?,
            Auth::X509 => write!(out, ";{X509}=true")?,
        }
        if let Some((gateway, port)) = &self.gateway {
            write!(out, ";{GATEWAY_HOST_NAME}={}", WithPort(gateway, *port))?;
        }
        if let Endpoint::EventHub(Some(name)) = &self.endpoint {
            write!(out, ";{ENTITY_PATH}={name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, REDACTED)
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionString(\"{self}\")")
    }
}

impl FromStr for ConnectionString {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Builds a [`ConnectionString`] from parts.
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectionStringBuilder {
    fields: Fields,
}

impl ConnectionStringBuilder {
    /// The port behind the host.
    pub fn port(mut self, port: impl Into<Option<u16>>) -> Self {
        let port = port.into();
        for field in [&mut self.fields.host_name, &mut self.fields.endpoint]
            .into_iter()
            .flatten()
        {
            field.value.port = port;
        }
        self
    }

    /// What is dialled in place of the host, and its port.
    pub fn gateway(mut self, host: HubHost, port: impl Into<Option<u16>>) -> Self {
        self.fields.gateway = Some(Field::built(HostPort {
            host,
            port: port.into(),
        }));
        self
    }

    /// The device or module.
    pub fn identity(mut self, identity: Identity) -> Self {
        let (device, module) = match identity {
            Identity::Device(device) => (device, None),
            Identity::Module(device, module) => (device, Some(module)),
        };
        self.fields.device = Some(Field::built(device));
        self.fields.module = module.map(Field::built);
        self
    }

    /// The policy whose key is given.
    pub fn policy(mut self, policy: PolicyName) -> Self {
        self.fields.policy = Some(Field::built(policy));
        self
    }

    /// The key, in base64.
    pub fn key(mut self, key: Secret) -> Self {
        self.fields.key = Some(Field::built(key));
        self
    }

    /// A ready token.
    pub fn signature(mut self, signature: Secret) -> Self {
        self.fields.signature = Some(Field::built(signature));
        self
    }

    /// A client certificate authenticates.
    pub fn x509(mut self) -> Self {
        self.fields.x509 = Some(Field::built(()));
        self
    }

    /// The event hub.
    pub fn entity_path(mut self, name: EventHubName) -> Self {
        self.fields.entity_path = Some(Field::built(name));
        self
    }

    /// The connection string.
    ///
    /// # Errors
    /// As [`ConnectionString::parse`], and `Unwritable` if an id, the key or the token holds a `;`.
    pub fn build(self) -> Result<ConnectionString, AddressError> {
        self.fields.check(0..0)
    }
}

/// `HOST[:PORT]`.
struct WithPort<'a>(&'a HubHost, Option<u16>);

impl fmt::Display for WithPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(port) => write!(f, "{}:{port}", self.0),
            None => self.0.fmt(f),
        }
    }
}
