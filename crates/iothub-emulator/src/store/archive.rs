//! Reading events that are in the file and no longer in memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::ReadableDatabase;

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

    fn try_read(&self, from: u64, most: usize) -> Result<(u64, Vec<Arc<Event>>), Fault> {
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
            if events.len() >= most {
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
        match self.try_read(from, most) {
            Ok(read) => read,
            Err(fault) => {
                tracing::error!("can't read the event log from its file: {fault}");
                (from, Vec::new())
            }
        }
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("first", &self.first())
            .finish_non_exhaustive()
    }
}
