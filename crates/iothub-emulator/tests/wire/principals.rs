//! Whom the tokens of a connection make of it: for how many, for what, and for how long. Sources as in `cbs`.

use std::time::Duration;

use iothub_emulator::{Keys, ManualClock, Rights, Status, Timestamp};
use iothub_sas::{Signer, UnixTime};

use crate::cbs::*;
use crate::common::{DEVICE, KEY, OTHER_KEY, builder, device, device_token, key, token};
use crate::messages::{ACCEPTED, events, outcome};
use crate::raw::*;

/// Many devices on one connection, a module, and none that was not put.
#[tokio::test]
async fn a_connection_acts_as_each_identity_that_was_put_and_as_no_other() {
    let other = "other".parse().unwrap();
    let hub = builder()
        .device(other, Keys::new(key(KEY), key(KEY)))
        .start()
        .await
        .unwrap();
    hub.register_module(
        device(),
        "m".parse().unwrap(),
        Keys::new(key(OTHER_KEY), key(OTHER_KEY)),
    )
    .await
    .unwrap();
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &device_token()).await.0, 200);
    let module = sign(OTHER_KEY, "localhost/devices/myFirstDevice/modules/m", LATER);
    assert_eq!(put(&mut raw, 1, NODE_TYPE, &module).await.0, 200);
    let paths = ["myFirstDevice", "myFirstDevice/modules/m"];
    for (handle, path) in (10..).zip(paths) {
        raw.attach(handle, path, &format!("/devices/{path}/messages/events"))
            .await;
        raw.expect(ATTACH).await;
        raw.expect(FLOW).await;
    }
    raw.attach(20, "other", "/devices/other/messages/events").await;
    assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_policys_token_acts_as_any_device_if_the_policy_may() {
    let policy = |name: &str| Rights::of_built_in(name).unwrap();
    let keys = || Keys::new(key(OTHER_KEY), key(OTHER_KEY));
    let hub = builder()
        .policy_with("device".parse().unwrap(), keys(), policy("device"))
        .policy_with("service".parse().unwrap(), keys(), policy("service"))
        .start()
        .await
        .unwrap();
    for (name, may) in [("device", true), ("service", false)] {
        let mut raw = Raw::bare(&hub).await;
        attach_pair(&mut raw).await;
        let token = Signer::new(key(OTHER_KEY))
            .policy(name)
            .sign("tcontehub.azure-devices.net", UnixTime::from_secs(LATER));
        assert_eq!(put(&mut raw, 0, CSHARP_TYPE, token.expose()).await.0, 200);
        if may {
            attach_telemetry(&mut raw).await;
        } else {
            raw.attach(TELEMETRY, "t", &format!("/devices/{DEVICE}/messages/events"))
                .await;
            assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
        }
    }
}

const START: u64 = 1_700_000_000;

/// With a clock that stands at `START`.
pub(crate) fn at_start() -> ManualClock {
    ManualClock::new(Timestamp::from_seconds(1_700_000_000))
}

#[tokio::test]
async fn renewal_keeps_the_links_and_expiry_detaches_them() {
    let clock = at_start();
    let hub = builder()
        .clock(clock.clone())
        .token_grace(Duration::from_secs(60))
        .start()
        .await
        .unwrap();
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    assert_eq!(
        put(&mut raw, 0, NODE_TYPE, &sign(KEY, OURS, START + 100)).await.0,
        200
    );
    attach_telemetry(&mut raw).await;

    // Renewed in time: past the first token's end and grace the link is there.
    clock.advance(Duration::from_secs(90));
    assert_eq!(
        put(&mut raw, 1, NODE_TYPE, &sign(KEY, OURS, START + 1000))
            .await
            .0,
        200
    );
    clock.advance(Duration::from_secs(200));
    raw.send(&telemetry(2)).await;
    raw.expect(DISPOSITION).await;

    // Ended, within the grace: what is open stays, nothing new is opened.
    clock.set(Timestamp::from_seconds(1_700_001_030));
    raw.send(&telemetry(3)).await;
    raw.expect(DISPOSITION).await;
    raw.attach(9, "late", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
    raw.send(&frame(0, DETACH, &[uint(9), boolean(true)], b"")).await;

    clock.set(Timestamp::from_seconds(1_700_001_061));
    let detach = raw.expect_past_flows(DETACH).await;
    let (condition, description) = detach.error(2);
    assert_eq!(condition, "amqp:unauthorized-access");
    assert!(description.contains("has expired"), "{description}");
    raw.send(&frame(0, DETACH, &[uint(TELEMETRY), boolean(true)], b""))
        .await;

    // The connection lives, and its $cbs.
    assert_eq!(
        put(&mut raw, 4, NODE_TYPE, &sign(KEY, OURS, START + 9000))
            .await
            .0,
        200
    );
    attach_telemetry(&mut raw).await;
    assert_eq!(events(&hub).len(), 2);
}

#[tokio::test]
async fn a_connection_by_plain_is_closed_when_its_token_has_ended() {
    let clock = at_start();
    let hub = builder().clock(clock.clone()).start().await.unwrap();
    let mut raw = Raw::silent(&hub).await;
    let user = format!("{DEVICE}@sas.tcontehub");
    assert_eq!(raw.plain(&user, &sign(KEY, OURS, START + 10)).await, 0);
    raw.exchange_open().await;
    clock.set(Timestamp::from_seconds(1_700_000_000 + 10 + 301));
    let (condition, description) = raw.expect(CLOSE).await.error(0);
    assert_eq!(condition, "amqp:unauthorized-access");
    assert!(description.contains("has expired"), "{description}");
}

/// Others on the same connection go on.
#[tokio::test]
async fn a_device_that_is_disabled_loses_its_links_only() {
    let other = "other".parse().unwrap();
    let hub = builder()
        .device(other, Keys::new(key(KEY), key(KEY)))
        .start()
        .await
        .unwrap();
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &device_token()).await.0, 200);
    let other = token("tcontehub.azure-devices.net/devices/other");
    assert_eq!(put(&mut raw, 1, NODE_TYPE, &other).await.0, 200);
    attach_telemetry(&mut raw).await;
    raw.attach(11, "other", "/devices/other/messages/events").await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    hub.set_status(&device(), Status::Disabled).await.unwrap();
    let (condition, description) = raw.expect_past_flows(DETACH).await.error(2);
    assert_eq!(condition, "amqp:unauthorized-access");
    assert!(description.contains("403012"), "{description}");
    let fields = [uint(11), uint(2), binary(b"t"), uint(0), boolean(false)];
    raw.send(&frame(0, TRANSFER, &fields, &data(b"x"))).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
}

#[tokio::test]
async fn the_thousandth_token_of_a_connection_is_refused() {
    let mut builder = builder();
    for number in 0..1000 {
        builder = builder.device(
            format!("d{number}").parse().unwrap(),
            Keys::new(key(KEY), key(KEY)),
        );
    }
    let hub = builder.start().await.unwrap();
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    let token = |number: u32| sign(KEY, &format!("localhost/devices/d{number}"), LATER);
    for number in 0..999 {
        assert_eq!(put(&mut raw, number, NODE_TYPE, &token(number)).await.0, 200);
    }
    let (status, description) = put(&mut raw, 999, NODE_TYPE, &token(999)).await;
    assert_eq!(status, 403);
    assert!(
        description.contains("amqp:resource-limit-exceeded"),
        "{description}"
    );
    assert_eq!(
        put(&mut raw, 1000, NODE_TYPE, &token(0)).await.0,
        200,
        "a renewal is none more"
    );
}
