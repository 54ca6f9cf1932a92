//! What happened at the hub's door: for tests, for `-v`, for whoever asks why a client does not get in.

use std::fmt;

use iothub_address::Identity;

use super::authentication::AuthFailure;
use super::thumbprint::Thumbprint;
use crate::clock::Timestamp;
use crate::fault::FaultKind;

/// One thing that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// When.
    pub time: Timestamp,
    /// The connection's number in this hub's life, from 1.
    pub connection: u64,
    /// What.
    pub what: What,
}

impl Activity {
    pub(crate) const fn new(time: Timestamp, connection: u64, what: What) -> Self {
        Self {
            time,
            connection,
            what,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A client came to a port.
    Came {
        /// Its address.
        peer: std::net::SocketAddr,
    },
    /// It was let in as this device, module or policy.
    Authenticated {
        /// The identity, or `policy NAME`.
        principal: String,
    },
    /// It was let in without credentials; it has no right to anything.
    Anonymous,
    /// It was let in with a certificate; what that is good for is seen when it opens a link.
    ShowedCertificate {
        /// The certificate's thumbprint by SHA-256.
        thumbprint: Thumbprint,
    },
    /// It was not let in. The client learns only that it was refused.
    Refused(AuthFailure),
    /// One of its tokens has ended, and the grace after it: what the token allowed is taken back.
    Expired {
        /// The identity, or `policy NAME`.
        principal: String,
    },
    /// The device or module has come on another connection, which takes its place.
    TakenOver {
        /// Whose links have ended here.
        identity: Identity,
        /// The number of the other connection.
        by: u64,
    },
    /// A fault that was injected struck it.
    Struck {
        /// Which.
        fault: FaultKind,
    },
    /// It may not use a link.
    LinkRefused {
        /// The address of the node, as it wrote it.
        address: String,
        /// The AMQP error condition.
        condition: &'static str,
    },
    /// It wanted to read the events, and was told where they are.
    Redirected {
        /// The address of the node there.
        to: String,
    },
    /// It went, or was sent away.
    Gone {
        /// Why, in words.
        why: String,
    },
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{} {}", self.time, self.connection, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Came { peer } => write!(f, "came from {peer}"),
            Self::Authenticated { principal } => write!(f, "is {principal}"),
            Self::Anonymous => f.write_str("showed no credentials"),
            Self::ShowedCertificate { thumbprint } => write!(f, "showed certificate {thumbprint}"),
            Self::Refused(why) => write!(f, "was refused: {why}"),
            Self::Expired { principal } => write!(f, "is {principal} no longer: the token has expired"),
            Self::TakenOver { identity, by } => write!(f, "is {identity} no longer: #{by} is"),
            Self::Struck { fault } => write!(f, "is struck by {fault}"),
            Self::LinkRefused { address, condition } => write!(f, "was refused {address:?}: {condition}"),
            Self::Redirected { to } => write!(f, "was sent on to {to:?}"),
            Self::Gone { why } => write!(f, "is gone: {why}"),
        }
    }
}
