//! The page at the HTTPS port, by hand-written requests.

use iothub_emulator::{CloudMessage, Emulator};
use serde_json::{Value, json};

use crate::common::*;
use crate::https::ask;
use crate::raw::*;

async fn get(hub: &Emulator, path: &str, headers: &str) -> (String, String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    ask(hub, &request).await
}

const LOCAL: &str = "Host: localhost\r\n";
const BROWSER: &str = "Host: localhost:443\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

async fn view(hub: &Emulator) -> Value {
    let (status, _, body) = get(hub, "/page/view", LOCAL).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_browser_gets_a_page_that_needs_nothing_from_elsewhere() {
    let hub = hub().await;
    let (status, headers, html) = get(&hub, "/", BROWSER).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(
        headers.contains("content-type: text/html; charset=utf-8"),
        "{headers}"
    );
    assert!(
        headers.contains("content-security-policy: default-src 'none'"),
        "{headers}"
    );
    assert!(html.starts_with("<!DOCTYPE html>"), "{html}");
    let mut named = 0;
    for part in html.split("=\"/").skip(1) {
        let path = format!("/{}", part.split('"').next().unwrap());
        let (status, headers, _) = get(&hub, &path, LOCAL).await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{path}");
        assert!(headers.contains("x-content-type-options: nosniff"), "{headers}");
        named += 1;
    }
    assert_eq!(named, 2);
    assert!(!html.contains("//"), "{html}");
}

#[tokio::test]
async fn it_shows_who_is_there_what_came_and_twins() {
    let hub = hub().await;
    let before = view(&hub).await;
    let shown = &before["devices"]["shown"][0];
    assert_eq!(
        (&shown["id"], &shown["connected"]),
        (&json!(DEVICE), &json!(false))
    );
    assert_eq!((&shown["since"], &shown["waiting"]), (&Value::Null, &json!(0)));
    assert_eq!(before["events"], json!([]));

    let mut raw = Raw::attached(&hub).await;
    for (id, body) in [(0, &b"21.5"[..]), (1, &[0xff, 0xfe])] {
        raw.send(&transfer(id, false, false, &data(body))).await;
        raw.expect(DISPOSITION).await;
    }
    hub.send_to_device(device(), CloudMessage::new("wake up"))
        .await
        .unwrap();
    hub.patch_desired(device(), json!({"interval": 60}))
        .await
        .unwrap();
    let after = view(&hub).await;
    let traffic = [&after["traffic"][1], &after["traffic"][0]].map(|entry| (&entry["whose"], &entry["what"]));
    let told = |what: &str| (json!(DEVICE), json!(what));
    let (sent, desired) = (
        told("is sent message of 7 bytes"),
        told("is given desired properties, version 2"),
    );
    assert_eq!(traffic, [(&sent.0, &sent.1), (&desired.0, &desired.1)]);
    assert_eq!(after["hub"], "tcontehub");
    assert_eq!(after["devices"]["connected"], 1);
    let shown = &after["devices"]["shown"][0];
    assert_eq!(
        (&shown["connected"], &shown["waiting"]),
        (&json!(true), &json!(1))
    );
    let events: Vec<_> = after["events"].as_array().unwrap().iter().collect();
    let bodies: Vec<_> = events.iter().map(|event| &event["body"]).collect();
    assert_eq!(bodies, ["2 bytes", "21.5"], "the newest first");
    assert_eq!(
        (&events[1]["device"], &events[1]["number"]),
        (&json!(DEVICE), &json!(0))
    );
    let activity = after["activity"].to_string();
    assert!(activity.contains(&format!("is {DEVICE}")), "{activity}");

    let (status, _, twin) = get(&hub, &format!("/page/twin?device={DEVICE}"), LOCAL).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let twin: Value = serde_json::from_str(&twin).unwrap();
    assert_eq!(twin["properties"]["desired"]["interval"], 60);
    for missing in ["/page/twin?device=nobody", "/page/twin?device=%00", "/page/twin"] {
        assert_eq!(
            get(&hub, missing, LOCAL).await.0,
            "HTTP/1.1 404 Not Found",
            "{missing}"
        );
    }
    let all = format!("{after}{twin}");
    assert!(!all.contains(KEY) && !all.contains(OTHER_KEY), "{all}");
}

#[tokio::test]
async fn those_who_are_there_come_first_and_no_more_than_200() {
    let hub = hub().await;
    for number in 0..250 {
        let id = format!("a{number:03}").parse().unwrap();
        let keys = iothub_emulator::Keys::new(key(KEY), key(OTHER_KEY));
        hub.register_device(id, keys).await.unwrap();
    }
    let _raw = Raw::attached(&hub).await;
    let devices = &view(&hub).await["devices"];
    assert_eq!(devices["count"], 251);
    let shown = devices["shown"].as_array().unwrap();
    assert_eq!(shown.len(), 200);
    assert_eq!(
        (&shown[0]["id"], &shown[1]["id"]),
        (&json!(DEVICE), &json!("a000"))
    );
}

#[tokio::test]
async fn who_is_no_browser_or_calls_the_hub_by_another_name_finds_no_page() {
    let hub = hub().await;
    let (status, headers, _) = get(&hub, "/", LOCAL).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("content-type: application/json"), "{headers}");
    for host in ["127.0.0.1:8443", "[::1]:443", "[::1]", "LOCALHOST"] {
        let (status, ..) = get(&hub, "/page/view", &format!("Host: {host}\r\n")).await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{host}");
    }
    for host in [
        "evil.example",
        "tcontehub.azure-devices.net",
        "localhost.evil.example",
        "10.0.0.1",
        "[::2]",
        "",
    ] {
        let headers = format!("Host: {host}\r\nAccept: text/html\r\n");
        assert_eq!(
            get(&hub, "/page/view", &headers).await.0,
            "HTTP/1.1 404 Not Found",
            "{host}"
        );
        let (_, answer, _) = get(&hub, "/", &headers).await;
        assert!(
            answer.contains("content-type: application/json"),
            "{host}: {answer}"
        );
    }
    let post =
        "POST /page/view HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&hub, post).await.0, "HTTP/1.1 404 Not Found");
}
