//! Writes a message of the hub (§3.2), each value in the type that it has there.

use bytes::{BufMut, Bytes, BytesMut};

use crate::clock::Timestamp;
use crate::hub::{Body, Event, Message, MessageId, Properties, Reached, Value};

/// The encoded message: message-annotations, properties, application-properties, body, those of them that it has.
pub(super) fn message(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    if !message.annotations.is_empty() {
        section(&mut out, MESSAGE_ANNOTATIONS);
        let annotations = message.annotations.iter();
        map(&mut out, annotations.map(|(key, item)| (Key::Symbol(key), item)));
    }
    bare(&mut out, message);
    out.freeze()
}

/// An event as its readers get it: what its sender wrote, with the hub's annotations over the sender's; with `metric`, how
/// far the partition has come at that time.
pub(super) fn event(event: &Event, metric: Option<(Reached, Timestamp)>) -> Bytes {
    let message = &event.message;
    let mut out = BytesMut::with_capacity(message.encoded_size + ANNOTATIONS_SIZE);
    if let Some((reached, now)) = metric {
        section(&mut out, DELIVERY_ANNOTATIONS);
        let metric = runtime_metric(&reached, now);
        map(
            &mut out,
            metric.iter().map(|(key, item)| (Key::Symbol(key), item)),
        );
    }
    let stamped = event.annotations();
    let own = message.annotations.iter();
    let own = own.filter(|(key, _)| !stamped.iter().any(|(stamp, _)| stamp == key));
    let stamped = stamped.iter().map(|(key, item)| (Key::Symbol(key), item));
    section(&mut out, MESSAGE_ANNOTATIONS);
    map(
        &mut out,
        stamped.chain(own.map(|(key, item)| (Key::Symbol(key), item))),
    );
    bare(&mut out, message);
    out.freeze()
}

/// By the names that the Event Hubs SDKs look for.
fn runtime_metric(reached: &Reached, now: Timestamp) -> Vec<(&'static str, Value)> {
    let last = i64::try_from(reached.next).unwrap_or(i64::MAX) - 1;
    let mut metric = vec![("last_enqueued_sequence_number", Value::Long(last))];
    if let Some(head) = reached.head {
        metric.push(("last_enqueued_offset", Value::String(head.offset.to_string())));
        metric.push(("last_enqueued_time_utc", Value::Timestamp(head.enqueued)));
    }
    metric.push(("runtime_info_retrieval_time_utc", Value::Timestamp(now)));
    metric
}

/// All but the annotations: properties, application-properties, body.
fn bare(out: &mut BytesMut, message: &Message) {
    if message.properties != Properties::default() {
        section(out, PROPERTIES);
        properties(out, &message.properties);
    }
    if !message.application_properties.is_empty() {
        section(out, APPLICATION_PROPERTIES);
        map(
            out,
            message
                .application_properties
                .iter()
                .map(|(key, item)| (Key::String(key), item)),
        );
    }
    match &message.body {
        // A message has a body (§3.2); the SDKs take an empty data section for one with nothing in it.
        Body::Empty => {
            section(out, DATA);
            binary(out, &[]);
        }
        Body::Data(bytes) => {
            section(out, DATA);
            binary(out, bytes);
        }
        Body::Value(item) => {
            section(out, AMQP_VALUE);
            value(out, item);
        }
        Body::Sequence(lists) => {
            for items in lists {
                section(out, AMQP_SEQUENCE);
                list(out, items);
            }
        }
    }
}

