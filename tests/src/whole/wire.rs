//! A connection in memory that is as bad as its plan: slow, in slices, and gone at a byte or a frame.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use super::links::Observer;
use super::trace::Trace;
use crate::faults::{Fault, Place, Side};

/// What becomes of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct WirePlan {
    pub(super) fault: Option<(Place, Fault)>,
    /// How long a byte is on its way, by the side that sends it.
    pub(super) delay: [Duration; 2],
    /// No read gives more bytes than this.
    pub(super) slice: usize,
    /// More bytes than this are not on their way at once, by side.
    pub(super) room: usize,
}

struct Chunk {
    due: Instant,
    bytes: VecDeque<u8>,
}

#[derive(Default)]
struct Lane {
    chunks: VecDeque<Chunk>,
    on_the_way: usize,
    written: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Nothing more is written here.
    ended: bool,
}

/// Both directions; the first is from the client to the hub.
pub(super) struct Wire {
    plan: WirePlan,
    lanes: [Lane; 2],
    struck: Option<Fault>,
    began: Instant,
    /// When an end was dropped, by side.
    gone: [Option<Instant>; 2],
    observer: Observer,
    trace: Arc<Mutex<Trace>>,
    number: u64,
    /// How often was there nothing to read at this instant, with nothing read or written between.
    vain: (Instant, u32),
    spins: Arc<Notify>,
}

/// An end of a connection.
pub(super) struct End {
    wire: Arc<Mutex<Wire>>,
    side: usize,
    timer: Pin<Box<Sleep>>,
}

/// All connections of a world.
#[derive(Clone, Default)]
pub(super) struct Wires(Arc<Mutex<Vec<Weak<Mutex<Wire>>>>>);

impl Wires {
    pub(super) fn add(&self, wire: &Arc<Mutex<Wire>>) {
        lock(&self.0).push(Arc::downgrade(wire));
    }

