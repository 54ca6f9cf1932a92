//! How a client reaches the network: from names to addresses, from addresses to streams of bytes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

/// Looks names up and connects to addresses: the operating system ([`SystemNetwork`]), or a resolver, a tunnel or a
/// simulated network of one's own.
///
/// A client asks for addresses anew at each attempt, tries them in the order of RFC 8305, and speaks TLS, WebSocket and
/// AMQP over the stream that it gets first. It bounds each of the two by its
/// [operation timeout](crate::DeviceClientBuilder::operation_timeout).
///
/// # Delivery
/// What a stream took counts for nothing before the hub has said so: a network may lose any of it with a connection,
/// and the client sends again what has no outcome.
///
/// # Cancel safety
/// Futures are dropped at whatever point they are: those of addresses that lost, those whose time is up, and all when the
/// client ends. A connection that was being made has to end with its future.
pub trait Network: Send + Sync + 'static {
    /// The addresses of `host`, which is a DNS name or an IP address without brackets, each with this port; the
    /// preferred first.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;

    /// Opens a stream to this address.
    fn connect(&self, address: SocketAddr) -> Connecting<'_>;
}

/// What [`Network::resolve`] gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// What [`Network::connect`] gives.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// A stream of bytes in both directions.
///
/// # Delivery
/// It gives bytes in their order and leaves none out, or it ends. What it took may be lost with it: the client takes no
/// write for a delivery.
///
/// # Cancel safety
/// A client that has no time left drops the stream without a farewell, with reads and writes under way: whatever it
/// holds is to be free then.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// The operating system's resolver and its TCP, with `TCP_NODELAY`.
///
/// # Delivery
/// As [`Network`] says: what TCP took may be lost with its connection, and is sent again.
///
/// # Cancel safety
/// A dropped `connect` closes its socket. A dropped `resolve` leaves the look-up to a thread of the runtime, which ends
/// with it; nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNetwork;

impl Network for SystemNetwork {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> Connecting<'_> {
        Box::pin(async move { Ok(Box::new(tcp(address).await?) as Box<dyn ByteStream>) })
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Frames are written whole, so waiting for more to say only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_systems_streams_wait_for_no_more_to_say() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = tcp(listener.local_addr().unwrap()).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn what_is_dropped_of_the_systems_network_leaves_no_stream() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connecting = SystemNetwork.connect(address);
        // The kernel connects all the same; what it hears then is that nobody is there.
        let _ = (&mut connecting).now_or_never();
        drop(connecting);
        drop(SystemNetwork.resolve("localhost", address.port()));
        let (mut heard, _) = listener.accept().await.unwrap();
        let end = heard.read(&mut [0; 1]).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
