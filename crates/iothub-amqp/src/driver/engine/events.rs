//! From what an event endpoint sends to events, and the questions to its management.

use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Symbol, Value};
use serde_json::{Map, Value as Json};

use super::incoming::{self, Incoming, body, id_text, text, time, whole};
use super::links::REPLY_TO;
use super::sender::Encoded;
use crate::event::{Event, EventValue};
use crate::supervisor::RequestId;

/// Reads an event of this partition; `None` for what has no sequence number.
pub(crate) fn event(wire: Incoming, partition: u32) -> Option<Event> {
    let mut event = Event {
        partition,
        ..Event::default()
    };
    event.last_enqueued = wire
        .delivery_annotations
        .as_ref()
        .and_then(|found| found.0.get(&OwnedKey::from(Symbol::from(LAST_ENQUEUED))))
        .and_then(whole);
    let mut numbered = false;
    if let Some(properties) = wire.properties {
        self::properties(properties, &mut event);
    }
    if let Some(MessageAnnotations(annotations)) = wire.message_annotations {
        for (key, value) in annotations {
            let OwnedKey::Symbol(Symbol(name)) = key else {
                continue;
            };
            match name.as_str() {
                "iothub-connection-device-id" => event.device = text(&value),
                "iothub-connection-module-id" => event.module = text(&value),
                "iothub-message-source" => event.source = text(&value),
                "x-opt-offset" => event.offset = text(&value).unwrap_or_default(),
                "x-opt-sequence-number" => {
                    let number = whole(&value);
                    numbered = number.is_some();
                    event.sequence_number = number.unwrap_or_default();
                }
                "x-opt-enqueued-time" => {
                    if let Value::Timestamp(at) = &value {
                        event.enqueued_at = time(at.clone());
                    }
                }
                _ => {}
            }
            event.system.push((name, shown(value)));
        }
    }
    if let Some(ApplicationProperties(map)) = wire.application_properties {
        event.properties = map
            .into_iter()
            .map(|(name, value)| (name, shown(value.into())))
            .collect();
    }
    match wire.body {
        Body::Value(AmqpValue(value)) if !matches!(value, Value::String(_) | Value::Binary(_)) => {
            event.value = Some(shown(value));
        }
        Body::Sequence(lists) => event.value = Some(list(lists.into_iter().map(|list| Value::List(list.0)))),
        bytes => event.body = body(bytes),
    }
    numbered.then_some(event)
}

/// The properties section, by the standard's names (AMQP 1.0 §3.2.4).
fn properties(properties: Properties, event: &mut Event) {
    let id = |id: MessageId| match id {
        MessageId::Ulong(number) => shown(Value::Ulong(number)),
        MessageId::Binary(bytes) => EventValue::Bytes(bytes.into_vec()),
        other => EventValue::Text(id_text(other)),
    };
    let symbol = |Symbol(text): Symbol| EventValue::Text(text);
    let at = |at| EventValue::Time(time(at));
    event.content_type = properties.content_type.as_ref().map(|Symbol(text)| text.clone());
    let all = [
        ("message-id", properties.message_id.map(id)),
        (
            "user-id",
            properties
                .user_id
                .map(|bytes| EventValue::Bytes(bytes.into_vec())),
        ),
        ("to", properties.to.map(EventValue::Text)),
        ("subject", properties.subject.map(EventValue::Text)),
        ("reply-to", properties.reply_to.map(EventValue::Text)),
        ("correlation-id", properties.correlation_id.map(id)),
        ("content-type", properties.content_type.map(symbol)),
        ("content-encoding", properties.content_encoding.map(symbol)),
        ("absolute-expiry-time", properties.absolute_expiry_time.map(at)),
        ("creation-time", properties.creation_time.map(at)),
        ("group-id", properties.group_id.map(EventValue::Text)),
        (
            "group-sequence",
            properties
                .group_sequence
                .map(|number| EventValue::Whole(i64::from(number))),
        ),
        (
            "reply-to-group-id",
            properties.reply_to_group_id.map(EventValue::Text),
        ),
    ];
    event.system.extend(
        all.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?))),
    );
}

