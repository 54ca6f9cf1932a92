//! The owner's dealings with the thread that writes the state.

use std::collections::VecDeque;

use crate::clock::Timestamp;
use crate::hub::Record;
use crate::outbox::Outbox;
use crate::store::{Batch, QUEUE, Report, Writer};

/// What is on its way to the disk, and what waits for it.
pub(crate) struct Keeper<T> {
    writer: Writer,
    outbox: Outbox<T>,
    /// The number and weight of each batch on its way.
    weights: VecDeque<(u64, usize)>,
    weight: usize,
    /// When events in the file have to go for their age.
    trim_at: Option<Timestamp>,
    /// Whether the writer's thread is there.
    alive: bool,
}

impl<T> Keeper<T> {
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            writer,
            outbox: Outbox::new(),
            weights: VecDeque::new(),
            weight: 0,
            // The first batch tells.
            trim_at: Some(Timestamp::default()),
            alive: true,
        }
    }

    /// Whether more may be put on its way.
    pub(crate) fn has_room(&self) -> bool {
        self.weight < BYTES && self.weights.len() < QUEUE - 1
    }

    /// When [`trim`](Self::trim) has something to do.
    pub(crate) const fn trims_at(&self) -> Option<Timestamp> {
        self.trim_at
    }

    /// Lets the writer drop the events that are too old.
    pub(crate) fn trim(&mut self, now: Timestamp) {
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            self.put(Vec::new(), now);
        }
    }

    /// Puts records on their way to the disk.
    pub(crate) fn write(&mut self, records: Vec<Record>, now: Timestamp) {
        if !records.is_empty() {
            self.put(records, now);
        }
    }

    fn put(&mut self, records: Vec<Record>, now: Timestamp) {
        let number = self.outbox.batch();
        let weight = records.iter().map(Record::weight).sum();
        self.weights.push_back((number, weight));
        self.weight += weight;
        self.writer.write(Batch { number, now, records });
    }

    /// Gives it back if nothing is on its way; else it waits.
    pub(crate) fn hold(&mut self, thing: T) -> Option<T> {
        self.outbox.hold(thing)
    }

    /// The next thing that waits for nothing any more.
    pub(crate) fn release(&mut self) -> Option<T> {
        self.outbox.release()
    }

    /// What has become of batches. Cancel safe.
    pub(crate) async fn report(&mut self) -> Reported {
        if !self.alive {
            return std::future::pending().await;
        }
        let (through, outcome) = match self.writer.report().await {
            Some(Report::Durable { through, trim_at }) => {
                self.trim_at = trim_at;
                (through, Reported::Durable)
            }
            Some(Report::Failed { through }) => (through, Reported::Failed),
            None => {
                self.alive = false;
                (u64::MAX, Reported::Failed)
            }
        };
        self.outbox.reported(through);
        while let Some((number, weight)) = self.weights.front()
            && *number <= through
        {
            self.weight -= weight;
            self.weights.pop_front();
        }
        outcome
    }

    /// Writes what is on its way, and closes the file.
    pub(crate) async fn close(self) {
        self.writer.close().await;
    }
}

/// What has become of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    /// They are on disk.
    Durable,
    /// They are not, and may be later.
    Failed,
}

/// How much memory records on their way may take, in bytes, before the hub takes no more: some commits' worth.
const BYTES: usize = 16 * 1024 * 1024;
