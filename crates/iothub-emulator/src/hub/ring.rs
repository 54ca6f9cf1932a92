//! A bounded run of entries, each with a place that never changes: what readers of a log read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A log that the hub writes and any number of readers read, each at its own pace. A reader that is slower than
/// the writer learns how much it missed.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    limits: LogLimits,
    entries: VecDeque<(usize, Arc<T>)>,
    /// The place of the first entry that is still there.
    first: u64,
    bytes: usize,
}

/// How much a log keeps. When it is full the oldest entries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLimits {
    /// The most entries, at least 1. Default 100,000.
    pub entries: usize,
    /// The most memory that they may take, in bytes, estimated. Default 256 MiB. One entry always fits.
    pub bytes: usize,
}

impl LogLimits {
    /// Keeps at most `entries` entries in `bytes` bytes of memory.
    pub const fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes }
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
    pub(crate) const fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
        }
    }

    /// Adds an entry that takes about `weight` bytes beside its own size.
    pub(crate) fn push(&mut self, entry: T, weight: usize) {
        let weight = size_of::<T>() + weight;
        self.bytes += weight;
        self.entries.push_back((weight, Arc::new(entry)));
        while self.entries.len() > self.limits.entries.max(1)
            || (self.bytes > self.limits.bytes && self.entries.len() > 1)
        {
            let Some((weight, _)) = self.entries.pop_front() else {
                break;
            };
            self.first += 1;
            self.bytes -= weight;
        }
    }

    /// Up to `most` entries from place `from` on.
    pub(crate) fn read(&self, from: u64, most: usize) -> Read<T> {
        let start = from.max(self.first);
        let skip = usize::try_from(start - self.first)
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        let entries: Vec<_> = self
            .entries
            .range(skip..)
            .take(most)
            .map(|(_, entry)| Arc::clone(entry))
            .collect();
        Read {
            missed: start - from,
            next: start + entries.len() as u64,
            entries,
        }
    }

    /// The place that the next entry will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

/// A ring between the hub that writes it and those who read it. Held for the time of a copy, never across a wait.
#[derive(Debug)]
pub(crate) struct SharedRing<T>(Arc<Mutex<Ring<T>>>);

impl<T> SharedRing<T> {
    pub(crate) fn new(limits: LogLimits) -> Self {
        Self(Arc::new(Mutex::new(Ring::new(limits))))
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
        let mut ring = Ring::new(LogLimits::new(3, usize::MAX));
        (0..5).for_each(|number| ring.push(number, 0));
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
        let mut ring = Ring::new(LogLimits::new(100, 10_000));
        (0..20).for_each(|_| ring.push((), 1000));
        assert_eq!(ring.read(0, 100).missed, 10);
        ring.push((), 1_000_000);
        assert_eq!(ring.read(0, 100).entries.len(), 1);
    }
}
