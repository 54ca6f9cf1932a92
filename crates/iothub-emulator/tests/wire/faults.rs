//! Faults on the wire, by the library and by the properties of messages. What each does stands in the protocol
//! reference, §11.

use std::time::Duration;

use iothub_emulator::{CloseReason, Emulator, Fault, FaultError, FaultKind, HubError, What};
use serde_amqp::Value as Wire;

use crate::cbs::{NODE_TYPE, TELEMETRY, attach_pair, attach_telemetry, put, put_token, telemetry};
use crate::common::{DEVICE, builder, device, device_token, hub};
use crate::messages::{ACCEPTED, REJECTED, events, outcome};
use crate::principals::at_start;
use crate::raw::*;

pub(crate) const DETACH_FORCED: &str = "amqp:link:detach-forced";
pub(crate) const COMMANDS: u32 = 3;
const BATCH: u32 = 0x8001_3700;

/// A connection of the device by `$cbs`, with its telemetry link, all in session 0.
pub(crate) async fn connected(hub: &Emulator) -> Raw {
    let mut raw = Raw::bare(hub).await;
    attach_pair(&mut raw).await;
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &device_token()).await.0, 200);
    attach_telemetry(&mut raw).await;
    let address = format!("/devices/{DEVICE}/messages/devicebound");
    let fields = attach_fields(COMMANDS, "commands", true, &address, "here");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect(ATTACH).await;
    raw
}

/// The four properties, as the C# SDK's tests write them.
pub(crate) fn asking(kind: &str, reason: &str, delay: &str, duration: &str) -> Vec<u8> {
    let pairs = [
        ("AzIoTHub_FaultOperationType", kind),
        ("AzIoTHub_FaultOperationCloseReason", reason),
        ("AzIoTHub_FaultOperationDelayInSecs", delay),
        ("AzIoTHub_FaultOperationDurationInSecs", duration),
    ];
    let pairs: Vec<_> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (string(name), string(value)))
        .collect();
    section(0x74, &map(&pairs))
}

pub(crate) fn message_asking(id: u32, properties: &[u8]) -> Vec<u8> {
    let fields = [
        uint(TELEMETRY),
        uint(id),
        binary(&id.to_be_bytes()),
        uint(0),
        boolean(false),
    ];
    frame(0, TRANSFER, &fields, &[properties, &data(b"fault")].concat())
}

/// Sends a message that asks for the fault, and sees it acknowledged.
async fn ask_for(raw: &mut Raw, kind: &str, reason: &str) {
    raw.send(&message_asking(1, &asking(kind, reason, "0", ""))).await;
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(outcome(&disposition), (ACCEPTED, None), "{kind} {reason}");
}

pub(crate) fn lasting(kind: FaultKind) -> Fault {
    Fault::new(kind).duration(Duration::from_secs(30))
}

#[tokio::test]
async fn kill_tcp_resets_the_connection_after_the_message_was_acknowledged() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    ask_for(&mut raw, "KillTcp", "boom").await;
    assert_eq!(
        raw.end().await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
    assert_eq!(events(&hub).len(), 1);
}

#[tokio::test]
async fn kill_tcp_with_byebye_ends_tls_and_tcp_in_their_own_way() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    ask_for(&mut raw, "KillTcp", "byebye").await;
    // rustls gives an error for an end without close_notify.
    raw.end().await.unwrap();
}

#[tokio::test]
async fn cut_tls_ends_the_connection_without_a_word_of_tls() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    hub.inject(Fault::new(FaultKind::CutTls).of(device()))
        .await
        .unwrap();
    assert_eq!(
        raw.end().await.unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
}

#[tokio::test]
async fn kill_amqp_connection_closes_it() {
    for (reason, condition) in [("boom", Some("amqp:connection:forced")), ("byebye", None)] {
        let hub = hub().await;
        let mut raw = connected(&hub).await;
        ask_for(&mut raw, "KillAmqpConnection", reason).await;
        assert_error(&raw.expect_past_flows(CLOSE).await, 0, condition);
    }
}

#[tokio::test]
async fn kill_amqp_session_ends_it_and_the_connection_lives() {
    for (reason, condition) in [("boom", Some("amqp:internal-error")), ("byebye", None)] {
        let hub = hub().await;
        let mut raw = connected(&hub).await;
        ask_for(&mut raw, "KillAmqpSession", reason).await;
        assert_error(&raw.expect_past_flows(END).await, 0, condition);
        raw.send(&frame(0, END, &[], b"")).await;
        raw.begin(1).await;
    }
}

