//! What comes to a device, and what it answers, as lines.

use iothub_amqp::{DesiredChange, ReceivedMessage};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::event::{Kind, ShownBody};
use super::human::{self, OneLine};
use super::json;
use crate::args::Format;

/// A cloud-to-device message, and the word that is then given on it.
pub(crate) fn command(message: &ReceivedMessage, settled: &str, format: Format) -> String {
    let shown = ShownBody::of_bytes(&message.body, message.content_type.as_deref());
    if format == Format::Json {
        return json::line(&CommandLine {
            kind: "command",
            message_id: message.message_id.as_deref(),
            correlation_id: message.correlation_id.as_deref(),
            to: message.to.as_deref(),
            content_type: message.content_type.as_deref(),
            content_encoding: message.content_encoding.as_deref(),
            enqueued: message.enqueued_at.map(human::rfc3339),
            expires: message.expires_at.map(human::rfc3339),
            seq: message.sequence_number,
            delivery_count: message.delivery_count,
            input: message.input_name.as_deref(),
            properties: message
                .properties
                .iter()
                .map(|(key, value)| (key.clone(), Value::String(value.clone())))
                .collect(),
            body_kind: shown.kind(),
            body: shown.into_json(),
            settled,
        });
    }
    let mut line = format!(
        "{settled}  {}",
        OneLine(message.message_id.as_deref().unwrap_or("-"))
    );
    if !message.properties.is_empty() {
        let properties: Vec<_> = message
            .properties
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        line.push_str(&format!("  {{{}}}", OneLine(&properties.join(", "))));
    }
    line.push_str("  ");
    line.push_str(&shown.for_people());
    line
}

/// What follows where the hub does not wait for the word any more.
pub(crate) fn lock_lost(message: &ReceivedMessage, format: Format) -> String {
    let id = message.message_id.as_deref();
    if format == Format::Json {
        return json::line(&serde_json::json!({
            "kind": "lock-lost",
            "message_id": id,
            "seq": message.sequence_number,
        }));
    }
    format!("lock-lost  {}", OneLine(id.unwrap_or("-")))
}

#[derive(Serialize)]
struct CommandLine<'a> {
    kind: &'static str,
    message_id: Option<&'a str>,
    correlation_id: Option<&'a str>,
    to: Option<&'a str>,
    content_type: Option<&'a str>,
    content_encoding: Option<&'a str>,
    enqueued: Option<String>,
    expires: Option<String>,
    seq: Option<i64>,
    delivery_count: Option<u32>,
    input: Option<&'a str>,
    properties: Map<String, Value>,
    body_kind: Kind,
    body: Box<RawValue>,
    settled: &'a str,
}

/// A method that was called, and what came of answering it.
pub(crate) fn method(
    name: &str,
    payload: &[u8],
    status: i32,
    reply: &[u8],
    outcome: &str,
    format: Format,
) -> String {
    let json_type = Some("application/json");
    let (payload, reply) = (
        ShownBody::of_bytes(payload, json_type),
        ShownBody::of_bytes(reply, json_type),
    );
    if format == Format::Json {
        return json::line(&MethodLine {
            kind: "method",
            method: name,
            payload: payload.into_json(),
            status,
            reply: reply.into_json(),
            outcome,
        });
    }
    format!(
        "{outcome}  {}  {}  {status} {}",
        OneLine(name),
        payload.for_people(),
        reply.for_people()
    )
}

#[derive(Serialize)]
struct MethodLine<'a> {
    kind: &'static str,
    method: &'a str,
    payload: Box<RawValue>,
    status: i32,
    reply: Box<RawValue>,
    outcome: &'a str,
}

/// A change of the desired properties.
pub(crate) fn desired(change: &DesiredChange, format: Format) -> String {
    if format == Format::Json {
        return json::line(&serde_json::json!({
            "kind": "desired",
            "version": change.version,
            "whole": change.whole,
            "desired": change.values,
        }));
    }
    let what = if change.whole { "all" } else { "patch" };
    let values = Value::Object(change.values.clone()).to_string();
    format!("version {}  {what}  {}", change.version, OneLine(&values))
}

/// What was reported.
pub(crate) fn reported(version: Option<i64>, format: Format) -> String {
    match (format, version) {
        (Format::Json, version) => json::line(&serde_json::json!({ "kind": "reported", "version": version })),
        (Format::Text, Some(version)) => format!("reported  version {version}"),
        (Format::Text, None) => "reported".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docs/cli.md says.
    #[test]
    fn a_lost_lock_is_told_by_the_messages_id_and_number() {
        let mut message = ReceivedMessage::default();
        assert_eq!(lock_lost(&message, Format::Text), "lock-lost  -");
        message.message_id = Some("m\n1".to_owned());
        message.sequence_number = Some(7);
        assert_eq!(lock_lost(&message, Format::Text), "lock-lost  m\\n1");
        let shown: Value = serde_json::from_str(&lock_lost(&message, Format::Json)).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({"kind": "lock-lost", "message_id": "m\n1", "seq": 7})
        );
    }
}
