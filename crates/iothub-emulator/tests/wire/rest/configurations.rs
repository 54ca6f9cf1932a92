//! Configurations (Azure docs, "Automatic device and module management using IoT Hub"; the emulator's own choices are in its
//! README).

use iothub_emulator::Emulator;
use serde_json::{Value, json};

use super::client::*;
use crate::common::DEVICE;

async fn desired(hub: &Emulator, path: &str) -> Value {
    let twin = owner(hub, &format!("GET /twins/{path}"), &Value::Null)
        .await
        .json();
    let mut desired = twin["properties"]["desired"].clone();
    let desired = desired.as_object_mut().unwrap();
    desired.remove("$metadata");
    desired.remove("$version");
    json!(desired)
}

fn configuration(id: &str, condition: &str, priority: i64, content: &Value) -> Value {
    json!({
        "id": id, "schemaVersion": "1.0", "targetCondition": condition, "priority": priority,
        "content": { "deviceContent": content },
    })
}

async fn put(hub: &Emulator, configuration: &Value) -> Answer {
    let id = configuration["id"].as_str().unwrap();
    owner(hub, &format!("PUT /configurations/{id}"), configuration).await
}

async fn tag(hub: &Emulator, device: &str, tags: &Value) {
    let patch = json!({ "tags": tags });
    assert_eq!(
        owner(hub, &format!("PATCH /twins/{device}"), &patch).await.status,
        200
    );
}

#[tokio::test]
async fn a_configuration_is_made_read_changed_and_deleted() {
    let hub = hub().await;
    let mut form = configuration("c1", "tags.a = 1", 5, &json!({ "properties.desired.x": 1 }));
    form["labels"] = json!({ "App": "y" });
    form["metrics"] = json!({ "queries": { "all": "SELECT deviceId FROM devices" } });
    let made = put(&hub, &form).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    for field in [
        "id",
        "schemaVersion",
        "labels",
        "content",
        "targetCondition",
        "priority",
    ] {
        assert_eq!(made[field], form[field], "{field}");
    }
    assert_eq!(
        made["metrics"],
        json!({ "results": { "all": 1 }, "queries": form["metrics"]["queries"] })
    );
    assert_eq!(
        made["systemMetrics"]["results"],
        json!({ "targetedCount": 0, "appliedCount": 0 })
    );
    assert_eq!(made["etag"], "AAAAAAAAAAE=");
    let line = "/configurations/c1";
    assert_eq!(
        owner(&hub, &format!("GET {line}"), &Value::Null).await.json(),
        made
    );
    assert_eq!(
        owner(&hub, "GET /configurations", &Value::Null).await.json(),
        json!([made])
    );
    assert_eq!(
        put(&hub, &form).await.error(),
        error(409, "ConfigurationAlreadyExists")
    );
    form["priority"] = 6.into();
    let put_line = format!("PUT {line}");
    let stale = owner_if(&hub, &put_line, "\"AAAAAAAAAAk=\"", &form).await;
    assert_eq!(stale.error(), error(412, "PreconditionFailed"));
    let changed = owner_if(&hub, &put_line, "\"AAAAAAAAAAE=\"", &form).await;
    assert_eq!(
        (changed.status, &changed.json()["etag"]),
        (200, &json!("AAAAAAAAAAI="))
    );
    // "Configuration identifier and Content cannot be updated."
    form["content"]["deviceContent"]["properties.desired.x"] = 2.into();
    assert_eq!(
        owner_if(&hub, &put_line, "*", &form).await.error(),
        error(400, "ArgumentInvalid")
    );
    assert_eq!(
        owner(&hub, &format!("DELETE {line}"), &Value::Null).await.status,
        204
    );
    for method in ["GET", "DELETE"] {
        let gone = owner(&hub, &format!("{method} {line}"), &Value::Null).await;
        assert_eq!(gone.error(), error(404, "ConfigurationNotFound"));
    }
    assert_eq!(
        owner_if(&hub, &put_line, "*", &form).await.error(),
        error(404, "ConfigurationNotFound")
    );
}

