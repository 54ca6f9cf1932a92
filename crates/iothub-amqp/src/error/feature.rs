//! What can go wrong with what comes in, and with the twin.

use std::time::Duration;

use super::condition::OneLine;
use crate::error::Interruption;

/// Why what comes in can't be heard.
///
/// # Delivery
/// Nothing came that would be to be answered: messages wait at the hub for the next who listens, calls of methods fail
/// there.
///
/// # Cancel safety
/// It leaves no stream behind, and neither does a future that is dropped before it could tell: the next call may
/// succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The client has such a stream already: the hub gives each message to one reader. Drop the other one first.
    #[error("the client has such a stream already")]
    AlreadyOpen,
    /// The hub refused the link, or the client ended, before anything could be heard.
    #[error("can't be heard: {0}")]
    Ended(Interruption),
}

/// Why the hub has not been told what became of something that came in.
///
/// # Delivery
/// With [`LockLost`](Self::LockLost) the hub has a command back, and delivers it again. With
/// [`TimedOut`](Self::TimedOut) and [`Unknown`](Self::Unknown) the word may reach the hub yet, or not: then it comes again
/// too. A method's caller gets another answer with [`TooLarge`](Self::TooLarge), and with the others it may get none.
///
/// # Cancel safety
/// An answer whose future is dropped after its first poll has been said, and of its error nobody hears.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The link on which it came is gone, and with it the lock. The hub has a cloud-to-device message back and delivers
    /// it again; of a method's caller it tells that there was no answer.
    #[error("the link on which it came is gone: the hub has it back")]
    LockLost,
    /// A method's answer is larger than the hub takes (128 KiB), or its link. Its caller is told so in its place, by the
    /// status 500 and a JSON object with a `message`.
    #[error("the answer has {size} bytes, the hub takes {limit}")]
    TooLarge {
        /// The answer's size, in bytes: of its body, or of all of the message where the link's limit is less.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The link did not take it in time: the hub gives the link no credit, or does not read. The word stands, and may
    /// reach the hub yet.
    #[error("the link did not take it within {} s", .after.as_secs_f64())]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// The link was given up while it had the word to pass on: the stream was dropped and opened again, the client ended, or
    /// its session or connection was made anew. The hub may have the word, or has a message back.
    #[error("the link was given up while it had the word: the hub may have it")]
    Unknown,
}

impl SettleError {
    pub(crate) fn too_large(size: u64, limit: u64) -> Self {
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self::TooLarge {
            size: bytes(size),
            limit: bytes(limit),
        }
    }
}

/// Why the twin did not do what it was asked.
///
/// # Delivery
/// With [`Unknown`](Self::Unknown) the hub may have merged a patch. With all others it has not.
///
/// # Cancel safety
/// Who drops the future that waits for it is told nothing, and a patch may be merged all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwinError {
    /// The hub refused: 400 a patch that breaks its rules, 404 no such twin, 429 too many requests, 5xx its own fault.
    #[error("the hub answered {status}{}", text(.message))]
    Refused {
        /// The hub's status.
        status: i32,
        /// The hub's own words.
        message: Option<String>,
    },
    /// The question got no answer, and nothing was changed: it may be asked again.
    #[error("no answer: {0}")]
    NotAnswered(Interruption),
    /// The patch was handed over, and whether the hub has merged it is not known. A merge patch may be sent again.
    #[error("it is not known whether the hub has the patch: {0}")]
    Unknown(Interruption),
    /// The patch is larger than the link takes; it never left.
    #[error("the patch's message has {size} bytes, the link takes {limit}")]
    TooLarge {
        /// The encoded message's size, in bytes.
        size: u64,
        /// The link's limit, in bytes.
        limit: u64,
    },
    /// Too many questions wait for an answer (64).
    #[error("too many questions wait for an answer")]
    TooMany,
    /// The hub's answer is no twin.
    #[error("the hub's answer is no twin: {0}")]
    BadAnswer(String),
    /// A patch of reported properties is a JSON object.
    #[error("a patch is a JSON object")]
    NotAnObject,
}

impl TwinError {
    pub(crate) fn refused(status: i32) -> Self {
        Self::Refused {
            status,
            message: None,
        }
    }
}

fn text(message: &Option<String>) -> String {
    message
        .as_ref()
        .map_or_else(String::new, |text| format!(": {}", OneLine(text)))
}
