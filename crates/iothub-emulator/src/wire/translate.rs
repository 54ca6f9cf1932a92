//! Cures at the level of bytes what the engine's acceptor cannot do: whole frames in, whole frames out.
//!
//! Inward, and before the engine sees it:
//! - The payload of a transfer is put into a data section. The engine decodes a message before anyone can look
//!   at it, and it does so by recursion without bound; of a data section it makes bytes and nothing else. The
//!   pieces of a delivery in several frames become as many data sections, which the engine joins to one list.
//! - An extended frame header, which the standard allows (§2.3.1) and the engine refuses, is left out.
//! - `close` waits until the links have what came before it: with the connection the engine drops what is still in
//!   its queues, and with that the messages of a client that sends, closes and goes.
//! - Sessions and links are counted, and a frame for a link that was never attached ends the connection: the
//!   engine keeps such frames, without bound, for a link that might still come.
//!
//! - A session that we end is over for the engine at once, and the connection that we close: while it waits for the
//!   client's `end` or `close` it spins. What the client still says until then is left out.
//! - Performatives are weighed, since the engine decodes all of one before anyone can look at it, and keeps most of an
//!   attach as long as there is the link. An attach waits in the engine until its session has time for it, so its weight
//!   counts as unread until then; it stands where the client's `max-message-size` did, which nobody asks for.
//!
//! - A link's name gets a letter for the client's role behind it: the engine takes one name in one session for one
//!   link, where the standard (§2.6.1) and Proton's blocking clients have one in each direction.
//!
//! - The idle time-out of an `open` is halved, as `heartbeat` says.
//!
//! What goes the other way is in `outward`. The engine's own frame limit has to be larger than ours by the section
//! that is put around a payload.

use std::collections::HashMap;

use bytes::{BufMut, BytesMut};

use super::heartbeat;
use super::outgoing::Outgoing;
use super::performative::{self, Kind, Performative};
use super::{
    CHANNEL_MAX, MAX_FRAME_SIZE, MAX_KEPT, MAX_LINKS, MAX_PERFORMATIVE, MAX_SESSIONS,
    MAX_TRANSFER_PERFORMATIVE,
};

/// What the engine must take as its largest frame.
pub(crate) const ENGINE_FRAME_SIZE: u32 = MAX_FRAME_SIZE + GROWTH as u32;

/// What a client did that no bound allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overstep {
    #[error("more than {MAX_SESSIONS} sessions on one connection")]
    Sessions,
    #[error("more than {MAX_LINKS} links on one connection")]
    Links,
    /// As our `open` says (AMQP 1.0 §2.7.1).
    #[error("a session on a channel above {CHANNEL_MAX}")]
    Channel,
    #[error("a second session on a channel that has one")]
    ChannelInUse,
    #[error("a second link on a handle that has one")]
    HandleInUse,
    #[error("a frame for a link that is not attached")]
    UnattachedHandle,
    #[error("a performative that holds too much")]
    Performative,
    #[error("sessions and links that hold too much together")]
    Kept,
}

/// Translates what comes from the peer. The protocol header has been taken off before.
#[derive(Debug, Default)]
pub(crate) struct Inward {
    unread: BytesMut,
    /// What the peer has begun, by its channel.
    sessions: HashMap<u16, Session>,
    links: usize,
    /// What the sessions and links weigh together.
    kept: usize,
    /// The peer's `close`, held back.
    close: Option<BytesMut>,
    /// The engine has the peer's `close`, or what stands for it.
    closed: bool,
    peer_max_frame: Option<u32>,
    outgoing: Outgoing,
}

#[derive(Debug, Default)]
struct Session {
    /// What its `begin` weighed.
    weight: usize,
    /// What the peer has attached, by its handle.
    links: HashMap<u32, Link>,
    /// We have ended it, and the peer has not.
    over: bool,
}

#[derive(Debug, Default)]
struct Link {
    /// What its `attach` weighed.
    weight: usize,
    /// The weight of the delivery that is not whole yet.
    unfinished: usize,
}

