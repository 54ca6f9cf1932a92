//! Device-to-cloud messages.

use iothub_address::Identity;

use super::Hub;
use super::command::{ConnectionId, Delivery, Rejected};
use super::connection::Use;
use super::event::Source;
use super::limits::Operation;
use super::message::Message;
use super::refusal::Refusal;
use crate::clock::Timestamp;

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
    ) -> (Result<Rejected, Refusal>, Timestamp) {
        let sender = match self.authorize(from, identity, Use::Keep(self.token_grace), now) {
            Ok(sender) => sender,
            Err(refusal) => return (Err(refusal), now),
        };
        let mut rejected = Rejected::new();
        let mut at = now;
        for (place, delivery) in deliveries.iter().enumerate() {
            match self.admit_delivery(delivery, now) {
                Ok(due) => at = at.max(due),
                Err(refusal) => rejected.push((place, refusal)),
            }
        }
        let mut places = rejected.iter().map(|(place, _)| *place).peekable();
        let taken = deliveries
            .into_iter()
            .enumerate()
            .filter(|(place, _)| places.next_if_eq(place).is_none())
            .flat_map(|(_, delivery)| delivery.into_messages());
        self.log.append(sender, Source::Telemetry, taken, now);
        (Ok(rejected), at)
    }

    fn admit_delivery(&mut self, delivery: &Delivery, now: Timestamp) -> Result<Timestamp, Refusal> {
        if self.limits.are_off() {
            return Ok(now);
        }
        let sizes = delivery.messages().iter().map(Message::metered_size);
        let admitted = self.limits.admit(Operation::DeviceToCloud, sizes, now);
        admitted
            .map(|admission| admission.at(now))
            .map_err(|excess| self.excess(excess, now))
    }
}
