//! From a host name to a stream: every address gets its chance, when the race says so.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};

use super::race::{Race, Step};
use crate::error::{ConnectError, Phase};
use crate::{ByteStream, Network};

/// Where to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// A DNS name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Anywhere,
    /// Refuse a host that has an address which is not this machine's own.
    ThisMachine,
}

/// Looks the endpoint up and connects to the first address that answers.
pub(crate) async fn dial(
    network: &dyn Network,
    endpoint: &Endpoint,
    reach: Reach,
    limit: Duration,
) -> Result<Box<dyn ByteStream>, ConnectError> {
    let timed_out = |phase| ConnectError::TimedOut { phase, after: limit };
    let addresses = timeout(limit, network.resolve(&endpoint.host, endpoint.port))
        .await
        .map_err(|_| timed_out(Phase::Resolve))?
        .map_err(|source| ConnectError::Resolve {
            host: endpoint.host.clone(),
            source: source.into(),
        })?;
    if reach == Reach::ThisMachine && !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(ConnectError::NotLoopback(endpoint.host.clone()));
    }
    tracing::debug!(%endpoint, ?addresses, "resolved");

    timeout(limit, connect_first(network, addresses))
        .await
        .map_err(|_| timed_out(Phase::Connect))?
        .map_err(|source| ConnectError::Connect {
            endpoint: endpoint.to_string(),
            source: source.into(),
        })
}

async fn connect_first(network: &dyn Network, addresses: Vec<SocketAddr>) -> io::Result<Box<dyn ByteStream>> {
    let now = || Instant::now().into_std();
    let mut race = Race::new(addresses, now());
    let mut attempts = FuturesUnordered::new();
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        let until = match race.next(now()) {
            Step::Start(address) => {
                attempts.push(network.connect(address));
                continue;
            }
            Step::WaitUntil(until) => Some(Instant::from_std(until)),
            Step::Wait => None,
            Step::Lost => return Err(last_error),
        };
        tokio::select! {
            biased;
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last_error = error;
                    race.failed(now());
                }
            },
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests;
