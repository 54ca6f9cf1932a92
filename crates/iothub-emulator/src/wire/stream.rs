//! The stream under the engine: translated, and never further ahead than the hub can follow.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::translate::{Inward, Outward};
use super::{AMQP_HEADER, MAX_UNREAD, READ_CHUNK, UNREAD_TIMEOUT};

/// The payload bytes of a connection that went to the engine and have not come out at a link.
///
/// The engine's queues are counted in frames, 65,535 of them, and would hold gigabytes; a client that sends more
/// than it was asked for is read no further until the links have caught up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    bytes: AtomicUsize,
    reader: Mutex<Option<Waker>>,
}

impl Unread {
    fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// A link has taken `bytes`.
    pub(crate) fn taken(&self, bytes: usize) {
        let all = |unread: usize| Some(unread.saturating_sub(bytes));
        let _ = self
            .0
            .bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, all);
        if let Some(reader) = self.reader().take() {
            reader.wake();
        }
    }

    /// Whether more may be read; else the reader is woken when a link takes something.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        *self.reader() = Some(cx.waker().clone());
        // Again, since a link may have taken the last byte in between.
        if self.has_room() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn has_room(&self) -> bool {
        self.0.bytes.load(Ordering::Acquire) < MAX_UNREAD
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between the guarded stream `S` and the engine. The engine finds the AMQP header at its beginning, which the
/// connection has read to see whether SASL comes first.
pub(crate) struct Translated<S> {
    inner: S,
    inward: Inward,
    ready: BytesMut,
    outward: Outward,
    unwritten: BytesMut,
    unread: Unread,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Translated<S> {
    pub(crate) fn new(inner: S, container_id: String, unread: Unread) -> Self {
        Self {
            inner,
            inward: Inward::default(),
            ready: BytesMut::from(&AMQP_HEADER[..]),
            outward: Outward::new(container_id),
            unwritten: BytesMut::new(),
            unread,
            waiting: None,
        }
    }

    /// Pending while the links are behind; an error when they have taken nothing for too long, since then they
    /// never will: the client sends to links that are gone.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unread.poll_room(cx).is_ready() {
            self.waiting = None;
            return Poll::Ready(Ok(()));
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(UNREAD_TIMEOUT)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "more was sent than any link took",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Translated<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.ready.is_empty() {
            ready!(this.poll_room(cx))?;
            let unread = this.inward.unread();
            let old = unread.len();
            unread.resize(old + READ_CHUNK, 0);
            let mut space = ReadBuf::new(&mut unread[old..]);
            let outcome = Pin::new(&mut this.inner).poll_read(cx, &mut space);
            let read = space.filled().len();
            unread.truncate(old + read);
            ready!(outcome)?;
            if read == 0 {
                return Poll::Ready(Ok(())); // the end: the guard has made sure that it is not inside a frame
            }
            let payload = this.inward.translate(&mut this.ready)?;
            this.unread.add(payload);
        }
        let taken = this.ready.len().min(buf.remaining());
        buf.put_slice(&this.ready[..taken]);
        this.ready.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Translated<S> {
    fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unwritten))?;
            self.unwritten.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Translated<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pass_on(cx))?;
        this.outward.translate(bytes, &mut this.unwritten);
        // What does not go now goes with the next write or flush: the bytes are taken either way.
        match this.poll_pass_on(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pass_on(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pass_on(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for Translated<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translated").finish_non_exhaustive()
    }
}
