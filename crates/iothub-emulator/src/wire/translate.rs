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
//! - A link's name gets a letter for the client's role behind it: the engine takes one name in one session for one
//!   link, where the standard (§2.6.1) and Proton's blocking clients have one in each direction.
//!
//! What goes the other way is in `outward`. The engine's own frame limit has to be larger than ours by the section
//! that is put around a payload.

use std::collections::HashMap;

use bytes::{BufMut, BytesMut};

use super::outgoing::Outgoing;
use super::performative::{self, Kind, Performative};
use super::{MAX_FRAME_SIZE, MAX_LINKS, MAX_SESSIONS};

/// What the engine must take as its largest frame.
pub(crate) const ENGINE_FRAME_SIZE: u32 = MAX_FRAME_SIZE + GROWTH as u32;

/// What a client did that no bound allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overstep {
    #[error("more than {MAX_SESSIONS} sessions on one connection")]
    Sessions,
    #[error("more than {MAX_LINKS} links on one connection")]
    Links,
    #[error("a second session on a channel that has one")]
    ChannelInUse,
    #[error("a second link on a handle that has one")]
    HandleInUse,
    #[error("a frame for a link that is not attached")]
    UnattachedHandle,
}

/// Translates what comes from the peer. The protocol header has been taken off before.
#[derive(Debug, Default)]
pub(crate) struct Inward {
    unread: BytesMut,
    /// What the peer attached, by channel and handle, and the weight of each link's unfinished delivery.
    attached: HashMap<u16, HashMap<u32, usize>>,
    links: usize,
    /// The peer's `close`, held back.
    close: Option<BytesMut>,
    peer_max_frame: Option<u32>,
    outgoing: Outgoing,
}

/// What frames weigh on their way to the links, in bytes: their payloads, and [`FRAME_WEIGHT`] each.
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
        }
    }

    fn frame(&mut self, frame: &[u8], out: &mut BytesMut, weight: &mut Weight) -> Result<(), Overstep> {
        let channel = u16::from_be_bytes([frame[6], frame[7]]);
        let body = frame.get(usize::from(frame[4]) * 4..).unwrap_or_default();
        let Some(performative) = Performative::of(body) else {
            put_frame(out, channel, body, None);
            return Ok(());
        };
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
                weight.gone += self.attached.values().flat_map(HashMap::values).sum::<usize>();
                self.attached.clear();
                let mut close = BytesMut::new();
                put_frame(&mut close, channel, body, None);
                self.close = Some(close);
            }
            Kind::Attach => {
                let mut named = BytesMut::new();
                put_named_by_role(&mut named, &performative);
                let head = if named.is_empty() { body } else { &named };
                put_frame(out, channel, head, None);
            }
            Kind::Open => {
                self.peer_max_frame = performative.uint(2);
                put_frame(out, channel, body, None);
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
        let links = self.attached.get_mut(&channel);
        let Some(unfinished) = links
            .zip(handle)
            .and_then(|(links, handle)| links.get_mut(&handle))
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
                if self.attached.len() >= MAX_SESSIONS {
                    return Err(Overstep::Sessions);
                }
                if self.attached.insert(channel, HashMap::new()).is_some() {
                    return Err(Overstep::ChannelInUse);
                }
            }
            Kind::End => {
                let ended = self.attached.remove(&channel).unwrap_or_default();
                self.links -= ended.len();
                return Ok(ended.values().sum());
            }
            Kind::Attach => {
                let handle = performative.uint(1);
                let (Some(handles), Some(handle)) = (self.attached.get_mut(&channel), handle) else {
                    return Ok(0); // the engine refuses it
                };
                if self.links >= MAX_LINKS {
                    return Err(Overstep::Links);
                }
                if handles.insert(handle, 0).is_some() {
                    return Err(Overstep::HandleInUse);
                }
                self.links += 1;
            }
            Kind::Detach => {
                let handle = performative.uint(0);
                let links = self.attached.get_mut(&channel);
                if let Some(gone) = links
                    .zip(handle)
                    .and_then(|(links, handle)| links.remove(&handle))
                {
                    self.links -= 1;
                    return Ok(gone);
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

    fn must_be_attached(&self, channel: u16, handle: Option<u32>) -> Result<(), Overstep> {
        let handles = self.attached.get(&channel);
        match handles
            .zip(handle)
            .is_some_and(|(handles, handle)| handles.contains_key(&handle))
        {
            true => Ok(()),
            false => Err(Overstep::UnattachedHandle),
        }
    }
}

/// Writes the attach with the role behind the name. Writes nothing if it has no name; the engine refuses that.
fn put_named_by_role(out: &mut BytesMut, attach: &Performative<'_>) {
    let Some(mut fields) = attach.fields() else { return };
    let (Some([0xa1, _, name @ ..] | [0xb1, _, _, _, _, name @ ..]), role) =
        (fields.first(), attach.is_true(2))
    else {
        return;
    };
    let role = if role { RECEIVER } else { SENDER };
    let mut named = BytesMut::with_capacity(name.len() + 6);
    named.put_u8(0xb1);
    named.put_u32(u32::try_from(name.len() + 1).unwrap_or(u32::MAX));
    named.put_slice(name);
    named.put_u8(role);
    fields[0] = &named;
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
/// The most that a frame grows: by a data section, or by a longer name in a longer list with a longer descriptor.
const GROWTH: usize = 16;
const _: () = assert!(GROWTH >= DATA_SECTION);

/// Behind a link's name.
const SENDER: u8 = b's';
const RECEIVER: u8 = b'r';

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
