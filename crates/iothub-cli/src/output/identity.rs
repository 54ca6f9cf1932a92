//! Devices and modules, with the fields that are a contract. Keys are not among them.

use iothub_address::{ConnectionString, HubHost, Identity};
use iothub_registry::{Authentication, Device, Module};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) const DEVICE_COLUMNS: [&str; 6] =
    ["device", "status", "connection", "auth", "edge", "last_activity"];
pub(crate) const MODULE_COLUMNS: [&str; 5] = ["device", "module", "connection", "auth", "managed_by"];

pub(crate) fn device(device: &Device) -> Map<String, Value> {
    object(json!({
        "device": device.device_id.as_str(),
        "status": device.status.as_str(),
        "status_reason": device.status_reason,
        "connection": device.connection_state.as_str().to_lowercase(),
        "auth": device.authentication.as_str(),
        "thumbprints": thumbprints(&device.authentication),
        "edge": device.iot_edge,
        "scope": device.device_scope,
        "messages": device.cloud_to_device_message_count,
        "last_activity": time(device.last_activity_time),
        "generation": device.generation_id,
        "etag": device.etag,
    }))
}

pub(crate) fn module(module: &Module) -> Map<String, Value> {
    object(json!({
        "device": module.device_id.as_str(),
        "module": module.module_id.as_str(),
        "managed_by": module.managed_by,
        "connection": module.connection_state.as_str().to_lowercase(),
        "auth": module.authentication.as_str(),
        "thumbprints": thumbprints(&module.authentication),
        "messages": module.cloud_to_device_message_count,
        "last_activity": time(module.last_activity_time),
        "generation": module.generation_id,
        "etag": module.etag,
    }))
}

/// What it connects with, its primary key in it; `None` where there is nothing to write down, or an id has a `;`.
pub(crate) fn connection_string(
    host: &HubHost,
    port: Option<u16>,
    identity: &Identity,
    authentication: &Authentication,
) -> Option<String> {
    let mut builder = ConnectionString::builder(host.clone()).identity(identity.clone());
    if let Some(port) = port {
        builder = builder.port(port);
    }
    let builder = match authentication {
        Authentication::Sas(keys) => builder.key(keys.primary.clone()?),
        Authentication::SelfSigned(_) | Authentication::CertificateAuthority => builder.x509(),
        _ => return None,
    };
    Some(builder.build().ok()?.expose())
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn thumbprints(authentication: &Authentication) -> Option<Vec<&str>> {
    match authentication {
        Authentication::SelfSigned(prints) => Some(
            [&prints.primary, &prints.secondary]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
        ),
        _ => None,
    }
}

fn time(time: Option<OffsetDateTime>) -> Option<String> {
    time?.to_offset(time::UtcOffset::UTC).format(&Rfc3339).ok()
}
