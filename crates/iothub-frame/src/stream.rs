//! The guarded stream and its fuse.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf};
use tokio::sync::{Notify, watch};

use crate::guard::{FrameGuard, FrameLimits};
use crate::{Violation, writer};

/// The bounds of a [`Guarded`] stream.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What the guard lets through.
    pub frames: FrameLimits,
    /// Above this many bytes that wait to be written, `poll_write` is pending. Default 16 MiB.
    ///
    /// A seat belt: an engine that waits there can't read either. Keep what one connection may have in flight below
    /// half of it.
    pub out_high: usize,
    /// How long a peer may take no byte while some wait. Default 30 s. Shorter finds a dead peer sooner and gives up
    /// on a slow link sooner; the least rate that passes is 16 KiB in this time.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frames: FrameLimits::default(),
            out_high: 16 * 1024 * 1024,
            stall: Duration::from_secs(30),
        }
    }
}

/// Why a guarded stream ended.
///
/// # Delivery
/// What had been written may have reached the peer or not: this side can't tell, and what still waits is thrown away
/// unless only the peer has ended its side.
///
/// # Cancel safety
/// It stays the reason: reads and writes that come later fail with it, whatever was dropped before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blown {
    /// The peer sent what no sound peer sends.
    Misbehaved(Violation),
    /// The peer took no byte for [`Limits::stall`].
    Stalled,
    /// A write failed.
    WriteFailed(io::ErrorKind),
    /// A read failed.
    ReadFailed(io::ErrorKind),
    /// The peer ended its side in the middle of a frame.
    Truncated,
    /// The peer ended its side between two frames. What waits is still written: a peer may close only its half.
    PeerClosed,
    /// The owner blew the fuse.
    Stopped,
}

impl Blown {
    pub(crate) fn stops_writes(self) -> bool {
        self != Self::PeerClosed
    }

    fn to_io_error(self) -> io::Error {
        let kind = match self {
            Self::Misbehaved(violation) => return io::Error::new(io::ErrorKind::InvalidData, violation),
            Self::Stalled => io::ErrorKind::TimedOut,
            Self::WriteFailed(kind) | Self::ReadFailed(kind) => kind,
            Self::Truncated | Self::PeerClosed => io::ErrorKind::UnexpectedEof,
            Self::Stopped => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, self)
    }
}

impl fmt::Display for Blown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misbehaved(violation) => write!(f, "the peer breaks the protocol: {violation}"),
            Self::Stalled => f.write_str("the peer stopped reading"),
            Self::WriteFailed(kind) => write!(f, "writing failed: {kind}"),
            Self::ReadFailed(kind) => write!(f, "reading failed: {kind}"),
            Self::Truncated => f.write_str("the peer ended the connection inside a frame"),
            Self::PeerClosed => f.write_str("the peer ended the connection"),
            Self::Stopped => f.write_str("the connection was stopped"),
        }
    }
}

impl std::error::Error for Blown {}

/// A stream with a [`FrameGuard`] on what arrives and a task of its own for what leaves.
///
/// Writes never wait for the peer below [`Limits::out_high`]: they go to a buffer that the task swaps out, so frames
/// written in one go leave together. `poll_flush` is always ready. Dropping the stream, or shutting it down, gives
/// what waits one more [`Limits::stall`] to leave, then closes.
///
/// After the fuse has blown, reads and writes fail at once and what waits is thrown away.
pub struct Guarded<S> {
    reader: ReadHalf<S>,
    guard: FrameGuard,
    unread: BytesMut,
    /// How many bytes at the front of `unread` the guard has passed.
    passed: usize,
    shared: Arc<Shared>,
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Guarded<S> {
    /// Guards `stream`, and gives the fuse that ends it.
    ///
    /// # Panics
    /// Outside a tokio runtime, since it spawns the task that writes.
    pub fn new(stream: S, limits: Limits) -> (Self, Fuse) {
        Self::with_prefix(stream, &[], limits)
    }

    /// Like [`Guarded::new`], with bytes that were read off the stream before: a listener peeks at the protocol header
    /// to see who is there.
    ///
    /// # Panics
    /// Outside a tokio runtime, since it spawns the task that writes.
    pub fn with_prefix(stream: S, prefix: &[u8], limits: Limits) -> (Self, Fuse) {
        let (reader, half) = tokio::io::split(stream);
        let shared = Arc::new(Shared::new(limits.out_high));
        tokio::spawn(writer::write_out(half, Arc::clone(&shared), limits.stall));
        let guard = FrameGuard::new(limits.frames);
        let fuse = Fuse {
            shared: Arc::clone(&shared),
        };
        (
            Self {
                reader,
                guard,
                unread: BytesMut::from(prefix),
                passed: 0,
                shared,
            },
            fuse,
        )
    }
}

impl<S: AsyncRead> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            // Registered before the look at the fuse, so that no blow falls between the two.
            this.shared.lock().reader = Some(cx.waker().clone());
            if let Some(why) = this.shared.stop() {
                return Poll::Ready(Err(why.to_io_error()));
            }
            if this.passed == 0 {
                match this.guard.check(&this.unread) {
                    Ok(passed) => this.passed = passed,
                    Err(violation) => return this.fail(Blown::Misbehaved(violation)),
                }
            }
            if this.passed > 0 {
                let taken = this.passed.min(buf.remaining());
                buf.put_slice(&this.unread[..taken]);
                this.unread.advance(taken);
                this.passed -= taken;
                return Poll::Ready(Ok(()));
            }
            let read = read_more(Pin::new(&mut this.reader), cx, &mut this.unread);
            match ready!(read) {
                Err(error) => return this.fail(Blown::ReadFailed(error.kind())),
                Ok(0) if this.unread.is_empty() => {
                    this.shared.blow(Blown::PeerClosed);
                    return Poll::Ready(Ok(()));
                }
                Ok(0) => return this.fail(Blown::Truncated),
                Ok(_) => {}
            }
        }
    }
}

