//! Why a request for the administration is not served.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use iothub_address::AddressError;

use super::{JSON, MAX_BODY};
use crate::emulator::HubError;
use crate::fault::FaultError;
use crate::owner::NotDone;

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Without a hint: not whether there was a token, nor whether there is something at the path.
    #[error("not authorised")]
    Unauthorized,
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("this path takes {0}")]
    Method(&'static str),
    #[error("a body has at most {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body broke off")]
    Broken,
    #[error("the body did not come in time")]
    Slow,
    #[error("the body: {0}")]
    Form(serde_json::Error),
    #[error("{0}")]
    Value(&'static str),
    #[error("no device or module has such a name: {0}")]
    Name(AddressError),
    #[error(transparent)]
    Hub(HubError),
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

impl From<NotDone> for Refusal {
    fn from(error: NotDone) -> Self {
        Self::Hub(error.into())
    }
}

impl Refusal {
    /// Its status, and the word by which programs know it.
    const fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no-such-path"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "slow"),
            Self::Broken | Self::Form(_) | Self::Value(_) | Self::Name(_) => {
                (StatusCode::BAD_REQUEST, "bad-request")
            }
            Self::Hub(HubError::Fault(FaultError::TooMany)) => (StatusCode::CONFLICT, "too-many"),
            Self::Hub(HubError::Fault(_)) => (StatusCode::BAD_REQUEST, "bad-request"),
            Self::Hub(HubError::Registry(_)) => (StatusCode::NOT_FOUND, "not-found"),
            Self::Hub(HubError::NoCredential(_) | HubError::NoConnectionString(_)) => {
                (StatusCode::CONFLICT, "no-connection-string")
            }
            Self::Hub(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let (status, word) = self.kind();
        let body = serde_json::json!({ "error": word, "message": self.to_string() });
        let mut response = Response::new(Full::new(body.to_string().into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        match self {
            // RFC 9110 §11.6.1 and §15.5.6: such answers have these.
            Self::Unauthorized => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Self::Method(allowed) => headers.insert(ALLOW, HeaderValue::from_static(allowed)),
            _ => None,
        };
        response
    }
}
