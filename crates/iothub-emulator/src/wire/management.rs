//! The `$management` node of the event endpoint: what the event hub is, and how far its partitions are. Requests come over
//! one link, answers go over another of the same session.

use fe2o3_amqp_types::definitions::Error;
use iothub_address::Secret;

use super::MAX_REQUEST_SIZE;
use super::link::End;
use super::session::Shared;
use super::taking::Take;
use crate::clock::Timestamp;
use crate::hub::{Body, Message, Properties, Refusal, Value};
use crate::owner::HubStopped;
use crate::partitions::{About, Partitions};

/// A request is answered, then settled.
pub(super) struct Management<'a>(pub(super) &'a Shared);

impl Take for Management<'_> {
    const MOST: usize = MAX_REQUEST_SIZE;

    async fn take(&mut self, request: Message) -> Result<Option<Error>, End> {
        let shared = self.0;
        let token = text(&request, "security_token").map(Secret::new);
        let may = shared.client.may_manage(token).await;
        let may = may.map_err(|HubStopped| End::Theirs)?;
        let reply = reply(&request, may, &shared.partitions).await;
        shared.management.push(reply).map(|()| None)
    }
}

/// Why there is no answer to the question.
struct Refused {
    status: i32,
    condition: &'static str,
    description: String,
}

/// The answer as a message: `correlation-id` is the request's `message-id` in its own type, `status-code` an int.
async fn reply(request: &Message, may: Result<(), Refusal>, partitions: &Partitions) -> Message {
    let mut properties = vec![];
    let answer = match may {
        Ok(()) => answer(request, partitions).await,
        Err(refusal) => Err(Refused {
            status: 401,
            condition: refusal.condition.as_str(),
            description: refusal.message,
        }),
    };
    let body = match answer {
        Ok(answer) => {
            properties.push(("status-code".to_owned(), Value::Int(200)));
            properties.push(("status-description".to_owned(), "OK".into()));
            Body::Value(answer)
        }
        Err(refused) => {
            properties.push(("status-code".to_owned(), Value::Int(refused.status)));
            properties.push((
                "status-description".to_owned(),
                Value::String(refused.description),
            ));
            let condition = Value::Symbol(refused.condition.to_owned());
            properties.push(("error-condition".to_owned(), condition));
            Body::Value(Value::Null)
        }
    };
    Message {
        properties: Properties {
            correlation_id: request.properties.message_id.clone(),
            ..Properties::default()
        },
        application_properties: properties,
        body,
        ..Message::default()
    }
}

async fn answer(request: &Message, partitions: &Partitions) -> Result<Value, Refused> {
    let refuse = |status, condition, description| Refused {
        status,
        condition,
        description,
    };
    let operation = text(request, "operation");
    if operation.as_deref() != Some("READ") {
        let text = "The operation is not READ.".to_owned();
        return Err(refuse(400, "amqp:not-implemented", text));
    }
    let name = text(request, "name").unwrap_or_default();
    if !name.eq_ignore_ascii_case(partitions.entity().as_str()) {
        let text = format!("The messaging entity {name:?} could not be found.");
        return Err(refuse(404, "amqp:not-found", text));
    }
    match text(request, "type").as_deref() {
        Some(HUB) => Ok(about_hub(partitions)),
        Some(PARTITION) => {
            let asked = text(request, "partition").unwrap_or_default();
            let number = asked.parse().ok();
            let about = match number {
                Some(number) => partitions.about(number).await.map(|about| (number, about)),
                None => None,
            };
            let (number, about) = about.ok_or_else(|| {
                let text = format!(
                    "The specified partition {asked:?} is invalid. It should be between 0 and {}.",
                    partitions.count() - 1
                );
                refuse(400, "com.microsoft:argument-out-of-range", text)
            })?;
            Ok(about_partition(partitions, number, &about))
        }
        _ => {
            let text = format!("The type is neither {HUB} nor {PARTITION}.");
            Err(refuse(400, "amqp:not-implemented", text))
        }
    }
}

fn about_hub(partitions: &Partitions) -> Value {
    let ids = (0..partitions.count()).map(|number| Value::String(number.to_string()));
    map([
        ("name", partitions.entity().as_str().into()),
        ("type", HUB.into()),
        ("created_at", Value::Timestamp(partitions.created())),
        ("partition_count", Value::Int(partitions.count().into())),
        ("partition_ids", Value::Array(ids.collect())),
    ])
}

/// Of a partition without an event the real endpoint says `-1`, and the first moment of its calendar.
fn about_partition(partitions: &Partitions, number: u16, about: &About) -> Value {
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let head = about.reached.head.filter(|_| !about.is_empty);
    let offset = head.map_or_else(|| "-1".to_owned(), |head| head.offset.to_string());
    map([
        ("name", partitions.entity().as_str().into()),
        ("type", PARTITION.into()),
        ("partition", Value::String(number.to_string())),
        ("begin_sequence_number", Value::Long(long(about.first))),
        (
            "last_enqueued_sequence_number",
            Value::Long(long(about.reached.next) - 1),
        ),
        ("last_enqueued_offset", Value::String(offset)),
        (
            "last_enqueued_time_utc",
            Value::Timestamp(head.map_or(NEVER, |head| head.enqueued)),
        ),
        ("is_partition_empty", Value::Boolean(about.is_empty)),
    ])
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.map(|(key, value)| (key.into(), value)).into())
}

/// An application property's text; the Python SDK writes some of it as bytes.
fn text(request: &Message, name: &str) -> Option<String> {
    match request.property(name)? {
        Value::String(text) | Value::Symbol(text) => Some(text.clone()),
        Value::Binary(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

const HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";
/// 0001-01-01T00:00:00Z
const NEVER: Timestamp = Timestamp::from_seconds(-62_135_596_800);
