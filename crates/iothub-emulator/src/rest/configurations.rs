//! Configurations, and what is set on one Edge device at once.

use std::collections::BTreeMap;

use hyper::StatusCode;
use iothub_address::{DeviceId, Identity, ModuleId};
use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::code::Code;
use super::refusal::Refusal;
use super::reply::Reply;
use crate::hub::{
    Authentication, ConfigurationError, ConfigurationForm, Content, Hub, Made, Operation, check_paths,
    target_of,
};
use crate::query;

pub(super) async fn list(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let most = match asked.query.number("top")? {
        None => usize::MAX,
        Some(top @ 1..) => usize::try_from(top).unwrap_or(usize::MAX),
        Some(0) => return Err(Refusal::invalid("top is 1 at least.")),
    };
    let documents = asked
        .run(Operation::Configuration, move |hub, _| {
            let all = hub.configurations().take(most);
            let documents = all.map(|(id, one)| hub.configuration_document(id, one));
            Ok::<_, Refusal>(documents.collect::<Vec<_>>())
        })
        .await?;
    Ok(Reply::json(&Value::Array(documents)))
}

pub(super) async fn get(asked: &Asked<'_>, id: String) -> Result<Reply, Refusal> {
    let document = asked
        .run(Operation::Configuration, move |hub, _| document(hub, &id))
        .await?;
    Ok(shown(&document))
}

pub(super) async fn put(asked: &Asked<'_>, id: String) -> Result<Reply, Refusal> {
    let object = asked.object()?;
    if object.get("id").and_then(Value::as_str) != Some(id.as_str()) {
        return Err(Refusal::invalid("id is not the one in the path."));
    }
    if !is_id(&id) {
        return Err(Refusal::invalid(
            "An id has 1 to 128 lower-case letters, digits and -:+%_#*?!(),=@;$'.",
        ));
    }
    let form = form_in(&object)?;
    let target = target_of(&form.condition)?;
    for text in form.metrics.values() {
        query::parse(text)?;
    }
    let if_match = asked.if_match()?;
    let (document, made) = asked
        .run(Operation::Configuration, move |hub, now| {
            let made = hub.put_configuration(&id, form, target, if_match.as_ref(), now)?;
            hub.configure(now);
            Ok::<_, ConfigurationError>((document(hub, &id)?, made))
        })
        .await?;
    let status = match made {
        Made::Created => StatusCode::CREATED,
        Made::Updated => StatusCode::OK,
    };
    Ok(shown(&document).status(status))
}