#[tokio::test]
async fn those_whom_the_condition_is_for_get_what_is_set_as_soon_as_it_is() {
    let hub = hub().await;
    for device in ["in", "out", "later"] {
        owner(
            &hub,
            &format!("PUT /devices/{device}"),
            &json!({ "deviceId": device }),
        )
        .await;
    }
    tag(&hub, "in", &json!({ "a": 1 })).await;
    owner(
        &hub,
        "PATCH /twins/in",
        &json!({ "properties": { "desired": { "own": 1, "deep": { "own": 2 } } } }),
    )
    .await;
    let content = json!({ "properties.desired.deep.x": [1], "properties.desired.y": { "z": true } });
    let made = put(&hub, &configuration("c", "tags.a = 1", 0, &content))
        .await
        .json();
    assert_eq!(
        made["systemMetrics"]["results"],
        json!({ "targetedCount": 1, "appliedCount": 1 })
    );
    let wanted = json!({ "own": 1, "deep": { "own": 2, "x": [1] }, "y": { "z": true } });
    assert_eq!(desired(&hub, "in").await, wanted);
    assert_eq!(desired(&hub, "out").await, json!({}));
    let twin = owner(&hub, "GET /twins/in", &Value::Null).await.json();
    assert_eq!(twin["configurations"], json!({ "c": { "status": "Applied" } }));
    let query =
        json!({ "query": "SELECT deviceId FROM devices WHERE configurations.[[c]].status = 'Applied'" });
    assert_eq!(
        owner(&hub, "POST /devices/query", &query).await.json(),
        json!([{ "deviceId": "in" }])
    );
    // Who comes to be meant, by a tag, a registration, or what it reports.
    tag(&hub, "later", &json!({ "a": 1 })).await;
    assert_eq!(
        desired(&hub, "later").await,
        json!({ "deep": { "x": [1] }, "y": { "z": true } })
    );
    // What somebody else writes over it stays.
    owner(
        &hub,
        "PATCH /twins/in",
        &json!({ "properties": { "desired": { "y": 5 } } }),
    )
    .await;
    assert_eq!(desired(&hub, "in").await["y"], 5);
    // And what it has set stays behind it.
    tag(&hub, "later", &json!({ "a": null })).await;
    assert_eq!(desired(&hub, "later").await["y"], json!({ "z": true }));
    let read = owner(&hub, "GET /configurations/c", &Value::Null).await.json();
    assert_eq!(
        read["systemMetrics"]["results"],
        json!({ "targetedCount": 1, "appliedCount": 1 })
    );
    owner_if(&hub, "DELETE /devices/in", "*", &Value::Null).await;
    let read = owner(&hub, "GET /configurations/c", &Value::Null).await.json();
    assert_eq!(
        read["systemMetrics"]["results"],
        json!({ "targetedCount": 0, "appliedCount": 0 })
    );
}

#[tokio::test]
async fn of_two_the_higher_priority_wins_and_of_equals_the_newer() {
    let clock = iothub_emulator::ManualClock::new(iothub_emulator::Timestamp::from_seconds(1_700_000_000));
    let hub = builder().clock(clock.clone()).start().await.unwrap();
    let set =
        |value: u64| json!({ "properties.desired.x": value, format!("properties.desired.own{value}"): true });
    put(&hub, &configuration("high", "*", 10, &set(1))).await;
    clock.advance(std::time::Duration::from_secs(1));
    put(&hub, &configuration("low", "*", 1, &set(2))).await;
    assert_eq!(
        desired(&hub, DEVICE).await,
        json!({ "x": 1, "own1": true, "own2": true })
    );
    clock.advance(std::time::Duration::from_secs(1));
    put(&hub, &configuration("new", "*", 10, &set(3))).await;
    assert_eq!(desired(&hub, DEVICE).await["x"], 3);
    // When it goes, what another one sets comes back.
    owner(&hub, "DELETE /configurations/new", &Value::Null).await;
    assert_eq!(desired(&hub, DEVICE).await["x"], 1);
    // Without a condition it is for nobody.
    put(&hub, &configuration("nobody", "", 99, &set(4))).await;
    assert_eq!(desired(&hub, DEVICE).await["x"], 1);
}

#[tokio::test]
async fn modules_are_configured_by_their_own_condition() {
    let hub = hub().await;
    for module in ["m", "n"] {
        let form = json!({ "deviceId": DEVICE, "moduleId": module });
        owner(&hub, &format!("PUT /devices/{DEVICE}/modules/{module}"), &form).await;
    }
    let form = json!({
        "id": "c", "targetCondition": "FROM devices.modules WHERE moduleId = 'm'", "priority": 1,
        "content": { "moduleContent": { "properties.desired": { "k": 1 } } },
    });
    let made = put(&hub, &form).await.json();
    assert_eq!(
        made["systemMetrics"]["results"],
        json!({ "targetedCount": 1, "appliedCount": 1 })
    );
    assert_eq!(
        desired(&hub, &format!("{DEVICE}/modules/m")).await,
        json!({ "k": 1 })
    );
    assert_eq!(desired(&hub, &format!("{DEVICE}/modules/n")).await, json!({}));
    assert_eq!(desired(&hub, DEVICE).await, json!({}));
}

