//! Answers that come in pages.

use futures_util::stream::{self, Stream};
use serde_json::Value;

use crate::error::{BadReply, RegistryError};
use crate::registry::Registry;
use crate::request::Call;
use crate::wire;

/// Rows that come page by page.
///
/// # Cancel safety
/// When the future of [`next`](Self::next) is dropped, the next call asks for the same page.
///
/// # Limits
/// One page is held at a time.
#[derive(Debug)]
pub struct Pages {
    registry: Registry,
    ask: Ask,
    page_size: Option<u16>,
    at: At,
}

/// Some rows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// What they are: `twin`, `deviceJob`, `jobResponse`, or `raw` for rows of one's own making.
    pub item_type: Option<String>,
    /// The rows, as JSON.
    pub rows: Vec<Value>,
    /// Where the next page begins, if there is one: see [`Pages::from`].
    pub continuation: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Ask {
    Query(Value),
    /// With a type and a status, if they are named.
    Jobs(Option<&'static str>, Option<&'static str>),
}

#[derive(Debug)]
enum At {
    Start,
    From(String),
    End,
}

impl Pages {
    pub(crate) const fn new(registry: Registry, ask: Ask) -> Self {
        Self {
            registry,
            ask,
            page_size: None,
            at: At::Start,
        }
    }

    /// How many rows a page has at most, 1 to 1,000. The hub's default is 100. Larger asks the hub less often, and holds more
    /// at a time.
    #[must_use]
    pub const fn page_size(mut self, rows: u16) -> Self {
        self.page_size = Some(rows);
        self
    }

    /// Begins where a page of the same question ended: with its [`continuation`](Page::continuation).
    #[must_use]
    pub fn from(mut self, continuation: impl Into<String>) -> Self {
        self.at = At::From(continuation.into());
        self
    }

    /// The next page; `None` after the last. A page may have no rows, and another come behind it.
    ///
    /// # Errors
    /// [`ErrorCode::ArgumentInvalid`](crate::ErrorCode::ArgumentInvalid) for a query that the hub does not understand, or as of every call. The
    /// next call asks for the same page again.
    pub async fn next(&mut self) -> Result<Option<Page>, RegistryError> {
        let from = match &self.at {
            At::Start => None,
            At::From(text) => Some(text.as_str()),
            At::End => return Ok(None),
        };
        let mut call = match &self.ask {
            // It reads, though it is a POST.
            Ask::Query(body) => {
                let mut call = Call::get("/devices/query").json(body);
                call.method = hyper::Method::POST;
                call
            }
            Ask::Jobs(kind, status) => {
                let mut call = Call::get("/jobs/v2/query");
                for (name, value) in [("jobType", kind), ("jobStatus", status)] {
                    if let Some(value) = value {
                        call = call.query(name, value);
                    }
                }
                call
            }
        };
        if let Some(size) = self.page_size {
            call = call.header(MOST, &size.to_string())?;
        }
        if let Some(from) = from {
            call = call.header(CONTINUATION, from)?;
        }
        let reply = self.registry.run(&call).await?;
        let text = |name| {
            reply
                .header(name)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let continuation = text(CONTINUATION);
        if continuation.is_some() && continuation.as_deref() == from {
            return Err(BadReply::Circle.into());
        }
        let page = Page {
            item_type: text("x-ms-item-type"),
            rows: wire::read(reply.json()?)?,
            continuation,
        };
        self.at = page.continuation.clone().map_or(At::End, At::From);
        Ok(Some(page))
    }

    /// The pages as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Page, RegistryError>> + Send {
        stream::try_unfold(self, |mut pages| async move {
            let page = pages.next().await?;
            Ok(page.map(|page| (page, pages)))
        })
    }
}

const CONTINUATION: &str = "x-ms-continuation";
const MOST: &str = "x-ms-max-item-count";
