//! What a connection's links send to the client, as it looks on the wire: credit, deliveries, their outcomes.
//!
//! The engine tells a sender nothing of its credit before it sends, gives deliveries tags of its own, and answers an
//! outcome that the client has not settled before anyone could say what became of it. So the frames are watched
//! as they pass, and what the engine does not say is said here.
//!
//! The engine keeps flows for a link that it does not have, without bound, for one that might still come; so they are
//! not shown to it once the link is over, nor when there are too many before it is.
//!
//! Bounds: a link that the client receives over for each that it attached ([`MAX_LINKS`](super::MAX_LINKS)), and a
//! delivery for each that it has not settled; a link stops at [`MAX_UNSETTLED`](super::MAX_UNSETTLED).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{BufMut, BytesMut};
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::performative::{self, Kind, Performative};
pub(super) use super::settlement::Settlement;
use super::settlement::{gone, is_terminal, put_settlement};
use super::translate::mark;
use crate::hub::Credit;

/// Of one connection; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Frames of ours wait to be written.
    waiting: AtomicBool,
    /// Sessions were ended by us.
    ending: AtomicBool,
    /// Our `close` has been written.
    closed: AtomicBool,
    writer: AtomicWaker,
    next_number: AtomicU64,
    /// What the client's `open` says of where it has come to.
    dialled: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Table {
    /// By the client's channel.
    sessions: HashMap<u16, Session>,
    /// The client's channel by ours.
    channels: HashMap<u16, u16>,
    /// The client's channels of the sessions that we have ended and it has not.
    ended: Vec<u16>,
    frames: BytesMut,
}

#[derive(Debug, Default)]
struct Session {
    /// Links that the client receives over, by its handle.
    links: HashMap<u32, Link>,
    /// All that the client has attached, by its handle.
    halves: HashMap<u32, Half>,
    /// Its handles by their links' names, with the role behind.
    names: HashMap<Vec<u8>, u32>,
    /// The client's handle by ours.
    handles: HashMap<u32, u32>,
    /// What was sent and not settled, by delivery-id.
    deliveries: BTreeMap<u32, Delivery>,
    last_delivery: Option<u32>,
    /// Our channel.
    channel: u16,
}

#[derive(Debug)]
struct Half {
    name: Vec<u8>,
    stage: Stage,
}

/// How far the client's attach has come.
#[derive(Debug)]
enum Stage {
    /// We have not answered it, and so many flows have come.
    Early(u32),
    Answered,
    /// We have detached, and the client has not.
    Over,
}

#[derive(Debug)]
struct Link {
    number: u64,
    /// The client settles only once we have (rcv-settle-mode second).
    second: bool,
    /// §2.6.7, as it stands in the frames that have passed.
    delivery_count: u32,
    sent: u64,
    credit: Credit,
    changed: Arc<Notify>,
    passed: Arc<Notify>,
}

#[derive(Debug)]
struct Delivery {
    handle: u32,
    number: u64,
    /// The client waits for our settlement.
    owed: bool,
}

/// One link that the client receives over.
#[derive(Clone, Debug)]
pub(crate) struct OutgoingLink {
    outgoing: Outgoing,
    channel: u16,
    handle: u32,
    number: u64,
    changed: Arc<Notify>,
    passed: Arc<Notify>,
}

impl Outgoing {
    /// The host name by which the client has come, as it says.
    pub(super) fn dialled(&self) -> Option<String> {
        self.0.dialled.get().cloned()
    }

    /// The link that the client has attached with this handle, if it is one that it receives over.
    pub(super) fn link(&self, channel: u16, handle: u32) -> Option<OutgoingLink> {
        let table = self.table();
        let link = table.sessions.get(&channel)?.links.get(&handle)?;
        Some(OutgoingLink {
            outgoing: self.clone(),
            channel,
            handle,
            number: link.number,
            changed: Arc::clone(&link.changed),
            passed: Arc::clone(&link.passed),
        })
    }

    /// Registers who is to write what is said here, and takes it over.
    pub(super) fn poll_frames(&self, cx: &std::task::Context<'_>, out: &mut BytesMut) {
        self.0.writer.register(cx.waker());
        if self.0.waiting.swap(false, Ordering::AcqRel) {
            out.put(self.table().frames.split());
        }
    }

    /// The sessions that we have ended since this was last asked, and the client has not: its channels.
    pub(super) fn take_ended(&self) -> Vec<u16> {
        match self.0.ending.swap(false, Ordering::AcqRel) {
            true => std::mem::take(&mut self.table().ended),
            false => Vec::new(),
        }
    }

