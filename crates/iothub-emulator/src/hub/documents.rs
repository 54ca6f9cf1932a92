//! What the hub has, as the JSON documents that a back end reads and queries.

use serde_json::{Map, Value, json};

use super::export::authentication;
use super::identities::Known;
use super::registry::{Authentication, Status};
use super::twin::Twin;
use super::{ExportKeys, Hub};
use crate::clock::Timestamp;

impl Status {
    /// The hub's word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl Known {
    /// The registry's `Device` or `Module`.
    pub(crate) fn to_json(&self) -> Value {
        let entry = &self.entry;
        let mut document = self.names();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("generationId", (&*entry.generation_id).into());
        put("etag", (&*entry.etag).into());
        put("connectionState", self.presence.state.as_str().into());
        if self.identity.module().is_none() {
            put("status", entry.status.as_str().into());
            put("statusReason", text(entry.details.status_reason.as_deref()));
            put("statusUpdatedTime", time(entry.status_updated, NEVER));
        } else {
            put("managedBy", text(entry.details.managed_by.as_deref()));
        }
        let updated = time(self.presence.state_updated, NEVER);
        put("connectionStateUpdatedTime", updated);
        put("lastActivityTime", time(self.presence.last_activity, NEVER));
        put("cloudToDeviceMessageCount", self.messages.into());
        let shown = authentication(&entry.authentication, ExportKeys::Included);
        put("authentication", shown);
        self.put_scopes(&mut document);
        Value::Object(document)
    }

    fn names(&self) -> Map<String, Value> {
        let mut names = Map::new();
        names.insert("deviceId".to_owned(), self.identity.device().as_str().into());
        if let Some(module) = self.identity.module() {
            names.insert("moduleId".to_owned(), module.as_str().into());
        }
        names
    }

    fn put_scopes(&self, document: &mut Map<String, Value>) {
        let details = &self.entry.details;
        if self.identity.module().is_some() {
            return;
        }
        document.insert("capabilities".to_owned(), json!({"iotEdge": details.iot_edge}));
        if let Some(scope) = &details.device_scope {
            document.insert("deviceScope".to_owned(), (&**scope).into());
        }
        if !details.parent_scopes.is_empty() {
            let scopes = details.parent_scopes.iter().map(|scope| Value::from(&**scope));
            document.insert("parentScopes".to_owned(), scopes.collect());
        }
    }

    /// The `Twin`: what the registry says of its identity, and the twin's own.
    pub(crate) fn twin_json(&self, twin: &Twin) -> Value {
        let entry = &self.entry;
        let mut document = self.names();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("etag", twin.etag().into());
        put("deviceEtag", (&*entry.etag).into());
        put("status", entry.status.as_str().into());
        if let Some(reason) = &entry.details.status_reason {
            put("statusReason", (&**reason).into());
        }
        put("statusUpdateTime", time(entry.status_updated, NEVER_OF_TWIN));
        put("connectionState", self.presence.state.as_str().into());
        let active = time(self.presence.last_activity, NEVER_OF_TWIN);
        put("lastActivityTime", active);
        put("cloudToDeviceMessageCount", self.messages.into());
        put("authenticationType", entry.authentication.type_name().into());
        put("x509Thumbprint", thumbprints(&entry.authentication));
        put("modelId", entry.model_id.as_deref().unwrap_or_default().into());
        put("version", twin.version().into());
        put("tags", Value::Object(twin.tags.clone()));
        let desired = twin.desired.with_metadata();
        let reported = twin.reported.with_metadata();
        put("properties", json!({"desired": desired, "reported": reported}));
        self.put_scopes(&mut document);
        Value::Object(document)
    }
}

impl Hub {
    /// The twin of an identity as a back end reads it.
    pub(crate) fn twin_document(&self, known: &Known) -> Value {
        let mut document = match self.twins.get(&known.identity) {
            Some(twin) => known.twin_json(twin),
            None => known.twin_json(&Twin::new()),
        };
        let applied = self.applied_to(&known.identity);
        if !applied.is_empty() {
            document["configurations"] = Value::Object(applied);
        }
        document
    }
}

fn thumbprints(authentication: &Authentication) -> Value {
    let known = match authentication {
        Authentication::SelfSigned(known) => Some(known),
        _ => None,
    };
    let primary = known.map(|known| known.primary().to_string());
    let secondary = known.and_then(|known| known.secondary().map(ToString::to_string));
    json!({"primaryThumbprint": primary, "secondaryThumbprint": secondary})
}

fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::from)
}

fn time(at: Option<Timestamp>, never: &str) -> Value {
    at.map_or_else(|| never.into(), |at| at.as_service_time().into())
}

/// How the registry's objects say that something has never been, as traces show it.
const NEVER: &str = "0001-01-01T00:00:00";
/// How a twin says it.
const NEVER_OF_TWIN: &str = "0001-01-01T00:00:00Z";
