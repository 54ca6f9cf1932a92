//! Devices that come to the connection and go, and the end of it all.

use std::time::{Duration, Instant};

use crate::error::{Interruption, Phase};
use crate::status::{Statistics, Status};

use super::line::Line;
use super::slot::{Access, Leaving, Slot};
use super::{Action, Lifetime, SlotId, SlotSettings, Supervisor};

impl Supervisor {
    pub(super) fn join(&mut self, id: SlotId, settings: SlotSettings, now: Instant) {
        let slot = Slot::new(id, settings, &self.core, now);
        self.slots.insert(id, Box::new(slot));
        self.core.members += 1;
        if let Some(why) = self
            .core
            .line
            .ended_because()
            .cloned()
            .or_else(|| self.closing.map(|_| Interruption::Stopped))
        {
            return self.with(id, now, |slot, core, _| slot.end(core, why));
        }
        match self.core.line {
            Line::Idle => {
                self.core.line = Line::Down {
                    until: self.core.backoff.allowed(now),
                };
            }
            Line::AwaitingToken => self.with(id, now, |slot, core, now| slot.fetch_token(core, now)),
            Line::Up => self.with(id, now, Slot::line_up),
            _ => self.with(id, now, |_, _, _| {}),
        }
    }

    pub(super) fn leave_slot(&mut self, id: SlotId, deadline: Instant, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else {
            let none = Statistics::default();
            return self.core.act(Action::Left(id, none, Ok(())));
        };
        if let Some(why) = slot.ended.clone() {
            let done = self.statistics(id).unwrap_or_default();
            self.remove(id);
            return self.core.act(Action::Left(id, done, Err(why)));
        }
        if self.core.settings.lifetime == Lifetime::OfItsSlots {
            return self.close(deadline, now);
        }
        // One that closes again may have less patience, and no more.
        if slot.leaving.is_none_or(|leaving| deadline < leaving.closed_by) {
            self.going.insert(id);
            self.with(id, now, |slot, core, now| {
                slot.report(core, Status::Closing);
                slot.leaving = Some(Leaving {
                    ending: slot.is_ending(),
                    ..Leaving::by(deadline, now)
                });
            });
        }
    }

    /// Slots that leave while others stay.
    pub(super) fn advance_leaving(&mut self, now: Instant) {
        if self.going.is_empty() || self.closing.is_some() {
            return;
        }
        let going: Vec<_> = self.going.iter().copied().collect();
        for id in going {
            let mut done = None;
            self.with(id, now, |slot, core, now| {
                let Some(leaving) = slot.leaving else { return };
                if let Some(why) = slot.ended.clone() {
                    done = Some(Err(why));
                    return;
                }
                if leaving.ending {
                    let phase = Phase::Close;
                    let after = leaving.limit;
                    done = (now >= leaving.closed_by).then_some(Err(Interruption::TimedOut { phase, after }));
                    return;
                }
                if now >= leaving.drained_by || !slot.ever_up {
                    slot.stop_sending(core);
                } else if !slot.is_drained() {
                    return;
                }
                if core.is_up() && slot.access == Access::Granted {
                    slot.leaving = Some(Leaving {
                        ending: true,
                        ..leaving
                    });
                    core.act(Action::EndSession { slot: slot.id });
                } else {
                    done = Some(Ok(()));
                }
            });
            if let Some(result) = done {
                self.left_slot(id, result, now);
            }
        }
    }

    pub(super) fn session_ended(&mut self, id: SlotId, now: Instant) {
        if self
            .slots
            .get(&id)
            .is_some_and(|slot| slot.leaving.is_some_and(|leaving| leaving.ending))
        {
            self.left_slot(id, Ok(()), now);
        }
    }

    pub(super) fn left_slot(&mut self, id: SlotId, result: Result<(), Interruption>, now: Instant) {
        self.with(id, now, |slot, core, _| {
            slot.access = Access::None; // its session has ended already
            slot.end(core, Interruption::Stopped);
        });
        let done = self.statistics(id).unwrap_or_default();
        self.remove(id);
        self.core.act(Action::Left(id, done, result));
    }

    pub(super) fn remove(&mut self, id: SlotId) {
        self.going.remove(&id);
        if let Some(at) = self.slots.remove(&id).and_then(|slot| slot.indexed) {
            self.due.remove(&(at, id));
        }
    }

    pub(super) fn close(&mut self, deadline: Instant, now: Instant) {
        if self.core.line.is_ended() || self.closing.is_some_and(|closing| closing.closed_by <= deadline) {
            return;
        }
        self.closing = Some(Leaving::by(deadline, now));
        if let Line::Leaving { deadline: at } = &mut self.core.line {
            *at = deadline.min(*at); // a farewell that has begun has no more time than this
        }
        self.each_slot(now, |slot, core, now| {
            slot.report(core, Status::Closing);
            // A session that is being ended stays so.
            slot.leaving = Some(Leaving {
                ending: slot.is_ending(),
                ..Leaving::by(deadline, now)
            });
        });
    }

    pub(super) fn advance_closing(&mut self, now: Instant) {
        let Some(closing) = self.closing else { return };
        if self.core.line.is_leaving() || self.core.line.is_ended() {
            return;
        }
        let late = now >= closing.drained_by;
        self.each_slot(now, |slot, core, _| {
            if late || !slot.ever_up {
                slot.stop_sending(core);
            }
        });
        if self.is_done_with_closing(now) {
            self.leave(closing.closed_by, now);
        }
    }

    /// Whether everything closes and nothing is to be waited for, or not any longer.
    pub(super) fn is_done_with_closing(&self, now: Instant) -> bool {
        self.closing.is_some_and(|closing| {
            now >= closing.drained_by || self.slots.values().all(|slot| slot.is_drained())
        })
    }
}

impl Leaving {
    fn by(deadline: Instant, now: Instant) -> Self {
        let limit = deadline.saturating_duration_since(now);
        Self {
            // The farewell needs a share of the time too.
            drained_by: deadline - (limit / 2).min(FAREWELL),
            closed_by: deadline,
            limit,
            ending: false,
        }
    }
}

/// The most of a closing's time that is kept for detaching, ending and closing.
const FAREWELL: Duration = Duration::from_secs(5);
