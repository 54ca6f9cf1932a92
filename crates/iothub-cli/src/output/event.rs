//! What a hub received.

mod packed;
mod read;

use std::fmt::Write as _;

use base64::engine::{Engine, general_purpose::STANDARD};
use iothub_emulator::{Body, Event, MessageId, Properties, Value};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Number, Value as Json};

pub(crate) use self::read::{FIELDS, read_line, read_row};
use super::human::{self, OneLine};
use super::json;
use crate::args::Format;

/// One event, as one line.
pub(crate) fn line(event: &Event, format: Format) -> String {
    let shown = ShownBody::of(
        &event.message.body,
        event.message.properties.content_type.as_deref(),
    );
    match format {
        Format::Json => json::line(&Line {
            device: event.device().as_str(),
            module: event.module().map(|module| module.as_str()),
            partition: event.partition.into(),
            seq: i64::try_from(event.sequence_number).unwrap_or(i64::MAX),
            offset: &event.offset_text(),
            enqueued: event.enqueued.to_string(),
            source: event.source.as_str(),
            properties: application_properties(event),
            system: system_properties(event),
            body_kind: shown.kind(),
            body: &shown,
        }),
        Format::Text => text(event, &shown),
    }
}

#[derive(Serialize)]
struct Line<'a, P> {
    device: &'a str,
    module: Option<&'a str>,
    partition: u32,
    seq: i64,
    /// Text, as readers of the built-in endpoint get it.
    offset: &'a str,
    enqueued: String,
    source: &'a str,
    properties: P,
    system: P,
    body_kind: Kind,
    body: &'a ShownBody,
}

fn text(event: &Event, shown: &ShownBody) -> String {
    let whose = event.sender.identity.to_string();
    text_line(
        &event.enqueued.to_string(),
        &whose,
        &application_properties(event),
        shown,
    )
}

fn text_line(enqueued: &str, whose: &str, properties: &Map<String, Json>, shown: &ShownBody) -> String {
    let mut line = format!("{enqueued}  {}", OneLine(whose));
    if !properties.is_empty() {
        let properties: Vec<_> = properties
            .iter()
            .map(|(key, value)| match value {
                Json::String(text) => format!("{key}={text}"),
                other => format!("{key}={other}"),
            })
            .collect();
        // Writing into a `String` cannot fail, here and below.
        let _ = write!(line, "  {{{}}}", OneLine(&properties.join(", ")));
    }
    let _ = write!(line, "  {}", shown.for_people());
    line
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Json,
    Text,
    Base64,
}

/// A body in the form that shows most of it.
pub(super) enum ShownBody {
    Json(Box<RawValue>),
    Text(String),
    Base64(String),
}

impl ShownBody {
    fn of(body: &Body, content_type: Option<&str>) -> Self {
        match body {
            Body::Data(bytes) => Self::of_bytes(bytes, content_type),
            // What Proton's Messenger sends of a string.
            Body::Value(Value::String(text)) => Self::of_bytes(text.as_bytes(), content_type),
            Body::Value(Value::Binary(bytes)) => Self::of_bytes(bytes, content_type),
            Body::Value(value) => Self::of_json(&plain(value)),
            Body::Sequence(lists) => {
                let lists = lists
                    .iter()
                    .map(|list| Json::Array(list.iter().map(plain).collect()));
                Self::of_json(&Json::Array(lists.collect()))
            }
            _ => Self::of_bytes(b"", content_type),
        }
    }

    pub(super) fn of_bytes(bytes: &[u8], content_type: Option<&str>) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self::Base64(STANDARD.encode(bytes));
        };
        let is_said = content_type.is_some_and(|text| text.eq_ignore_ascii_case("application/json"));
        let looks_so = text.trim_ascii_start().starts_with(['{', '[']);
        if (is_said || looks_so)
            && let Some(json) = json::compact(text)
        {
            return Self::Json(json);
        }
        // Most bodies are of characters that need no closer look.
        let is_plain = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_plain && text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
            return Self::Base64(STANDARD.encode(bytes));
        }
        Self::Text(text.to_owned())
    }

    fn of_json(value: &Json) -> Self {
        Self::Json(raw(value))
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Json(_) => Kind::Json,
            Self::Text(_) => Kind::Text,
            Self::Base64(_) => Kind::Base64,
        }
    }

    /// As a JSON value: a text is quoted.
    pub(super) fn into_json(self) -> Box<RawValue> {
        match self {
            Self::Json(json) => json,
            Self::Text(text) | Self::Base64(text) => raw(&text),
        }
    }

    /// On one line.
    pub(super) fn for_people(&self) -> String {
        match self {
            Self::Json(json) => OneLine(json.get()).to_string(),
            Self::Text(text) => OneLine(text).to_string(),
            Self::Base64(text) => {
                let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
                let length = text.len() / 4 * 3 - padding;
                format!(
                    "base64 ({length} byte{}) {text}",
                    if length == 1 { "" } else { "s" }
                )
            }
        }
    }
}

