//! Devices and modules, as the identity registry knows them.

use std::fmt;

use iothub_address::{DeviceId, Identity, ModuleId, Secret};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::wire;

/// A device in the identity registry (Azure docs, "Understand the identity registry in your IoT hub").
///
/// What is made by [`new`](Self::new) has nothing but its name: the hub gives it keys. For an update take what the hub gave, and change it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Device {
    /// Its name.
    #[serde(deserialize_with = "wire::parsed")]
    pub device_id: DeviceId,
    /// Differs between two devices that had the same name one after the other.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub generation_id: String,
    /// Of this state of it, without quotes.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub etag: String,
    /// Whether it is connected. Up to minutes late.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub connection_state: ConnectionState,
    /// Whether it may connect.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub status: Status,
    /// Why, in at most 128 characters.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When the connection state changed.
    #[serde(default, deserialize_with = "wire::moment")]
    pub connection_state_updated_time: Option<OffsetDateTime>,
    /// When the status changed.
    #[serde(default, deserialize_with = "wire::moment")]
    pub status_updated_time: Option<OffsetDateTime>,
    /// When it was last heard of.
    #[serde(default, deserialize_with = "wire::moment")]
    pub last_activity_time: Option<OffsetDateTime>,
    /// How many messages wait for it.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub cloud_to_device_message_count: u64,
    /// How it proves who it is.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub authentication: Authentication,
    /// Whether it is an Edge device.
    #[serde(default, rename = "capabilities", deserialize_with = "iot_edge")]
    pub iot_edge: bool,
    /// Of an Edge device: its scope; of a leaf: that of its parent.
    #[serde(default)]
    pub device_scope: Option<String>,
    /// The scopes of an Edge device's parents.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub parent_scopes: Vec<String>,
}

/// A module of a device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Module {
    /// Its device.
    #[serde(deserialize_with = "wire::parsed")]
    pub device_id: DeviceId,
    /// Its name.
    #[serde(deserialize_with = "wire::parsed")]
    pub module_id: ModuleId,
    /// Who made it, such as `IotEdge`.
    #[serde(default)]
    pub managed_by: Option<String>,
    /// Differs between two modules that had the same name one after the other.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub generation_id: String,
    /// Of this state of it, without quotes.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub etag: String,
    /// Whether it is connected. Up to minutes late.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub connection_state: ConnectionState,
    /// When the connection state changed.
    #[serde(default, deserialize_with = "wire::moment")]
    pub connection_state_updated_time: Option<OffsetDateTime>,
    /// When it was last heard of.
    #[serde(default, deserialize_with = "wire::moment")]
    pub last_activity_time: Option<OffsetDateTime>,
    /// How many messages wait for it.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub cloud_to_device_message_count: u64,
    /// How it proves who it is.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub authentication: Authentication,
}

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// It may.
    #[default]
    Enabled,
    /// It may not, and the hub ends its connections.
    Disabled,
}

/// Whether it is connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It is.
    Connected,
    /// It is not.
    #[default]
    Disconnected,
}

/// How a device or module proves who it is.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum Authentication {
    /// By a symmetric key. Without keys, the hub makes them for what is new, and lets those that are there be.
    Sas(SymmetricKey),
    /// By a certificate that has one of two thumbprints.
    SelfSigned(Thumbprints),
    /// By a certificate of a CA that the hub knows, for its name.
    CertificateAuthority,
    /// Not at all, as modules may whose device does.
    None,
    /// Nothing is said of it: the hub's default is [`Sas`](Self::Sas) with new keys, or what is there.
    #[default]
    Unsaid,
}

/// Two keys in base64, so that one can be replaced while the other is in use. They print as nothing.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SymmetricKey {
    /// The first.
    pub primary: Option<Secret>,
    /// The second.
    pub secondary: Option<Secret>,
}

/// SHA-1 or SHA-256 of certificates, in hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thumbprints {
    /// The first.
    pub primary: Option<String>,
    /// The second.
    pub secondary: Option<String>,
}

impl Device {
    /// Of this name, enabled, with keys that the hub makes.
    #[must_use]
    pub const fn new(device_id: DeviceId) -> Self {
        Self {
            device_id,
            generation_id: String::new(),
            etag: String::new(),
            connection_state: ConnectionState::Disconnected,
            status: Status::Enabled,
            status_reason: None,
            connection_state_updated_time: None,
            status_updated_time: None,
            last_activity_time: None,
            cloud_to_device_message_count: 0,
            authentication: Authentication::Unsaid,
            iot_edge: false,
            device_scope: None,
            parent_scopes: Vec::new(),
        }
    }

    /// What of it a service may set.
    pub(crate) fn to_json(&self) -> Value {
        let mut device = Map::new();
        device.insert("deviceId".to_owned(), self.device_id.as_str().into());
        device.insert("status".to_owned(), self.status.as_str().into());
        device.insert("statusReason".to_owned(), json!(self.status_reason));
        device.insert("capabilities".to_owned(), json!({ "iotEdge": self.iot_edge }));
        self.authentication.put(&mut device);
        if let Some(scope) = &self.device_scope {
            device.insert("deviceScope".to_owned(), scope.as_str().into());
        }
        if !self.parent_scopes.is_empty() {
            device.insert("parentScopes".to_owned(), json!(self.parent_scopes));
        }
        Value::Object(device)
    }
}

