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
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// The operating system's resolver and its TCP, with `TCP_NODELAY`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNetwork;

impl Network for SystemNetwork {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> Connecting<'_> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            // Frames are written whole, so waiting for more to say only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY can't be set");
            }
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}
