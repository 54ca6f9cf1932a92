//! Reading what the hub logs, while it logs.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::hub::SharedRing;

/// A log of the hub: its events, or what happened at its door. Cheap to clone.
///
/// It keeps what [`LogLimits`](crate::LogLimits) says, in memory, and can still be read when the hub has stopped.
pub struct Feed<T> {
    ring: SharedRing<T>,
    grown: watch::Receiver<u64>,
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

impl<T> Feed<T> {
    pub(crate) fn new(ring: SharedRing<T>) -> (Self, Growth<T>) {
        let (sender, grown) = watch::channel(ring.lock().end());
        (
            Self {
                ring: ring.clone(),
                grown,
            },
            Growth { ring, grown: sender },
        )
    }

    /// All that the log holds now, oldest first.
    pub fn snapshot(&self) -> Vec<Arc<T>> {
        self.ring.lock().read(0, usize::MAX).entries
    }

    /// Reads what comes from now on.
    pub fn subscribe(&self) -> Subscription<T> {
        self.subscription_at(self.ring.lock().end())
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
}

impl<T> Subscription<T> {
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
            let read = self.feed.ring.lock().read(self.next, READ_AHEAD);
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

impl<T> Growth<T> {
    /// Wakes the readers if the log has grown.
    pub(crate) fn publish(&self) {
        let end = self.ring.lock().end();
        self.grown
            .send_if_modified(|seen| std::mem::replace(seen, end) != end);
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            ring: self.ring.clone(),
            grown: self.grown.clone(),
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
    use crate::hub::LogLimits;

    fn feed(entries: usize) -> (SharedRing<u32>, Feed<u32>, Growth<u32>) {
        let ring = SharedRing::new(LogLimits::new(entries, usize::MAX));
        let (feed, growth) = Feed::new(ring.clone());
        (ring, feed, growth)
    }

    #[tokio::test]
    async fn a_subscription_gets_what_comes_and_ends_with_the_hub() {
        let (ring, feed, growth) = feed(10);
        ring.lock().push(1, 0);
        let mut from_now = feed.subscribe();
        let mut from_start = feed.subscribe_from_start();
        let waiting = tokio::spawn(async move { (from_now.next().await, from_now) });
        tokio::task::yield_now().await;
        ring.lock().push(2, 0);
        growth.publish();
        let (got, mut from_now) = waiting.await.unwrap();
        assert_eq!(got, Some(Notice::Entry(Arc::new(2))));
        ring.lock().push(3, 0);
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
        (0..10).for_each(|number| ring.lock().push(number, 0));
        assert_eq!(slow.next().await, Some(Notice::Missed(7)));
        assert_eq!(slow.next().await, Some(Notice::Entry(Arc::new(7))));
        assert_eq!(feed.snapshot().len(), 3);
    }
}
