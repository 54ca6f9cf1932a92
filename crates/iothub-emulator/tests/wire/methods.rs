//! Direct methods over a device's pair of links (protocol §5.8).

use std::sync::Arc;
use std::time::Duration;

use iothub_emulator::{Emulator, HubError, ManualClock, MethodCall, MethodError, MethodResponse, Timestamp};
use serde_amqp::Value as Wire;

use crate::common::{builder, device, hub};
use crate::pairs::*;
use crate::raw::*;

const ADDRESS: &str = "/devices/myFirstDevice/methods/devicebound";

type Outcome = Result<MethodResponse, HubError>;

fn call(hub: &Arc<Emulator>, call: MethodCall) -> tokio::task::JoinHandle<Outcome> {
    let hub = Arc::clone(hub);
    tokio::spawn(async move { hub.call_method(device(), call).await })
}

/// An answer to the call with this id.
pub(crate) fn response(number: u32, id: &Wire, status: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let Wire::Uuid(id) = id else {
        panic!("the correlation-id is no uuid: {id:?}")
    };
    let bytes: [u8; 16] = id.clone().into_inner();
    let properties = [null(), null(), null(), null(), null(), uuid(&bytes)];
    let payload = [
        section(0x73, &list(&properties)),
        section(0x74, &map(&[(string("IoThub-status"), status)])),
        data(body),
    ];
    transfer(number, false, false, &payload.concat())
}

pub(crate) fn int(value: i32) -> Vec<u8> {
    [&[0x71][..], &value.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_call_reaches_the_device_and_its_answer_the_caller() {
    let hub = Arc::new(hub().await);
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, Some("methods:x")).await;
    let waiting = call(&hub, MethodCall::new("reboot").payload(r#"{"delay":5}"#));
    let (_, sections) = delivered(&mut raw).await;
    assert_eq!(
        entry(&sections, 0x74, "IoThub-methodname"),
        Some(Wire::String("reboot".into()))
    );
    assert_eq!(body(&sections), br#"{"delay":5}"#);
    // An answer to nobody's call, and one without a status, are dropped.
    let id = correlation(&sections);
    raw.send(&response(0, &Wire::Uuid([7; 16].into()), int(500), b""))
        .await;
    raw.send(&response(1, &id, null(), b"")).await;
    raw.send(&response(2, &id, int(201), b"{\"ok\":true}")).await;
    let answered = waiting.await.unwrap().unwrap();
    assert_eq!(
        (answered.status, &answered.payload[..]),
        (201, &br#"{"ok":true}"#[..])
    );
    // A second answer comes too late for anyone.
    raw.send(&response(3, &id, int(202), b"")).await;
    raw.expect_past_flows(DISPOSITION).await;
}

#[tokio::test]
async fn a_device_that_is_not_there_is_not_online_unless_it_comes_in_time() {
    let hub = Arc::new(hub().await);
    let refused = hub.call_method(device(), MethodCall::new("m")).await;
    assert!(matches!(
        refused,
        Err(HubError::Method(MethodError::NotOnline(_)))
    ));
    let waiting = call(
        &hub,
        MethodCall::new("m").connect_timeout(Duration::from_secs(300)),
    );
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, None).await;
    let (_, sections) = delivered(&mut raw).await;
    raw.send(&response(0, &correlation(&sections), int(200), b"null"))
        .await;
    assert_eq!(waiting.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn a_call_ends_with_its_time_and_with_the_devices_links() {
    let clock = ManualClock::new(Timestamp::from_seconds(1_700_000_000));
    let hub = builder().clock(clock.clone()).start().await.unwrap();
    let hub = Arc::new(hub);
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, None).await;
    let waiting = call(&hub, MethodCall::new("slow"));
    let (_, sections) = delivered(&mut raw).await;
    clock.advance(Duration::from_secs(30));
    let outcome = waiting.await.unwrap();
    assert!(
        matches!(outcome, Err(HubError::Method(MethodError::Timeout(_)))),
        "{outcome:?}"
    );
    raw.send(&response(0, &correlation(&sections), int(200), b""))
        .await;
    raw.expect_past_flows(DISPOSITION).await;

    let waiting = call(&hub, MethodCall::new("cut"));
    delivered(&mut raw).await;
    raw.send(&frame(0, DETACH, &[uint(1), boolean(true)], b"")).await;
    let outcome = waiting.await.unwrap();
    assert!(
        matches!(outcome, Err(HubError::Method(MethodError::Gone(_)))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn payloads_of_128_kb_go_both_ways_and_more_goes_neither() {
    let hub = Arc::new(hub().await);
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, None).await;
    let largest = vec![b'1'; 128 * 1024];
    let waiting = call(&hub, MethodCall::new("m").payload(largest.clone()));
    let mut payload = Vec::new();
    loop {
        let frame = raw.expect_past_flows(TRANSFER).await;
        payload.extend_from_slice(&frame.payload);
        if frame.field(5) != &Wire::Bool(true) {
            break;
        }
    }
    let sections = sections(&payload);
    assert_eq!(body(&sections), largest);
    let id = correlation(&sections);
    // In frames of at most 64 KiB.
    let Wire::Uuid(uuid_of) = &id else {
        panic!("{id:?}")
    };
    let bytes: [u8; 16] = uuid_of.clone().into_inner();
    let message = [
        section(
            0x73,
            &list(&[null(), null(), null(), null(), null(), uuid(&bytes)]),
        ),
        section(0x74, &map(&[(string("IoThub-status"), int(200))])),
        data(&largest),
    ]
    .concat();
    let pieces: Vec<_> = message.chunks(60_000).collect();
    for (place, piece) in pieces.iter().enumerate() {
        raw.send(&transfer(0, false, place + 1 < pieces.len(), piece))
            .await;
    }
    assert_eq!(waiting.await.unwrap().unwrap().payload.len(), 128 * 1024);
    let refused = hub
        .call_method(device(), MethodCall::new("m").payload(vec![b'1'; 128 * 1024 + 1]))
        .await;
    assert!(matches!(
        refused,
        Err(HubError::Method(MethodError::TooLarge { size: 131_073 }))
    ));
}
