//! From where a reader of a partition wants to read, and how it says so.

use crate::clock::Timestamp;
use crate::hub::Event;

/// From where on a reader gets a partition's events. Once an event is behind it, so are all that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// From the oldest that is kept.
    Start,
    /// What comes from now on.
    Latest,
    /// From a place in bytes on.
    Offset(Bound<i64>),
    /// From a sequence number on.
    SequenceNumber(Bound<i64>),
    /// From a time on.
    Enqueued(Bound<Timestamp>),
}

/// Where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound<T> {
    /// `>`
    Behind(T),
    /// `>=`
    From(T),
}

impl<T: PartialOrd + Copy> Bound<T> {
    fn admits(self, value: T) -> bool {
        match self {
            Self::Behind(bound) => value > bound,
            Self::From(bound) => value >= bound,
        }
    }

    /// What it is counted from.
    pub(crate) const fn value(self) -> T {
        match self {
            Self::Behind(value) | Self::From(value) => value,
        }
    }
}

/// Why a selector is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPosition {
    #[error(
        "a selector is amqp.annotation.x-opt-offset, amqp.annotation.x-opt-sequence-number or \
         amqp.annotation.x-opt-enqueued-time, then > or >=, then a value"
    )]
    Form,
    #[error("{0} is no annotation that a selector compares")]
    Annotation(String),
    #[error("{value:?} is no value of {annotation}")]
    Value { annotation: &'static str, value: String },
}

impl Position {
    /// Reads the selector of a receiver's filter `apache.org:selector-filter:string`, in the forms that the Event Hubs
    /// SDKs write: `amqp.annotation.ANNOTATION > 'VALUE'` or `>=`, the quotes optional. An offset of `-1` is before all
    /// events, one of `@latest` behind all that are there.
    pub(crate) fn of_selector(text: &str) -> Result<Self, NoPosition> {
        let (annotation, rest) = text.split_once('>').ok_or(NoPosition::Form)?;
        let annotation = annotation.trim();
        let name = annotation
            .strip_prefix("amqp.annotation.")
            .ok_or(NoPosition::Form)?;
        let (inclusive, value) = match rest.strip_prefix('=') {
            Some(value) => (true, value.trim()),
            None => (false, rest.trim()),
        };
        let value = match value.strip_prefix('\'') {
            Some(quoted) => quoted.strip_suffix('\'').ok_or(NoPosition::Form)?,
            None => value,
        };
        let annotation = ANNOTATIONS.into_iter().find(|known| *known == name);
        let annotation =
            annotation.ok_or_else(|| NoPosition::Annotation(name.chars().take(MOST_SAID).collect()))?;
        match (annotation, value) {
            (OFFSET, "@latest") => return Ok(Self::Latest),
            // By whatever it is compared: nothing comes before the first.
            (OFFSET, "-1") => return Ok(Self::Start),
            _ => {}
        }
        let number: i64 = value.parse().map_err(|_| NoPosition::Value {
            annotation,
            value: value.chars().take(MOST_SAID).collect(),
        })?;
        Ok(match annotation {
            OFFSET => Self::Offset(Bound::of(number, inclusive)),
            SEQUENCE_NUMBER => Self::SequenceNumber(Bound::of(number, inclusive)),
            _ => Self::Enqueued(Bound::of(Timestamp::from_millis(number), inclusive)),
        })
    }

    /// Whether a reader that begins here gets the event. Of what comes behind the latest it gets all.
    pub(crate) fn admits(self, event: &Event) -> bool {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match self {
            Self::Start | Self::Latest => true,
            Self::Offset(bound) => bound.admits(number(event.offset)),
            Self::SequenceNumber(bound) => bound.admits(number(event.sequence_number)),
            Self::Enqueued(bound) => bound.admits(event.enqueued),
        }
    }
}

impl<T> Bound<T> {
    const fn of(value: T, inclusive: bool) -> Self
    where
        T: Copy,
    {
        if inclusive {
            Self::From(value)
        } else {
            Self::Behind(value)
        }
    }
}

const OFFSET: &str = "x-opt-offset";
const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
const ANNOTATIONS: [&str; 4] = [
    OFFSET,
    SEQUENCE_NUMBER,
    "x-opt-enqueued-time",
    // As older SDKs name it.
    "x-opt-enqueuedtimeutc",
];
/// How many characters of a client's text an error repeats.
const MOST_SAID: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms that protocol.md §6.4 gives, and those that are near.
    #[test]
    fn selectors_are_read_in_every_form_that_sdks_write() {
        let time = Timestamp::from_millis(1_700_000_000_123);
        for (text, expected) in [
            ("amqp.annotation.x-opt-offset > '-1'", Position::Start),
            ("amqp.annotation.x-opt-offset >= '-1'", Position::Start),
            ("amqp.annotation.x-opt-offset > '@latest'", Position::Latest),
            (
                "amqp.annotation.x-opt-offset > '4200'",
                Position::Offset(Bound::Behind(4200)),
            ),
            (
                "amqp.annotation.x-opt-offset >= '4200'",
                Position::Offset(Bound::From(4200)),
            ),
            (
                "amqp.annotation.x-opt-offset > 4200",
                Position::Offset(Bound::Behind(4200)),
            ),
            (
                "amqp.annotation.x-opt-sequence-number > '17'",
                Position::SequenceNumber(Bound::Behind(17)),
            ),
            (
                "amqp.annotation.x-opt-sequence-number>='17'",
                Position::SequenceNumber(Bound::From(17)),
            ),
            (
                "amqp.annotation.x-opt-sequence-number > '-1'",
                Position::SequenceNumber(Bound::Behind(-1)),
            ),
            (
                "amqp.annotation.x-opt-enqueued-time > '1700000000123'",
                Position::Enqueued(Bound::Behind(time)),
            ),
            (
                "amqp.annotation.x-opt-enqueued-time >= 1700000000123",
                Position::Enqueued(Bound::From(time)),
            ),
            (
                "amqp.annotation.x-opt-enqueuedtimeutc > 1700000000123",
                Position::Enqueued(Bound::Behind(time)),
            ),
        ] {
            assert_eq!(Position::of_selector(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_says_what_is_wrong_with_it() {
        for (text, expected) in [
            ("", "a selector is"),
            ("amqp.annotation.x-opt-offset", "a selector is"),
            ("amqp.annotation.x-opt-offset < '3'", "a selector is"),
            ("amqp.annotation.x-opt-offset > '3", "a selector is"),
            ("x-opt-offset > '3'", "a selector is"),
            (
                "amqp.annotation.x-opt-partition-key > '3'",
                "x-opt-partition-key is no annotation",
            ),
            (
                "amqp.annotation.x-opt-offset > 'three'",
                "\"three\" is no value of x-opt-offset",
            ),
            (
                "amqp.annotation.x-opt-sequence-number > '@latest'",
                "\"@latest\" is no value of x-opt-sequence-number",
            ),
            (
                "amqp.annotation.x-opt-enqueued-time > ''",
                "\"\" is no value of x-opt-enqueued-time",
            ),
        ] {
            let said = Position::of_selector(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
