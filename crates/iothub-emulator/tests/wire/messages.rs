//! Messages as the hub takes them: bodies, properties, sizes, batches, and what it says of those that are wrong.
//! Sources as in `links`.

use std::sync::Arc;

use iothub_emulator::{Body, Emulator, Event, Message, MessageId, Timestamp, Value};
use serde_amqp::Value as Wire;

use crate::common::{DEVICE, builder, hub};
use crate::raw::*;

pub(crate) fn events(hub: &Emulator) -> Vec<Arc<Event>> {
    hub.journal().snapshot()
}

/// The outcome of a disposition: its descriptor's code, and for `rejected` the condition.
pub(crate) fn outcome(disposition: &Frame) -> (u64, Option<String>) {
    let Wire::Described(state) = disposition.field(4) else {
        panic!("no state in {disposition:?}")
    };
    let serde_amqp::descriptor::Descriptor::Code(code) = state.descriptor else {
        panic!("{disposition:?}")
    };
    let Wire::List(fields) = &state.value else {
        panic!("{disposition:?}")
    };
    let condition = fields.first().and_then(|error| match error {
        Wire::Described(error) => match &error.value {
            Wire::List(error) => Some(format!("{:?}", error[0])),
            _ => None,
        },
        _ => None,
    });
    (
        code,
        condition.map(|text| text.replace(['"', '(', ')'], "").replace("SymbolSymbol", "")),
    )
}

pub(crate) const ACCEPTED: u64 = 0x24;
pub(crate) const REJECTED: u64 = 0x25;

#[tokio::test]
async fn every_kind_of_body_is_taken() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    let bodies = [
        data(b"bytes"),
        [data(b"two "), data(b"sections")].concat(),
        section(0x77, &string("Hello World!")),
        section(0x77, &binary(b"bytes in a value")),
        [
            section(0x76, &list(&[uint(1)])),
            section(0x76, &list(&[uint(2), null()])),
        ]
        .concat(),
        section(0x73, &list(&[])),
    ];
    for (id, body) in (0..).zip(&bodies) {
        raw.send(&transfer(id, false, false, body)).await;
        assert_eq!(outcome(&raw.expect(DISPOSITION).await).0, ACCEPTED);
    }
    let taken: Vec<Body> = events(&hub)
        .iter()
        .map(|event| event.message.body.clone())
        .collect();
    assert_eq!(
        taken,
        [
            Body::Data(b"bytes"[..].into()),
            Body::Data(b"two sections"[..].into()),
            Body::Value("Hello World!".into()),
            Body::Value(Value::Binary(b"bytes in a value"[..].into())),
            Body::Sequence(vec![vec![Value::Uint(1)], vec![Value::Uint(2), Value::Null]]),
            Body::Empty,
        ]
    );
}

#[tokio::test]
async fn properties_and_annotations_arrive_with_their_types() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    let uuid = [&[0x98][..], &[7; 16]].concat();
    let time = |millis: i64| [&[0x83][..], &millis.to_be_bytes()].concat();
    let properties = list(&[
        uuid,
        binary(b"user"),
        string("to"),
        string("subject"),
        string("reply"),
        [&[0x80][..], &9_u64.to_be_bytes()].concat(),
        symbol("application/json"),
        string("utf-8"), // as a string, though the standard says symbol
        time(1_700_000_000_123),
        time(1_600_000_000_000),
        string("group"),
        uint(4),
        string("reply group"),
    ]);
    let message = [
        section(0x70, &list(&[boolean(true)])),
        section(0x72, &map(&[(symbol("dt-subject"), string("thermostat"))])),
        section(0x73, &properties),
        section(
            0x74,
            &map(&[(string("level"), vec![0x54, 0xff]), (string("on"), boolean(true))]),
        ),
        data(b"{}"),
        section(0x78, &map(&[])),
    ]
    .concat();
    raw.send(&transfer(0, false, false, &message)).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await).0, ACCEPTED);

    let event = &events(&hub)[0];
    let Message {
        properties,
        application_properties,
        annotations,
        encoded_size,
        ..
    } = &event.message;
    assert_eq!(properties.message_id, Some(MessageId::Uuid([7; 16])));
    assert_eq!(properties.user_id.as_deref(), Some(&b"user"[..]));
    assert_eq!(properties.to.as_deref(), Some("to"));
    assert_eq!(properties.correlation_id, Some(MessageId::Ulong(9)));
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(
        properties.absolute_expiry_time,
        Some(Timestamp::from_millis(1_700_000_000_123))
    );
    assert_eq!(
        properties.creation_time,
        Some(Timestamp::from_millis(1_600_000_000_000))
    );
    assert_eq!(properties.group_sequence, Some(4));
    let expected = [
        ("level".to_owned(), Value::Int(-1)),
        ("on".to_owned(), Value::Boolean(true)),
    ];
    assert_eq!(application_properties[..], expected);
    assert_eq!(annotations[..], [("dt-subject".to_owned(), "thermostat".into())]);
    assert_eq!(*encoded_size, message.len());
}

