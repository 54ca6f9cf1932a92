//! `/admin/faults`: what is wrong on purpose.

use serde_json::{Value, json};

use super::{Refusal, Reply};
use crate::emulator::inject as inject_into;
use crate::fault::{Fault, FaultTime, InjectedFault};
use crate::owner::HubHandle;

/// A [`Fault`] in its JSON form.
pub(super) async fn inject(hub: &HubHandle, fault: Fault) -> Result<Reply, Refusal> {
    inject_into(hub, fault).await?;
    Ok(Reply::json(&json!({ "injected": true })))
}

pub(super) async fn list(hub: &HubHandle) -> Result<Reply, Refusal> {
    let faults = hub.run(|hub, _| hub.faults()).await?;
    let faults: Vec<_> = faults.iter().map(form).collect();
    Ok(Reply::json(&json!({ "faults": faults })))
}

pub(super) async fn clear(hub: &HubHandle) -> Result<Reply, Refusal> {
    let cleared = hub.run(|hub, _| hub.clear_faults()).await?;
    Ok(Reply::json(&json!({ "cleared": cleared })))
}

/// The fault's own form, and when it begins or ends.
fn form(injected: &InjectedFault) -> Value {
    let mut form = json!(injected.fault);
    let (when, at) = match injected.when {
        FaultTime::Begins(at) => ("begins", at),
        FaultTime::Ends(at) => ("ends", at),
    };
    form[when] = at.to_string().into();
    form
}
