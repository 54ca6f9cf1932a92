//! From what came in on the wire to what the application sees.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body, Data, Message as WireMessage, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Symbol, Timestamp, Uuid, Value};

use super::sender::Encoded;
use crate::received::ReceivedMessage;
use crate::supervisor::{Question, RequestId};

pub(crate) type Incoming = WireMessage<Body<Value>>;

/// A cloud-to-device message or a module's input.
pub(crate) fn message(wire: Incoming) -> ReceivedMessage {
    let properties = wire.properties.unwrap_or_default();
    let annotation = |name: &str| annotation(wire.message_annotations.as_ref(), name);
    ReceivedMessage {
        body: body(wire.body),
        message_id: properties.message_id.map(id_text),
        correlation_id: properties.correlation_id.map(id_text),
        to: properties.to,
        user_id: properties.user_id.map(Binary::into_vec),
        content_type: properties.content_type.map(|Symbol(text)| text),
        content_encoding: properties.content_encoding.map(|Symbol(text)| text),
        expires_at: properties.absolute_expiry_time.map(time),
        enqueued_at: annotation("iothub-enqueuedtime").and_then(|value| match value {
            Value::Timestamp(at) => Some(time(at.clone())),
            _ => None,
        }),
        sequence_number: annotation("x-opt-sequence-number").and_then(whole),
        delivery_count: annotation("iothub-deliverycount")
            .and_then(whole)
            .and_then(|count| u32::try_from(count).ok()),
        input_name: annotation("x-opt-input-name").and_then(text),
        properties: wire
            .application_properties
            .map(|ApplicationProperties(map)| {
                map.into_iter()
                    .map(|(name, value)| (name, simple_text(value)))
                    .collect()
            })
            .unwrap_or_default(),
    }
}

/// A method call: its name, its payload, and by what its answer is known.
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) correlation: Correlation,
}

#[derive(Clone)]
pub(crate) struct Correlation(MessageId);

/// Reads a call; `None` if it has no method's name, or nothing by which its answer could be known.
pub(crate) fn call(wire: Incoming) -> Option<Call> {
    let ApplicationProperties(map) = wire.application_properties?;
    let name = match map.get("IoThub-methodname")? {
        SimpleValue::String(name) => name.clone(),
        SimpleValue::Symbol(Symbol(name)) => name.clone(),
        _ => return None,
    };
    Some(Call {
        name,
        payload: body(wire.body),
        correlation: Correlation(wire.properties?.correlation_id?),
    })
}

/// The answer to a call: its status is an `int`, as the hub insists on.
pub(crate) fn method_answer(correlation: &Correlation, status: i32, payload: Vec<u8>) -> Encoded {
    let properties = Properties {
        correlation_id: Some(correlation.0.clone()),
        ..Properties::default()
    };
    let mut application = ApplicationProperties::default();
    application
        .0
        .insert("IoThub-status".to_owned(), SimpleValue::Int(status));
    Encoded::of(
        WireMessage::builder()
            .properties(properties)
            .application_properties(application)
            .data(Binary::from(payload))
            .build(),
    )
}

/// What came in on a twin's link.
pub(crate) enum FromTwin {
    /// The answer to the request of this id.
    Answer {
        request: RequestId,
        status: i32,
        version: Option<i64>,
        body: Vec<u8>,
    },
    /// The desired properties have changed.
    Change { version: i64, body: Vec<u8> },
}

/// Reads what came; `None` for what is neither.
pub(crate) fn from_twin(wire: Incoming, lane: u32) -> Option<FromTwin> {
    let annotation = |name: &str| annotation(wire.message_annotations.as_ref(), name);
    let version = annotation("version").and_then(whole);
    let correlation = wire.properties.and_then(|properties| properties.correlation_id);
    match correlation {
        Some(id) => Some(FromTwin::Answer {
            request: request(&id_text(id), lane)?,
            // The Node SDK takes an answer without a status for a good one.
            status: annotation("status")
                .map_or(Some(200), whole)
                .and_then(|status| i32::try_from(status).ok())
                .unwrap_or_default(),
            version,
            body: body(wire.body),
        }),
        None => {
            let body = body(wire.body);
            let version = version.or_else(|| crate::twin::version_of(&body))?;
            Some(FromTwin::Change { version, body })
        }
    }
}

/// A question to the twin, as the SDKs write it.
pub(crate) fn twin_question(
    request: RequestId,
    lane: u32,
    question: Question,
    patch: Option<Vec<u8>>,
) -> Encoded {
    let (operation, resource) = match question {
        Question::Get => ("GET", None),
        Question::Report => ("PATCH", Some("/properties/reported")),
        Question::Subscribe => ("PUT", Some("/notifications/twin/properties/desired")),
    };
    let mut annotations = MessageAnnotations::default();
    let mut set = |name: &str, value| annotations.0.insert(OwnedKey::from(Symbol::from(name)), value);
    set("operation", Value::String(operation.to_owned()));
    if let Some(resource) = resource {
        set("resource", Value::String(resource.to_owned()));
    }
    let properties = Properties {
        correlation_id: Some(MessageId::String(request_id(request, lane))),
        ..Properties::default()
    };
    // An empty body is a space.
    let body = patch.unwrap_or_else(|| b" ".to_vec());
    Encoded::of(
        WireMessage::builder()
            .message_annotations(annotations)
            .properties(properties)
            .data(Binary::from(body))
            .build(),
    )
}

