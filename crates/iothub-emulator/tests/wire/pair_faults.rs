//! Faults of the links that come in pairs, twin and methods, and of the one for messages to the device (protocol
//! §11).

use std::time::Duration;

use iothub_emulator::FaultKind;
use serde_amqp::Value as Wire;

use crate::cbs::telemetry;
use crate::common::{DEVICE, builder, device, hub};
use crate::faults::{COMMANDS, DETACH_FORCED, asking, assert_error, connected, lasting, message_asking};
use crate::messages::{ACCEPTED, outcome};
use crate::pairs::{attach_half, delivered, entry, pair};
use crate::principals::at_start;
use crate::raw::*;

/// After its delay, as often as it comes back while the fault lasts, and no longer (protocol §11).
#[tokio::test]
async fn each_kind_that_kills_one_link_does_so_after_its_delay_and_for_its_time() {
    let twin = format!("/devices/{DEVICE}/twin");
    let methods = format!("/devices/{DEVICE}/methods/devicebound");
    let commands = format!("/devices/{DEVICE}/messages/devicebound");
    let kinds = [
        ("KillAmqpTwinLinkReq", &twin, 4),
        ("KillAmqpTwinLinkResp", &twin, 5),
        ("KillAmqpMethodReqLink", &methods, 5),
        ("KillAmqpMethodRespLink", &methods, 4),
        ("KillAmqpC2DLink", &commands, COMMANDS),
    ];
    for (kind, address, handle) in kinds {
        for (reason, condition) in [("boom", Some(DETACH_FORCED)), ("byebye", None)] {
            // Its time goes only when it is turned.
            let hub = builder().clock(at_start()).start().await.unwrap();
            let mut raw = connected(&hub).await;
            let receives = handle != 4;
            let pair = if handle == COMMANDS { &twin } else { address };
            for (handle, half) in [(4, false), (5, true)] {
                attach_half(&mut raw, handle, half, pair, Some("pair")).await;
                raw.expect_past_flows(ATTACH).await;
            }
            raw.send(&message_asking(1, &asking(kind, reason, "10", "20")))
                .await;
            let disposition = raw.expect_past_flows(DISPOSITION).await;
            assert_eq!(outcome(&disposition), (ACCEPTED, None), "{kind} {reason}");
            // Not before its time: the answer to this comes first.
            hub.turn_clock(Duration::from_secs(9)).await.unwrap();
            raw.begin(1).await;
            hub.turn_clock(Duration::from_secs(1)).await.unwrap();
            for _ in 0..2 {
                let detach = raw.expect_past_flows(DETACH).await;
                assert_eq!(detach.field(0), &Wire::Uint(handle), "{kind}");
                assert_eq!(detach.field(1), &Wire::Bool(true), "closed");
                assert_error(&detach, 2, condition);
                raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
                    .await;
                attach_half(&mut raw, handle, receives, address, Some("pair")).await;
                raw.expect_past_flows(ATTACH).await;
            }
            raw.expect_past_flows(DETACH).await;
            raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
                .await;
            hub.turn_clock(Duration::from_secs(20)).await.unwrap();
            attach_half(&mut raw, handle, receives, address, Some("pair")).await;
            raw.expect_past_flows(ATTACH).await;
            // It stays, and so do the others.
            raw.begin(2).await;
            raw.send(&telemetry(2)).await;
            assert_eq!(
                outcome(&raw.expect_past_flows(DISPOSITION).await),
                (ACCEPTED, None)
            );
        }
    }
}

#[tokio::test]
async fn what_is_invoked_answers_twin_requests_with_its_status_for_its_time() {
    for (kind, status) in [
        (FaultKind::InvokeThrottling, 429),
        (FaultKind::InvokeMaxMessageQuota, 403),
        (FaultKind::InvokeAuthError, 401),
    ] {
        let hub = hub().await;
        let mut raw = Raw::begun(&hub).await;
        pair(&mut raw, &format!("/devices/{DEVICE}/twin"), Some("twin:x")).await;
        hub.inject(lasting(kind).of(device())).await.unwrap();
        for (id, expected) in [(0, status), (1, 200)] {
            let annotations = section(0x72, &map(&[(symbol("operation"), string("GET"))]));
            raw.send(&transfer(id, true, false, &[annotations, data(b" ")].concat()))
                .await;
            let (_, sections) = delivered(&mut raw).await;
            assert_eq!(
                entry(&sections, 0x72, "status"),
                Some(Wire::Int(expected)),
                "{kind}"
            );
            hub.turn_clock(Duration::from_secs(30)).await.unwrap();
        }
    }
}
