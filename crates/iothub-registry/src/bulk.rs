//! Many identities in one request, each done or refused by itself.

use hyper::Method;
use iothub_address::Identity;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::code::ErrorCode;
use crate::error::RegistryError;
use crate::exchange::refusal;
use crate::identity::{Authentication, Status};
use crate::registry::Registry;
use crate::request::Call;
use crate::retry::Safety;
use crate::wire;

/// What is to become of one identity: `ExportImportDevice`, as the REST API calls it, and what a line of a hub's export is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BulkChange {
    /// Whose.
    pub identity: Identity,
    /// What.
    pub mode: BulkMode,
    /// Which state of the identity the change is for, with a mode that looks at it.
    pub etag: Option<String>,
    /// Whether a device may connect.
    pub status: Status,
    /// Why, in at most 128 characters.
    pub status_reason: Option<String>,
    /// How it proves who it is.
    pub authentication: Authentication,
    /// Which state of the twin the change is for, with a mode that looks at it.
    pub twin_etag: Option<String>,
    /// The twin's tags.
    pub tags: Option<Map<String, Value>>,
    /// The twin's desired properties.
    pub desired: Option<Map<String, Value>>,
    /// The twin's reported properties, which a real hub passes over.
    pub reported: Option<Map<String, Value>>,
    /// Whether it is an Edge device.
    pub iot_edge: bool,
    /// See [`Device::device_scope`](crate::Device::device_scope).
    pub device_scope: Option<String>,
    /// Who made a module.
    pub managed_by: Option<String>,
}

/// What is done with an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum BulkMode {
    /// Registers it.
    Create,
    /// Sets all of it.
    Update,
    /// Sets all of it if it has that ETag.
    #[serde(rename = "updateIfMatchETag")]
    UpdateIfMatchEtag,
    /// Removes it.
    Delete,
    /// Removes it if it has that ETag.
    #[serde(rename = "deleteIfMatchETag")]
    DeleteIfMatchEtag,
    /// Changes its twin.
    UpdateTwin,
    /// Changes its twin if that has that ETag.
    #[serde(rename = "updateTwinIfMatchETag")]
    UpdateTwinIfMatchEtag,
}

/// What became of a bulk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BulkReport {
    /// What was refused; all else is done.
    pub errors: Vec<BulkError>,
}

/// Why one change was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkError {
    /// Whose, as the hub names it.
    pub device_id: String,
    /// Its module's name, if it is one.
    pub module_id: Option<String>,
    /// What the hub calls it.
    pub code: ErrorCode,
    /// In the hub's words.
    pub message: String,
}

impl BulkChange {
    /// This with that identity, which is otherwise as new.
    #[must_use]
    pub const fn new(mode: BulkMode, identity: Identity) -> Self {
        Self {
            identity,
            mode,
            etag: None,
            status: Status::Enabled,
            status_reason: None,
            authentication: Authentication::Unsaid,
            twin_etag: None,
            tags: None,
            desired: None,
            reported: None,
            iot_edge: false,
            device_scope: None,
            managed_by: None,
        }
    }

    /// Reads a line of an export: what a hub's export job writes, and the emulator's. `mode` is what is done where the line does not say
    /// (`importMode`). Fields that are not known are passed over.
    ///
    /// # Errors
    /// Says which field is missing or wrong, and repeats no value.
    pub fn from_json(line: &str, mode: BulkMode) -> Result<Self, crate::BadReply> {
        let value: Value = serde_json::from_str(line).map_err(|error| {
            crate::BadReply::Form(format!("it is no JSON object, by column {}", error.column()))
        })?;
        let raw: Raw = wire::read(value)?;
        let bad = |what: &str, error: iothub_address::AddressError| {
            crate::BadReply::Form(format!("{what}: {error}"))
        };
        let device = raw.id.parse().map_err(|error| bad("id", error))?;
        let identity = match raw.module_id.filter(|module| !module.is_empty()) {
            None => Identity::Device(device),
            Some(module) => Identity::Module(device, module.parse().map_err(|error| bad("moduleId", error))?),
        };
        let properties = raw.properties.unwrap_or_default();
        Ok(Self {
            identity,
            mode: raw.import_mode.unwrap_or(mode),
            etag: raw.e_tag,
            status: raw.status.unwrap_or_default(),
            status_reason: raw.status_reason,
            authentication: raw.authentication.unwrap_or_default(),
            twin_etag: raw.twin_etag,
            tags: raw.tags,
            desired: properties.desired,
            reported: properties.reported,
            iot_edge: raw.capabilities.is_some_and(|capabilities| capabilities.iot_edge),
            device_scope: raw.device_scope,
            managed_by: raw.managed_by,
        })
    }

