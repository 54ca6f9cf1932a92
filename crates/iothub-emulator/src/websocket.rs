//! AMQP over WebSocket (RFC 6455): the request for it, and binary messages as a stream of bytes.
//!
//! Where messages begin and end means nothing: clients split AMQP frames over messages and put several into one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Whether the request asks for a WebSocket, rightly or not.
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let asked = request.headers().get(UPGRADE);
    asked.is_some_and(|asked| asked.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Why a request for WebSocket is not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotGranted {
    #[error("{0}")]
    Request(Error),
    #[error("none of the sub-protocols is one of {}", SUB_PROTOCOLS.join(", "))]
    SubProtocol,
}

/// Answers a request on any path and with any query: the SDKs do not agree on them.
pub(crate) fn grant<B, R>(request: &Request<B>, body: R) -> Result<Response<R>, NotGranted> {
    let mut response = create_response_with_body(request, || body).map_err(NotGranted::Request)?;
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let offered: Vec<&str> = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let chosen = SUB_PROTOCOLS.iter().find(|known| offered.contains(known));
    let chosen = chosen.ok_or(NotGranted::SubProtocol)?;
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    Ok(response)
}

/// The bytes that binary messages carry, as one stream. Pings are answered, a close ends it.
pub(crate) struct Messages<S> {
    inner: WebSocketStream<S>,
    /// Of the last message: what was not read yet.
    unread: Bytes,
    /// The client's side has ended.
    ended: bool,
    /// We have said that ours has.
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Messages<S> {
    /// Over a stream on which the request has been granted.
    pub(crate) async fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        Self {
            inner: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await,
            unread: Bytes::new(),
            ended: false,
            closing: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Messages<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() && !this.ended {
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.unread = bytes,
                Some(Ok(Message::Text(_))) => {
                    let message = "the client sent text in a WebSocket for AMQP";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
                }
                // Answers go out by themselves.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
                None => this.ended = true,
            }
        }
        let taken = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..taken]);
        this.unread.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Messages<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_ready(cx)).map_err(as_io)?;
        let taken = bytes.len().min(MAX_SENT);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..taken]));
        Pin::new(&mut this.inner).start_send(message).map_err(as_io)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx).map_err(as_io)
    }

    /// Says that there will be no more. The stream below stays open for the client's answer; once the client has closed
    /// too, it ends with a word as well.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            ready!(Pin::new(&mut this.inner).poll_ready(cx)).map_err(as_io)?;
            this.closing = true;
            match Pin::new(&mut this.inner).start_send(Message::Close(None)) {
                // The client has closed, and its close was answered.
                Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => {}
                Err(error) => return Poll::Ready(Err(as_io(error))),
            }
        }
        ready!(Pin::new(&mut this.inner).poll_flush(cx)).map_err(as_io)?;
        if this.ended {
            return Pin::new(this.inner.get_mut()).poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> fmt::Debug for Messages<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

fn as_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// Best first: that of IoT Hub and Event Hubs, and that of the standard (AMQP WebSocket binding, §2.1).
const SUB_PROTOCOLS: [&str; 2] = ["AMQPWSB10", "amqp"];
/// The most that one message of a client may hold, in bytes: several times an AMQP frame, and what it may weigh on
/// the hub before anything of it is understood.
const MAX_MESSAGE: usize = 1024 * 1024;
/// The most that one of ours holds, in bytes.
const MAX_SENT: usize = 32 * 1024;
const READ_BUFFER: usize = 4 * 1024;
/// What waits for the socket to take it is bounded by the stream above, which stops at each message.
const WRITE_BUFFER: usize = 16 * 1024 * 1024;
