//! Requests that nobody means well: each has a clear status, and the hub serves the next one. What they cost is in
//! `tests/bounds`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::client::*;
use crate::common::DEVICE;
use crate::https::{ask, ask_as_is};

async fn is_alive(hub: &iothub_emulator::Emulator) {
    assert_eq!(
        owner(hub, &format!("GET /devices/{DEVICE}"), &Value::Null)
            .await
            .status,
        200
    );
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// RFC 3986: a segment is what is between slashes, and is decoded once. No id has a slash or a control character.
#[tokio::test]
async fn tricks_with_paths_lead_nowhere() {
    let hub = hub().await;
    let known = ["..", "%2F", "a+b", "%252F"];
    for id in known {
        let path = id.replace('%', "%25");
        let made = owner(&hub, &format!("PUT /devices/{path}"), &json!({ "deviceId": id })).await;
        assert_eq!((made.status, &made.json()["deviceId"]), (200, &json!(id)), "{id}");
    }
    for (path, status, name) in [
        ("/devices/%2F", 400, "ArgumentInvalid"),
        ("/devices/a%2Fb", 400, "ArgumentInvalid"),
        ("/devices/%00", 400, "ArgumentInvalid"),
        ("/devices/myFirstDevice%00", 400, "ArgumentInvalid"),
        ("/devices/%0d%0aX:1", 400, "ArgumentInvalid"),
        ("/devices/%C0%AF", 400, "ArgumentInvalid"),
        ("/devices/%", 400, "ArgumentInvalid"),
        ("/devices/%zz", 400, "ArgumentInvalid"),
        ("/devices/%u0041", 400, "ArgumentInvalid"),
        ("/devices/%C3%A4", 400, "ArgumentInvalid"),
        ("/devices/a%20b", 400, "ArgumentInvalid"),
        ("/devices/", 200, ""),
        // They are devices, if they are.
        ("/devices/..", 200, ""),
        ("/devices/%2E%2e", 200, ""),
        ("/devices/%252F", 200, ""),
        ("/devices/%25252F", 200, ""),
        ("/devices/a+b", 200, ""),
        ("/devices/a%2Bb", 200, ""),
        ("/devices/.", 404, "DeviceNotFound"),
        ("/devices/%25252525", 404, "DeviceNotFound"),
        // No segment leads up.
        ("/devices/../admin/clock", 404, "ResourceNotFound"),
        ("/devices/%2e%2e/%2e%2e/admin/clock", 404, "ResourceNotFound"),
        ("/./devices", 404, "ResourceNotFound"),
        ("//devices/myFirstDevice", 404, "ResourceNotFound"),
        ("/devices/myFirstDevice//modules", 404, "ResourceNotFound"),
        ("/devices;x=1", 404, "ResourceNotFound"),
        ("/DEVICES/myFirstDevice", 200, ""),
        ("/devices/myfirstdevice", 404, "DeviceNotFound"),
        ("/twins/%2e%2e/modules/%2e%2e", 404, "ModuleNotFound"),
        ("/twins/a/modules/%2F", 400, "ArgumentInvalid"),
        ("/configurations/%00", 404, "ConfigurationNotFound"),
        ("/jobs/v2/..", 404, "JobNotFound"),
    ] {
        let answer = owner(&hub, &format!("GET {path}"), &Value::Null).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        if status != 200 {
            assert_eq!(answer.error(), error(status, name), "{path}");
        }
    }
    let long = format!("/devices/{}", "a".repeat(60_000));
    assert_eq!(
        owner(&hub, &format!("GET {long}"), &Value::Null).await.status,
        400
    );
    is_alive(&hub).await;
}

#[tokio::test]
async fn tokens_that_are_none_are_unauthorised() {
    let hub = hub().await;
    let good = policy_token("iothubowner", HOST, 3600);
    let mut tokens = vec![
        "x".repeat(10_000),
        "SharedAccessSignature ".to_owned(),
        "SharedAccessSignature sr=&sig=&se=".to_owned(),
        "SharedAccessSignature sr=a&sig=b&se=c&skn=d".to_owned(),
        good.replace("se=", "se=-"),
        good.replace("se=", "se=99999999999999999999"),
        good.replace("sig=", "sig=%"),
        good.replace("skn=iothubowner", "skn=iothubowner%00"),
        good.replace("skn=iothubowner", "skn="),
        good.replace("sr=", "sr=x&sr="),
        good.replace(' ', ""),
        format!("{good}{good}"),
        good.to_uppercase(),
        "Basic aW90aHViOng=".to_owned(),
        "\u{e4}".to_owned(),
    ];
    // Each of its beginnings.
    tokens.extend((1..good.len()).step_by(7).map(|cut| good[..cut].to_owned()));
    for token in tokens {
        let line = format!("GET /devices/{DEVICE}?{VERSION}");
        let answer = send(&hub, &line, &authorization(&token), "").await;
        assert_eq!(answer.error(), error(401, "IotHubUnauthorizedAccess"), "{token}");
    }
    is_alive(&hub).await;
}

#[tokio::test]
async fn a_body_over_1_mib_is_refused_however_it_comes() {
    let hub = hub().await;
    let token = authorization(&policy_token("iothubowner", HOST, 3600));
    let line = format!("POST /devices?{VERSION} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}");
    // It is said, and nothing of it sent.
    let declared = format!("{line}Content-Length: 1048577\r\n\r\n");
    assert_eq!(status_of(&ask_as_is(&hub, &declared).await), 413);
    let mut chunked = format!("{line}Transfer-Encoding: chunked\r\n\r\n");
    for _ in 0..17 {
        write!(chunked, "10000\r\n{}\r\n", " ".repeat(0x10000)).unwrap();
    }
    let (status, ..) = ask(&hub, &chunked).await;
    assert_eq!(status_of(&status), 413);
    // As large as may be: it is read, and found to be no list.
    let largest = format!("\"{}\"", "x".repeat(1024 * 1024 - 2));
    let answer = owner_with(&hub, "POST /devices", "", &largest).await;
    assert_eq!(answer.error(), error(400, "IotHubFormatError"));
    // Who may not ask is told so, and nobody reads what it sends.
    let stranger =
        format!("POST /devices?{VERSION} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n");
    assert_eq!(status_of(&ask_as_is(&hub, &stranger).await), 401);
    is_alive(&hub).await;
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let hub = hub().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{{\"tags\":{}1{}}}", "{\"a\":".repeat(5000), "}".repeat(5000));
    let long_key = format!("{{\"{}\":1}}", "k".repeat(100_000));
    for (body, status) in [
        ("{", 400),
        ("}", 400),
        ("{\"a\":}", 400),
        ("{\"a\":1,}", 400),
        ("{'a':1}", 400),
        ("nul", 400),
        ("\"\\ud800\"", 400),
        ("{\"a\":1e999}", 400),
        ("\u{feff}{}", 400),
        ("{}{}", 400),
        ("null", 400),
        (deep.as_str(), 400),
        (nested.as_str(), 400),
        // It is JSON, and says nothing that a twin takes.
        (long_key.as_str(), 200),
        ("{\"tags\":{\"a\":1},\"tags\":{\"b\":2}}", 200),
    ] {
        let answer = owner_with(&hub, &format!("PATCH /twins/{DEVICE}"), "", body).await;
        assert_eq!(answer.status, status, "{}", &body[..body.len().min(40)]);
    }
    let token = authorization(&policy_token("iothubowner", HOST, 3600));
    let head = format!(
        "PATCH /twins/{DEVICE}?{VERSION} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}"
    );
    for (rest, wanted) in [
        // Two lengths, and none that is one (RFC 9112 §6.3).
        ("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        ("Content-Length: x\r\n\r\n{}", 400),
        ("Content-Length: -1\r\n\r\n{}", 400),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 400),
        ("If-Match: \u{1}\r\nContent-Length: 2\r\n\r\n{}", 400),
    ] {
        let answer = ask_as_is(&hub, &format!("{head}{rest}")).await;
        assert_eq!(status_of(&answer), wanted, "{rest}");
    }
    is_alive(&hub).await;
}
