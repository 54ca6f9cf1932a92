//! What the supervisor is told.

use std::time::{Duration, Instant};

use crate::error::{Condition, ConnectError, Interruption};
use crate::recovery::{Operation, Recovery, classify_connect, classify_end};

use super::{DeliveryId, Epoch, LaneId, RequestId, SlotId, SlotSettings, TicketId, TransferId};

/// A wish of the application, or a fact from the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A device or module comes to the connection.
    Join { slot: SlotId, settings: SlotSettings },
    /// It goes: send what waits, then end its session; by then at the latest.
    Leave { slot: SlotId, deadline: Instant },
    /// A message of this encoded size is to be sent by then; `limit` is how long that was when it was said.
    Enqueue {
        slot: SlotId,
        ticket: TicketId,
        size: usize,
        deadline: Instant,
        limit: Duration,
    },
    /// Nobody waits for this message any more: if it was never handed over, it need not be.
    Withdraw { slot: SlotId, ticket: TicketId },
    /// What comes in on this lane is wanted, from now until said otherwise; by then at the latest for the first time.
    Subscribe {
        lane: LaneId,
        deadline: Instant,
        limit: Duration,
    },
    /// It is not wanted any more.
    Unsubscribe(LaneId),
    /// The application's word on something that came in.
    Answer {
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
        verdict: Verdict,
    },
    /// Ask the hub's twin; by then at the latest.
    Request {
        slot: SlotId,
        request: RequestId,
        question: Question,
        deadline: Instant,
        limit: Duration,
    },
    /// The application has taken a desired change: there is room for another.
    Taken(SlotId),
    /// Send what waits of all, then close; by then at the latest.
    Close { deadline: Instant },

    /// The credential's answer.
    Token {
        slot: SlotId,
        result: Result<TokenLife, Cause>,
    },
    /// The connection is open.
    Up { conn: u32 },
    /// The hub's answer to a token.
    TokenPut {
        conn: u32,
        put: u32,
        result: Result<(), Cause>,
    },
    /// The connection is gone, or was never made. No fact of it follows.
    Lost { conn: u32, cause: Cause },
    /// The connection was closed in good order, or not.
    Closed {
        conn: u32,
        result: Result<(), Interruption>,
    },
    /// The session of a slot that leaves has ended.
    SessionEnded { slot: SlotId },
    /// The link is attached and takes messages of up to this many bytes (0: any).
    LaneUp { lane: LaneId, epoch: Epoch, limit: u64 },
    /// The link is gone. No fact of it follows.
    LaneLost {
        lane: LaneId,
        epoch: Epoch,
        cause: Cause,
    },
    /// The lane lives, but its session is to be replaced: another link of it can't be attached any more.
    SessionSpoilt { lane: LaneId, epoch: Epoch },
    /// The engine has taken the transfer.
    Handed {
        lane: LaneId,
        epoch: Epoch,
        transfer: TransferId,
    },
    /// The engine has not taken the transfer, and won't.
    NotHanded {
        lane: LaneId,
        epoch: Epoch,
        transfer: TransferId,
        why: NotHanded,
    },
    /// The hub's word on the transfer.
    Settled {
        lane: LaneId,
        epoch: Epoch,
        transfer: TransferId,
        outcome: Outcome,
    },
    /// Something came in.
    Arrived {
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
    },
    /// The engine has taken the application's word on it.
    Disposed {
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
    },
    /// The engine has taken the question.
    Asked {
        lane: LaneId,
        epoch: Epoch,
        request: RequestId,
    },
    /// The engine has not taken the question, and won't: it is larger than the link takes.
    NotAsked {
        lane: LaneId,
        epoch: Epoch,
        request: RequestId,
        size: u64,
        limit: u64,
    },
    /// The hub has answered: with this status, and of a whole twin this version of the desired properties.
    Answered {
        lane: LaneId,
        epoch: Epoch,
        request: RequestId,
        status: i32,
        desired: Option<i64>,
    },
    /// The hub says that the desired properties have become this version.
    Changed {
        lane: LaneId,
        epoch: Epoch,
        version: i64,
    },
}

