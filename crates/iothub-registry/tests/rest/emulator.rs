//! Goal: each operation does at a hub what it says, and its refusals have their codes.
//! Method: the emulator, whose REST API Microsoft's SDKs are tested against; what was done is looked at through the emulator's own face where it
//! has one.

use std::collections::BTreeMap;
use std::time::Duration;

use iothub_address::{DeviceId, Identity, ModuleId};
use iothub_amqp::DeviceClient;
use iothub_emulator::CloudMessage;
use iothub_registry::{
    Authentication, BulkChange, BulkMode, Configuration, Device, ErrorCode, IfMatch, Job, JobFilter,
    JobRequest, JobStatus, MethodCall, Module, Refusal, RegistryError, Status, SymmetricKey, Thumbprints,
    TwinChange,
};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use super::harness::{KEY, hub};

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, RegistryError>) -> Refusal {
    match outcome {
        Err(RegistryError::Refused(refusal)) => *refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn a_device_is_created_read_changed_and_deleted() {
    let (hub, registry) = hub().await;
    let made = registry.create_device(&Device::new(id("dev"))).await.unwrap();
    let Authentication::Sas(keys) = &made.authentication else {
        panic!("{:?}", made.authentication)
    };
    // The hub has made them, and a device can sign in with them.
    let string = hub.connection_string(&Identity::Device(id("dev"))).await.unwrap();
    assert_eq!(
        string.key().unwrap().expose(),
        keys.primary.as_ref().unwrap().expose()
    );
    assert_eq!(registry.device(&id("dev")).await.unwrap(), made);

    let again = refused(registry.create_device(&Device::new(id("dev"))).await);
    assert_eq!((again.status, again.code), (409, ErrorCode::DeviceAlreadyExists));
    assert!(again.tracking_id.is_some_and(|id| !id.is_empty()));

    let mut device = made.clone();
    device.status = Status::Disabled;
    device.status_reason = Some("in the workshop".to_owned());
    let stale = IfMatch::etag("AAAAAAAAAAA=");
    let mismatch = refused(registry.update_device(&device, &stale).await);
    assert_eq!(
        (mismatch.status, mismatch.code),
        (412, ErrorCode::PreconditionFailed)
    );
    let changed = registry
        .update_device(&device, &IfMatch::etag(&made.etag))
        .await
        .unwrap();
    assert_eq!(changed.status, Status::Disabled);
    assert_eq!(changed.status_reason.as_deref(), Some("in the workshop"));
    assert_eq!(changed.authentication, made.authentication);
    assert_ne!(changed.etag, made.etag);

    let counts = registry.device_counts().await.unwrap();
    assert_eq!((counts.total, counts.enabled, counts.disabled), (1, 0, 1));
    assert_eq!(registry.connected_devices().await.unwrap(), 0);

    let mismatch = refused(registry.delete_device(&id("dev"), &stale).await);
    assert_eq!(mismatch.code, ErrorCode::PreconditionFailed);
    registry
        .delete_device(&id("dev"), &IfMatch::etag(&changed.etag))
        .await
        .unwrap();
    let gone = refused(registry.device(&id("dev")).await);
    assert_eq!((gone.status, gone.code), (404, ErrorCode::DeviceNotFound));
    assert!(hub.devices().await.unwrap().is_empty());
}

#[tokio::test]
async fn devices_prove_who_they_are_in_all_ways() {
    let (_hub, registry) = hub().await;
    let print = "AB".repeat(20);
    let ways = [
        Authentication::Sas(SymmetricKey::new(KEY, KEY)),
        Authentication::SelfSigned(Thumbprints::new(print.clone(), Some("CD".repeat(20)))),
        Authentication::CertificateAuthority,
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut device = Device::new(id(&format!("dev{number}")));
        device.authentication = way.clone();
        device.iot_edge = number == 0;
        let made = registry.create_device(&device).await.unwrap();
        assert_eq!(made.authentication, way);
        assert_eq!(made.iot_edge, number == 0);
    }
    let listed = registry.devices(Some(2)).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(registry.devices(None).await.unwrap().len(), 3);
    assert!(!format!("{:?}", registry.devices(None).await.unwrap()).contains(KEY));
}

#[tokio::test]
async fn modules_are_created_listed_changed_and_deleted() {
    let (_hub, registry) = hub().await;
    let orphan = Module::new(id("dev"), "mod".parse().unwrap());
    assert_eq!(
        refused(registry.create_module(&orphan).await).code,
        ErrorCode::DeviceNotFound
    );
    registry.create_device(&Device::new(id("dev"))).await.unwrap();
    let mut module = registry.create_module(&orphan).await.unwrap();
    assert_eq!(
        refused(registry.create_module(&orphan).await).code,
        ErrorCode::ModuleAlreadyExists
    );
    module.managed_by = Some("us".to_owned());
    let changed = registry
        .update_module(&module, &IfMatch::etag(&module.etag))
        .await
        .unwrap();
    assert_eq!(changed.managed_by.as_deref(), Some("us"));
    let name = ModuleId::parse("mod").unwrap();
    assert_eq!(registry.module(&id("dev"), &name).await.unwrap(), changed);
    assert_eq!(registry.modules(&id("dev")).await.unwrap(), [changed]);
    registry
        .delete_module(&id("dev"), &name, &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(
        refused(registry.module(&id("dev"), &name).await).code,
        ErrorCode::ModuleNotFound
    );
}

#[tokio::test]
async fn a_bulk_says_what_it_did_not_do() {
    let (hub, registry) = hub().await;
    registry.create_device(&Device::new(id("dev1"))).await.unwrap();
    let mut first = BulkChange::new(BulkMode::Create, Identity::Device(id("dev0")));
    first.tags = Some(object(json!({ "floor": 4 })));
    first.authentication = Authentication::Sas(SymmetricKey::new(KEY, KEY));
    let taken = BulkChange::new(BulkMode::Create, Identity::Device(id("dev1")));
    let report = registry.bulk(&[first.clone(), taken]).await.unwrap();
    let [error] = report.errors.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!(
        (error.device_id.as_str(), &error.code),
        ("dev1", &ErrorCode::DeviceAlreadyExists)
    );
    let twin = registry.twin(&first.identity).await.unwrap();
    assert_eq!(twin.tags, object(json!({ "floor": 4 })));
    let string = hub.connection_string(&first.identity).await.unwrap();
    assert_eq!(string.key().unwrap().expose(), KEY);

    let gone = BulkChange::new(BulkMode::Delete, first.identity.clone());
    assert!(registry.bulk(&[gone]).await.unwrap().is_done());
    assert_eq!(hub.devices().await.unwrap(), [id("dev1")]);
    let none = registry.bulk(&[]).await;
    assert!(matches!(none, Err(RegistryError::Unfit(_))), "{none:?}");
}

#[tokio::test]
async fn an_export_s_line_is_read_and_written() {
    // As the service documents it: "Import and export IoT Hub device identities in bulk".
    let line = format!(
        r#"{{"id":"dev","eTag":"MA==","importMode":"createOrUpdate","status":"disabled","statusReason":"old","authentication":{{"symmetricKey":{{"primaryKey":"{KEY}","secondaryKey":"{KEY}"}}}},"tags":{{"a":1}},"properties":{{"desired":{{"b":2}},"reported":{{}}}},"capabilities":{{"iotEdge":true}}}}"#
    );
    let unknown = BulkChange::from_json(&line, BulkMode::Create).unwrap_err();
    assert!(!unknown.to_string().contains(KEY), "{unknown}");
    let line = line.replace(r#""importMode":"createOrUpdate","#, "");
    let change = BulkChange::from_json(&line, BulkMode::Create).unwrap();
    assert_eq!(change.mode, BulkMode::Create);
    assert_eq!(change.status, Status::Disabled);
    assert_eq!(
        change.authentication,
        Authentication::Sas(SymmetricKey::new(KEY, KEY))
    );
    assert!(change.iot_edge);
    let again = BulkChange::from_json(&change.expose_json(), BulkMode::Update).unwrap();
    assert_eq!(again, change);
    for end in 0..line.len() {
        let cut = BulkChange::from_json(&line[..end], BulkMode::Create);
        assert!(cut.is_err(), "{}", &line[..end]);
    }
}

#[tokio::test]
async fn queries_come_in_pages_and_can_be_taken_up_again() {
    let (_hub, registry) = hub().await;
    let changes: Vec<_> = (0..25)
        .map(|number| BulkChange::new(BulkMode::Create, Identity::Device(id(&format!("dev{number:02}")))))
        .collect();
    assert!(registry.bulk(&changes).await.unwrap().is_done());
    let text = "SELECT deviceId FROM devices";
    let mut pages = registry.query(text).page_size(10);
    let mut sizes = Vec::new();
    let mut ids = Vec::new();
    let mut begins = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        assert_eq!(page.item_type.as_deref(), Some("raw"));
        sizes.push(page.rows.len());
        ids.extend(
            page.rows
                .iter()
                .map(|row| row["deviceId"].as_str().unwrap().to_owned()),
        );
        begins.extend(page.continuation);
    }
    assert_eq!(sizes, [10, 10, 5]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 25);
    assert!(pages.next().await.unwrap().is_none());
    let later = registry
        .query(text)
        .page_size(10)
        .from(&begins[1])
        .next()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(later.rows.len(), 5);

    let wrong = refused(registry.query("SELECT FROM").next().await);
    assert_eq!((wrong.status, wrong.code), (400, ErrorCode::ArgumentInvalid));
    let stream = registry.query(text).page_size(10).into_stream();
    let pages: Vec<_> = futures_util::StreamExt::collect(stream).await;
    assert_eq!(pages.len(), 3);
}

#[tokio::test]
async fn twins_are_read_patched_and_replaced_by_their_etag() {
    let (_hub, registry) = hub().await;
    registry.create_device(&Device::new(id("dev"))).await.unwrap();
    let module = Module::new(id("dev"), "mod".parse().unwrap());
    registry.create_module(&module).await.unwrap();
    for of in [Identity::Device(id("dev")), module.identity()] {
        let new = registry.twin(&of).await.unwrap();
        assert_eq!((new.module_id.as_ref(), new.desired().version), (of.module(), 1));
        let change = TwinChange::desired(object(json!({ "a": 1, "b": { "c": 2 } })))
            .tags(object(json!({ "floor": 4 })));
        let patched = registry
            .patch_twin(&of, &change, Some(&IfMatch::etag(&new.etag)))
            .await
            .unwrap();
        assert_eq!(
            patched.desired().values,
            object(json!({ "a": 1, "b": { "c": 2 } }))
        );
        assert_eq!(patched.desired().version, 2);
        assert_eq!(patched.tags, object(json!({ "floor": 4 })));
        let stale = registry
            .patch_twin(&of, &change, Some(&IfMatch::etag(&new.etag)))
            .await;
        assert_eq!(refused(stale).code, ErrorCode::PreconditionFailed);
        let none = TwinChange::desired(object(json!({ "a": null, "d": true })));
        let patched = registry.patch_twin(&of, &none, None).await.unwrap();
        assert_eq!(
            patched.desired().values,
            object(json!({ "b": { "c": 2 }, "d": true }))
        );
        let whole = TwinChange::desired(object(json!({ "e": 5 })));
        let replaced = registry.replace_twin(&of, &whole, Some(&IfMatch::Any));
        assert_eq!(
            replaced.await.unwrap().desired().values,
            object(json!({ "e": 5 }))
        );
        // What was read can be written back.
        let document = object(registry.twin_document(&of).await.unwrap());
        let back = registry
            .replace_twin(&of, &TwinChange::from_json(document).unwrap(), None)
            .await
            .unwrap();
        assert_eq!(back.desired().values, object(json!({ "e": 5 })));
    }
}

#[tokio::test]
async fn a_device_answers_a_method() {
    let (hub, registry) = hub().await;
    registry.create_device(&Device::new(id("dev"))).await.unwrap();
    let of = Identity::Device(id("dev"));
    let offline = refused(registry.call_method(&of, &MethodCall::new("reboot")).await);
    assert_eq!((offline.status, offline.code), (404, ErrorCode::DeviceNotOnline));

    let string = hub.connection_string(&of).await.unwrap();
    let root = CertificateDer::from(hub.root_certificate_der().to_vec());
    let client = DeviceClient::with(&string)
        .unwrap()
        .root_certificate(root)
        .connect()
        .await
        .unwrap();
    let mut methods = client.methods().await.unwrap();
    let device = tokio::spawn(async move {
        let call = methods.next().await.unwrap();
        let name = call.name().to_owned();
        let payload: Value = serde_json::from_slice(call.payload()).unwrap();
        call.respond(207, r#"{"done":true}"#).await.unwrap();
        (name, payload)
    });
    let call = MethodCall::new("reboot")
        .payload(json!({ "delay": 5 }))
        .response_timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(5));
    let response = registry.call_method(&of, &call).await.unwrap();
    assert_eq!(
        (response.status, response.payload),
        (207, json!({ "done": true }))
    );
    assert_eq!(
        device.await.unwrap(),
        ("reboot".to_owned(), json!({ "delay": 5 }))
    );
    client.close().await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_device_is_purged() {
    let (hub, registry) = hub().await;
    registry.create_device(&Device::new(id("dev"))).await.unwrap();
    for _ in 0..3 {
        hub.send_to_device(id("dev"), CloudMessage::new("hello"))
            .await
            .unwrap();
    }
    let waiting = registry.device(&id("dev")).await.unwrap();
    assert_eq!(waiting.cloud_to_device_message_count, 3);
    assert_eq!(registry.purge_messages(&id("dev")).await.unwrap(), 3);
    assert_eq!(hub.waiting_messages(id("dev")).await.unwrap(), 0);
}

#[tokio::test]
async fn configurations_are_made_changed_and_removed() {
    let (_hub, registry) = hub().await;
    let mut floors = Configuration::new("floors");
    floors.target_condition = "tags.floor > 3".to_owned();
    floors.priority = 10;
    floors.content = object(json!({ "deviceContent": { "properties.desired.light": "on" } }));
    let made = registry.create_configuration(&floors).await.unwrap();
    assert_eq!(
        (made.priority, made.target_condition.as_str()),
        (10, "tags.floor > 3")
    );
    assert_eq!(
        refused(registry.create_configuration(&floors).await).code,
        ErrorCode::ConfigurationAlreadyExists
    );
    floors.priority = 11;
    let changed = registry
        .update_configuration(&floors, &IfMatch::etag(&made.etag))
        .await
        .unwrap();
    assert_eq!(changed.priority, 11);
    assert_eq!(registry.configurations(None).await.unwrap().len(), 1);
    let metrics = BTreeMap::from([("bad".to_owned(), "SELECT".to_owned())]);
    let check = registry.check_queries("tags.floor > 3", &metrics).await.unwrap();
    assert_eq!(check.target_condition_error, None);
    assert!(check.custom_metric_query_errors.contains_key("bad"), "{check:?}");
    registry
        .delete_configuration("floors", &IfMatch::Any)
        .await
        .unwrap();
    assert_eq!(
        refused(registry.configuration("floors").await).code,
        ErrorCode::ConfigurationNotFound
    );
    let mut edge = Device::new(id("edge"));
    edge.iot_edge = true;
    registry.create_device(&edge).await.unwrap();
    let manifest = object(json!({ "modulesContent": { "cam": { "properties.desired": { "fps": 5 } } } }));
    registry
        .apply_configuration(&id("edge"), &manifest)
        .await
        .unwrap();
    let cam = Identity::Module(id("edge"), "cam".parse().unwrap());
    assert_eq!(
        registry.twin(&cam).await.unwrap().desired().values,
        object(json!({ "fps": 5 }))
    );
}

#[tokio::test]
async fn a_job_is_scheduled_found_and_cancelled() {
    let (_hub, registry) = hub().await;
    registry.create_device(&Device::new(id("dev"))).await.unwrap();
    let change = TwinChange::desired(object(json!({ "light": "on" })));
    let tomorrow = time::OffsetDateTime::now_utc() + time::Duration::days(1);
    let job = JobRequest::update_twin("job1", "deviceId IN ['dev']", change).start(tomorrow);
    let made = registry.create_job(&job).await.unwrap();
    assert_eq!(made.job_id, "job1");
    assert_eq!(made.status, JobStatus::Scheduled);
    assert_eq!(
        refused(registry.create_job(&job).await).code,
        ErrorCode::JobAlreadyExists
    );
    let second =
        JobRequest::call_method("job2", "deviceId IN ['dev']", MethodCall::new("reboot")).start(tomorrow);
    registry.create_job(&second).await.unwrap();
    let page = registry
        .jobs(JobFilter::default().status(JobStatus::Scheduled))
        .page_size(1)
        .next()
        .await
        .unwrap()
        .unwrap();
    assert!(page.continuation.is_some());
    let row = Job::from_row(page.rows[0].clone()).unwrap();
    assert_eq!(row.job_id, "job1");
    let cancelled = registry.cancel_job("job1").await.unwrap();
    assert_eq!(cancelled.status, JobStatus::Cancelled);
    assert!(registry.job("job1").await.unwrap().status.is_over());
    assert_eq!(
        refused(registry.cancel_job("job1").await).code,
        ErrorCode::JobRunPreconditionFailed
    );
    assert_eq!(refused(registry.job("none").await).code, ErrorCode::JobNotFound);
}