impl Session {
    fn kept(&self) -> usize {
        self.weight + self.links.values().map(|link| link.weight).sum::<usize>()
    }

    fn unfinished(&self) -> usize {
        self.links.values().map(|link| link.unfinished).sum()
    }
}

/// What frames weigh on their way to the links, in bytes: those of deliveries their payloads and [`FRAME_WEIGHT`] each,
/// and each attach its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Of frames that came.
    pub(crate) came: usize,
    /// Of frames that came, now or before, and that no link will get: their delivery was broken off.
    pub(crate) gone: usize,
}

impl Inward {
    pub(crate) fn new(outgoing: Outgoing) -> Self {
        Self {
            outgoing,
            ..Self::default()
        }
    }

    /// Where to put bytes that the guard has passed.
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Translates every whole frame up to `close` into `out`.
    pub(crate) fn translate(&mut self, out: &mut BytesMut) -> Result<Weight, Overstep> {
        let mut weight = Weight::default();
        while self.close.is_none() {
            let Some(frame) = next_frame(&mut self.unread) else {
                break;
            };
            self.frame(&frame, out, &mut weight)?;
        }
        Ok(weight)
    }

    /// A session that we have ended: tells the engine that the peer has too. Gives the weight that no link will get.
    pub(crate) fn end(&mut self, channel: u16, out: &mut BytesMut) -> usize {
        let Some(session) = self.sessions.get_mut(&channel).filter(|session| !session.over) else {
            return 0;
        };
        let ended = std::mem::take(session);
        session.over = true;
        self.links -= ended.links.len();
        self.kept -= ended.kept();
        let mut end = BytesMut::new();
        performative::put(&mut end, Kind::End, &[]);
        put_frame(out, channel, &end, None);
        ended.unfinished()
    }

    /// The largest frame that the peer takes, once it has said so in its `open`.
    pub(crate) const fn peer_max_frame(&self) -> Option<u32> {
        self.peer_max_frame
    }

    /// Whether `close` has come and nothing is to be read but it.
    pub(crate) const fn holds_close(&self) -> bool {
        self.close.is_some()
    }

    /// Lets `close` pass. What stands behind it is the engine's to refuse.
    pub(crate) fn release_close(&mut self, out: &mut BytesMut) {
        if let Some(close) = self.close.take() {
            out.put(close);
            self.closed = true;
        }
    }

    /// We have closed the connection: tells the engine that the peer has too, unless it knows.
    pub(crate) fn close(&mut self, out: &mut BytesMut) {
        if !self.closed {
            self.closed = true;
            let mut close = BytesMut::new();
            performative::put(&mut close, Kind::Close, &[]);
            put_frame(out, 0, &close, None);
        }
    }

    /// Leaves out every whole frame up to the peer's `close`; says whether that was there.
    pub(crate) fn skip_to_close(&mut self) -> bool {
        if self.close.take().is_some() {
            return true;
        }
        while let Some(frame) = next_frame(&mut self.unread) {
            let body = frame.get(usize::from(frame[4]) * 4..).unwrap_or_default();
            if Performative::of(body).is_some_and(|performative| performative.kind == Kind::Close) {
                return true;
            }
        }
        false
    }

