//! A request that may be made, for the one who serves it.

use hyper::HeaderMap;
use hyper::header::IF_MATCH;
use serde_json::{Map, Value};

use super::body::Body;
use super::code::Code;
use super::refusal::Refusal;
use super::target::Parameters;
use crate::clock::Timestamp;
use crate::hub::{AuthMethod, Hub, IfMatch, Operation};
use crate::owner::HubHandle;

#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) hub: &'a HubHandle,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Parameters,
    pub(super) body: Body,
    /// Of a device's request: how the device proved who it is.
    pub(super) method: Option<AuthMethod>,
}

impl Asked<'_> {
    /// Does something with the hub that counts as such an operation.
    pub(super) async fn run<T, E>(
        &self,
        counts_as: Operation,
        work: impl FnOnce(&mut Hub, Timestamp) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Into<Refusal> + Send + 'static,
    {
        let size = self.body.bytes.len();
        let outcome = self.hub.run(move |hub, now| {
            hub.count_request(counts_as, size, now).map_err(Refusal::from)?;
            work(hub, now).map_err(Into::into)
        });
        outcome.await?
    }

    /// The body, which is a JSON object.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Refusal> {
        match self.json()? {
            Value::Object(object) => Ok(object),
            _ => Err(Refusal::new(
                Code::IotHubFormatError,
                "The body is no JSON object.",
            )),
        }
    }

    pub(super) fn json(&self) -> Result<Value, Refusal> {
        if self.body.bytes.is_empty() {
            return Err(Refusal::new(Code::ArgumentNull, "There is no body."));
        }
        serde_json::from_slice(&self.body.bytes).map_err(|error| {
            let text = format!(
                "The body is no JSON by line {}, column {}.",
                error.line(),
                error.column()
            );
            Refusal::new(Code::IotHubFormatError, text)
        })
    }

    /// `If-Match`: `*`, or an ETag, either in quotes or bare, as SDKs differ.
    pub(super) fn if_match(&self) -> Result<Option<IfMatch>, Refusal> {
        let Some(value) = self.headers.get(IF_MATCH) else {
            return Ok(None);
        };
        let text = value
            .to_str()
            .map_err(|_| Refusal::invalid("If-Match is no text."))?
            .trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        Ok(match bare {
            // As some write that there is none.
            "" => None,
            "*" => Some(IfMatch::Any),
            etag => Some(IfMatch::Etag(etag.to_owned())),
        })
    }

    /// A header's text, if it has one.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