#[tokio::test]
async fn each_kind_that_kills_a_link_detaches_that_one_and_no_other() {
    let kinds = [
        ("KillAmqpD2CLink", TELEMETRY),
        ("KillAmqpC2DLink", COMMANDS),
        ("KillAmqpCBSLinkReq", 0),
        ("KillAmqpCBSLinkResp", 1),
    ];
    for (kind, handle) in kinds {
        for (reason, condition) in [("boom", Some(DETACH_FORCED)), ("byebye", None)] {
            let hub = hub().await;
            let mut raw = connected(&hub).await;
            ask_for(&mut raw, kind, reason).await;
            let detach = raw.expect_past_flows(DETACH).await;
            assert_eq!(detach.field(0), &Wire::Uint(handle), "{kind}");
            assert_eq!(detach.field(1), &Wire::Bool(true), "closed");
            assert_error(&detach, 2, condition);
            raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
                .await;
            // The session lives, and so do the other links; the one may come back.
            raw.begin(1).await;
            if handle == TELEMETRY {
                attach_telemetry(&mut raw).await;
            }
            raw.send(&telemetry(2)).await;
            assert_eq!(
                outcome(&raw.expect_past_flows(DISPOSITION).await),
                (ACCEPTED, None)
            );
        }
    }
}

#[tokio::test]
async fn what_is_invoked_refuses_messages_with_its_condition_for_its_time() {
    let kinds = [
        (
            "InvokeThrottling",
            "com.microsoft:device-container-throttled",
            "429001",
        ),
        ("InvokeMaxMessageQuota", "amqp:resource-limit-exceeded", "403002"),
        ("InvokeAuthError", "amqp:unauthorized-access", "401002"),
    ];
    for (kind, condition, code) in kinds {
        let hub = hub().await;
        let mut raw = connected(&hub).await;
        let properties = asking(kind, "boom", "1", "10");
        raw.send(&message_asking(1, &properties)).await;
        assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
        // It has not begun.
        raw.send(&telemetry(2)).await;
        assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
        hub.turn_clock(Duration::from_secs(1)).await.unwrap();
        raw.send(&telemetry(3)).await;
        let disposition = raw.expect(DISPOSITION).await;
        assert_eq!(outcome(&disposition), (REJECTED, Some(condition.to_owned())));
        assert!(format!("{disposition:?}").contains(code), "{disposition:?}");
        hub.turn_clock(Duration::from_secs(10)).await.unwrap();
        raw.send(&telemetry(4)).await;
        assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
        assert_eq!(events(&hub).len(), 3, "{kind}");
    }
}

#[tokio::test]
async fn an_auth_error_refuses_links_and_tokens_too() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    hub.inject(lasting(FaultKind::InvokeAuthError).of(device()))
        .await
        .unwrap();
    assert_eq!(put(&mut raw, 1, NODE_TYPE, &device_token()).await.0, 401);
    raw.attach(9, "again", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn shut_down_amqp_closes_everyone_and_who_comes_while_it_lasts() {
    let hub = hub().await;
    let mut ours = connected(&hub).await;
    let mut other = Raw::bare(&hub).await;
    let properties = asking("ShutDownAmqp", "byebye", "", "5");
    ours.send(&message_asking(1, &properties)).await;
    assert_eq!(outcome(&ours.expect(DISPOSITION).await), (ACCEPTED, None));
    for raw in [&mut ours, &mut other] {
        assert_error(
            &raw.expect_past_flows(CLOSE).await,
            0,
            Some("amqp:connection:forced"),
        );
    }
    let mut early = Raw::admitted(&hub).await;
    early.exchange_open().await;
    assert_error(&early.expect(CLOSE).await, 0, Some("amqp:connection:forced"));
    hub.turn_clock(Duration::from_secs(5)).await.unwrap();
    connected(&hub).await;
}

#[tokio::test]
async fn shut_down_mqtt_is_acknowledged_and_does_nothing() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    ask_for(&mut raw, "ShutDownMqtt", "boom").await;
    raw.send(&telemetry(2)).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
}

/// As the C SDK, which sends nothing but batches.
#[tokio::test]
async fn of_a_batch_the_outer_messages_properties_count() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    let asking = asking("KillAmqpD2CLink", "boom", "", "");
    let fields = |id: u32| {
        [
            uint(TELEMETRY),
            uint(id),
            binary(&id.to_be_bytes()),
            uint(BATCH),
            boolean(false),
        ]
    };
    let inner = data(&[asking.clone(), data(b"x")].concat());
    raw.send(&frame(0, TRANSFER, &fields(1), &inner)).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
    let outer = [asking, data(&data(b"x"))].concat();
    raw.send(&frame(0, TRANSFER, &fields(2), &outer)).await;
    let disposition = raw.expect(DISPOSITION).await;
    assert_eq!(disposition.field(1), &Wire::Uint(2), "the first did nothing");
    raw.expect_past_flows(DETACH).await;
}

