//! Digital twins (Azure docs, "IoT Plug and Play conventions", "Understand IoT Plug and Play digital twins").

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::*;
use crate::common::DEVICE;
use crate::methods::{int, response};
use crate::pairs::*;
use crate::raw::*;

const LINE: &str = "/digitaltwins/myFirstDevice";

#[tokio::test]
async fn a_twin_is_shown_and_patched_by_the_conventions() {
    let hub = hub().await;
    let patch = json!([
        { "op": "add", "path": "/interval", "value": 5 },
        { "op": "replace", "path": "/thermostat1/target", "value": 21.5 },
        { "op": "add", "path": "/thermostat2", "value": { "$metadata": {}, "target": 18 } },
    ]);
    let patched = owner(&hub, &format!("PATCH {LINE}"), &patch).await;
    assert_eq!((patched.status, patched.text.as_str()), (202, ""));
    assert!(patched.header("etag").is_some());
    let twin = owner(&hub, &format!("GET /twins/{DEVICE}"), &Value::Null)
        .await
        .json();
    let desired = &twin["properties"]["desired"];
    assert_eq!(desired["interval"], 5);
    assert_eq!(desired["thermostat1"], json!({ "__t": "c", "target": 21.5 }));
    assert_eq!(desired["thermostat2"], json!({ "__t": "c", "target": 18 }));
    let mut raw = Raw::begun(&hub).await;
    let reported = json!({
        "interval": { "value": 4, "ac": 200, "av": 2, "ad": "soon" }, "serial": "s-1",
        "thermostat1": { "__t": "c", "temperature": 20 },
    });
    crate::twins::report(&mut raw, &reported).await;
    let shown = owner(&hub, &format!("GET {LINE}"), &Value::Null).await;
    let etag = twin["etag"].as_str().unwrap().to_lowercase();
    assert_eq!(shown.header("etag"), Some(format!("\"{etag}\"").as_str()));
    let shown = shown.json();
    assert_eq!(shown["$dtId"], DEVICE);
    assert_eq!((&shown["interval"], &shown["serial"]), (&json!(4), &json!("s-1")));
    let about = &shown["$metadata"]["interval"];
    assert_eq!(
        (&about["desiredValue"], &about["desiredVersion"]),
        (&json!(5), &json!(2))
    );
    assert_eq!(
        (&about["ackCode"], &about["ackVersion"], &about["ackDescription"]),
        (&json!(200), &json!(2), &json!("soon"))
    );
    assert!(about["lastUpdateTime"].is_string());
    let part = &shown["thermostat1"];
    assert_eq!(part["temperature"], 20);
    assert_eq!(part["$metadata"]["target"]["desiredValue"], 21.5);
    assert_eq!((part.get("__t"), part["$metadata"].get("$model")), (None, None));
    let removal = json!([{ "op": "remove", "path": "/interval" }]);
    assert_eq!(
        owner_if(&hub, &format!("PATCH {LINE}"), "\"AAAA\"", &removal)
            .await
            .status,
        412
    );
    assert_eq!(
        owner_if(&hub, &format!("PATCH {LINE}"), "*", &removal)
            .await
            .status,
        202
    );
    for bad in [
        json!({}),
        json!([{ "op": "move", "path": "/a" }]),
        json!([{ "op": "add", "path": "a" }]),
        json!([{ "op": "add", "path": "/a" }]),
        json!([{ "op": "remove", "path": "/a/b/c" }]),
    ] {
        assert_eq!(
            owner(&hub, &format!("PATCH {LINE}"), &bad).await.status,
            400,
            "{bad}"
        );
    }
    assert_eq!(
        owner(&hub, "GET /digitaltwins/nobody", &Value::Null)
            .await
            .error(),
        error(404, "DeviceNotFound")
    );
}

#[tokio::test]
async fn commands_are_methods_whose_payload_is_the_answer() {
    let hub = Arc::new(hub().await);
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, "/devices/myFirstDevice/methods/devicebound", None).await;
    for (number, (path, method)) in [
        ("commands/reboot", "reboot"),
        ("components/thermostat1/commands/getMax", "thermostat1*getMax"),
    ]
    .into_iter()
    .enumerate()
    {
        let asking = Arc::clone(&hub);
        let line = format!("POST {LINE}/{path}?responseTimeoutInSeconds=10&connectTimeoutInSeconds=5");
        let waiting = tokio::spawn(async move { owner(&asking, &line, &json!("2020-01-01")).await });
        let (_, sections) = delivered(&mut raw).await;
        let name = entry(&sections, 0x74, "IoThub-methodname");
        assert_eq!(name, Some(serde_amqp::Value::String(method.into())));
        assert_eq!(body(&sections), br#""2020-01-01""#);
        let number = u32::try_from(number).unwrap();
        raw.send(&response(
            number,
            &correlation(&sections),
            int(201),
            br#"{"max":3}"#,
        ))
        .await;
        let answer = waiting.await.unwrap();
        assert_eq!((answer.status, answer.json()), (200, json!({ "max": 3 })));
        assert_eq!(answer.header("x-ms-command-statuscode"), Some("201"));
    }
    drop(raw);
    let long = owner(
        &hub,
        &format!("POST {LINE}/commands/x?responseTimeoutInSeconds=301"),
        &Value::Null,
    )
    .await;
    assert_eq!(long.error(), error(400, "ArgumentInvalid"));
}

/// Protocol §5.2: `com.microsoft:model-id`, on the link for telemetry.
#[tokio::test]
async fn the_model_is_the_one_that_the_device_says_with_its_telemetry_link() {
    let directory = tempfile::tempdir().unwrap();
    let builder = || builder().state_dir(directory.path());
    let hub = builder().start().await.unwrap();
    let before = owner(&hub, &format!("GET /twins/{DEVICE}"), &Value::Null)
        .await
        .json();
    assert_eq!(before["modelId"], "");
    let model = "dtmi:com:example:Thermostat;1";
    let mut raw = Raw::begun(&hub).await;
    let address = format!("/devices/{DEVICE}/messages/events");
    let mut fields = attach_fields(0, "telemetry", false, "s", &address);
    fields.extend([null(), null(), null()]);
    fields.push(map(&[(symbol("com.microsoft:model-id"), string(model))]));
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect(ATTACH).await;
    let twin = owner(&hub, &format!("GET /twins/{DEVICE}"), &Value::Null)
        .await
        .json();
    assert_eq!(
        (&twin["modelId"], &twin["deviceEtag"]),
        (&json!(model), &before["deviceEtag"])
    );
    let shown = owner(&hub, &format!("GET {LINE}"), &Value::Null).await.json();
    assert_eq!(shown["$metadata"]["$model"], model);
    // It is the device's to say: no change of the registry takes it away, and no restart.
    owner_if(
        &hub,
        &format!("PUT /devices/{DEVICE}"),
        "*",
        &json!({ "deviceId": DEVICE }),
    )
    .await;
    hub.stop().await;
    let hub = builder().start().await.unwrap();
    let query = json!({ "query": format!("SELECT deviceId FROM devices WHERE modelId = '{model}'") });
    let found = owner(&hub, "POST /devices/query", &query).await.json();
    assert_eq!(found, json!([{ "deviceId": DEVICE }]));
    hub.stop().await;
}
