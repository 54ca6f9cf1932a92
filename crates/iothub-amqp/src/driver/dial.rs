//! From a host name to a TCP connection: every address gets its chance, staggered as RFC 8305 has it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::{ConnectError, Phase};

/// Where to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// A DNS name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Refuse every address that is not this machine's own.
    pub(crate) loopback_only: bool,
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

/// Looks the endpoint up and connects to the first address that answers.
pub(crate) async fn dial(endpoint: &Endpoint, limit: Duration) -> Result<TcpStream, ConnectError> {
    let timed_out = |phase| ConnectError::TimedOut { phase, after: limit };
    let addresses = timeout(limit, lookup_host((endpoint.host.as_str(), endpoint.port)))
        .await
        .map_err(|_| timed_out(Phase::Resolve))?
        .map_err(|source| ConnectError::Resolve {
            host: endpoint.host.clone(),
            source: source.into(),
        })?;
    let addresses = interleave(addresses.collect());
    if endpoint.loopback_only && !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(ConnectError::NotLoopback(endpoint.host.clone()));
    }
    tracing::debug!(%endpoint, ?addresses, "resolved");

    let stream = timeout(limit, connect_first(&addresses))
        .await
        .map_err(|_| timed_out(Phase::Connect))?
        .map_err(|source| ConnectError::Connect {
            endpoint: endpoint.to_string(),
            source: source.into(),
        })?;
    // Frames are written whole, so waiting for more to say only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
    Ok(stream)
}

/// The resolver's order, with the two address families taking turns (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

/// Tries the addresses in order, the next one after a failure or a short wait, whichever comes first.
async fn connect_first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.iter();
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let mut next_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last_error = error;
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {
                if let Some(address) = waiting.next() {
                    attempts.push(TcpStream::connect(*address));
                }
                next_at = Instant::now() + ATTEMPT_DELAY;
            }
            else => return Err(last_error),
        }
    }
}

/// RFC 8305 §5: "Connection Attempt Delay".
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns_in_the_resolvers_order() {
        let resolved = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleave(resolved), turns);
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_gives_way_to_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let stream = connect_first(&[closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert_eq!(
            connect_first(&[closed]).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert_eq!(
            connect_first(&[]).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[tokio::test]
    async fn plain_tcp_goes_to_this_machine_only() {
        // An address of the documentation range (RFC 5737): nothing is sent to it.
        let endpoint = Endpoint {
            host: "192.0.2.1".into(),
            port: 5672,
            loopback_only: true,
        };
        let error = dial(&endpoint, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotLoopback(host) if host == "192.0.2.1"));
    }
}
