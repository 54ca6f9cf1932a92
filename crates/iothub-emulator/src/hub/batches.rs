//! Feedback on its way to services: gathered to batches, each locked by the link that it went out over until that says what
//! is to become of it.
//!
//! A batch is a run of the feedback log, named by its places, and holds nothing itself: what the log drops is gone from
//! the batches too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::command::LinkId;
use super::mailbox::{Lock, LockLost, LockToken, Outcome};
use crate::clock::Timestamp;

/// All that no service has taken for good yet.
#[derive(Debug)]
pub(crate) struct Batches {
    /// By the place of their first record.
    batches: BTreeMap<u64, Batch>,
    /// The place behind the last batch: from here on records gather.
    gathered: u64,
    /// The place behind the last record.
    end: u64,
    /// When the first of the records that gather came.
    since: Option<Timestamp>,
    /// What was last said to be done with.
    done: u64,
}

#[derive(Debug)]
struct Batch {
    /// The place behind its last record.
    end: u64,
    /// How often it came back.
    deliveries: u8,
    lock: Option<Lock>,
}

impl Batches {
    /// What is in the log at these places is to go out, and was there at `now`.
    pub(crate) fn new(places: Range<u64>, now: Timestamp) -> Self {
        let mut batches = Self {
            batches: BTreeMap::new(),
            gathered: places.start,
            end: places.start,
            since: None,
            done: places.start,
        };
        batches.grew(places.end, now);
        batches
    }

    /// The log has grown up to this place.
    pub(crate) fn grew(&mut self, end: u64, now: Timestamp) {
        self.end = self.end.max(end);
        while self.end - self.gathered >= MOST_RECORDS {
            self.gather(self.gathered + MOST_RECORDS);
        }
        self.since = (self.gathered < self.end).then(|| self.since.unwrap_or(now));
    }

    /// The log holds nothing before this place any more.
    pub(crate) fn dropped(&mut self, first: u64) {
        while let Some((begin, batch)) = self.batches.first_key_value()
            && batch.end <= first
        {
            let begin = *begin;
            self.batches.remove(&begin);
        }
        self.gathered = self.gathered.max(first.min(self.end));
    }

    /// Locks the oldest batch that is ready; gives its places.
    pub(crate) fn lock(&mut self, token: LockToken, link: LinkId, now: Timestamp) -> Option<Range<u64>> {
        let (begin, batch) = self.batches.iter_mut().find(|(_, batch)| batch.lock.is_none())?;
        let until = now + LOCK;
        batch.lock = Some(Lock { token, until, link });
        Some(*begin..batch.end)
    }

    /// Does what the service says of the batch that `link` has under `token`.
    pub(crate) fn settle(
        &mut self,
        token: &LockToken,
        link: LinkId,
        outcome: Outcome,
    ) -> Result<(), LockLost> {
        let held = |batch: &Batch| {
            batch
                .lock
                .is_some_and(|lock| lock.token == *token && lock.link == link)
        };
        let found = self.batches.iter().find(|(_, batch)| held(batch));
        let begin = *found.ok_or(LockLost)?.0;
        match outcome {
            Outcome::Complete | Outcome::Reject => {
                self.batches.remove(&begin);
            }
            Outcome::Abandon => self.put_back(begin),
        }
        Ok(())
    }

    /// Puts back what `link` has locked.
    pub(crate) fn link_gone(&mut self, link: LinkId) {
        self.put_back_where(|lock| lock.link == link);
    }

    /// Puts back what was locked too long, and makes a batch of what has gathered long enough.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.put_back_where(|lock| lock.until <= now);
        if self.since.is_some_and(|since| since + LONGEST_WAIT <= now) {
            self.gather(self.end);
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let locks = self.batches.values().filter_map(|batch| batch.lock);
        let gathering = self.since.map(|since| since + LONGEST_WAIT);
        locks.map(|lock| lock.until).chain(gathering).min()
    }

    /// The place before which all is done with, if that is another than when this was last asked.
    pub(crate) fn take_done(&mut self) -> Option<u64> {
        let first = self.batches.first_key_value().map(|(begin, _)| *begin);
        let done = first.unwrap_or(self.gathered);
        (std::mem::replace(&mut self.done, done) != done).then_some(done)
    }