enum Key<'a> {
    Symbol(&'a str),
    String(&'a str),
}

fn section(out: &mut BytesMut, code: u8) {
    out.put_slice(&[0x00, 0x53, code]);
}

/// The fields in the order of §3.2.4, without the nulls at its end.
fn properties(out: &mut BytesMut, properties: &Properties) {
    let mut fields = BytesMut::new();
    let (mut count, mut whole) = (0, 0);
    let mut field = |fields: &mut BytesMut, item: Option<Value>| {
        count += 1;
        match item {
            Some(item) => {
                value(fields, &item);
                whole = count;
            }
            None => fields.put_u8(0x40),
        }
        whole
    };
    let text = |text: &Option<String>| text.clone().map(Value::String);
    let symbol = |text: &Option<String>| text.clone().map(Value::Symbol);
    field(&mut fields, properties.message_id.as_ref().map(id));
    field(&mut fields, properties.user_id.clone().map(Value::Binary));
    field(&mut fields, text(&properties.to));
    field(&mut fields, text(&properties.subject));
    field(&mut fields, text(&properties.reply_to));
    field(&mut fields, properties.correlation_id.as_ref().map(id));
    field(&mut fields, symbol(&properties.content_type));
    field(&mut fields, symbol(&properties.content_encoding));
    field(&mut fields, properties.absolute_expiry_time.map(Value::Timestamp));
    field(&mut fields, properties.creation_time.map(Value::Timestamp));
    field(&mut fields, text(&properties.group_id));
    field(&mut fields, properties.group_sequence.map(Value::Uint));
    let whole = field(&mut fields, text(&properties.reply_to_group_id));
    // Each null at the end is one byte.
    fields.truncate(fields.len() - (PROPERTIES_FIELDS - whole));
    compound(out, 0xc0, whole, &fields);
}

fn id(id: &MessageId) -> Value {
    match id {
        MessageId::Ulong(number) => Value::Ulong(*number),
        MessageId::Uuid(bytes) => Value::Uuid(*bytes),
        MessageId::Binary(bytes) => Value::Binary(bytes.clone()),
        MessageId::String(text) => Value::String(text.clone()),
    }
}

fn map<'a>(out: &mut BytesMut, pairs: impl Iterator<Item = (Key<'a>, &'a Value)>) {
    let mut items = BytesMut::new();
    let mut count = 0;
    for (key, item) in pairs {
        match key {
            Key::Symbol(key) => variable(&mut items, 0xa3, key.as_bytes()),
            Key::String(key) => variable(&mut items, 0xa1, key.as_bytes()),
        }
        value(&mut items, item);
        count += 2;
    }
    compound(out, 0xc1, count, &items);
}

fn list(out: &mut BytesMut, items: &[Value]) {
    let mut encoded = BytesMut::new();
    items.iter().for_each(|item| value(&mut encoded, item));
    compound(out, 0xc0, items.len(), &encoded);
}

fn value(out: &mut BytesMut, item: &Value) {
    match item {
        Value::Null => out.put_u8(0x40),
        Value::Boolean(true) => out.put_u8(0x41),
        Value::Boolean(false) => out.put_u8(0x42),
        Value::Ubyte(number) => out.put_slice(&[0x50, *number]),
        Value::Ushort(number) => fixed(out, 0x60, &number.to_be_bytes()),
        Value::Uint(number) => fixed(out, 0x70, &number.to_be_bytes()),
        Value::Ulong(number) => fixed(out, 0x80, &number.to_be_bytes()),
        Value::Byte(number) => fixed(out, 0x51, &number.to_be_bytes()),
        Value::Short(number) => fixed(out, 0x61, &number.to_be_bytes()),
        Value::Int(number) => fixed(out, 0x71, &number.to_be_bytes()),
        Value::Long(number) => fixed(out, 0x81, &number.to_be_bytes()),
        Value::Float(number) => fixed(out, 0x72, &number.to_be_bytes()),
        Value::Double(number) => fixed(out, 0x82, &number.to_be_bytes()),
        Value::Decimal32(bytes) => fixed(out, 0x74, bytes),
        Value::Decimal64(bytes) => fixed(out, 0x84, bytes),
        Value::Decimal128(bytes) => fixed(out, 0x94, bytes),
        Value::Char(letter) => fixed(out, 0x73, &u32::from(*letter).to_be_bytes()),
        Value::Timestamp(time) => fixed(out, 0x83, &time.as_millis().to_be_bytes()),
        Value::Uuid(bytes) => fixed(out, 0x98, bytes),
        Value::Binary(bytes) => binary(out, bytes),
        Value::String(text) => variable(out, 0xa1, text.as_bytes()),
        Value::Symbol(text) => variable(out, 0xa3, text.as_bytes()),
        Value::List(items) => list(out, items),
        Value::Map(pairs) => {
            let mut encoded = BytesMut::new();
            for (key, item) in pairs {
                value(&mut encoded, key);
                value(&mut encoded, item);
            }
            compound(out, 0xc1, pairs.len() * 2, &encoded);
        }
        Value::Array(items) => array(out, items),
        Value::Described(described) => {
            out.put_u8(0x00);
            value(out, &described.0);
            value(out, &described.1);
        }
    }
}

