//! Everything that the emulator sends, as one table: each frame and each part of a message, field by field, its AMQP
//! type, what may stand there, and where in the protocol reference that is from (§3.3, §4, §5, §6.1 to §6.4, §7.1, §15; AMQP 1.0
//! where it is the standard's).
//!
//! The scenes make the emulator send each of them; a reader of its own takes the bytes off the wire apart. A field
//! that no row knows, a value that a row does not allow, and a row of which nothing was seen are all failures.

mod messages;
mod reader;
mod rows;
mod scenes;
mod service_rows;
mod services;
mod watch;

use reader::Item;
use watch::{Seen, Watch};

/// One line of the table.
pub(crate) struct Row {
    /// Where it is seen; each of them must be.
    pub(crate) places: &'static [&'static str],
    pub(crate) field: &'static str,
    /// The types that it may have, with `|` between them.
    pub(crate) kinds: &'static str,
    pub(crate) rule: Rule,
    /// Of the protocol reference, or of the AMQP standard.
    pub(crate) source: &'static str,
}

/// What may stand in a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// Whatever it is; its type is all that matters.
    Any,
    /// This, as the reader prints it.
    Is(&'static str),
    /// What the client wrote in its place, with the type that it wrote.
    AsSent,
    /// So many bytes.
    Bytes(usize),
    /// A prefix, and so many lower-case hexadecimal digits.
    Hex(&'static str, usize),
    /// A number from the first to the second.
    From(i128, i128),
    /// A JSON object with these keys and no other.
    Json(&'static [&'static str]),
}

impl Rule {
    fn allows(self, seen: &Seen) -> bool {
        let item = &seen.item;
        match self {
            Self::Any => true,
            Self::Is(text) => format!("{item:?}") == text,
            Self::AsSent => seen.sent.as_ref() == Some(item),
            Self::Bytes(count) => {
                matches!(&item.content, reader::Content::Bytes(bytes) if bytes.len() == count)
            }
            Self::Hex(prefix, digits) => item.text().is_some_and(|text| {
                text.strip_prefix(prefix).is_some_and(|rest| {
                    rest.len() == digits && rest.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
                })
            }),
            Self::From(least, most) => {
                matches!(item.content, reader::Content::Number(number) if (least..=most).contains(&number))
            }
            Self::Json(keys) => {
                let object: Option<serde_json::Map<String, serde_json::Value>> =
                    item.text().and_then(|text| serde_json::from_str(text).ok());
                object.is_some_and(|object| {
                    let mut found: Vec<_> = object.keys().map(String::as_str).collect();
                    let mut wanted = keys.to_vec();
                    found.sort_unstable();
                    wanted.sort_unstable();
                    found == wanted
                })
            }
        }
    }
}

impl Row {
    fn is_of(&self, seen: &Seen) -> bool {
        self.field == seen.field && self.places.contains(&seen.place)
    }

    fn allows(&self, seen: &Seen) -> bool {
        self.kinds.split('|').any(|kind| kind == seen.item.kind)
            && (seen.item == Item::NULL || self.rule.allows(seen))
    }
}

/// What is wrong with what was seen, by the table.
fn findings(seen: &[Seen]) -> Vec<String> {
    let mut findings = Vec::new();
    for seen in seen {
        let Some(row) = rows::all().find(|row| row.is_of(seen)) else {
            findings.push(format!("no row is of {seen:?}"));
            continue;
        };
        if !row.allows(seen) {
            let Row {
                kinds, rule, source, ..
            } = row;
            findings.push(format!("{seen:?} is not {kinds} {rule:?} ({source})"));
        }
    }
    for row in rows::all() {
        for place in row.places {
            let is_it = |seen: &&Seen| seen.place == *place && row.is_of(seen);
            if !seen.iter().any(|seen| is_it(&seen)) {
                findings.push(format!(
                    "{} of {place} was never seen ({})",
                    row.field, row.source
                ));
            }
        }
    }
    findings
}

#[tokio::test]
async fn all_that_the_hub_sends_is_as_the_table_says() {
    let mut watch = Watch::default();
    scenes::all(&mut watch).await;
    messages::all(&mut watch).await;
    services::all(&mut watch).await;
    let findings = findings(&watch.seen);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// The table is checked in earnest: each row fails on another type, and on nothing.
#[test]
fn a_row_finds_what_is_wrong() {
    for row in rows::all() {
        let place = row.places[0];
        let wrong = Seen {
            place,
            field: row.field.to_owned(),
            item: Item {
                kind: "decimal128",
                content: reader::Content::Nothing,
            },
            sent: None,
        };
        assert!(!row.allows(&wrong), "{} of {place}", row.field);
    }
    let everything: usize = rows::all().map(|row| row.places.len()).sum();
    assert_eq!(findings(&[]).len(), everything);
}
