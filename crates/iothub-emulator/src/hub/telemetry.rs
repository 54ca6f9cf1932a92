//! Device-to-cloud messages.

use iothub_address::Identity;

use super::Hub;
use super::agenda::Due;
use super::command::{ConnectionId, Delivery, Rejected, Verdict};
use super::connection::Use;
use super::event::Source;
use super::faults::{NotAFault, Settlement, asked_for};
use super::limits::Operation;
use super::message::Message;
use super::refusal::{Condition, Refusal, code};
use crate::clock::Timestamp;
use crate::fault::Fault;

/// What the sender is told, and when; and the faults that it asked for, which come after that.
pub(super) struct Told {
    pub(super) outcome: Result<Verdict, Refusal>,
    pub(super) at: Timestamp,
    pub(super) faults: Vec<Fault>,
}

impl Told {
    const fn now(outcome: Result<Verdict, Refusal>, now: Timestamp) -> Self {
        Self {
            outcome,
            at: now,
            faults: Vec::new(),
        }
    }
}

impl Hub {
    /// Takes what the hub's limits let through; gives what does not, and when the sender is to be told. What waits in
    /// a throttle's queue is in the log at once, and its sender waits for the answer: to the sender it is the same,
    /// and no queue can lose it.
    pub(super) fn telemetry(
        &mut self,
        from: ConnectionId,
        identity: &Identity,
        deliveries: Vec<Delivery>,
        now: Timestamp,
    ) -> Told {
        let sender = match self.authorize(from, identity, Use::Keep(self.token_grace), now) {
            Ok(sender) => sender,
            Err(refusal) => return Told::now(Err(refusal), now),
        };
        self.active(identity, now);
        if let Err(refusal) = self.may_keep(now) {
            return Told::now(Err(refusal), now);
        }
        let mut rejected = Rejected::new();
        let mut asked = Vec::new();
        let mut at = now;
        for (place, delivery) in deliveries.iter().enumerate() {
            match self.admit_delivery(identity, delivery, now) {
                Ok((due, fault)) => {
                    at = at.max(due);
                    asked.extend(fault);
                }
                Err(refusal) => rejected.push((place, refusal)),
            }
        }
        let mut places = rejected.iter().map(|(place, _)| *place).peekable();
        let taken = deliveries
            .into_iter()
            .enumerate()
            .filter(|(place, _)| places.next_if_eq(place).is_none())
            .flat_map(|(_, delivery)| delivery.into_messages());
        let was_empty = self.log.expires().is_none();
        self.log.append(sender, Source::Telemetry, taken, now, |event| {
            self.changes.log(event);
        });
        if was_empty {
            self.agenda.set(Due::LogAge, self.log.expires());
        }
        let (verdict, at) = match self.settlement_fault(identity) {
            None => (Verdict::AllBut(rejected), at),
            Some(Settlement::Withheld) => (Verdict::Withheld, now),
            Some(Settlement::DelayedBy(delay)) => (Verdict::AllBut(rejected), at + delay),
        };
        Told {
            outcome: Ok(verdict),
            at,
            faults: asked,
        }
    }

    /// Gives when the sender is to be told, and the fault that the delivery asks for.
    fn admit_delivery(
        &mut self,
        identity: &Identity,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(Timestamp, Option<Fault>), Refusal> {
        if let Some(refusal) = self.refused_by_fault(identity, now) {
            return Err(refusal);
        }
        let fault = match asked_for(delivery.properties()) {
            None => None,
            Some(Ok(fault)) => Some(fault.of(identity.clone())),
            Some(Err(NotAFault(property))) => {
                let text = format!("The property {property} has a value that no fault has.");
                return Err(self.refusals.refuse(
                    Condition::InvalidArgument,
                    code::INVALID_ARGUMENT,
                    text,
                    now,
                ));
            }
        };
        Ok((self.count_delivery(delivery, now)?, fault))
    }

    fn count_delivery(&mut self, delivery: &Delivery, now: Timestamp) -> Result<Timestamp, Refusal> {
        if self.limits.are_off() {
            return Ok(now);
        }
        let sizes = delivery.messages().iter().map(Message::metered_size);
        let admitted = self.limits.admit(Operation::DeviceToCloud, sizes, now);
        admitted
            .map(|admission| admission.at(now))
            .map_err(|excess| self.excess(excess, now))
    }

    /// Drops the events that are too old.
    pub(super) fn expire_events(&mut self, now: Timestamp) {
        let next = self.log.expire(now);
        self.agenda.set(Due::LogAge, next);
    }

    /// Refuses what would have to be kept while the disk does not take it.
    pub(super) fn may_keep(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if self.changes.are_refused() {
            return Err(self.unsaved(now));
        }
        Ok(())
    }

    /// The refusal of what could not be kept. SDKs try again on this condition.
    pub(crate) fn unsaved(&mut self, now: Timestamp) -> Refusal {
        let text = "The hub cannot write its state.";
        self.refusals
            .refuse(Condition::InternalError, code::SERVER_ERROR, text, now)
    }
}
