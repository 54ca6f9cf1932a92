//! Twins, as a back end reads and changes them (protocol §6.5, §5.9).

use serde_json::{Value, json};

use super::client::*;
use crate::common::{DEVICE, device};
use crate::pairs::*;
use crate::raw::*;
use crate::twins::subscribe;

const TWIN: &str = "/twins/myFirstDevice";

#[tokio::test]
async fn a_new_twin_is_empty_and_says_what_the_registry_does() {
    let hub = hub().await;
    let twin = owner(&hub, &format!("GET {TWIN}"), &Value::Null).await;
    assert_eq!(twin.status, 200);
    // A number of 8 bytes in base64.
    assert_eq!(twin.header("etag"), Some("\"aaaaaaaaaae=\""));
    let twin = twin.json();
    assert_eq!(twin["deviceId"], DEVICE);
    assert_eq!(
        (&twin["etag"], &twin["version"]),
        (&json!("AAAAAAAAAAE="), &json!(1))
    );
    assert_eq!(
        (&twin["status"], &twin["authenticationType"]),
        (&json!("enabled"), &json!("sas"))
    );
    assert_eq!(twin["lastActivityTime"], "0001-01-01T00:00:00Z");
    assert_eq!(twin["tags"], json!({}));
    assert_eq!(twin["properties"]["desired"]["$version"], 1);
    let nobody = owner(&hub, "GET /twins/nobody", &Value::Null).await;
    assert_eq!(nobody.error(), error(404, "DeviceNotFound"));
}

/// RFC 7396 for PATCH; RFC 9110 §9.3.4 for PUT.
#[tokio::test]
async fn patch_merges_and_put_replaces() {
    let hub = hub().await;
    let first = json!({
        "tags": { "floor": 3, "room": { "name": "lab", "door": 1 } },
        "properties": { "desired": { "interval": 60, "mode": { "a": 1, "b": 2 } } },
    });
    let patched = owner(&hub, &format!("PATCH {TWIN}"), &first).await;
    assert_eq!(patched.status, 200);
    let second = json!({
        "tags": { "floor": null, "room": { "door": 2 } },
        "properties": { "desired": { "mode": { "b": null, "c": 3 } } },
        // No back end writes these.
        "deviceId": "other", "status": "disabled",
    });
    let twin = owner(&hub, &format!("PATCH {TWIN}"), &second).await.json();
    assert_eq!(twin["tags"], json!({ "room": { "name": "lab", "door": 2 } }));
    let desired = &twin["properties"]["desired"];
    assert_eq!(
        (&desired["interval"], &desired["mode"]),
        (&json!(60), &json!({ "a": 1, "c": 3 }))
    );
    assert_eq!(desired["$version"], 3);
    assert_eq!(
        (&twin["deviceId"], &twin["status"]),
        (&json!(DEVICE), &json!("enabled"))
    );

    let replacement = json!({ "tags": { "new": true }, "properties": { "desired": { "mode": 5 } } });
    let twin = owner(&hub, &format!("PUT {TWIN}"), &replacement).await.json();
    assert_eq!(twin["tags"], json!({ "new": true }));
    let desired = &twin["properties"]["desired"];
    assert_eq!(
        (desired.get("interval"), &desired["mode"], &desired["$version"]),
        (None, &json!(5), &json!(4))
    );
    let metadata = desired["$metadata"].as_object().unwrap();
    assert_eq!(metadata.get("interval"), None);
    assert_eq!(metadata["mode"]["$lastUpdatedVersion"], 4);
    // What was read may be written back.
    let back = owner(&hub, &format!("PUT {TWIN}"), &twin).await;
    assert_eq!(back.json()["properties"]["desired"]["mode"], 5);
}

