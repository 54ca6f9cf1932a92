//! Connection strings: `Key=Value;Key=Value`.

use alloc::string::String;
use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use crate::error::{AddressError, ErrorKind, Part};
use crate::host::{Authority, HubHost, PortText};
use crate::identity::Identity;
use crate::name::{DeviceId, EventHubName, ModuleId, PolicyName};
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
    /// id or host that is wrong, what [`DeviceId`] or [`HubHost`] say. Places are bytes of `text`.
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

/// The fields of a connection string, each right by itself, not yet checked against each other.
#[derive(Clone, Debug, Default)]
struct Fields {
    host_name: Option<Field<HostPort>>,
    endpoint: Option<Field<HostPort>>,
    gateway: Option<Field<HostPort>>,
    device: Option<Field<DeviceId>>,
    module: Option<Field<ModuleId>>,
    policy: Option<Field<PolicyName>>,
    key: Option<Field<Secret>>,
    signature: Option<Field<Secret>>,
    x509: Option<Field<()>>,
    entity_path: Option<Field<EventHubName>>,
}

#[derive(Clone, Debug)]
struct Field<T> {
    value: T,
    /// The key, not the value.
    span: Range<usize>,
}

impl<T> Field<T> {
    const fn built(value: T) -> Self {
        Self { value, span: 0..0 }
    }
}

#[derive(Clone, Debug)]
struct HostPort {
    host: HubHost,
    port: Option<u16>,
}

impl Fields {
    fn parse(text: &str) -> Result<Self, AddressError> {
        let mut fields = Self::default();
        let mut start = 0;
        for part in text.split(';') {
            let part_start = start;
            start += part.len() + 1;
            if part.is_empty() {
                continue;
            }
            // Base64 ends in '=' and a token is full of them: only the first one separates.
            let Some((key, value)) = part.split_once('=') else {
                let span = part_start..part_start + part.len();
                return Err(AddressError::new(ErrorKind::NoEqualsSign, span));
            };
            fields.set(key, value, part_start..part_start + key.len())?;
        }
        Ok(fields)
    }

    /// Sets one field; `span` is where its key is.
    fn set(&mut self, key: &str, value: &str, span: Range<usize>) -> Result<(), AddressError> {
        let start = span.end + 1;
        match key {
            HOST_NAME => put(
                &mut self.host_name,
                HOST_NAME,
                span,
                at(start, HostPort::parse(value))?,
            ),
            ENDPOINT => put(
                &mut self.endpoint,
                ENDPOINT,
                span,
                at(start, HostPort::parse_endpoint(value))?,
            ),
            GATEWAY_HOST_NAME => put(
                &mut self.gateway,
                GATEWAY_HOST_NAME,
                span,
                at(start, HostPort::parse(value))?,
            ),
            DEVICE_ID => put(
                &mut self.device,
                DEVICE_ID,
                span,
                at(start, DeviceId::parse(value))?,
            ),
            MODULE_ID => put(
                &mut self.module,
                MODULE_ID,
                span,
                at(start, ModuleId::parse(value))?,
            ),
            SHARED_ACCESS_KEY_NAME => put(
                &mut self.policy,
                SHARED_ACCESS_KEY_NAME,
                span,
                at(start, PolicyName::parse(value))?,
            ),
            SHARED_ACCESS_KEY => put(
                &mut self.key,
                SHARED_ACCESS_KEY,
                span,
                at(start, check_key(value))?.into(),
            ),
            SHARED_ACCESS_SIGNATURE => {
                let signature = at(start, check_signature(value))?.into();
                put(&mut self.signature, SHARED_ACCESS_SIGNATURE, span, signature)
            }
            // The second is the C# SDK's older spelling.
            X509 | "X509Cert" => put(&mut self.x509, X509, span, at(start, check_true(value))?),
            ENTITY_PATH => put(
                &mut self.entity_path,
                ENTITY_PATH,
                span,
                at(start, EventHubName::parse(value))?,
            ),
            _ => Err(
                match KEYS.iter().find(|known| known.eq_ignore_ascii_case(key.trim())) {
                    Some(known) => AddressError::new(ErrorKind::MisspelledKey(known), span),
                    None => AddressError::new(ErrorKind::UnknownKey, span),
                },
            ),
        }
    }

