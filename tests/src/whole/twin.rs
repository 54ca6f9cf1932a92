//! Twins: a service changes what is desired, and the device follows and reports.

use std::time::Duration;

use iothub_amqp::{DesiredChange, DeviceClient, OPERATION_TIMEOUT, Twin, TwinError};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::app::{Device, SUBSCRIBING, has_ended};
use crate::sim::dice::Dice;

/// Follows until the device has what the hub has.
pub(super) async fn keep(device: Device, client: DeviceClient, seed: u64) {
    let twin = client.twin();
    let mut changes = loop {
        match device.within(SUBSCRIBING, "listening", twin.desired()).await {
            Ok(changes) => break changes,
            Err(error) if has_ended(&client) => {
                return device.wrong(format!("no twin: {error}"));
            }
            Err(_) => sleep(Duration::from_secs(5)).await,
        }
    };
    let mut changing = Box::pin(change(&device, seed));
    let mut last = None;
    let (mut version, mut values) = (-1, Map::new());
    while last.is_none_or(|last| version < last) {
        let change = tokio::select! {
            biased;
            newest = &mut changing, if last.is_none() => {
                last = Some(newest);
                continue;
            }
            change = changes.next() => change,
        };
        let Some(change) = change else {
            let why = changes.ended();
            return device.wrong(format!("its twin tells no changes any more: {why:?}"));
        };
        device.note(format_args!("is to be {change:?}"));
        if change.version <= version {
            device.wrong(format!("version {} comes after {version}", change.version));
        }
        version = change.version;
        take(&mut values, change);
        report(&device, &twin, version).await;
    }
    let desired = at_hub(&device, "desired").await;
    if let Some((key, value)) = values.iter().find(|(key, value)| desired[*key] != **value) {
        device.wrong(format!("it has {key} = {value}, the hub {desired}"));
    }
    loop {
        match device.within(OPERATION_TIMEOUT, "reading", twin.get()).await {
            Ok(state) if state.desired.values == values => {
                return device.record(|record| record.followed += 1);
            }
            Ok(state) => return device.wrong(format!("{values:?} is not {state:?}")),
            Err(error) if has_ended(&client) => return device.wrong(error.to_string()),
            Err(_) => sleep(Duration::from_secs(5)).await,
        }
    }
}

/// The values are no objects, so a patch is taken key by key.
fn take(values: &mut Map<String, Value>, change: DesiredChange) {
    if change.whole {
        values.clear();
    }
    for (key, value) in change.values {
        match value {
            Value::Null => values.remove(&key),
            value => values.insert(key, value),
        };
    }
}

/// What the hub says that it has merged, it has.
async fn report(device: &Device, twin: &Twin, version: i64) {
    let patch = json!({ "seen": version });
    let result = device
        .within(OPERATION_TIMEOUT, "reporting", twin.report(&patch))
        .await;
    device.note(format_args!("reports {version}: {result:?}"));
    match result {
        Ok(_) => {
            let reported = at_hub(device, "reported").await;
            if reported["seen"] != version {
                device.wrong(format!("it reported {version}, and the hub has {reported}"));
            }
        }
        Err(TwinError::Refused { .. } | TwinError::NotAnswered(_) | TwinError::Unknown(_)) => {}
        Err(error) => device.wrong(error.to_string()),
    }
}

/// Changes what is desired, some times; which version it then is.
async fn change(device: &Device, seed: u64) -> i64 {
    let mut dice = Dice::new(seed);
    for number in 0..device.plan().changes {
        device.pause(&mut dice, device.plan().changes).await;
        let key = dice.pick(&["light", "heat"]);
        let value = if dice.coin() { Value::Null } else { number.into() };
        let patch = json!({ key: value });
        if let Err(error) = device.shared.hub.patch_desired(device.identity(), patch).await {
            device.wrong(format!("the hub takes no patch: {error}"));
        }
    }
    at_hub(device, "desired").await["$version"].as_i64().unwrap_or(0)
}

async fn at_hub(device: &Device, part: &str) -> Value {
    let twin = device.shared.hub.twin(device.identity()).await;
    twin.map_or(Value::Null, |twin| twin.to_json()["properties"][part].take())
}
