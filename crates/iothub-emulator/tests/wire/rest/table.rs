//! Every JSON object of the REST API as a table (protocol §6.5, and the REST API's published reference): each field, what
//! it may be, and whether it is always there. A field that no row knows, a value that a row does not allow, a field that is
//! missing, and a row of which nothing was seen are all failures.

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::*;
use crate::common::DEVICE;
use crate::methods::{int, response};
use crate::pairs::*;
use crate::raw::*;

/// One line: the object, the field, what it may be, and whether it may be left out.
struct Row(&'static str, &'static str, &'static [Kind], Presence);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Null,
    Text,
    Flag,
    Count,
    Object,
    List,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `2023-11-14T22:13:20.0000000Z`, or the time that has never been, with this at its end.
    Time(&'static str),
    /// Base64.
    Etag,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Presence {
    Always,
    Sometimes,
}

use Kind::{Any, Count, Etag, Flag, List, Null, Object, Text, Time, Word};
use Presence::{Always, Sometimes};

const STATUS: Kind = Word(&["enabled", "disabled"]);
const CONNECTION: Kind = Word(&["Connected", "Disconnected"]);
const PROOF: Kind = Word(&["sas", "selfSigned", "certificateAuthority", "none"]);
const JOB_STATUS: Kind = Word(&["scheduled", "running", "completed", "cancelled"]);
const DEVICE_STATUS: Kind = Word(&["pending", "running", "completed", "failed", "canceled"]);
const JOB_TYPE: Kind = Word(&["scheduleUpdateTwin", "scheduleDeviceMethod"]);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row("Device", "deviceId", &[Text], Always),
    Row("Device", "generationId", &[Text], Always),
    Row("Device", "etag", &[Etag], Always),
    Row("Device", "connectionState", &[CONNECTION], Always),
    Row("Device", "status", &[STATUS], Always),
    Row("Device", "statusReason", &[Null, Text], Always),
    Row("Device", "connectionStateUpdatedTime", &[Time("")], Always),
    Row("Device", "statusUpdatedTime", &[Time("")], Always),
    Row("Device", "lastActivityTime", &[Time("")], Always),
    Row("Device", "cloudToDeviceMessageCount", &[Count], Always),
    Row("Device", "authentication", &[Object], Always),
    Row("Device", "capabilities", &[Object], Always),
    Row("Device", "deviceScope", &[Text], Sometimes),
    Row("Device", "parentScopes", &[List], Sometimes),

    Row("Module", "deviceId", &[Text], Always),
    Row("Module", "moduleId", &[Text], Always),
    Row("Module", "managedBy", &[Null, Text], Always),
    Row("Module", "generationId", &[Text], Always),
    Row("Module", "etag", &[Etag], Always),
    Row("Module", "connectionState", &[CONNECTION], Always),
    Row("Module", "connectionStateUpdatedTime", &[Time("")], Always),
    Row("Module", "lastActivityTime", &[Time("")], Always),
    Row("Module", "cloudToDeviceMessageCount", &[Count], Always),
    Row("Module", "authentication", &[Object], Always),

    Row("authentication", "symmetricKey", &[Object], Always),
    Row("authentication", "x509Thumbprint", &[Object], Always),
    Row("authentication", "type", &[PROOF], Always),
    Row("symmetricKey", "primaryKey", &[Null, Etag], Always),
    Row("symmetricKey", "secondaryKey", &[Null, Etag], Always),
    Row("x509Thumbprint", "primaryThumbprint", &[Null, Text], Always),
    Row("x509Thumbprint", "secondaryThumbprint", &[Null, Text], Always),
    Row("capabilities", "iotEdge", &[Flag], Always),

    Row("Twin", "deviceId", &[Text], Always),
    Row("Twin", "moduleId", &[Text], Sometimes),
    Row("Twin", "modelId", &[Text], Always),
    Row("Twin", "etag", &[Etag], Always),
    Row("Twin", "deviceEtag", &[Etag], Always),
    Row("Twin", "version", &[Count], Always),
    Row("Twin", "status", &[STATUS], Always),
    Row("Twin", "statusReason", &[Text], Sometimes),
    Row("Twin", "statusUpdateTime", &[Time("Z")], Always),
    Row("Twin", "connectionState", &[CONNECTION], Always),
    Row("Twin", "lastActivityTime", &[Time("Z")], Always),
    Row("Twin", "cloudToDeviceMessageCount", &[Count], Always),
    Row("Twin", "authenticationType", &[PROOF], Always),
    Row("Twin", "x509Thumbprint", &[Object], Always),
    Row("Twin", "tags", &[Object], Always),
    Row("Twin", "properties", &[Object], Always),
    Row("Twin", "capabilities", &[Object], Sometimes),
    Row("Twin", "deviceScope", &[Text], Sometimes),
    Row("Twin", "parentScopes", &[List], Sometimes),
    Row("Twin", "configurations", &[Object], Sometimes),
    Row("properties", "desired", &[Object], Always),
    Row("properties", "reported", &[Object], Always),
    Row("desired", "$metadata", &[Object], Always),
    Row("desired", "$version", &[Count], Always),
    Row("desired", "k", &[Any], Sometimes),
    Row("metadata of desired", "$lastUpdated", &[Time("Z")], Sometimes),
    Row("metadata of desired", "$lastUpdatedVersion", &[Count], Sometimes),
    Row("metadata of desired", "k", &[Object], Sometimes),
    Row("metadata of reported", "$lastUpdated", &[Time("Z")], Sometimes),

    Row("statistics of devices", "totalDeviceCount", &[Count], Always),
    Row("statistics of devices", "enabledDeviceCount", &[Count], Always),
    Row("statistics of devices", "disabledDeviceCount", &[Count], Always),
    Row("statistics of the service", "connectedDeviceCount", &[Count], Always),
    Row("purge", "totalMessagesPurged", &[Count], Always),
    Row("purge", "deviceId", &[Text], Always),
    Row("purge", "moduleId", &[Null], Always),
    Row("bulk", "isSuccessful", &[Flag], Always),
    Row("bulk", "errors", &[List], Always),
    Row("bulk", "warnings", &[List], Always),
    Row("error of bulk", "deviceId", &[Text], Always),
    Row("error of bulk", "moduleId", &[Null, Text], Always),
    Row("error of bulk", "errorCode", &[Count], Always),
    Row("error of bulk", "errorStatus", &[Text], Always),
    Row("method", "status", &[Count], Always),
    Row("method", "payload", &[Any], Always),

    Row("JobResponse", "jobId", &[Text], Always),
    Row("JobResponse", "queryCondition", &[Text], Always),
    Row("JobResponse", "createdTime", &[Time("Z")], Always),
    Row("JobResponse", "startTime", &[Time("Z")], Always),
    Row("JobResponse", "lastUpdatedDateTime", &[Time("Z")], Always),
    Row("JobResponse", "endTime", &[Time("Z")], Sometimes),
    Row("JobResponse", "maxExecutionTimeInSeconds", &[Count], Always),
    Row("JobResponse", "type", &[JOB_TYPE], Always),
    Row("JobResponse", "updateTwin", &[Object], Sometimes),
    Row("JobResponse", "cloudToDeviceMethod", &[Object], Sometimes),
    Row("JobResponse", "status", &[JOB_STATUS], Always),
    Row("JobResponse", "deviceJobStatistics", &[Object], Always),
    Row("deviceJobStatistics", "deviceCount", &[Count], Always),
    Row("deviceJobStatistics", "failedCount", &[Count], Always),
    Row("deviceJobStatistics", "succeededCount", &[Count], Always),
    Row("deviceJobStatistics", "runningCount", &[Count], Always),
    Row("deviceJobStatistics", "pendingCount", &[Count], Always),
    Row("devices.jobs", "deviceId", &[Text], Always),
    Row("devices.jobs", "jobId", &[Text], Always),
    Row("devices.jobs", "jobType", &[JOB_TYPE], Always),
    Row("devices.jobs", "status", &[DEVICE_STATUS], Always),
    Row("devices.jobs", "startTimeUtc", &[Null, Time("Z")], Always),
    Row("devices.jobs", "endTimeUtc", &[Null, Time("Z")], Always),
    Row("devices.jobs", "createdDateTimeUtc", &[Time("Z")], Always),
    Row("devices.jobs", "lastUpdatedDateTimeUtc", &[Time("Z")], Always),
    Row("devices.jobs", "outcome", &[Object], Always),
    Row("devices.jobs", "error", &[Object], Sometimes),
    Row("outcome", "deviceMethodResponse", &[Null, Object], Always),
    Row("error of a job", "code", &[Text], Always),
    Row("error of a job", "description", &[Text], Always),

    Row("Configuration", "id", &[Text], Always),
    Row("Configuration", "schemaVersion", &[Text], Always),
    Row("Configuration", "labels", &[Object], Always),
    Row("Configuration", "content", &[Object], Always),
    Row("Configuration", "targetCondition", &[Text], Always),
    Row("Configuration", "createdTimeUtc", &[Time("Z")], Always),
    Row("Configuration", "lastUpdatedTimeUtc", &[Time("Z")], Always),
    Row("Configuration", "priority", &[Count], Always),
    Row("Configuration", "systemMetrics", &[Object], Always),
    Row("Configuration", "metrics", &[Object], Always),
    Row("Configuration", "etag", &[Etag], Always),
    Row("metrics", "results", &[Object], Always),
    Row("metrics", "queries", &[Object], Always),
    Row("testQueries", "targetConditionError", &[Null, Text], Always),
    Row("testQueries", "customMetricQueryErrors", &[Object], Always),

    Row("error", "Message", &[Text], Always),
    Row("error", "ExceptionMessage", &[Text], Always),
    Row("error by number", "errorCode", &[Count], Always),
    Row("error by number", "trackingId", &[Text], Always),
    Row("error by number", "message", &[Text], Always),
    Row("error by number", "info", &[Object], Always),
    Row("error by number", "timestampUtc", &[Time("Z")], Always),
];

impl Kind {
    fn allows(self, value: &Value) -> bool {
        match self {
            Any => true,
            Null => value.is_null(),
            Text => value.is_string(),
            Flag => value.is_boolean(),
            Count => value.is_i64() || value.is_u64(),
            Object => value.is_object(),
            List => value.is_array(),
            Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Time(never) => value.as_str().is_some_and(|text| {
                let digits = text.replace(|letter: char| letter.is_ascii_digit(), "0");
                text == format!("0001-01-01T00:00:00{never}") || digits == "0000-00-00T00:00:00.0000000Z"
            }),
            Etag => value.as_str().is_some_and(|text| {
                let letters = text.trim_end_matches('=');
                text.len().is_multiple_of(4)
                    && !text.is_empty()
                    && letters
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
            }),
        }
    }
}

/// Objects by their name.
type Seen = Vec<(&'static str, Value)>;

fn findings(seen: &Seen) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, object) in seen {
        let fields = object.as_object().unwrap_or_else(|| panic!("{name} is {object}"));
        for (field, value) in fields {
            match ROWS.iter().find(|row| row.0 == *name && row.1 == field) {
                None => findings.push(format!("no row is of {field} of {name}")),
                Some(row) if row.2.iter().any(|kind| kind.allows(value)) => {}
                Some(row) => findings.push(format!("{field} of {name} is {value} and not {:?}", row.2)),
            }
        }
        for row in ROWS.iter().filter(|row| row.0 == *name && row.3 == Always) {
            if !fields.contains_key(row.1) {
                findings.push(format!("{name} has no {}: {object}", row.1));
            }
        }
    }
    for Row(name, field, ..) in ROWS {
        if !seen
            .iter()
            .any(|(known, object)| known == name && object.get(*field).is_some())
        {
            findings.push(format!("{field} of {name} was never seen"));
        }
    }
    findings
}

