//! What a request is answered with that was served.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::JSON;

#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    body: Bytes,
    content_type: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub(super) fn json(value: &Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: value.to_string().into(),
            content_type: Some(HeaderValue::from_static(JSON)),
            headers: Vec::new(),
        }
    }

    /// With a body of no JSON of ours.
    pub(super) fn bytes(body: Bytes, content_type: Option<HeaderValue>) -> Self {
        Self {
            status: StatusCode::OK,
            body,
            content_type,
            headers: Vec::new(),
        }
    }

    pub(super) const fn empty(status: StatusCode) -> Self {
        Self {
            status,
            body: Bytes::new(),
            content_type: None,
            headers: Vec::new(),
        }
    }

    #[must_use]
    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// In the quotes that HTTP wants around it.
    #[must_use]
    pub(super) fn etag(self, etag: &str) -> Self {
        self.header(ETAG, &format!("\"{etag}\""))
    }

    /// A value that no header can have is left out.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).ok();
        self.headers.extend(value.map(|value| (name, value)));
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.extend(self.content_type.map(|value| (CONTENT_TYPE, value)));
        response
    }
}
