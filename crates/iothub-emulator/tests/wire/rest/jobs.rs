//! Scheduled jobs (Azure docs, "Schedule jobs on multiple devices", "Queries for IoT Hub jobs").

use std::time::Duration;

use iothub_emulator::{Emulator, ManualClock, Tier, Timestamp};
use serde_json::{Value, json};

use super::client::*;
use crate::common::DEVICE;
use crate::methods::{int, response};
use crate::pairs::*;
use crate::raw::*;

const START: i64 = 1_700_000_000;

async fn still() -> (Emulator, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_seconds(START));
    (builder().clock(clock.clone()).start().await.unwrap(), clock)
}

async fn job(hub: &Emulator, id: &str) -> Value {
    owner(hub, &format!("GET /jobs/v2/{id}"), &Value::Null)
        .await
        .json()
}

async fn of_devices(hub: &Emulator, id: &str) -> Vec<Value> {
    let query = format!("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '{id}'");
    let answer = owner(hub, "POST /devices/query", &json!({ "query": query })).await;
    assert_eq!(answer.header("x-ms-item-type"), Some("devicejob"));
    answer.json().as_array().unwrap().clone()
}

fn counts(all: u64, failed: u64, done: u64, running: u64, pending: u64) -> Value {
    json!({
        "deviceCount": all, "failedCount": failed, "succeededCount": done, "runningCount": running, "pendingCount": pending,
    })
}

#[tokio::test]
async fn twins_are_changed_when_the_hubs_clock_says_so() {
    let (hub, _) = still().await;
    for device in ["a", "b", "c"] {
        owner(
            &hub,
            &format!("PUT /devices/{device}"),
            &json!({ "deviceId": device }),
        )
        .await;
    }
    for device in ["a", "b"] {
        owner(
            &hub,
            &format!("PATCH /twins/{device}"),
            &json!({ "tags": { "in": true } }),
        )
        .await;
    }
    let request = json!({
        "jobId": "j1", "type": "scheduleUpdateTwin", "queryCondition": "tags.in = true",
        "updateTwin": { "etag": "*", "tags": { "done": 1 }, "properties": { "desired": { "k": "v" } } },
        // An hour on.
        "startTime": "2023-11-14T23:13:20Z", "maxExecutionTimeInSeconds": 60,
    });
    let made = owner(&hub, "PUT /jobs/v2/j1", &request).await;
    assert_eq!(made.status, 200);
    let made = made.json();
    assert_eq!(
        (&made["jobId"], &made["type"], &made["status"]),
        (&json!("j1"), &json!("scheduleUpdateTwin"), &json!("scheduled"))
    );
    assert_eq!(made["startTime"], "2023-11-14T23:13:20.0000000Z");
    assert_eq!(made["createdTime"], "2023-11-14T22:13:20.0000000Z");
    assert_eq!(made["updateTwin"], request["updateTwin"]);
    assert_eq!(made["queryCondition"], "tags.in = true");
    assert_eq!(
        owner(&hub, "PUT /jobs/v2/j1", &request).await.error(),
        error(409, "JobAlreadyExists")
    );
    hub.turn_clock(Duration::from_secs(3599)).await.unwrap();
    assert_eq!(job(&hub, "j1").await["status"], "scheduled");
    assert_eq!(of_devices(&hub, "j1").await, Vec::<Value>::new());
    hub.turn_clock(Duration::from_secs(1)).await.unwrap();
    let done = job(&hub, "j1").await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["deviceJobStatistics"], counts(2, 0, 2, 0, 0));
    assert_eq!(done["endTime"], "2023-11-14T23:13:20.0000000Z");
    for (device, tags) in [("a", json!({ "in": true, "done": 1 })), ("c", json!({}))] {
        let twin = owner(&hub, &format!("GET /twins/{device}"), &Value::Null)
            .await
            .json();
        assert_eq!(twin["tags"], tags);
    }
    let devices = of_devices(&hub, "j1").await;
    let told: Vec<_> = devices
        .iter()
        .map(|one| {
            (
                one["deviceId"].as_str().unwrap(),
                one["status"].as_str().unwrap(),
                &one["jobType"],
            )
        })
        .collect();
    let kind = json!("scheduleUpdateTwin");
    assert_eq!(told, [("a", "completed", &kind), ("b", "completed", &kind)]);
    assert_eq!(devices[0]["endTimeUtc"], "2023-11-14T23:13:20.0000000Z");
    let cancelled = owner(&hub, "POST /jobs/v2/j1/cancel", &Value::Null).await;
    assert_eq!(cancelled.error(), error(412, "JobRunPreconditionFailed"));
}