#[tokio::test]
async fn a_message_that_asks_for_what_is_no_fault_is_rejected() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    for (id, properties) in (1..).zip([
        asking("KillUdp", "", "", ""),
        asking("KillTcp", "bang", "", ""),
        asking("KillTcp", "boom", "soon", ""),
        asking("StopReading", "", "", ""),
    ]) {
        raw.send(&message_asking(id, &properties)).await;
        let disposition = raw.expect(DISPOSITION).await;
        let expected = (REJECTED, Some("com.microsoft:argument-error".to_owned()));
        assert_eq!(outcome(&disposition), expected);
    }
    assert_eq!(events(&hub).len(), 0);
}

#[tokio::test]
async fn a_fault_of_one_device_leaves_others_alone() {
    let other = "other".parse().unwrap();
    let hub = builder().device(other, None).start().await.unwrap();
    let mut raw = connected(&hub).await;
    let other: iothub_address::DeviceId = "other".parse().unwrap();
    for kind in FaultKind::ALL {
        if kind != FaultKind::ShutDownAmqp {
            hub.inject(lasting(kind).of(other.clone())).await.unwrap();
        }
    }
    raw.send(&telemetry(1)).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
    assert_eq!(put(&mut raw, 2, NODE_TYPE, &device_token()).await.0, 200);
    let stranger: iothub_address::DeviceId = "stranger".parse().unwrap();
    let unknown = hub.inject(lasting(FaultKind::KillTcp).of(stranger)).await;
    assert!(matches!(unknown, Err(HubError::Registry(_))));
}

/// Of each of the three levels.
#[tokio::test]
async fn what_is_killed_for_a_while_is_killed_again_when_it_comes_back() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    let stolen = lasting(FaultKind::KillAmqpD2cLink)
        .of(device())
        .condition("amqp:link:stolen");
    hub.inject(stolen).await.unwrap();
    for _ in 0..3 {
        let detach = raw.expect_past_flows(DETACH).await;
        assert_eq!(detach.error(2).0, "amqp:link:stolen");
        raw.send(&frame(0, DETACH, &[uint(TELEMETRY), boolean(true)], b""))
            .await;
        raw.attach(TELEMETRY, "again", &format!("/devices/{DEVICE}/messages/events"))
            .await;
        raw.expect(ATTACH).await;
    }
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    raw.expect_past_flows(DETACH).await;
    raw.send(&frame(0, DETACH, &[uint(TELEMETRY), boolean(true)], b""))
        .await;
    attach_telemetry(&mut raw).await;

    hub.inject(lasting(FaultKind::KillTcp).of(device()))
        .await
        .unwrap();
    assert!(raw.end().await.is_err());
    for _ in 0..2 {
        let mut raw = Raw::bare(&hub).await;
        attach_pair(&mut raw).await;
        let message = put_token(&ulong(1), NODE_TYPE, &device_token());
        raw.send(&transfer(0, true, false, &message)).await;
        assert_eq!(
            raw.end().await.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
    }
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    connected(&hub).await;
    let struck = |what: &What| matches!(what, What::Struck { .. });
    assert!(hub.activity().snapshot().iter().any(|entry| struck(&entry.what)));
}

#[tokio::test]
async fn tokens_are_refused_with_any_status_and_swallowed() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    for (number, status) in (0..).zip([401, 404, 500]) {
        let fault = lasting(FaultKind::RefusePutToken { status }).of(device());
        hub.inject(fault).await.unwrap();
        assert_eq!(put(&mut raw, number, NODE_TYPE, &device_token()).await.0, status);
        hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    }
    hub.inject(lasting(FaultKind::SwallowPutToken).of(device()))
        .await
        .unwrap();
    raw.send(&transfer(
        3,
        false,
        false,
        &put_token(&ulong(3), NODE_TYPE, &device_token()),
    ))
    .await;
    // Settled, and that is all. It has been taken: the next thing is the answer to the attach.
    assert_eq!(
        outcome(&raw.expect_past_flows(DISPOSITION).await),
        (ACCEPTED, None)
    );
    attach_telemetry(&mut raw).await;
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    assert_eq!(put(&mut raw, 4, NODE_TYPE, &device_token()).await.0, 200);
}

#[tokio::test]
async fn outcomes_are_told_late_or_never() {
    // On a slow machine the real clock would turn by more than the test does.
    let hub = builder().clock(at_start()).start().await.unwrap();
    let mut raw = connected(&hub).await;
    let by = Duration::from_secs(7);
    let late = Fault::new(FaultKind::DelaySettlement { by }).duration(Duration::from_secs(5));
    hub.inject(late).await.unwrap();
    raw.send(&telemetry(1)).await;
    taken(&hub, 1).await;
    hub.turn_clock(Duration::from_millis(6999)).await.unwrap();
    raw.begin(1).await;
    hub.turn_clock(Duration::from_millis(1)).await.unwrap();
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(disposition.field(1), &Wire::Uint(1));

    hub.inject(Fault::new(FaultKind::WithholdSettlement).of(device()))
        .await
        .unwrap();
    raw.send(&telemetry(2)).await;
    taken(&hub, 2).await;
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    raw.send(&telemetry(3)).await;
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(disposition.field(1), &Wire::Uint(3), "2 was never settled");
}

