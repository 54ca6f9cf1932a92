//! What the supervisor is told.

use std::time::{Duration, Instant};

use crate::error::{Condition, ConnectError, Interruption};
use crate::recovery::{Operation, Recovery, classify_connect, classify_end};

use super::{Epoch, TicketId, TransferId};

/// A wish of the application, or a fact from the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A message of this encoded size is to be sent by then; `limit` is how long that was when it was said.
    Enqueue {
        ticket: TicketId,
        size: usize,
        deadline: Instant,
        limit: Duration,
    },
    /// Nobody waits for this message any more: if it was never handed over, it need not be.
    Withdraw(TicketId),
    /// Send what waits, then close; by then at the latest.
    Close { deadline: Instant },

    /// The credential's answer.
    Token(Result<TokenLife, Cause>),
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
    /// The link is attached and takes messages of up to this many bytes (0: any).
    LaneUp { epoch: Epoch, limit: u64 },
    /// The link is gone. No fact of it follows.
    LaneLost { epoch: Epoch, cause: Cause },
    /// The engine has taken the transfer.
    Handed { epoch: Epoch, transfer: TransferId },
    /// The engine has not taken the transfer, and won't.
    NotHanded {
        epoch: Epoch,
        transfer: TransferId,
        why: NotHanded,
    },
    /// The hub's word on the transfer.
    Settled {
        epoch: Epoch,
        transfer: TransferId,
        outcome: Outcome,
    },
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
    /// The end of something that was there.
    #[must_use]
    pub fn ended(why: Interruption, operation: Operation) -> Self {
        let recovery = classify_end(&why, operation);
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