#[tokio::test]
async fn methods_are_called_and_what_each_device_says_is_told() {
    let (hub, _) = still().await;
    owner(&hub, "PUT /devices/offline", &json!({ "deviceId": "offline" })).await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, "/devices/myFirstDevice/methods/devicebound", None).await;
    let request = json!({
        "jobId": "m", "type": "scheduleDeviceMethod", "queryCondition": "*", "startTime": null,
        "cloudToDeviceMethod": { "methodName": "flush", "payload": { "n": 1 }, "responseTimeoutInSeconds": 30 },
    });
    let made = owner(&hub, "PUT /jobs/v2/m", &request).await.json();
    assert_eq!(made["cloudToDeviceMethod"], request["cloudToDeviceMethod"]);
    let (_, sections) = delivered(&mut raw).await;
    assert_eq!(body(&sections), br#"{"n":1}"#);
    let running = job(&hub, "m").await;
    assert_eq!(
        (&running["status"], &running["deviceJobStatistics"]),
        (&json!("running"), &counts(2, 1, 0, 1, 0))
    );
    raw.send(&response(0, &correlation(&sections), int(202), br#"{"left":0}"#))
        .await;
    raw.expect_past_flows(DISPOSITION).await;
    let done = job(&hub, "m").await;
    assert_eq!(
        (&done["status"], &done["deviceJobStatistics"]),
        (&json!("completed"), &counts(2, 1, 1, 0, 0))
    );
    let devices = of_devices(&hub, "m").await;
    assert_eq!(devices[0]["deviceId"], DEVICE);
    assert_eq!(
        devices[0]["outcome"],
        json!({ "deviceMethodResponse": { "status": 202, "payload": { "left": 0 } } })
    );
    assert_eq!(
        (&devices[1]["status"], &devices[1]["error"]["code"]),
        (&json!("failed"), &json!("DeviceNotOnline"))
    );
    let failed = "SELECT * FROM devices.jobs WHERE status = 'failed' AND deviceId = 'offline'";
    let failed = owner(&hub, "POST /devices/query", &json!({ "query": failed }))
        .await
        .json();
    assert_eq!(failed.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_job_ends_with_its_time_and_when_it_is_cancelled() {
    let (hub, clock) = still().await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, "/devices/myFirstDevice/methods/devicebound", None).await;
    let method = json!({ "methodName": "slow", "responseTimeoutInSeconds": 300 });
    for (id, longest) in [("late", 10), ("cancelled", 3600)] {
        let request = json!({
            "jobId": id, "type": "scheduleDeviceMethod", "queryCondition": format!("deviceId = '{DEVICE}'"),
            "cloudToDeviceMethod": method, "maxExecutionTimeInSeconds": longest,
        });
        assert_eq!(
            owner(&hub, &format!("PUT /jobs/v2/{id}"), &request).await.status,
            200
        );
        delivered(&mut raw).await;
    }
    let cancelled = owner(&hub, "POST /jobs/v2/cancelled/cancel", &Value::Null).await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["status"]),
        (200, &json!("cancelled"))
    );
    assert_eq!(of_devices(&hub, "cancelled").await[0]["status"], "canceled");
    clock.advance(Duration::from_secs(10));
    hub.turn_clock(Duration::ZERO).await.unwrap();
    let late = job(&hub, "late").await;
    assert_eq!(
        (&late["status"], &late["deviceJobStatistics"]),
        (&json!("completed"), &counts(1, 1, 0, 0, 0))
    );
    assert_eq!(
        of_devices(&hub, "late").await[0]["error"]["code"],
        "GatewayTimeout"
    );
    // What is scheduled is cancelled before it begins.
    let later = json!({
        "jobId": "later", "type": "scheduleUpdateTwin", "queryCondition": "*", "updateTwin": { "tags": { "x": 1 } },
        "startTime": "2023-12-01T00:00:00Z",
    });
    owner(&hub, "PUT /jobs/v2/later", &later).await;
    owner(&hub, "POST /jobs/v2/later/cancel", &Value::Null).await;
    hub.turn_clock(Duration::from_secs(30 * 24 * 3600)).await.unwrap();
    assert_eq!(job(&hub, "later").await["status"], "cancelled");
    let twin = owner(&hub, &format!("GET /twins/{DEVICE}"), &Value::Null)
        .await
        .json();
    assert_eq!(twin["tags"], json!({}));
}

#[tokio::test]
async fn jobs_are_listed_by_type_and_status_in_pages() {
    let (hub, _) = still().await;
    for n in 0..5 {
        let request = json!({
            "jobId": format!("t{n}"), "type": "scheduleUpdateTwin", "queryCondition": "*", "updateTwin": { "tags": { "x": n } },
            "startTime": if n < 3 { Value::Null } else { json!("2033-01-01T00:00:00Z") },
        });
        owner(&hub, &format!("PUT /jobs/v2/t{n}"), &request).await;
    }
    let ids = |answer: &Answer| -> Vec<String> {
        let list = answer.json();
        let list = list.as_array().unwrap().iter();
        list.map(|job| job["jobId"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = owner(&hub, "GET /jobs/v2/query", &Value::Null).await;
    assert_eq!(
        (ids(&all).len(), all.header("x-ms-item-type")),
        (5, Some("jobresponse"))
    );
    for (filter, wanted) in [
        ("jobStatus=completed", vec!["t0", "t1", "t2"]),
        ("jobStatus=scheduled&jobType=scheduleUpdateTwin", vec!["t3", "t4"]),
        ("jobType=scheduleDeviceMethod", vec![]),
    ] {
        let list = owner(&hub, &format!("GET /jobs/v2/query?{filter}"), &Value::Null).await;
        assert_eq!(ids(&list), wanted, "{filter}");
    }
    let first = owner_with(&hub, "GET /jobs/v2/query", "x-ms-max-item-count: 2\r\n", "").await;
    assert_eq!(ids(&first), ["t0", "t1"]);
    let next = first.header("x-ms-continuation").unwrap();
    let headers = format!("x-ms-max-item-count: 3\r\nx-ms-continuation: {next}\r\n");
    let second = owner_with(&hub, "GET /jobs/v2/query", &headers, "").await;
    assert_eq!(
        (ids(&second), second.header("x-ms-continuation")),
        (vec!["t2".to_owned(), "t3".into(), "t4".into()], None)
    );
}

#[tokio::test]
async fn what_is_no_job_is_refused() {
    let (hub, _) = still().await;
    let fine = json!({
        "jobId": "j", "type": "scheduleUpdateTwin", "queryCondition": "*", "updateTwin": { "tags": {} },
    });
    for (field, value, words) in [
        ("type", json!("export"), "neither scheduleUpdateTwin"),
        ("type", Value::Null, "neither scheduleUpdateTwin"),
        ("queryCondition", Value::Null, "queryCondition"),
        ("queryCondition", json!("tags.a ="), "at character 9"),
        ("updateTwin", json!(5), "updateTwin"),
        ("updateTwin", json!({ "tags": 5 }), "tags"),
        ("startTime", json!("tomorrow"), "startTime"),
        ("maxExecutionTimeInSeconds", json!(0), "maxExecutionTimeInSeconds"),
    ] {
        let mut request = fine.clone();
        request[field] = value;
        let answer = owner(&hub, "PUT /jobs/v2/j", &request).await;
        assert_eq!(answer.error(), error(400, "ArgumentInvalid"), "{request}");
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    for line in ["GET /jobs/v2/none", "POST /jobs/v2/none/cancel"] {
        assert_eq!(
            owner(&hub, line, &Value::Null).await.error(),
            error(404, "JobNotFound")
        );
    }
}

#[tokio::test]
async fn a_tier_has_so_many_jobs_at_once() {
    let clock = ManualClock::new(Timestamp::from_seconds(START));
    let hub = builder().clock(clock).tier(Tier::S1).start().await.unwrap();
    let request = json!({
        "jobId": "j", "type": "scheduleUpdateTwin", "queryCondition": "*", "updateTwin": { "tags": {} },
        "startTime": "2033-01-01T00:00:00Z",
    });
    assert_eq!(owner(&hub, "PUT /jobs/v2/one", &request).await.status, 200);
    let refused = owner(&hub, "PUT /jobs/v2/two", &request).await;
    assert_eq!(refused.error(), error(429, "ThrottlingMaxActiveJobCountExceeded"));
}

#[tokio::test]
async fn a_job_survives_the_hub_and_runs_in_its_next_life() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(Timestamp::from_seconds(START));
    let builder = || builder().clock(clock.clone()).state_dir(directory.path());
    let hub = builder().start().await.unwrap();
    let request = json!({
        "jobId": "j", "type": "scheduleUpdateTwin", "queryCondition": "*", "updateTwin": { "tags": { "x": 1 } },
        "startTime": "2023-11-14T23:13:20Z",
    });
    let made = owner(&hub, "PUT /jobs/v2/j", &request).await.json();
    let method = json!({
        "jobId": "m", "type": "scheduleDeviceMethod", "queryCondition": "*", "cloudToDeviceMethod": { "methodName": "x" },
    });
    owner(&hub, "PUT /jobs/v2/m", &method).await;
    let ended = job(&hub, "m").await;
    assert_eq!(ended["status"], "completed");
    hub.stop().await;
    let hub = builder().start().await.unwrap();
    assert_eq!((job(&hub, "j").await, job(&hub, "m").await), (made, ended));
    hub.turn_clock(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(job(&hub, "j").await["status"], "completed");
    let twin = owner(&hub, &format!("GET /twins/{DEVICE}"), &Value::Null)
        .await
        .json();
    assert_eq!(twin["tags"], json!({ "x": 1 }));
    hub.stop().await;
}
