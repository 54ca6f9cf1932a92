//! The HTTPS port, by hand-written requests.

use iothub_emulator::Emulator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::*;

/// Status line, headers, body. The server closes behind it.
pub(crate) async fn ask(hub: &Emulator, request: &str) -> (String, String, String) {
    let answer = ask_as_is(hub, request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_lowercase(), body.to_owned())
}

/// All that was answered.
pub(crate) async fn ask_as_is(hub: &Emulator, request: &str) -> String {
    let mut stream = tls_to(hub.https_address().unwrap(), hub, "localhost")
        .await
        .unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_root_says_what_the_hub_is() {
    let hub = hub().await;
    let (status, _, body) = ask(
        &hub,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let about: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(about["hub"], "tcontehub");
    assert_eq!(about["product"], "iothub-emulator");
    assert_eq!(about["amqps_port"], hub.amqps_address().port());
    assert_eq!(about["https_port"], hub.https_address().unwrap().port());
    assert_eq!(about["amqp_port"], serde_json::Value::Null);
    hub.stop().await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let hub = hub().await;
    let request = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let (status, ..) = ask(&hub, &request).await;
    assert_eq!(status, "HTTP/1.1 431 Request Header Fields Too Large");
    hub.stop().await;
}

#[tokio::test]
async fn the_port_can_be_left_out() {
    let hub = builder().https_port(None).start().await.unwrap();
    assert_eq!(hub.https_address(), None);
    hub.stop().await;
}
