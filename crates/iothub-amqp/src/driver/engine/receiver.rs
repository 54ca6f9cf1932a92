//! The receiving link: what comes in, and the word on it.

use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::link::delivery::DeliveryInfo;
use fe2o3_amqp_types::messaging::{Body, Message as WireMessage};
use fe2o3_amqp_types::primitives::Value;
use iothub_frame::Fuse;

use super::conditions::{End, not_said, receiving};
use crate::supervisor::Verdict;

/// A receiving link of one device or module.
pub(crate) struct Inlet {
    receiver: Receiver,
    fuse: Fuse,
}

/// Something that came in, and what is needed to settle it.
pub(crate) struct Arrival {
    pub(crate) message: WireMessage<Body<Value>>,
    pub(crate) key: Key,
}

/// By what a delivery is settled.
#[derive(Clone)]
pub(crate) struct Key(DeliveryInfo);

impl Inlet {
    pub(super) fn new(receiver: Receiver, fuse: Fuse) -> Self {
        Self { receiver, fuse }
    }

    /// Lets so many messages come, in all, from now on.
    pub(crate) async fn grant(&mut self, credit: u32) -> Result<(), End> {
        let granted = self.receiver.set_credit(credit).await;
        granted.map_err(|error| not_said(error, &self.fuse))
    }

    /// Waits for what comes. What is no message is put aside at the hub, and is not told of; it costs a credit.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Arrival>, End> {
        match self.receiver.recv::<Body<Value>>().await {
            Ok(delivery) => {
                let (key, message) = delivery.into_parts();
                let key = Key(key);
                Ok(Some(Arrival { message, key }))
            }
            Err(RecvError::MessageDecode(error)) => {
                tracing::debug!(%error, "what came in is no message");
                self.settle(Key(error.info), Verdict::Reject).await?;
                Ok(None)
            }
            Err(error) => Err(receiving(error, &self.fuse)),
        }
    }

    /// Says what became of it.
    pub(crate) async fn settle(&mut self, Key(key): Key, verdict: Verdict) -> Result<(), End> {
        let said = match verdict {
            Verdict::Complete | Verdict::Respond => self.receiver.accept(key).await,
            Verdict::Abandon | Verdict::Forget => self.receiver.release(key).await,
            Verdict::Reject => self.receiver.reject(key, None).await,
        };
        said.map_err(|error| not_said(error, &self.fuse))
    }

    /// Detaches in good order.
    pub(crate) async fn close(self) {
        // That the peer was first, or is gone, is told elsewhere.
        let _ = self.receiver.close().await;
    }
}
