//! `/admin/connection-string`: what a device or module connects with.

use iothub_address::{DeviceId, Identity, ModuleId};
use serde::Deserialize;
use serde_json::json;

use super::{Refusal, Reply};
use crate::emulator::{Way, connection_string};
use crate::owner::HubHandle;

/// `{"device": "dev1"}`, and for a module `"module": "m1"` too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whom {
    device: String,
    module: Option<String>,
}

pub(super) async fn string(hub: &HubHandle, way: Way, whom: Whom) -> Result<Reply, Refusal> {
    let device = DeviceId::parse(&whom.device).map_err(Refusal::Name)?;
    let identity = match whom.module {
        Some(module) => Identity::Module(device, ModuleId::parse(&module).map_err(Refusal::Name)?),
        None => Identity::Device(device),
    };
    let string = connection_string(hub, way, &identity).await?;
    Ok(Reply::json(&json!({ "connection_string": string.expose() })))
}
