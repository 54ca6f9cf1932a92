//! Twins, as a back end reads and changes them.

use iothub_address::Identity;
use serde_json::{Map, Value};

use super::asked::Asked;
use super::refusal::Refusal;
use super::reply::Reply;
use crate::hub::{How, IfMatch, Operation, TwinChange};

pub(super) async fn get(asked: &Asked<'_>, identity: Identity) -> Result<Reply, Refusal> {
    let document = asked
        .run(Operation::TwinRead, move |hub, _| {
            hub.known(&identity).map(|known| hub.twin_document(&known))
        })
        .await?;
    Ok(shown(&document))
}

pub(super) async fn change(asked: &Asked<'_>, identity: Identity, how: How) -> Result<Reply, Refusal> {
    let change = change_in(&asked.object()?, how)?;
    let etag = asked.if_match()?.map(|wanted| match wanted {
        IfMatch::Any => "*".to_owned(),
        IfMatch::Etag(etag) => etag,
    });
    let document = asked
        .run(Operation::TwinUpdate, move |hub, now| {
            hub.change_twin(&identity, change, etag.as_deref(), now)??;
            let known = hub.known(&identity)?;
            Ok::<_, Refusal>(hub.twin_document(&known))
        })
        .await?;
    Ok(shown(&document))
}

/// What of a twin a back end may change. All else in it is passed over, and what is null is not there.
pub(super) fn change_in(twin: &Map<String, Value>, how: How) -> Result<TwinChange, Refusal> {
    let section = |of: &Map<String, Value>, name: &str, path: &str| match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(section)) => Ok(Some(section.clone())),
        Some(_) => Err(Refusal::invalid(format!("{path} is no JSON object."))),
    };
    let tags = section(twin, "tags", "tags")?;
    let desired = match section(twin, "properties", "properties")? {
        Some(properties) => section(&properties, "desired", "properties.desired")?,
        None => None,
    };
    // Who writes back what was read has them there.
    let desired = desired.map(|mut desired| {
        desired.shift_remove("$metadata");
        desired.shift_remove("$version");
        desired
    });
    Ok(TwinChange { how, tags, desired })
}

fn shown(document: &Value) -> Reply {
    let etag = document["etag"].as_str().unwrap_or_default();
    Reply::json(document).etag(etag)
}
