//! Why a request is not served, in the two shapes that the service's errors have.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use super::JSON;
use super::code::Code;
use crate::clock::Timestamp;
use crate::hub::{Excess, IdentityError, MailboxError, MethodError, NotAdmitted, RegistryError, TwinError};
use crate::identity_form::Bad;
use crate::owner::NotDone;
use crate::random::NoRandomness;

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) shape: Shape,
    retry_after: Option<Duration>,
    allowed: Option<&'static str>,
}

/// How an error is written.
#[derive(Debug)]
pub(super) enum Shape {
    /// `ErrorCode:NAME;TEXT` as the message.
    Named,
    /// JSON as the text of the message: what calls of methods are answered with.
    Numbered { info: Box<Value> },
    /// A body of its own.
    Own(Box<Value>),
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            shape: Shape::Named,
            retry_after: None,
            allowed: None,
        }
    }

    /// With the error's own words.
    pub(super) fn of(code: Code, error: &dyn std::error::Error) -> Self {
        Self::new(code, sentence(error))
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::ArgumentInvalid, message)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(Code::NotFound, "There is no such resource.")
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        Self {
            allowed: Some(allowed),
            ..Self::new(Code::Method, format!("This resource takes {allowed}."))
        }
    }

    pub(super) fn busy(message: &str) -> Self {
        Self {
            retry_after: Some(RETRY_BUSY),
            ..Self::new(Code::ServiceUnavailable, message)
        }
    }

    #[must_use]
    pub(super) fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// The whole answer. Each error has a tracking id of its own.
    pub(super) fn into_response(self, tracking_id: &str, now: Timestamp) -> Response<Full<Bytes>> {
        let Self { code, message, .. } = self;
        let body = match self.shape {
            Shape::Named => json!({
                "Message": format!("ErrorCode:{};{message}", code.name()),
                "ExceptionMessage": format!("Tracking ID:{tracking_id}"),
            }),
            Shape::Numbered { info } => {
                let text = json!({
                    "errorCode": code.number(),
                    "trackingId": tracking_id,
                    "message": message,
                    "info": info,
                    "timestampUtc": now.as_service_time(),
                });
                json!({ "Message": text.to_string(), "ExceptionMessage": "" })
            }
            Shape::Own(body) => *body,
        };
        let mut response = Response::new(Full::new(body.to_string().into()));
        *response.status_mut() = code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert("iothub-errorcode", HeaderValue::from_static(code.name()));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        // RFC 9110 §11.6.1 and §15.5.6: such answers have these.
        if let Some(allowed) = self.allowed {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if code == Code::Unauthorized {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("SharedAccessSignature"),
            );
        }
        response
    }
}

impl From<NotAdmitted> for Refusal {
    /// What was wrong is for the log: a stranger does not learn what there is.
    fn from(why: NotAdmitted) -> Self {
        tracing::debug!("a request is not authorised: {why}");
        Self::new(Code::Unauthorized, "Unauthorized")
    }
}

impl From<NotDone> for Refusal {
    fn from(error: NotDone) -> Self {
        match error {
            NotDone::Stopped => Self::busy("The hub has stopped."),
            NotDone::Unsaved => Self::new(Code::ServerError, "The hub cannot write its state."),
        }
    }
}

impl From<NoRandomness> for Refusal {
    fn from(error: NoRandomness) -> Self {
        Self::new(Code::ServerError, error.to_string())
    }
}

impl From<Excess> for Refusal {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Throttled(row) => {
                let text = format!("The throttle of {} was exceeded. Try again later.", row.name);
                Self {
                    retry_after: Some(RETRY_THROTTLED),
                    ..Self::new(Code::Throttling, text)
                }
            }
            Excess::Quota { per_day } => Self::new(
                Code::QuotaExceeded,
                format!(
                    "Total number of messages on the hub exceeded the allocated quota. Max allowed message count: {per_day}."
                ),
            ),
        }
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let code = match &error {
            RegistryError::Exists(identity) if identity.module().is_some() => Code::ModuleAlreadyExists,
            RegistryError::Exists(_) => Code::DeviceAlreadyExists,
            RegistryError::NotFound(identity) if identity.module().is_some() => Code::ModuleNotFound,
            RegistryError::NotFound(_) => Code::DeviceNotFound,
            RegistryError::TooManyModules(_) => Code::TooManyModules,
        };
        Self::new(code, sentence(&error))
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Registry(error) => error.into(),
            IdentityError::Precondition(_) => Self::new(Code::PreconditionFailed, sentence(&error)),
        }
    }
}

impl From<TwinError> for Refusal {
    fn from(error: TwinError) -> Self {
        let code = match &error {
            TwinError::Precondition => Code::PreconditionFailed,
            TwinError::Invalid(_) | TwinError::TooLarge { .. } => Code::ArgumentInvalid,
        };
        Self::new(code, sentence(&error))
    }
}

impl From<MailboxError> for Refusal {
    fn from(error: MailboxError) -> Self {
        match &error {
            MailboxError::NotFound(identity) => RegistryError::NotFound(identity.clone()).into(),
            MailboxError::Full(_) => Self::new(Code::QueueFull, sentence(&error)),
            MailboxError::TooLarge { .. } => Self::new(Code::MessageTooLarge, sentence(&error)),
            MailboxError::Ack => Self::invalid(sentence(&error)),
            MailboxError::Throttled => Self {
                retry_after: Some(RETRY_THROTTLED),
                ..Self::new(Code::Throttling, sentence(&error))
            },
            MailboxError::QuotaExceeded { .. } => Self::new(Code::QuotaExceeded, sentence(&error)),
        }
    }
}

impl From<MethodError> for Refusal {
    fn from(error: MethodError) -> Self {
        let code = match &error {
            MethodError::NotFound(identity) => return RegistryError::NotFound(identity.clone()).into(),
            MethodError::NotOnline(_) => Code::DeviceNotOnline,
            MethodError::Gone(_) => Code::DeviceConnectionClosedRemotely,
            MethodError::Timeout(_) => Code::GatewayTimeout,
            MethodError::TooLarge { .. } => return Self::new(Code::MessageTooLarge, sentence(&error)),
            MethodError::TooMany => return Self::busy(&sentence(&error)),
            MethodError::Throttled => {
                return Self {
                    retry_after: Some(RETRY_THROTTLED),
                    ..Self::new(Code::Throttling, sentence(&error))
                };
            }
            MethodError::QuotaExceeded { .. } => return Self::new(Code::QuotaExceeded, sentence(&error)),
        };
        Self::new(code, sentence(&error))
    }
}

impl From<Bad> for Refusal {
    fn from(bad: Bad) -> Self {
        let Bad { field, what } = bad;
        match field.as_str() {
            "" => Self::invalid(format!("The body: {what}.")),
            field => Self::invalid(format!("{field}: {what}.")),
        }
    }
}

/// An error's text as one: SDKs show it up to the first semicolon.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string().replace(';', ",");
    let mut letters = text.chars();
    match letters.next() {
        // A name is left as it is.
        Some(first) if text.starts_with("the ") || text.starts_with("more ") => {
            format!("{}{}.", first.to_ascii_uppercase(), letters.as_str())
        }
        _ => format!("{text}."),
    }
}

/// What waits longest in a throttle's queue has had its turn by then.
const RETRY_THROTTLED: Duration = Duration::from_secs(10);
const RETRY_BUSY: Duration = Duration::from_secs(1);
