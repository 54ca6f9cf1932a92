//! Twins, as a service reads and changes them.

use hyper::Method;
use iothub_address::{DeviceId, Identity, ModuleId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::error::RegistryError;
use crate::identity::{ConnectionState, Status};
use crate::if_match::IfMatch;
use crate::registry::Registry;
use crate::request::{Call, path_of};
use crate::retry::Safety;
use crate::wire;

/// A twin of a device or module (Azure docs, "Understand and use device twins in IoT Hub").
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Twin {
    /// Whose.
    #[serde(deserialize_with = "wire::parsed")]
    pub device_id: DeviceId,
    /// Whose, if a module's.
    #[serde(default, deserialize_with = "module_id")]
    pub module_id: Option<ModuleId>,
    /// The model that the device says it is of.
    #[serde(default)]
    pub model_id: Option<String>,
    /// Of this state of tags and desired properties, without quotes.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub etag: String,
    /// Counts changes of all kinds.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub version: u64,
    /// Of the device's identity.
    #[serde(default)]
    pub device_etag: Option<String>,
    /// What services know of it, and it does not see.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub tags: Map<String, Value>,
    /// Both sections of its properties.
    #[serde(default, deserialize_with = "wire::or_default")]
    properties: Properties,
    /// Whether the device may connect.
    #[serde(default)]
    pub status: Option<Status>,
    /// Whether it is connected. Up to minutes late.
    #[serde(default)]
    pub connection_state: Option<ConnectionState>,
    /// When it was last heard of.
    #[serde(default, deserialize_with = "wire::moment")]
    pub last_activity_time: Option<OffsetDateTime>,
    /// How many messages wait for it.
    #[serde(default)]
    pub cloud_to_device_message_count: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Properties {
    #[serde(default, deserialize_with = "wire::or_default")]
    desired: Section,
    #[serde(default, deserialize_with = "wire::or_default")]
    reported: Section,
}

/// Desired or reported properties.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Section {
    /// Counts changes of this section.
    #[serde(default, rename = "$version", deserialize_with = "wire::or_default")]
    pub version: u64,
    /// When each property was changed, as the hub writes it.
    #[serde(default, rename = "$metadata", deserialize_with = "wire::or_default")]
    pub metadata: Map<String, Value>,
    /// The properties themselves.
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

/// What is to change of a twin. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TwinChange {
    /// Tags. In a patch, null removes one.
    pub tags: Option<Map<String, Value>>,
    /// Desired properties. In a patch, null removes one.
    pub desired: Option<Map<String, Value>>,
}

impl Twin {
    /// What the device is to be like.
    #[must_use]
    pub const fn desired(&self) -> &Section {
        &self.properties.desired
    }

    /// What it says that it is like.
    #[must_use]
    pub const fn reported(&self) -> &Section {
        &self.properties.reported
    }
}

impl TwinChange {
    /// These desired properties.
    #[must_use]
    pub fn desired(properties: Map<String, Value>) -> Self {
        Self {
            desired: Some(properties),
            ..Self::default()
        }
    }

    /// With these tags.
    #[must_use]
    pub fn tags(mut self, tags: Map<String, Value>) -> Self {
        self.tags = Some(tags);
        self
    }

    /// Reads `{"tags":{…},"properties":{"desired":{…}}}`, as the hub writes a twin: all else in it is passed over, so that what was
    /// read can be written back.
    ///
    /// # Errors
    /// [`RegistryError::Unfit`] if a part of it is no object.
    pub fn from_json(mut twin: Map<String, Value>) -> Result<Self, RegistryError> {
        let object = |value: Option<Value>, what| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(RegistryError::Unfit(what)),
        };
        let tags = object(twin.shift_remove("tags"), "tags is no JSON object")?;
        let properties = object(twin.shift_remove("properties"), "properties is no JSON object")?;
        let desired = properties.and_then(|mut properties| properties.shift_remove("desired"));
        let desired = object(desired, "properties.desired is no JSON object")?;
        Ok(Self {
            tags,
            desired: desired.map(|mut desired| {
                desired.shift_remove("$metadata");
                desired.shift_remove("$version");
                desired
            }),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut twin = Map::new();
        if let Some(tags) = &self.tags {
            twin.insert("tags".to_owned(), Value::Object(tags.clone()));
        }
        if let Some(desired) = &self.desired {
            twin.insert("properties".to_owned(), json!({ "desired": desired }));
        }
        Value::Object(twin)
    }
}

impl Registry {
    /// The twin of a device or module.
    ///
    /// # Errors
    /// [`ErrorCode::DeviceNotFound`](crate::ErrorCode::DeviceNotFound) or
    /// [`ErrorCode::ModuleNotFound`](crate::ErrorCode::ModuleNotFound), or as of every call.
    pub async fn twin(&self, of: &Identity) -> Result<Twin, RegistryError> {
        Ok(wire::read(self.twin_document(of).await?)?)
    }

    /// The same as the hub writes it.
    ///
    /// # Errors
    /// As [`twin`](Self::twin).
    pub async fn twin_document(&self, of: &Identity) -> Result<Value, RegistryError> {
        self.ask(&Call::get(&path_of("twins", of))).await
    }

    /// Changes what is named of tags and desired properties, where null removes; all else stays. With a state, only if the twin
    /// is in it. The device is told of desired properties.
    ///
    /// # Errors
    /// [`ErrorCode::PreconditionFailed`](crate::ErrorCode::PreconditionFailed),
    /// [`ErrorCode::ArgumentInvalid`](crate::ErrorCode::ArgumentInvalid) for what is too large or no twin, or as of every call.
    pub async fn patch_twin(
        &self,
        of: &Identity,
        change: &TwinChange,
        state: Option<&IfMatch>,
    ) -> Result<Twin, RegistryError> {
        self.change_twin(Method::PATCH, of, change, state).await
    }

    /// Puts these tags and desired properties in place of all that were there. With a state, only if the twin is in it.
    ///
    /// # Errors
    /// As [`patch_twin`](Self::patch_twin).
    pub async fn replace_twin(
        &self,
        of: &Identity,
        change: &TwinChange,
        state: Option<&IfMatch>,
    ) -> Result<Twin, RegistryError> {
        self.change_twin(Method::PUT, of, change, state).await
    }

    async fn change_twin(
        &self,
        method: Method,
        of: &Identity,
        change: &TwinChange,
        state: Option<&IfMatch>,
    ) -> Result<Twin, RegistryError> {
        let call = Call::new(method, &path_of("twins", of), Safety::Write);
        let call = call.if_match(state)?.json(&change.to_json());
        Ok(wire::read(self.ask(&call).await?)?)
    }
}

fn module_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<ModuleId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}
