//! Reading what the hub logs, while it logs.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::hub::{Read, SharedRing};

/// A log of the hub: its events, or what happened at its door. Cheap to clone.
///
/// It keeps what [`LogLimits`](crate::LogLimits) says. In memory it can still be read when the hub has stopped; of
/// the events of a hub with a state directory only the newest are in memory, the others are read from there, and only
/// while the hub runs.
pub struct Feed<T> {
    ring: SharedRing<T>,
    grown: watch::Receiver<u64>,
    older: Option<Arc<dyn Older<T>>>,
    /// The place of the first entry of this run.
    began: u64,
}

/// Where entries are that are not in memory any more.
pub(crate) trait Older<T>: Send + Sync {
    /// The place of the first that is still there.
    fn first(&self) -> u64;
    /// Up to `most` entries from place `from` on, or from the first behind it that is there, and the place of the
    /// first of them; none when it is closed. Waits for the disk.
    fn read(&self, from: u64, most: usize) -> (u64, Vec<Arc<T>>);
    /// As many as are read at once from place `from` on, which is not many. Waits for the disk.
    fn read_run(&self, from: u64) -> (u64, Vec<Arc<T>>);
}

/// The hub's end of a feed: says how far the log has come.
pub(crate) struct Growth<T> {
    ring: SharedRing<T>,
    grown: watch::Sender<u64>,
}

/// One thing that a [`Subscription`] gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Notice<T> {
    /// The next entry.
    Entry(Arc<T>),
    /// This many entries fell off the log before this subscription read them.
    Missed(u64),
}

/// A reader of a [`Feed`] with a place of its own.
///
/// It takes no room in the hub, however slow it is: entries that fall off the log before it comes for them are
/// counted to it as [`Notice::Missed`], never lost in silence.
pub struct Subscription<T> {
    feed: Feed<T>,
    next: u64,
    ready: VecDeque<Arc<T>>,
}

impl<T: Send + Sync + 'static> Feed<T> {
    pub(crate) fn new(ring: SharedRing<T>, older: Option<Arc<dyn Older<T>>>) -> (Self, Growth<T>) {
        let began = ring.lock().end();
        let (sender, grown) = watch::channel(ring.lock().shown());
        (
            Self {
                ring: ring.clone(),
                grown,
                older,
                began,
            },
            Growth { ring, grown: sender },
        )
    }

    /// All that the log holds now, oldest first. It waits for the disk where entries are on it.
    pub fn snapshot(&self) -> Vec<Arc<T>> {
        let mut all = Vec::new();
        let mut place = 0;
        loop {
            let mut read = self.read(place, usize::MAX);
            if read.entries.is_empty() {
                return all;
            }
            place = read.next;
            all.append(&mut read.entries);
        }
    }

    /// The newest entries, the oldest of them first: at most `most`, and of a log on the disk those that are in memory.
    pub fn latest(&self, most: usize) -> Vec<Arc<T>> {
        let ring = self.ring.lock();
        let from = ring.shown().saturating_sub(most as u64);
        ring.read(from, most).entries
    }

    /// Reads what comes from now on.
    pub fn subscribe(&self) -> Subscription<T> {
        self.subscription_at(self.ring.lock().shown())
    }

    /// Reads what came since this hub started, then what comes: with a state directory, not what earlier runs
    /// have left there.
    pub fn subscribe_from_this_run(&self) -> Subscription<T> {
        self.subscription_at(self.began)
    }

    /// Reads all that the log ever held, then what comes; what it does not hold any more is counted as missed.
    pub fn subscribe_from_start(&self) -> Subscription<T> {
        self.subscription_at(0)
    }

    fn subscription_at(&self, next: u64) -> Subscription<T> {
        Subscription {
            feed: self.clone(),
            next,
            ready: VecDeque::new(),
        }
    }

    /// Whether what comes at this place, or behind it, is on the disk alone.
    fn is_older(&self, place: u64) -> bool {
        self.older
            .as_ref()
            .is_some_and(|older| place.max(older.first()) < self.ring.lock().first())
    }

    /// Up to `most` entries from place `from` on.
    fn read(&self, from: u64, most: usize) -> Read<T> {
        self.read_older(from, most, |older, start| older.read(start, most))
            .unwrap_or_else(|| self.ring.lock().read(from, most))
    }

    /// What is on the disk alone, if anything is from place `from` on, as `read` reads it.
    fn read_older(
        &self,
        from: u64,
        most: usize,
        read: impl FnOnce(&dyn Older<T>, u64) -> (u64, Vec<Arc<T>>),
    ) -> Option<Read<T>> {
        let older = self.older.as_deref()?;
        let start = from.max(older.first());
        let in_memory = self.ring.lock().first();
        if start >= in_memory {
            return None;
        }
        let (start, mut entries) = read(older, start);
        // What is in memory too is read there, where it is known what may be seen.
        let most = usize::try_from(in_memory.saturating_sub(start)).map_or(most, |count| most.min(count));
        entries.truncate(most);
        (!entries.is_empty()).then(|| Read {
            missed: start - from,
            next: start + entries.len() as u64,
            entries,
        })
    }

    /// Entries from place `from` on, as many as are at hand: from memory [`READ_AHEAD`] at most, which it shares, and from
    /// the disk what is read there at once.
    ///
    /// Cancel safe.
    pub(crate) async fn run_at(&self, from: u64) -> Read<T> {
        if !self.is_older(from) {
            return self.ring.lock().read(from, READ_AHEAD);
        }
        let feed = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            feed.read_older(from, usize::MAX, |older, start| older.read_run(start))
                .unwrap_or_else(|| feed.ring.lock().read(from, READ_AHEAD))
        });
        // It was cancelled with its runtime: there is nobody left to read for.
        reading.await.unwrap_or_else(|_| Read {
            missed: 0,
            entries: Vec::new(),
            next: from,
        })
    }

    /// The places that there are to read: from the first that is kept, to behind the last that is shown.
    pub(crate) fn places(&self) -> std::ops::Range<u64> {
        let ring = self.ring.lock();
        let first = self
            .older
            .as_ref()
            .map_or_else(|| ring.first(), |older| older.first());
        first.min(ring.shown())..ring.shown()
    }

    /// Changes when there is more to read.
    pub(crate) fn growth(&self) -> watch::Receiver<u64> {
        self.grown.clone()
    }
}

