//! A network in memory whose connections go wrong where the test wants: at a byte, at a frame, or before there is one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use iothub_amqp::{ByteStream, Connecting, Network, Resolving};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Reads and writes fail from now on.
    Reset,
    /// The peer has ended; what is written goes nowhere.
    Fin,
    /// What is written goes nowhere, and nothing comes.
    HalfOpen,
    /// Nothing can be written, and nothing comes.
    Stall,
}

/// All faults.
pub const FAULTS: [Fault; 4] = [Fault::Reset, Fault::Fin, Fault::HalfOpen, Fault::Stall];

/// Whose bytes or frames are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Side {
    /// What the client sends.
    Client,
    /// What the hub sends.
    Hub,
}

/// Where it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// When the host's name is looked up.
    Resolve,
    /// When the address is connected to.
    Connect,
    /// When so many bytes have gone, of both sides together.
    Byte(u64),
    /// Before this frame of this side goes: the performative's code, or 0 for a protocol header, and how many of the kind
    /// have gone before.
    Frame(Side, u8, usize),
}

/// A network in memory.
#[derive(Clone)]
pub struct Pipes {
    door: mpsc::UnboundedSender<Box<dyn ByteStream>>,
    plan: Arc<Mutex<Plan>>,
    bytes: Arc<AtomicU64>,
}

#[derive(Default)]
struct Plan {
    /// For each attempt to come; after the last, all is well.
    attempts: VecDeque<Option<(Place, Fault)>>,
    /// For the connection of the attempt that has just looked its address up.
    present: Option<(Place, Fault)>,
    made: usize,
}

impl Pipes {
    /// One whose connections come out of `door`, and go wrong as the plan for each attempt says.
    #[must_use]
    pub fn to(
        door: mpsc::UnboundedSender<Box<dyn ByteStream>>,
        attempts: impl IntoIterator<Item = Option<(Place, Fault)>>,
    ) -> Self {
        let plan = Plan {
            attempts: attempts.into_iter().collect(),
            ..Plan::default()
        };
        Self {
            door,
            plan: Arc::new(Mutex::new(plan)),
            bytes: Arc::default(),
        }
    }

    /// How many bytes have gone over all connections, of both sides.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many attempts there were.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).made
    }
}

impl Network for Pipes {
    fn resolve<'a>(&'a self, _host: &'a str, port: u16) -> Resolving<'a> {
        let present = {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.made += 1;
            plan.present = plan.attempts.pop_front().flatten();
            plan.present
        };
        Box::pin(async move {
            if let Some((Place::Resolve, fault)) = present {
                fail(fault).await?;
            }
            Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
        })
    }

    fn connect(&self, _address: SocketAddr) -> Connecting<'_> {
        let present = self
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .present
            .take();
        Box::pin(async move {
            if let Some((Place::Connect, fault)) = present {
                fail(fault).await?;
            }
            let (ours, theirs) = tokio::io::duplex(PIPE);
            self.door
                .send(Box::new(theirs))
                .map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(Pipe {
                inner: Some(ours),
                plan: present,
                struck: None,
                reader: None,
                here: 0,
                all: Arc::clone(&self.bytes),
                frames: BTreeMap::new(),
            }) as Box<dyn ByteStream>)
        })
    }
}

async fn fail(fault: Fault) -> io::Result<()> {
    match fault {
        Fault::Reset => Err(io::ErrorKind::ConnectionRefused.into()),
        Fault::Fin => Err(io::ErrorKind::NotFound.into()),
        Fault::HalfOpen | Fault::Stall => std::future::pending().await,
    }
}

struct Pipe {
    inner: Option<tokio::io::DuplexStream>,
    plan: Option<(Place, Fault)>,
    struck: Option<Fault>,
    /// Who waits for bytes, and has to hear of the fault.
    reader: Option<Waker>,
    here: u64,
    all: Arc<AtomicU64>,
    frames: BTreeMap<(Side, u8), usize>,
}

impl Pipe {
    /// How many of these bytes go before the fault. Frames are whole: each side writes them so.
    fn before_fault(&mut self, side: Side, bytes: &[u8]) -> usize {
        let goes = match self.plan {
            Some((Place::Byte(at), _)) => {
                let left = usize::try_from(at - self.here).unwrap_or(usize::MAX);
                bytes.len().min(left)
            }
            Some((Place::Frame(of, code, nth), _)) if of == side => {
                self.before_frame(side, bytes, (code, nth))
            }
            _ => bytes.len(),
        };
        self.here += goes as u64;
        self.all.fetch_add(goes as u64, Ordering::Relaxed);
        let at_byte = matches!(self.plan, Some((Place::Byte(at), _)) if at == self.here);
        if goes < bytes.len() || at_byte {
            self.struck = self.plan.map(|(_, fault)| fault);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        goes
    }

    fn before_frame(&mut self, side: Side, bytes: &[u8], (code, nth): (u8, usize)) -> usize {
        let mut at = 0;
        while let Some(head) = bytes.get(at..at + 8) {
            let is_header = head.starts_with(b"AMQP");
            let size = if is_header {
                8
            } else {
                u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize
            };
            let kind = if is_header {
                0
            } else {
                bytes.get(at + 10).copied().unwrap_or(u8::MAX)
            };
            let gone = self.frames.entry((side, kind)).or_default();
            if (kind, *gone) == (code, nth) {
                return at;
            }
            *gone += 1;
            at += size.max(8);
        }
        bytes.len()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.reader = Some(cx.waker().clone());
        if let (None, Some(inner)) = (this.struck, &mut this.inner) {
            let mut space = vec![0; out.remaining()];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(inner).poll_read(cx, &mut read))?;
            let bytes = read.filled().to_vec();
            let goes = this.before_fault(Side::Hub, &bytes);
            if goes > 0 || bytes.is_empty() {
                out.put_slice(&bytes[..goes]);
                return Poll::Ready(Ok(()));
            }
        }
        this.inner = None;
        match this.struck {
            Some(Fault::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Fault::HalfOpen | Fault::Stall) => Poll::Pending,
            Some(Fault::Fin) | None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.struck.is_none() && this.inner.is_some() {
            let goes = this.before_fault(Side::Client, bytes);
            // The pipe is wider than any session of the tests, so that it takes all at once.
            if goes > 0
                && let Some(inner) = &mut this.inner
            {
                return Pin::new(inner).poll_write(cx, &bytes[..goes]);
            }
        }
        this.inner = None;
        match this.struck {
            Some(Fault::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Fault::Stall) => Poll::Pending,
            Some(Fault::Fin | Fault::HalfOpen) | None => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner = None;
        Poll::Ready(Ok(()))
    }
}

/// In bytes.
const PIPE: usize = 1 << 20;