/// The elements share the constructor of the first; one of another type, which no decoder makes, would have to
/// stand in a list, and so it does.
fn array(out: &mut BytesMut, items: &[Value]) {
    let mut elements = BytesMut::new();
    let mut constructor = None;
    for item in items {
        let mut element = BytesMut::new();
        wide(&mut element, item);
        let length = constructor_length(item);
        let own = element.split_to(length).freeze();
        if *constructor.get_or_insert_with(|| own.clone()) != own {
            return list(out, items);
        }
        elements.put(element);
    }
    let constructor = constructor.unwrap_or_else(|| Bytes::from_static(&[0x40]));
    let size = u32::try_from(4 + constructor.len() + elements.len()).unwrap_or(u32::MAX);
    out.put_u8(0xf0);
    out.put_u32(size);
    out.put_u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
    out.put(constructor);
    out.put(elements);
}

/// As [`value`], but always in the widest encoding, so that all values of a type have one constructor.
fn wide(out: &mut BytesMut, item: &Value) {
    match item {
        Value::Boolean(is) => out.put_slice(&[0x56, u8::from(*is)]),
        Value::Binary(bytes) => variable_wide(out, 0xb0, bytes),
        Value::String(text) => variable_wide(out, 0xb1, text.as_bytes()),
        Value::Symbol(text) => variable_wide(out, 0xb3, text.as_bytes()),
        Value::List(items) => {
            let mut encoded = BytesMut::new();
            items.iter().for_each(|item| value(&mut encoded, item));
            compound_wide(out, 0xd0, items.len(), &encoded);
        }
        Value::Map(pairs) => {
            let mut encoded = BytesMut::new();
            for (key, item) in pairs {
                value(&mut encoded, key);
                value(&mut encoded, item);
            }
            compound_wide(out, 0xd1, pairs.len() * 2, &encoded);
        }
        Value::Described(described) => {
            out.put_u8(0x00);
            value(out, &described.0);
            wide(out, &described.1);
        }
        other => value(out, other),
    }
}

fn constructor_length(item: &Value) -> usize {
    match item {
        Value::Described(described) => {
            let mut descriptor = BytesMut::new();
            value(&mut descriptor, &described.0);
            1 + descriptor.len() + constructor_length(&described.1)
        }
        _ => 1,
    }
}

fn fixed(out: &mut BytesMut, code: u8, bytes: &[u8]) {
    out.put_u8(code);
    out.put_slice(bytes);
}

fn binary(out: &mut BytesMut, bytes: &[u8]) {
    variable(out, 0xa0, bytes);
}

/// `code` is that of the form with a length of one byte.
fn variable(out: &mut BytesMut, code: u8, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => {
            out.put_slice(&[code, length]);
            out.put_slice(bytes);
        }
        Err(_) => variable_wide(out, code | 0x10, bytes),
    }
}

fn variable_wide(out: &mut BytesMut, code: u8, bytes: &[u8]) {
    out.put_u8(code);
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// `code` is that of the form with a size and a count of one byte each.
fn compound(out: &mut BytesMut, code: u8, count: usize, items: &[u8]) {
    match (u8::try_from(items.len() + 1), u8::try_from(count)) {
        (Ok(size), Ok(count)) => {
            out.put_slice(&[code, size, count]);
            out.put_slice(items);
        }
        _ => compound_wide(out, code | 0x10, count, items),
    }
}

fn compound_wide(out: &mut BytesMut, code: u8, count: usize, items: &[u8]) {
    out.put_u8(code);
    out.put_u32(u32::try_from(items.len() + 4).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
    out.put_slice(items);
}

const DELIVERY_ANNOTATIONS: u8 = 0x71;
const MESSAGE_ANNOTATIONS: u8 = 0x72;
const PROPERTIES: u8 = 0x73;
const APPLICATION_PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;
const AMQP_SEQUENCE: u8 = 0x76;
const AMQP_VALUE: u8 = 0x77;
/// About what the hub's annotations take, in bytes.
const ANNOTATIONS_SIZE: usize = 512;
/// How many fields the properties section has.
const PROPERTIES_FIELDS: usize = 13;

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
