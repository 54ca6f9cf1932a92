//! Links as IoT Hub serves them, seen in the frames: who may attach where, what is answered, what is settled and
//! how. Sources: AMQP 1.0 parts 2 and 3, Azure docs ("Communicate with your IoT hub by using the AMQP protocol"),
//! and what the SDKs rely on.

use std::sync::Arc;

use iothub_emulator::{
    Body, Emulator, Event, Keys, Message, MessageId, Notice, Rights, Status, Timestamp, Value, What,
};
use serde_amqp::Value as Wire;

use crate::common::{DEVICE, KEY, OTHER_KEY, builder, device, hub, key};
use crate::raw::*;

fn events(hub: &Emulator) -> Vec<Arc<Event>> {
    hub.journal().snapshot()
}

/// The outcome of a disposition: its descriptor's code, and for `rejected` the condition.
fn outcome(disposition: &Frame) -> (u64, Option<String>) {
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

const ACCEPTED: u64 = 0x24;
const REJECTED: u64 = 0x25;

#[tokio::test]
async fn an_attach_is_answered_with_its_own_source_and_target_and_credit_follows() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let address = "amqps://localhost:5671/devices/myFirstDevice/messages/events";
    raw.send(&frame(
        0,
        ATTACH,
        &attach_fields(3, "any name", false, "my source", address),
        b"",
    ))
    .await;
    let attach = raw.expect(ATTACH).await;
    assert_eq!(attach.field(0), &Wire::String("any name".into()));
    assert_eq!(attach.field(2), &Wire::Bool(true), "we are the receiver");
    assert!(format!("{:?}", attach.field(5)).contains("my source"));
    assert!(format!("{:?}", attach.field(6)).contains(address));
    assert_eq!(attach.field(10), &Wire::Ulong(1_048_576), "max-message-size");
    let flow = raw.expect(FLOW).await;
    let Wire::Uint(credit) = flow.field(6) else {
        panic!("no credit in {flow:?}")
    };
    assert!(*credit >= 100);
}

#[tokio::test]
async fn a_client_that_names_no_source_is_served_too() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let mut fields = attach_fields(0, "bare", false, "", &format!("devices/{DEVICE}/messages/events"));
    fields[5] = null();
    fields.truncate(7);
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
}

#[tokio::test]
async fn a_delivery_is_settled_with_an_explicit_outcome() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    raw.send(&transfer(0, false, false, &data(b"one"))).await;
    let disposition = raw.expect(DISPOSITION).await;
    assert_eq!(disposition.field(0), &Wire::Bool(true), "role: receiver");
    assert_eq!(disposition.field(1), &Wire::Uint(0));
    assert_eq!(disposition.field(3), &Wire::Bool(true), "settled");
    assert_eq!(outcome(&disposition), (ACCEPTED, None));
}

/// The next answer after settled transfers is for the unsettled one behind them.
#[tokio::test]
async fn a_settled_transfer_is_taken_without_an_answer() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    for id in 0..10 {
        raw.send(&transfer(id, true, false, &data(b"settled"))).await;
    }
    raw.send(&transfer(10, false, false, &data(b"not"))).await;
    let disposition = raw.expect(DISPOSITION).await;
    assert_eq!(disposition.field(1), &Wire::Uint(10));
    assert_eq!(events(&hub).len(), 11);
}

/// All in one write, up to the last frame, as clients do that send and go. On several threads, where the engine's
/// tasks end in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_settled_before_the_end_is_taken() {
    let hub = hub().await;
    let messages = || (0..200).flat_map(|id| transfer(id, true, false, &data(b"settled")));
    let (detach, end, close) = (
        frame(0, DETACH, &[uint(0), boolean(true)], b""),
        frame(0, END, &[], b""),
        frame(0, CLOSE, &[], b""),
    );
    let endings = [
        vec![],
        close.clone(),
        [end.clone(), close.clone()].concat(),
        [detach, end, close].concat(),
    ];
    let mut sent = 0;
    for ending in endings.iter().cycle().take(40) {
        let mut raw = Raw::attached(&hub).await;
        raw.send(&messages().chain(ending.iter().copied()).collect::<Vec<u8>>())
            .await;
        raw.finish().await;
        raw.drain().await;
        sent += 200;
    }
    let mut events = hub.journal().subscribe_from_start();
    for number in 0..sent {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), events.next()).await;
        assert!(
            matches!(next, Ok(Some(Notice::Entry(_)))),
            "{number} of {sent} were taken"
        );
    }
    hub.stop().await;
}

/// Twice the first credit: it must be topped up, for settled deliveries as for others.
#[tokio::test]
async fn credit_is_renewed_for_settled_and_unsettled_deliveries() {
    for settled in [true, false] {
        let hub = hub().await;
        let mut raw = Raw::attached(&hub).await;
        let mut credit = 200_u32;
        let mut sent = 0;
        while sent < 1000 {
            while credit > 0 && sent < 1000 {
                raw.send(&transfer(sent, settled, false, &data(b"x"))).await;
                sent += 1;
                credit -= 1;
            }
            while sent < 1000 && credit == 0 {
                let frame = raw.frame().await.unwrap();
                if frame.code == u64::from(FLOW) {
                    let (Wire::Uint(count), Wire::Uint(granted)) = (frame.field(5), frame.field(6)) else {
                        continue; // the session's own flow
                    };
                    credit = (count + granted).saturating_sub(sent);
                }
            }
        }
        drop(raw);
        hub.stop().await;
    }
}

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

