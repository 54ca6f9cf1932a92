//! AMQP over WebSocket, as a stream of bytes (the OASIS binding, as IoT Hub has it): binary messages whose borders mean
//! nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Sink, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::dial::Endpoint;
use crate::config::HTTPS_PORT;
use crate::error::{ConnectError, Phase, WebSocketFailure};

/// Upgrades `stream`, and sees to it that the server speaks IoT Hub's sub-protocol.
pub(crate) async fn upgrade<S>(
    stream: S,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<WebSocket<S>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |why| ConnectError::WebSocket {
        endpoint: endpoint.to_string(),
        why,
    };
    let request = request(endpoint).map_err(|error| failed(failure(error)))?;
    let upgrading = client_async_with_config(request, stream, Some(config()));
    let (stream, _) = timeout(limit, upgrading)
        .await
        .map_err(|_| ConnectError::TimedOut {
            phase: Phase::WebSocket,
            after: limit,
        })?
        .map_err(|error| failed(failure(error)))?;
    tracing::debug!("WebSocket open");
    Ok(WebSocket {
        stream,
        unread: Bytes::new(),
        closed: false,
    })
}

/// That the server names the sub-protocol in its answer is seen to by the library, since the request asks for it.
fn request(endpoint: &Endpoint) -> Result<Request, Error> {
    let place = if endpoint.port == HTTPS_PORT {
        let text = endpoint.to_string();
        text.trim_end_matches(":443").to_owned()
    } else {
        endpoint.to_string()
    };
    let mut request = format!("wss://{place}{PATH}").into_client_request()?;
    let protocol = HeaderValue::from_static(SUB_PROTOCOL);
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    Ok(request)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        // Every piece is flushed by who writes it.
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(MOST_UNSENT)
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE))
}

fn failure(error: Error) -> WebSocketFailure {
    match error {
        Error::Http(response) => WebSocketFailure::Refused {
            status: response.status().as_u16(),
        },
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => WebSocketFailure::SubProtocol,
        Error::Io(error) => WebSocketFailure::Ended(error.kind().to_string()),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            WebSocketFailure::Ended(io::ErrorKind::UnexpectedEof.to_string())
        }
        other => WebSocketFailure::NotWebSocket(other.to_string()),
    }
}

/// An open WebSocket, as a stream of bytes.
///
/// Pings are answered while it is read. The server's close is the end of the stream, and is answered too.
pub(crate) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// What is left of the last message.
    unread: Bytes,
    /// The server has closed.
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && !self.closed {
            match ready!(self.stream.poll_next_unpin(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Close(_))) => {
                    // The library has the answer ready, and would now wait for the server to end the connection.
                    // What of the answer does not leave at once leaves when this side shuts down.
                    let _ = Pin::new(&mut self.stream).poll_flush(cx);
                    self.closed = true;
                    return Poll::Ready(Ok(()));
                }
                // Text has no meaning here. Pings are answered by the library.
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let taken = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..taken]);
        self.unread.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(&mut self.stream);
        ready!(stream.as_mut().poll_ready(cx)).map_err(io_error)?;
        let piece = &bytes[..bytes.len().min(BUFFER)];
        let message = Message::Binary(Bytes::copy_from_slice(piece));
        stream.start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_close(cx)).map_err(io_error)?;
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match error {
        Error::Io(error) => return error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => io::ErrorKind::UnexpectedEof,
        Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_) => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Where IoT Hub takes AMQP over WebSocket, and by which sub-protocol.
const PATH: &str = "/$iothub/websocket";
const SUB_PROTOCOL: &str = "AMQPWSB10";

/// In bytes: as much as is written or read at once.
const BUFFER: usize = 16 * 1024;

/// In bytes: a piece and its header, that could not be written yet, and a control frame.
const MOST_UNSENT: usize = 64 * 1024;

/// In bytes. A server may put several AMQP frames of up to 64 KiB into one message.
const LONGEST_MESSAGE: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