/// How a question is named on the wire; what answers it on a link of before is then none of its answers.
pub(super) fn request_id(request: RequestId, lane: u32) -> String {
    format!("{}-{lane}", request.0)
}

pub(super) fn request(id: &str, lane: u32) -> Option<RequestId> {
    let (request, of) = id.split_once('-')?;
    (of.parse() == Ok(lane)).then(|| request.parse().ok().map(RequestId))?
}

fn annotation<'a>(annotations: Option<&'a MessageAnnotations>, name: &str) -> Option<&'a Value> {
    annotations?.0.get(&OwnedKey::from(Symbol::from(name)))
}

pub(super) fn body(body: Body<Value>) -> Vec<u8> {
    match body {
        Body::Data(sections) => {
            let mut sections = sections.into_iter().map(|Data(bytes)| bytes.into_vec());
            let mut all = sections.next().unwrap_or_default();
            sections.for_each(|more| all.extend(more));
            all
        }
        Body::Value(value) => match value.0 {
            Value::Binary(bytes) => bytes.into_vec(),
            Value::String(text) => text.into_bytes(),
            _ => Vec::new(),
        },
        Body::Sequence(_) | Body::Empty => Vec::new(),
    }
}

pub(super) fn id_text(id: MessageId) -> String {
    match id {
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Uuid(uuid) => uuid_text(&uuid),
        MessageId::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        MessageId::String(text) => text,
    }
}

pub(super) fn uuid_text(uuid: &Uuid) -> String {
    let hex: String = uuid.as_inner().iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) | Value::Symbol(Symbol(text)) => Some(text.clone()),
        _ => None,
    }
}

/// A whole number of any width.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Ubyte(number) => Some(i64::from(*number)),
        Value::Ushort(number) => Some(i64::from(*number)),
        Value::Uint(number) => Some(i64::from(*number)),
        Value::Ulong(number) => i64::try_from(*number).ok(),
        Value::Byte(number) => Some(i64::from(*number)),
        Value::Short(number) => Some(i64::from(*number)),
        Value::Int(number) => Some(i64::from(*number)),
        Value::Long(number) => Some(*number),
        _ => None,
    }
}

/// A hub's properties are strings; whatever else a sender has put there is shown as one.
fn simple_text(value: SimpleValue) -> String {
    match value {
        SimpleValue::String(text) | SimpleValue::Symbol(Symbol(text)) => text,
        SimpleValue::Null => String::new(),
        SimpleValue::Bool(flag) => flag.to_string(),
        SimpleValue::Char(character) => character.to_string(),
        SimpleValue::Float(number) => f32::from(number).to_string(),
        SimpleValue::Double(number) => f64::from(number).to_string(),
        SimpleValue::Ulong(number) => number.to_string(),
        SimpleValue::Timestamp(at) => at.milliseconds().to_string(),
        SimpleValue::Uuid(uuid) => uuid_text(&uuid),
        SimpleValue::Binary(bytes) => STANDARD.encode(bytes),
        SimpleValue::Decimal32(number) => STANDARD.encode(number.into_inner()),
        SimpleValue::Decimal64(number) => STANDARD.encode(number.into_inner()),
        SimpleValue::Decimal128(number) => STANDARD.encode(number.into_inner()),
        other => whole(&other.into()).map_or_else(String::new, |number| number.to_string()),
    }
}

pub(super) fn time(at: Timestamp) -> SystemTime {
    let milliseconds = u64::try_from(at.milliseconds()).unwrap_or(0);
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(milliseconds))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_are_no_strings_are_shown_as_text_and_none_is_lost() {
        // Base64 by RFC 4648 §10; the uuid's text by RFC 9562 §4.
        let uuid = [
            0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x11, 0xd0, 0xa7, 0x65, 0x00, 0xa0, 0xc9, 0x1e, 0x6b, 0xf6,
        ];
        let cases = [
            (SimpleValue::String("text".into()), "text"),
            (SimpleValue::Symbol("symbol".into()), "symbol"),
            (SimpleValue::Null, ""),
            (SimpleValue::Bool(false), "false"),
            (SimpleValue::Char('ß'), "ß"),
            (SimpleValue::Byte(-1), "-1"),
            (SimpleValue::Long(i64::MIN), "-9223372036854775808"),
            (SimpleValue::Ulong(u64::MAX), "18446744073709551615"),
            (SimpleValue::Float(21.5.into()), "21.5"),
            (SimpleValue::Double((-0.1).into()), "-0.1"),
            (
                SimpleValue::Timestamp(Timestamp::from_milliseconds(1_700_000_000_123)),
                "1700000000123",
            ),
            (
                SimpleValue::Uuid(uuid.into()),
                "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            ),
            (SimpleValue::Binary(b"foobar".to_vec().into()), "Zm9vYmFy"),
        ];
        for (value, text) in cases {
            let mut application = ApplicationProperties::default();
            application.0.insert("p".to_owned(), value.clone());
            let wire = WireMessage::builder()
                .application_properties(application)
                .body(Body::<Value>::Empty)
                .build();
            assert_eq!(message(wire).property("p"), Some(text), "{value:?}");
        }
    }
}
