//! An event as it is read from a hub's event endpoint, in the form of one that our own hub has taken.

use iothub_amqp::{Event, EventValue};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::{Line, STANDARD, ShownBody, float, packed, text_line, text_or_base64};
use crate::args::Format;
use crate::output::human;
use crate::output::{json, table};
use base64::engine::Engine;

/// One event, as one line.
pub(crate) fn read_line(event: &Event, format: Format) -> String {
    let shown = body(event);
    let device = event.device.as_deref().unwrap_or_default();
    let enqueued = human::rfc3339(event.enqueued_at);
    match format {
        Format::Json => json::line(&Line {
            device,
            module: event.module.as_deref(),
            partition: event.partition,
            seq: event.sequence_number,
            offset: &event.offset,
            enqueued,
            source: event.source.as_deref().unwrap_or_default(),
            properties: Values(&event.properties),
            system: Values(&event.system),
            body_kind: shown.kind(),
            body: &shown,
        }),
        Format::Text => {
            let whose = match &event.module {
                Some(module) => format!("{device}/{module}"),
                None => device.to_owned(),
            };
            text_line(&enqueued, &whose, &map(&event.properties), &shown)
        }
    }
}

/// One event, as a row of CSV: what is no text in JSON is its JSON.
pub(crate) fn read_row(event: &Event) -> String {
    let line: Json = serde_json::from_str(&read_line(event, Format::Json)).unwrap_or_default();
    let cells = FIELDS.map(|name| match &line[name] {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    });
    table::csv(cells.iter().map(String::as_str))
}

/// As docs/cli.md has them.
pub(crate) const FIELDS: [&str; 11] = [
    "device",
    "module",
    "partition",
    "seq",
    "offset",
    "enqueued",
    "source",
    "properties",
    "system",
    "body_kind",
    "body",
];

/// In the form that shows most of it: what is packed is unpacked.
fn body(event: &Event) -> ShownBody {
    if let Some(value) = &event.value {
        return ShownBody::of_json(&plain("", value));
    }
    let encoding = match event.system_property("content-encoding") {
        Some(EventValue::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let content_type = event.content_type.as_deref();
    packed::unpack(&event.body, content_type, encoding)
        .unwrap_or_else(|| ShownBody::of_bytes(&event.body, content_type))
}

fn map(values: &[(String, EventValue)]) -> Map<String, Json> {
    values
        .iter()
        .map(|(name, value)| (name.clone(), plain(name, value)))
        .collect()
}

/// The same, written without being built first: a flood of events is mostly these.
struct Values<'a>(&'a [(String, EventValue)]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Each is compared with those behind it, which is for few.
        if self.0.len() > FEW {
            return map(self.0).serialize(serializer);
        }
        // Of two by one name the last counts, as in a map that is built.
        let last = self.0.iter().enumerate().filter(|(at, (name, _))| {
            let behind = &self.0[at + 1..];
            !behind.iter().any(|(other, _)| other == name)
        });
        serializer.collect_map(last.map(|(_, (name, value))| (name, Named { name, value })))
    }
}

/// As many properties as messages mostly have, and more.
const FEW: usize = 32;

struct Named<'a> {
    name: &'a str,
    value: &'a EventValue,
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            EventValue::Text(text) => serializer.serialize_str(text),
            EventValue::Whole(number) => serializer.serialize_i64(*number),
            other => plain(self.name, other).serialize(serializer),
        }
    }
}

fn plain(name: &str, value: &EventValue) -> Json {
    match value {
        EventValue::Text(text) => Json::String(text.clone()),
        EventValue::Whole(number) => Json::Number((*number).into()),
        EventValue::Real(number) => float(*number),
        EventValue::Flag(flag) => Json::Bool(*flag),
        EventValue::Time(time) => Json::String(human::rfc3339(*time)),
        // Those that are mostly texts.
        EventValue::Bytes(bytes) if ["user-id", "message-id", "correlation-id"].contains(&name) => {
            text_or_base64(bytes)
        }
        EventValue::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        EventValue::List(items) => items.iter().map(|item| plain("", item)).collect(),
        EventValue::Map(pairs) => Json::Object(pairs.iter().map(pair).collect()),
        _ => Json::Null,
    }
}

fn pair((key, value): &(EventValue, EventValue)) -> (String, Json) {
    let key = match plain("", key) {
        Json::String(text) => text,
        other => other.to_string(),
    };
    (key, plain("", value))
}
