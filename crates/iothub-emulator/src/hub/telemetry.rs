//! Device-to-cloud messages.

use iothub_address::Identity;

use super::Hub;
use super::command::ConnectionId;
use super::connection::Use;
use super::event::Source;
use super::message::Message;
use super::refusal::Refusal;
use crate::clock::Timestamp;

impl Hub {
    pub(super) fn telemetry(
        &mut self,
        from: ConnectionId,
        identity: &Identity,
        messages: Vec<Message>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let sender = self.authorize(from, identity, Use::Keep(self.token_grace), now)?;
        self.log.append(sender, Source::Telemetry, messages, now);
        Ok(())
    }
}
