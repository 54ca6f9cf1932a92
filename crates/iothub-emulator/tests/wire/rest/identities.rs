//! The identity registry.

use std::time::Duration;

use iothub_emulator::{ManualClock, Timestamp};
use serde_json::{Value, json};

use super::client::*;
use crate::common::{DEVICE, KEY, OTHER_KEY, device};
use crate::raw::*;

fn sas(primary: &str, secondary: &str) -> Value {
    json!({ "type": "sas", "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary } })
}

#[tokio::test]
async fn a_device_is_made_read_changed_and_deleted() {
    let hub = hub().await;
    let given = json!({
        "deviceId": "d1", "status": "disabled", "statusReason": "new",
        "authentication": sas(KEY, OTHER_KEY), "capabilities": { "iotEdge": false },
    });
    let made = owner(&hub, "PUT /devices/d1", &given).await;
    assert_eq!(made.status, 200);
    let made = made.json();
    assert_eq!(made["status"], "disabled");
    assert_eq!(made["statusReason"], "new");
    assert_eq!(
        made["authentication"]["symmetricKey"],
        given["authentication"]["symmetricKey"]
    );
    assert_eq!(made["connectionState"], "Disconnected");
    assert_eq!(made["lastActivityTime"], "0001-01-01T00:00:00");
    let read = owner(&hub, "GET /devices/d1", &Value::Null).await;
    assert_eq!(read.json(), made);
    let etag = made["etag"].as_str().unwrap().to_owned();
    assert_eq!(
        read.header("etag").map(str::to_owned),
        Some(format!("\"{}\"", etag.to_lowercase()))
    );

    // Again without If-Match: it is there.
    let again = owner(&hub, "PUT /devices/d1", &given).await;
    assert_eq!(again.error(), error(409, "DeviceAlreadyExists"));
    let mut changed = made.clone();
    changed["status"] = "enabled".into();
    changed["statusReason"] = Value::Null;
    let stale = owner_if(&hub, "PUT /devices/d1", "\"AAAAAAAAAAA=\"", &changed).await;
    assert_eq!(stale.error(), error(412, "PreconditionFailed"));
    let changed = owner_if(&hub, "PUT /devices/d1", &format!("\"{etag}\""), &changed).await;
    assert_eq!(
        (changed.status, &changed.json()["status"]),
        (200, &json!("enabled"))
    );
    assert_ne!(changed.json()["etag"], made["etag"]);
    assert_eq!(changed.json()["generationId"], made["generationId"]);

    // A deletion says of which state.
    let without = owner(&hub, "DELETE /devices/d1", &Value::Null).await;
    assert_eq!(without.error(), error(400, "ArgumentNull"));
    let stale = owner_if(&hub, "DELETE /devices/d1", &format!("\"{etag}\""), &Value::Null).await;
    assert_eq!(stale.error(), error(412, "PreconditionFailed"));
    let gone = owner_if(&hub, "DELETE /devices/d1", "*", &Value::Null).await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    for (line, etag) in [("GET", ""), ("DELETE", "\"*\""), ("PUT", "*")] {
        let line = format!("{line} /devices/d1");
        let answer = owner_if(&hub, &line, etag, &json!({ "deviceId": "d1" })).await;
        assert_eq!(answer.error(), error(404, "DeviceNotFound"), "{line}");
    }
}

#[tokio::test]
async fn keys_are_made_where_none_are_given_and_stay_where_a_change_names_none() {
    let hub = hub().await;
    for (device, authentication) in [
        ("none-given", Value::Null),
        ("empty", sas("", "")),
        (
            "null",
            json!({ "type": "sas", "symmetricKey": { "primaryKey": null, "secondaryKey": null } }),
        ),
        ("bare", json!({ "type": "sas" })),
    ] {
        let given = json!({ "deviceId": device, "authentication": authentication });
        let made = owner(&hub, &format!("PUT /devices/{device}"), &given)
            .await
            .json();
        let keys = &made["authentication"]["symmetricKey"];
        for which in ["primaryKey", "secondaryKey"] {
            // 32 bytes in base64.
            assert_eq!(keys[which].as_str().unwrap().len(), 44, "{device}");
        }
        assert_ne!(keys["primaryKey"], keys["secondaryKey"]);
        let line = format!("PUT /devices/{device}");
        let changed = owner_if(&hub, &line, "*", &json!({ "deviceId": device })).await;
        assert_eq!(changed.json()["authentication"]["symmetricKey"], *keys);
    }
}

#[tokio::test]
async fn the_four_types_of_authentication_are_kept() {
    let hub = hub().await;
    let thumbprint = "A".repeat(40);
    let other = "B".repeat(64);
    for (kind, thumbprints) in [
        (
            "selfSigned",
            json!({ "primaryThumbprint": thumbprint, "secondaryThumbprint": other }),
        ),
        (
            "certificateAuthority",
            json!({ "primaryThumbprint": null, "secondaryThumbprint": null }),
        ),
        (
            "none",
            json!({ "primaryThumbprint": null, "secondaryThumbprint": null }),
        ),
    ] {
        let given =
            json!({ "deviceId": kind, "authentication": { "type": kind, "x509Thumbprint": thumbprints } });
        let made = owner(&hub, &format!("PUT /devices/{kind}"), &given).await.json();
        let shown = &made["authentication"];
        assert_eq!(shown["type"], kind);
        assert_eq!(shown["x509Thumbprint"], thumbprints);
        assert_eq!(
            shown["symmetricKey"],
            json!({ "primaryKey": null, "secondaryKey": null })
        );
        let twin = owner(&hub, &format!("GET /twins/{kind}"), &Value::Null)
            .await
            .json();
        assert_eq!(
            (&twin["authenticationType"], &twin["x509Thumbprint"]),
            (&json!(kind), &thumbprints)
        );
    }
}

#[tokio::test]
async fn what_no_device_can_be_is_refused_and_said() {
    let hub = hub().await;
    let long = "x".repeat(129);
    for (body, words) in [
        (
            json!({ "deviceId": "other" }),
            "deviceId is not the one in the path",
        ),
        (json!({}), "deviceId is not the one in the path"),
        (json!({ "deviceId": "d", "moduleId": "m" }), "moduleId"),
        (
            json!({ "deviceId": "d", "status": "asleep" }),
            "status: none of enabled, disabled",
        ),
        (
            json!({ "deviceId": "d", "statusReason": long }),
            "statusReason: it has more than 128",
        ),
        (
            json!({ "deviceId": "d", "authentication": sas("no base64!", KEY) }),
            "symmetricKey.primaryKey",
        ),
        (
            json!({ "deviceId": "d", "authentication": sas("AAEC", KEY) }),
            "symmetricKey.primaryKey",
        ),
        (
            json!({ "deviceId": "d", "authentication": { "type": "magic" } }),
            "authentication.type",
        ),
        (
            json!({ "deviceId": "d", "authentication": { "type": "selfSigned" } }),
            "primaryThumbprint",
        ),
        (
            json!({ "deviceId": "d", "capabilities": { "iotEdge": "yes" } }),
            "capabilities.iotEdge",
        ),
    ] {
        let answer = owner(&hub, "PUT /devices/d", &body).await;
        assert_eq!(answer.error(), error(400, "ArgumentInvalid"), "{body}");
        assert!(answer.text.contains(words), "{body}: {}", answer.text);
    }
    for (body, name) in [
        ("", "ArgumentNull"),
        ("{", "IotHubFormatError"),
        ("[]", "IotHubFormatError"),
    ] {
        let answer = owner_with(&hub, "PUT /devices/d", "", body).await;
        assert_eq!(answer.error(), error(400, name), "{body}");
    }
    // No secret comes back in an error.
    let secret = owner(
        &hub,
        "PUT /devices/d",
        &json!({ "deviceId": "d", "authentication": sas("c2VjcmV0!", "") }),
    )
    .await;
    assert!(!secret.text.contains("c2VjcmV0"), "{}", secret.text);
}

#[tokio::test]
async fn devices_are_listed_by_id_up_to_a_thousand() {
    let hub = hub().await;
    for device in ["b", "a", "c"] {
        owner(
            &hub,
            &format!("PUT /devices/{device}"),
            &json!({ "deviceId": device }),
        )
        .await;
    }
    let ids = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|device| device["deviceId"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = owner(&hub, "GET /devices", &Value::Null).await.json();
    assert_eq!(ids(&all), ["a", "b", "c", DEVICE]);
    // As Microsoft's Node SDK writes it.
    assert_eq!(owner(&hub, "GET /devices/", &Value::Null).await.json(), all);
    let two = owner(&hub, "GET /devices?top=2", &Value::Null).await.json();
    assert_eq!(ids(&two), ["a", "b"]);
    for top in ["0", "1001", "x", "-1"] {
        let answer = owner(&hub, &format!("GET /devices?top={top}"), &Value::Null).await;
        assert_eq!(answer.error(), error(400, "ArgumentInvalid"), "{top}");
    }
}

#[tokio::test]
async fn devices_are_counted() {
    let hub = hub().await;
    owner(
        &hub,
        "PUT /devices/off",
        &json!({ "deviceId": "off", "status": "disabled" }),
    )
    .await;
    let count = owner(&hub, "GET /statistics/devices", &Value::Null).await;
    assert_eq!(
        count.json(),
        json!({ "totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1 })
    );
    let connected = owner(&hub, "GET /statistics/service", &Value::Null).await;
    assert_eq!(connected.json(), json!({ "connectedDeviceCount": 0 }));
    let mut raw = Raw::begun(&hub).await;
    raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    let connected = owner(&hub, "GET /statistics/service", &Value::Null).await;
    assert_eq!(connected.json(), json!({ "connectedDeviceCount": 1 }));
    let device = owner(&hub, &format!("GET /devices/{DEVICE}"), &Value::Null)
        .await
        .json();
    assert_eq!(device["connectionState"], "Connected");
}

#[tokio::test]
async fn modules_are_made_listed_and_no_more_than_fifty() {
    let hub = hub().await;
    let path = format!("/devices/{DEVICE}/modules");
    for number in 0..50 {
        let id = format!("m{number:02}");
        let given = json!({ "deviceId": DEVICE, "moduleId": id, "managedBy": "someone" });
        let made = owner(&hub, &format!("PUT {path}/{id}"), &given).await;
        assert_eq!(made.status, 201);
        let made = made.json();
        assert_eq!(
            (&made["moduleId"], &made["managedBy"]),
            (&json!(id), &json!("someone"))
        );
        assert_eq!(made.get("status"), None);
    }
    let given = json!({ "deviceId": DEVICE, "moduleId": "one-more" });
    let refused = owner(&hub, &format!("PUT {path}/one-more"), &given).await;
    assert_eq!(refused.error(), error(413, "TooManyModulesOnDevice"));
    let again = json!({ "deviceId": DEVICE, "moduleId": "m00" });
    let line = format!("PUT {path}/m00");
    assert_eq!(
        owner(&hub, &line, &again).await.error(),
        error(409, "ModuleAlreadyExistsOnDevice")
    );
    assert_eq!(owner_if(&hub, &line, "*", &again).await.status, 200);
    let list = owner(&hub, &format!("GET {path}"), &Value::Null).await.json();
    assert_eq!(list.as_array().unwrap().len(), 50);
    assert_eq!(list[7]["moduleId"], "m07");
    let gone = owner_if(&hub, &format!("DELETE {path}/m07"), "*", &Value::Null).await;
    assert_eq!(gone.status, 204);
    let missing = owner(&hub, &format!("GET {path}/m07"), &Value::Null).await;
    assert_eq!(missing.error(), error(404, "ModuleNotFound"));
    let nobodys = owner(&hub, "GET /devices/nobody/modules", &Value::Null).await;
    assert_eq!(nobodys.error(), error(404, "DeviceNotFound"));
    let nobodys = json!({ "deviceId": "nobody", "moduleId": "m" });
    let nobodys = owner(&hub, "PUT /devices/nobody/modules/m", &nobodys).await;
    assert_eq!(nobodys.error(), error(404, "DeviceNotFound"));
}

#[tokio::test]
async fn an_edge_device_has_a_scope_and_others_have_parents() {
    let hub = hub().await;
    let edge = json!({ "deviceId": "edge", "capabilities": { "iotEdge": true } });
    let edge = owner(&hub, "PUT /devices/edge", &edge).await.json();
    let scope = format!(
        "ms-azure-iot-edge://edge-{}",
        edge["generationId"].as_str().unwrap()
    );
    assert_eq!(edge["deviceScope"], json!(scope));
    assert_eq!(edge["capabilities"], json!({ "iotEdge": true }));
    let leaf = json!({ "deviceId": "leaf", "deviceScope": scope, "parentScopes": [scope] });
    let leaf = owner(&hub, "PUT /devices/leaf", &leaf).await.json();
    assert_eq!(
        (&leaf["deviceScope"], &leaf["parentScopes"]),
        (&json!(scope), &json!([scope]))
    );
}

#[tokio::test]
async fn what_is_written_survives_the_hub() {
    let directory = tempfile::tempdir().unwrap();
    let start = Timestamp::from_seconds(1_700_000_000);
    let builder = || {
        builder()
            .clock(ManualClock::new(start))
            .state_dir(directory.path())
    };
    let hub = builder().start().await.unwrap();
    // Tokens go by the hub's clock, which is in the past.
    let put = json!({
        "deviceId": "d", "statusReason": "broken", "status": "disabled",
        "deviceScope": "ms-azure-iot-edge://up-1", "parentScopes": ["ms-azure-iot-edge://up-1"],
    });
    let made = owner(&hub, "PUT /devices/d", &put).await.json();
    assert_eq!(made["statusUpdatedTime"], "2023-11-14T22:13:20.0000000Z");
    let module = json!({ "deviceId": "d", "moduleId": "m", "managedBy": "x" });
    let module = owner(&hub, "PUT /devices/d/modules/m", &module).await.json();
    hub.stop().await;
    let hub = builder().start().await.unwrap();
    assert_eq!(owner(&hub, "GET /devices/d", &Value::Null).await.json(), made);
    let kept = owner(&hub, "GET /devices/d/modules/m", &Value::Null).await.json();
    assert_eq!(kept, module);
    hub.stop().await;
}

#[tokio::test]
async fn a_device_that_is_disabled_or_deleted_is_sent_away() {
    let hub = hub().await;
    for (line, body) in [
        (
            format!("PUT /devices/{DEVICE}"),
            json!({ "deviceId": DEVICE, "status": "disabled" }),
        ),
        (
            format!("PUT /devices/{DEVICE}"),
            json!({ "deviceId": DEVICE, "status": "enabled" }),
        ),
        (format!("DELETE /devices/{DEVICE}"), Value::Null),
    ] {
        if body["status"] == "enabled" {
            assert_eq!(owner_if(&hub, &line, "*", &body).await.status, 200);
            continue;
        }
        let mut raw = Raw::begun(&hub).await;
        raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
            .await;
        raw.expect(ATTACH).await;
        raw.expect(FLOW).await;
        assert!(owner_if(&hub, &line, "*", &body).await.status < 300);
        raw.expect(CLOSE).await;
    }
    assert!(hub.twin(device()).await.is_err());
}

#[tokio::test]
async fn a_mailbox_is_purged() {
    let hub = hub().await;
    for _ in 0..3 {
        let message = iothub_emulator::CloudMessage::new("x");
        hub.send_to_device(device(), message).await.unwrap();
    }
    let read = owner(&hub, &format!("GET /devices/{DEVICE}"), &Value::Null)
        .await
        .json();
    assert_eq!(read["cloudToDeviceMessageCount"], 3);
    let line = format!("DELETE /devices/{DEVICE}/commands");
    for count in [3, 0] {
        let purged = owner(&hub, &line, &Value::Null).await;
        let wanted = json!({ "totalMessagesPurged": count, "deviceId": DEVICE, "moduleId": null });
        assert_eq!((purged.status, purged.json()), (200, wanted));
    }
    let nobody = owner(&hub, "DELETE /devices/nobody/commands", &Value::Null).await;
    assert_eq!(nobody.error(), error(404, "DeviceNotFound"));
}

#[tokio::test]
async fn a_tier_throttles_the_registry_with_429_and_when_to_come_again() {
    let clock = ManualClock::new(Timestamp::from_seconds(1_700_000_000));
    let hub = builder()
        .clock(clock.clone())
        .tier(iothub_emulator::Tier::S1)
        .start()
        .await
        .unwrap();
    let line = format!("GET /devices/{DEVICE}");
    // A minute's worth, 100, and ten seconds' worth in the queue.
    let mut taken = 0;
    let refused = loop {
        let answer = owner(&hub, &line, &Value::Null).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    assert_eq!(taken, 116);
    assert_eq!(refused.error(), error(429, "ThrottlingException"));
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    clock.advance(Duration::from_secs(after));
    assert_eq!(owner(&hub, &line, &Value::Null).await.status, 200);
}
