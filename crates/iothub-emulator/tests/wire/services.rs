//! What services use of the hub over AMQP, frame by frame (protocol §6.1, §6.2).

use std::time::Duration;

use iothub_emulator::Emulator;
use iothub_sas::{Signer, UnixTime};
use serde_amqp::Value as Wire;

use crate::cbs::{CSHARP_TYPE, LATER, attach_pair, put};
use crate::common::{DEVICE, KEY, builder, device, key};
use crate::messages::outcome;
use crate::pairs::{delivered, entry, grant};
use crate::raw::*;

pub(crate) const FEEDBACK: &str = "/messages/serviceBound/feedback";

pub(crate) async fn hub_with_a_service() -> Emulator {
    builder()
        .policy("service".parse().unwrap(), key(KEY))
        .policy("registryRead".parse().unwrap(), key(KEY))
        .start()
        .await
        .unwrap()
}

pub(crate) fn policy_token(policy: &str) -> String {
    let signer = Signer::new(key(KEY)).policy(policy);
    let token = signer.sign("tcontehub.azure-devices.net", UnixTime::from_secs(LATER));
    token.expose().to_owned()
}

/// A service by PLAIN, as the C SDK comes; `begin` on channel 0.
pub(crate) async fn service(hub: &Emulator) -> Raw {
    let mut raw = Raw::silent(hub).await;
    let outcome = raw
        .plain("service@sas.root.tcontehub", &policy_token("service"))
        .await;
    assert_eq!(outcome, 0);
    raw.exchange_open().await;
    raw.begin(0).await;
    raw
}

/// A message to a device, as services write it.
pub(crate) fn command(to: &str, id: &str, ack: &str, body: &[u8]) -> Vec<u8> {
    [
        section(0x73, &list(&[string(id), null(), string(to)])),
        section(0x74, &map(&[(string("iothub-ack"), string(ack))])),
        data(body),
    ]
    .concat()
}

async fn attach_receiver(raw: &mut Raw, handle: u32, address: &str) {
    let fields = attach_fields(handle, &format!("receiver {handle}"), true, address, "here");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect_past_flows(ATTACH).await;
}

#[tokio::test]
async fn a_service_sends_to_a_device_at_each_address_and_hears_what_became_of_it() {
    let hub = hub_with_a_service().await;
    let to = format!("/devices/{DEVICE}/messages/devicebound");
    for (number, address) in (0..).zip([
        "/messages/devicebound",
        "messages/deviceBound",
        "amqps://localhost:5671/messages/deviceBound",
        "amqps://tcontehub.azure-devices.net/messages/devicebound",
    ]) {
        let mut raw = service(&hub).await;
        raw.attach(0, "commands", address).await;
        raw.expect(ATTACH).await;
        raw.expect(FLOW).await;
        raw.send(&transfer(0, false, false, &command(&to, "m", "none", b"hi")))
            .await;
        let disposition = raw.expect_past_flows(DISPOSITION).await;
        assert_eq!(outcome(&disposition), (0x24, None), "{address}");
        assert_eq!(hub.waiting_messages(device()).await.unwrap(), number + 1);
    }
    let mut raw = service(&hub).await;
    raw.attach(0, "commands", "/messages/devicebound").await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    let large = vec![b'x'; 70_000];
    for (number, (to, body, condition)) in (0..).zip([
        (
            "/devices/nobody/messages/devicebound",
            &b"hi"[..],
            "amqp:not-found",
        ),
        (&to, &large[..], "amqp:link:message-size-exceeded"),
    ]) {
        let message = command(to, "m", "none", body);
        let pieces: Vec<_> = message.chunks(60_000).collect();
        for (at, piece) in pieces.iter().enumerate() {
            raw.send(&transfer(number, false, at + 1 < pieces.len(), piece))
                .await;
        }
        let disposition = raw.expect_past_flows(DISPOSITION).await;
        let (code, why) = outcome(&disposition);
        assert_eq!(code, 0x25);
        assert!(why.unwrap().contains(condition), "{condition}");
    }
}

