//! The stream under the engine: translated, and never further ahead than the hub can follow.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::outgoing::Outgoing;
use super::outward::Outward;
use super::translate::{Inward, Overstep};
use super::{AMQP_HEADER, ANSWER_TIMEOUT, MAX_UNREAD, MAX_UNSAID, READ_CHUNK, UNREAD_TIMEOUT};
use crate::hub::Impairments;
use crate::impairment::Impairment;

/// The weight of what a connection's frames brought to the engine and has not come out at a link, in bytes.
///
/// The engine's queues are counted in frames, 65,535 of them, and would hold gigabytes; a client that sends more
/// than it was asked for is read no further until the links have caught up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intake(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    unread: AtomicUsize,
    reader: Mutex<Option<Waker>>,
    fault: OnceLock<Fault>,
}

/// Why the stream gave its client up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Overstep(#[from] Overstep),
    #[error("more was sent than any link took")]
    Unread,
}

impl Intake {
    fn add(&self, weight: usize) {
        self.0.unread.fetch_add(weight, Ordering::AcqRel);
    }

    /// This much has come out, or never will.
    pub(crate) fn taken(&self, weight: usize) {
        let all = |unread: usize| Some(unread.saturating_sub(weight));
        let _ = self
            .0
            .unread
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, all);
        if let Some(reader) = self.reader().take() {
            reader.wake();
        }
    }

    /// Why the stream gave its client up, once it has.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.0.fault.get().copied()
    }

    fn fail(&self, fault: Fault) -> io::Error {
        // The first one counts.
        let _ = self.0.fault.set(fault);
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }

    /// Ready when less than `limit` is on its way; else the reader is woken when something comes out.
    fn poll_below(&self, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_below(limit) {
            return Poll::Ready(());
        }
        *self.reader() = Some(cx.waker().clone());
        // Again, since the last of it may have come out in between.
        if self.is_below(limit) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn is_below(&self, limit: usize) -> bool {
        self.0.unread.load(Ordering::Acquire) < limit
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
    outgoing: Outgoing,
    unwritten: BytesMut,
    intake: Intake,
    waiting: Option<Pin<Box<Sleep>>>,
    impairment: Impairment,
    /// The client's side of the stream has ended.
    ended: bool,
    /// The client has answered our `close`, or has had its time to.
    answered: bool,
}

impl<S> Translated<S> {
    pub(crate) fn new(
        inner: S,
        container_id: String,
        intake: Intake,
        outgoing: Outgoing,
        impairment: Impairment,
    ) -> Self {
        Self {
            inner,
            inward: Inward::new(outgoing.clone()),
            ready: BytesMut::from(&AMQP_HEADER[..]),
            outward: Outward::new(container_id, outgoing.clone()),
            outgoing,
            unwritten: BytesMut::new(),
            intake,
            waiting: None,
            impairment,
            ended: false,
            answered: false,
        }
    }

    /// Waits until less than `limit` is on its way to the links, or until `patience` is at its end.
    fn poll_below(&mut self, limit: usize, patience: Duration, cx: &mut Context<'_>) -> Poll<Waited> {
        if self.intake.poll_below(limit, cx).is_ready() {
            self.waiting = None;
            return Poll::Ready(Waited::Enough);
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(Waited::InVain)
    }

    /// Before the engine learns that the connection ends: the links take what came before. They will not take what
    /// was sent to one that we have ended, hence the limit.
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_below(1, ANSWER_TIMEOUT, cx).map(drop)
    }
}

impl<S: AsyncRead + Unpin> Translated<S> {
    /// After our `close`: waits for the client's, which the engine does not any more, or until it has had its time. A
    /// stream that is closed with something unread is reset, and then the client may never see what we said.
    fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !(self.answered || self.ended || self.inward.skip_to_close()) {
            match self.poll_read_more(cx) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(_)) => break,
                Poll::Pending => {}
            }
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(sleep(ANSWER_TIMEOUT)));
            ready!(waiting.as_mut().poll(cx));
            break;
        }
        self.answered = true;
        Poll::Ready(())
    }

    /// One read of what the guard has passed.
    fn poll_read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // By way of the stack: a connection that waits for bytes holds no room for them.
        let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut chunk))?;
        self.inward.unread().extend_from_slice(chunk.filled());
        // The guard has made sure that it is not inside a frame.
        self.ended = chunk.filled().is_empty();
        Poll::Ready(Ok(()))
    }
}