#[tokio::test]
async fn all_objects_are_as_the_table_says() {
    let seen = scenes().await;
    let findings = findings(&seen);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// The table is checked in earnest: another type, one field more and one less are found.
#[test]
fn a_row_finds_what_is_wrong() {
    let right: Vec<(&str, Value)> = vec![("capabilities", json!({ "iotEdge": true }))];
    let own = |seen: &Seen| {
        let all = findings(seen).into_iter();
        all.filter(|finding| !finding.ends_with("never seen"))
            .collect::<Vec<_>>()
    };
    assert_eq!(own(&right), Vec::<String>::new());
    for wrong in [
        json!({ "iotEdge": "yes" }),
        json!({}),
        json!({ "iotEdge": true, "more": 1 }),
    ] {
        assert_eq!(own(&vec![("capabilities", wrong.clone())]).len(), 1, "{wrong}");
    }
}

async fn scenes() -> Seen {
    let hub = Arc::new(hub().await);
    let mut seen: Seen = Vec::new();
    let edge = json!({ "deviceId": "edge", "statusReason": "new", "capabilities": { "iotEdge": true } });
    let edge = owner(&hub, "PUT /devices/edge", &edge).await.json();
    let leaf = json!({ "deviceId": "leaf", "status": "disabled", "parentScopes": [edge["deviceScope"]] });
    let x509 = json!({ "deviceId": "x", "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": "A".repeat(40) } } });
    let devices = [
        edge,
        owner(&hub, "PUT /devices/leaf", &leaf).await.json(),
        owner(&hub, "PUT /devices/x", &x509).await.json(),
    ];
    let modules = owner(&hub, "GET /devices/edge/modules", &Value::Null)
        .await
        .json();
    for (name, identity) in devices
        .iter()
        .map(|one| ("Device", one))
        .chain(modules.as_array().unwrap().iter().map(|one| ("Module", one)))
    {
        seen.push((name, identity.clone()));
        let authentication = identity["authentication"].clone();
        seen.push(("symmetricKey", authentication["symmetricKey"].clone()));
        seen.push(("x509Thumbprint", authentication["x509Thumbprint"].clone()));
        seen.push(("authentication", authentication));
        if name == "Device" {
            seen.push(("capabilities", identity["capabilities"].clone()));
        }
    }
    configurations(&hub, &mut seen).await;
    jobs_and_methods(&hub, &mut seen).await;
    for path in ["edge", "leaf", "x", "edge/modules/$edgeHub", DEVICE] {
        let twin = owner(&hub, &format!("GET /twins/{path}"), &Value::Null)
            .await
            .json();
        let properties = twin["properties"].clone();
        seen.push(("desired", properties["desired"].clone()));
        seen.push(("metadata of desired", properties["desired"]["$metadata"].clone()));
        let mut told = properties["reported"]["$metadata"].clone();
        told.as_object_mut()
            .unwrap()
            .retain(|name, _| name.starts_with('$'));
        seen.push(("metadata of reported", told));
        seen.push(("properties", properties));
        seen.push(("x509Thumbprint", twin["x509Thumbprint"].clone()));
        seen.push(("Twin", twin));
    }
    for (name, line) in [
        ("statistics of devices", "GET /statistics/devices"),
        ("statistics of the service", "GET /statistics/service"),
        ("purge", "DELETE /devices/edge/commands"),
    ] {
        seen.push((name, owner(&hub, line, &Value::Null).await.json()));
    }
    let list = json!([{ "id": "edge", "importMode": "create" }, { "id": "edge", "moduleId": "$edgeHub", "importMode": "create" }]);
    let failed = owner(&hub, "POST /devices", &list).await.json();
    let errors = failed["errors"].as_array().unwrap().iter();
    seen.extend(errors.map(|error| ("error of bulk", error.clone())));
    seen.push(("bulk", failed));
    seen.push((
        "error",
        owner(&hub, "GET /devices/nobody", &Value::Null).await.json(),
    ));
    seen
}

