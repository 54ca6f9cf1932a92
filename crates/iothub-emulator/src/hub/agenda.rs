//! What the hub has to do at which time.

use std::collections::{BTreeMap, BTreeSet};

use iothub_address::Identity;

use super::command::{ConnectionId, Reply};
use super::faults::FaultId;
use crate::clock::Timestamp;

/// Something that falls due. Each stands on the agenda at most once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The connection's first token is to be taken back.
    Tokens(ConnectionId),
    /// A fault begins or ends.
    Fault(FaultId),
    /// An answer that was held back is to be given.
    Answer(Reply),
    /// A lock of the mailbox ends, or a message in it.
    Mailbox(Identity),
    /// The oldest event has to go for its age.
    LogAge,
    /// Feedback goes out, or comes back.
    Feedback,
    /// A method call was not answered.
    Call(Reply),
    /// Calls of jobs have been answered.
    JobAnswers,
    /// A job has something to do.
    Job(String),
    /// A job has had its time.
    JobEnd(String),
    /// It is to be looked at whom configurations are for.
    Configurations,
}

/// Each [`Due`] with its time.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    by_time: BTreeSet<(Timestamp, Due)>,
    times: BTreeMap<Due, Timestamp>,
}

impl Agenda {
    /// Puts it on the agenda for `at`, in place of where it stood; with `None` takes it off.
    pub(crate) fn set(&mut self, due: Due, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.times.insert(due.clone(), at),
            None => self.times.remove(&due),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, due.clone()));
        }
        self.by_time.extend(at.map(|at| (at, due)));
    }

    /// When it is due.
    pub(crate) fn at(&self, due: &Due) -> Option<Timestamp> {
        self.times.get(due).copied()
    }

    /// The earliest time.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes off what is due at `now`, the earliest first.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Due> {
        if self.first()? > now {
            return None;
        }
        let (_, due) = self.by_time.pop_first()?;
        self.times.remove(&due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn what_is_due_comes_once_and_in_the_order_of_time() {
        let mut agenda = Agenda::default();
        agenda.set(Due::Tokens(1), Some(at(30)));
        agenda.set(Due::Tokens(2), Some(at(20)));
        agenda.set(Due::Tokens(3), Some(at(10)));
        agenda.set(Due::Tokens(1), Some(at(5)));
        agenda.set(Due::Tokens(3), None);
        assert_eq!(agenda.first(), Some(at(5)));
        assert_eq!(agenda.take(at(4)), None);
        assert_eq!(agenda.take(at(20)), Some(Due::Tokens(1)));
        assert_eq!(agenda.take(at(20)), Some(Due::Tokens(2)));
        assert_eq!((agenda.take(at(99)), agenda.first()), (None, None));
    }
}