    /// Checks the fields against each other; `end` is where something missing would have been.
    fn check(self, end: Range<usize>) -> Result<ConnectionString, AddressError> {
        self.check_writable()?;
        let missing = |key, because| AddressError::new(ErrorKind::MissingKey { key, because }, end.clone());
        let excluded = |one, other, span: &Range<usize>| {
            Err(AddressError::new(
                ErrorKind::Contradiction(one, other),
                span.clone(),
            ))
        };

        let (HostPort { host, port }, endpoint) = match (self.host_name, self.endpoint) {
            (Some(_), Some(endpoint)) => return excluded(ENDPOINT, HOST_NAME, &endpoint.span),
            (None, None) => return Err(missing(HOST_NAME, "it says which hub is meant")),
            (Some(host), None) => match self.entity_path {
                Some(entity) => return excluded(ENTITY_PATH, HOST_NAME, &entity.span),
                None => (host.value, Endpoint::Hub),
            },
            (None, Some(endpoint)) => {
                if let Some(device) = &self.device {
                    return excluded(DEVICE_ID, ENDPOINT, &device.span);
                }
                if let Some(module) = &self.module {
                    return excluded(MODULE_ID, ENDPOINT, &module.span);
                }
                if let Some(gateway) = &self.gateway {
                    return excluded(GATEWAY_HOST_NAME, ENDPOINT, &gateway.span);
                }
                (
                    endpoint.value,
                    Endpoint::EventHub(self.entity_path.map(|field| field.value)),
                )
            }
        };

        let identity = match (self.device, self.module) {
            (None, None) => None,
            (None, Some(_)) => return Err(missing(DEVICE_ID, "a ModuleId is given")),
            (Some(device), None) => Some(Identity::Device(device.value)),
            (Some(device), Some(module)) => Some(Identity::Module(device.value, module.value)),
        };

        let auth = match (self.key, self.signature, self.x509) {
            (Some(key), None, None) => Auth::Key(key.value),
            (None, Some(signature), None) => Auth::Signature(signature.value),
            (None, None, Some(x509)) => match (&self.policy, &identity) {
                (Some(policy), _) => return excluded(SHARED_ACCESS_KEY_NAME, X509, &policy.span),
                (None, None) => {
                    let because = "a certificate authenticates a device";
                    let kind = ErrorKind::MissingKey {
                        key: DEVICE_ID,
                        because,
                    };
                    return Err(AddressError::new(kind, x509.span));
                }
                (None, Some(_)) => Auth::X509,
            },
            (None, None, None) => return Err(AddressError::new(ErrorKind::NoCredential, end)),
            (Some(_), Some(signature), _) => {
                return excluded(SHARED_ACCESS_SIGNATURE, SHARED_ACCESS_KEY, &signature.span);
            }
            (Some(_), None, Some(x509)) => return excluded(X509, SHARED_ACCESS_KEY, &x509.span),
            (None, Some(_), Some(x509)) => return excluded(X509, SHARED_ACCESS_SIGNATURE, &x509.span),
        };
        if matches!(auth, Auth::Key(_)) && identity.is_none() && self.policy.is_none() {
            // A device's key, or a policy's? Without a name of either nobody can tell.
            let because = "the key is neither a device's nor a named policy's";
            return Err(missing(SHARED_ACCESS_KEY_NAME, because));
        }

        Ok(ConnectionString {
            host,
            port,
            gateway: self.gateway.map(|field| (field.value.host, field.value.port)),
            identity,
            policy: self.policy.map(|field| field.value),
            auth,
            endpoint,
        })
    }