/// The keys and types are those of the docs on reading device-to-cloud messages from the built-in endpoint.
#[tokio::test]
async fn the_hub_stamps_who_sent_an_event_and_when() {
    let clock = iothub_emulator::ManualClock::new(Timestamp::from_seconds(1_700_000_000));
    // The tokens of these tests end an hour from the real now, which is later than that.
    let hub = builder().clock(clock).start().await.unwrap();
    let mut raw = Raw::attached(&hub).await;
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    raw.expect(DISPOSITION).await;
    let event = &events(&hub)[0];
    let stamped = event.annotations();
    let get = |key: &str| {
        stamped
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.clone())
    };
    let at = Timestamp::from_seconds(1_700_000_000);
    assert_eq!(get("iothub-connection-device-id"), Some(DEVICE.into()));
    assert_eq!(get("iothub-connection-module-id"), None);
    assert_eq!(
        get("iothub-connection-auth-method"),
        Some(r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#.into())
    );
    assert!(matches!(get("iothub-connection-auth-generation-id"), Some(Value::String(id)) if !id.is_empty()));
    assert_eq!(get("iothub-enqueuedtime"), Some(Value::Timestamp(at)));
    assert_eq!(get("iothub-message-source"), Some("Telemetry".into()));
    assert_eq!(get("x-opt-sequence-number"), Some(Value::Long(0)));
    assert_eq!(get("x-opt-offset"), Some("0".into()));
    assert_eq!(get("x-opt-enqueued-time"), Some(Value::Timestamp(at)));
}

#[tokio::test]
async fn a_message_over_256_kb_is_rejected_and_the_link_lives() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    let too_large = data(&[7; 256 * 1024]);
    send_in_pieces(&mut raw, 0, &too_large).await;
    let disposition = raw.expect(DISPOSITION).await;
    assert_eq!(
        outcome(&disposition),
        (REJECTED, Some("amqp:link:message-size-exceeded".into()))
    );
    // Eight bytes of section around it: this one is 256 KB to the byte.
    send_in_pieces(&mut raw, 1, &data(&[7; 256 * 1024 - 8])).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
    assert_eq!(events(&hub)[0].message.encoded_size, 256 * 1024);
}

#[tokio::test]
async fn a_message_over_1_mb_ends_the_link() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    send_in_pieces(&mut raw, 0, &data(&vec![7; 1024 * 1024 + 1])).await;
    let detach = raw.expect(DETACH).await;
    assert_eq!(detach.error(2).0, "amqp:link:message-size-exceeded");
}

async fn send_in_pieces(raw: &mut Raw, id: u32, message: &[u8]) {
    let pieces = message.chunks(60_000);
    let last = pieces.len() - 1;
    for (place, piece) in pieces.enumerate() {
        raw.send(&transfer(id, false, place < last, piece)).await;
    }
}

#[tokio::test]
async fn an_aborted_delivery_leaves_nothing() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    raw.send(&transfer(0, false, true, &data(b"half"))).await;
    let aborted = [
        uint(0),
        null(),
        null(),
        null(),
        null(),
        boolean(false),
        null(),
        null(),
        null(),
        boolean(true),
    ];
    raw.send(&frame(0, TRANSFER, &aborted, b"")).await;
    raw.send(&transfer(1, false, false, &data(b"whole"))).await;
    assert_eq!(raw.expect(DISPOSITION).await.field(1), &Wire::Uint(1));
    assert_eq!(events(&hub).len(), 1);
}

#[tokio::test]
async fn a_malformed_message_is_rejected_and_the_link_lives() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    let malformed: [(&str, Vec<u8>); 8] = [
        ("nothing", vec![]),
        ("no section", vec![0xff, 0xff]),
        ("a section cut short", data(b"body")[..6].to_vec()),
        ("an unknown section", section(0x79, &null())),
        ("properties that are no list", section(0x73, &string("x"))),
        (
            "a body before its properties",
            [data(b"x"), section(0x73, &list(&[]))].concat(),
        ),
        ("a map with an odd count", section(0x74, b"\xc1\x03\x01\xa1\x00")),
        ("a string that is no text", section(0x77, b"\xa1\x01\xff")),
    ];
    for (id, (name, message)) in (0..).zip(&malformed) {
        raw.send(&transfer(id, false, false, message)).await;
        let disposition = raw.expect(DISPOSITION).await;
        assert_eq!(
            outcome(&disposition),
            (REJECTED, Some("amqp:decode-error".into())),
            "{name}"
        );
    }
    raw.send(&transfer(100, false, false, &data(b"well formed")))
        .await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await).0, ACCEPTED);
    assert_eq!(events(&hub).len(), 1);
}

/// Message format 0x80013700: what the C and C# SDKs send.
#[tokio::test]
async fn a_batch_becomes_its_events_and_has_one_outcome() {
    const BATCH: u32 = 0x8001_3700;
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    let inner = |text: &str| {
        let properties = section(0x74, &map(&[(string("text"), string(text))]));
        [properties, data(text.as_bytes())].concat()
    };
    let batch: Vec<u8> = ["one", "two", "three"]
        .iter()
        .flat_map(|text| data(&inner(text)))
        .collect();
    raw.send(&transfer_format(0, BATCH, false, false, &batch)).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await).0, ACCEPTED);
    let bodies: Vec<Body> = events(&hub)
        .iter()
        .map(|event| event.message.body.clone())
        .collect();
    assert_eq!(
        bodies,
        ["one", "two", "three"].map(|text| Body::Data(text.into()))
    );

    // One message that is none spoils the batch: it has one outcome.
    let spoilt = [data(&inner("four")), data(b"not a message")].concat();
    raw.send(&transfer_format(1, BATCH, false, false, &spoilt)).await;
    assert_eq!(
        outcome(&raw.expect(DISPOSITION).await),
        (REJECTED, Some("amqp:decode-error".into()))
    );
    assert_eq!(events(&hub).len(), 3);
}
