//! Bulk requests of the registry: `ExportImportDevice` with each mode.

use serde_json::{Value, json};

use super::client::*;
use crate::common::{DEVICE, device};

#[tokio::test]
async fn a_list_is_made_changed_and_deleted() {
    let hub = hub().await;
    let list: Vec<Value> = (0..100)
        .map(|n| json!({ "id": format!("d{n}"), "importMode": "create" }))
        .collect();
    let done = owner(&hub, "POST /devices", &Value::from(list.clone())).await;
    assert_eq!(
        (done.status, done.json()),
        (200, json!({ "isSuccessful": true, "errors": [], "warnings": [] }))
    );
    assert_eq!(hub.devices().await.unwrap().len(), 101);
    let etag = owner(&hub, "GET /devices/d1", &Value::Null).await.json()["etag"].clone();
    let changes = json!([
        { "id": "d0", "importMode": "Update", "status": "disabled", "statusReason": "old" },
        // As Microsoft's Node SDK spells it.
        { "id": "d1", "importMode": "UpdateIfMatchETag", "etag": etag, "status": "disabled" },
        { "id": "d2", "importMode": "updateTwin", "tags": { "a": 1 }, "properties": { "desired": { "b": 2 } } },
        { "id": "d2", "moduleId": "m", "importMode": "create" },
        { "id": "d3", "importMode": "Delete" },
    ]);
    assert_eq!(owner(&hub, "POST /devices", &changes).await.status, 200);
    for device in ["d0", "d1"] {
        let read = owner(&hub, &format!("GET /devices/{device}"), &Value::Null)
            .await
            .json();
        assert_eq!(read["status"], "disabled");
    }
    let twin = owner(&hub, "GET /twins/d2", &Value::Null).await.json();
    assert_eq!(
        (&twin["tags"], &twin["properties"]["desired"]["b"]),
        (&json!({ "a": 1 }), &json!(2))
    );
    assert_eq!(
        owner(&hub, "GET /devices/d2/modules/m", &Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(owner(&hub, "GET /devices/d3", &Value::Null).await.status, 404);
}

#[tokio::test]
async fn what_fails_is_listed_with_its_reason_and_the_rest_is_done() {
    let hub = hub().await;
    let list = json!([
        { "id": DEVICE, "importMode": "create" },
        { "id": "fine", "importMode": "create" },
        { "id": "nobody", "importMode": "update" },
        { "id": DEVICE, "importMode": "updateIfMatchETag", "eTag": "AAAA" },
        { "id": DEVICE, "importMode": "updateTwin", "tags": { "a.b": 1 } },
        { "id": "bad/id", "importMode": "create" },
        { "id": DEVICE, "importMode": "sideways" },
        5,
    ]);
    let failed = owner(&hub, "POST /devices", &list).await;
    assert_eq!(
        (failed.status, failed.header("iothub-errorcode")),
        (400, Some("bulkregistryoperationfailure"))
    );
    let body = failed.json();
    assert_eq!(
        (&body["isSuccessful"], &body["warnings"]),
        (&json!(false), &json!([]))
    );
    let errors: Vec<_> = body["errors"].as_array().unwrap().iter().collect();
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error["deviceId"].as_str(), error["errorCode"].as_u64().unwrap()))
        .collect();
    let here = Some(DEVICE);
    assert_eq!(
        told,
        [
            (here, 409_001),
            (Some("nobody"), 404_001),
            (here, 412_001),
            (here, 400_004),
            (Some("bad/id"), 400_004),
            (here, 400_004),
            (None, 400_006),
        ]
    );
    assert!(
        errors
            .iter()
            .all(|error| error["errorStatus"].as_str().is_some_and(|text| !text.is_empty()))
    );
    assert_eq!(owner(&hub, "GET /devices/fine", &Value::Null).await.status, 200);
    assert_eq!(hub.twin(device()).await.unwrap().version(), 1);
}

#[tokio::test]
async fn a_list_has_one_to_a_hundred() {
    let hub = hub().await;
    let list: Vec<Value> = (0..101)
        .map(|n| json!({ "id": format!("d{n}"), "importMode": "create" }))
        .collect();
    for list in [Value::from(list), json!([])] {
        let refused = owner(&hub, "POST /devices", &list).await;
        assert_eq!(refused.error(), error(400, "ArgumentInvalid"));
    }
    assert_eq!(
        owner(&hub, "POST /devices", &json!({})).await.error(),
        error(400, "IotHubFormatError")
    );
    assert_eq!(hub.devices().await.unwrap().len(), 1);
}
