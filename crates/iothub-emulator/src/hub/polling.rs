//! A device that comes over HTTPS: each message in a request of its own, and no link to be there by.

use iothub_address::{DeviceId, Identity};

use super::Hub;
use super::agenda::Due;
use super::command::LinkId;
use super::event::{AuthMethod, Sender, Source};
use super::limits::{Excess, Operation};
use super::mailbox::{LockLost, LockToken, Outcome, Waiting};
use super::message::Message;
use super::registry::RegistryError;
use crate::clock::Timestamp;

/// A message that was handed out, locked.
#[derive(Debug)]
pub(crate) struct HandedOut {
    pub(crate) sequence_number: u64,
    pub(crate) token: LockToken,
    pub(crate) waiting: Waiting,
}

/// Why telemetry was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    Registry(RegistryError),
    Excess(Excess),
}

impl Hub {
    /// Takes telemetry of a device that has been admitted, all of it or nothing.
    pub(crate) fn take_polled(
        &mut self,
        device: &DeviceId,
        method: AuthMethod,
        messages: Vec<Message>,
        now: Timestamp,
    ) -> Result<(), NotTaken> {
        let identity = Identity::Device(device.clone());
        let Some(entry) = self.registry.get(&identity) else {
            return Err(NotTaken::Registry(RegistryError::NotFound(identity)));
        };
        let sender = Sender::new(identity, entry.generation_id.clone(), method);
        let sizes: Vec<usize> = messages.iter().map(Message::metered_size).collect();
        let admitted = self.limits.admit(Operation::DeviceToCloud, sizes, now);
        admitted.map_err(NotTaken::Excess)?;
        let was_empty = self.log.expires().is_none();
        self.log
            .append(sender, Source::Telemetry, messages, now, |event| {
                self.changes.log(event);
            });
        if was_empty {
            self.agenda.set(Due::LogAge, self.log.expires());
        }
        Ok(())
    }

    /// Locks the oldest message that is ready for a device, and hands it out.
    pub(crate) fn hand_out(&mut self, device: &DeviceId, now: Timestamp) -> Option<HandedOut> {
        self.lock_for(&Identity::Device(device.clone()), NO_LINK, now)
    }

    /// Does what a device says of a message that was handed out to it.
    pub(crate) fn settle_polled(
        &mut self,
        device: &DeviceId,
        token: &LockToken,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(), LockLost> {
        self.settle_of(&Identity::Device(device.clone()), NO_LINK, token, outcome, now)
    }
}

/// By which messages are locked that go out over no link; links are numbered from 1.
const NO_LINK: LinkId = 0;
