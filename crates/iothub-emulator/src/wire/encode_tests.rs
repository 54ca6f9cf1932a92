//! What is written can be read: by our decoder, and by the AMQP library's, which is another's work.

use fe2o3_amqp_types::messaging::message::__private::Deserializable;
use fe2o3_amqp_types::messaging::{Body as WireBody, Message as WireMessage};
use fe2o3_amqp_types::primitives::Value as WireValue;

use super::*;
use crate::clock::Timestamp;
use crate::wire::decode;

fn every_value() -> Vec<Value> {
    let long = "x".repeat(300);
    vec![
        Value::Null,
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Ubyte(200),
        Value::Ushort(60_000),
        Value::Uint(0),
        Value::Uint(4_000_000_000),
        Value::Ulong(u64::MAX),
        Value::Byte(-100),
        Value::Short(-30_000),
        Value::Int(-2),
        Value::Long(i64::MIN),
        Value::Float(1.5),
        Value::Double(-2.25),
        Value::Decimal32([1; 4]),
        Value::Decimal64([2; 8]),
        Value::Decimal128([3; 16]),
        Value::Char('ß'),
        Value::Timestamp(Timestamp::from_millis(1_700_000_000_123)),
        Value::Uuid([4; 16]),
        Value::Binary(Bytes::from_static(b"bytes")),
        Value::Binary(Bytes::from(vec![7; 300])),
        Value::String("text".to_owned()),
        Value::String(long.clone()),
        Value::Symbol("symbol".to_owned()),
        Value::Symbol(long.clone()),
        Value::List(vec![Value::Int(1), Value::String(long.clone())]),
        Value::List(Vec::new()),
        Value::Map(vec![(Value::Symbol("k".to_owned()), Value::Long(1))]),
        Value::Array(vec![Value::String("a".to_owned()), Value::String(long)]),
        Value::Array(vec![Value::Boolean(true), Value::Boolean(false)]),
        Value::Described(Box::new((Value::Symbol("d".to_owned()), Value::Int(3)))),
    ]
}

fn whole() -> Message {
    Message {
        properties: Properties {
            message_id: Some(MessageId::Ulong(1)),
            user_id: Some(Bytes::from_static(b"hub")),
            to: Some("/devices/d/messages/devicebound".to_owned()),
            subject: Some("s".to_owned()),
            reply_to: Some("r".to_owned()),
            correlation_id: Some(MessageId::Uuid([9; 16])),
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            absolute_expiry_time: Some(Timestamp::from_millis(5)),
            creation_time: Some(Timestamp::from_millis(-5)),
            group_id: Some("g".to_owned()),
            group_sequence: Some(8),
            reply_to_group_id: Some("rg".to_owned()),
        },
        application_properties: every_value()
            .into_iter()
            .enumerate()
            .map(|(place, value)| (format!("p{place}"), value))
            .collect(),
        annotations: every_value()
            .into_iter()
            .enumerate()
            .map(|(place, value)| (format!("a{place}"), value))
            .collect(),
        body: Body::Data(Bytes::from_static(b"body")),
        ..Message::default()
    }
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let bodies = [
        Body::Data(Bytes::from(vec![1; 70_000])),
        Body::Value(Value::String("v".to_owned())),
        Body::Sequence(vec![every_value(), vec![Value::Null]]),
    ];
    for body in bodies {
        let written = Message { body, ..whole() };
        let read = decode::message(&message(&written)).unwrap();
        assert_eq!(read.properties, written.properties);
        assert_eq!(read.application_properties, written.application_properties);
        assert_eq!(read.annotations, written.annotations);
        assert_eq!(read.body, written.body);
    }
}

#[test]
fn properties_end_with_the_last_that_is_there() {
    let some = Message {
        properties: Properties {
            to: Some("t".to_owned()),
            ..Properties::default()
        },
        ..Message::default()
    };
    // §3.2.4: message-id and user-id null, `to` a string; then an empty data section.
    let expected = [
        0x00, 0x53, 0x73, 0xc0, 6, 3, 0x40, 0x40, 0xa1, 1, b't', 0x00, 0x53, 0x75, 0xa0, 0,
    ];
    assert_eq!(message(&some)[..], expected);
}

#[test]
fn another_decoder_reads_it_too() {
    // It takes simple values only for application properties (§3.2.5).
    let simple = Message {
        application_properties: vec![("p".to_owned(), Value::Int(5))],
        ..whole()
    };
    let bytes = message(&simple);
    let read: Deserializable<WireMessage<WireBody<WireValue>>> = serde_amqp::from_slice(&bytes).unwrap();
    let read = read.0;
    let properties = read.properties.unwrap();
    assert_eq!(properties.to.as_deref(), Some("/devices/d/messages/devicebound"));
    assert_eq!(properties.group_sequence, Some(8));
    assert_eq!(
        properties
            .content_type
            .map(|symbol| symbol.to_string())
            .as_deref(),
        Some("application/json")
    );
    let annotations = read.message_annotations.unwrap();
    assert_eq!(annotations.0.len(), every_value().len());
    assert_eq!(read.application_properties.unwrap().0.len(), 1);
    let WireBody::Data(data) = read.body else {
        panic!("another body")
    };
    assert_eq!(data[0].0[..], b"body"[..]);
}
