//! What waits until the disk has what it follows from.

use std::collections::VecDeque;

/// Things to do, in order, each behind the batch of records that must be on disk before.
///
/// Nothing overtakes anything: as long as one batch is on its way, what the hub does after it waits too. So nobody can
/// see what a crash would undo.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    /// The number of the last batch that was made.
    last: u64,
    /// All batches up to this one have a report.
    reported: u64,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Outbox<T> {
    pub(crate) const fn new() -> Self {
        Self {
            last: 0,
            reported: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The number of a new batch.
    pub(crate) const fn batch(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// How many batches are on their way.
    pub(crate) const fn on_their_way(&self) -> u64 {
        self.last - self.reported
    }

    /// Gives it back if nothing is on its way; else it waits for the last batch.
    pub(crate) fn hold(&mut self, thing: T) -> Option<T> {
        if self.on_their_way() == 0 {
            return Some(thing);
        }
        self.waiting.push_back((self.last, thing));
        None
    }

    /// What has become of the batches up to `through` is known.
    pub(crate) fn reported(&mut self, through: u64) {
        self.reported = self.reported.max(through.min(self.last));
    }

    /// The next thing that waits for nothing any more.
    pub(crate) fn release(&mut self) -> Option<T> {
        let (batch, _) = self.waiting.front()?;
        if *batch > self.reported {
            return None;
        }
        self.waiting.pop_front().map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_what_waits_for_the_disk() {
        let mut outbox = Outbox::new();
        assert_eq!(outbox.hold('a'), Some('a'));
        assert_eq!(outbox.batch(), 1);
        assert_eq!(outbox.hold('b'), None);
        assert_eq!(outbox.hold('c'), None);
        assert_eq!(outbox.batch(), 2);
        assert_eq!(outbox.hold('d'), None);
        assert_eq!(outbox.release(), None);
        outbox.reported(1);
        assert_eq!(
            [outbox.release(), outbox.release(), outbox.release()],
            [Some('b'), Some('c'), None]
        );
        assert_eq!(outbox.on_their_way(), 1);
        assert_eq!(outbox.hold('e'), None);
        outbox.reported(2);
        assert_eq!(
            [outbox.release(), outbox.release(), outbox.release()],
            [Some('d'), Some('e'), None]
        );
        assert_eq!(outbox.hold('f'), Some('f'));
    }
}
