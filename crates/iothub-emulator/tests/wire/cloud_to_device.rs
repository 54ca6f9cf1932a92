//! Cloud-to-device messages as a device gets them, in the frames (protocol §5.6; AMQP 1.0 parts 2 and 3).

use std::time::Duration;

use iothub_emulator::{Ack, CloudMessage, CloudToDevice, Emulator, Fate, Notice};
use serde_amqp::Value as Wire;

use crate::common::{DEVICE, builder, device, hub};
use crate::pairs::sections;
use crate::raw::*;

const ADDRESS: &str = "/devices/myFirstDevice/messages/devicebound";
/// Outcomes (§3.4).
pub(crate) const ACCEPTED: u8 = 0x24;
const REJECTED: u8 = 0x25;
pub(crate) const RELEASED: u8 = 0x26;
const MODIFIED: u8 = 0x27;

/// Attaches a receiver with handle 0 and reads the answer.
pub(crate) async fn receiver(raw: &mut Raw, settle_second: bool) -> Frame {
    let mut fields = attach_fields(0, "receiver", true, ADDRESS, "target");
    if settle_second {
        fields[4] = vec![0x50, 1];
    }
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect(ATTACH).await
}

/// Credit for the link with handle 0, whose deliveries up to `count` have been seen.
pub(crate) fn credit(count: u32, credit: u32, drain: bool) -> Vec<u8> {
    let fields = [
        uint(0),
        uint(5000),
        uint(0),
        uint(5000),
        uint(0),
        uint(count),
        uint(credit),
        null(),
        boolean(drain),
    ];
    frame(0, FLOW, &fields, b"")
}

pub(crate) fn disposition(id: &Wire, settled: bool, outcome: u8) -> Vec<u8> {
    let Wire::Uint(id) = id else { panic!("{id:?}") };
    let state = described(outcome, &list(&[]));
    frame(
        0,
        DISPOSITION,
        &[boolean(true), uint(*id), null(), boolean(settled), state],
        b"",
    )
}

pub(crate) async fn received(raw: &mut Raw) -> Frame {
    raw.expect_past_flows(TRANSFER).await
}

pub(crate) fn delivery_count(transfer: &Frame) -> u8 {
    let text = format!("{:?}", sections(&transfer.payload)[0].1);
    let (_, count) = text.split_once("iothub-deliverycount").unwrap();
    let digits: String = count
        .chars()
        .skip_while(|letter| !letter.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

async fn fate(hub: &Emulator) -> Fate {
    let next = async { hub.feedback().subscribe_from_start().next().await };
    match tokio::time::timeout(Duration::from_secs(10), next).await {
        Ok(Some(Notice::Entry(feedback))) => feedback.fate,
        other => panic!("{other:?}"),
    }
}

fn message() -> CloudMessage {
    CloudMessage::new("hi").id("m1").property("p", "v").ack(Ack::Full)
}

#[tokio::test]
async fn a_message_arrives_with_a_tag_of_16_bytes_and_the_hubs_annotations() {
    let hub = hub().await;
    hub.send_to_device(device(), message()).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    let attach = receiver(&mut raw, false).await;
    assert_eq!(attach.field(4), &Wire::Null, "rcv-settle-mode: first, by default");
    raw.send(&credit(0, 1, false)).await;
    let transfer = received(&mut raw).await;
    let Wire::Binary(tag) = transfer.field(2) else {
        panic!("no tag")
    };
    assert_eq!(tag.len(), 16);
    assert_eq!(transfer.field(3), &Wire::Uint(0), "message-format");
    assert_eq!(transfer.field(4), &Wire::Bool(false), "settled");
    let sections = sections(&transfer.payload);
    let codes: Vec<u64> = sections.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0x72, 0x73, 0x74, 0x75]);
    let annotations = format!("{:?}", sections[0].1);
    for (key, kind) in [
        ("x-opt-lock-token", "String"),
        ("x-opt-sequence-number", "Ulong(1)"),
        ("iothub-enqueuedtime", "Timestamp"),
        ("iothub-deliverycount", "Ubyte(0)"),
    ] {
        let (_, behind) = annotations.split_once(key).unwrap();
        let value = behind.split_once(key).map_or(behind, |(first, _)| first);
        assert!(value[..60.min(value.len())].contains(kind), "{key}: {value}");
    }
    let Wire::List(properties) = &sections[1].1 else {
        panic!("no properties")
    };
    assert_eq!(properties[0], Wire::String("m1".into()));
    assert_eq!(properties[2], Wire::String(ADDRESS.into()));
    let application = format!("{:?}", sections[2].1);
    assert!(
        application.contains("iothub-ack") && application.contains("full"),
        "{application}"
    );
    assert_eq!(
        sections[3].1,
        Wire::Binary(serde_amqp::primitives::Binary::from(b"hi".to_vec()))
    );
    raw.send(&disposition(transfer.field(1), true, ACCEPTED)).await;
    assert_eq!(fate(&hub).await, Fate::Success);
    assert_eq!(hub.waiting_messages(device()).await.unwrap(), 0);
}

