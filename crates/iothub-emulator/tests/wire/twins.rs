//! A device's twin over its pair of links (protocol §5.9).

use serde_amqp::Value as Wire;
use serde_json::{Value as Json, json};

use crate::common::{device, hub};
use crate::pairs::*;
use crate::raw::*;

const ADDRESS: &str = "/devices/myFirstDevice/twin";
const ANNOTATIONS: u64 = 0x72;
const DESIRED: &str = "/notifications/twin/properties/desired";

/// A request, settled as Node and C# send it or not.
fn request(
    id: u32,
    settled: bool,
    correlation: Vec<u8>,
    annotations: &[(&str, Vec<u8>)],
    body: &str,
) -> Vec<u8> {
    let annotations: Vec<_> = annotations
        .iter()
        .map(|(key, value)| (symbol(key), value.clone()))
        .collect();
    let properties = [null(), null(), null(), null(), null(), correlation];
    let payload = [
        section(0x72, &map(&annotations)),
        section(0x73, &list(&properties)),
        data(body.as_bytes()),
    ];
    transfer(id, settled, false, &payload.concat())
}

fn operation(name: &str, resource: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut annotations = vec![("operation", string(name))];
    if !resource.is_empty() {
        annotations.push(("resource", string(resource)));
    }
    annotations
}

/// The status of the next answer, its version, and its body.
async fn answer(raw: &mut Raw) -> (i32, Option<i64>, Json) {
    let (_, sections) = delivered(raw).await;
    let Some(Wire::Int(status)) = entry(&sections, ANNOTATIONS, "status") else {
        panic!("no status: {sections:?}")
    };
    let version = match entry(&sections, ANNOTATIONS, "version") {
        Some(Wire::Long(version)) => Some(version),
        None => None,
        other => panic!("{other:?}"),
    };
    let body = body(&sections);
    let body = serde_json::from_slice(&body).unwrap_or(Json::Null);
    (status, version, body)
}

/// Attaches a pair of links, reports, and waits for the answer.
pub(crate) async fn report(raw: &mut Raw, patch: &Json) {
    pair(raw, ADDRESS, Some("twin:x")).await;
    let operation = operation("PATCH", "/properties/reported");
    raw.send(&request(0, true, string("p"), &operation, &patch.to_string()))
        .await;
    assert_eq!(answer(raw).await.0, 200);
}

/// Asks to hear of desired properties, over a pair that is there.
pub(crate) async fn subscribe(raw: &mut Raw) {
    raw.send(&request(0, true, string("s"), &operation("PUT", DESIRED), " "))
        .await;
    assert_eq!(answer(raw).await.0, 200);
}

#[tokio::test]
async fn a_device_reads_and_reports_and_the_service_sees_it() {
    let hub = hub().await;
    hub.patch_desired(device(), json!({"interval": 60}))
        .await
        .unwrap();
    hub.patch_tags(device(), json!({"floor": 3})).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, Some("twin:x")).await;
    // Settled, as Node does, with the body " ".
    raw.send(&request(0, true, string("a"), &operation("GET", ""), " "))
        .await;
    let whole = json!({"desired": {"interval": 60, "$version": 2}, "reported": {"$version": 1}});
    assert_eq!(answer(&mut raw).await, (200, None, whole));

    let patch = json!({"firmware": {"version": "1.0"}, "gone": null}).to_string();
    raw.send(&request(
        1,
        false,
        string("b"),
        &operation("PATCH", "/properties/reported"),
        &patch,
    ))
    .await;
    assert_eq!(answer(&mut raw).await, (200, Some(2), Json::Null));
    let twin = hub.twin(device()).await.unwrap();
    assert_eq!(
        Json::Object(twin.reported().clone()),
        json!({"firmware": {"version": "1.0"}})
    );
    assert_eq!((twin.reported_version(), twin.desired_version()), (2, 2));
    assert_eq!(twin.tags()["floor"], 3);
}

/// Java's are uuids, the others' strings; SDKs compare them with their type (protocol §12, row 15).
#[tokio::test]
async fn the_correlation_id_comes_back_in_its_type() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, Some("twin:x")).await;
    let id: [u8; 16] = *b"0123456789abcdef";
    let cases = [
        (string("Get1"), Wire::String("Get1".into())),
        (uuid(&id), Wire::Uuid(id.into())),
        (ulong(7), Wire::Ulong(7)),
    ];
    for (number, (sent, expected)) in (0..).zip(cases) {
        raw.send(&request(number, true, sent, &operation("GET", ""), " "))
            .await;
        let (frame, sections) = delivered(&mut raw).await;
        assert_eq!(correlation(&sections), expected);
        assert_eq!(frame.field(4), &Wire::Bool(true), "settled");
    }
}

#[tokio::test]
async fn an_unsettled_request_is_settled() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, None).await;
    raw.send(&request(0, false, string("a"), &operation("GET", ""), " "))
        .await;
    let (mut answered, mut settled) = (false, false);
    while !(answered && settled) {
        let next = raw.frame().await.unwrap();
        answered |= next.code == u64::from(TRANSFER);
        settled |= next.code == u64::from(DISPOSITION) && next.field(3) == &Wire::Bool(true);
    }
}

