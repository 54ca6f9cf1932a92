//! Goal: whoever watches a hub sees each thing that passes between services and devices, once and in order.
//! Method: a device by hand-written frames, a service in the process, and what the feed says of them, time left out.

use std::sync::Arc;

use iothub_emulator::{CloudMessage, Emulator, MethodCall};
use serde_json::json;

use crate::cloud_to_device::{ACCEPTED, RELEASED, credit, disposition, received, receiver};
use crate::common::{device, hub};
use crate::methods::{int, response};
use crate::pairs::*;
use crate::raw::*;
use crate::twins::report;

/// All that has passed, by whom and what.
fn passed(hub: &Emulator) -> Vec<String> {
    let all = hub.traffic().snapshot();
    all.iter()
        .map(|entry| format!("{} {}", entry.identity, entry.passed))
        .collect()
}

#[tokio::test]
async fn messages_are_told_from_their_sending_to_their_end() {
    let hub = hub().await;
    let message = CloudMessage::new("hi").id("m1").property("p", "v");
    hub.send_to_device(device(), message).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    receiver(&mut raw, false).await;
    raw.send(&credit(0, 100, false)).await;
    for outcome in [RELEASED, ACCEPTED] {
        let transfer = received(&mut raw).await;
        raw.send(&disposition(transfer.field(1), false, outcome)).await;
        raw.expect_past_flows(DISPOSITION).await;
    }
    hub.send_to_device(device(), CloudMessage::new("x"))
        .await
        .unwrap();
    received(&mut raw).await;
    hub.purge_messages(device()).await.unwrap();
    let told = [
        // The body, and its property's name and value (protocol §1: as the hub counts).
        "myFirstDevice is sent message m1 of 6 bytes",
        "myFirstDevice receives message m1",
        "myFirstDevice receives message m1 again, for the 2. time",
        "myFirstDevice completes message m1",
        "myFirstDevice is sent message of 1 bytes",
        "myFirstDevice receives message",
        "myFirstDevice will not receive message: it was purged",
    ];
    assert_eq!(passed(&hub), told);
}

#[tokio::test]
async fn methods_are_told_with_their_answer_or_why_there_is_none() {
    let hub = Arc::new(hub().await);
    let refused = hub.call_method(device(), MethodCall::new("early")).await;
    assert!(refused.is_err());
    let mut raw = Raw::begun(&hub).await;
    pair(
        &mut raw,
        "/devices/myFirstDevice/methods/devicebound",
        Some("methods:x"),
    )
    .await;
    let waiting = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.call_method(device(), MethodCall::new("reboot")).await }
    });
    let (_, sections) = delivered(&mut raw).await;
    raw.send(&response(0, &correlation(&sections), int(201), b"{}"))
        .await;
    waiting.await.unwrap().unwrap();
    let told = [
        "myFirstDevice is called: early",
        "myFirstDevice gives no answer to early: myFirstDevice is not online",
        "myFirstDevice is called: reboot",
        "myFirstDevice answers reboot: 201",
    ];
    assert_eq!(passed(&hub), told);
}

#[tokio::test]
async fn changes_of_twins_are_told_with_their_versions() {
    let hub = hub().await;
    hub.patch_desired(device(), json!({"interval": 60}))
        .await
        .unwrap();
    let mut raw = Raw::begun(&hub).await;
    report(&mut raw, &json!({"interval": 60})).await;
    let told = [
        "myFirstDevice is given desired properties, version 2",
        "myFirstDevice reports properties, version 2",
    ];
    assert_eq!(passed(&hub), told);
}
