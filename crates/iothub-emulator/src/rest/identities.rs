//! Devices and modules: the identity registry.

use hyper::StatusCode;
use iothub_address::{DeviceId, Identity, ModuleId};
use serde_json::{Value, json};

use super::asked::Asked;
use super::code::Code;
use super::configurations;
use super::refusal::Refusal;
use super::reply::Reply;
use crate::hub::{Known, Made, Operation};
use crate::identity_form;

pub(super) async fn list(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let top = match asked.query.number("top")? {
        None => MAX_TOP,
        Some(top @ 1..=MAX_TOP) => top,
        Some(_) => return Err(Refusal::invalid(format!("top is 1 to {MAX_TOP}."))),
    };
    let most = usize::try_from(top).unwrap_or(usize::MAX);
    let known = asked
        .run(Operation::Registry, move |hub, _| {
            Ok::<_, Refusal>(hub.known_devices(most))
        })
        .await?;
    Ok(Reply::json(&known.iter().map(Known::to_json).collect()))
}

pub(super) async fn get(asked: &Asked<'_>, identity: Identity) -> Result<Reply, Refusal> {
    let known = asked
        .run(Operation::Registry, move |hub, _| hub.known(&identity))
        .await?;
    Ok(shown(&known))
}

/// Without `If-Match` it is registered, with it the one that is there is changed. Keys that are not given are made, or
/// stay.
pub(super) async fn put(asked: &Asked<'_>, identity: Identity) -> Result<Reply, Refusal> {
    let object = asked.object()?;
    let named = |field: &str| object.get(field).filter(|value| !value.is_null());
    let is_module = identity.module().is_some();
    if named("deviceId") != Some(&Value::from(identity.device().as_str())) {
        return Err(Refusal::invalid("deviceId is not the one in the path."));
    }
    let module = identity.module().map(|module| Value::from(module.as_str()));
    if named("moduleId") != module.as_ref() {
        return Err(Refusal::invalid("moduleId is not the one in the path."));
    }
    let (given, shown_proof) = identity_form::read_known(&object)?;
    let if_match = asked.if_match()?;
    let (known, made) = asked
        .run(Operation::Registry, move |hub, now| {
            let authentication = shown_proof.over(hub.authentication(&identity))?;
            let put = hub.put_identity(&identity, given, authentication, if_match.as_ref(), now);
            let (known, made) = put?;
            if made == Made::Created && !is_module && known.entry.details.iot_edge {
                // Its runtime, as the real hub registers it.
                for module in ["$edgeAgent", "$edgeHub"] {
                    let module = ModuleId::parse(module).expect("it is a module's id");
                    configurations::register(hub, Identity::Module(identity.device().clone(), module))?;
                }
            }
            Ok::<_, Refusal>((known, made))
        })
        .await?;
    let status = match made {
        Made::Created if is_module => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok(shown(&known).status(status))
}

pub(super) async fn delete(asked: &Asked<'_>, identity: Identity) -> Result<Reply, Refusal> {
    let if_match = asked
        .if_match()?
        .ok_or_else(|| Refusal::new(Code::ArgumentNull, "A deletion needs If-Match: an ETag or *."))?;
    asked
        .run(Operation::Registry, move |hub, now| {
            hub.delete_identity(&identity, &if_match, now)
        })
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn modules(asked: &Asked<'_>, device: DeviceId) -> Result<Reply, Refusal> {
    let known = asked
        .run(Operation::Registry, move |hub, _| hub.known_modules(&device))
        .await?;
    Ok(Reply::json(&known.iter().map(Known::to_json).collect()))
}

pub(super) async fn count(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let count = asked.hub.run(|hub, _| hub.count_devices()).await?;
    Ok(Reply::json(&json!({
        "totalDeviceCount": count.all,
        "enabledDeviceCount": count.enabled,
        "disabledDeviceCount": count.all - count.enabled,
    })))
}

pub(super) async fn connected(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let count = asked.hub.run(|hub, _| hub.count_connected()).await?;
    Ok(Reply::json(&json!({ "connectedDeviceCount": count })))
}

/// Empties the mailbox of a device.
pub(super) async fn purge(asked: &Asked<'_>, device: DeviceId) -> Result<Reply, Refusal> {
    let identity = Identity::Device(device.clone());
    let purged = asked.hub.run(move |hub, now| hub.purge(&identity, now)).await??;
    Ok(Reply::json(&json!({
        "totalMessagesPurged": purged,
        "deviceId": device.as_str(),
        "moduleId": null,
    })))
}

fn shown(known: &Known) -> Reply {
    Reply::json(&known.to_json()).etag(&known.entry.etag)
}

/// The most devices of a list (the REST API's reference: 1000).
const MAX_TOP: u64 = 1000;