pub(super) async fn delete(asked: &Asked<'_>, id: String) -> Result<Reply, Refusal> {
    // Microsoft's Node SDK names no state here.
    let if_match = asked.if_match()?;
    asked
        .run(Operation::Configuration, move |hub, _| {
            hub.delete_configuration(&id, if_match.as_ref())
        })
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `{targetCondition, customMetricQueries}`: what is wrong with each.
pub(super) async fn test(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let object = asked.object()?;
    let condition = text_in(&object, "targetCondition")?.unwrap_or_default();
    let wrong = target_of(&condition).err().map(|error| error.to_string());
    let metrics = queries_in(object.get("customMetricQueries"), "customMetricQueries")?;
    let errors = metrics.iter().filter_map(|(name, text)| {
        let error = query::parse(text).err()?;
        Some((name.clone(), Value::from(error.to_string())))
    });
    let errors: Map<String, Value> = errors.collect();
    asked
        .run(Operation::Configuration, |_, _| Ok::<_, Refusal>(()))
        .await?;
    Ok(Reply::json(
        &json!({ "targetConditionError": wrong, "customMetricQueryErrors": errors }),
    ))
}

/// Sets what a manifest says on one Edge device, whose modules that are not registered yet are then.
pub(super) async fn apply(asked: &Asked<'_>, device: DeviceId) -> Result<Reply, Refusal> {
    let content = content_in(&asked.object()?)?;
    asked
        .run(Operation::Configuration, move |hub, now| {
            let identity = Identity::Device(device.clone());
            hub.known(&identity)?;
            for module in content.modules.iter().flat_map(BTreeMap::keys) {
                let module = ModuleId::parse(module)
                    .map_err(|error| Refusal::invalid(format!("modulesContent: {error}.")))?;
                register(hub, Identity::Module(device.clone(), module))?;
            }
            hub.apply_content(&identity, &content, now).map_err(Refusal::from)
        })
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// With new keys, if it is not registered.
pub(super) fn register(hub: &mut Hub, identity: Identity) -> Result<(), Refusal> {
    if hub.knows(&identity) {
        return Ok(());
    }
    hub.register(&identity, Authentication::generate()?)?;
    Ok(())
}

fn document(hub: &Hub, id: &str) -> Result<Value, ConfigurationError> {
    let configuration = hub.configuration(id)?;
    Ok(hub.configuration_document(id, configuration))
}

fn shown(document: &Value) -> Reply {
    let etag = document["etag"].as_str().unwrap_or_default();
    Reply::json(document).etag(etag)
}

fn form_in(object: &Map<String, Value>) -> Result<ConfigurationForm, Refusal> {
    let content = match object.get("content") {
        Some(Value::Object(content)) => content_in(content)?,
        None | Some(Value::Null) => Content::default(),
        Some(_) => return Err(Refusal::invalid("content is no JSON object.")),
    };
    let labels = match object.get("labels") {
        Some(Value::Object(labels)) => labels.clone(),
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(Refusal::invalid("labels is no JSON object.")),
    };
    let priority = match object.get("priority") {
        None | Some(Value::Null) => 0,
        Some(priority) => priority
            .as_i64()
            .ok_or_else(|| Refusal::invalid("priority is no whole number."))?,
    };
    let metrics = match object.get("metrics") {
        Some(Value::Object(metrics)) => queries_in(metrics.get("queries"), "metrics.queries")?,
        None | Some(Value::Null) => BTreeMap::new(),
        Some(_) => return Err(Refusal::invalid("metrics is no JSON object.")),
    };
    Ok(ConfigurationForm {
        schema_version: text_in(object, "schemaVersion")?.unwrap_or_else(|| "1.0".to_owned()),
        labels,
        content,
        condition: text_in(object, "targetCondition")?.unwrap_or_default(),
        priority,
        metrics,
    })
}

fn content_in(content: &Map<String, Value>) -> Result<Content, Refusal> {
    let set = |value: Option<&Value>, field: &str| match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(set)) => match check_paths(set) {
            Ok(()) => Ok(Some(set.clone())),
            Err(what) => Err(Refusal::invalid(format!("{field}: {what}."))),
        },
        Some(_) => Err(Refusal::invalid(format!("{field} is no JSON object."))),
    };
    let modules = match content.get("modulesContent") {
        None | Some(Value::Null) => None,
        Some(Value::Object(modules)) => {
            let modules = modules.iter().map(|(name, module)| {
                let module = set(Some(module), &format!("modulesContent.{name}"))?;
                Ok((name.clone(), module.unwrap_or_default()))
            });
            Some(modules.collect::<Result<_, Refusal>>()?)
        }
        Some(_) => return Err(Refusal::invalid("modulesContent is no JSON object.")),
    };
    Ok(Content {
        device: set(content.get("deviceContent"), "deviceContent")?,
        module: set(content.get("moduleContent"), "moduleContent")?,
        modules,
    })
}

fn queries_in(queries: Option<&Value>, field: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let bad = || Refusal::invalid(format!("{field} is no object of texts."));
    match queries {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(queries)) => queries
            .iter()
            .map(|(name, text)| Ok((name.clone(), text.as_str().ok_or_else(bad)?.to_owned())))
            .collect(),
        Some(_) => Err(bad()),
    }
}

fn text_in(object: &Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::invalid(format!("{field} is no text."))),
    }
}

/// Azure docs, "Automatic device and module management using the Azure CLI": the configuration's id.
fn is_id(id: &str) -> bool {
    let is_fine = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-:+%_#*?!(),=@;$'".contains(letter)
    };
    (1..=128).contains(&id.len()) && id.chars().all(is_fine)
}

impl From<ConfigurationError> for Refusal {
    fn from(error: ConfigurationError) -> Self {
        let code = match &error {
            ConfigurationError::Exists(_) => Code::ConfigurationAlreadyExists,
            ConfigurationError::NotFound(_) => Code::ConfigurationNotFound,
            ConfigurationError::Precondition(_) => Code::PreconditionFailed,
            ConfigurationError::Content(_) => Code::ArgumentInvalid,
            ConfigurationError::TooMany => Code::ConfigurationCountLimitExceeded,
        };
        Self::of(code, &error)
    }
}
