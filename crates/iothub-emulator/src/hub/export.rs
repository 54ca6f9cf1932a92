//! Identities and twins in the service's own form of export (`ExportImportDevice` of Microsoft's SDKs; Azure docs, "Import
//! and export IoT Hub device identities in bulk").

use iothub_address::Identity;
use serde_json::{Map, Value, json};

use super::Hub;
use super::registry::{Authentication, Entry, Registry};
use super::twin::Twin;
use super::twins::Twins;

/// Whether an export holds keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExportKeys {
    /// It does: it is a secret.
    #[default]
    Included,
    /// They are null in it. Who is registered from it gets new ones.
    Excluded,
}

impl Hub {
    /// An object for each identity, a device before its modules.
    pub(crate) fn export(&self, keys: ExportKeys) -> Vec<Value> {
        export(&self.registry, &self.twins, keys)
    }
}

pub(crate) fn export(registry: &Registry, twins: &Twins, keys: ExportKeys) -> Vec<Value> {
    registry
        .entries()
        .map(|(identity, entry)| line(&identity, entry, twins.get(&identity), keys))
        .collect()
}

fn line(identity: &Identity, entry: &Entry, twin: Option<&Twin>, keys: ExportKeys) -> Value {
    let mut line = Map::new();
    let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
    put("id", identity.device().as_str().into());
    if let Some(module) = identity.module() {
        put("moduleId", module.as_str().into());
    }
    put("eTag", (&*entry.etag).into());
    put("status", entry.status.as_str().into());
    let details = &entry.details;
    if let Some(reason) = &details.status_reason {
        put("statusReason", (&**reason).into());
    }
    put("authentication", authentication(&entry.authentication, keys));
    if let Some(twin) = twin {
        put("twinETag", twin.etag().into());
        put("tags", Value::Object(twin.tags.clone()));
        put(
            "properties",
            json!({"desired": twin.desired.with_metadata(), "reported": twin.reported.with_metadata()}),
        );
    }
    if identity.module().is_none() {
        put("capabilities", json!({"iotEdge": details.iot_edge}));
    }
    if let Some(scope) = &details.device_scope {
        put("deviceScope", (&**scope).into());
    }
    if !details.parent_scopes.is_empty() {
        let scopes = details.parent_scopes.iter().map(|scope| Value::from(&**scope));
        put("parentScopes", scopes.collect());
    }
    if let Some(manager) = &details.managed_by {
        put("managedBy", (&**manager).into());
    }
    Value::Object(line)
}

pub(super) fn authentication(authentication: &Authentication, keys: ExportKeys) -> Value {
    let (primary, secondary) = match (authentication.keys(), keys) {
        (Some(known), ExportKeys::Included) => {
            let text = |key: &iothub_sas::SharedKey| Value::from(key.to_base64().expose());
            (text(known.primary()), text(known.secondary()))
        }
        _ => (Value::Null, Value::Null),
    };
    let thumbprints = match authentication {
        Authentication::SelfSigned(known) => Some(known),
        _ => None,
    };
    let primary_thumbprint = thumbprints.map(|known| known.primary().to_string());
    let secondary_thumbprint = thumbprints.and_then(|known| known.secondary().map(ToString::to_string));
    json!({
        "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
        "x509Thumbprint": {
            "primaryThumbprint": primary_thumbprint,
            "secondaryThumbprint": secondary_thumbprint,
        },
        "type": authentication.type_name(),
    })
}
