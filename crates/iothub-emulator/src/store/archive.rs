//! Reading events that are in the file and no longer in memory.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadableDatabase, ReadableTable};

use super::fault::Fault;
use super::file::{File, LOG};
use super::log::events_of;
use crate::feed::Older;
use crate::hub::Event;

/// The event log as far as it is in the file. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Archive {
    file: File,
    /// The place of the first event that is kept.
    first: Arc<AtomicU64>,
}

impl Archive {
    pub(super) fn new(file: File, first: u64) -> Self {
        Self {
            file,
            first: Arc::new(AtomicU64::new(first)),
        }
    }

    pub(super) fn set_first(&self, first: u64) {
        self.first.store(first, Ordering::Release);
    }

    /// The last event of each of these partitions, which are taken away from them. What can't be read is told to the log.
    pub(crate) fn last_of(&self, partitions: &mut BTreeSet<u16>) -> Vec<Arc<Event>> {
        let mut found = Vec::new();
        if let Err(fault) = self.try_last_of(partitions, &mut found) {
            tracing::error!("can't read the event log from its file: {fault}");
        }
        found
    }

    fn try_last_of(&self, partitions: &mut BTreeSet<u16>, found: &mut Vec<Arc<Event>>) -> Result<(), Fault> {
        let Some(database) = self.file.database() else {
            return Ok(());
        };
        let transaction = database.begin_read()?;
        let log = transaction.open_table(LOG)?;
        for chunk in log.iter()?.rev() {
            if partitions.is_empty() {
                break;
            }
            let (place, bytes) = chunk?;
            let events = events_of(bytes.value(), place.value(), 0, usize::MAX)?;
            let last = events.into_iter().rev();
            found.extend(last.filter(|event| partitions.remove(&event.partition)));
        }
        Ok(())
    }

    fn try_read(&self, from: u64, most: usize) -> Result<(u64, Vec<Arc<Event>>), Fault> {
        self.try_read_until(from, most, |read| read >= most)
    }

    /// Chunk after chunk, until `enough` of what has been read.
    fn try_read_until(
        &self,
        from: u64,
        most: usize,
        enough: impl Fn(usize) -> bool,
    ) -> Result<(u64, Vec<Arc<Event>>), Fault> {
        let Some(database) = self.file.database() else {
            return Ok((from, Vec::new()));
        };
        let transaction = database.begin_read()?;
        let log = transaction.open_table(LOG)?;
        // The chunk that holds the place begins there or before it.
        let begin = match log.range(..=from)?.next_back() {
            Some(chunk) => chunk?.0.value(),
            None => 0,
        };
        let mut start = from;
        let mut events: Vec<Arc<Event>> = Vec::new();
        for chunk in log.range(begin..)? {
            let (place, bytes) = chunk?;
            let here = events_of(bytes.value(), place.value(), from, most - events.len())?;
            if events.is_empty() {
                start = from.max(place.value());
            }
            events.extend(here);
            if enough(events.len()) {
                break;
            }
        }
        Ok((start, events))
    }
}

impl Older<Event> for Archive {
    fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// What can't be read is told to the log, and passed over.
    fn read(&self, from: u64, most: usize) -> (u64, Vec<Arc<Event>>) {
        or_nothing(from, self.try_read(from, most))
    }

    /// The rest of a chunk.
    fn read_run(&self, from: u64) -> (u64, Vec<Arc<Event>>) {
        or_nothing(from, self.try_read_until(from, usize::MAX, |read| read > 0))
    }
}

fn or_nothing(from: u64, read: Result<(u64, Vec<Arc<Event>>), Fault>) -> (u64, Vec<Arc<Event>>) {
    read.unwrap_or_else(|fault| {
        tracing::error!("can't read the event log from its file: {fault}");
        (from, Vec::new())
    })
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("first", &self.first())
            .finish_non_exhaustive()
    }
}
