//! What the hub says when it says no, in all the ways that it writes it.

use std::fmt;
use std::time::Duration;

use hyper::HeaderMap;
use serde_json::Value;

use crate::code::ErrorCode;

/// The hub's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status: 400 to 599, or a redirection, which is not followed.
    pub status: u16,
    /// What the hub calls it.
    pub code: ErrorCode,
    /// In the hub's words, at most 1,024 characters of them.
    pub message: String,
    /// By which Azure's support finds the request.
    pub tracking_id: Option<String>,
    /// How long the hub wants to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads an answer: `iothub-errorcode`, and a body of either form: `{"Message":"ErrorCode:NAME;TEXT","ExceptionMessage":"Tracking
    /// ID:ID"}`, or one whose `Message` is JSON text with `errorCode`, `message` and `trackingId` in turn, or that JSON by itself.
    pub(crate) fn read(status: u16, headers: &HeaderMap, body: &[u8], retry_after: Option<Duration>) -> Self {
        let header = headers
            .get("iothub-errorcode")
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let said = Said::of_body(body);
        let code = match (header.map(ErrorCode::from_name), said.code) {
            // Of two the known one, and the header's first: bodies of methods name a number, and the header the same.
            (Some(ErrorCode::OtherName(_)) | None, Some(code)) => code,
            (Some(code), _) => code,
            (None, None) => ErrorCode::Unnamed,
        };
        Self {
            status,
            code,
            message: cut(&said.message),
            tracking_id: said.tracking_id.map(|id| cut(&id)),
            retry_after,
        }
    }
}

#[derive(Default)]
struct Said {
    code: Option<ErrorCode>,
    message: String,
    tracking_id: Option<String>,
}

impl Said {
    fn of_body(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value @ Value::Object(_)) => Self::of_object(&value),
            _ => Self {
                message: String::from_utf8_lossy(body).trim().to_owned(),
                ..Self::default()
            },
        }
    }

    fn of_object(object: &Value) -> Self {
        let message = text(object, "Message").unwrap_or_default();
        // The JSON inside of the text, which has no such text in turn.
        if let Ok(inner @ Value::Object(_)) = serde_json::from_str::<Value>(message)
            && inner.get("Message").is_none()
        {
            return Self::of_object(&inner);
        }
        let (named, rest) = match message.strip_prefix("ErrorCode:") {
            Some(rest) => {
                let (name, rest) = rest.split_once(';').unwrap_or((rest, ""));
                (Some(ErrorCode::from_name(name.trim())), rest)
            }
            None => (None, message),
        };
        let code = field(object, "errorCode").and_then(|code| match code {
            Value::Number(number) => Some(ErrorCode::from_number(u32::try_from(number.as_u64()?).ok()?)),
            Value::String(name) => match name.parse() {
                Ok(number) => Some(ErrorCode::from_number(number)),
                Err(_) => Some(ErrorCode::from_name(name)),
            },
            _ => None,
        });
        let exception = text(object, "ExceptionMessage").unwrap_or_default();
        let tracking_id = text(object, "trackingId")
            .or_else(|| Some(exception.split_once("Tracking ID:")?.1))
            .map(str::trim)
            .filter(|id| !id.is_empty());
        Self {
            code: named.or(code),
            message: rest.trim().to_owned(),
            tracking_id: tracking_id.map(str::to_owned),
        }
    }
}

/// Names differ in the case of their first letter.
fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let object = object.as_object()?;
    object
        .iter()
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    field(object, name)?.as_str()
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hub refuses with {} ({})", self.code, self.status)?;
        match self.message.as_str() {
            "" => Ok(()),
            message => write!(f, ": {message}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The longest message, in characters.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, header: Option<&'static str>, body: &str) -> Refusal {
        let mut headers = HeaderMap::new();
        if let Some(name) = header {
            headers.insert("iothub-errorcode", hyper::header::HeaderValue::from_static(name));
        }
        Refusal::read(status, &headers, body.as_bytes(), None)
    }

    /// The bodies are those of the wire reference, §6.5, which were seen from the service.
    #[test]
    fn both_forms_of_bodies_give_code_message_and_tracking_id() {
        let named = read(
            404,
            None,
            r#"{"Message":"ErrorCode:DeviceNotOnline;Timed out waiting for device to connect.","ExceptionMessage":"Tracking ID:0123456789abcdef0123456789abcdef-G:5-TimeStamp:11/29/2026 07:00:00"}"#,
        );
        assert_eq!(named.code, ErrorCode::DeviceNotOnline);
        assert_eq!(named.message, "Timed out waiting for device to connect.");
        assert_eq!(
            named.tracking_id.as_deref(),
            Some("0123456789abcdef0123456789abcdef-G:5-TimeStamp:11/29/2026 07:00:00")
        );
        let numbered = read(
            404,
            None,
            r#"{"Message":"{\"errorCode\":404103,\"trackingId\":\"abc-G:2\",\"message\":\"Timed out.\",\"info\":{\"timeout\":\"00:00:00\"},\"timestampUtc\":\"2026-11-29T07:00:00Z\"}","ExceptionMessage":""}"#,
        );
        assert_eq!(numbered.code, ErrorCode::DeviceNotOnline);
        assert_eq!(numbered.message, "Timed out.");
        assert_eq!(numbered.tracking_id.as_deref(), Some("abc-G:2"));
    }

    #[test]
    fn the_header_names_what_a_body_does_not() {
        assert_eq!(
            read(412, Some("PreconditionFailed"), "").code,
            ErrorCode::PreconditionFailed
        );
        let other = read(400, Some("SomethingNew"), r#"{"errorCode":404001,"message":"x"}"#);
        assert_eq!(
            (other.code, other.message.as_str()),
            (ErrorCode::DeviceNotFound, "x")
        );
        assert_eq!(
            read(400, Some("SomethingNew"), "").code,
            ErrorCode::OtherName("SomethingNew".to_owned())
        );
    }

    #[test]
    fn what_is_no_json_is_the_message_and_is_cut() {
        let refusal = read(502, None, "<html>Bad gateway</html>\n");
        assert_eq!(
            (refusal.code, refusal.message.as_str()),
            (ErrorCode::Unnamed, "<html>Bad gateway</html>")
        );
        assert_eq!(read(502, None, &"x".repeat(5000)).message.len(), 1024);
        for body in [
            "{",
            "[]",
            "null",
            r#"{"Message":7}"#,
            r#"{"Message":"{\"Message\":\"{}\"}"}"#,
        ] {
            assert_eq!(read(500, None, body).code, ErrorCode::Unnamed, "{body}");
        }
    }
}
