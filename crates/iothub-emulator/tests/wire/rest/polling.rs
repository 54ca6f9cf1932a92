//! A device over HTTPS: it sends, and polls for what is sent to it (Azure docs, "IoT Hub device REST API").

use base64::Engine as _;
use iothub_emulator::{Ack, AuthMethod, Body, CloudMessage, Emulator, Scope, Value as Wire};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::*;
use crate::certificates::Credential;
use crate::common::{DEVICE, device, device_token, tls_with};

async fn as_device(hub: &Emulator, line: &str, headers: &str, body: &str) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let separator = if path.contains('?') { '&' } else { '?' };
    let line = format!("{method} /devices/{DEVICE}/messages/{path}{separator}{VERSION}");
    let headers = format!("{}{headers}", authorization(&device_token()));
    send(hub, &line, &headers, body).await
}

#[tokio::test]
async fn a_message_is_in_the_log_with_what_its_headers_say() {
    let hub = hub().await;
    let headers = "IoTHub-MessageId: m-1\r\niothub-correlationid: c-1\r\niothub-app-mood: curious\r\n\
                   iothub-contenttype: application/json\r\n";
    let sent = as_device(&hub, "POST events", headers, r#"{"t":1}"#).await;
    assert_eq!((sent.status, sent.text.as_str()), (204, ""));
    let events = hub.journal().snapshot();
    let [event] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(event.device().as_str(), DEVICE);
    assert_eq!(event.message.body, Body::Data(r#"{"t":1}"#.into()));
    let properties = &event.message.properties;
    assert_eq!(properties.message_id.as_ref().unwrap().to_string(), "m-1");
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(event.message.property("mood"), Some(&Wire::from("curious")));
}

#[tokio::test]
async fn a_batch_becomes_its_messages() {
    let hub = hub().await;
    let batch = json!([
        { "body": base64::engine::general_purpose::STANDARD.encode("one"), "properties": { "n": "1" } },
        { "body": "two", "base64Encoded": false },
    ]);
    let kind = "Content-Type: application/vnd.microsoft.iothub.json\r\n";
    let sent = as_device(&hub, "POST events", kind, &batch.to_string()).await;
    assert_eq!(sent.status, 204);
    let events = hub.journal().snapshot();
    let bodies: Vec<_> = events.iter().map(|event| event.message.body.clone()).collect();
    assert_eq!(bodies, [Body::Data("one".into()), Body::Data("two".into())]);
    assert_eq!(events[0].message.property("n"), Some(&Wire::from("1")));
    for bad in [
        json!({}),
        json!([{}]),
        json!([{ "body": "no base64!" }]),
        json!([{ "body": "", "properties": 5 }]),
    ] {
        let refused = as_device(&hub, "POST events", kind, &bad.to_string()).await;
        assert_eq!(refused.error(), error(400, "IotHubFormatError"), "{bad}");
    }
    let large = "x".repeat(256 * 1024);
    assert_eq!(as_device(&hub, "POST events", "", &large).await.status, 204);
    let refused = as_device(&hub, "POST events", "", &format!("{large}x")).await;
    assert_eq!(refused.error(), error(413, "MessageTooLarge"));
    assert_eq!(hub.journal().snapshot().len(), 3);
}

#[tokio::test]
async fn a_message_to_the_device_is_handed_out_locked_and_settled_by_its_lock() {
    let hub = hub().await;
    for name in ["first", "second", "third"] {
        let message = CloudMessage::new(name).id(name).ack(Ack::Full).property("k", "v");
        hub.send_to_device(device(), message).await.unwrap();
    }
    let first = as_device(&hub, "GET devicebound", "", "").await;
    assert_eq!((first.status, first.text.as_str()), (200, "first"));
    assert_eq!(first.header("iothub-messageid"), Some("first"));
    assert_eq!(first.header("iothub-app-k"), Some("v"));
    assert_eq!(first.header("iothub-deliverycount"), Some("0"));
    let lock = |answer: &Answer| answer.header("etag").unwrap().trim_matches('"').to_owned();
    let second = as_device(&hub, "GET devicebound", "", "").await;
    assert_eq!(second.text, "second");
    // It comes again, before the third.
    let abandoned = as_device(
        &hub,
        &format!("POST devicebound/{}/abandon", lock(&second)),
        "",
        "",
    )
    .await;
    assert_eq!(abandoned.status, 204);
    let again = as_device(&hub, "GET devicebound", "", "").await;
    assert_eq!(
        (again.text.as_str(), again.header("iothub-deliverycount")),
        ("second", Some("1"))
    );
    let done = as_device(&hub, &format!("DELETE devicebound/{}", lock(&first)), "", "").await;
    assert_eq!(done.status, 204);
    let rejected = as_device(
        &hub,
        &format!("DELETE devicebound/{}?reject", lock(&again)),
        "",
        "",
    )
    .await;
    assert_eq!(rejected.status, 204);
    for lost in [lock(&first), lock(&second), "x".to_owned()] {
        let answer = as_device(&hub, &format!("DELETE devicebound/{lost}"), "", "").await;
        assert_eq!(answer.error(), error(412, "DeviceMessageLockLost"));
    }
    let fates: Vec<_> = hub.feedback().snapshot();
    let fates: Vec<_> = fates
        .iter()
        .map(|fate| (fate.original_message_id.as_str(), fate.fate.as_str()))
        .collect();
    assert_eq!(fates, [("first", "Success"), ("second", "Rejected")]);
    assert_eq!(as_device(&hub, "GET devicebound", "", "").await.text, "third");
    // It is locked, and there is no other.
    assert_eq!(as_device(&hub, "GET devicebound", "", "").await.status, 204);
}

#[tokio::test]
async fn what_needs_a_store_of_blobs_says_that_there_is_none() {
    let hub = hub().await;
    let headers = authorization(&device_token());
    for line in ["files", "files/notifications"] {
        let line = format!("POST /devices/{DEVICE}/{line}?{VERSION}");
        let answer = send(&hub, &line, &headers, r#"{"blobName":"b"}"#).await;
        assert_eq!(answer.error(), error(501, "NotImplemented"));
    }
    for line in ["POST /jobs/create", "GET /jobs", "GET /jobs/x", "DELETE /jobs/x"] {
        let answer = owner(&hub, line, &serde_json::Value::Null).await;
        assert_eq!(answer.error(), error(501, "NotImplemented"), "{line}");
        assert!(answer.text.contains("Azure Storage"));
    }
}

/// Azure docs, "Authenticate identities with X.509 certificates": over HTTPS the handshake is all that a device shows.
#[tokio::test]
async fn a_device_comes_with_its_certificate_and_no_token() {
    let hub = hub().await;
    let own = Credential::self_signed("x509");
    hub.register_device("x509".parse().unwrap(), own.thumbprints())
        .await
        .unwrap();
    let stranger = Credential::self_signed("x509");
    let request = |device: &str| {
        format!(
            "POST /devices/{device}/messages/events?{VERSION} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: 2\r\n\r\nhi"
        )
    };
    for (credential, device, status) in [
        (&own, "x509", "204"),
        (&own, DEVICE, "401"),
        (&stranger, "x509", "401"),
        (&own, "nobody", "401"),
    ] {
        let config = credential.config(&hub, rustls::ALL_VERSIONS);
        let mut stream = tls_with(config, hub.https_address().unwrap(), "localhost")
            .await
            .unwrap();
        stream.write_all(request(device).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{device}: {answer}");
    }
    let events = hub.journal().snapshot();
    let senders: Vec<_> = events
        .iter()
        .map(|event| (event.device().as_str(), event.sender.auth_method))
        .collect();
    assert_eq!(senders, [("x509", AuthMethod::Certificate(Scope::Device))]);
}