impl Module {
    /// Of this name, with keys that the hub makes.
    #[must_use]
    pub const fn new(device_id: DeviceId, module_id: ModuleId) -> Self {
        Self {
            device_id,
            module_id,
            managed_by: None,
            generation_id: String::new(),
            etag: String::new(),
            connection_state: ConnectionState::Disconnected,
            connection_state_updated_time: None,
            last_activity_time: None,
            cloud_to_device_message_count: 0,
            authentication: Authentication::Unsaid,
        }
    }

    /// Its device and name.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::Module(self.device_id.clone(), self.module_id.clone())
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut module = Map::new();
        module.insert("deviceId".to_owned(), self.device_id.as_str().into());
        module.insert("moduleId".to_owned(), self.module_id.as_str().into());
        if let Some(by) = &self.managed_by {
            module.insert("managedBy".to_owned(), by.as_str().into());
        }
        self.authentication.put(&mut module);
        Value::Object(module)
    }
}

impl Status {
    /// As the hub writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl ConnectionState {
    /// As the hub writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
        }
    }
}

impl SymmetricKey {
    /// These two, in base64, of 16 to 64 bytes.
    #[must_use]
    pub fn new(primary: impl Into<Secret>, secondary: impl Into<Secret>) -> Self {
        Self {
            primary: Some(primary.into()),
            secondary: Some(secondary.into()),
        }
    }
}

impl Thumbprints {
    /// These two; the second may be left out.
    #[must_use]
    pub fn new(primary: impl Into<String>, secondary: Option<String>) -> Self {
        Self {
            primary: Some(primary.into()),
            secondary,
        }
    }
}

impl Authentication {
    /// As the hub writes it; nothing where nothing is said.
    #[must_use]
    pub const fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Sas(_) => Some("sas"),
            Self::SelfSigned(_) => Some("selfSigned"),
            Self::CertificateAuthority => Some("certificateAuthority"),
            Self::None => Some("none"),
            Self::Unsaid => None,
        }
    }

    pub(crate) fn put(&self, object: &mut Map<String, Value>) {
        let Some(kind) = self.as_str() else { return };
        let mut authentication = json!({ "type": kind });
        match self {
            Self::Sas(keys) => {
                let text = |key: &Option<Secret>| key.as_ref().map(|key| key.expose().to_owned());
                authentication["symmetricKey"] =
                    json!({ "primaryKey": text(&keys.primary), "secondaryKey": text(&keys.secondary) });
            }
            Self::SelfSigned(prints) => {
                authentication["x509Thumbprint"] =
                    json!({ "primaryThumbprint": prints.primary, "secondaryThumbprint": prints.secondary });
            }
            Self::CertificateAuthority | Self::None | Self::Unsaid => {}
        }
        object.insert("authentication".to_owned(), authentication);
    }
}

/// Two keys are not compared in constant time here: whoever compares has both.
impl PartialEq for SymmetricKey {
    fn eq(&self, other: &Self) -> bool {
        let text = |key: &Option<Secret>| key.as_ref().map(|key| key.expose().to_owned());
        text(&self.primary) == text(&other.primary) && text(&self.secondary) == text(&other.secondary)
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(***)")
    }
}

impl<'de> Deserialize<'de> for Authentication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let keys = raw.symmetric_key.unwrap_or_default();
        let prints = raw.x509_thumbprint.unwrap_or_default();
        let keys = SymmetricKey {
            primary: keys.primary_key,
            secondary: keys.secondary_key,
        };
        let prints = Thumbprints {
            primary: prints.primary_thumbprint,
            secondary: prints.secondary_thumbprint,
        };
        Ok(match raw.kind.as_deref() {
            Some("selfSigned") => Self::SelfSigned(prints),
            Some("certificateAuthority") => Self::CertificateAuthority,
            Some("none") => Self::None,
            Some("sas") => Self::Sas(keys),
            // Exports of old hubs name no kind.
            _ if prints.primary.is_some() => Self::SelfSigned(prints),
            _ if keys.primary.is_some() => Self::Sas(keys),
            _ => Self::Unsaid,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    symmetric_key: Option<RawKeys>,
    #[serde(default)]
    x509_thumbprint: Option<RawThumbprints>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawKeys {
    #[serde(default, deserialize_with = "wire::secret")]
    primary_key: Option<Secret>,
    #[serde(default, deserialize_with = "wire::secret")]
    secondary_key: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawThumbprints {
    #[serde(default)]
    primary_thumbprint: Option<String>,
    #[serde(default)]
    secondary_thumbprint: Option<String>,
}

fn iot_edge<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Capabilities {
        #[serde(default)]
        iot_edge: bool,
    }
    let capabilities = Option::<Capabilities>::deserialize(deserializer)?;
    Ok(capabilities.is_some_and(|capabilities| capabilities.iot_edge))
}