    /// Whether we have closed the connection, or answered its close.
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// A frame of the client, but no transfer, has come; gives what the engine is to see instead of it, if not the
    /// same.
    pub(super) fn inward(&self, channel: u16, frame: &Performative<'_>) -> Option<BytesMut> {
        match frame.kind {
            Kind::Open => {
                let fields = frame.fields();
                let dialled = fields.as_ref().and_then(|fields| fields.get(1));
                let dialled = dialled.and_then(|dialled| str::from_utf8(text(dialled)).ok());
                if let Some(dialled) = dialled.filter(|name| !name.is_empty() && name.len() <= MAX_HOST) {
                    // A second open is the engine's to refuse.
                    let _ = self.0.dialled.set(dialled.to_owned());
                }
            }
            Kind::Begin => {
                self.table().sessions.insert(channel, Session::default());
            }
            Kind::End => {
                let mut table = self.table();
                if table.sessions.remove(&channel).is_some() {
                    table.channels.retain(|_, theirs| *theirs != channel);
                }
            }
            Kind::Attach => self.attach(channel, frame),
            Kind::Detach => {
                if let (Some(handle), Some(session)) =
                    (frame.uint(0), self.table().sessions.get_mut(&channel))
                {
                    session.detach(handle);
                }
            }
            Kind::Flow => return self.flow(channel, frame),
            Kind::Disposition => return self.disposition(channel, frame),
            _ => {}
        }
        None
    }

    fn attach(&self, channel: u16, frame: &Performative<'_>) {
        let number = self.0.next_number.fetch_add(1, Ordering::Relaxed);
        let (Some(fields), Some(handle)) = (frame.fields(), frame.uint(1)) else {
            return;
        };
        let mut table = self.table();
        let Some(session) = table.sessions.get_mut(&channel) else {
            return;
        };
        let receives = frame.is_true(ATTACH_ROLE);
        let mut name = fields.first().map(|name| text(name).to_vec()).unwrap_or_default();
        name.push(mark(receives));
        session.names.insert(name.clone(), handle);
        let stage = Stage::Early(0);
        session.halves.insert(handle, Half { name, stage });
        if !receives {
            return;
        }
        let link = Link {
            number,
            second: matches!(fields.get(ATTACH_RCV_SETTLE_MODE), Some([0x50, 1])),
            delivery_count: 0,
            sent: 0,
            credit: Credit::default(),
            changed: Arc::default(),
            passed: Arc::default(),
        };
        session.links.insert(handle, link);
    }

    fn flow(&self, channel: u16, frame: &Performative<'_>) -> Option<BytesMut> {
        let mut table = self.table();
        let session = table.sessions.get_mut(&channel)?;
        let handle = frame.uint(4)?;
        session.credit(handle, frame);
        match &mut session.halves.get_mut(&handle)?.stage {
            Stage::Answered => return None,
            Stage::Early(flows) if *flows < MAX_EARLY_FLOWS => {
                *flows += 1;
                return None;
            }
            Stage::Early(_) | Stage::Over => {}
        }
        // What it says of the session still counts.
        let mut fields = frame.fields()?;
        fields.truncate(FLOW_SESSION_FIELDS);
        let mut flow = BytesMut::new();
        performative::put(&mut flow, Kind::Flow, &fields);
        Some(flow)
    }

    /// An outcome that the client has not settled is given to the engine as if it had: the engine answers such too
    /// early. The answer is owed then. What is not there any more is answered at once.
    fn disposition(&self, channel: u16, frame: &Performative<'_>) -> Option<BytesMut> {
        let first = frame.uint(1)?;
        let last = frame.uint(2).unwrap_or(first);
        if !frame.is_true(0) {
            return None;
        }
        let mut table = self.table();
        let session = table.sessions.get_mut(&channel)?;
        if frame.is_true(3) {
            let settled: Vec<u32> = session
                .deliveries
                .range(first..=last.max(first))
                .map(|(id, _)| *id)
                .collect();
            settled.iter().for_each(|id| {
                session.deliveries.remove(id);
            });
            return None;
        }
        let mut fields = frame.fields()?;
        if !fields.get(4).is_some_and(|state| is_terminal(state)) {
            return None;
        }
        let known_last = last.min(session.last_delivery?);
        let mut lost = Vec::new();
        let mut next = first;
        if first <= known_last {
            for (id, delivery) in session.deliveries.range_mut(first..=known_last) {
                delivery.owed = true;
                if next < *id {
                    lost.push((next, *id - 1));
                }
                next = id.saturating_add(1);
            }
            if next <= known_last {
                lost.push((next, known_last));
            }
        }
        let channel = session.channel;
        for (first, last) in lost {
            put_settlement(&mut table.frames, channel, first, last, &gone());
            self.0.waiting.store(true, Ordering::Release);
        }
        drop(table);
        fields[3] = TRUE;
        let mut settled = BytesMut::new();
        performative::put(&mut settled, Kind::Disposition, &fields);
        Some(settled)
    }

