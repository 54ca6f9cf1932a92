//! One device on two connections, and who is there (protocol §7.4 and §12, row 17).

use std::time::Duration;

use iothub_emulator::{CloudMessage, ConnectionState, Emulator, Presence, What};
use serde_amqp::Value as Wire;

use crate::cbs::{NODE_TYPE, TELEMETRY, attach_pair, attach_telemetry, put, telemetry};
use crate::certificates::Credential;
use crate::common::{DEVICE, builder, device, device_token, hub};
use crate::messages::{ACCEPTED, outcome};
use crate::principals::at_start;
use crate::raw::*;

const COMMANDS: &str = "/devices/myFirstDevice/messages/devicebound";

/// A connection by `$cbs`, with a telemetry link.
async fn by_cbs(hub: &Emulator) -> Raw {
    let mut raw = Raw::bare(hub).await;
    attach_pair(&mut raw).await;
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &device_token()).await.0, 200);
    attach_telemetry(&mut raw).await;
    raw
}

/// A message over the link with this handle is accepted.
async fn sends(raw: &mut Raw, handle: u32, id: u32) {
    let fields = [uint(handle), uint(id), binary(&id.to_be_bytes()), uint(0)];
    raw.send(&frame(0, TRANSFER, &fields, &data(b"x"))).await;
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(outcome(&disposition), (ACCEPTED, None));
}

async fn presence(hub: &Emulator) -> Presence {
    hub.presence(device()).await.unwrap()
}

