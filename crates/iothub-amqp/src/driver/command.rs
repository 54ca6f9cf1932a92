//! What the handles ask of the owner of their connection.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::MethodAnswer;
use super::engine::Encoded;
use super::member::{Ended, Joining, Subscription};
use crate::error::{
    Accepted, CloseError, ConnectError, Interruption, Phase, SendError, SettleError, SubscribeError,
    TwinError,
};
use crate::room::Place;
use crate::supervisor::{
    DeliveryId, Epoch, LaneId, Question, RequestId, SlotId, SlotSettings, TicketId, Verdict,
};
use crate::twin::Answer;

pub(crate) type SendResult = Result<Accepted, SendError>;

/// What a handle asks of the owner.
pub(crate) enum Command {
    Join {
        slot: SlotId,
        settings: SlotSettings,
        joining: Box<Joining>,
    },
    /// Send what waits, then end its session, all within this time.
    Leave {
        slot: SlotId,
        limit: Duration,
        reply: Option<oneshot::Sender<Result<(), CloseError>>>,
    },
    /// Send this by then, and tell the outcome.
    Send {
        slot: SlotId,
        ticket: TicketId,
        payload: Payload,
        deadline: Instant,
        limit: Duration,
    },
    /// Nobody waits for this one any more.
    Withdraw { slot: SlotId, ticket: TicketId },
    Subscribe {
        lane: LaneId,
        limit: Duration,
        subscription: Subscription,
    },
    /// Nothing more is wanted of the stream that tells its end here.
    Unsubscribe(LaneId, Ended),
    /// The word on something that came in; with a method's answer, if it is that.
    Answer {
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
        verdict: Verdict,
        answering: Answering,
    },
    Request {
        slot: SlotId,
        request: RequestId,
        question: Question,
        limit: Duration,
        asking: Asking,
    },
    /// So many events of this lane were taken.
    Took(LaneId, u32),
    /// A desired change was taken.
    Taken(SlotId),
    /// Send what waits of all, then close, all within this time.
    Close { limit: Duration, reply: Closer },
}

/// Who waits for an end.
pub(crate) type Closer = oneshot::Sender<Result<(), CloseError>>;

/// A message while it has no outcome.
pub(crate) struct Payload {
    pub(crate) message: Encoded,
    pub(crate) reply: oneshot::Sender<SendResult>,
    /// Its room in the queue, given back when this is dropped.
    pub(crate) _place: Place,
}

/// The word on something that came in, until the link has it.
#[derive(Default)]
pub(crate) struct Answering {
    pub(crate) answer: Option<MethodAnswer>,
    pub(crate) reply: Option<oneshot::Sender<Result<(), SettleError>>>,
}

/// A question to the twin, until it is answered.
pub(crate) struct Asking {
    pub(crate) patch: Option<Vec<u8>>,
    pub(crate) reply: oneshot::Sender<Result<Answer, TwinError>>,
}

impl Command {
    /// Whether it is to send a message.
    pub(super) const fn is_send(&self) -> bool {
        matches!(self, Self::Send { .. })
    }

    /// Answers what came too late; who waits for the end is given back.
    pub(super) fn refuse(self, why: &Interruption) -> Option<(Option<SlotId>, Closer)> {
        match self {
            Self::Send { payload, .. } => {
                let _ = payload.reply.send(Err(SendError::NotSent(why.clone())));
            }
            Self::Leave { slot, reply, .. } => return reply.map(|reply| (Some(slot), reply)),
            Self::Close { reply, .. } => return Some((None, reply)),
            Self::Join { joining, .. } => {
                let error = ConnectError::interrupted(Phase::Open, why.clone());
                let _ = joining.first.send(Err(error));
            }
            Self::Subscribe { subscription, .. } => {
                if let Some(reply) = subscription.reply {
                    let _ = reply.send(Err(SubscribeError::Ended(why.clone())));
                }
            }
            Self::Answer { answering, .. } => {
                if let Some(reply) = answering.reply {
                    let _ = reply.send(Err(SettleError::LockLost));
                }
            }
            Self::Request { asking, .. } => {
                let _ = asking.reply.send(Err(TwinError::NotAnswered(why.clone())));
            }
            Self::Withdraw { .. } | Self::Unsubscribe(..) | Self::Took(..) | Self::Taken(_) => {}
        }
        None
    }
}
