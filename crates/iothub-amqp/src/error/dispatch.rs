//! What can go wrong with a message to a device.

use crate::error::{Condition, Interruption, SendError};
use crate::recovery::UNAUTHORIZED;

/// Why a cloud-to-device message is not known to be in its device's queue.
///
/// # Delivery
/// With [`Unknown`](Self::Unknown) the hub may have the message. With all others it certainly has not.
///
/// # Cancel safety
/// Who drops the future that waits for it is told nothing: the message is taken back, or flies on to its device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// The hub knows no such device or module. Check the id.
    #[error("there is no such device: {0}")]
    NotFound(Condition),
    /// The device's queue is full: 50 messages wait for it (403004). It has to come and take some, or they are purged; but
    /// the same condition says that the hub's quota of the day is used up (403002), which the text tells.
    #[error("the device's queue is full, or the hub's quota is used up: {0}")]
    QueueFull(Condition),
    /// The policy may not send to devices: it needs ServiceConnect.
    #[error("no rights: {0}")]
    NoRights(Condition),
    /// The hub refused the message for good, for another reason.
    #[error("the hub rejected the message: {0}")]
    Rejected(Condition),
    /// The message is larger than the hub takes.
    #[error("the message has {size} bytes, the hub takes {limit}")]
    TooLarge {
        /// The message's size, in bytes.
        size: u64,
        /// The hub's limit, in bytes.
        limit: u64,
    },
    /// The hub gave the message back untouched: it may be sent again.
    #[error("the hub released the message")]
    Released,
    /// It never left this client.
    #[error("the message was not sent: {0}")]
    NotSent(Interruption),
    /// It was handed over, and there is no word on it.
    #[error("it is not known whether the hub has the message: {0}")]
    Unknown(Interruption),
}

/// Why what a hub wrote to a service can't be read.
///
/// # Delivery
/// The hub keeps what can't be read until it is settled, and delivers it again:
/// [`FeedbackBatch::reject`](crate::FeedbackBatch::reject) or
/// [`FileNotification::reject`](crate::FileNotification::reject) has it forgotten.
///
/// # Cancel safety
/// Reading waits for nothing, and settles nothing: it may be read again, with the same error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Its content type is another one.
    #[error("it is of the type {:?}", .0)]
    ContentType(String),
    /// Its body is not what it should be.
    #[error("its body can't be read: {0}")]
    Body(String),
}

impl From<SendError> for DispatchError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Rejected(condition) => Self::of(condition),
            SendError::TooLarge { size, limit } => Self::TooLarge { size, limit },
            SendError::Released => Self::Released,
            // The link itself was refused.
            SendError::NotSent(Interruption::Refused(condition)) if condition.name == UNAUTHORIZED => {
                Self::NoRights(condition)
            }
            SendError::NotSent(why) => Self::NotSent(why),
            SendError::Unknown(why) => Self::Unknown(why),
        }
    }
}

impl DispatchError {
    /// As a hub rejects a service's message (protocol of IoT Hub, read off its SDKs).
    fn of(condition: Condition) -> Self {
        match condition.name.as_str() {
            "amqp:not-found" => Self::NotFound(condition),
            "amqp:resource-limit-exceeded" => Self::QueueFull(condition),
            UNAUTHORIZED => Self::NoRights(condition),
            _ => Self::Rejected(condition),
        }
    }
}
