//! What the application wishes of one of its devices.

use std::time::{Duration, Instant};

use crate::error::{Interruption, SendError, SubscribeError, TwinError};

use super::inbox::{Opening, too_late};
use super::{Action, DeliveryId, Epoch, LaneId, Question, RequestId, SlotId, Supervisor, TicketId, Verdict};

impl Supervisor {
    pub(super) fn enqueue(
        &mut self,
        id: SlotId,
        ticket: TicketId,
        size: usize,
        (deadline, limit): (Instant, Duration),
        now: Instant,
    ) {
        let closing = self.closing.is_some();
        let known = self.slots.contains_key(&id);
        self.stir(id, now, |slot, core| {
            let why = match &slot.ended {
                Some(why) => why.clone(),
                None if closing || slot.leaving.is_some() => Interruption::Stopped,
                None => {
                    slot.want_telemetry(now);
                    return slot.telemetry.ledger.enter(ticket, size, deadline, limit);
                }
            };
            slot.told(core, ticket, Err(SendError::NotSent(why)));
        });
        if !known {
            let result = Err(SendError::NotSent(Interruption::Stopped));
            self.core.act(Action::Complete(ticket, result));
        }
    }

    pub(super) fn subscribe(&mut self, lane: LaneId, opening: Opening, now: Instant) {
        if !self.slots.contains_key(&lane.slot) || self.closing.is_some() {
            let result = Err(SubscribeError::Ended(Interruption::Stopped));
            return self.core.act(Action::Subscribed(lane, result));
        }
        self.with(lane.slot, now, |slot, core, now| {
            slot.subscribe(core, lane, opening, now)
        });
    }

    pub(super) fn answer(
        &mut self,
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
        verdict: Verdict,
        now: Instant,
    ) {
        if !self.slots.contains_key(&lane.slot) {
            return self.core.act(too_late(lane, epoch, delivery));
        }
        self.with(lane.slot, now, |slot, core, _| {
            match slot.inboxes.get_mut(&lane.kind) {
                Some(inbox) => inbox.answer(core, epoch, delivery, verdict),
                None => core.act(too_late(lane, epoch, delivery)),
            }
        });
    }

    pub(super) fn request(
        &mut self,
        id: SlotId,
        request: RequestId,
        question: Question,
        (deadline, limit): (Instant, Duration),
        now: Instant,
    ) {
        let why = match self.slots.get(&id) {
            Some(slot) => slot.ended.clone(),
            None => Some(Interruption::Stopped),
        };
        if let Some(why) = why.or_else(|| self.closing.map(|_| Interruption::Stopped)) {
            let result = Err(TwinError::NotAnswered(why));
            return self.core.act(Action::CompleteRequest(request, result));
        }
        self.with(id, now, |slot, core, now| {
            slot.twin(now).ask(core, request, question, deadline, limit);
        });
    }
}
