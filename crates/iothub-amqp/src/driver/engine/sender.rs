//! The sending link: handing messages over, and their outcomes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fe2o3_amqp::Sender;
use fe2o3_amqp::link::SendError as EngineSendError;
use fe2o3_amqp::link::delivery::{DeliveryFut, Sendable};
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::{Batch, Data, Message as WireMessage, Outcome as EngineOutcome};
use fe2o3_amqp_types::primitives::Binary;
use iothub_frame::Fuse;
use serde_amqp::ser::Serializer;
use serde_amqp::serde::Serialize as _;

use super::conditions::{End, condition, detached, sending};
use super::manifest::Load;
use crate::Message;
use crate::error::Condition;
use crate::supervisor::{MAX_BATCH_BYTES, Outcome};

/// A message as the engine takes it; shared, since it may be sent again.
#[derive(Clone)]
pub(crate) struct Encoded {
    message: Arc<Sendable<Data>>,
    size: usize,
}

impl Encoded {
    /// How many bytes it has on the wire.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

impl From<Message> for Encoded {
    fn from(message: Message) -> Self {
        Self::of(message.into_wire())
    }
}

impl Encoded {
    pub(super) fn of(message: WireMessage<Data>) -> Self {
        let sendable = Sendable::builder().message(message).build();
        // What can't be encoded is of no size that any link takes.
        let size = serde_amqp::serialized_size(&Serializable(&sendable.message)).unwrap_or(usize::MAX);
        Self {
            message: Arc::new(sendable),
            size,
        }
    }

    fn to_data(&self) -> Result<Data, serde_amqp::Error> {
        // More than a batch holds says that it can't be encoded.
        let mut bytes = Vec::with_capacity(self.size.min(MAX_BATCH_BYTES));
        Serializable(&self.message.message).serialize(&mut Serializer::new(&mut bytes))?;
        Ok(Data(Binary::from(bytes)))
    }
}

/// One transfer: a message, or a batch of them.
pub(crate) enum Outgoing {
    One(Encoded),
    Batch(Box<Sendable<Batch<Data>>>),
}

impl Outgoing {
    /// Several messages become one of message-format 0x80013700, a data section for each.
    pub(crate) fn of(mut messages: impl Iterator<Item = Encoded>) -> Option<Self> {
        let first = messages.next()?;
        let Some(second) = messages.next() else {
            return Some(Self::One(first));
        };
        let sections: Vec<Data> = [first, second]
            .into_iter()
            .chain(messages)
            .map(|encoded| encoded.to_data())
            .collect::<Result<_, _>>()
            .ok()?;
        let message = WireMessage::builder().data_batch(sections).build();
        let batch = Sendable::builder()
            .message(message)
            .message_format(BATCH_FORMAT)
            .build();
        Some(Self::Batch(Box::new(batch)))
    }
}

/// A sending link of one device or module.
pub(crate) struct Link {
    sender: Sender,
    load: Load,
    fuse: Fuse,
}

/// Why a transfer was not handed over. It never left.
pub(crate) enum HandError {
    TooLarge { size: u64, limit: u64 },
    Ended(End),
}

impl Link {
    pub(super) fn new(sender: Sender, load: Load, fuse: Fuse) -> Self {
        Self { sender, load, fuse }
    }

    /// The largest message that the peer takes, in bytes; 0 is any.
    pub(crate) fn limit(&self) -> u64 {
        self.sender.max_message_size().unwrap_or(0)
    }

    /// Waits for credit, hands the transfer over, and gives what awaits its outcome.
    ///
    /// Cancel safe: a transfer whose future is dropped before it is ready was not handed over.
    pub(crate) async fn hand(&mut self, outgoing: &Outgoing) -> Result<Delivery, HandError> {
        let Self { sender, load, fuse } = self;
        let sent = match outgoing {
            Outgoing::One(encoded) => load.giving(sender.send_batchable_ref(&encoded.message)).await,
            Outgoing::Batch(batch) => load.giving(sender.send_batchable_ref(batch)).await,
        };
        match sent {
            Ok(outcome) => Ok(Delivery {
                outcome,
                fuse: fuse.clone(),
            }),
            Err(EngineSendError::MessageSizeExceeded(exceeded)) => Err(HandError::TooLarge {
                size: exceeded.size,
                limit: exceeded.max_size,
            }),
            Err(error) => Err(HandError::Ended(sending(error, fuse))),
        }
    }

    /// Waits until the peer has detached the link. Cancel safe.
    pub(crate) async fn detached(&mut self) -> End {
        detached(self.sender.on_detach().await, &self.fuse)
    }

    /// Detaches in good order.
    pub(crate) async fn close(self) {
        // That the peer was first, or is gone, is told elsewhere.
        let _ = self.sender.close().await;
    }
}

/// A transfer that was handed over: awaits the peer's word on it, or that none will come.
pub(crate) struct Delivery {
    outcome: DeliveryFut<Result<EngineOutcome, EngineSendError>>,
    fuse: Fuse,
}

impl Future for Delivery {
    type Output = Result<Outcome, End>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        Poll::Ready(match outcome {
            Ok(outcome) => Ok(outcome_of(outcome)),
            Err(error) => Err(sending(error, &self.fuse)),
        })
    }
}

fn outcome_of(outcome: EngineOutcome) -> Outcome {
    match outcome {
        EngineOutcome::Accepted(_) => Outcome::Accepted,
        EngineOutcome::Rejected(rejected) => Outcome::Rejected(rejected.error.map_or_else(
            || {
                Condition::new(
                    "amqp:internal-error",
                    Some("rejected without a reason".to_owned()),
                )
            },
            condition,
        )),
        // `modified` asks for another attempt, as `released` does (§3.4.5); a hub sends neither today.
        EngineOutcome::Released(_) | EngineOutcome::Modified(_) => Outcome::Released,
    }
}

/// Azure's format of a batch.
const BATCH_FORMAT: u32 = 0x8001_3700;
