//! The sending link: handing messages over, and their outcomes.

use fe2o3_amqp::Sender;
use fe2o3_amqp::link::SendError as EngineSendError;
use fe2o3_amqp::link::delivery::{DeliveryFut, Sendable};
use fe2o3_amqp_types::messaging::{Data, Outcome};
use iothub_frame::Fuse;

use super::conditions::{condition, detached, link_state};
use crate::Message;
use crate::driver::owner::SendResult;
use crate::error::{Accepted, Condition, Interruption, SendError};

/// A message as the engine takes it; boxed, since it is large and is moved from queue to queue.
pub(crate) struct Encoded(Box<Sendable<Data>>);

impl From<Message> for Encoded {
    fn from(message: Message) -> Self {
        Self(Box::new(Sendable::builder().message(message.into_wire()).build()))
    }
}

/// The sending link of one device or module.
pub(crate) struct Link {
    sender: Sender,
    fuse: Fuse,
}

/// Why a message was not handed over. It never left.
pub(crate) enum HandError {
    TooLarge { size: u64, limit: u64 },
    Interrupted(Interruption),
}

impl Link {
    pub(super) fn new(sender: Sender, fuse: Fuse) -> Self {
        Self { sender, fuse }
    }

    /// Waits for credit, hands the message over, and gives what awaits its outcome.
    ///
    /// Cancel safe: a message whose future is dropped before it is ready was not handed over.
    pub(crate) async fn hand(
        &mut self,
        message: &Encoded,
    ) -> Result<impl Future<Output = Result<SendResult, Interruption>> + Send + use<>, HandError> {
        match self.sender.send_batchable_ref(&message.0).await {
            Ok(delivery) => Ok(outcome(delivery, self.fuse.clone())),
            Err(error) => Err(self.not_handed(error)),
        }
    }

    /// Waits until the peer has detached the link. Cancel safe.
    pub(crate) async fn detached(&mut self) -> Interruption {
        detached(self.sender.on_detach().await, &self.fuse)
    }

    pub(super) async fn close(self) -> Result<(), Interruption> {
        self.sender
            .close()
            .await
            .map_err(|error| detached(error, &self.fuse))
    }

    fn not_handed(&self, error: EngineSendError) -> HandError {
        match error {
            EngineSendError::MessageSizeExceeded(exceeded) => HandError::TooLarge {
                size: exceeded.size,
                limit: exceeded.max_size,
            },
            other => HandError::Interrupted(interruption(other, &self.fuse)),
        }
    }
}

/// The peer's word on a message, or that none will come.
async fn outcome(
    delivery: DeliveryFut<Result<Outcome, EngineSendError>>,
    fuse: Fuse,
) -> Result<SendResult, Interruption> {
    Ok(
        match delivery.await.map_err(|error| interruption(error, &fuse))? {
            Outcome::Accepted(_) => Ok(Accepted {}),
            Outcome::Rejected(rejected) => Err(SendError::Rejected(rejected.error.map_or_else(
                || {
                    Condition::new(
                        "amqp:internal-error",
                        Some("rejected without a reason".to_owned()),
                    )
                },
                condition,
            ))),
            // `modified` asks for another attempt, as `released` does (§3.4.5); a hub sends neither today.
            Outcome::Released(_) | Outcome::Modified(_) => Err(SendError::Released),
        },
    )
}

fn interruption(error: EngineSendError, fuse: &Fuse) -> Interruption {
    match error {
        EngineSendError::LinkStateError(error) => link_state(error, fuse),
        EngineSendError::Detached(error) => detached(error, fuse),
        _ => super::conditions::lost(fuse),
    }
}
