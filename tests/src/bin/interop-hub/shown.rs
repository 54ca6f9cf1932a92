//! What the hub has, as JSON that keeps AMQP's types apart: text is a string, all else is named by its type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iothub_emulator::{Body, Event, Feedback, MessageId, MethodResponse, Timestamp, Twin, Value};
use serde_json::{Map, Value as Json, json};

pub(crate) fn event(event: &Event) -> Json {
    let message = &event.message;
    json!({
        "device": event.device().as_str(),
        "module": event.module().map(|module| module.as_str()),
        "source": event.source.as_str(),
        "partition": event.partition,
        "properties": pairs(message.application_properties.iter().map(|(name, value)| (&**name, value))),
        "annotations": pairs(message.annotations.iter().map(|(name, value)| (&**name, value))),
        "stamps": pairs(event.annotations().iter().map(|(name, value)| (*name, value))),
        "system": system(event),
        "body": body(&message.body),
    })
}

fn system(event: &Event) -> Json {
    let properties = &event.message.properties;
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let time = |time: Option<Timestamp>| time.map(|time| json!({"timestamp": time.as_millis()}));
    let found = [
        ("message-id", properties.message_id.as_ref().map(id)),
        ("correlation-id", properties.correlation_id.as_ref().map(id)),
        (
            "user-id",
            properties.user_id.as_ref().map(|bytes| bytes_or_text(bytes)),
        ),
        ("to", text(&properties.to)),
        ("subject", text(&properties.subject)),
        ("reply-to", text(&properties.reply_to)),
        ("content-type", text(&properties.content_type)),
        ("content-encoding", text(&properties.content_encoding)),
        ("absolute-expiry-time", time(properties.absolute_expiry_time)),
        ("creation-time", time(properties.creation_time)),
    ];
    let found = found
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Json::Object(found.collect())
}

fn id(id: &MessageId) -> Json {
    match id {
        MessageId::String(text) => json!(text),
        MessageId::Ulong(number) => json!({"ulong": number}),
        MessageId::Uuid(_) => json!({"uuid": id.to_string()}),
        other => json!({"binary": other.to_string()}),
    }
}

fn body(body: &Body) -> Json {
    match body {
        Body::Data(bytes) => json!({"data": bytes_or_text(bytes)}),
        Body::Value(value) => json!({"value": typed(value)}),
        Body::Sequence(lists) => {
            let lists = lists.iter().map(|list| list.iter().map(typed).collect());
            json!({"sequence": lists.collect::<Vec<Vec<Json>>>()})
        }
        _ => json!({}),
    }
}

/// Text where it is one, else base64.
fn bytes_or_text(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a Value)>) -> Json {
    Json::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), typed(value)))
            .collect::<Map<_, _>>(),
    )
}

fn typed(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(truth) => json!(truth),
        Value::String(text) => json!(text),
        Value::Symbol(text) => json!({"symbol": text}),
        Value::Int(number) => json!({"int": number}),
        Value::Long(number) => json!({"long": number}),
        Value::Uint(number) => json!({"uint": number}),
        Value::Ulong(number) => json!({"ulong": number}),
        Value::Double(number) => json!({"double": number}),
        Value::Timestamp(time) => json!({"timestamp": time.as_millis()}),
        Value::Binary(bytes) => json!({"binary": bytes_or_text(bytes)}),
        Value::List(list) => json!({"list": list.iter().map(typed).collect::<Vec<_>>()}),
        other => json!({"other": format!("{other:?}")}),
    }
}

pub(crate) fn feedback(record: &Feedback) -> Json {
    json!({
        "id": record.original_message_id,
        "device": record.device().as_str(),
        "module": record.module().map(|module| module.as_str()),
        "fate": record.fate.as_str(),
    })
}

/// The payload is JSON if it is any, else text.
pub(crate) fn response(response: &MethodResponse) -> Json {
    let payload = serde_json::from_slice(&response.payload)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&response.payload)));
    json!({"status": response.status, "payload": payload})
}

pub(crate) fn twin(twin: &Twin) -> Json {
    json!({
        "tags": twin.tags(),
        "desired": twin.desired(),
        "desired_version": twin.desired_version(),
        "reported": twin.reported(),
        "reported_version": twin.reported_version(),
    })
}
