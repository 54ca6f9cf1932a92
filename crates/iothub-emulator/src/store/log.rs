//! The event log in the file: chunks of events, bounded at the front.

use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::file::{ABOUT, CHUNKS, LOG};
use crate::clock::Timestamp;
use crate::hub::{Event, LogLimits, Place};

/// Where the log begins and ends, and the numbers that come next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogBounds {
    /// The place of the first event that is kept.
    pub(crate) first: u64,
    /// The place that the next event gets.
    pub(crate) next: u64,
    /// How many bytes the events take in the file.
    pub(crate) bytes: u64,
    /// Of each partition.
    pub(crate) partitions: Vec<Place>,
}

impl LogBounds {
    pub(super) fn read(
        about: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<Option<Self>, Fault> {
        match about.get(BOUNDS_KEY)? {
            None => Ok(None),
            Some(value) => Ok(Some(decode(value.value())?)),
        }
    }

    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        transaction
            .open_table(ABOUT)?
            .insert(BOUNDS_KEY, &encode(self)?[..])?;
        Ok(())
    }

    /// Writes events that follow one another. Whatever an attempt that failed left behind is written over.
    pub(super) fn append(
        &mut self,
        transaction: &WriteTransaction,
        events: &[Arc<Event>],
        limits: &LogLimits,
    ) -> Result<(), Fault> {
        if events.is_empty() {
            return Ok(());
        }
        let mut log = transaction.open_table(LOG)?;
        let mut chunks = transaction.open_table(CHUNKS)?;
        let most = Most::of(limits);
        let mut rest = events;
        while !rest.is_empty() {
            let mut bytes = Vec::new();
            let mut count = 0;
            while let Some(event) = rest.get(count)
                && (count == 0 || (count < most.entries && bytes.len() < most.bytes))
            {
                bytes = postcard::to_extend(event.as_ref(), bytes).map_err(Fault::damaged)?;
                count += 1;
            }
            let (here, behind) = rest.split_at(count);
            rest = behind;
            let newest = here.last().map_or(0, |event| event.enqueued.as_millis());
            log.insert(self.next, &bytes[..])?;
            let count = u32::try_from(count).map_err(Fault::damaged)?;
            chunks.insert(self.next, (count, bytes.len() as u64, newest))?;
            self.next += u64::from(count);
            self.bytes += bytes.len() as u64;
        }
        for event in events {
            if let Some(partition) = self.partitions.get_mut(usize::from(event.partition)) {
                *partition = Place::behind(event);
            }
        }
        Ok(())
    }

    /// Takes away what a commit that was thought to have failed has written behind the end.
    pub(super) fn truncate(&mut self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let mut log = transaction.open_table(LOG)?;
        let mut chunks = transaction.open_table(CHUNKS)?;
        loop {
            let last = chunks
                .last()?
                .map(|(place, about)| (place.value(), about.value()));
            let Some((place, (_, bytes, _))) = last.filter(|(place, _)| *place >= self.next) else {
                return Ok(());
            };
            log.remove(place)?;
            chunks.remove(place)?;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Drops what is too much or too old, a chunk at a time. Returns when the first of those that stay has to go for
    /// its age. The last chunk goes for its age alone.
    pub(super) fn trim(
        &mut self,
        transaction: &WriteTransaction,
        limits: &LogLimits,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Fault> {
        let mut log = transaction.open_table(LOG)?;
        let mut chunks = transaction.open_table(CHUNKS)?;
        loop {
            let first = chunks
                .first()?
                .map(|(place, about)| (place.value(), about.value()));
            let Some((place, (count, bytes, newest))) = first else {
                self.first = self.next;
                return Ok(None);
            };
            self.first = place;
            let goes = limits
                .age
                .map(|age| Timestamp::from_millis(newest) + age + Duration::from_millis(1));
            let behind = place + u64::from(count);
            let too_much =
                self.next - self.first > limits.entries.max(1) as u64 || self.bytes > limits.bytes as u64;
            if !(goes.is_some_and(|goes| goes <= now) || (too_much && behind < self.next)) {
                return Ok(goes);
            }
            log.remove(place)?;
            chunks.remove(place)?;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

/// The events of a chunk from place `from` on, when its first is at `first`; at most `most` of them.
pub(super) fn events_of(chunk: &[u8], first: u64, from: u64, most: usize) -> Result<Vec<Arc<Event>>, Fault> {
    let mut rest = chunk;
    let mut place = first;
    let mut events = Vec::new();
    while !rest.is_empty() && events.len() < most {
        let (event, behind) = postcard::take_from_bytes::<Event>(rest).map_err(Fault::damaged)?;
        rest = behind;
        if place >= from {
            events.push(Arc::new(event));
        }
        place += 1;
    }
    Ok(events)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    postcard::to_allocvec(value).map_err(Fault::damaged)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    postcard::from_bytes(bytes).map_err(Fault::damaged)
}

/// How much goes into one chunk: little enough that dropping one leaves most of a log that is full.
struct Most {
    entries: usize,
    bytes: usize,
}

impl Most {
    fn of(limits: &LogLimits) -> Self {
        Self {
            entries: (limits.entries / CHUNKS_OF_FULL_LOG).clamp(1, CHUNK_ENTRIES),
            bytes: (limits.bytes / CHUNKS_OF_FULL_LOG).min(CHUNK_BYTES),
        }
    }
}

const BOUNDS_KEY: &str = "log";
const CHUNKS_OF_FULL_LOG: usize = 16;
const CHUNK_ENTRIES: usize = 1024;
const CHUNK_BYTES: usize = 256 * 1024;
