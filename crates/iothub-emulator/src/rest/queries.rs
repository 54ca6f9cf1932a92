//! Queries of twins and jobs.

use hyper::header::HeaderName;
use serde_json::Value;

use super::asked::Asked;
use super::refusal::Refusal;
use super::reply::Reply;
use crate::hub::Operation;
use crate::query::{self, Collection, Continuation, Page, Pager, QueryError, Select};

/// `{"query": "SELECT …"}`; the size of a page and where it begins are in headers.
pub(super) async fn query(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let object = asked.object()?;
    let Some(Value::String(text)) = object.get("query") else {
        return Err(Refusal::invalid("query is missing, or no text."));
    };
    let text = text.clone();
    let query = query::parse(&text)?;
    let kind = match (&query.select, query.from) {
        (Select::All, Collection::Devices | Collection::Modules) => "twin",
        (Select::All, Collection::Jobs) => "deviceJob",
        (Select::Items(_), _) => "raw",
    };
    let most = page_size(asked.header(MOST), MOST)?;
    let from = continuation(asked.header(CONTINUATION), CONTINUATION)?;
    let page = asked
        .run(Operation::Query, move |hub, _| {
            let pager = Pager::new(&query, &text, from, most);
            let pager = pager.ok_or_else(|| Refusal::invalid("The continuation is of another query."))?;
            Ok::<_, Refusal>(hub.query(&query, &pager))
        })
        .await?;
    Ok(shown(page, kind))
}

/// How many rows a page has.
pub(super) fn page_size(text: Option<&str>, name: &str) -> Result<usize, Refusal> {
    match text.map(str::parse) {
        None => Ok(USUAL_PAGE),
        Some(Ok(size @ 1..=LARGEST_PAGE)) => Ok(size),
        Some(_) => Err(Refusal::invalid(format!("{name} is 1 to {LARGEST_PAGE}."))),
    }
}

pub(super) fn continuation(text: Option<&str>, name: &str) -> Result<Option<Continuation>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let read = Continuation::from_text(text);
    read.map(Some)
        .ok_or_else(|| Refusal::invalid(format!("{name} is none that the hub has given.")))
}

pub(super) fn shown(page: Page, kind: &str) -> Reply {
    let reply = Reply::json(&Value::Array(page.rows)).header(HeaderName::from_static("x-ms-item-type"), kind);
    match page.next {
        Some(next) => reply.header(HeaderName::from_static(CONTINUATION), &next.to_text()),
        None => reply,
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::invalid(format!("The query: {error}."))
    }
}

const CONTINUATION: &str = "x-ms-continuation";
const MOST: &str = "x-ms-max-item-count";
const USUAL_PAGE: usize = 100;
/// Azure docs, "IoT Hub query language": "a page size (up to 1000)".
const LARGEST_PAGE: usize = 1000;
