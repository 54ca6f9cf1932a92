//! The TCP socket under everything, and the ways in which it can be ended from above.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that ends as its [`Ender`] said.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    ender: Ender,
}

/// How a socket is to end once everything above it lets go; one of no socket does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ender(Arc<AtomicBool>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> (Self, Ender) {
        let ender = Ender::default();
        (
            Self {
                stream,
                ender: ender.clone(),
            },
            ender,
        )
    }
}

impl Ender {
    /// The socket is reset when it is let go, instead of ended.
    pub(crate) fn reset(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.ender.0.load(Ordering::Acquire) {
            // If it cannot be, it ends without.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
