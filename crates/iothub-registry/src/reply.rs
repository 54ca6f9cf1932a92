//! What comes back.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{DATE, RETRY_AFTER};
use hyper::{HeaderMap, Response};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::error::{BadReply, Interruption};

/// A whole answer. Not `Debug`: a body may hold keys.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no whole answer.
pub(crate) enum NotRead {
    Lost(Interruption),
    TooLarge(BadReply),
}

impl Reply {
    /// Reads a body of at most so many bytes. Of what is no success, the beginning does: its status says enough.
    pub(crate) async fn read(response: Response<Incoming>, limit: usize) -> Result<Self, NotRead> {
        let (head, mut incoming) = response.into_parts();
        let too_large = || NotRead::TooLarge(BadReply::TooLarge { limit });
        let is_success = head.status.is_success();
        if is_success && incoming.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| NotRead::Lost(Interruption::Lost(error.to_string())))?;
            let Ok(data) = frame.into_data() else { continue };
            if is_success && body.len() + data.len() > limit {
                return Err(too_large());
            }
            if !is_success && body.len() + data.len() > MAX_REFUSAL {
                break;
            }
            body.extend_from_slice(&data);
        }
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    pub(crate) fn json(&self) -> Result<Value, BadReply> {
        serde_json::from_slice(&self.body).map_err(|error| {
            BadReply::Form(format!(
                "it is no JSON by line {}, column {}",
                error.line(),
                error.column()
            ))
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3). A date is held against the hub's own `Date`, where it says
    /// one: clocks differ.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(RETRY_AFTER.as_str())?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        let now = self
            .header(DATE.as_str())
            .and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok())
            .unwrap_or_else(|| SystemTime::now().into());
        Some(Duration::try_from(until - now).unwrap_or_default())
    }
}

/// How much of a refusal's body is read, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        let reply = Reply {
            status: 429,
            headers,
            body: Vec::new(),
        };
        reply.retry_after()
    }

    /// RFC 9110 §10.2.3 has both forms; the date is that of its §5.6.7.
    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            wait("Sun, 06 Nov 1994 08:50:07 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
    }
}
