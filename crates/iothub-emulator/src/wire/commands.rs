//! A link over which a service sends to devices, a message at a time.

use fe2o3_amqp_types::definitions::Error;

use super::link::{self, End};
use super::taking::Take;
use crate::hub::{Message, Verdict};
use crate::owner::{Client, HubStopped};

/// A message is settled when the hub has put it into its mailbox, or has said why not.
pub(super) struct Commands(pub(super) Client);

impl Take for Commands {
    async fn take(&mut self, message: Message) -> Result<Option<Error>, End> {
        match self.0.send_to_device(message).await {
            Ok(Ok(Verdict::AllBut(rejected))) => {
                Ok(rejected.first().map(|(_, refusal)| link::refused(refusal)))
            }
            // Only of telemetry.
            Ok(Ok(Verdict::Withheld)) => Ok(None),
            Ok(Err(refusal)) => Err(End::Ours(link::refused(&refusal))),
            Err(HubStopped) => Err(End::Theirs),
        }
    }
}
