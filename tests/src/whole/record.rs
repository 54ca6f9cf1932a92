//! What became of each message, and whether that may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt;
use iothub_amqp::{Accepted, SendError, Statistics};
use iothub_emulator::{Body, Emulator, Event, Notice, Subscription};

use super::Tally;
use super::plan::{Parting, Plan};
use super::sends::Sends;
use crate::memory::Clockwork;

/// A message's device and number.
pub(super) type Id = (u64, u64);

/// Of all devices of a world.
pub(super) struct Record {
    journal: Subscription<Event>,
    clock: Clockwork,
    messages: BTreeMap<Id, (Means, Fate)>,
    /// When a message's outcome is to be known at the latest.
    due: BTreeMap<Id, Duration>,
    arrived: BTreeSet<Id>,
    /// The largest number that has arrived, by device.
    last: BTreeMap<u64, u64>,
    /// By device.
    duplicates: BTreeMap<u64, u64>,
    /// By device, of all clients that it had and that have come to their end.
    counted: BTreeMap<u64, Counted>,
    is_uncut: bool,
    keeps_order: bool,
    pub(super) wrong: Vec<String>,
    /// Commands that a device has completed.
    pub(super) completed: u64,
    /// Calls that were answered.
    pub(super) answered: u64,
    /// Devices that had at last what the hub had for them.
    pub(super) followed: u64,
}

/// What clients say of themselves.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    resent: u64,
    accepted: u64,
    /// Certainly not at the hub.
    not_there: u64,
}

/// How a message is given to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Queued,
    QueuedAndForgotten,
    Sent,
    SentAndDropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Accepted,
    /// It certainly never came to the hub, or was refused there.
    NotThere,
    Unknown,
}

impl Record {
    pub(super) fn new(hub: &Emulator, plan: &Plan, clock: Clockwork) -> Self {
        Self {
            journal: hub.journal().subscribe_from_start(),
            clock,
            due: BTreeMap::new(),
            messages: BTreeMap::new(),
            arrived: BTreeSet::new(),
            last: BTreeMap::new(),
            duplicates: BTreeMap::new(),
            counted: BTreeMap::new(),
            is_uncut: plan.is_uncut(),
            keeps_order: plan.keeps_order(),
            wrong: Vec::new(),
            completed: 0,
            answered: 0,
            followed: 0,
        }
    }

    /// A message is given to its client, whose outcome is to be known within a time.
    pub(super) fn sent(&mut self, id: Id, means: Means, within: Duration) {
        self.messages.insert(id, (means, Fate::Waiting));
        self.due.insert(id, self.clock.elapsed() + within + SLACK);
    }

    /// Its client did not take it.
    pub(super) fn never_given(&mut self, id: Id) {
        self.messages.remove(&id);
    }

    /// Nobody waits any more for what a device has sent.
    pub(super) fn forget(&mut self, device: u64) {
        for (_, (means, fate)) in self.messages.range_mut((device, 0)..(device + 1, 0)) {
            if *fate == Fate::Waiting {
                *means = Means::SentAndDropped;
            }
        }
    }

    /// How many messages of a device have no outcome that was told.
    pub(super) fn untold(&self, device: u64) -> usize {
        let all = self.messages.range((device, 0)..(device + 1, 0));
        all.filter(|(_, (_, fate))| *fate == Fate::Waiting).count()
    }

    /// The hub is looked at in the same moment.
    pub(super) fn told(&mut self, id: Id, result: &Result<Accepted, SendError>) {
        self.look_at_journal();
        let now = self.clock.elapsed();
        if self.due.get(&id).is_none_or(|due| now > *due) {
            self.wrong.push(format!("{id:?} is told of too late, at {now:?}"));
        }
        let fate = match result {
            Ok(_) => Fate::Accepted,
            Err(SendError::NotSent(_) | SendError::Rejected(_) | SendError::TooLarge { .. }) => {
                Fate::NotThere
            }
            Err(_) => Fate::Unknown,
        };
        match (fate, self.arrived.contains(&id)) {
            (Fate::Accepted, false) => self
                .wrong
                .push(format!("{id:?} was acknowledged, and the hub has not got it")),
            (Fate::NotThere, true) => self
                .wrong
                .push(format!("{id:?} was not sent, and the hub has it")),
            _ => {}
        }
        if let Some((_, before)) = self.messages.get_mut(&id) {
            if *before != Fate::Waiting {
                self.wrong.push(format!("{id:?} was {before:?}, then {fate:?}"));
            }
            *before = fate;
        }
    }