#[tokio::test]
async fn a_manifest_is_set_on_an_edge_device_and_its_modules_made() {
    let hub = hub().await;
    let edge = json!({ "deviceId": "edge", "capabilities": { "iotEdge": true } });
    owner(&hub, "PUT /devices/edge", &edge).await;
    let modules = owner(&hub, "GET /devices/edge/modules", &Value::Null)
        .await
        .json();
    let ids: Vec<_> = modules
        .as_array()
        .unwrap()
        .iter()
        .map(|module| &module["moduleId"])
        .collect();
    assert_eq!(ids, ["$edgeAgent", "$edgeHub"]);
    let manifest = json!({ "modulesContent": {
        "$edgeAgent": { "properties.desired": { "modules": {} } },
        "sensor": { "properties.desired.rate": 5 },
    } });
    let done = owner(&hub, "POST /devices/edge/applyConfigurationContent", &manifest).await;
    assert_eq!((done.status, done.text.as_str()), (204, ""));
    assert_eq!(
        desired(&hub, "edge/modules/$edgeAgent").await,
        json!({ "modules": {} })
    );
    assert_eq!(desired(&hub, "edge/modules/sensor").await, json!({ "rate": 5 }));
    let nobody = owner(&hub, "POST /devices/nobody/applyConfigurationContent", &manifest).await;
    assert_eq!(nobody.error(), error(404, "DeviceNotFound"));
    // A deployment: of several the one of the highest priority alone.
    for (id, priority, rate) in [("low", 1, 6), ("high", 2, 7)] {
        let form = json!({
            "id": id, "targetCondition": "capabilities.iotEdge = true", "priority": priority,
            "content": { "modulesContent": { "sensor": { "properties.desired.rate": rate } } },
        });
        assert_eq!(put(&hub, &form).await.status, 201);
    }
    assert_eq!(desired(&hub, "edge/modules/sensor").await, json!({ "rate": 7 }));
}

#[tokio::test]
async fn queries_are_tested_without_a_configuration() {
    let hub = hub().await;
    let line = "POST /configurations/testQueries";
    let fine = json!({ "targetCondition": "tags.a = 1", "customMetricQueries": { "m": "SELECT deviceId FROM devices" } });
    let answer = owner(&hub, line, &fine).await;
    assert_eq!(
        answer.json(),
        json!({ "targetConditionError": null, "customMetricQueryErrors": {} })
    );
    let wrong = json!({ "targetCondition": "tags.a =", "customMetricQueries": { "m": "SELECT" } });
    let answer = owner(&hub, line, &wrong).await.json();
    assert!(
        answer["targetConditionError"]
            .as_str()
            .unwrap()
            .ends_with("at character 9")
    );
    assert!(
        answer["customMetricQueryErrors"]["m"]
            .as_str()
            .unwrap()
            .ends_with("at character 7")
    );
    for (field, value) in [
        ("targetCondition", json!("tags.a =")),
        ("metrics", json!({ "queries": { "m": "SELECT" } })),
        ("content", json!({ "deviceContent": { "tags.x": 1 } })),
        ("content", json!({ "deviceContent": { "properties.desired": 1 } })),
        ("priority", json!("high")),
        ("id", json!("other")),
    ] {
        let mut form = configuration("c", "*", 1, &json!({}));
        form[field] = value;
        let refused = owner(&hub, "PUT /configurations/c", &form).await;
        assert_eq!(refused.error(), error(400, "ArgumentInvalid"), "{form}");
    }
    let upper = configuration("Upper", "*", 1, &json!({}));
    assert_eq!(put(&hub, &upper).await.error(), error(400, "ArgumentInvalid"));
}

#[tokio::test]
async fn a_configuration_survives_the_hub() {
    let directory = tempfile::tempdir().unwrap();
    let builder = || builder().state_dir(directory.path());
    let hub = builder().start().await.unwrap();
    let made = put(
        &hub,
        &configuration("c", "*", 1, &json!({ "properties.desired.x": 1 })),
    )
    .await
    .json();
    owner(
        &hub,
        &format!("PATCH /twins/{DEVICE}"),
        &json!({ "properties": { "desired": { "x": 2 } } }),
    )
    .await;
    hub.stop().await;
    let hub = builder().start().await.unwrap();
    assert_eq!(
        owner(&hub, "GET /configurations/c", &Value::Null).await.json(),
        made
    );
    // It has been applied before, and is not again.
    assert_eq!(desired(&hub, DEVICE).await, json!({ "x": 2 }));
    hub.stop().await;
}