#[tokio::test]
async fn a_change_is_for_the_etag_that_it_names() {
    let hub = hub().await;
    let line = format!("PATCH {TWIN}");
    let change = |n: u64| json!({ "tags": { "n": n } });
    let first = owner_if(&hub, &line, "\"AAAAAAAAAAE=\"", &change(1)).await;
    assert_eq!(
        (first.status, &first.json()["etag"]),
        (200, &json!("AAAAAAAAAAI="))
    );
    for method in ["PATCH", "PUT"] {
        let line = format!("{method} {TWIN}");
        let stale = owner_if(&hub, &line, "\"AAAAAAAAAAE=\"", &change(2)).await;
        assert_eq!(stale.error(), error(412, "PreconditionFailed"));
    }
    assert_eq!(hub.twin(device()).await.unwrap().tags()["n"], 1);
    // Any state, or none said.
    for any in ["*", "\"*\"", ""] {
        assert_eq!(owner_if(&hub, &line, any, &change(3)).await.status, 200, "{any}");
    }
    // Bare, as some SDKs write it: three changes later.
    assert_eq!(
        owner_if(&hub, &line, "AAAAAAAAAAU=", &change(4)).await.status,
        200
    );
    // A device's report changes no ETag.
    let before = owner(&hub, &format!("GET {TWIN}"), &Value::Null).await.json();
    let mut raw = Raw::begun(&hub).await;
    crate::twins::report(&mut raw, &json!({ "x": 1 })).await;
    let after = owner(&hub, &format!("GET {TWIN}"), &Value::Null).await.json();
    assert_eq!(before["etag"], after["etag"]);
    assert_eq!(after["properties"]["reported"]["x"], 1);
    assert_eq!(
        after["version"].as_u64().unwrap(),
        before["version"].as_u64().unwrap() + 1
    );
}

#[tokio::test]
async fn what_no_twin_can_hold_is_refused_whole() {
    let hub = hub().await;
    for (change, words) in [
        (json!({ "tags": 5 }), "tags is no JSON object"),
        (json!({ "properties": [] }), "properties is no JSON object"),
        (
            json!({ "properties": { "desired": "x" } }),
            "properties.desired is no JSON object",
        ),
        (
            json!({ "tags": { "fine": 1 }, "properties": { "desired": { "a.b": 1 } } }),
            "a.b",
        ),
        (json!({ "tags": { "big": "x".repeat(4097) } }), "longer than 4096"),
        (
            json!({ "tags": { "big": 4_503_599_627_370_497_u64 } }),
            "not within",
        ),
    ] {
        for method in ["PATCH", "PUT"] {
            let answer = owner(&hub, &format!("{method} {TWIN}"), &change).await;
            assert_eq!(answer.error(), error(400, "ArgumentInvalid"), "{change}");
            assert!(answer.text.contains(words), "{}", answer.text);
        }
    }
    assert_eq!(hub.twin(device()).await.unwrap().version(), 1);
}

#[tokio::test]
async fn a_device_hears_of_a_replacement_as_the_patch_that_makes_it() {
    let hub = hub().await;
    hub.patch_desired(device(), json!({ "a": 1, "b": { "x": 1, "y": 2 } }))
        .await
        .unwrap();
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, &format!("/devices/{DEVICE}/twin"), Some("twin:x")).await;
    subscribe(&mut raw).await;
    let replacement = json!({ "properties": { "desired": { "b": { "y": 3 }, "c": [1] } } });
    owner(&hub, &format!("PUT {TWIN}"), &replacement).await;
    let (_, sections) = delivered(&mut raw).await;
    let heard: Value = serde_json::from_slice(&body(&sections)).unwrap();
    assert_eq!(
        heard,
        json!({ "a": null, "b": { "x": null, "y": 3 }, "c": [1], "$version": 3 })
    );
}

#[tokio::test]
async fn a_module_has_a_twin_of_its_own() {
    let hub = hub().await;
    let module = json!({ "deviceId": DEVICE, "moduleId": "m" });
    owner(&hub, &format!("PUT /devices/{DEVICE}/modules/m"), &module).await;
    let line = format!("{TWIN}/modules/m");
    let change = json!({ "tags": { "of": "module" }, "properties": { "desired": { "k": 1 } } });
    let twin = owner(&hub, &format!("PATCH {line}"), &change).await.json();
    assert_eq!(
        (&twin["deviceId"], &twin["moduleId"]),
        (&json!(DEVICE), &json!("m"))
    );
    assert_eq!(
        owner(&hub, &format!("GET {line}"), &Value::Null).await.json(),
        twin
    );
    assert_eq!(hub.twin(device()).await.unwrap().tags().len(), 0);
    let missing = owner(&hub, &format!("GET {TWIN}/modules/n"), &Value::Null).await;
    assert_eq!(missing.error(), error(404, "ModuleNotFound"));
}
