//! A link over which a client asks or answers, a message at a time: twin requests, method responses.

use fe2o3_amqp_types::definitions::Error;

use super::MAX_REQUEST_SIZE;
use super::link::{self, End};
use super::taking::Take;
use crate::hub::{LinkId, Message};
use crate::owner::{Client, HubStopped};

/// A message is settled when the hub has it; what comes of it goes over the other link of the pair.
pub(super) struct Requests {
    pub(super) link: LinkId,
    pub(super) client: Client,
}

impl Take for Requests {
    const MOST: usize = MAX_REQUEST_SIZE;

    async fn take(&mut self, message: Message) -> Result<Option<Error>, End> {
        match self.client.pair_message(self.link, message).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(refusal)) => Err(End::Ours(link::refused(&refusal))),
            Err(HubStopped) => Err(End::Theirs),
        }
    }
}
