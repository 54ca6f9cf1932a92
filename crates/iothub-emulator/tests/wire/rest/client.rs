//! A back end: one request a connection, with the owner's token unless told otherwise.

use iothub_emulator::{Builder, Emulator, Keys, Rights};
use iothub_sas::{Signer, UnixTime};
use serde_json::Value;

use crate::common::*;
use crate::https::ask;

pub(crate) const VERSION: &str = "api-version=2021-04-12";
pub(crate) const HOST: &str = "tcontehub.azure-devices.net";

/// The hub of all these tests, and the five policies with a key that is known.
pub(crate) fn builder() -> Builder {
    let policies = [
        "iothubowner",
        "service",
        "device",
        "registryRead",
        "registryReadWrite",
    ];
    policies
        .into_iter()
        .fold(crate::common::builder(), |builder, name| {
            let keys = Keys::new(key(KEY), key(OTHER_KEY));
            let rights = Rights::of_built_in(name).unwrap();
            builder.policy_with(name.parse().unwrap(), keys, rights)
        })
}

pub(crate) async fn hub() -> Emulator {
    builder().start().await.unwrap()
}

/// A token of a policy for a resource, from now on for so many seconds.
pub(crate) fn policy_token(policy: &str, resource: &str, seconds: i64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let expires = UnixTime::from_secs(now.checked_add_signed(seconds).unwrap());
    let signer = Signer::new(key(KEY)).policy(policy);
    signer.sign(resource, expires).expose().to_owned()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) headers: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.split("\r\n");
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The status, and the name of the error in the header and in the body, which agree.
    pub(crate) fn error(&self) -> (u16, String) {
        let body = self.json();
        let message = body["Message"].as_str().unwrap();
        let name = message.strip_prefix("ErrorCode:").unwrap();
        let (name, _) = name.split_once(';').unwrap();
        let tracking = body["ExceptionMessage"].as_str().unwrap();
        assert!(tracking.starts_with("Tracking ID:"), "{tracking}");
        let header = self.header("iothub-errorcode").unwrap();
        assert_eq!(header, name.to_lowercase());
        (self.status, name.to_owned())
    }
}

pub(crate) fn error(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

/// `line` is a method and a path with its query; headers end with a line break each.
pub(crate) async fn send(hub: &Emulator, line: &str, headers: &str, body: &str) -> Answer {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, headers, text) = ask(hub, &request).await;
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        headers,
        text,
    }
}

pub(crate) fn authorization(token: &str) -> String {
    format!("Authorization: {token}\r\n")
}

/// As the owner, with an API version.
pub(crate) async fn owner_with(hub: &Emulator, line: &str, headers: &str, body: &str) -> Answer {
    let token = policy_token("iothubowner", HOST, 3600);
    let separator = if line.contains('?') { '&' } else { '?' };
    let line = format!("{line}{separator}{VERSION}");
    let headers = format!("{}{headers}", authorization(&token));
    send(hub, &line, &headers, body).await
}

pub(crate) async fn owner(hub: &Emulator, line: &str, body: &Value) -> Answer {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    owner_with(hub, line, "", &body).await
}

/// With `If-Match`.
pub(crate) async fn owner_if(hub: &Emulator, line: &str, etag: &str, body: &Value) -> Answer {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    owner_with(hub, line, &format!("If-Match: {etag}\r\n"), &body).await
}