/// §6.1: the message to the byte, its tag of 16 bytes, and that it comes again until it is settled.
#[tokio::test]
async fn feedback_is_a_json_array_in_a_message_that_the_service_settles() {
    let hub = hub_with_a_service().await;
    let mut raw = service(&hub).await;
    attach_receiver(&mut raw, 0, FEEDBACK).await;
    grant(&mut raw, 0, 1).await;
    raw.attach(1, "commands", "/messages/devicebound").await;
    raw.expect_past_flows(ATTACH).await;
    let to = format!("/devices/{DEVICE}/messages/devicebound");
    let fields = [
        uint(1),
        uint(0),
        binary(b"tag!"),
        uint(0),
        boolean(false),
        boolean(false),
    ];
    raw.send(&frame(
        0,
        TRANSFER,
        &fields,
        &command(&to, "order-17", "negative", b"hi"),
    ))
    .await;
    raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(hub.purge_messages(device()).await.unwrap(), 1);
    assert!(raw.is_silent().await, "records gather for 15 seconds");
    hub.turn_clock(Duration::from_secs(15)).await.unwrap();
    let (transfer, sections) = delivered(&mut raw).await;
    let Wire::Binary(tag) = transfer.field(2) else {
        panic!("no tag")
    };
    assert_eq!(tag.len(), 16);
    assert_eq!(transfer.field(4), &Wire::Bool(false), "the service settles");
    assert!(matches!(
        entry(&sections, 0x72, "iothub-enqueuedtime"),
        Some(Wire::Timestamp(_))
    ));
    let Wire::List(properties) = &sections[1].1 else {
        panic!("no properties")
    };
    assert_eq!(
        properties[1],
        Wire::Binary(serde_amqp::primitives::Binary::from(b"tcontehub".to_vec()))
    );
    let kind = "application/vnd.microsoft.iothub.feedback.json";
    assert_eq!(properties[6], Wire::Symbol(kind.into()));
    let [.., (0x75, Wire::Binary(bytes))] = &sections[..] else {
        panic!("no data")
    };
    let records: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let [record] = &records.as_array().unwrap()[..] else {
        panic!("{records}")
    };
    let mut keys: Vec<_> = record.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "description",
            "deviceGenerationId",
            "deviceId",
            "enqueuedTimeUtc",
            "originalMessageId",
            "statusCode"
        ]
    );
    assert_eq!(record["originalMessageId"], "order-17");
    assert_eq!(
        (&record["statusCode"], &record["deviceId"]),
        (&"Purged".into(), &DEVICE.into())
    );
    // Not settled within a minute, it comes again, and is done with once it is.
    hub.turn_clock(Duration::from_secs(61)).await.unwrap();
    let flow = |seen: u32| {
        let fields = [
            uint(0),
            uint(5000),
            uint(0),
            uint(5000),
            uint(0),
            uint(seen),
            uint(1),
        ];
        frame(0, FLOW, &fields, b"")
    };
    raw.send(&flow(1)).await;
    let (again, _) = delivered(&mut raw).await;
    assert_ne!(again.field(2), transfer.field(2), "another lock");
    let Wire::Uint(id) = again.field(1) else {
        panic!("no id")
    };
    let state = described(0x24, &list(&[]));
    let fields = [boolean(true), uint(*id), null(), boolean(false), state];
    raw.send(&frame(0, DISPOSITION, &fields, b"")).await;
    let answer = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(answer.field(3), &Wire::Bool(true), "settled");
    raw.send(&flow(2)).await;
    hub.turn_clock(Duration::from_secs(120)).await.unwrap();
    assert!(raw.is_silent().await);
}

#[tokio::test]
async fn news_of_files_can_be_received_and_there_is_none() {
    let hub = hub_with_a_service().await;
    let mut raw = service(&hub).await;
    attach_receiver(&mut raw, 0, "/messages/serviceBound/filenotifications").await;
    grant(&mut raw, 0, 10).await;
    assert!(raw.is_silent().await);
    raw.send(&frame(0, DETACH, &[uint(0), boolean(true)], b"")).await;
    raw.expect_past_flows(DETACH).await;
}

#[tokio::test]
async fn a_policy_without_the_right_is_refused_at_the_link_however_it_came() {
    let hub = hub_with_a_service().await;
    let mut plain = Raw::silent(&hub).await;
    let outcome = plain
        .plain("registryRead@sas.root.tcontehub", &policy_token("registryRead"))
        .await;
    assert_eq!(outcome, 0);
    plain.exchange_open().await;
    plain.begin(0).await;
    let mut by_token = Raw::bare(&hub).await;
    attach_pair(&mut by_token).await;
    let token = policy_token("registryRead");
    assert_eq!(put(&mut by_token, 0, CSHARP_TYPE, &token).await.0, 200);
    for raw in [&mut plain, &mut by_token] {
        raw.attach(5, "commands", "/messages/devicebound").await;
        assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
        let fields = attach_fields(6, "feedback", true, FEEDBACK, "here");
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
    }
}

/// What services are done with does not come again, and what they are not does.
#[tokio::test]
async fn feedback_goes_on_from_the_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        builder()
            .state_dir(directory.path())
            .policy("service".parse().unwrap(), key(KEY))
            .start()
    };
    let to = format!("/devices/{DEVICE}/messages/devicebound");
    for run in 0..3 {
        let hub = start().await.unwrap();
        let mut raw = service(&hub).await;
        attach_receiver(&mut raw, 0, FEEDBACK).await;
        grant(&mut raw, 0, 1).await;
        if run == 0 {
            raw.attach(1, "commands", "/messages/devicebound").await;
            raw.expect_past_flows(ATTACH).await;
            let fields = [
                uint(1),
                uint(0),
                binary(b"tag!"),
                uint(0),
                boolean(false),
                boolean(false),
            ];
            raw.send(&frame(0, TRANSFER, &fields, &command(&to, "m", "full", b"hi")))
                .await;
            raw.expect_past_flows(DISPOSITION).await;
            hub.purge_messages(device()).await.unwrap();
        }
        hub.turn_clock(Duration::from_secs(15)).await.unwrap();
        if run == 2 {
            assert!(raw.is_silent().await);
        } else {
            let (transfer, _) = delivered(&mut raw).await;
            if run == 1 {
                let Wire::Uint(id) = transfer.field(1) else {
                    panic!("no id")
                };
                let state = described(0x24, &list(&[]));
                let fields = [boolean(true), uint(*id), null(), boolean(false), state];
                raw.send(&frame(0, DISPOSITION, &fields, b"")).await;
                raw.expect_past_flows(DISPOSITION).await;
            }
        }
        hub.stop().await;
    }
}
