//! How much is kept for a client that does not take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::{DELIVERY_WEIGHT, MAX_UNDELIVERED};

/// What is kept of one connection's deliveries, in bytes: of those that wait for credit, and of those that the client
/// has not settled, which the engine keeps whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undelivered(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    weight: AtomicUsize,
    freed: Notify,
}

/// A delivery's part of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    of: Undelivered,
    weight: usize,
}

impl Undelivered {
    /// Counts a delivery of so many bytes, if there is room for it.
    pub(super) fn keep(&self, bytes: usize) -> Option<Kept> {
        let weight = bytes + DELIVERY_WEIGHT;
        let before = self.0.weight.fetch_add(weight, Ordering::Relaxed);
        // Dropped, it gives back what it took.
        let kept = Kept {
            of: self.clone(),
            weight,
        };
        (before + weight <= MAX_UNDELIVERED).then_some(kept)
    }

    /// Whether half of what may be kept is.
    pub(super) fn is_half_full(&self) -> bool {
        self.0.weight.load(Ordering::Relaxed) >= MAX_UNDELIVERED / 2
    }

    /// Ready when something has been let go of since this was called.
    pub(super) fn room(&self) -> impl Future<Output = ()> + '_ {
        self.0.freed.notified()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.of.0.weight.fetch_sub(self.weight, Ordering::Relaxed);
        self.of.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_kept_as_may_be_and_not_one_byte_more() {
        let undelivered = Undelivered::default();
        let most = MAX_UNDELIVERED - 2 * DELIVERY_WEIGHT;
        let all = undelivered.keep(most - 1).unwrap();
        assert!(undelivered.keep(2).is_none() && undelivered.is_half_full());
        let last = undelivered.keep(1).unwrap();
        assert!(undelivered.keep(0).is_none());
        drop((all, last));
        assert!(!undelivered.is_half_full());
        assert!(undelivered.keep(most).is_some());
    }
}
