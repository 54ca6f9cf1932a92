//! The rows of a query, page by page. A page begins behind the key of the last row before it, so that what comes and goes
//! between two pages shows in what is still to come and nowhere else: no row comes twice, and none is left out that was
//! there all the time.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::groups::Groups;
use super::{Query, Select, What, holds};

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// Of which query.
    query: u64,
    /// The key of the last row before it.
    pub(crate) after: String,
    /// How many rows there were before it.
    given: u64,
}

/// A page of rows.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Value>,
    /// Where the next one begins, if there is one.
    pub(crate) next: Option<Continuation>,
}

/// Makes a page.
#[derive(Debug)]
pub(crate) struct Pager<'q> {
    query: &'q Query,
    hash: u64,
    from: Option<Continuation>,
    most: usize,
}

impl Continuation {
    /// As it is told, opaque: base64 of JSON.
    pub(crate) fn to_text(&self) -> String {
        let form = json!([self.query.to_string(), self.after, self.given]);
        STANDARD.encode(form.to_string())
    }

    /// What [`to_text`](Self::to_text) has written.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let form = STANDARD.decode(text).ok()?;
        let (query, after, given): (String, String, u64) = serde_json::from_slice(&form).ok()?;
        Some(Self {
            query: query.parse().ok()?,
            after,
            given,
        })
    }
}

impl<'q> Pager<'q> {
    /// For `query`, whose text is `text`; `None` if the continuation is of another query.
    pub(crate) fn new(query: &'q Query, text: &str, from: Option<Continuation>, most: usize) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        if from.as_ref().is_some_and(|from| from.query != hash) {
            return None;
        }
        Some(Self {
            query,
            hash,
            from,
            most,
        })
    }

    /// The key behind which documents are still to come, if rows are documents.
    pub(crate) fn after(&self) -> Option<&str> {
        let from = self.from.as_ref().filter(|_| !self.query.aggregates());
        from.map(|from| from.after.as_str())
    }

    /// Of documents with their keys, in the order of the keys and all behind [`after`](Self::after).
    pub(crate) fn page(&self, documents: impl Iterator<Item = (String, Value)>) -> Page {
        let query = self.query;
        let mut matching = documents.filter(|(_, document)| {
            let condition = query.condition.as_ref();
            condition.is_none_or(|condition| holds(condition, document))
        });
        if !query.aggregates() {
            return self.cut(matching.map(|(key, document)| (key, projected(query, document))));
        }
        let mut groups = Groups::of(query);
        matching.by_ref().for_each(|(_, document)| groups.add(&document));
        let after = self.from.as_ref().map(|from| from.after.clone());
        let rows = groups
            .rows()
            .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
        self.cut(rows)
    }

    fn cut(&self, mut rows: impl Iterator<Item = (String, Value)>) -> Page {
        let given = self.from.as_ref().map_or(0, |from| from.given);
        let left = self.query.top.map_or(u64::MAX, |top| top.saturating_sub(given));
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.most);
        let mut page = Page {
            rows: Vec::new(),
            next: None,
        };
        let (mut last, mut size) = (None, 0);
        while page.rows.len() < most && size < MAX_PAGE {
            let Some((key, row)) = rows.next() else {
                return page;
            };
            size += row.to_string().len();
            page.rows.push(row);
            last = Some(key);
        }
        let count = page.rows.len() as u64;
        // It is asked for another page only if there is something to come.
        if count < left && rows.next().is_some() {
            page.next = last.map(|after| Continuation {
                query: self.hash,
                after,
                given: given + count,
            });
        }
        page
    }
}

fn projected(query: &Query, document: Value) -> Value {
    let Select::Items(items) = &query.select else {
        return document;
    };
    let mut row = Map::new();
    for item in items {
        if let What::Path(path) = &item.what
            && let Some(value) = path.of(&document)
        {
            row.insert(item.alias.clone(), value.clone());
        }
    }
    Value::Object(row)
}

/// A page ends behind the row with which it has so many bytes.
const MAX_PAGE: usize = 4 * 1024 * 1024;
