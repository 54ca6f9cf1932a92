//! The query language of twins and jobs: `SELECT … FROM … WHERE … GROUP BY …` (Azure docs, "IoT Hub query language for
//! device and module twins, jobs, and message routing"). It knows nothing of a hub: it takes JSON documents, and gives
//! some.
//!
//! What the documentation says of values: a condition holds only if it is the Boolean `true`; anything else counts as
//! `false`, so that `NOT` of it holds. Only primitives compare, and only with their own type; what can't be said is
//! undefined, which is no value at all.

mod evaluate;
mod expression;
mod functions;
mod groups;
mod lexer;
mod page;
mod parser;

use std::fmt;

pub(crate) use self::evaluate::holds;
pub(crate) use self::expression::Expression;
use self::expression::Path;
pub(crate) use self::page::{Continuation, Page, Pager};
pub(crate) use self::parser::{parse, parse_condition};

/// A query that has been read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) select: Select,
    /// The most rows of all pages together.
    pub(crate) top: Option<u64>,
    pub(crate) from: Collection,
    pub(crate) condition: Option<Expression>,
    pub(crate) group_by: Vec<Path>,
}

impl Query {
    /// Whether rows are made of groups of documents and not each of one.
    pub(crate) fn aggregates(&self) -> bool {
        let items = match &self.select {
            Select::All => &[][..],
            Select::Items(items) => items,
        };
        !self.group_by.is_empty() || items.iter().any(|item| matches!(item.what, What::Aggregate(..)))
    }
}

/// What a condition is for: `*` for all, or `[FROM …] WHERE …` without its first words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) from: Collection,
    /// `None` holds for all.
    pub(crate) condition: Option<Expression>,
}

/// What is queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collection {
    Devices,
    Modules,
    Jobs,
}

impl Collection {
    /// As it is written; the longer first.
    const NAMES: [(Self, &'static [&'static str]); 3] = [
        (Self::Modules, &["devices", "modules"]),
        (Self::Jobs, &["devices", "jobs"]),
        (Self::Devices, &["devices"]),
    ];
}

/// What rows hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Select {
    /// Whole documents.
    All,
    Items(Vec<Item>),
}

/// A field of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) what: What,
    pub(crate) alias: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Path(Path),
    /// Of these; of whole documents when it counts.
    Aggregate(Aggregate, Option<Path>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Count,
    Average,
    Sum,
    Least,
    Greatest,
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryError {
    pub(crate) what: String,
    /// Where, in characters from 1. Behind the last one if something is missing there.
    pub(crate) at: usize,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at character {}", self.what, self.at)
    }
}

impl std::error::Error for QueryError {}

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod tests;
