//! The administration at the HTTPS port, by hand-written requests. RFC 9110 and RFC 6750 say what its answers have.

use std::time::Duration;

use iothub_emulator::{Authentication, Emulator, Fault, FaultKind, FaultTime, ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::cbs::{NODE_TYPE, attach_pair, attach_telemetry, put};
use crate::common::*;
use crate::https::ask;
use crate::raw::*;

/// Status, headers, body.
async fn request(hub: &Emulator, line: &str, token: Option<&str>, body: &str) -> (u16, String, Value) {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, headers, body) = ask(hub, &request).await;
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    (status, headers, serde_json::from_str(&body).unwrap())
}

/// As the hub's owner.
async fn owner(hub: &Emulator, line: &str, body: &str) -> (u16, Value) {
    let token = format!("Bearer {}", hub.admin_token().expose());
    let (status, _, body) = request(hub, line, Some(&token), body).await;
    (status, body)
}

#[tokio::test]
async fn who_does_not_show_the_token_learns_nothing() {
    let hub = hub().await;
    let right = hub.admin_token().expose().to_owned();
    let wrong = "0".repeat(right.len());
    for shown in [
        None,
        Some(right.clone()),
        Some("Bearer".to_owned()),
        Some(format!("Bearer {wrong}")),
        Some(format!("Bearer {}", &right[..32])),
        Some(format!("Basic {right}")),
    ] {
        for line in [
            "GET /admin/faults",
            "PATCH /admin/faults",
            "GET /admin/nothing",
            "GET /admin",
        ] {
            let (status, headers, body) = request(&hub, line, shown.as_deref(), "").await;
            assert_eq!(status, 401, "{line}");
            assert!(headers.contains("www-authenticate: bearer"), "{headers}");
            assert_eq!(
                body,
                json!({ "error": "unauthorized", "message": "not authorised" })
            );
        }
        let killing = r#"{"kind":"KillTcp","delay_ms":1000}"#;
        let (status, ..) = request(&hub, "POST /admin/faults", shown.as_deref(), killing).await;
        assert_eq!(status, 401);
    }
    assert_eq!(hub.faults().await.unwrap(), []);
    let other = crate::common::hub().await;
    let of_another = format!("Bearer {}", other.admin_token().expose());
    assert_eq!(
        request(&hub, "GET /admin/faults", Some(&of_another), "").await.0,
        401
    );
}

/// A hub whose clock stands still, and what it shows.
async fn still() -> (Emulator, Timestamp) {
    let start = Timestamp::from_seconds(1_700_000_000);
    let hub = builder().clock(ManualClock::new(start)).start().await.unwrap();
    (hub, start)
}

#[tokio::test]
async fn a_path_or_method_that_is_not_there_is_told_to_the_owner() {
    let hub = hub().await;
    for line in [
        "GET /admin",
        "GET /admin/",
        "GET /admin/faults/",
        "POST /admin/clocks",
    ] {
        let (status, body) = owner(&hub, line, "").await;
        assert_eq!((status, &body["error"]), (404, &json!("no-such-path")), "{line}");
    }
    // No path of the administration at all, and so in the shape of the REST API.
    let (status, body) = owner(&hub, "GET /administration", "").await;
    assert_eq!((status, &body["error"]), (404, &Value::Null));
    let token = format!("Bearer {}", hub.admin_token().expose());
    for (line, allowed) in [
        ("PUT /admin/clock", "get, post"),
        ("PATCH /admin/faults", "get, post, delete"),
    ] {
        let (status, headers, body) = request(&hub, line, Some(&token), "").await;
        assert_eq!((status, &body["error"]), (405, &json!("method")), "{line}");
        assert!(headers.contains(&format!("allow: {allowed}")), "{headers}");
    }
}

#[tokio::test]
async fn a_fault_is_injected_for_its_device() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &device_token()).await.0, 200);
    attach_telemetry(&mut raw).await;
    let fault =
        json!({ "kind": "KillAmqpConnection", "device": DEVICE, "condition": "amqp:connection:redirect" });
    let done = owner(&hub, "POST /admin/faults", &fault.to_string()).await;
    assert_eq!(done, (200, json!({ "injected": true })));
    let close = raw.expect(CLOSE).await;
    assert!(
        format!("{close:?}").contains("amqp:connection:redirect"),
        "{close:?}"
    );
}

