//! What passes between services and devices, telemetry aside: for whoever watches a hub.

use std::fmt;

use iothub_address::Identity;

use super::feedback::Fate;
use super::message::{Message, MessageId};
use super::{Hub, MethodError};
use crate::clock::Timestamp;

/// One thing that passed between a service and a device or module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// When.
    pub time: Timestamp,
    /// To or from whom.
    pub identity: Identity,
    /// What.
    pub passed: Passed,
}

/// What passed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// A message to it waits in its mailbox.
    Queued {
        /// The message's id, or nothing if it has none.
        message_id: String,
        /// How large it is, in bytes, as the hub counts.
        size: usize,
    },
    /// A message to it has gone out to it; it goes again unless that is the last that the hub hears of it.
    Delivered {
        /// As above.
        message_id: String,
        /// How often it has gone before.
        before: u8,
    },
    /// A message to it has left its mailbox.
    Left {
        /// As above.
        message_id: String,
        /// What has become of it.
        fate: Fate,
    },
    /// One of its methods is called.
    Called {
        /// The method's name.
        method: String,
    },
    /// It answered a call.
    Answered {
        /// The method's name.
        method: String,
        /// The status that it gave.
        status: i32,
    },
    /// A call has no answer.
    Unanswered {
        /// The method's name.
        method: String,
        /// Why.
        why: MethodError,
    },
    /// A service has changed its desired properties.
    Desired {
        /// Their version now.
        version: u64,
    },
    /// It has changed its reported properties.
    Reported {
        /// Their version now.
        version: u64,
    },
}

/// One line, if names in it have none of their own.
impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.time, self.identity, self.passed)
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |id: &str| match id {
            "" => String::new(),
            id => format!(" {id}"),
        };
        match self {
            Self::Queued { message_id, size } => {
                write!(f, "is sent message{} of {size} bytes", named(message_id))
            }
            Self::Delivered {
                message_id,
                before: 0,
            } => write!(f, "receives message{}", named(message_id)),
            Self::Delivered { message_id, before } => {
                write!(
                    f,
                    "receives message{} again, for the {}. time",
                    named(message_id),
                    u32::from(*before) + 1
                )
            }
            Self::Left { message_id, fate } => {
                let id = named(message_id);
                match fate {
                    Fate::Success => write!(f, "completes message{id}"),
                    Fate::Rejected => write!(f, "rejects message{id}"),
                    Fate::Expired => write!(f, "has not completed message{id} in its time"),
                    Fate::DeliveryCountExceeded => write!(f, "has received message{id} too often"),
                    Fate::Purged => write!(f, "will not receive message{id}: it was purged"),
                }
            }
            Self::Called { method } => write!(f, "is called: {method}"),
            Self::Answered { method, status } => write!(f, "answers {method}: {status}"),
            Self::Unanswered { method, why } => write!(f, "gives no answer to {method}: {why}"),
            Self::Desired { version } => write!(f, "is given desired properties, version {version}"),
            Self::Reported { version } => write!(f, "reports properties, version {version}"),
        }
    }
}

impl Hub {
    pub(super) fn passed(&self, identity: &Identity, passed: Passed, now: Timestamp) {
        let weight = match &passed {
            Passed::Queued { message_id: text, .. }
            | Passed::Delivered { message_id: text, .. }
            | Passed::Left { message_id: text, .. }
            | Passed::Called { method: text }
            | Passed::Answered { method: text, .. }
            | Passed::Unanswered { method: text, .. } => text.len(),
            Passed::Desired { .. } | Passed::Reported { .. } => 0,
        };
        let entry = Traffic {
            time: now,
            identity: identity.clone(),
            passed,
        };
        self.traffic.lock().push(entry.into(), weight, now);
    }
}

pub(super) fn id_of(message: &Message) -> String {
    let id = message.properties.message_id.as_ref();
    id.map(MessageId::to_string).unwrap_or_default()
}
