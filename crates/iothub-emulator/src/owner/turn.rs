//! What of the hub's doings waits for the disk: a turn of the owner is written as one batch, and done when that is
//! there.

use crate::clock::Timestamp;
use crate::feed::Growth;
use crate::hub::{Effect, Event, Hub};
use crate::keeper::{Keeper, Reported};

use super::{HubStopped, Waiting};

/// Something that is seen outside of the hub.
pub(super) enum Deed {
    Effect(Effect),
    /// The answer to a [`Request::Run`].
    Answer(Box<dyn FnOnce(Result<(), Unsaved>) + Send>),
    /// Readers of the event log get what is before this place.
    Show(u64),
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
    pub(super) fn answer(
        &mut self,
        events: &Growth<Event>,
        answer: impl FnOnce(Result<(), Unsaved>) + Send + 'static,
    ) {
        self.perform_or_keep(Deed::Answer(Box::new(answer)), events);
    }

    /// Without a keeper at once, with one at the end of the turn at the earliest.
    pub(super) fn perform_or_keep(&mut self, deed: Deed, events: &Growth<Event>) {
        match &self.keeper {
            None => self.perform(deed, events),
            Some(_) => self.turn.push(deed),
        }
    }

    /// Puts on its way to the disk what the turn has changed, and does what waits for nothing. `changes` is how many
    /// the hub had made before the turn.
    pub(super) fn end_turn(&mut self, hub: &mut Hub, changes: u64, events: &Growth<Event>, now: Timestamp) {
        let Some(keeper) = &mut self.keeper else { return };
        if hub.is_disk_failing() {
            // An answer may be one that was held back, to what the disk has not taken either.
            let changed = hub.changes_made() != changes;
            for deed in std::mem::take(&mut self.turn) {
                if changed || matches!(deed, Deed::Effect(_)) {
                    self.perform_unsaved(deed, hub, events, now);
                } else {
                    self.perform(deed, events);
                }
            }
            return;
        }
        keeper.write(hub.take_records(), now);
        keeper.trim(now);
        let mut turn = std::mem::take(&mut self.turn);
        turn.push(Deed::Show(events.end()));
        for deed in turn {
            let held = self.keeper.as_mut().and_then(|keeper| keeper.hold(deed));
            if let Some(deed) = held {
                self.perform(deed, events);
            }
        }
    }

    pub(super) fn reported(
        &mut self,
        outcome: Reported,
        hub: &mut Hub,
        events: &Growth<Event>,
        now: Timestamp,
    ) {
        hub.set_disk_failing(outcome == Reported::Failed);
        while let Some(deed) = self.keeper.as_mut().and_then(Keeper::release) {
            match outcome {
                Reported::Durable => self.perform(deed, events),
                Reported::Failed => self.perform_unsaved(deed, hub, events, now),
            }
        }
        if outcome == Reported::Durable && self.keeper.as_ref().is_some_and(Keeper::is_idle) {
            // Also what an earlier attempt did not get there.
            events.show(events.end());
        }
    }

    /// What depends on a change that is not on disk is answered so. All else takes its course: who is sent away must
    /// go.
    fn perform_unsaved(&mut self, deed: Deed, hub: &mut Hub, events: &Growth<Event>, now: Timestamp) {
        match deed {
            Deed::Effect(Effect::Answer(reply, answer)) => {
                let answer = answer.unsaved(|| hub.unsaved(now));
                self.perform(Deed::Effect(Effect::Answer(reply, answer)), events);
            }
            Deed::Answer(answer) => answer(Err(Unsaved)),
            Deed::Show(_) => {}
            deed @ Deed::Effect(_) => self.perform(deed, events),
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