/// C# settles so: it says what became of the delivery and waits for the hub to settle it.
#[tokio::test]
async fn an_unsettled_outcome_is_answered_with_the_same_and_settled() {
    for outcome in [ACCEPTED, REJECTED, RELEASED, MODIFIED] {
        let hub = hub().await;
        hub.send_to_device(device(), message()).await.unwrap();
        let mut raw = Raw::begun(&hub).await;
        let attach = receiver(&mut raw, true).await;
        assert_eq!(attach.field(4), &Wire::Ubyte(1), "it has its way: second");
        raw.send(&credit(0, 1, false)).await;
        let transfer = received(&mut raw).await;
        raw.send(&disposition(transfer.field(1), false, outcome)).await;
        let answer = raw.expect_past_flows(DISPOSITION).await;
        assert_eq!(answer.field(0), &Wire::Bool(false), "role: sender");
        assert_eq!(answer.field(1), transfer.field(1));
        assert_eq!(answer.field(3), &Wire::Bool(true), "settled");
        let state = format!("{:?}", answer.field(4));
        assert!(state.contains(&format!("Code({outcome})")), "{state}");
        let left = usize::from(matches!(outcome, RELEASED | MODIFIED));
        assert_eq!(hub.waiting_messages(device()).await.unwrap(), left);
        // A second time it is not there any more, and that is answered too.
        raw.send(&disposition(transfer.field(1), false, outcome)).await;
        let answer = raw.expect_past_flows(DISPOSITION).await;
        assert!(format!("{:?}", answer.field(4)).contains("amqp:not-found"));
    }
}

#[tokio::test]
async fn an_abandoned_message_comes_again_with_a_higher_count_and_in_the_end_no_more() {
    let hub = builder()
        .cloud_to_device(CloudToDevice::default().max_delivery_count(3))
        .start()
        .await
        .unwrap();
    hub.send_to_device(device(), message()).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    receiver(&mut raw, false).await;
    raw.send(&credit(0, 100, false)).await;
    for round in 0..3 {
        let transfer = received(&mut raw).await;
        assert_eq!(delivery_count(&transfer), round);
        raw.send(&disposition(transfer.field(1), true, RELEASED)).await;
    }
    assert_eq!(fate(&hub).await, Fate::DeliveryCountExceeded);
}

/// With a lock of no time each delivery comes too late to be settled.
#[tokio::test]
async fn an_outcome_after_the_lock_was_lost_is_answered_with_not_found() {
    let hub = builder()
        .cloud_to_device(
            CloudToDevice::default()
                .lock(Duration::ZERO)
                .max_delivery_count(1),
        )
        .start()
        .await
        .unwrap();
    hub.send_to_device(device(), message()).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    receiver(&mut raw, true).await;
    raw.send(&credit(0, 1, false)).await;
    let transfer = received(&mut raw).await;
    assert_eq!(fate(&hub).await, Fate::DeliveryCountExceeded);
    raw.send(&disposition(transfer.field(1), false, ACCEPTED)).await;
    let answer = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(answer.field(3), &Wire::Bool(true));
    let state = format!("{:?}", answer.field(4));
    assert!(
        state.contains("Code(37)") && state.contains("amqp:not-found") && state.contains("412002"),
        "{state}"
    );
}