async fn taken(hub: &Emulator, count: usize) {
    let mut feed = hub.journal().subscribe_from_start();
    for _ in 0..count {
        feed.next().await;
    }
}

#[tokio::test]
async fn links_get_no_credit_until_the_fault_ends() {
    let hub = hub().await;
    hub.inject(lasting(FaultKind::WithholdCredit)).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    let flow = raw.expect(FLOW).await;
    assert_eq!(
        (flow.field(4), flow.field(6)),
        (&Wire::Uint(0), &Wire::Uint(0)),
        "handle and credit"
    );
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    let flow = raw.expect(FLOW).await;
    assert_eq!(
        (flow.field(4), flow.field(6)),
        (&Wire::Uint(0), &Wire::Uint(200)),
        "handle and credit"
    );
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
}

#[tokio::test]
async fn sessions_get_no_window_until_the_fault_ends() {
    let hub = hub().await;
    hub.inject(lasting(FaultKind::CloseWindow)).await.unwrap();
    let mut raw = Raw::open(&hub).await;
    let begin = raw.begin(0).await;
    assert_eq!(begin.field(2), &Wire::Uint(0), "incoming-window");
    raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    let flow = raw.expect(FLOW).await;
    assert_eq!(flow.field(1), &Wire::Uint(0), "incoming-window");
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    assert_eq!(raw.expect(FLOW).await.field(1), &Wire::Uint(5000));
}

#[tokio::test]
async fn a_hub_that_says_nothing_takes_what_it_hears_and_says_it_later() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    hub.inject(lasting(FaultKind::StopWriting).of(device()))
        .await
        .unwrap();
    raw.send(&telemetry(1)).await;
    taken(&hub, 1).await;
    assert!(raw.is_silent().await);
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    assert_eq!(
        outcome(&raw.expect_past_flows(DISPOSITION).await),
        (ACCEPTED, None)
    );
}

#[tokio::test]
async fn a_hub_that_does_not_read_reads_on_when_the_fault_ends() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    hub.inject(lasting(FaultKind::StopReading).of(device()))
        .await
        .unwrap();
    raw.send(&telemetry(1)).await;
    assert!(raw.is_silent().await);
    assert_eq!(events(&hub).len(), 0);
    hub.turn_clock(Duration::from_secs(30)).await.unwrap();
    assert_eq!(
        outcome(&raw.expect_past_flows(DISPOSITION).await),
        (ACCEPTED, None)
    );
}

#[tokio::test]
async fn faults_are_bounded_and_checked() {
    let hub = hub().await;
    let endless = Fault::new(FaultKind::KillTcp).delay(Duration::from_secs(86_401));
    assert!(matches!(
        hub.inject(endless).await,
        Err(HubError::Fault(FaultError::TooLong))
    ));
    for _ in 0..1024 {
        let later = Fault::new(FaultKind::KillTcp).delay(Duration::from_secs(1));
        hub.inject(later.reason(CloseReason::Byebye)).await.unwrap();
    }
    let one_more = hub.inject(Fault::new(FaultKind::KillTcp)).await;
    assert!(matches!(one_more, Err(HubError::Fault(FaultError::TooMany))));
    hub.turn_clock(Duration::from_secs(1)).await.unwrap();
    hub.inject(Fault::new(FaultKind::KillTcp)).await.unwrap();
}

/// A hub stops though answers are held back, and all its tasks end.
#[tokio::test]
async fn a_hub_with_faults_stops() {
    let hub = hub().await;
    let mut raw = connected(&hub).await;
    let by = Duration::from_secs(3600);
    hub.inject(Fault::new(FaultKind::DelaySettlement { by }))
        .await
        .unwrap();
    raw.send(&telemetry(1)).await;
    taken(&hub, 1).await;
    hub.inject(lasting(FaultKind::StopWriting)).await.unwrap();
    hub.inject(lasting(FaultKind::StopReading)).await.unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(15), hub.stop()).await;
    stopped.expect("the hub does not stop");
}

pub(crate) fn assert_error(frame: &Frame, place: usize, condition: Option<&str>) {
    match condition {
        Some(condition) => assert_eq!(frame.error(place).0, condition),
        None => assert_eq!(frame.field(place), &Wire::Null),
    }
}