    fn gather(&mut self, end: u64) {
        let batch = Batch {
            end,
            deliveries: 0,
            lock: None,
        };
        self.batches.insert(self.gathered, batch);
        self.gathered = end;
        self.since = None;
    }

    fn put_back_where(&mut self, which: impl Fn(&Lock) -> bool) {
        let locked = self.batches.iter();
        let locked = locked.filter(|(_, batch)| batch.lock.as_ref().is_some_and(&which));
        let begins: Vec<_> = locked.map(|(begin, _)| *begin).collect();
        for begin in begins {
            self.put_back(begin);
        }
    }

    fn put_back(&mut self, begin: u64) {
        let Some(batch) = self.batches.get_mut(&begin) else {
            return;
        };
        batch.lock = None;
        batch.deliveries += 1;
        if batch.deliveries >= MAX_DELIVERIES {
            self.batches.remove(&begin);
        }
    }
}

/// The most records of a batch (Azure docs, "Send cloud-to-device messages": 64).
const MOST_RECORDS: u64 = 64;
/// How long records gather at most (the same: 15 seconds).
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How long a service may take to settle a batch before it is delivered again (the same, `feedback.lockDurationAsIso8601`:
/// 60 seconds).
const LOCK: Duration = Duration::from_secs(60);
/// How often a batch is delivered before it is given up (the same, `feedback.maxDeliveryCount`: 10).
const MAX_DELIVERIES: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000) + Duration::from_secs(seconds)
    }

    const ONE: LockToken = [1; 16];
    const TWO: LockToken = [2; 16];

    #[test]
    fn records_go_when_there_are_64_or_when_15_seconds_are_over() {
        let mut batches = Batches::new(0..0, at(0));
        batches.grew(3, at(1));
        assert_eq!(batches.lock(ONE, 1, at(1)), None);
        assert_eq!(batches.deadline(), Some(at(16)));
        batches.grew(130, at(2));
        assert_eq!(batches.lock(ONE, 1, at(2)), Some(0..64));
        assert_eq!(batches.lock(TWO, 1, at(2)), Some(64..128));
        assert_eq!(batches.lock(ONE, 1, at(2)), None);
        // The time of those that are left counts anew.
        assert_eq!(batches.deadline(), Some(at(17)));
        batches.expire(at(17));
        assert_eq!(batches.lock([3; 16], 1, at(17)), Some(128..130));
    }

    #[test]
    fn a_batch_comes_again_until_it_is_done_with_or_was_delivered_ten_times() {
        let mut batches = Batches::new(5..8, at(0));
        batches.expire(at(15));
        assert_eq!(batches.lock(ONE, 1, at(15)), Some(5..8));
        assert_eq!(batches.settle(&TWO, 1, Outcome::Complete), Err(LockLost));
        assert_eq!(batches.settle(&ONE, 2, Outcome::Complete), Err(LockLost));
        assert_eq!(batches.settle(&ONE, 1, Outcome::Abandon), Ok(()));
        assert_eq!(batches.take_done(), None);
        assert_eq!(batches.lock(TWO, 2, at(20)), Some(5..8));
        batches.link_gone(2);
        assert_eq!(batches.lock(ONE, 1, at(30)), Some(5..8));
        batches.expire(at(89));
        assert_eq!(batches.lock(TWO, 1, at(89)), None);
        batches.expire(at(90));
        assert_eq!(batches.lock(TWO, 1, at(90)), Some(5..8));
        assert_eq!(batches.settle(&TWO, 1, Outcome::Complete), Ok(()));
        assert_eq!((batches.take_done(), batches.take_done()), (Some(8), None));

        batches.grew(9, at(100));
        batches.expire(at(115));
        for _ in 0..10 {
            assert_eq!(batches.lock(ONE, 1, at(115)), Some(8..9));
            assert_eq!(batches.settle(&ONE, 1, Outcome::Abandon), Ok(()));
        }
        assert_eq!(batches.lock(ONE, 1, at(115)), None);
        assert_eq!(batches.take_done(), Some(9));
    }

    #[test]
    fn what_the_log_has_dropped_is_in_no_batch() {
        let mut batches = Batches::new(0..100, at(0));
        batches.dropped(80);
        assert_eq!(batches.lock(ONE, 1, at(0)), None);
        batches.expire(at(15));
        assert_eq!(batches.lock(ONE, 1, at(15)), Some(80..100));
    }
}