#[tokio::test]
async fn faults_are_listed_with_their_times_and_cleared() {
    let (hub, clock) = still().await;
    let second = Duration::from_secs(1);
    hub.inject(Fault::new(FaultKind::StopReading).of(device()).delay(2 * second))
        .await
        .unwrap();
    hub.inject(Fault::new(FaultKind::InvokeThrottling).duration(3 * second))
        .await
        .unwrap();
    let listed = hub.faults().await.unwrap();
    let times: Vec<_> = listed
        .iter()
        .map(|injected| (injected.fault.kind(), injected.when))
        .collect();
    assert_eq!(
        times,
        [
            (FaultKind::InvokeThrottling, FaultTime::Ends(clock + 3 * second)),
            (FaultKind::StopReading, FaultTime::Begins(clock + 2 * second)),
        ]
    );
    let (status, body) = owner(&hub, "GET /admin/faults", "").await;
    let wanted = json!({ "faults": [
        { "kind": "InvokeThrottling", "duration_ms": 3000, "ends": (clock + 3 * second).to_string() },
        { "kind": "StopReading", "device": DEVICE, "delay_ms": 2000, "begins": (clock + 2 * second).to_string() },
    ] });
    assert_eq!((status, body), (200, wanted));

    assert_eq!(
        owner(&hub, "DELETE /admin/faults", "").await,
        (200, json!({ "cleared": 2 }))
    );
    assert_eq!(hub.faults().await.unwrap(), []);
    // What was to come never does, and takes nothing of a later fault with it.
    hub.inject(Fault::new(FaultKind::WithholdCredit).duration(60 * second))
        .await
        .unwrap();
    hub.turn_clock(10 * second).await.unwrap();
    assert_eq!(hub.faults().await.unwrap().len(), 1);
    assert_eq!(hub.clear_faults().await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let hub = hub().await;
    let day = 24 * 60 * 60 * 1000_u64;
    for (path, body, status, error, words) in [
        ("faults", "KillTcp".to_owned(), 400, "bad-request", "the body: "),
        ("faults", String::new(), 400, "bad-request", "the body: "),
        (
            "faults",
            r#"{"kind":"KillAll"}"#.to_owned(),
            400,
            "bad-request",
            "kind: no fault has that name",
        ),
        (
            "faults",
            format!(r#"{{"kind":"KillTcp","delay_ms":{}}}"#, day + 1),
            400,
            "bad-request",
            "longer than a day",
        ),
        (
            "faults",
            r#"{"kind":"RefusePutToken","status":200}"#.to_owned(),
            400,
            "bad-request",
            "300 to 599",
        ),
        (
            "faults",
            r#"{"kind":"KillTcp","condition":"a b"}"#.to_owned(),
            400,
            "bad-request",
            "graphic ASCII",
        ),
        (
            "faults",
            r#"{"kind":"KillTcp","device":"nobody"}"#.to_owned(),
            404,
            "not-found",
            "nobody",
        ),
        (
            "faults",
            "x".repeat(64 * 1024 + 1),
            413,
            "too-large",
            "65536 bytes",
        ),
        ("clock", "{}".to_owned(), 400, "bad-request", "by_ms"),
        (
            "clock",
            r#"{"by_ms":1,"to":2}"#.to_owned(),
            400,
            "bad-request",
            "unknown field `to`",
        ),
        (
            "clock",
            format!(r#"{{"by_ms":{}}}"#, 3650 * day + 1),
            400,
            "bad-request",
            "3650 days",
        ),
    ] {
        let shown = &body[..body.len().min(80)];
        let (answered, body) = owner(&hub, &format!("POST /admin/{path}"), &body).await;
        assert_eq!(
            (answered, &body["error"]),
            (status, &json!(error)),
            "{shown}: {body}"
        );
        assert!(
            body["message"].as_str().unwrap().contains(words),
            "{shown}: {body}"
        );
    }
    assert_eq!(hub.faults().await.unwrap(), []);
}

#[tokio::test]
async fn no_more_faults_are_kept_than_a_hub_bears() {
    let hub = hub().await;
    for _ in 0..1024 {
        hub.inject(Fault::new(FaultKind::ShutDownMqtt).delay(Duration::from_secs(3600)))
            .await
            .unwrap();
    }
    let (status, body) = owner(&hub, "POST /admin/faults", r#"{"kind":"KillTcp"}"#).await;
    assert_eq!((status, &body["error"]), (409, &json!("too-many")), "{body}");
}

#[tokio::test]
async fn what_a_device_connects_with_is_told_to_the_owner() {
    let hub = hub().await;
    hub.register_module(device(), "m".parse().unwrap(), None)
        .await
        .unwrap();
    hub.register_device("bare".parse().unwrap(), Authentication::None)
        .await
        .unwrap();
    let port = hub.amqps_address().port();
    let ask = async |body: &str| owner(&hub, "POST /admin/connection-string", body).await;
    let (status, body) = ask(r#"{"device":"myFirstDevice"}"#).await;
    let string = format!("HostName=localhost:{port};DeviceId={DEVICE};SharedAccessKey={KEY}");
    assert_eq!((status, body), (200, json!({ "connection_string": string })));
    let (status, body) = ask(r#"{"device":"myFirstDevice","module":"m"}"#).await;
    let string = body["connection_string"].as_str().unwrap();
    assert_eq!(status, 200);
    assert!(string.contains(&format!("DeviceId={DEVICE};ModuleId=m;SharedAccessKey=")));
    for (body, status, error) in [
        (r#"{"device":"nobody"}"#, 404, "not-found"),
        (r#"{"device":"myFirstDevice","module":"n"}"#, 404, "not-found"),
        (r#"{"device":"bare"}"#, 409, "no-connection-string"),
        (r#"{"device":"a/b"}"#, 400, "bad-request"),
        ("{}", 400, "bad-request"),
    ] {
        let (answered, answer) = ask(body).await;
        assert_eq!(
            (answered, &answer["error"]),
            (status, &json!(error)),
            "{body}: {answer}"
        );
    }
    assert_eq!(owner(&hub, "GET /admin/connection-string", "").await.0, 405);
}

#[tokio::test]
async fn the_clock_is_shown_and_turned() {
    let (hub, clock) = still().await;
    let shows = |at: Timestamp| (200, json!({ "now": at.to_string() }));
    assert_eq!(owner(&hub, "GET /admin/clock", "").await, shows(clock));
    let hour = Duration::from_secs(3600);
    assert_eq!(
        owner(&hub, "POST /admin/clock", r#"{"by_ms":3600000}"#).await,
        shows(clock + hour)
    );
    assert_eq!(hub.now().await.unwrap(), clock + hour);
}