impl<T: Send + Sync + 'static> Subscription<T> {
    /// The next entry, or how many were missed; `None` when the hub has stopped and all was read.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn next(&mut self) -> Option<Notice<T>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Notice::Entry(entry));
            }
            // Marked as seen before the look, so that nothing is written unseen between the two.
            let open = self.feed.grown.has_changed().is_ok();
            self.feed.grown.borrow_and_update();
            let read = self.read_ahead().await;
            self.next = read.next;
            self.ready = read.entries.into();
            if read.missed > 0 {
                return Some(Notice::Missed(read.missed));
            }
            if self.ready.is_empty() {
                if !open {
                    return None;
                }
                // An error says that the hub has stopped: the next round reads what it wrote last.
                let _ = self.feed.grown.changed().await;
            }
        }
    }
}

impl<T: Send + Sync + 'static> Subscription<T> {
    async fn read_ahead(&self) -> Read<T> {
        if !self.feed.is_older(self.next) {
            return self.feed.ring.lock().read(self.next, READ_AHEAD);
        }
        let (feed, next) = (self.feed.clone(), self.next);
        tokio::task::spawn_blocking(move || feed.read(next, READ_AHEAD))
            .await
            // It was cancelled with its runtime: there is nobody left to read for.
            .unwrap_or_else(|_| Read {
                missed: 0,
                entries: Vec::new(),
                next: self.next,
            })
    }
}

impl<T> Growth<T> {
    /// The place that the next entry will have.
    pub(crate) fn end(&self) -> u64 {
        self.ring.lock().end()
    }

    /// Readers get what is before this place.
    pub(crate) fn shown(&self) -> u64 {
        self.ring.lock().shown()
    }

    /// Readers get what is before this place.
    pub(crate) fn show(&self, until: u64) {
        self.ring.lock().show(until);
    }

    /// Wakes the readers if the log has grown.
    pub(crate) fn publish(&self) {
        let end = self.ring.lock().shown();
        self.grown
            .send_if_modified(|seen| std::mem::replace(seen, end) != end);
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            ring: self.ring.clone(),
            grown: self.grown.clone(),
            older: self.older.clone(),
            began: self.began,
        }
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("end", &self.ring.lock().end())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// How many entries a subscription takes at once: the lock is held for the time of so many copies of a pointer.
const READ_AHEAD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::hub::LogLimits;

    fn feed(entries: usize) -> (SharedRing<u32>, Feed<u32>, Growth<u32>) {
        let ring = SharedRing::new(LogLimits::new(entries, usize::MAX));
        let (feed, growth) = Feed::new(ring.clone(), None);
        (ring, feed, growth)
    }

    #[tokio::test]
    async fn a_subscription_gets_what_comes_and_ends_with_the_hub() {
        let (ring, feed, growth) = feed(10);
        ring.lock().push(Arc::new(1), 0, Timestamp::default());
        let mut from_now = feed.subscribe();
        let mut from_start = feed.subscribe_from_start();
        let waiting = tokio::spawn(async move { (from_now.next().await, from_now) });
        tokio::task::yield_now().await;
        ring.lock().push(Arc::new(2), 0, Timestamp::default());
        growth.publish();
        let (got, mut from_now) = waiting.await.unwrap();
        assert_eq!(got, Some(Notice::Entry(Arc::new(2))));
        ring.lock().push(Arc::new(3), 0, Timestamp::default());
        drop(growth);
        assert_eq!(from_now.next().await, Some(Notice::Entry(Arc::new(3))));
        assert_eq!(from_now.next().await, None);
        for number in 1..=3 {
            assert_eq!(from_start.next().await, Some(Notice::Entry(Arc::new(number))));
        }
        assert_eq!(from_start.next().await, None);
    }

    #[tokio::test]
    async fn a_slow_subscription_learns_how_much_it_missed() {
        let (ring, feed, _growth) = feed(3);
        let mut slow = feed.subscribe();
        (0..10).for_each(|number| ring.lock().push(Arc::new(number), 0, Timestamp::default()));
        assert_eq!(slow.next().await, Some(Notice::Missed(7)));
        assert_eq!(slow.next().await, Some(Notice::Entry(Arc::new(7))));
        assert_eq!(feed.snapshot().len(), 3);
    }
}
