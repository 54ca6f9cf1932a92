//! Links as IoT Hub serves them, seen in the frames: who may attach where, what is answered, what is settled and
//! how. Sources: AMQP 1.0 parts 2 and 3, Azure docs ("Communicate with your IoT hub by using the AMQP protocol"),
//! and what the SDKs rely on.

use iothub_emulator::{Keys, Notice, Rights, Status, What};
use serde_amqp::Value as Wire;

use crate::common::{DEVICE, KEY, OTHER_KEY, builder, device, hub, key};
use crate::messages::{ACCEPTED, events, outcome};
use crate::raw::*;

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