async fn configurations(hub: &iothub_emulator::Emulator, seen: &mut Seen) {
    let form = json!({
        "id": "c", "targetCondition": "*", "content": { "deviceContent": { "properties.desired.k": 1 } },
        "metrics": { "queries": { "all": "SELECT deviceId FROM devices" } },
    });
    let made = owner(hub, "PUT /configurations/c", &form).await.json();
    seen.push(("metrics", made["metrics"].clone()));
    seen.push(("metrics", made["systemMetrics"].clone()));
    seen.push(("Configuration", made));
    for condition in ["*", "?"] {
        let tested = json!({ "targetCondition": condition });
        seen.push((
            "testQueries",
            owner(hub, "POST /configurations/testQueries", &tested)
                .await
                .json(),
        ));
    }
}

async fn jobs_and_methods(hub: &Arc<iothub_emulator::Emulator>, seen: &mut Seen) {
    let mut raw = Raw::begun(hub).await;
    crate::twins::report(&mut raw, &json!({ "r": 1 })).await;
    drop(raw);
    let mut raw = Raw::begun(hub).await;
    pair(&mut raw, "/devices/myFirstDevice/methods/devicebound", None).await;
    let asking = Arc::clone(hub);
    let call = json!({ "methodName": "m" });
    let waiting =
        tokio::spawn(async move { owner(&asking, &format!("POST /twins/{DEVICE}/methods"), &call).await });
    let (_, sections) = delivered(&mut raw).await;
    raw.send(&response(0, &correlation(&sections), int(200), b"{}"))
        .await;
    seen.push(("method", waiting.await.unwrap().json()));
    let offline = owner(hub, "POST /twins/edge/methods", &json!({ "methodName": "m" }))
        .await
        .json();
    seen.push((
        "error by number",
        serde_json::from_str(offline["Message"].as_str().unwrap()).unwrap(),
    ));
    for (id, work) in [
        (
            "t",
            json!({ "type": "scheduleUpdateTwin", "updateTwin": { "tags": {} } }),
        ),
        (
            "m",
            json!({ "type": "scheduleDeviceMethod", "cloudToDeviceMethod": { "methodName": "m" } }),
        ),
    ] {
        let mut request = work;
        request["jobId"] = id.into();
        request["queryCondition"] = "*".into();
        let line = format!("/jobs/v2/{id}");
        seen.push((
            "JobResponse",
            owner(hub, &format!("PUT {line}"), &request).await.json(),
        ));
        let job = owner(hub, &format!("GET {line}"), &Value::Null).await.json();
        seen.push(("deviceJobStatistics", job["deviceJobStatistics"].clone()));
        seen.push(("JobResponse", job));
    }
    let query = json!({ "query": "SELECT * FROM devices.jobs" });
    let rows = owner(hub, "POST /devices/query", &query).await.json();
    for row in rows.as_array().unwrap() {
        seen.push(("outcome", row["outcome"].clone()));
        seen.extend(row.get("error").map(|error| ("error of a job", error.clone())));
        seen.push(("devices.jobs", row.clone()));
    }
}
