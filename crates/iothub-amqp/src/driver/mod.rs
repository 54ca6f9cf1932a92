//! The only module that touches sockets, and the only one below which the AMQP engine is named. It decides nothing:
//! it does what the supervisor says, and tells it what came of it.

pub(crate) mod connection;
pub(crate) mod dial;
pub(crate) mod engine;
mod lane;
pub(crate) mod owner;
pub(crate) mod tls;

use crate::CredentialError;
use crate::error::ConnectError;
use crate::supervisor::Input;
use std::time::Duration;

use iothub_sas::SasToken;
use tokio::sync::mpsc;

/// Something that a task of the driver has found out.
pub(crate) enum Fact {
    /// For the supervisor; with the whole error, where making something has failed.
    Found(Input, Option<ConnectError>),
    /// The credential's answer.
    Token(Result<SasToken, CredentialError>),
}

/// Where facts go. Unbounded, but not without bound: two facts for each transfer that is out, two for each connection
/// and link, one for each question.
pub(crate) type Facts = mpsc::UnboundedSender<Fact>;

/// Tells a fact; an owner that has gone needs none.
pub(crate) fn tell(facts: &Facts, input: Input) {
    let _ = facts.send(Fact::Found(input, None));
}

/// A name that no other connection or link has: a hub keys links by name.
pub(crate) fn unique_name(prefix: &str) -> String {
    let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    format!("{prefix}-{random:016x}")
}

/// How long what has ended may take to say so in its own words.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);
