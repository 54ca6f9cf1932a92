//! What must be on disk before what follows from it may be seen.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use iothub_address::{Identity, PolicyName};

use super::Hub;
use super::event::Event;
use super::registry::{Entry, Policy};

/// One thing that changed, as it is now, or `None` of what is there no more. Written twice it says the same.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// The event log has grown by this.
    Event(Arc<Event>),
    Identity(Identity, Option<Box<Entry>>),
    Policy(PolicyName, Option<Box<Policy>>),
}

/// What an earlier run has kept. Devices stand before their modules.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) identities: Vec<(Identity, Entry)>,
    pub(crate) policies: Vec<(PolicyName, Policy)>,
}

/// What is kept, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Identity(Identity),
    Policy(PolicyName),
}

/// Whether what changes is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It lives in memory alone.
    Nothing,
    Everything,
}

/// What has changed since the records were last taken.
#[derive(Debug)]
pub(crate) struct Changes {
    keeping: Keeping,
    events: Vec<Arc<Event>>,
    touched: BTreeSet<Part>,
    made: u64,
    /// Whether the disk takes what is written.
    failing: bool,
}

impl Changes {
    pub(super) const fn new(keeping: Keeping) -> Self {
        Self {
            keeping,
            events: Vec::new(),
            touched: BTreeSet::new(),
            made: 0,
            failing: false,
        }
    }

    pub(super) fn log(&mut self, event: &Arc<Event>) {
        if self.keeping == Keeping::Everything {
            self.made += 1;
            self.events.push(Arc::clone(event));
        }
    }

    /// The part is not any more what it was.
    pub(super) fn touch(&mut self, part: impl FnOnce() -> Part) {
        if self.keeping == Keeping::Everything {
            self.made += 1;
            self.touched.insert(part());
        }
    }

    /// Whether the disk takes nothing at the moment: then nothing may be promised.
    pub(super) const fn are_refused(&self) -> bool {
        self.failing
    }
}

impl Hub {
    /// Puts in what an earlier run has kept.
    pub(crate) fn restore(&mut self, kept: Kept) {
        for (identity, entry) in kept.identities {
            self.registry.restore(identity, entry);
        }
        for (name, policy) in kept.policies {
            self.registry.set_policy(name, policy);
        }
    }

    /// What has changed since this was last called. As long as the disk takes nothing, changes of what is there gather
    /// here, each once.
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        if self.changes.failing || self.changes.keeping == Keeping::Nothing {
            return Vec::new();
        }
        let events = mem::take(&mut self.changes.events);
        let mut records: Vec<Record> = events.into_iter().map(Record::Event).collect();
        for part in mem::take(&mut self.changes.touched) {
            records.push(self.record(part));
        }
        records
    }

    /// Whether the disk takes what is written. While it does not, the hub takes nothing that it would have to keep.
    pub(crate) const fn set_disk_failing(&mut self, failing: bool) {
        self.changes.failing = failing;
    }

    pub(crate) const fn is_disk_failing(&self) -> bool {
        self.changes.failing
    }

    /// How many changes were made that are to be kept.
    pub(crate) const fn changes_made(&self) -> u64 {
        self.changes.made
    }

    fn record(&self, part: Part) -> Record {
        match part {
            Part::Identity(identity) => {
                let entry = self.registry.get(&identity).cloned().map(Box::new);
                Record::Identity(identity, entry)
            }
            Part::Policy(name) => {
                let policy = self.policy(&name).cloned().map(Box::new);
                Record::Policy(name, policy)
            }
        }
    }
}

impl Record {
    /// About how much memory it takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Event(event) => size_of::<Event>() + event.message.weight,
            Self::Identity(..) | Self::Policy(..) => SMALL,
        }
    }
}

/// About what an identity or a policy takes.
const SMALL: usize = 1024;