enum Waited {
    Enough,
    InVain,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Translated<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let impairments = this.impairment.watch(cx);
        if this.impairment.is_finished() {
            return Poll::Ready(Ok(()));
        }
        // The engine may have nothing to write when what held its words back has ended.
        this.outward.release(impairments, &mut this.unwritten);
        if let Poll::Ready(Err(error)) = this.poll_pass_on(cx) {
            return Poll::Ready(Err(error));
        }
        if impairments.has(Impairments::UNREAD) {
            return Poll::Pending;
        }
        for channel in this.outgoing.take_ended() {
            let gone = this.inward.end(channel, &mut this.ready);
            this.intake.taken(gone);
        }
        if this.outgoing.is_closed() {
            this.inward.close(&mut this.ready);
        }
        while this.ready.is_empty() {
            // The engine reads whenever it has nothing to write, so this is where our own frames go. What does not
            // go now goes with the engine's next ones.
            this.outgoing.poll_frames(cx, &mut this.unwritten);
            if !this.unwritten.is_empty() && this.poll_pass_on(cx)?.is_ready() {
                let _ = Pin::new(&mut this.inner).poll_flush(cx)?;
            }
            if this.unwritten.len() >= MAX_UNSAID {
                // Who asks and does not listen is heard no further. What was said last waits to be passed on, so the
                // engine is woken when it can be.
                return Poll::Pending;
            }
            if this.inward.holds_close() {
                ready!(this.poll_settled(cx));
                this.inward.release_close(&mut this.ready);
                this.answered = true;
                break;
            }
            if this.ended {
                ready!(this.poll_settled(cx));
                return Poll::Ready(Ok(()));
            }
            if let Waited::InVain = ready!(this.poll_below(MAX_UNREAD, UNREAD_TIMEOUT, cx)) {
                // The links never will take it: the client sends to such as are gone.
                return Poll::Ready(Err(this.intake.fail(Fault::Unread)));
            }
            ready!(this.poll_read_more(cx))?;
            let translated = this.inward.translate(&mut this.ready);
            let weight = translated.map_err(|overstep| this.intake.fail(overstep.into()))?;
            this.intake.add(weight.came);
            this.intake.taken(weight.gone);
        }
        let taken = this.ready.len().min(buf.remaining());
        buf.put_slice(&this.ready[..taken]);
        this.ready.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Translated<S> {
    fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.impairment.now().has(Impairments::SILENT) {
            // It is the reader that goes on with this once there is nothing wrong.
            return if self.unwritten.len() < MAX_UNSAID {
                Poll::Ready(Ok(()))
            } else {
                self.impairment.watch(cx);
                Poll::Pending
            };
        }
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unwritten))?;
            self.unwritten.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Translated<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pass_on(cx))?;
        let max_frame = this.inward.peer_max_frame().unwrap_or(u32::MAX);
        this.outward
            .translate(bytes, max_frame, this.impairment.now(), &mut this.unwritten);
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
        if this.outgoing.is_closed() {
            let _ = Pin::new(&mut this.inner).poll_flush(cx)?;
            ready!(this.poll_answered(cx));
        }
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for Translated<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translated").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::wire::MAX_FRAME_SIZE;

    /// `begin`, an attach with handle 0, and transfers on it that hold more than may be unread.
    fn flood() -> Vec<u8> {
        let mut flood = Vec::new();
        let mut put = |body: &[u8]| {
            let size = u32::try_from(body.len() + 8).unwrap();
            flood.extend_from_slice(&size.to_be_bytes());
            flood.extend_from_slice(&[2, 0, 0, 0]);
            flood.extend_from_slice(body);
        };
        put(&[0x00, 0x53, 0x11, 0xc0, 5, 4, 0x40, 0x43, 0x43, 0x43]);
        put(&[0x00, 0x53, 0x12, 0xc0, 6, 3, 0xa1, 1, b'n', 0x43, 0x42]);
        let payload = vec![0; MAX_FRAME_SIZE as usize / 2];
        let transfer = [&[0x00, 0x53, 0x14, 0xc0, 2, 1, 0x43], &payload[..]].concat();
        for _ in 0..=MAX_UNREAD / payload.len() {
            put(&transfer);
        }
        flood
    }

    /// The engine's side, with the flood on its way, read until no more comes.
    async fn flooded() -> (Translated<tokio::io::DuplexStream>, Intake) {
        let (ours, mut theirs) = duplex(64 * 1024);
        let intake = Intake::default();
        let impairment = Impairment::default();
        let mut stream = Translated::new(
            ours,
            "id".to_owned(),
            intake.clone(),
            Outgoing::default(),
            impairment,
        );
        tokio::spawn(async move {
            theirs.write_all(&flood()).await.unwrap();
            // And one more, so that there is something to wait for.
            theirs.write_all(&[0, 0, 0, 8, 2, 0, 0, 0]).await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut buffer = vec![0; 64 * 1024];
        while timeout(Duration::from_secs(1), stream.read(&mut buffer))
            .await
            .is_ok()
        {}
        assert!(!intake.is_below(MAX_UNREAD));
        (stream, intake)
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_link_takes_stops_the_reading_and_then_the_connection() {
        let (mut stream, intake) = flooded().await;
        let before = Instant::now();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.to_string(), "more was sent than any link took");
        assert_eq!(intake.fault(), Some(Fault::Unread));
        // One second of it was spent in `flooded`.
        assert_eq!(before.elapsed(), UNREAD_TIMEOUT - Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn reading_goes_on_when_a_link_has_taken_something() {
        let (mut stream, intake) = flooded().await;
        let reading = tokio::spawn(async move { stream.read_u8().await });
        tokio::task::yield_now().await;
        intake.taken(MAX_UNREAD);
        assert!(timeout(Duration::from_secs(1), reading).await.is_ok());
        assert_eq!(intake.fault(), None);
    }
}
