//! Direct methods in requests that are held open (protocol §5.8, §6.5).

use std::sync::Arc;
use std::time::Duration;

use iothub_emulator::{Emulator, ManualClock, Timestamp};
use serde_json::{Value, json};

use super::client::*;
use crate::common::DEVICE;
use crate::methods::{int, response};
use crate::pairs::*;
use crate::raw::*;

const ADDRESS: &str = "/devices/myFirstDevice/methods/devicebound";

fn call(hub: &Arc<Emulator>, body: Value) -> tokio::task::JoinHandle<Answer> {
    let hub = Arc::clone(hub);
    tokio::spawn(async move { owner(&hub, &format!("POST /twins/{DEVICE}/methods"), &body).await })
}

/// The number in the JSON text that such an error's message is.
fn number(answer: &Answer) -> (u16, u64) {
    let body = answer.json();
    assert_eq!(body["ExceptionMessage"], "");
    let text: Value = serde_json::from_str(body["Message"].as_str().unwrap()).unwrap();
    assert!(text["trackingId"].is_string() && text["timestampUtc"].is_string());
    (answer.status, text["errorCode"].as_u64().unwrap())
}

#[tokio::test]
async fn a_call_is_answered_with_the_devices_status_and_payload() {
    let hub = Arc::new(hub().await);
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, Some("methods:x")).await;
    let waiting = call(
        &hub,
        json!({ "methodName": "reboot", "payload": { "delay": 5 }, "responseTimeoutInSeconds": 30 }),
    );
    let (_, sections) = delivered(&mut raw).await;
    assert_eq!(body(&sections), br#"{"delay":5}"#);
    raw.send(&response(0, &correlation(&sections), int(207), br#"{"ok":[1]}"#))
        .await;
    let answer = waiting.await.unwrap();
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "status": 207, "payload": { "ok": [1] } }))
    );
    // Neither a payload nor an answer to it.
    let waiting = call(&hub, json!({ "methodName": "bare" }));
    let (_, sections) = delivered(&mut raw).await;
    assert_eq!(body(&sections), b"null");
    raw.send(&response(1, &correlation(&sections), int(-1), b""))
        .await;
    assert_eq!(
        waiting.await.unwrap().json(),
        json!({ "status": -1, "payload": null })
    );
    let waiting = call(&hub, json!({ "methodName": "garbled" }));
    let (_, sections) = delivered(&mut raw).await;
    raw.send(&response(2, &correlation(&sections), int(200), b"{"))
        .await;
    assert_eq!(waiting.await.unwrap().error(), error(502, "BadDeviceResponse"));
}

#[tokio::test]
async fn a_device_that_is_not_there_or_does_not_answer_is_told_by_number() {
    let clock = ManualClock::new(Timestamp::from_seconds(1_700_000_000));
    let hub = Arc::new(builder().clock(clock.clone()).start().await.unwrap());
    let offline = call(&hub, json!({ "methodName": "m" })).await.unwrap();
    assert_eq!(number(&offline), (404, 404_103));
    assert_eq!(offline.header("iothub-errorcode"), Some("devicenotonline"));
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, None).await;
    let slow = call(&hub, json!({ "methodName": "m", "responseTimeoutInSeconds": 5 }));
    delivered(&mut raw).await;
    clock.advance(Duration::from_secs(5));
    assert_eq!(number(&slow.await.unwrap()), (504, 504_101));
    let cut = call(&hub, json!({ "methodName": "m" }));
    delivered(&mut raw).await;
    drop(raw);
    assert_eq!(number(&cut.await.unwrap()), (404, 404_104));
    let nobody = owner(&hub, "POST /twins/nobody/methods", &json!({ "methodName": "m" })).await;
    assert_eq!(nobody.error(), error(404, "DeviceNotFound"));
}

#[tokio::test]
async fn a_device_may_come_within_the_time_to_connect() {
    let hub = Arc::new(hub().await);
    let waiting = call(&hub, json!({ "methodName": "m", "connectTimeoutInSeconds": 300 }));
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, None).await;
    let (_, sections) = delivered(&mut raw).await;
    raw.send(&response(0, &correlation(&sections), int(200), b"1"))
        .await;
    assert_eq!(
        waiting.await.unwrap().json(),
        json!({ "status": 200, "payload": 1 })
    );
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let hub = hub().await;
    for (call, words) in [
        (json!({}), "methodName"),
        (json!({ "methodName": "" }), "methodName"),
        (json!({ "methodName": "x".repeat(101) }), "methodName"),
        (
            json!({ "methodName": "m", "responseTimeoutInSeconds": 4 }),
            "5 to 300",
        ),
        (
            json!({ "methodName": "m", "responseTimeoutInSeconds": 301 }),
            "5 to 300",
        ),
        (
            json!({ "methodName": "m", "responseTimeoutInSeconds": "30" }),
            "seconds",
        ),
        (
            json!({ "methodName": "m", "connectTimeoutInSeconds": 301 }),
            "300 at most",
        ),
        (
            json!({ "methodName": "m", "connectTimeoutInSeconds": -1 }),
            "seconds",
        ),
    ] {
        let answer = owner(&hub, &format!("POST /twins/{DEVICE}/methods"), &call).await;
        assert_eq!(answer.error(), error(400, "ArgumentInvalid"), "{call}");
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    // 128 KB with the quotes of the text.
    let most = 128 * 1024 - 2;
    for (size, wanted) in [(most, 404), (most + 1, 413)] {
        let call = json!({ "methodName": "m", "payload": "x".repeat(size) });
        let answer = owner(&hub, &format!("POST /twins/{DEVICE}/methods"), &call).await;
        assert_eq!(answer.status, wanted, "{size}");
    }
}
