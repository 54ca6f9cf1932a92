//! Digital twins: a device's twin and methods by the conventions of IoT Plug and Play (Azure docs, "IoT Plug and Play
//! conventions" and "Understand IoT Plug and Play digital twins"). The model is not looked at: components are where the
//! twin marks them with `__t`.

use hyper::StatusCode;
use hyper::header::{HeaderName, LOCATION};
use iothub_address::{DeviceId, Identity};
use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::code::Code;
use super::methods;
use super::refusal::Refusal;
use super::reply::Reply;
use crate::hub::{How, IfMatch, Operation, TwinChange, TwinError};

pub(super) async fn get(asked: &Asked<'_>, device: DeviceId) -> Result<Reply, Refusal> {
    let identity = Identity::Device(device);
    let twin = asked
        .run(Operation::TwinRead, move |hub, _| {
            hub.known(&identity).map(|known| hub.twin_document(&known))
        })
        .await?;
    let etag = twin["etag"].as_str().unwrap_or_default();
    Ok(Reply::json(&digital(&twin)).etag(etag))
}

/// A JSON Patch (RFC 6902) of `add`, `replace` and `remove`, for properties and for those of components.
pub(super) async fn patch(asked: &Asked<'_>, device: DeviceId) -> Result<Reply, Refusal> {
    let Value::Array(operations) = asked.json()? else {
        return Err(Refusal::new(
            Code::IotHubFormatError,
            "The body is no list of operations.",
        ));
    };
    let etag = asked.if_match()?.map(|wanted| match wanted {
        IfMatch::Any => "*".to_owned(),
        IfMatch::Etag(etag) => etag,
    });
    let location = format!("/digitaltwins/{device}");
    let identity = Identity::Device(device);
    let new = asked
        .run(Operation::TwinUpdate, move |hub, now| {
            let mut desired = Map::new();
            for operation in &operations {
                apply(operation, &mut desired)?;
            }
            let change = TwinChange {
                how: How::Merge,
                tags: None,
                desired: Some(desired),
            };
            let twin = hub.change_twin(&identity, change, etag.as_deref(), now)?;
            Ok::<_, Refusal>(twin.map_err(|error: TwinError| Refusal::from(error))?.etag())
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED)
        .etag(&new)
        .header(LOCATION, &location))
}

/// A command of the device, or of a component: a method named `COMPONENT*COMMAND`.
pub(super) async fn command(
    asked: &Asked<'_>,
    device: DeviceId,
    component: Option<String>,
    command: String,
) -> Result<Reply, Refusal> {
    let payload = match asked.body.bytes.is_empty() {
        true => Value::Null,
        false => asked.json()?,
    };
    let method = match component {
        Some(component) => format!("{component}*{command}"),
        None => command,
    };
    let response = asked.query.number("responseTimeoutInSeconds")?;
    let connect = asked.query.number("connectTimeoutInSeconds")?;
    let call = methods::timed(method, &payload, response, connect)?;
    let response = methods::answered(asked, Identity::Device(device), call).await?;
    let status = response.status.to_string();
    Ok(Reply::json(&methods::payload_of(&response)?)
        .header(HeaderName::from_static("x-ms-command-statuscode"), &status))
}

/// One operation, as what it makes of a merge patch.
fn apply(operation: &Value, desired: &mut Map<String, Value>) -> Result<(), Refusal> {
    let bad = |what: &str| Refusal::invalid(format!("The patch: {what}."));
    let path = operation["path"]
        .as_str()
        .ok_or_else(|| bad("an operation has no path"))?;
    let names = path
        .strip_prefix('/')
        .ok_or_else(|| bad("a path begins with a slash"))?;
    // RFC 6901 §4.
    let names: Vec<String> = names
        .split('/')
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .collect();
    let value = match operation["op"].as_str() {
        Some("add" | "replace") => operation
            .get("value")
            .cloned()
            .ok_or_else(|| bad("an operation has no value"))?,
        Some("remove") => Value::Null,
        _ => return Err(bad("an operation is none of add, replace and remove")),
    };
    match names.as_slice() {
        [property] => {
            let is_component = value.get("$metadata").is_some();
            let value = match value {
                Value::Object(mut component) if is_component => {
                    component.shift_remove("$metadata");
                    component.insert(MARK.to_owned(), COMPONENT.into());
                    Value::Object(component)
                }
                other => other,
            };
            desired.insert(property.clone(), value);
        }
        [component, property] => {
            let inner = desired
                .entry(component.as_str())
                .or_insert_with(|| json!({ MARK: COMPONENT }));
            let Value::Object(inner) = inner else {
                return Err(bad("a component is removed and changed at once"));
            };
            inner.insert(property.clone(), value);
        }
        _ => return Err(bad("a path has one name, or a component's and one behind it")),
    }
    Ok(())
}

/// `{$dtId, $metadata, PROPERTY…, COMPONENT: {$metadata, PROPERTY…}…}`.
fn digital(twin: &Value) -> Value {
    let properties = &twin["properties"];
    let mut digital = part(&properties["desired"], &properties["reported"]);
    digital["$dtId"] = twin["deviceId"].clone();
    digital["$metadata"]["$model"] = twin["modelId"].clone();
    digital
}

/// What desired and reported properties make of the twin or of a component.
fn part(desired: &Value, reported: &Value) -> Value {
    let empty = Map::new();
    let (wanted, told) = (
        desired.as_object().unwrap_or(&empty),
        reported.as_object().unwrap_or(&empty),
    );
    let own = |name: &&String| !name.starts_with('$') && *name != MARK;
    let (mut digital, mut metadata) = (Map::new(), Map::new());
    for name in told.keys().chain(wanted.keys()).filter(own) {
        if digital.contains_key(name) || metadata.contains_key(name) {
            continue;
        }
        let (wanted, told) = (wanted.get(name), told.get(name));
        let is_component = [wanted, told]
            .into_iter()
            .flatten()
            .any(|value| value[MARK] == COMPONENT);
        if is_component {
            let below = |all: &Value| {
                let mut inner = if all[name].is_object() {
                    all[name].clone()
                } else {
                    json!({})
                };
                inner["$metadata"] = all["$metadata"][name].clone();
                inner
            };
            digital.insert(name.clone(), part(&below(desired), &below(reported)));
            continue;
        }
        let mut about = Map::new();
        if let Some(wanted) = wanted {
            about.insert("desiredValue".to_owned(), wanted.clone());
            about.insert(
                "desiredVersion".to_owned(),
                desired["$metadata"][name]["$lastUpdatedVersion"].clone(),
            );
        }
        let mut updated = &desired["$metadata"][name]["$lastUpdated"];
        if let Some(told) = told {
            updated = &reported["$metadata"][name]["$lastUpdated"];
            // A device may say with a value what it makes of the desired one.
            let value = match told.get("value") {
                Some(value) if told.get("ac").is_some() => {
                    for (short, long) in [("av", "ackVersion"), ("ac", "ackCode"), ("ad", "ackDescription")] {
                        about.extend(told.get(short).map(|said| (long.to_owned(), said.clone())));
                    }
                    value
                }
                _ => told,
            };
            digital.insert(name.clone(), value.clone());
        }
        about.insert("lastUpdateTime".to_owned(), updated.clone());
        metadata.insert(name.clone(), Value::Object(about));
    }
    digital.insert("$metadata".to_owned(), Value::Object(metadata));
    Value::Object(digital)
}

/// What marks a component.
const MARK: &str = "__t";
const COMPONENT: &str = "c";