#[tokio::test]
async fn an_unknown_address_is_answered_and_detached_with_the_hubs_json() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    for (handle, address) in (0..).zip([
        "nonsense",
        "",
        "/devices/myFirstDevice/messages",
        "/devices//messages/events",
    ]) {
        raw.attach(handle, &format!("link {handle}"), address).await;
        let (condition, description) = raw.refusal().await;
        assert_eq!(condition, "amqp:not-found");
        let json: serde_json::Value = serde_json::from_str(&description).unwrap();
        assert_eq!(json["errorCode"], 404_006);
        let text = format!("The link address '{address}' did not match any of the expected formats.");
        assert_eq!(json["message"], text);
        let tracking = json["trackingId"].as_str().unwrap();
        assert!(
            tracking.as_bytes()[..32].iter().all(u8::is_ascii_hexdigit) && tracking.contains("-TimeStamp:")
        );
        assert!(json["timestampUtc"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn a_device_never_acts_as_another() {
    let hub = builder()
        .device("other".parse().unwrap(), Keys::new(key(KEY), key(KEY)))
        .start()
        .await
        .unwrap();
    hub.register_module(device(), "module".parse().unwrap(), None)
        .await
        .unwrap();
    let mut raw = Raw::begun(&hub).await;
    let addresses = [
        "/devices/other/messages/events",
        "/devices/myfirstdevice/messages/events",
        "/devices/myFirstDevice/modules/module/messages/events",
        "/devices/nobody/messages/events",
    ];
    for (handle, address) in (0..).zip(addresses) {
        raw.attach(handle, address, address).await;
        assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access", "{address}");
    }
    let refused = |what: &What| matches!(what, What::LinkRefused { .. });
    assert_eq!(
        hub.activity()
            .snapshot()
            .iter()
            .filter(|entry| refused(&entry.what))
            .count(),
        4
    );
}

#[tokio::test]
async fn the_holder_of_a_device_policy_acts_as_any_device() {
    let rights = Rights::of_built_in("device").unwrap();
    let hub = builder()
        .policy_with(
            "device".parse().unwrap(),
            Keys::new(key(OTHER_KEY), key(OTHER_KEY)),
            rights,
        )
        .start()
        .await
        .unwrap();
    let mut raw = Raw::silent(&hub).await;
    let token = iothub_sas::Signer::new(key(OTHER_KEY)).policy("device").sign(
        "tcontehub.azure-devices.net",
        iothub_sas::UnixTime::from_secs(4_000_000_000),
    );
    assert_eq!(raw.plain("device@sas.root.tcontehub", token.expose()).await, 0);
    raw.exchange_open().await;
    raw.begin(0).await;
    raw.attach(0, "one", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    raw.expect(DISPOSITION).await;
    assert!(
        events(&hub)[0]
            .sender
            .auth_method
            .to_string()
            .starts_with(r#"{"scope":"hub","#)
    );
    raw.attach(1, "two", "/devices/nobody/messages/events").await;
    assert_eq!(raw.refusal().await.0, "amqp:not-found");
}

#[tokio::test]
async fn a_receiver_finds_nothing_to_receive_from_yet() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let address = format!("/devices/{DEVICE}/messages/events");
    raw.send(&frame(
        0,
        ATTACH,
        &attach_fields(0, "receiver", true, &address, "target"),
        b"",
    ))
    .await;
    assert_eq!(raw.refusal().await.0, "amqp:not-found");
}

#[tokio::test]
async fn a_second_link_of_one_name_ends_the_session_and_not_the_connection() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    raw.attach(1, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    let end = raw.expect(END).await;
    assert_eq!(end.error(0).0, "amqp:session:handle-in-use");
    raw.send(&frame(0, END, &[], b"")).await;
    raw.begin(1).await;
}

#[tokio::test]
async fn detach_end_and_close_are_answered() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    raw.send(&frame(0, DETACH, &[uint(0), boolean(true)], b"")).await;
    raw.expect(DETACH).await;
    raw.send(&frame(0, END, &[], b"")).await;
    raw.expect(END).await;
    raw.send(&frame(0, CLOSE, &[], b"")).await;
    raw.expect(CLOSE).await;
    assert!(raw.frame().await.is_none());
}

#[tokio::test]
async fn two_sessions_have_links_of_the_same_name_and_handle() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    raw.begin(5).await;
    raw.send(&attach(
        5,
        0,
        "telemetry",
        &format!("/devices/{DEVICE}/messages/events"),
    ))
    .await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
}

/// An extended header is legal (§2.3.1).
#[tokio::test]
async fn a_frame_with_an_extended_header_is_taken() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    let mut long = transfer(0, false, false, &data(b"x"));
    long[4] = 3;
    long.splice(8..8, [0; 4]);
    let size = u32::try_from(long.len()).unwrap();
    long[..4].copy_from_slice(&size.to_be_bytes());
    raw.send(&long).await;
    raw.expect(DISPOSITION).await;
}

#[tokio::test]
async fn a_device_that_is_disabled_or_removed_is_sent_away() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    hub.set_status(&device(), Status::Disabled).await.unwrap();
    let close = raw.expect(CLOSE).await;
    let (condition, description) = close.error(0);
    assert_eq!(condition, "amqp:connection:forced");
    assert!(description.contains("403012"), "{description}");
    raw.send(&frame(0, CLOSE, &[], b"")).await;
    assert!(raw.frame().await.is_none());

    hub.set_status(&device(), Status::Enabled).await.unwrap();
    let mut raw = Raw::attached(&hub).await;
    hub.remove(&device().into()).await.unwrap();
    assert!(raw.expect(CLOSE).await.error(0).1.contains("404001"));
}
