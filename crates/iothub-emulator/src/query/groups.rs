//! Aggregates over groups of documents.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::evaluate::{compare, number};
use super::{Aggregate, Query, Select, What};

/// The groups of a query, by the text of their key.
pub(super) struct Groups<'q> {
    query: &'q Query,
    by_key: BTreeMap<String, Group>,
}

struct Group {
    /// The group's values of what it is grouped by, where it has them.
    key: Vec<Option<Value>>,
    /// One for each item that is selected.
    totals: Vec<Total>,
}

/// What becomes of the values of an item.
#[derive(Clone, Debug, Default)]
struct Total {
    rows: u64,
    numbers: u64,
    sum: f64,
    least: Option<Value>,
    greatest: Option<Value>,
}

impl<'q> Groups<'q> {
    pub(super) fn of(query: &'q Query) -> Self {
        let mut groups = Self {
            query,
            by_key: BTreeMap::new(),
        };
        if query.group_by.is_empty() {
            // There is one group then, and it may be empty.
            groups.group(Vec::new());
        }
        groups
    }

    pub(super) fn add(&mut self, document: &Value) {
        let query = self.query;
        let key = query.group_by.iter().map(|path| path.of(document).cloned());
        let group = self.group(key.collect());
        for (item, total) in items(query).iter().zip(&mut group.totals) {
            let value = match &item.what {
                What::Aggregate(_, Some(path)) => path.of(document),
                _ => None,
            };
            total.add(value);
        }
    }

    /// The rows, by their key.
    pub(super) fn rows(self) -> impl Iterator<Item = (String, Value)> {
        let query = self.query;
        self.by_key
            .into_iter()
            .map(move |(text, group)| (text, group.row(query)))
    }

    fn group(&mut self, key: Vec<Option<Value>>) -> &mut Group {
        let text: Vec<String> = key
            .iter()
            .map(|value| value.as_ref().map_or_else(String::new, Value::to_string))
            .collect();
        let count = items(self.query).len();
        self.by_key.entry(text.join(",")).or_insert_with(|| Group {
            key,
            totals: vec![Total::default(); count],
        })
    }
}

fn items(query: &Query) -> &[super::Item] {
    match &query.select {
        Select::Items(items) => items,
        Select::All => &[],
    }
}

impl Group {
    fn row(self, query: &Query) -> Value {
        let mut row = Map::new();
        for (item, total) in items(query).iter().zip(&self.totals) {
            let value = match &item.what {
                What::Path(path) => {
                    let place = query.group_by.iter().position(|by| by == path);
                    place.and_then(|place| self.key.get(place).cloned().flatten())
                }
                What::Aggregate(aggregate, _) => total.value(*aggregate),
            };
            if let Some(value) = value {
                row.insert(item.alias.clone(), value);
            }
        }
        Value::Object(row)
    }
}

impl Total {
    /// `None` of what is not there.
    fn add(&mut self, value: Option<&Value>) {
        self.rows += 1;
        let Some(value) = value else { return };
        if let Some(number) = value.as_f64() {
            self.numbers += 1;
            self.sum += number;
        }
        let is_first = self.least.is_none();
        let is = |than: &Option<Value>, which: std::cmp::Ordering| {
            than.as_ref()
                .is_some_and(|than| compare(value, than) == Some(which))
        };
        if is_first && compare(value, value).is_some() || is(&self.least, std::cmp::Ordering::Less) {
            self.least = Some(value.clone());
        }
        if is_first && compare(value, value).is_some() || is(&self.greatest, std::cmp::Ordering::Greater) {
            self.greatest = Some(value.clone());
        }
    }

    /// Of numbers only, but for counts, and for the least and the greatest of what compares with the first.
    fn value(&self, aggregate: Aggregate) -> Option<Value> {
        #[expect(clippy::cast_precision_loss, reason = "no hub has so many devices")]
        let count = self.numbers as f64;
        match aggregate {
            Aggregate::Count => Some(self.rows.into()),
            Aggregate::Sum => number(self.sum).map(Cow::into_owned),
            Aggregate::Average => number(self.sum / count).map(Cow::into_owned),
            Aggregate::Least => self.least.clone(),
            Aggregate::Greatest => self.greatest.clone(),
        }
    }
}
