//! What can go wrong, by what the caller then knows of it.

use std::time::Duration;

use iothub_address::{AddressError, HubHost};
use iothub_sas::KeyError;

use crate::credential::CredentialError;
use crate::refusal::Refusal;

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The hub says no, and why. What it was asked for is not done, but for methods: see
    /// [`call_method`](crate::Registry::call_method).
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// There is no token to show. Nothing was sent.
    #[error("no token")]
    Credential(#[source] CredentialError),
    /// The hub was not reached: nothing was sent.
    #[error(transparent)]
    NotSent(NotSent),
    /// The request was sent, or some of it, and no answer came: **what it asks for may be done**. Look before asking again;
    /// what only reads may be asked again at once.
    #[error("the hub did not answer, and may have done it")]
    Unknown(#[source] Interruption),
    /// The hub says that it is done, and what it says of it can't be read.
    #[error("the hub's answer can't be read")]
    BadReply(#[source] BadReply),
    /// What was given can't be sent. The text says what.
    #[error("{0}")]
    Unfit(&'static str),
}

impl RegistryError {
    /// What the hub calls it, where the hub has spoken.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// At which step a connection failed, or time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Waiting for the credential's token.
    Token,
    /// Asking for the host's addresses, and connecting to one.
    Connecting,
    /// Asking the proxy for a tunnel.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// Waiting to ask again, as the hub wants it.
    Waiting,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token => "waiting for a token",
            Self::Connecting => "connecting",
            Self::Proxy => "asking the proxy",
            Self::Tls => "the TLS handshake",
            Self::Waiting => "waiting to ask again",
        })
    }
}

/// Why a hub was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The host has no address: a wrong name, or no network.
    #[error("the host {host} can't be found: {why}")]
    Resolve {
        /// Whose addresses were asked for: the hub's, or the proxy's.
        host: String,
        /// What the system says.
        why: String,
    },
    /// None of its addresses takes a connection.
    #[error("can't connect to {place}: {why}")]
    Connect {
        /// `HOST:PORT`.
        place: String,
        /// What the system says of the last one.
        why: String,
    },
    /// The proxy has no address, or takes no connection.
    #[error("the proxy {proxy} can't be reached: {why}")]
    ProxyUnreachable {
        /// Its address, without credentials.
        proxy: String,
        /// What the system says.
        why: String,
    },
    /// The proxy wants other credentials, or some.
    #[error("the proxy {proxy} wants credentials, or others")]
    ProxyUnauthorized {
        /// Its address, without credentials.
        proxy: String,
    },
    /// The proxy opens no tunnel.
    #[error("the proxy {proxy} opens no tunnel to {place}: {why}")]
    Proxy {
        /// Its address, without credentials.
        proxy: String,
        /// `HOST:PORT`.
        place: String,
        /// Its status, or what went wrong.
        why: String,
    },
    /// The hub's certificate can't be trusted: its CA is unknown, it has another name, or it does not hold today. For a hub
    /// with a CA of its own see [`RegistryBuilder::root`](crate::RegistryBuilder::root).
    #[error("the certificate of {place} is not acceptable: {why}")]
    Certificate {
        /// `HOST:PORT`.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The TLS handshake failed otherwise: the peer speaks no TLS, or none of a version that is taken.
    #[error("no TLS with {place}: {why}")]
    Tls {
        /// `HOST:PORT`.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection ended before the request was on its way.
    #[error("the connection to {place} ended: {why}")]
    Lost {
        /// `HOST:PORT`.
        place: String,
        /// Why.
        why: String,
    },
    /// The time for the whole call ended.
    #[error("no end after {after:?}, at this step: {step}")]
    TimedOut {
        /// What was being done.
        step: Step,
        /// The call's deadline.
        after: Duration,
    },
}

/// Why there is no answer to a request that was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interruption {
    /// The connection ended, or what came is no HTTP.
    #[error("the connection ended: {0}")]
    Lost(String),
    /// The time for the whole call ended.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The call's deadline.
        after: Duration,
    },
}

/// Why an answer can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReply {
    /// It has more bytes than are read.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// See [`RegistryBuilder::largest_reply`](crate::RegistryBuilder::largest_reply).
        limit: usize,
    },
    /// It is no JSON, or not of the form that is known.
    #[error("{0}")]
    Form(String),
    /// A hub that says that there is more, and gives the same page again.
    #[error("the same page came twice")]
    Circle,
}

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The connection string is not a service's: it has no `SharedAccessKeyName`.
    #[error("a service's connection string is needed, with SharedAccessKeyName")]
    NotAServices,
    /// Its key can't be read.
    #[error("the key can't be read")]
    BadKey(#[source] KeyError),
    /// Its ready signature can't be read. Nothing of it is repeated.
    #[error("the signature is no token")]
    BadToken,
    /// An added root is no certificate.
    #[error("an added root can't be used: {0}")]
    BadRoot(String),
    /// The host is no name that a certificate can have.
    #[error("no certificate can be for the host {0}")]
    BadName(HubHost),
    /// The host can't be read.
    #[error("the host can't be read")]
    Host(#[source] AddressError),
}

impl From<Refusal> for RegistryError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<NotSent> for RegistryError {
    fn from(why: NotSent) -> Self {
        Self::NotSent(why)
    }
}

impl From<Interruption> for RegistryError {
    fn from(why: Interruption) -> Self {
        Self::Unknown(why)
    }
}

impl From<BadReply> for RegistryError {
    fn from(why: BadReply) -> Self {
        Self::BadReply(why)
    }
}