/// As a JSON value: a text is quoted.
impl Serialize for ShownBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(json) => json.serialize(serializer),
            Self::Text(text) | Self::Base64(text) => serializer.serialize_str(text),
        }
    }
}

fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("texts and JSON values can be written")
}

fn application_properties(event: &Event) -> Map<String, Json> {
    event
        .message
        .application_properties
        .iter()
        .map(|(key, value)| (key.clone(), plain(value)))
        .collect()
}

/// The properties section by its names in AMQP, then what stands in the message annotations: the sender's, then the
/// hub's.
fn system_properties(event: &Event) -> Map<String, Json> {
    let mut system = properties(&event.message.properties);
    system.extend(
        event
            .message
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), plain(value))),
    );
    system.extend(
        event
            .annotations()
            .iter()
            .map(|(key, value)| ((*key).to_owned(), plain(value))),
    );
    system
}

fn properties(of: &Properties) -> Map<String, Json> {
    let text = |text: &Option<String>| text.clone().map(Json::String);
    let id = |id: &Option<MessageId>| {
        id.as_ref().map(|id| match id {
            MessageId::Ulong(number) => Json::Number((*number).into()),
            MessageId::Uuid(bytes) => Json::String(human::uuid(bytes)),
            MessageId::Binary(bytes) => text_or_base64(bytes),
            MessageId::String(text) => Json::String(text.clone()),
            _ => Json::Null,
        })
    };
    let time = |time: &Option<iothub_emulator::Timestamp>| time.map(|time| Json::String(time.to_string()));
    [
        ("message-id", id(&of.message_id)),
        ("user-id", of.user_id.as_deref().map(text_or_base64)),
        ("to", text(&of.to)),
        ("subject", text(&of.subject)),
        ("reply-to", text(&of.reply_to)),
        ("correlation-id", id(&of.correlation_id)),
        ("content-type", text(&of.content_type)),
        ("content-encoding", text(&of.content_encoding)),
        ("absolute-expiry-time", time(&of.absolute_expiry_time)),
        ("creation-time", time(&of.creation_time)),
        ("group-id", text(&of.group_id)),
        (
            "group-sequence",
            of.group_sequence.map(|number| Json::Number(number.into())),
        ),
        ("reply-to-group-id", text(&of.reply_to_group_id)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// An AMQP value in JSON, as near as JSON has it.
fn plain(value: &Value) -> Json {
    match value {
        Value::Boolean(value) => Json::Bool(*value),
        Value::Ubyte(value) => Json::Number((*value).into()),
        Value::Ushort(value) => Json::Number((*value).into()),
        Value::Uint(value) => Json::Number((*value).into()),
        Value::Ulong(value) => Json::Number((*value).into()),
        Value::Byte(value) => Json::Number((*value).into()),
        Value::Short(value) => Json::Number((*value).into()),
        Value::Int(value) => Json::Number((*value).into()),
        Value::Long(value) => Json::Number((*value).into()),
        Value::Float(value) => float((*value).into()),
        Value::Double(value) => float(*value),
        Value::Decimal32(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Decimal64(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Decimal128(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Char(value) => Json::String(value.to_string()),
        Value::Timestamp(time) => Json::String(time.to_string()),
        Value::Uuid(bytes) => Json::String(human::uuid(bytes)),
        Value::Binary(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::String(text) | Value::Symbol(text) => Json::String(text.clone()),
        Value::List(values) | Value::Array(values) => Json::Array(values.iter().map(plain).collect()),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let key = match plain(key) {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                (key, plain(value))
            });
            Json::Object(pairs.collect())
        }
        Value::Described(described) => plain(&described.1),
        _ => Json::Null,
    }
}

/// JSON has no infinities and no NaN.
fn float(value: f64) -> Json {
    Number::from_f64(value).map_or_else(|| Json::String(value.to_string()), Json::Number)
}

fn text_or_base64(bytes: &[u8]) -> Json {
    Json::String(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => STANDARD.encode(bytes),
    })
}

#[cfg(test)]
mod tests;