    fn frame(&mut self, frame: &[u8], out: &mut BytesMut, weight: &mut Weight) -> Result<(), Overstep> {
        let channel = u16::from_be_bytes([frame[6], frame[7]]);
        let body = frame.get(usize::from(frame[4]) * 4..).unwrap_or_default();
        let Some(performative) = Performative::of(body) else {
            put_frame(out, channel, body, None);
            return Ok(());
        };
        let heaviest = match performative.kind {
            Kind::Transfer => MAX_TRANSFER_PERFORMATIVE,
            _ => MAX_PERFORMATIVE,
        };
        if performative.weight() > heaviest {
            return Err(Overstep::Performative);
        }
        if self.sessions.get(&channel).is_some_and(|session| session.over) {
            match performative.kind {
                Kind::Open | Kind::Begin | Kind::Close => {}
                Kind::End => {
                    self.sessions.remove(&channel);
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
        weight.gone += self.count(channel, &performative)?;
        if performative.kind != Kind::Transfer
            && let Some(instead) = self.outgoing.inward(channel, &performative)
        {
            put_frame(out, channel, &instead, None);
            return Ok(());
        }
        match performative.kind {
            Kind::Transfer => {
                let handle = performative.uint(0);
                let (head, payload) = body.split_at(performative.end);
                put_frame(out, channel, head, Some(payload));
                let own = payload.len() + FRAME_WEIGHT;
                weight.came += own;
                weight.gone += self.follow(channel, handle, &performative, own);
            }
            Kind::Close => {
                weight.gone += self.sessions.values().map(Session::unfinished).sum::<usize>();
                self.sessions.clear();
                let mut close = BytesMut::new();
                put_frame(&mut close, channel, body, None);
                self.close = Some(close);
            }
            Kind::Attach => {
                let mut named = BytesMut::new();
                put_weighed(&mut named, &performative);
                if named.is_empty() {
                    put_frame(out, channel, body, None);
                } else {
                    weight.came += performative.weight();
                    put_frame(out, channel, &named, None);
                }
            }
            Kind::Open => {
                self.peer_max_frame = performative.uint(2);
                let sooner = heartbeat::twice_within_the_idle_time_out(&performative);
                put_frame(out, channel, sooner.as_deref().unwrap_or(body), None);
            }
            _ => put_frame(out, channel, body, None),
        }
        Ok(())
    }

    /// Follows a delivery through its frames; gives the weight that is gone if it is broken off.
    fn follow(
        &mut self,
        channel: u16,
        handle: Option<u32>,
        transfer: &Performative<'_>,
        own: usize,
    ) -> usize {
        const MORE: usize = 5;
        const ABORTED: usize = 9;
        let session = self.sessions.get_mut(&channel);
        let Some(Link { unfinished, .. }) = session
            .zip(handle)
            .and_then(|(session, handle)| session.links.get_mut(&handle))
        else {
            return 0;
        };
        *unfinished += own;
        if transfer.is_true(ABORTED) {
            return std::mem::take(unfinished);
        }
        if !transfer.is_true(MORE) {
            *unfinished = 0;
        }
        0
    }

    /// Keeps account of sessions and links; gives the weight of the deliveries that were unfinished on those that
    /// end.
    fn count(&mut self, channel: u16, performative: &Performative<'_>) -> Result<usize, Overstep> {
        match performative.kind {
            Kind::Begin => {
                if channel > CHANNEL_MAX {
                    return Err(Overstep::Channel);
                }
                if self.sessions.len() >= MAX_SESSIONS {
                    return Err(Overstep::Sessions);
                }
                let weight = performative.weight();
                let session = Session {
                    weight,
                    ..Session::default()
                };
                if self.sessions.insert(channel, session).is_some() {
                    return Err(Overstep::ChannelInUse);
                }
                self.keep(weight)?;
            }
            Kind::End => {
                let ended = self.sessions.remove(&channel).unwrap_or_default();
                self.links -= ended.links.len();
                self.kept -= ended.kept();
                return Ok(ended.unfinished());
            }
            Kind::Attach => {
                let handle = performative.uint(1);
                let (Some(session), Some(handle)) = (self.sessions.get_mut(&channel), handle) else {
                    return Ok(0); // the engine refuses it
                };
                if self.links >= MAX_LINKS {
                    return Err(Overstep::Links);
                }
                let weight = performative.weight();
                let link = Link {
                    weight,
                    unfinished: 0,
                };
                if session.links.insert(handle, link).is_some() {
                    return Err(Overstep::HandleInUse);
                }
                self.links += 1;
                self.keep(weight)?;
            }
            Kind::Detach => {
                let handle = performative.uint(0);
                let session = self.sessions.get_mut(&channel);
                if let Some(gone) = session
                    .zip(handle)
                    .and_then(|(session, handle)| session.links.remove(&handle))
                {
                    self.links -= 1;
                    self.kept -= gone.weight;
                    return Ok(gone.unfinished);
                }
            }
            Kind::Flow => {
                // A flow without a handle is the session's.
                if let Some(handle) = performative.uint(4) {
                    self.must_be_attached(channel, Some(handle))?;
                }
            }
            Kind::Transfer => self.must_be_attached(channel, performative.uint(0))?,
            Kind::Open | Kind::Disposition | Kind::Close => {}
        }
        Ok(0)
    }

    fn keep(&mut self, weight: usize) -> Result<(), Overstep> {
        self.kept += weight;
        match self.kept > MAX_KEPT {
            true => Err(Overstep::Kept),
            false => Ok(()),
        }
    }

    fn must_be_attached(&self, channel: u16, handle: Option<u32>) -> Result<(), Overstep> {
        let session = self.sessions.get(&channel);
        match session
            .zip(handle)
            .is_some_and(|(session, handle)| session.links.contains_key(&handle))
        {
            true => Ok(()),
            false => Err(Overstep::UnattachedHandle),
        }
    }
}

/// Writes the attach with the role behind the name, and with its weight. Writes nothing if it has no name; the engine
/// refuses that.
fn put_weighed(out: &mut BytesMut, attach: &Performative<'_>) {
    const NAME: usize = 0;
    const ROLE: usize = 2;
    const MAX_MESSAGE_SIZE: usize = 10;
    let Some(mut fields) = attach.fields() else { return };
    let (Some([0xa1, _, name @ ..] | [0xb1, _, _, _, _, name @ ..]), receives) =
        (fields.get(NAME).copied(), attach.is_true(ROLE))
    else {
        return;
    };
    let mut named = BytesMut::with_capacity(name.len() + 6);
    named.put_u8(0xb1);
    named.put_u32(u32::try_from(name.len() + 1).unwrap_or(u32::MAX));
    named.put_slice(name);
    named.put_u8(mark(receives));
    let mut weight = BytesMut::with_capacity(9);
    weight.put_u8(0x80); // ulong
    weight.put_u64(attach.weight() as u64);
    fields.resize(fields.len().max(MAX_MESSAGE_SIZE + 1), &[0x40]);
    fields[NAME] = &named;
    fields[MAX_MESSAGE_SIZE] = &weight;
    performative::put(out, Kind::Attach, &fields);
}

/// Takes a whole frame off the front. The guard has seen to it that the size is at least that of a header.
pub(super) fn next_frame(unread: &mut BytesMut) -> Option<BytesMut> {
    let size = u32::from_be_bytes(*unread.first_chunk()?) as usize;
    (size >= super::AMQP_HEADER_LEN && unread.len() >= size).then(|| unread.split_to(size))
}

pub(super) fn put_frame(out: &mut BytesMut, channel: u16, performative: &[u8], payload: Option<&[u8]>) {
    let section = payload.map_or(0, |payload| DATA_SECTION + payload.len());
    // A frame is at most 64 KiB and a little.
    let size = u32::try_from(super::AMQP_HEADER_LEN + performative.len() + section).unwrap_or(u32::MAX);
    out.put_u32(size);
    out.put_u16(0x0200); // data offset 2, type AMQP
    out.put_u16(channel);
    out.put_slice(performative);
    if let Some(payload) = payload {
        out.put_slice(&[0x00, 0x53, 0x75, 0xb0]); // a data section, its length in four bytes
        out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        out.put_slice(payload);
    }
}

/// What a frame weighs beside its payload: about what the engine's queues take for it.
pub(crate) const FRAME_WEIGHT: usize = 256;

/// How many bytes a data section adds to its content.
const DATA_SECTION: usize = 8;
/// The most that a frame grows: by a data section, or by a longer name and a weight in a longer list, with the nulls
/// before the weight.
const GROWTH: usize = 48;
const _: () = assert!(GROWTH >= DATA_SECTION);

/// What stands behind a link's name.
pub(super) const fn mark(receives: bool) -> u8 {
    if receives { b'r' } else { b's' }
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