    /// A frame of the engine, but no transfer, is about to go.
    pub(super) fn outward(&self, channel: u16, frame: &Performative<'_>) {
        match frame.kind {
            Kind::Begin => {
                if let Some(theirs) = frame.ushort(0) {
                    let mut table = self.table();
                    table.channels.insert(channel, theirs);
                    if let Some(session) = table.sessions.get_mut(&theirs) {
                        session.channel = channel;
                    }
                }
            }
            Kind::Detach => {
                let mut table = self.table();
                if let (Some(handle), Some(session)) = (frame.uint(0), table.session(channel))
                    && let Some(theirs) = session.handles.remove(&handle)
                    && let Some(half) = session.halves.get_mut(&theirs)
                {
                    half.stage = Stage::Over;
                }
            }
            Kind::End => {
                let mut table = self.table();
                // It is not there any more if the client has ended it before.
                if let Some(theirs) = table.channels.remove(&channel) {
                    table.sessions.remove(&theirs);
                    table.ended.push(theirs);
                    self.0.ending.store(true, Ordering::Release);
                }
            }
            Kind::Close => self.0.closed.store(true, Ordering::Release),
            // The answer to a drain: the count has moved on without deliveries (§2.6.7).
            Kind::Flow => {
                let mut table = self.table();
                let (Some(session), Some(handle)) = (table.session(channel), frame.uint(4)) else {
                    return;
                };
                let link = session
                    .handles
                    .get(&handle)
                    .and_then(|theirs| session.links.get_mut(theirs));
                if let (Some(link), Some(count)) = (link, frame.uint(5)) {
                    link.delivery_count = count;
                }
            }
            _ => {}
        }
    }

    /// Our attach of a link of this name, with the role behind it, is about to go; gives whether the client wants to
    /// settle second.
    pub(super) fn attached(&self, channel: u16, name: &[u8], handle: Option<u32>) -> bool {
        let mut table = self.table();
        let (Some(session), Some(handle)) = (table.session(channel), handle) else {
            return false;
        };
        let Some(theirs) = session.names.get(name).copied() else {
            return false;
        };
        session.handles.insert(handle, theirs);
        if let Some(half) = session.halves.get_mut(&theirs) {
            half.stage = Stage::Answered;
        }
        session.links.get(&theirs).is_some_and(|link| link.second)
    }