    /// One line of an export, **with its keys**. [`from_json`](Self::from_json) reads it again.
    #[must_use]
    pub fn expose_json(&self) -> String {
        self.to_json().to_string()
    }

    fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        put("id", Some(self.identity.device().as_str().into()));
        put(
            "moduleId",
            self.identity.module().map(|module| module.as_str().into()),
        );
        put("eTag", text(&self.etag));
        put("importMode", Some(self.mode.as_str().into()));
        if self.identity.module().is_none() {
            put("status", Some(self.status.as_str().into()));
            put("statusReason", text(&self.status_reason));
            put(
                "capabilities",
                Some(serde_json::json!({ "iotEdge": self.iot_edge })),
            );
            put("deviceScope", text(&self.device_scope));
        } else {
            put("managedBy", text(&self.managed_by));
        }
        put("twinETag", text(&self.twin_etag));
        put("tags", self.tags.clone().map(Value::Object));
        let mut properties = Map::new();
        for (name, section) in [("desired", &self.desired), ("reported", &self.reported)] {
            if let Some(section) = section {
                properties.insert(name.to_owned(), Value::Object(section.clone()));
            }
        }
        put(
            "properties",
            (!properties.is_empty()).then_some(Value::Object(properties)),
        );
        self.authentication.put(&mut object);
        Value::Object(object)
    }
}

impl BulkMode {
    /// As the REST API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::UpdateIfMatchEtag => "updateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatchEtag => "deleteIfMatchETag",
            Self::UpdateTwin => "updateTwin",
            Self::UpdateTwinIfMatchEtag => "updateTwinIfMatchETag",
        }
    }
}

impl BulkReport {
    /// Whether all of it was done.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.errors.is_empty()
    }
}

impl Registry {
    /// Makes some changes of the registry, 1 to [`MAX_BULK`], in order. Each is made or refused by itself: the report says which were
    /// not, and that is no error here.
    ///
    /// # Errors
    /// As of every call: then none was made, or, with [`RegistryError::Unknown`], any number.
    pub async fn bulk(&self, changes: &[BulkChange]) -> Result<BulkReport, RegistryError> {
        if changes.is_empty() || changes.len() > MAX_BULK {
            return Err(RegistryError::Unfit("a bulk has 1 to 100 changes"));
        }
        let body = changes.iter().map(BulkChange::to_json).collect();
        let call = Call::new(Method::POST, "/devices", Safety::Write).json(&Value::Array(body));
        let reply = self.run_any(&call).await?;
        // One that was done in part is a 400 with the same body.
        let report = match (reply.is_success(), reply.status, reply.json()) {
            (true, _, json) => wire::read::<RawReport>(json?)?,
            (false, 400, Ok(json)) if json.get("isSuccessful").is_some() => wire::read(json)?,
            _ => return Err(refusal(&reply).into()),
        };
        let errors = report.errors.unwrap_or_default().into_iter();
        Ok(BulkReport {
            errors: errors.map(RawError::into_error).collect(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    id: String,
    #[serde(default)]
    module_id: Option<String>,
    #[serde(default)]
    e_tag: Option<String>,
    #[serde(default)]
    import_mode: Option<BulkMode>,
    #[serde(default)]
    status: Option<Status>,
    #[serde(default)]
    status_reason: Option<String>,
    #[serde(default)]
    authentication: Option<Authentication>,
    #[serde(default, rename = "twinETag")]
    twin_etag: Option<String>,
    #[serde(default)]
    tags: Option<Map<String, Value>>,
    #[serde(default)]
    properties: Option<RawProperties>,
    #[serde(default)]
    capabilities: Option<RawCapabilities>,
    #[serde(default)]
    device_scope: Option<String>,
    #[serde(default)]
    managed_by: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawProperties {
    #[serde(default)]
    desired: Option<Map<String, Value>>,
    #[serde(default)]
    reported: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCapabilities {
    #[serde(default)]
    iot_edge: bool,
}

#[derive(Deserialize)]
struct RawReport {
    #[serde(default)]
    errors: Option<Vec<RawError>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawError {
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    module_id: Option<String>,
    #[serde(default)]
    error_code: Value,
    #[serde(default)]
    error_status: Option<String>,
}

impl RawError {
    fn into_error(self) -> BulkError {
        let code = match &self.error_code {
            Value::Number(number) => {
                let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
                number.map_or(ErrorCode::Unnamed, ErrorCode::from_number)
            }
            Value::String(name) => ErrorCode::from_name(name),
            _ => ErrorCode::Unnamed,
        };
        BulkError {
            device_id: self.device_id.unwrap_or_default(),
            module_id: self.module_id.filter(|module| !module.is_empty()),
            code,
            message: self.error_status.unwrap_or_default(),
        }
    }
}

/// The most changes of one bulk (the REST API's reference).
pub const MAX_BULK: usize = 100;
