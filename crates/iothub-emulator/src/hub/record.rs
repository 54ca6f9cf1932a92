//! What must be on disk before what follows from it may be seen.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

use iothub_address::{Identity, PolicyName};

use super::Hub;
use super::configurations::Configuration;
use super::event::Event;
use super::feedback::Feedback;
use super::jobs::Job;
use super::mailbox::{Mailbox, Waiting};
use super::registry::{Entry, Policy};
use super::twin::Twin;
use crate::clock::Timestamp;

/// One thing that changed, as it is now, or `None` of what is there no more. Written twice it says the same.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// The event log has grown by this.
    Event(Arc<Event>),
    Identity(Identity, Option<Box<Entry>>),
    Policy(PolicyName, Option<Box<Policy>>),
    Twin(Identity, Option<Box<Twin>>),
    /// The number of the message that came last into a mailbox.
    Mailbox(Identity, Option<u64>),
    /// A message in a mailbox, by its number.
    Message(Identity, u64, Option<Box<Waiting>>),
    Configuration(String, Option<Box<Configuration>>),
    Job(String, Option<Box<Job>>),
    /// The feedback at `place`; what stands before `first` has had its time.
    Feedback {
        place: u64,
        feedback: Arc<Feedback>,
        first: u64,
    },
    /// Services are done with the feedback before this place.
    FeedbackDone(u64),
}

/// What an earlier run has kept. Devices stand before their modules, messages in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) identities: Vec<(Identity, Entry)>,
    pub(crate) policies: Vec<(PolicyName, Policy)>,
    pub(crate) twins: Vec<(Identity, Twin)>,
    pub(crate) mailboxes: Vec<(Identity, u64)>,
    pub(crate) messages: Vec<(Identity, KeptMessage)>,
    pub(crate) configurations: Vec<(String, Configuration)>,
    pub(crate) jobs: Vec<(String, Job)>,
}

/// A message as an earlier run has kept it.
#[derive(Debug)]
pub(crate) struct KeptMessage {
    pub(crate) number: u64,
    pub(crate) waiting: Waiting,
    /// It was out for delivery.
    pub(crate) was_locked: bool,
}

/// What is kept, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Identity(Identity),
    Policy(PolicyName),
    Twin(Identity),
    Mailbox(Identity),
    Message(Identity, u64),
    Configuration(String),
    Job(String),
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
    /// By place.
    feedback: VecDeque<(u64, Arc<Feedback>)>,
    /// The place of the first feedback that is still kept.
    first_feedback: u64,
    /// Services are done with what stands before.
    feedback_done: Option<u64>,
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
            feedback: VecDeque::new(),
            first_feedback: 0,
            feedback_done: None,
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

    /// There is new feedback at `place`; what stands before `first` has had its time.
    pub(super) fn feedback(&mut self, place: u64, feedback: Arc<Feedback>, first: u64) {
        if self.keeping == Keeping::Nothing {
            return;
        }
        self.made += 1;
        self.first_feedback = first;
        self.feedback.push_back((place, feedback));
        // While the disk takes nothing they gather here, no more than the hub keeps.
        while self.feedback.front().is_some_and(|(place, _)| *place < first) {
            self.feedback.pop_front();
        }
    }

    /// Services are done with the feedback before `place`.
    pub(super) fn feedback_done(&mut self, place: u64) {
        if self.keeping == Keeping::Everything {
            self.made += 1;
            self.feedback_done = Some(place);
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
    pub(crate) fn restore(&mut self, kept: Kept, now: Timestamp) {
        for (identity, entry) in kept.identities {
            self.registry.restore(identity, entry);
        }
        for (name, policy) in kept.policies {
            self.registry.set_policy(name, policy);
        }
        self.twins.extend(kept.twins);
        for (id, configuration) in kept.configurations {
            self.restore_configuration(id, configuration);
        }
        for (id, job) in kept.jobs {
            self.restore_job(id, job, now);
        }
        self.restore_mailboxes(kept.mailboxes, kept.messages, now);
    }

    /// What has changed since this was last called. As long as the disk takes nothing, changes of what is there gather
    /// here, each once.
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        if self.changes.failing || self.changes.keeping == Keeping::Nothing {
            return Vec::new();
        }
        let events = mem::take(&mut self.changes.events);
        let mut records: Vec<Record> = events.into_iter().map(Record::Event).collect();
        let first = self.changes.first_feedback;
        let feedback = mem::take(&mut self.changes.feedback).into_iter();
        records.extend(feedback.map(|(place, feedback)| Record::Feedback {
            place,
            feedback,
            first,
        }));
        records.extend(self.changes.feedback_done.take().map(Record::FeedbackDone));
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
            Part::Twin(identity) => {
                let twin = self.twins.get(&identity).cloned().map(Box::new);
                Record::Twin(identity, twin)
            }
            Part::Configuration(id) => {
                let configuration = self.configuration(&id).ok().cloned().map(Box::new);
                Record::Configuration(id, configuration)
            }
            Part::Job(id) => {
                let job = self.job(&id).ok().cloned().map(Box::new);
                Record::Job(id, job)
            }
            Part::Mailbox(identity) => {
                let last = self.mailbox(&identity).map(Mailbox::last_sequence_number);
                Record::Mailbox(identity, last)
            }
            Part::Message(identity, number) => {
                let mailbox = self.mailbox(&identity);
                let waiting = mailbox.and_then(|mailbox| mailbox.get(number));
                let waiting = waiting.cloned().map(Box::new);
                Record::Message(identity, number, waiting)
            }
        }
    }
}

impl Record {
    /// About how much memory it takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Event(event) => size_of::<Event>() + event.message.weight,
            Self::Message(_, _, Some(waiting)) => SMALL + waiting.message.metered_size(),
            Self::Twin(_, Some(twin)) => SMALL + twin.weight(),
            Self::Configuration(_, Some(configuration)) => SMALL * (2 + configuration.applied.len() / 16),
            Self::Job(_, Some(job)) => SMALL * (2 + job.state.devices.len() / 4),
            Self::Feedback { feedback, .. } => size_of::<Feedback>() + feedback.original_message_id.len(),
            _ => SMALL,
        }
    }
}

/// About what an identity or a policy takes, and what others take beside their text.
const SMALL: usize = 1024;
