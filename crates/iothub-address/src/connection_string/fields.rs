//! The fields of a connection string: reading each, and checking them against each other.

use core::ops::Range;

use super::{Auth, ConnectionString, Endpoint};
use crate::error::{AddressError, ErrorKind, Part};
use crate::host::{Authority, HubHost, PortText};
use crate::identity::Identity;
use crate::name::{DeviceId, EventHubName, ModuleId, PolicyName};
use crate::secret::Secret;

/// The fields of a connection string, each right by itself, not yet checked against each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) host_name: Option<Field<HostPort>>,
    pub(super) endpoint: Option<Field<HostPort>>,
    pub(super) gateway: Option<Field<HostPort>>,
    pub(super) device: Option<Field<DeviceId>>,
    pub(super) module: Option<Field<ModuleId>>,
    pub(super) policy: Option<Field<PolicyName>>,
    pub(super) key: Option<Field<Secret>>,
    pub(super) signature: Option<Field<Secret>>,
    pub(super) x509: Option<Field<()>>,
    pub(super) entity_path: Option<Field<EventHubName>>,
}

#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub(super) value: T,
    /// The key, not the value.
    pub(super) span: Range<usize>,
}

impl<T> Field<T> {
    pub(super) const fn built(value: T) -> Self {
        Self { value, span: 0..0 }
    }
}

#[derive(Clone, Debug)]
pub(super) struct HostPort {
    pub(super) host: HubHost,
    pub(super) port: Option<u16>,
}

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
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
    pub(super) fn set(&mut self, key: &str, value: &str, span: Range<usize>) -> Result<(), AddressError> {
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
    pub(super) fn check(self, end: Range<usize>) -> Result<ConnectionString, AddressError> {
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
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
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

pub(super) const HOST_NAME: &str = "HostName";
pub(super) const ENDPOINT: &str = "Endpoint";
pub(super) const GATEWAY_HOST_NAME: &str = "GatewayHostName";
pub(super) const DEVICE_ID: &str = "DeviceId";
pub(super) const MODULE_ID: &str = "ModuleId";
pub(super) const SHARED_ACCESS_KEY_NAME: &str = "SharedAccessKeyName";
pub(super) const SHARED_ACCESS_KEY: &str = "SharedAccessKey";
pub(super) const SHARED_ACCESS_SIGNATURE: &str = "SharedAccessSignature";
pub(super) const X509: &str = "x509";
pub(super) const ENTITY_PATH: &str = "EntityPath";

pub(super) const KEYS: [&str; 10] = [
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

pub(super) const SB: &str = "sb://";