impl<S> Guarded<S> {
    fn fail<T>(&self, why: Blown) -> Poll<io::Result<T>> {
        self.shared.blow(why);
        // The first reason stays the reason.
        Poll::Ready(Err(self.shared.why().unwrap_or(why).to_io_error()))
    }
}

/// One read onto the end of `buffer`, by way of the stack: a connection that waits for bytes holds no room for them.
fn read_more<R: AsyncRead>(
    reader: Pin<&mut R>,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK];
    let mut space = ReadBuf::uninit(&mut chunk);
    ready!(reader.poll_read(cx, &mut space))?;
    buffer.extend_from_slice(space.filled());
    Poll::Ready(Ok(space.filled().len()))
}

impl<S> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.poll_append(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shared.stop() {
            Some(why) => Err(why.to_io_error()),
            None => Ok(()),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.poll_close(cx)
    }
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        self.shared.start_closing();
    }
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("why", &self.shared.why())
            .finish_non_exhaustive()
    }
}

/// Ends a [`Guarded`] stream, and tells why it ended.
///
/// Whoever owns a connection keeps its fuse: an engine that waits for a silent peer's answer can only be ended from
/// below.
#[derive(Clone)]
pub struct Fuse {
    shared: Arc<Shared>,
}

impl Fuse {
    /// Ends the stream: reads and writes fail from now on, what waits is thrown away. The first reason stays.
    pub fn blow(&self, why: Blown) {
        self.shared.blow(why);
    }

    /// Why the stream ended, once it has.
    #[must_use]
    pub fn why(&self) -> Option<Blown> {
        self.shared.why()
    }

    /// Waits until the stream has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn ended(&self) -> Blown {
        let mut ended = self.shared.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(why) => why.unwrap_or(Blown::Stopped),
            Err(_) => Blown::Stopped, // unreachable: `self` keeps the sender
        }
    }

    /// Waits until the task that writes has ended: what could leave has left, and the socket is closed as soon as
    /// the reading side is dropped too.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn drained(&self) {
        let mut done = self.shared.done.subscribe();
        let _ = done.wait_for(|done| *done).await;
    }
}

impl fmt::Debug for Fuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fuse").field("why", &self.why()).finish()
    }
}

/// What the stream, its writer task and its fuses share.
pub(crate) struct Shared {
    out_high: usize,
    state: Mutex<State>,
    work: Notify,
    /// Whether `ended` holds what stops writes; asked with each frame.
    stopped: AtomicBool,
    ended: watch::Sender<Option<Blown>>,
    done: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    out: BytesMut,
    closing: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    fn new(out_high: usize) -> Self {
        Self {
            out_high,
            state: Mutex::default(),
            work: Notify::new(),
            stopped: AtomicBool::new(false),
            ended: watch::Sender::new(None),
            done: watch::Sender::new(false),
        }
    }

    /// Marks the end; the first reason stays, but that a peer's orderly end gives way to a real fault.
    pub(crate) fn blow(&self, why: Blown) {
        let first = self.ended.send_if_modified(|ended| {
            let replace = ended.is_none_or(|old| old == Blown::PeerClosed && why != Blown::PeerClosed);
            if replace {
                *ended = Some(why);
            }
            replace
        });
        if first && why.stops_writes() {
            self.stopped.store(true, Ordering::Release);
            let mut state = self.lock();
            state.out = BytesMut::new();
            state.wake();
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Blown>> {
        self.ended.subscribe()
    }

    /// The bytes that wait, or `None` once the stream is closing and nothing waits.
    ///
    /// Only the writer task calls it.
    pub(crate) async fn next_chunk(&self) -> Option<BytesMut> {
        loop {
            {
                let mut state = self.lock();
                if !state.out.is_empty() {
                    let chunk = std::mem::take(&mut state.out);
                    if let Some(writer) = state.writer.take() {
                        writer.wake();
                    }
                    return Some(chunk);
                }
                if state.closing {
                    return None;
                }
            }
            self.work.notified().await;
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    pub(crate) fn writer_is_done(&self) {
        self.done.send_replace(true);
        self.lock().wake();
    }

    fn why(&self) -> Option<Blown> {
        *self.ended.borrow()
    }

    /// Why nothing may be read or written any more, if that is so.
    fn stop(&self) -> Option<Blown> {
        if !self.stopped.load(Ordering::Acquire) {
            return None;
        }
        self.why()
    }

    fn poll_append(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if let Some(why) = self.stop() {
            return Poll::Ready(Err(why.to_io_error()));
        }
        if state.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.out.len() >= self.out_high {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.out.extend_from_slice(bytes);
        drop(state);
        self.work.notify_one();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().writer = Some(cx.waker().clone());
        if *self.done.borrow() {
            return Poll::Ready(Ok(()));
        }
        self.start_closing();
        Poll::Pending
    }

    fn start_closing(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held left nothing half done: every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// How much is asked of the stream at once, in bytes.
const READ_CHUNK: usize = 16 * 1024;