    /// The first frame of a delivery is about to go.
    pub(super) fn transfer(&self, label: &Label, channel: u16, id: u32, settled: bool) {
        let mut table = self.table();
        let Some(session) = table.session(channel) else {
            return;
        };
        session.last_delivery = Some(id);
        let Some(link) = session.links.get_mut(&label.handle) else {
            return;
        };
        if link.number != label.link {
            return;
        }
        link.delivery_count = link.delivery_count.wrapping_add(1);
        link.sent += 1;
        link.passed.notify_one();
        if !settled {
            let delivery = Delivery {
                handle: label.handle,
                number: label.delivery,
                owed: false,
            };
            session.deliveries.insert(id, delivery);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutgoingLink {
    /// How many more deliveries the client takes.
    pub(super) fn credit(&self) -> Credit {
        let table = self.outgoing.table();
        let link = table
            .sessions
            .get(&self.channel)
            .and_then(|session| session.links.get(&self.handle));
        link.filter(|link| link.number == self.number)
            .map(|link| link.credit)
            .unwrap_or_default()
    }

    /// The client has said something of its credit since this was last waited for.
    ///
    /// Cancel safety: nothing is lost.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many deliveries have gone to the stream.
    pub(super) fn sent(&self) -> u64 {
        let table = self.outgoing.table();
        let session = table.sessions.get(&self.channel);
        let link = session.and_then(|session| session.links.get(&self.handle));
        link.filter(|link| link.number == self.number)
            .map_or(u64::MAX, |link| link.sent)
    }

    /// One more has gone since this was last waited for.
    ///
    /// Cancel safety: nothing is lost.
    pub(super) async fn passed(&self) {
        self.passed.notified().await;
    }

    /// What stands before the payload of the link's delivery of this number.
    pub(super) fn label(&self, delivery: u64, tag: Option<[u8; 16]>) -> Label {
        Label {
            handle: self.handle,
            link: self.number,
            delivery,
            tag,
        }
    }

    /// Says what became of the delivery of this number, if the client waits to hear it.
    pub(super) fn answer(&self, delivery: u64, settlement: &Settlement) {
        let mut table = self.outgoing.table();
        let Some(session) = table.sessions.get_mut(&self.channel) else {
            return;
        };
        let found = session
            .deliveries
            .iter()
            .find(|(_, known)| known.handle == self.handle && known.number == delivery);
        let Some((id, owed)) = found.map(|(id, known)| (*id, known.owed)) else {
            return;
        };
        if !owed {
            return;
        }
        session.deliveries.remove(&id);
        let channel = session.channel;
        put_settlement(&mut table.frames, channel, id, id, settlement);
        drop(table);
        self.outgoing.0.waiting.store(true, Ordering::Release);
        self.outgoing.0.writer.wake();
    }
}

impl Table {
    /// By our channel.
    fn session(&mut self, channel: u16) -> Option<&mut Session> {
        let theirs = self.channels.get(&channel)?;
        self.sessions.get_mut(theirs)
    }
}

impl Session {
    fn detach(&mut self, handle: u32) {
        if let Some(half) = self.halves.remove(&handle)
            && self.names.get(&half.name) == Some(&handle)
        {
            self.names.remove(&half.name);
        }
        if self.links.remove(&handle).is_some() {
            self.deliveries.retain(|_, delivery| delivery.handle != handle);
        }
    }

    /// Notes how much the client takes over a link, as a flow says.
    fn credit(&mut self, handle: u32, flow: &Performative<'_>) {
        let (Some(link), Some(granted)) = (self.links.get_mut(&handle), flow.uint(6)) else {
            return;
        };
        // A client that has not seen our attach yet does not know where the count begins; it begins at 0.
        let limit = flow.uint(5).unwrap_or(0).wrapping_add(granted);
        let drained = flow.is_true(8);
        let left = limit.wrapping_sub(link.delivery_count);
        let left = if drained || left > u32::MAX / 2 { 0 } else { left };
        link.credit = Credit {
            seen: link.sent,
            granted: left,
        };
        link.changed.notify_one();
    }
}

/// What the translator needs to know of a delivery, and finds before its payload: the engine carries nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    handle: u32,
    link: u64,
    delivery: u64,
    pub(super) tag: Option<[u8; 16]>,
}

impl Label {
    pub(super) const LEN: usize = 4 + 8 + 8 + 1 + 16;

    pub(super) fn put(&self, out: &mut impl BufMut) {
        out.put_u32(self.handle);
        out.put_u64(self.link);
        out.put_u64(self.delivery);
        out.put_u8(u8::from(self.tag.is_some()));
        out.put_slice(&self.tag.unwrap_or_default());
    }

    /// Reads it off the front.
    pub(super) fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<{ Self::LEN }>()?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&head[at..at + 8]);
            u64::from_be_bytes(word)
        };
        let mut tag = [0; 16];
        tag.copy_from_slice(&head[21..]);
        let label = Self {
            handle: u32::from_be_bytes([head[0], head[1], head[2], head[3]]),
            link: word(4),
            delivery: word(12),
            tag: (head[20] == 1).then_some(tag),
        };
        Some((label, rest))
    }
}

/// The content of an encoded string; empty for what is none.
pub(super) fn text(encoded: &[u8]) -> &[u8] {
    match encoded {
        [0xa1, _, text @ ..] | [0xb1, _, _, _, _, text @ ..] => text,
        _ => &[],
    }
}

/// The longest host name that is remembered, in bytes: DNS has none longer, and a port may stand behind it.
const MAX_HOST: usize = 262;
/// The most flows that a client may send for a link before it has our answer; what more say of the link is not heard.
const MAX_EARLY_FLOWS: u32 = 16;
/// The windows; what stands behind them is of a link.
const FLOW_SESSION_FIELDS: usize = 4;
const ATTACH_ROLE: usize = 2;
const ATTACH_RCV_SETTLE_MODE: usize = 4;
pub(super) const TRUE: &[u8] = &[0x41];
pub(super) const FALSE: &[u8] = &[0x42];