    /// When the next byte comes that is on its way.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let wires = self.all();
        let dues = wires.iter().filter_map(|wire| lock(wire).next_due(now));
        dues.min()
    }

    /// Breaks all that are not broken.
    pub(super) fn reset(&self) {
        for wire in self.all() {
            let mut wire = lock(&wire);
            if wire.struck.is_none() {
                wire.strike(Fault::Reset);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Mutex<Wire>>> {
        let mut wires = lock(&self.0);
        wires.retain(|wire| wire.strong_count() > 0);
        wires.iter().filter_map(Weak::upgrade).collect()
    }
}

/// The client's end and the hub's.
pub(super) fn connect(
    plan: WirePlan,
    observer: Observer,
    trace: Arc<Mutex<Trace>>,
    number: u64,
    spins: Arc<Notify>,
) -> (End, End, Arc<Mutex<Wire>>) {
    let wire = Arc::new(Mutex::new(Wire {
        plan,
        lanes: [Lane::default(), Lane::default()],
        struck: None,
        began: Instant::now(),
        gone: [None; 2],
        observer,
        trace,
        number,
        vain: (Instant::now(), 0),
        spins,
    }));
    let end = |side| End {
        wire: Arc::clone(&wire),
        side,
        timer: Box::pin(sleep_until(Instant::now())),
    };
    (end(CLIENT), end(HUB), Arc::clone(&wire))
}

impl Wire {
    /// Whether the client held on to it when it had the other one already. Both may be at one instant.
    pub(super) fn is_held_beside(&self, later: &Self) -> bool {
        self.gone[CLIENT].is_none_or(|gone| gone > later.began)
    }

    /// Was broken by its plan.
    pub(super) fn was_struck(&self) -> bool {
        self.struck.is_some()
    }

    /// What the client did on it that is against the rules.
    pub(super) fn wrong(&mut self) -> Vec<String> {
        self.observer.wrong()
    }

    /// When the next byte comes that is on its way.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let fronts = self.lanes.iter().filter_map(|lane| lane.chunks.front());
        fronts.map(|chunk| chunk.due).filter(|due| *due > now).min()
    }

    fn strike(&mut self, fault: Fault) {
        self.struck = Some(fault);
        self.plan.fault = None;
        self.trace().note(format_args!("{} {fault:?}", self.number));
        if fault == Fault::Fin {
            return self.wake_all(); // what is on its way still comes
        }
        for lane in &mut self.lanes {
            lane.chunks.clear();
            lane.on_the_way = 0;
        }
        self.wake_all();
    }

    fn wake_all(&mut self) {
        for lane in &mut self.lanes {
            for waker in [lane.reader.take(), lane.writer.take()].into_iter().flatten() {
                waker.wake();
            }
        }
    }

    fn trace(&self) -> MutexGuard<'_, Trace> {
        lock(&self.trace)
    }

    /// How many of these bytes go before the connection breaks.
    fn before_fault(&mut self, side: usize, bytes: &[u8]) -> usize {
        let place = self.plan.fault.map(|(place, _)| place);
        let by_bytes = match place {
            Some(Place::Byte(at)) => {
                let gone: u64 = self.lanes.iter().map(|lane| lane.written).sum();
                usize::try_from(at.saturating_sub(gone)).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        };
        let wanted = match place {
            Some(Place::Frame(of, code, nth)) if index(of) == side => Some((code, nth)),
            _ => None,
        };
        let by_frames = self
            .observer
            .observe(side, &bytes[..bytes.len().min(by_bytes)], wanted);
        by_bytes.min(by_frames).min(bytes.len())
    }

    fn write(&mut self, side: usize, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        match self.struck {
            Some(Fault::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Fault::Fin) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(Fault::HalfOpen) => return Poll::Ready(Ok(bytes.len())),
            Some(Fault::Stall) => return Poll::Pending,
            None => {}
        }
        if self.gone[1 - side].is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.plan.room.saturating_sub(self.lanes[side].on_the_way);
        if room == 0 {
            self.lanes[side].writer = Some(waker.clone());
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(room)];
        let goes = self.before_fault(side, bytes);
        self.vain.1 = 0;
        let now = Instant::now();
        self.trace().wrote(self.number, side, &bytes[..goes]);
        let due = now + self.plan.delay[side];
        let lane = &mut self.lanes[side];
        lane.written += goes as u64;
        lane.on_the_way += goes;
        if goes > 0 {
            lane.chunks.push_back(Chunk {
                due,
                bytes: bytes[..goes].iter().copied().collect(),
            });
            if let Some(reader) = lane.reader.take() {
                reader.wake();
            }
        }
        if goes < bytes.len()
            && let Some((_, fault)) = self.plan.fault
        {
            self.strike(fault);
            if goes == 0 {
                return self.write(side, bytes, waker);
            }
        }
        Poll::Ready(Ok(goes))
    }

    /// A reader that comes again and again is an engine that spins.
    fn read_in_vain(&mut self) {
        let now = Instant::now();
        if self.vain.0 != now {
            self.vain = (now, 0);
        }
        self.vain.1 += 1;
        if self.vain.1.is_multiple_of(MAX_VAIN) {
            self.spins.notify_one();
        }
    }

    /// What can be read; or when to come again.
    fn read(&mut self, side: usize, out: &mut ReadBuf<'_>, waker: &Waker, waited: Option<Instant>) -> Read {
        let slice = self.plan.slice;
        let peer_gone = self.gone[1 - side].is_some();
        let lane = &mut self.lanes[1 - side];
        lane.reader = Some(waker.clone());
        match self.struck {
            Some(Fault::Reset) => return Read::Failed(io::ErrorKind::ConnectionReset),
            Some(Fault::HalfOpen | Fault::Stall) => {
                self.read_in_vain();
                return Read::Never;
            }
            Some(Fault::Fin) | None => {}
        }
        let Some(due) = lane.chunks.front().map(|chunk| chunk.due) else {
            if lane.ended || peer_gone || self.struck.is_some() {
                return Read::Done;
            }
            self.read_in_vain();
            return Read::Never;
        };
        // A timer may be a fraction of a millisecond early beside a clock that is moved by hand.
        if due > Instant::now() && waited != Some(due) {
            self.read_in_vain();
            return Read::At(due);
        }
        self.vain.1 = 0;
        let lane = &mut self.lanes[1 - side];
        let Some(chunk) = lane.chunks.front_mut() else {
            return Read::Never;
        };
        let count = chunk.bytes.len().min(slice).min(out.remaining());
        for byte in chunk.bytes.drain(..count) {
            out.put_slice(&[byte]);
        }
        if chunk.bytes.is_empty() {
            lane.chunks.pop_front();
        }
        lane.on_the_way -= count;
        if let Some(writer) = lane.writer.take() {
            writer.wake();
        }
        Read::Done
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}, broken by {:?}", self.number, self.struck)
    }
}

enum Read {
    /// What was read; nothing is the end.
    Done,
    Failed(io::ErrorKind),
    At(Instant),
    /// Not before someone wakes the reader.
    Never,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut waited = None;
        loop {
            let read = lock(&this.wire).read(this.side, out, cx.waker(), waited);
            match read {
                Read::Done => return Poll::Ready(Ok(())),
                Read::Failed(kind) => return Poll::Ready(Err(kind.into())),
                Read::Never => return Poll::Pending,
                Read::At(due) => {
                    this.timer.as_mut().reset(due);
                    if this.timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    waited = Some(due);
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.wire).write(self.side, bytes, cx.waker())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.wire);
        wire.lanes[self.side].ended = true;
        if let Some(reader) = wire.lanes[self.side].reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut wire = lock(&self.wire);
        wire.gone[self.side] = Some(Instant::now());
        wire.wake_all();
    }
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn index(side: Side) -> usize {
    match side {
        Side::Client => CLIENT,
        Side::Hub => HUB,
    }
}

/// Nobody reads so often in vain at one instant who does not spin.
const MAX_VAIN: u32 = 300;

pub(super) const CLIENT: usize = 0;
pub(super) const HUB: usize = 1;