impl Input {
    /// The lane that it tells of, if it is a fact of one.
    #[must_use]
    pub fn lane(&self) -> Option<LaneId> {
        match self {
            Self::LaneUp { lane, .. }
            | Self::LaneLost { lane, .. }
            | Self::SessionSpoilt { lane, .. }
            | Self::Handed { lane, .. }
            | Self::NotHanded { lane, .. }
            | Self::Settled { lane, .. }
            | Self::Arrived { lane, .. }
            | Self::Disposed { lane, .. }
            | Self::Asked { lane, .. }
            | Self::NotAsked { lane, .. }
            | Self::Answered { lane, .. }
            | Self::Changed { lane, .. } => Some(*lane),
            _ => None,
        }
    }

    /// The one slot that it is of, if it is not of all.
    #[must_use]
    pub fn slot(&self) -> Option<SlotId> {
        match self {
            Self::Join { slot, .. }
            | Self::Leave { slot, .. }
            | Self::Enqueue { slot, .. }
            | Self::Withdraw { slot, .. }
            | Self::Request { slot, .. }
            | Self::Taken(slot)
            | Self::Token { slot, .. }
            | Self::SessionEnded { slot } => Some(*slot),
            Self::Subscribe { lane, .. } | Self::Unsubscribe(lane) | Self::Answer { lane, .. } => {
                Some(lane.slot)
            }
            fact => fact.lane().map(|lane| lane.slot),
        }
    }

    /// Only a peer that lives makes it so.
    pub(super) fn is_sign_of_life(&self) -> bool {
        match self {
            Self::LaneUp { .. }
            | Self::Settled { .. }
            | Self::Arrived { .. }
            | Self::Answered { .. }
            | Self::Changed { .. }
            | Self::Up { .. } => true,
            Self::TokenPut { result, .. } => match result {
                Ok(()) => true,
                Err(cause) => cause.is_of_peer(),
            },
            Self::LaneLost { cause, .. } => cause.is_of_peer(),
            _ => false,
        }
    }
}

/// What the application makes of something that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done: the hub deletes it.
    Complete,
    /// The hub is to deliver it again.
    Abandon,
    /// The hub is to put it aside for good.
    Reject,
    /// A method's answer, which the owner has.
    Respond,
    /// Nothing is said of it; the place that it took is free.
    Forget,
}

/// What the hub's twin is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// All of the twin.
    Get,
    /// To merge a patch into the reported properties.
    Report,
    /// To tell of desired changes from now on.
    Subscribe,
}

/// How long a token will live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLife {
    /// From now on.
    pub left: Duration,
    /// Whether another one can be had.
    pub renews: bool,
}

/// Why something ended, and what the table says to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub why: Interruption,
    pub recovery: Recovery,
}

impl Cause {
    /// The peer said so.
    pub(super) fn is_of_peer(&self) -> bool {
        matches!(self.why, Interruption::Refused(_) | Interruption::Closed)
    }

    /// The end of something that was there.
    #[must_use]
    pub fn ended(why: Interruption, operation: Operation) -> Self {
        let recovery = classify_end(&why, operation);
        Self { why, recovery }
    }

    /// The end of what several have in common, by the fault of one of them: what is final for that one is not for the others.
    #[must_use]
    pub fn of_one_of_many(why: Interruption, operation: Operation) -> Self {
        let recovery = match classify_end(&why, operation) {
            Recovery::GiveUp => Recovery::Reconnect,
            recovery => recovery,
        };
        Self { why, recovery }
    }

    /// A connection, or something on it, that could not be made.
    #[must_use]
    pub fn not_made(error: &ConnectError) -> Self {
        let why = match error {
            ConnectError::RefusedWith { condition, .. } | ConnectError::TokenRefused(condition) => {
                Interruption::Refused(condition.clone())
            }
            ConnectError::Lost { why, .. } => Interruption::Lost(*why),
            ConnectError::TimedOut { phase, after } => Interruption::TimedOut {
                phase: *phase,
                after: *after,
            },
            // IoT Hub has one word for "not let in", whoever asks how.
            ConnectError::Refused { .. } => Interruption::Refused(Condition::new(
                "amqp:unauthorized-access",
                Some(error.to_string()),
            )),
            ConnectError::Ended(why) => why.clone(),
            other => Interruption::NoConnection(chain(other)),
        };
        Self {
            why,
            recovery: classify_connect(error),
        }
    }
}

/// An error with its sources, as one text.
fn chain(error: &ConnectError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Why a transfer was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotHanded {
    /// It was taken back.
    Withdrawn,
    /// It is larger than the link takes.
    TooLarge { size: u64, limit: u64 },
}

/// The hub's word on a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Rejected(Condition),
    /// Given back untouched; `modified` counts as this.
    Released,
}