    /// What has come to the hub since it was looked at last.
    pub(super) fn look_at_journal(&mut self) {
        while let Some(Some(notice)) = self.journal.next().now_or_never() {
            match notice {
                Notice::Entry(event) => self.arrives(&event),
                other => self
                    .wrong
                    .push(format!("the journal has lost something: {other:?}")),
            }
        }
    }

    fn arrives(&mut self, event: &Event) {
        let Some(id) = id_of(event) else {
            return self.wrong.push(format!("nobody has sent {event:?}"));
        };
        if !self.messages.contains_key(&id) {
            self.wrong.push(format!("nobody has sent {id:?}"));
        }
        let (device, number) = id;
        if !self.arrived.insert(id) {
            *self.duplicates.entry(device).or_default() += 1;
            if self.is_uncut {
                self.wrong.push(format!("{id:?} comes twice without a cut"));
            }
            return;
        }
        if let Some(before) = self.last.insert(device, number)
            && before > number
            && self.keeps_order
        {
            self.wrong
                .push(format!("of {device} {number} comes after {before}"));
        }
    }

    /// A client of the device has come to its end.
    pub(super) fn client_done(&mut self, device: u64, statistics: Statistics) {
        let counted = self.counted.entry(device).or_default();
        counted.resent += statistics.resent;
        counted.accepted += statistics.accepted;
        counted.not_there += statistics.not_sent + statistics.rejected;
    }

    /// Looks at it all when everything has come to rest.
    pub(super) fn check(&mut self, plan: &Plan, sends: &Sends) -> Tally {
        self.look_at_journal();
        for (id, (means, fate)) in &self.messages {
            let heard_of = matches!(means, Means::Queued | Means::Sent);
            let queued = matches!(means, Means::Queued | Means::QueuedAndForgotten);
            match (fate, self.arrived.contains(id)) {
                (Fate::Waiting, _) if heard_of => self.wrong.push(format!("{id:?} has no outcome")),
                (Fate::Accepted, false) => self.wrong.push(format!("{id:?} is missing at the hub")),
                (Fate::NotThere, true) => self
                    .wrong
                    .push(format!("{id:?} was not sent, and the hub has it")),
                (_, false) if queued && plan.is_patient() => self.wrong.push(format!(
                    "{id:?} was {fate:?} and never came, although all that goes wrong passes"
                )),
                _ => {}
            }
        }
        for id in self.arrived.iter().filter(|id| !sends.has_seen(**id)) {
            self.wrong.push(format!("nobody saw {id:?} on its way"));
        }
        let copies = self.duplicates.values().sum();
        if copies > sends.again() {
            let again = sends.again();
            self.wrong.push(format!(
                "{copies} duplicates, and {again} messages have left twice"
            ));
        }
        for (device, counted) in &self.counted {
            // Those whose outcome nobody waits for are counted all the same.
            let given = self.messages.range((*device, 0)..(device + 1, 0)).count() as u64;
            let there = self.arrived.range((*device, 0)..(device + 1, 0)).count() as u64;
            if counted.accepted > there || counted.not_there > given.saturating_sub(there) {
                self.wrong.push(format!(
                    "of {given} messages of {device} the hub has {there}, and its clients say {counted:?}"
                ));
            }
        }
        for (device, copies) in &self.duplicates {
            let links = sends.links_of(*device);
            let resent = self.counted.get(device).map_or(0, |counted| counted.resent);
            // Of a client that was dropped nobody hears it.
            let resent = if plan.parting == Parting::Dropped {
                *copies
            } else {
                resent
            };
            let window = plan.most_in_window() * links.saturating_sub(1);
            if *copies > resent || *copies > window {
                self.wrong.push(format!(
                    "{copies} duplicates of {device}, with {resent} resent and {links} links"
                ));
            }
        }
        Tally {
            messages: self.messages.len() as u64,
            at_hub: self.arrived.len() as u64,
            duplicates: copies,
            commands: self.completed,
            calls: self.answered,
            twins: self.followed,
            ..Tally::default()
        }
    }
}

fn id_of(event: &Event) -> Option<Id> {
    let Body::Data(bytes) = &event.message.body else {
        return None;
    };
    let mut words = std::str::from_utf8(bytes).ok()?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// A clock that is moved by hand goes in steps, and what is due waits for its turn.
pub(super) const SLACK: Duration = Duration::from_secs(2);
