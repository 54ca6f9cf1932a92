//! What a client says of itself.

use std::time::Instant;

use crate::error::Interruption;

/// How a client stands.
///
/// # Delivery
/// Until [`Closing`](Self::Closing) messages are taken, and wait where need be; after [`Ended`](Self::Ended) all end at
/// once, with its reason.
///
/// # Cancel safety
/// It is a copy of how things stood: watching it or not, and dropping it, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The first connection is being made.
    Connecting,
    /// Messages can be sent.
    Connected {
        /// What came between last, and is over. Whoever looks at the status too rarely to see it said otherwise finds
        /// here why it was.
        after: Option<Interruption>,
    },
    /// The connection, the session or the link is being made anew; messages wait.
    Recovering {
        /// What ended it.
        why: Interruption,
        /// When the next attempt comes; the past if it is under way.
        next_attempt: Instant,
    },
    /// The hub has too much to do and is left alone for a while; messages wait.
    Throttled {
        /// What the hub said.
        why: Interruption,
        /// When messages go on.
        until: Instant,
    },
    /// The connection is being replaced in good order, because its token comes to its end, or since the hub answers no more
    /// tokens on it: once it is known what came of all
    /// that is on its way, or an operation timeout later. Messages and questions to the twin wait; words on what came do not.
    Renewing,
    /// The client is closing.
    Closing,
    /// The client has ended: it was closed, or trying again can't help.
    Ended {
        /// Why.
        why: Interruption,
    },
}

/// What a client has done so far.
///
/// # Delivery
/// [`resent`](Self::resent) is the most messages that the hub can have twice, and [`unknown`](Self::unknown) the most
/// that it may have although nobody was told so.
///
/// # Cancel safety
/// It is a copy, which stays when the client has gone; dropping it changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Messages that have no outcome yet.
    pub waiting: usize,
    /// Messages that the hub accepted.
    pub accepted: u64,
    /// Messages that the hub rejected for good, or that were too large for its link.
    pub rejected: u64,
    /// Messages that never left, or that the hub gave back: it certainly has them not.
    pub not_sent: u64,
    /// Messages whose outcome is not known.
    pub unknown: u64,
    /// How often a message was queued again although the hub may have had it: the most duplicates that there can be.
    pub resent: u64,
    /// Acceptances of a message that had been accepted, or given up, before: duplicates that are known.
    pub duplicates: u64,
    /// Transfers that links took, each of one message or one batch.
    pub transfers: u64,
    /// Connections that were tried, the first among them.
    pub attempts: u64,
    /// Links for what is sent that were attached, the first among them.
    pub links: u64,
    /// Tokens that were put to a `$cbs` node and accepted.
    pub tokens_put: u64,
}
