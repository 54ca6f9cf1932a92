//! A bounded run of entries, each with a place that never changes: what readers of a log read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// A log that the hub writes and any number of readers read, each at its own pace. A reader that is slower than
/// the writer learns how much it missed.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    limits: LogLimits,
    entries: VecDeque<Kept<T>>,
    /// The place of the first entry that is still there.
    first: u64,
    bytes: usize,
    /// Readers get what is before this place.
    shown: u64,
    showing: Showing,
}

#[derive(Debug)]
struct Kept<T> {
    weight: usize,
    time: Timestamp,
    entry: Arc<T>,
}

/// When readers get an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Showing {
    AtOnce,
    /// When [`Ring::show`] says so.
    WhenTold,
}

/// How much a log keeps, and for how long. When it is full the oldest entries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLimits {
    /// The most entries, at least 1. Default 100,000.
    pub entries: usize,
    /// The most room that they may take, in bytes: of memory, estimated, or of the file in the state directory.
    /// Default 256 MiB. One entry always fits.
    pub bytes: usize,
    /// The longest time that an entry stays, by the hub's clock. Default none: as long as there is room.
    pub age: Option<Duration>,
}

impl LogLimits {
    /// Keeps at most `entries` entries in `bytes` bytes, for any time.
    pub const fn new(entries: usize, bytes: usize) -> Self {
        Self {
            entries,
            bytes,
            age: None,
        }
    }

    /// Keeps no entry longer than this.
    #[must_use]
    pub const fn with_age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self::new(100_000, 256 * 1024 * 1024)
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) struct Read<T> {
    /// How many entries were gone before the reader came for them.
    pub(crate) missed: u64,
    pub(crate) entries: Vec<Arc<T>>,
    /// Where to read on.
    pub(crate) next: u64,
}

impl<T> Ring<T> {
    /// An empty one whose first entry will have the place `first`.
    pub(crate) const fn new(limits: LogLimits, first: u64, showing: Showing) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            first,
            bytes: 0,
            shown: first,
            showing,
        }
    }

    /// Adds an entry that takes about `weight` bytes beside its own size.
    pub(crate) fn push(&mut self, entry: Arc<T>, weight: usize, time: Timestamp) {
        let weight = size_of::<T>() + weight;
        self.bytes += weight;
        self.entries.push_back(Kept { weight, time, entry });
        while self.entries.len() > self.limits.entries.max(1)
            || (self.bytes > self.limits.bytes && self.entries.len() > 1)
        {
            self.pop();
        }
        if self.showing == Showing::AtOnce {
            self.shown = self.end();
        }
    }

    /// Readers get what is before this place.
    pub(crate) fn show(&mut self, until: u64) {
        self.shown = self.shown.max(until.min(self.end()));
    }

    /// Drops what is too old. Returns when the next entry has to go for its age.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some(goes) = self.expires() {
            if goes > now {
                return Some(goes);
            }
            self.pop();
        }
        None
    }

    /// When the oldest entry has to go for its age.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        let age = self.limits.age? + Duration::from_millis(1);
        self.entries.front().map(|oldest| oldest.time + age)
    }

    fn pop(&mut self) {
        if let Some(gone) = self.entries.pop_front() {
            self.first += 1;
            self.bytes -= gone.weight;
        }
    }

    /// Up to `most` entries from place `from` on.
    pub(crate) fn read(&self, from: u64, most: usize) -> Read<T> {
        let start = from.max(self.first);
        let skip = usize::try_from(start - self.first)
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        let shown = usize::try_from(self.shown.saturating_sub(start)).unwrap_or(usize::MAX);
        let entries: Vec<_> = self
            .entries
            .range(skip..)
            .take(most.min(shown))
            .map(|kept| Arc::clone(&kept.entry))
            .collect();
        Read {
            missed: start - from,
            next: start + entries.len() as u64,
            entries,
        }
    }

    /// The entry at this place, whether readers get it yet or not.
    pub(crate) fn get(&self, place: u64) -> Option<Arc<T>> {
        let at = usize::try_from(place.checked_sub(self.first)?).ok()?;
        self.entries.get(at).map(|kept| Arc::clone(&kept.entry))
    }

    /// The place of the first entry that is still there.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The place that the next entry will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The place of the first entry that readers do not get yet.
    pub(crate) const fn shown(&self) -> u64 {
        self.shown
    }
}

/// A ring between the hub that writes it and those who read it. Held for the time of a copy, never across a wait.
#[derive(Debug)]
pub(crate) struct SharedRing<T>(Arc<Mutex<Ring<T>>>);

impl<T> SharedRing<T> {
    pub(crate) fn new(limits: LogLimits) -> Self {
        Self::of(Ring::new(limits, 0, Showing::AtOnce))
    }

    pub(crate) fn of(ring: Ring<T>) -> Self {
        Self(Arc::new(Mutex::new(ring)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Ring<T>> {
        // A panic while it was held can only have been one of an allocation: the ring is still sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for SharedRing<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_off_is_counted_for_its_reader() {
        let mut ring = Ring::new(LogLimits::new(3, usize::MAX), 0, Showing::AtOnce);
        (0..5).for_each(|number| ring.push(Arc::new(number), 0, NOW));
        let read = ring.read(0, 2);
        assert_eq!((read.missed, read.next), (2, 4));
        assert_eq!(read.entries, [Arc::new(2), Arc::new(3)]);
        let read = ring.read(read.next, 2);
        assert_eq!((read.missed, read.entries.len(), read.next), (0, 1, 5));
        assert_eq!(ring.end(), 5);
        assert_eq!(ring.read(5, 2).entries.len(), 0);
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_but_always_holds_one_entry() {
        let mut ring = Ring::new(LogLimits::new(100, 10_000), 0, Showing::AtOnce);
        (0..20).for_each(|_| ring.push(Arc::new(()), 1000, NOW));
        assert_eq!(ring.read(0, 100).missed, 10);
        ring.push(Arc::new(()), 1_000_000, NOW);
        assert_eq!(ring.read(0, 100).entries.len(), 1);
    }

    #[test]
    fn entries_go_when_they_are_older_than_the_limit() {
        let limits = LogLimits::new(100, usize::MAX).with_age(Duration::from_secs(60));
        let mut ring = Ring::new(limits, 0, Showing::AtOnce);
        for seconds in [0, 10, 20] {
            ring.push(Arc::new(seconds), 0, NOW + Duration::from_secs(seconds));
        }
        let turned = ring.expire(NOW + Duration::from_secs(60));
        assert_eq!(turned, Some(NOW + Duration::from_millis(60_001)));
        let turned = ring.expire(NOW + Duration::from_secs(75));
        assert_eq!(turned, Some(NOW + Duration::from_millis(80_001)));
        let read = ring.read(0, 100);
        assert_eq!((read.missed, read.entries), (2, vec![Arc::new(20)]));
        assert_eq!(ring.expire(NOW + Duration::from_secs(90)), None);
        assert_eq!((ring.first(), ring.end()), (3, 3));
    }

    #[test]
    fn readers_get_nothing_that_is_not_shown_yet() {
        let mut ring = Ring::new(LogLimits::default(), 7, Showing::WhenTold);
        (0..3).for_each(|number| ring.push(Arc::new(number), 0, NOW));
        assert_eq!(ring.read(7, 100).entries, []);
        ring.show(9);
        let read = ring.read(7, 100);
        assert_eq!((read.entries.len(), read.next, ring.shown()), (2, 9, 9));
        assert_eq!(ring.read(9, 100).entries, []);
        ring.show(100);
        assert_eq!(ring.shown(), 10);
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
}