fn shown(value: Value) -> EventValue {
    if let Some(number) = whole(&value) {
        return EventValue::Whole(number);
    }
    match value {
        Value::String(text) | Value::Symbol(Symbol(text)) => EventValue::Text(text),
        Value::Bool(flag) => EventValue::Flag(flag),
        Value::Timestamp(at) => EventValue::Time(time(at)),
        Value::Binary(bytes) => EventValue::Bytes(bytes.into_vec()),
        Value::Double(number) => EventValue::Real(number.into()),
        Value::Float(number) => EventValue::Real(f64::from(f32::from(number))),
        Value::Uuid(uuid) => EventValue::Text(incoming::uuid_text(&uuid)),
        Value::Char(character) => EventValue::Text(character.to_string()),
        Value::List(items) => list(items),
        Value::Array(items) => list(items.0),
        Value::Map(map) => EventValue::Map(
            map.into_iter()
                .map(|(key, value)| (shown(key), shown(value)))
                .collect(),
        ),
        Value::Described(described) => shown(described.value),
        Value::Null => EventValue::Null,
        _ => EventValue::Other,
    }
}

fn list(items: impl IntoIterator<Item = Value>) -> EventValue {
    EventValue::List(items.into_iter().map(shown).collect())
}

/// A question to `$management` about the event hub, or about one of its partitions.
pub(crate) fn question(request: RequestId, lane: u32, entity: &str, partition: Option<&str>) -> Encoded {
    let mut application = ApplicationProperties::default();
    let kind = match partition {
        None => "com.microsoft:eventhub",
        Some(_) => "com.microsoft:partition",
    };
    let all = [
        ("operation", Some("READ")),
        ("type", Some(kind)),
        ("name", Some(entity)),
        ("partition", partition),
    ];
    for (name, value) in all {
        if let Some(value) = value {
            let value = SimpleValue::String(value.to_owned());
            application.0.insert(name.to_owned(), value);
        }
    }
    let properties = Properties {
        message_id: Some(MessageId::String(incoming::request_id(request, lane))),
        reply_to: Some(REPLY_TO.to_owned()),
        ..Properties::default()
    };
    Encoded::of(
        fe2o3_amqp_types::messaging::Message::builder()
            .properties(properties)
            .application_properties(application)
            .data(Vec::<u8>::new())
            .build(),
    )
}

/// An answer of `$management`: to which question, its status, and its body as a JSON object, or the words of a refusal.
pub(crate) fn answer(wire: Incoming, lane: u32) -> Option<(RequestId, i32, Vec<u8>)> {
    let id = wire.properties?.correlation_id?;
    let request = incoming::request(&id_text(id), lane)?;
    let properties = wire.application_properties?.0;
    let property = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| properties.get(*name));
        found.cloned().map(Value::from)
    };
    let status = property(["status-code", "statusCode"])
        .as_ref()
        .and_then(whole)
        .and_then(|status| i32::try_from(status).ok())
        .unwrap_or_default();
    let description = property(["status-description", "statusDescription"]);
    let body = match wire.body {
        Body::Value(AmqpValue(Value::Map(map))) if (200..300).contains(&status) => {
            let object: Map<String, Json> = map
                .into_iter()
                .filter_map(|(key, value)| Some((text(&key)?, json(value))))
                .collect();
            Json::Object(object).to_string()
        }
        _ => description.as_ref().and_then(text).unwrap_or_default(),
    };
    Some((request, status, body.into_bytes()))
}

fn json(value: Value) -> Json {
    if let Some(number) = whole(&value) {
        return Json::from(number);
    }
    match value {
        Value::String(text) | Value::Symbol(Symbol(text)) => Json::String(text),
        Value::Bool(flag) => Json::Bool(flag),
        // In milliseconds since 1970.
        Value::Timestamp(at) => Json::from(at.milliseconds()),
        Value::Array(items) => items.0.into_iter().map(json).collect(),
        Value::List(items) => items.into_iter().map(json).collect(),
        _ => Json::Null,
    }
}

/// By the name that Event Hubs' SDKs look for.
const LAST_ENQUEUED: &str = "last_enqueued_sequence_number";
