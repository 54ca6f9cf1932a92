//! What can go wrong with events.

use super::condition::OneLine;
use crate::error::{ConnectError, Interruption, SubscribeError};
use crate::recovery::STOLEN;

/// Why events can't be read.
///
/// # Delivery
/// It takes no event: a stream that is begun behind the last event that came gets the next one.
///
/// # Cancel safety
/// Links that had been attached for what failed are detached, as when its future is dropped, and other streams of the
/// client go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// There is no connection to the hub, or to its event endpoint.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The hub did not say where its events are. Use an Event Hubs-compatible connection string.
    #[error("the hub does not say where its events are: {0}")]
    NoRedirect(Interruption),
    /// What the hub said of it can't be read.
    #[error("the hub's word on where its events are can't be read: {}", OneLine(.0))]
    BadRedirect(String),
    /// The endpoint's management refused to answer: 401 without rights, 404 an event hub that is not there.
    #[error("the event hub's management answered {status}{}", text(.message))]
    Management {
        /// Its status.
        status: i32,
        /// Its own words.
        message: Option<String>,
    },
    /// The endpoint's management did not answer. Asking again may help.
    #[error("no answer of the event hub's management: {0}")]
    NotAnswered(Interruption),
    /// What it answered can't be read.
    #[error("the answer of the event hub's management can't be read: {0}")]
    BadAnswer(String),
    /// Too many questions wait for its answer (64).
    #[error("too many questions wait for an answer")]
    TooMany,
    /// There is no such partition.
    #[error("there is no partition {0}")]
    NoSuchPartition(u32),
    /// The client has a stream already that reads this partition. Drop it first, or connect once more.
    #[error("partition {0} is read by another stream of this client")]
    AlreadyOpen(u32),
    /// Another reader of the consumer group owns the partition by its owner level, or has taken it by the same or a
    /// higher one. Take another consumer group, or stop one of them.
    #[error("another reader owns partition {partition}: {why}")]
    Stolen {
        /// The partition, from 0.
        partition: u32,
        /// The endpoint's own words.
        why: Interruption,
    },
    /// The partition's link was refused for good, or has ended with the client.
    #[error("partition {partition} can't be read: {why}")]
    Ended {
        /// The partition, from 0.
        partition: u32,
        /// Why.
        why: Interruption,
    },
}

/// Connecting fails in its own ways, which are equal if they read the same.
impl PartialEq for EventsError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for EventsError {}

impl EventsError {
    pub(crate) fn of_subscribing(partition: u32, error: SubscribeError) -> Self {
        match error {
            SubscribeError::AlreadyOpen => Self::AlreadyOpen(partition),
            SubscribeError::Ended(why) => Self::of_end(partition, why),
        }
    }

    pub(crate) fn of_end(partition: u32, why: Interruption) -> Self {
        match &why {
            Interruption::Refused(condition) if condition.name == STOLEN => Self::Stolen { partition, why },
            _ => Self::Ended { partition, why },
        }
    }
}

fn text(message: &Option<String>) -> String {
    message
        .as_ref()
        .map_or_else(String::new, |text| format!(": {}", OneLine(text)))
}
