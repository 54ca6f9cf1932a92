//! What of the hub's doings waits for the disk: a turn of the owner is written as one batch, and done when that is
//! there.

use crate::clock::Timestamp;
use crate::hub::{Effect, Hub};
use crate::keeper::{Keeper, Reported};

use super::{HubStopped, Logs, Waiting};

/// Something that is seen outside of the hub.
pub(super) enum Deed {
    Effect(Effect),
    /// The answer to a [`Request::Run`].
    Answer(Box<dyn FnOnce(Result<(), Unsaved>) + Send>),
    /// Readers of the logs get what is before these places.
    Show(Until),
}

/// Places in the logs whose entries are on disk before they are read.
#[derive(Clone, Copy)]
pub(super) struct Until {
    events: u64,
    feedback: u64,
}

impl Logs {
    fn end(&self) -> Until {
        Until {
            events: self.events.end(),
            feedback: self.feedback.end(),
        }
    }

    pub(super) fn show(&self, until: Until) {
        self.events.show(until.events);
        self.feedback.show(until.feedback);
    }
}

/// The disk did not take what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsaved;

pub(super) async fn report(keeper: &mut Option<Keeper<Deed>>) -> Reported {
    match keeper {
        Some(keeper) => keeper.report().await,
        None => std::future::pending().await,
    }
}

impl Waiting {
    pub(super) fn has_room(&self) -> bool {
        self.keeper.as_ref().is_none_or(Keeper::has_room)
    }

    pub(super) fn deadline(&self, hub: &Hub) -> Option<Timestamp> {
        let trim = self.keeper.as_ref().and_then(Keeper::trims_at);
        [hub.poll_timeout(), trim].into_iter().flatten().min()
    }

    /// Gives an answer once what stands before it is done.
    pub(super) fn answer(&mut self, logs: &Logs, answer: impl FnOnce(Result<(), Unsaved>) + Send + 'static) {
        self.perform_or_keep(Deed::Answer(Box::new(answer)), logs);
    }

    /// Without a keeper at once, with one at the end of the turn at the earliest.
    pub(super) fn perform_or_keep(&mut self, deed: Deed, logs: &Logs) {
        match &self.keeper {
            None => self.perform(deed, logs),
            Some(_) => self.turn.push(deed),
        }
    }

    /// Puts on its way to the disk what the turn has changed, and does what waits for nothing. `changes` is how many
    /// the hub had made before the turn.
    pub(super) fn end_turn(&mut self, hub: &mut Hub, changes: u64, logs: &Logs, now: Timestamp) {
        let Some(keeper) = &mut self.keeper else { return };
        if hub.is_disk_failing() {
            // An answer may be one that was held back, to what the disk has not taken either.
            let changed = hub.changes_made() != changes;
            for deed in std::mem::take(&mut self.turn) {
                if changed || matches!(deed, Deed::Effect(_)) {
                    self.perform_unsaved(deed, hub, logs, now);
                } else {
                    self.perform(deed, logs);
                }
            }
            return;
        }
        keeper.write(hub.take_records(), now);
        keeper.trim(now);
        let mut turn = std::mem::take(&mut self.turn);
        turn.push(Deed::Show(logs.end()));
        for deed in turn {
            let held = self.keeper.as_mut().and_then(|keeper| keeper.hold(deed));
            if let Some(deed) = held {
                self.perform(deed, logs);
            }
        }
    }

    pub(super) fn reported(&mut self, outcome: Reported, hub: &mut Hub, logs: &Logs, now: Timestamp) {
        hub.set_disk_failing(outcome == Reported::Failed);
        while let Some(deed) = self.keeper.as_mut().and_then(Keeper::release) {
            match outcome {
                Reported::Durable => self.perform(deed, logs),
                Reported::Failed => self.perform_unsaved(deed, hub, logs, now),
            }
        }
    }

    /// What depends on a change that is not on disk is answered so. All else takes its course: who is sent away must
    /// go.
    fn perform_unsaved(&mut self, deed: Deed, hub: &mut Hub, logs: &Logs, now: Timestamp) {
        match deed {
            Deed::Effect(Effect::Answer(reply, answer)) => {
                let answer = answer.unsaved(|| hub.unsaved(now));
                self.perform(Deed::Effect(Effect::Answer(reply, answer)), logs);
            }
            Deed::Effect(Effect::Send(link, parcel)) => {
                self.perform(Deed::Effect(Effect::Send(link, parcel.unsaved())), logs);
            }
            Deed::Answer(answer) => answer(Err(Unsaved)),
            Deed::Show(_) => {}
            deed @ Deed::Effect(_) => self.perform(deed, logs),
        }
    }
}

/// Why something was not done, or not for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    Stopped,
    /// It was done, and is not on disk: a crash undoes it.
    Unsaved,
}

impl From<HubStopped> for NotDone {
    fn from(HubStopped: HubStopped) -> Self {
        Self::Stopped
    }
}

impl From<Unsaved> for NotDone {
    fn from(Unsaved: Unsaved) -> Self {
        Self::Unsaved
    }
}
