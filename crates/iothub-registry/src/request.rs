//! A request, before it is known when and how often it is sent.

use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, IF_MATCH};
use iothub_address::{DeviceId, Identity};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::error::RegistryError;
use crate::if_match::IfMatch;
use crate::retry::Safety;

/// Not `Debug`: a body may hold keys.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// With its query, escaped.
    pub(crate) target: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
    pub(crate) safety: Safety,
    /// What the hub is allowed to take beside the usual.
    pub(crate) more_time: Duration,
}

impl Call {
    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path, Safety::Read)
    }

    pub(crate) fn new(method: Method, path: &str, safety: Safety) -> Self {
        Self {
            method,
            target: format!("{path}?api-version={API_VERSION}"),
            headers: Vec::new(),
            body: None,
            safety,
            more_time: Duration::ZERO,
        }
    }

    pub(crate) fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.target.push('&');
        self.target.push_str(name);
        self.target.push('=');
        self.target.push_str(&escaped(value.as_ref()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Result<Self, RegistryError> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| RegistryError::Unfit("a header can't hold this continuation"))?;
        self.headers.push((HeaderName::from_static(name), value));
        Ok(self)
    }

    pub(crate) fn if_match(mut self, state: Option<&IfMatch>) -> Result<Self, RegistryError> {
        if let Some(state) = state {
            let value = HeaderValue::from_str(&state.to_string())
                .map_err(|_| RegistryError::Unfit("an ETag has no control characters"))?;
            self.headers.push((IF_MATCH, value));
        }
        Ok(self)
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into());
        self
    }

    pub(crate) const fn more_time(mut self, time: Duration) -> Self {
        self.more_time = time;
        self
    }
}

/// `/devices/ID` or `/devices/ID/modules/ID`, below another name than `devices` if need be.
pub(crate) fn path_of(below: &str, identity: &Identity) -> String {
    let device = escaped(identity.device().as_str());
    match identity.module() {
        None => format!("/{below}/{device}"),
        Some(module) => format!("/{below}/{device}/modules/{}", escaped(module.as_str())),
    }
}

pub(crate) fn device_path(device: &DeviceId) -> String {
    format!("/devices/{}", escaped(device.as_str()))
}

/// One segment of a path, or a value of a query.
pub(crate) fn escaped(text: &str) -> String {
    // By themselves they mean other places (RFC 3986 §3.3).
    if matches!(text, "." | "..") {
        return text.replace('.', "%2E");
    }
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// All but what RFC 3986 §2.3 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const API_VERSION: &str = "2021-04-12";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_escaped_and_lead_nowhere_else() {
        let path = |text: &str| path_of("twins", &Identity::Device(text.parse().unwrap()));
        assert_eq!(path("a-b_c.1"), "/twins/a-b_c.1");
        assert_eq!(path("a#b%c?d=e@f"), "/twins/a%23b%25c%3Fd%3De%40f");
        let module = Identity::Module("dev".parse().unwrap(), "mod$1".parse().unwrap());
        assert_eq!(path_of("twins", &module), "/twins/dev/modules/mod%241");
        assert_eq!(path(".."), "/twins/%2E%2E");
    }
}