/// Ready when the device is there or not, as wanted: the hub hears of a link's end behind the client.
async fn becomes(hub: &Emulator, state: ConnectionState) -> Presence {
    let waiting = async {
        loop {
            let presence = presence(hub).await;
            if presence.state == state {
                return presence;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("the presence does not change")
}

#[tokio::test]
async fn a_connection_by_plain_is_closed_when_its_device_comes_again() {
    let hub = hub().await;
    let mut older = Raw::attached(&hub).await;
    let mut newer = Raw::attached(&hub).await;
    let close = older.expect_past_flows(CLOSE).await;
    let (condition, text) = close.error(0);
    assert_eq!(condition, "amqp:connection:forced");
    assert!(text.contains("400027"), "{text}");
    sends(&mut newer, 0, 0).await;
    assert_eq!(presence(&hub).await.state, ConnectionState::Connected);
    let activities = hub.activity().snapshot();
    let taken = activities
        .iter()
        .find(|entry| matches!(&entry.what, What::TakenOver { by: 2, .. }));
    assert_eq!(taken.unwrap().connection, 1);
}

#[tokio::test]
async fn a_device_that_came_by_cbs_has_its_links_detached_as_stolen_when_it_comes_again() {
    let hub = hub().await;
    let mut older = by_cbs(&hub).await;
    let mut newer = by_cbs(&hub).await;
    let detach = older.expect_past_flows(DETACH).await;
    assert_eq!(detach.field(0), &Wire::Uint(TELEMETRY));
    assert_eq!(detach.field(1), &Wire::Bool(true), "closed");
    let (condition, text) = detach.error(2);
    assert_eq!(condition, "amqp:link:stolen");
    assert!(text.contains("400027"), "{text}");
    sends(&mut newer, TELEMETRY, 1).await;
    // The connection lives, with its token: as the older comes back it is the newer.
    older
        .send(&frame(0, DETACH, &[uint(TELEMETRY), boolean(true)], b""))
        .await;
    attach_telemetry(&mut older).await;
    older.send(&telemetry(2)).await;
    let disposition = older.expect_past_flows(DISPOSITION).await;
    assert_eq!(outcome(&disposition), (ACCEPTED, None));
    assert_eq!(
        newer.expect_past_flows(DETACH).await.error(2).0,
        "amqp:link:stolen"
    );
}

#[tokio::test]
async fn a_connection_by_certificate_is_closed_when_its_device_comes_again() {
    let credential = Credential::self_signed("anything");
    let hub = builder()
        .device("x509".parse().unwrap(), credential.thumbprints())
        .start()
        .await
        .unwrap();
    let mut older = credential.bare(&hub).await;
    crate::certificates::send(&mut older, "x509").await;
    let mut newer = credential.bare(&hub).await;
    crate::certificates::send(&mut newer, "x509").await;
    let close = older.expect_past_flows(CLOSE).await;
    assert_eq!(close.error(0).0, "amqp:connection:forced");
}

/// What the older had and had not settled goes to the newer.
#[tokio::test]
async fn a_receiver_on_another_connection_takes_over_with_what_was_not_settled() {
    let hub = hub().await;
    hub.send_to_device(device(), CloudMessage::new("hi"))
        .await
        .unwrap();
    let (mut older, mut newer) = (by_cbs(&hub).await, Raw::begun(&hub).await);
    for (raw, handle) in [(&mut older, 3), (&mut newer, 3)] {
        let fields = attach_fields(handle, "commands", true, COMMANDS, "target");
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        raw.expect_past_flows(ATTACH).await;
        crate::pairs::grant(raw, handle, 1).await;
        let transfer = raw.expect_past_flows(TRANSFER).await;
        assert!(transfer.payload.ends_with(b"hi"));
    }
    let mut told = Vec::new();
    for _ in 0..2 {
        let detach = older.expect_past_flows(DETACH).await;
        assert_eq!(detach.error(2).0, "amqp:link:stolen");
        told.push((detach.field(0).clone(), detach.error(2).1));
    }
    let receiver = told.iter().find(|(handle, _)| *handle == Wire::Uint(3));
    let text = &receiver.unwrap().1;
    assert!(
        text.contains("Another AMQP Client has opened a Receive Link"),
        "{text}"
    );
}

#[tokio::test]
async fn a_device_and_its_module_on_two_connections_do_not_disturb_each_other() {
    let hub = crate::modules::hub().await;
    let mut device_side = Raw::attached(&hub).await;
    let mut module_side = crate::modules::begun(&hub).await;
    crate::certificates::send(&mut module_side, crate::modules::PATH).await;
    sends(&mut device_side, 0, 0).await;
    sends(&mut module_side, 0, 1).await;
    for identity in [crate::modules::PATH, DEVICE] {
        let identity: iothub_address::Identity = identity.parse().unwrap();
        let presence = hub.presence(identity).await.unwrap();
        assert_eq!(presence.state, ConnectionState::Connected);
    }
}

/// C# closes its twin by closing the links of it; its telemetry link stays (protocol §12, row 17).
#[tokio::test]
async fn a_device_is_connected_until_its_last_link_has_gone_and_its_times_are_the_hubs() {
    let clock = at_start();
    let start = iothub_emulator::Clock::now(&clock);
    let hub = builder().clock(clock.clone()).start().await.unwrap();
    let never = presence(&hub).await;
    assert_eq!((never.state_updated, never.last_activity), (None, None));
    assert_eq!(never.state.as_str(), "Disconnected");
    let mut raw = Raw::silent(&hub).await;
    let token = crate::cbs::sign(crate::common::KEY, crate::cbs::OURS, crate::cbs::LATER);
    assert_eq!(raw.plain(&format!("{DEVICE}@sas.tcontehub"), &token).await, 0);
    raw.start().await;
    raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    let twin = format!("/devices/{DEVICE}/twin");
    for (handle, receives) in [(1, false), (2, true)] {
        crate::pairs::attach_half(&mut raw, handle, receives, &twin, Some("twin:x")).await;
        raw.expect_past_flows(ATTACH).await;
    }
    let there = presence(&hub).await;
    assert_eq!(there.state.as_str(), "Connected");
    assert_eq!(
        (there.state_updated, there.last_activity),
        (Some(start), Some(start))
    );
    for handle in [1, 2] {
        raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
            .await;
        raw.expect_past_flows(DETACH).await;
    }
    clock.advance(Duration::from_secs(60));
    sends(&mut raw, 0, 0).await;
    let later = start + Duration::from_secs(60);
    let there = presence(&hub).await;
    assert_eq!(there.state, ConnectionState::Connected);
    assert_eq!(
        (there.state_updated, there.last_activity),
        (Some(start), Some(later))
    );
    clock.advance(Duration::from_secs(60));
    raw.send(&frame(0, DETACH, &[uint(0), boolean(true)], b"")).await;
    let gone = becomes(&hub, ConnectionState::Disconnected).await;
    assert_eq!(gone.state_updated, Some(later + Duration::from_secs(60)));
    assert_eq!(gone.last_activity, Some(later));
}
