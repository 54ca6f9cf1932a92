//! The last event of each partition, for those who ask and do not read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::hub::{Event, Place};

/// The last event of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence_number: u64,
    pub(crate) offset: u64,
    pub(crate) enqueued: Timestamp,
}

impl From<&Event> for Head {
    fn from(event: &Event) -> Self {
        Self {
            sequence_number: event.sequence_number,
            offset: event.offset,
            enqueued: event.enqueued,
        }
    }
}

/// How far a partition has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The number of the next event.
    pub(crate) next: u64,
    /// The last event, unless there is none, or it went before this hub began.
    pub(crate) head: Option<Head>,
}

/// Of all partitions, as far as readers may see. Clones are the same.
///
/// Bounded by what the disk has not taken yet: one entry for each lot of events.
#[derive(Clone, Debug)]
pub(crate) struct Heads(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    shown: Vec<Reached>,
    /// What readers do not see yet, each with the place in the log that must be shown before.
    waiting: VecDeque<(u64, u16, Head)>,
}

impl Heads {
    pub(crate) fn new(partitions: &[Place], last: impl IntoIterator<Item = Arc<Event>>) -> Self {
        let reached = |place: &Place| Reached {
            next: place.sequence_number(),
            head: None,
        };
        let mut shown: Vec<_> = partitions.iter().map(reached).collect();
        for event in last {
            if let Some(reached) = shown.get_mut(usize::from(event.partition)) {
                reached.head = Some(Head::from(&*event));
            }
        }
        let waiting = VecDeque::new();
        Self(Arc::new(Mutex::new(Inner { shown, waiting })))
    }

    /// The partition has grown up to this event, which stands before place `behind` of the log.
    pub(crate) fn grew(&self, partition: u16, head: Head, behind: u64) {
        self.lock().waiting.push_back((behind, partition, head));
    }

    /// Readers see what is before this place of the log.
    pub(crate) fn show(&self, until: u64) {
        let mut inner = self.lock();
        while let Some((behind, partition, head)) = inner.waiting.front().copied()
            && behind <= until
        {
            inner.waiting.pop_front();
            if let Some(reached) = inner.shown.get_mut(usize::from(partition)) {
                *reached = Reached {
                    next: head.sequence_number + 1,
                    head: Some(head),
                };
            }
        }
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> u16 {
        u16::try_from(self.lock().shown.len()).unwrap_or(u16::MAX)
    }

    /// `None` where there is no such partition.
    pub(crate) fn of(&self, partition: u16) -> Option<Reached> {
        self.lock().shown.get(usize::from(partition)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_seen_when_its_event_is() {
        let heads = Heads::new(&[Place::default(), Place::default()], []);
        assert_eq!(heads.partitions(), 2);
        assert_eq!(heads.of(1), Some(Reached::default()));
        assert_eq!(heads.of(2), None);
        let head = |sequence_number| Head {
            sequence_number,
            offset: 100 * sequence_number,
            enqueued: Timestamp::from_seconds(7),
        };
        heads.grew(1, head(4), 5);
        heads.grew(1, head(6), 7);
        assert_eq!(heads.of(1).unwrap().head, None);
        heads.show(6);
        assert_eq!(heads.of(1).unwrap().head, Some(head(4)));
        heads.show(7);
        assert_eq!(
            heads.of(1),
            Some(Reached {
                next: 7,
                head: Some(head(6))
            })
        );
        assert_eq!(heads.of(0).unwrap().head, None);
    }
}
