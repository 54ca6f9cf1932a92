//! How far a reader has come in a partition: where it goes on after a loss, and what it is to make of what comes. It
//! knows nothing of links.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From where a partition is read.
///
/// # Delivery
/// From here on each event comes once. Where the one of a sequence number is not there any more, a [gap](crate::Gap)
/// says so; behind an offset or a time that can't be told.
///
/// # Cancel safety
/// It is a place in a log, and no claim on it: who drops a stream and begins another at the same place gets the same
/// events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// The oldest event that is still there.
    Earliest,
    /// Whatever comes from now on.
    Latest,
    /// Behind the event of this offset.
    AfterOffset(String),
    /// The event of this sequence number. If it is not there any more, that is a [gap](crate::Gap).
    Sequence(i64),
    /// Behind the event of this sequence number, as who keeps the last one that it has seen goes on.
    AfterSequence(i64),
    /// What the hub took after this time.
    Time(SystemTime),
}

/// What came, beside what was to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Next,
    /// It is new, and those from here up to it are missing.
    After(i64),
    Before,
}

#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    from: Position,
    /// The sequence number that comes next, once it is known.
    next: Option<i64>,
}

impl Cursor {
    pub(crate) fn new(from: Position) -> Self {
        let next = match from {
            Position::Sequence(first) => Some(first),
            Position::AfterSequence(last) => Some(last.saturating_add(1)),
            _ => None,
        };
        Self { from, next }
    }

    /// An event of this sequence number has come.
    pub(crate) fn take(&mut self, number: i64) -> Seen {
        let seen = match self.next {
            Some(next) if number < next => return Seen::Before,
            Some(next) if number > next => Seen::After(next),
            _ => Seen::Next,
        };
        self.next = number.checked_add(1);
        seen
    }

    /// The selector of what is still to come, as Event Hubs reads it.
    pub(crate) fn selector(&self) -> String {
        if let Some(next) = self.next {
            return format!(
                "amqp.annotation.x-opt-sequence-number > '{}'",
                next.saturating_sub(1)
            );
        }
        match &self.from {
            Position::Latest => "amqp.annotation.x-opt-offset > '@latest'".to_owned(),
            Position::AfterOffset(offset) => format!("amqp.annotation.x-opt-offset > '{offset}'"),
            Position::Time(time) => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                format!("amqp.annotation.x-opt-enqueued-time > '{}'", since.as_millis())
            }
            _ => "amqp.annotation.x-opt-offset > '-1'".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_comes_again_is_noticed() {
        let mut cursor = Cursor::new(Position::Sequence(5));
        assert_eq!(cursor.take(7), Seen::After(5));
        assert_eq!(cursor.take(8), Seen::Next);
        assert_eq!(cursor.take(8), Seen::Before);
        assert_eq!(cursor.take(9), Seen::Next);
        assert_eq!(cursor.selector(), "amqp.annotation.x-opt-sequence-number > '9'");
    }

    #[test]
    fn who_has_read_nothing_begins_where_it_was_told() {
        let selector = |from| Cursor::new(from).selector();
        assert_eq!(
            selector(Position::Earliest),
            "amqp.annotation.x-opt-offset > '-1'"
        );
        assert_eq!(
            selector(Position::Latest),
            "amqp.annotation.x-opt-offset > '@latest'"
        );
        assert_eq!(
            selector(Position::AfterOffset("4096".to_owned())),
            "amqp.annotation.x-opt-offset > '4096'"
        );
        assert_eq!(
            selector(Position::Sequence(3)),
            "amqp.annotation.x-opt-sequence-number > '2'"
        );
        assert_eq!(
            selector(Position::AfterSequence(3)),
            "amqp.annotation.x-opt-sequence-number > '3'"
        );
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(
            selector(Position::Time(time)),
            "amqp.annotation.x-opt-enqueued-time > '1700000000123'"
        );
    }

    #[test]
    fn the_first_of_an_old_log_is_no_gap_but_the_first_behind_a_number_may_be() {
        assert_eq!(Cursor::new(Position::Earliest).take(900), Seen::Next);
        assert_eq!(Cursor::new(Position::AfterSequence(7)).take(900), Seen::After(8));
    }
}