    /// A `;` ends a value: it cannot come from reading, but from parts.
    fn check_writable(&self) -> Result<(), AddressError> {
        let values = [
            (DEVICE_ID, self.device.as_ref().map(|field| field.value.as_str())),
            (MODULE_ID, self.module.as_ref().map(|field| field.value.as_str())),
            (
                SHARED_ACCESS_KEY,
                self.key.as_ref().map(|field| field.value.expose()),
            ),
            (
                SHARED_ACCESS_SIGNATURE,
                self.signature.as_ref().map(|field| field.value.expose()),
            ),
        ];
        for (key, value) in values {
            if value.is_some_and(|value| value.contains(';')) {
                return Err(AddressError::new(ErrorKind::Unwritable(key), 0..0));
            }
        }
        if let Some(key) = &self.key {
            check_key(key.value.expose())?;
        }
        if let Some(signature) = &self.signature {
            check_signature(signature.value.expose())?;
        }
        Ok(())
    }
}

/// Puts a field where there is none yet.
fn put<T>(
    place: &mut Option<Field<T>>,
    key: &'static str,
    span: Range<usize>,
    value: T,
) -> Result<(), AddressError> {
    if place.is_some() {
        return Err(AddressError::new(ErrorKind::DuplicateKey(key), span));
    }
    *place = Some(Field { value, span });
    Ok(())
}

/// A value's error, told in places of the whole string.
fn at<T>(start: usize, result: Result<T, AddressError>) -> Result<T, AddressError> {
    result.map_err(|error| error.shifted(start))
}

impl HostPort {
    fn parse(text: &str) -> Result<Self, AddressError> {
        let authority = Authority::of(text)?;
        if authority.port == PortText::Empty {
            return Err(AddressError::new(
                ErrorKind::Empty(Part::Port),
                text.len()..text.len(),
            ));
        }
        let host = HubHost::parse(&text[authority.host])?;
        Ok(Self {
            host,
            port: authority.port.number(),
        })
    }

    /// `sb://HOST[:PORT]/`, the last slash being optional.
    fn parse_endpoint(text: &str) -> Result<Self, AddressError> {
        let rest = match text.get(..SB.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SB) => &text[SB.len()..],
            _ => return Err(AddressError::new(ErrorKind::Value(ENDPOINT), 0..text.len())),
        };
        at(SB.len(), Self::parse(rest.strip_suffix('/').unwrap_or(rest)))
    }
}

/// A key is one word; whether it is base64 is told by whoever decodes it.
fn check_key(text: &str) -> Result<&str, AddressError> {
    let legal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    legal
        .then_some(text)
        .ok_or_else(|| AddressError::new(ErrorKind::Value(SHARED_ACCESS_KEY), 0..text.len()))
}

/// A token is two words; what is in it is told by whoever reads it.
fn check_signature(text: &str) -> Result<&str, AddressError> {
    let wrong = || AddressError::new(ErrorKind::Value(SHARED_ACCESS_SIGNATURE), 0..text.len());
    let legal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    legal.then_some(text).ok_or_else(wrong)
}

fn check_true(text: &str) -> Result<(), AddressError> {
    let legal = text.eq_ignore_ascii_case("true");
    legal
        .then_some(())
        .ok_or_else(|| AddressError::new(ErrorKind::Value(X509), 0..text.len()))
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

const HOST_NAME: &str = "HostName";
const ENDPOINT: &str = "Endpoint";
const GATEWAY_HOST_NAME: &str = "GatewayHostName";
const DEVICE_ID: &str = "DeviceId";
const MODULE_ID: &str = "ModuleId";
const SHARED_ACCESS_KEY_NAME: &str = "SharedAccessKeyName";
const SHARED_ACCESS_KEY: &str = "SharedAccessKey";
const SHARED_ACCESS_SIGNATURE: &str = "SharedAccessSignature";
const X509: &str = "x509";
const ENTITY_PATH: &str = "EntityPath";

const KEYS: [&str; 10] = [
    HOST_NAME,
    ENDPOINT,
    GATEWAY_HOST_NAME,
    DEVICE_ID,
    MODULE_ID,
    SHARED_ACCESS_KEY_NAME,
    SHARED_ACCESS_KEY,
    SHARED_ACCESS_SIGNATURE,
    X509,
    ENTITY_PATH,
];

const SB: &str = "sb://";