#[tokio::test]
async fn no_more_is_sent_than_the_client_takes_whether_or_not_it_drains() {
    let hub = hub().await;
    for _ in 0..4 {
        hub.send_to_device(device(), message()).await.unwrap();
    }
    let mut raw = Raw::begun(&hub).await;
    receiver(&mut raw, false).await;
    raw.send(&credit(0, 1, false)).await;
    received(&mut raw).await;
    // Nothing more goes: the next frame is the answer to the end of another session.
    raw.begin(1).await;
    raw.send(&frame(1, END, &[], b"")).await;
    raw.expect(END).await;
    // Three at once with a drain: the rest goes first or the credit is used up, as §2.6.7 has it.
    raw.send(&credit(1, 1, false)).await;
    let second = received(&mut raw).await;
    assert_eq!(second.field(1), &Wire::Uint(1));
    raw.send(&credit(2, 10, true)).await;
    let flow = raw.expect(FLOW).await;
    assert_eq!((flow.field(5), flow.field(6)), (&Wire::Uint(12), &Wire::Uint(0)));
    raw.send(&credit(12, 1, false)).await;
    let third = received(&mut raw).await;
    assert_eq!(third.field(1), &Wire::Uint(2));
    raw.send(&credit(13, 1, false)).await;
    received(&mut raw).await;
}

#[tokio::test]
async fn a_second_receiver_takes_over_and_the_first_is_told() {
    let hub = hub().await;
    hub.send_to_device(device(), message()).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    receiver(&mut raw, false).await;
    raw.send(&credit(0, 1, false)).await;
    received(&mut raw).await;
    let fields = attach_fields(1, "another", true, ADDRESS, "target");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    let frames = [raw.frame().await.unwrap(), raw.frame().await.unwrap()];
    let detach = frames
        .iter()
        .find(|frame| frame.code == u64::from(DETACH))
        .unwrap();
    assert_eq!(detach.field(1), &Wire::Bool(true), "closed");
    assert_eq!(detach.error(2).0, "amqp:link:stolen");
    assert!(frames.iter().any(|frame| frame.code == u64::from(ATTACH)));
    let flow = frame(
        0,
        FLOW,
        &[
            uint(1),
            uint(5000),
            uint(0),
            uint(5000),
            uint(1),
            uint(0),
            uint(1),
        ],
        b"",
    );
    raw.send(&flow).await;
    let transfer = received(&mut raw).await;
    assert_eq!(delivery_count(&transfer), 1);
}

/// §2.7.1: frames are no larger than the client takes.
#[tokio::test]
async fn a_large_message_is_split_to_the_clients_frames() {
    let hub = hub().await;
    let body = vec![b'x'; 60_000];
    hub.send_to_device(device(), CloudMessage::new(body.clone()))
        .await
        .unwrap();
    let mut raw = Raw::admitted(&hub).await;
    raw.send(AMQP).await;
    assert_eq!(raw.header().await, *AMQP);
    raw.send(&frame(
        0,
        OPEN,
        &[string("raw"), string("localhost"), uint(512)],
        b"",
    ))
    .await;
    raw.expect(OPEN).await;
    raw.begin(0).await;
    receiver(&mut raw, false).await;
    raw.send(&credit(0, 1, false)).await;
    let mut payload = Vec::new();
    loop {
        let transfer = received(&mut raw).await;
        let first = payload.is_empty();
        assert_eq!(matches!(transfer.field(2), Wire::Binary(_)), first, "the tag");
        payload.extend_from_slice(&transfer.payload);
        assert!(transfer.payload.len() < 512);
        if transfer.field(5) != &Wire::Bool(true) {
            break;
        }
    }
    assert!(payload.ends_with(&body));
    assert_eq!(sections(&payload).len(), 3);
}

#[tokio::test]
async fn a_device_receives_nobody_elses_messages() {
    let hub = hub().await;
    hub.register_device("other".parse().unwrap(), None).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    let address = "/devices/other/messages/devicebound";
    raw.send(&frame(0, ATTACH, &attach_fields(0, "r", true, address, "t"), b""))
        .await;
    assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
    // And it does not send where it receives.
    raw.attach(1, "s", &format!("/devices/{DEVICE}/messages/devicebound"))
        .await;
    assert_eq!(raw.refusal().await.0, "amqp:not-found");
}