#[tokio::test]
async fn desired_changes_come_only_to_who_asked_for_them() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, Some("twin:x")).await;
    hub.patch_desired(device(), json!({"before": 1})).await.unwrap();
    raw.send(&request(0, true, string("p"), &operation("PUT", DESIRED), " "))
        .await;
    assert_eq!(answer(&mut raw).await.0, 200);
    hub.patch_desired(device(), json!({"interval": 5, "before": null}))
        .await
        .unwrap();
    let (_, sections) = delivered(&mut raw).await;
    assert_eq!(correlation(&sections), Wire::Null, "no correlation-id");
    assert_eq!(
        entry(&sections, ANNOTATIONS, "resource"),
        Some(Wire::String("/properties/desired".into()))
    );
    assert_eq!(entry(&sections, ANNOTATIONS, "version"), Some(Wire::Long(3)));
    let change: Json = serde_json::from_slice(&body(&sections)).unwrap();
    assert_eq!(change, json!({"interval": 5, "before": null, "$version": 3}));

    raw.send(&request(1, true, string("d"), &operation("DELETE", DESIRED), " "))
        .await;
    assert_eq!(answer(&mut raw).await.0, 200);
    hub.patch_desired(device(), json!({"interval": 6})).await.unwrap();
    raw.send(&request(2, true, string("g"), &operation("GET", ""), " "))
        .await;
    assert_eq!(answer(&mut raw).await.2["desired"]["interval"], 6);
}

#[tokio::test]
async fn what_the_twin_does_not_take_is_answered_with_a_status_and_the_hubs_json() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, Some("twin:x")).await;
    let reported = "/properties/reported";
    let mut stale = operation("PATCH", reported);
    stale.push(("version", vec![0x54, 9]));
    let cases = [
        (operation("PATCH", reported), "no json", 400),
        (operation("PATCH", reported), r#"{"a.b": 1}"#, 400),
        (operation("PATCH", "/properties/desired"), "{}", 400),
        (operation("POST", reported), "{}", 400),
        (Vec::new(), "{}", 400),
        (stale, "{}", 412),
    ];
    for (number, (annotations, body, status)) in (0..).zip(cases) {
        raw.send(&request(number, true, string("x"), &annotations, body))
            .await;
        let (found, version, error) = answer(&mut raw).await;
        assert_eq!((found, version), (status, None));
        assert!(
            error["errorCode"].is_u64() && error["message"].is_string(),
            "{error}"
        );
    }
    // A null version, as C# and C send it, is none.
    let mut any = operation("PATCH", reported);
    any.push(("version", null()));
    raw.send(&request(6, true, string("x"), &any, "{}")).await;
    assert_eq!(answer(&mut raw).await.0, 200);
}

/// 32 KB each, depth 10, and keys without dots (protocol §5.9): the edge is taken, and one byte more is not.
#[tokio::test]
async fn reported_properties_have_a_largest_size() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, ADDRESS, Some("twin:x")).await;
    // Eight texts of 4 KB with keys of one letter, less what the keys take.
    let patch = |spare: usize| {
        let text = |length: usize| Json::String("x".repeat(length));
        let mut all = serde_json::Map::new();
        for letter in ["a", "b", "c", "d", "e", "f", "g"] {
            all.insert(letter.to_owned(), text(4095));
        }
        all.insert("h".to_owned(), text(4095 + spare));
        Json::Object(all).to_string()
    };
    let operation = operation("PATCH", "/properties/reported");
    for (id, (spare, status)) in (0..).zip([(1, 400), (0, 200)]) {
        raw.send(&request(id, true, string("x"), &operation, &patch(spare)))
            .await;
        assert_eq!(answer(&mut raw).await.0, status, "{spare}");
    }
    let twin = hub.twin(device()).await.unwrap();
    assert_eq!(twin.reported().len(), 8);
}

/// uamqp asks before it can hear (protocol §12, row 7); other pairs are served alike.
#[tokio::test]
async fn an_answer_waits_for_the_link_that_it_goes_over() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    attach_half(&mut raw, 0, false, ADDRESS, Some("twin:x")).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    raw.send(&request(0, false, string("a"), &operation("GET", ""), " "))
        .await;
    raw.expect(DISPOSITION).await;
    attach_half(&mut raw, 1, true, ADDRESS, Some("twin:x")).await;
    raw.expect(ATTACH).await;
    grant(&mut raw, 1, 1).await;
    assert_eq!(answer(&mut raw).await.0, 200);
}

/// A client that asks and never listens ends its own link, and nothing else.
#[tokio::test]
async fn answers_that_nobody_takes_are_bounded() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    attach_half(&mut raw, 0, false, ADDRESS, Some("twin:x")).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    for id in 0..80 {
        raw.send(&request(id, true, string("a"), &operation("GET", ""), " "))
            .await;
    }
    let detach = raw.expect_past_flows(DETACH).await;
    assert_eq!(detach.error(2).0, "amqp:resource-limit-exceeded");
    raw.begin(1).await;
}
