//! Cures at the level of bytes what the engine's acceptor cannot do: whole frames in, whole frames out.
//!
//! Inward, and before the engine sees it:
//! - The payload of a transfer is put into a data section. The engine decodes a message before anyone can look
//!   at it, and it does so by recursion without bound; of a data section it makes bytes and nothing else. The
//!   pieces of a delivery in several frames become as many data sections, which the engine joins to one list.
//! - An extended frame header, which the standard allows (§2.3.1) and the engine refuses, is left out.
//! - Sessions and links are counted, and a frame for a link that was never attached ends the connection: the
//!   engine keeps such frames, without bound, for a link that might still come.
//!
//! Outward: our `open` is written in full, and with the frame size that peers may use; the engine's own limit
//! has to be larger by the section that is put around a payload.

use std::collections::{HashMap, HashSet};

use bytes::{BufMut, BytesMut};

use super::performative::{Kind, Performative};
use super::{CHANNEL_MAX, IDLE_TIME_OUT_MS, MAX_FRAME_SIZE, MAX_LINKS, MAX_SESSIONS};

/// What the engine must take as its largest frame.
pub(crate) const ENGINE_FRAME_SIZE: u32 = MAX_FRAME_SIZE + DATA_SECTION as u32;

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
    /// The handles that the peer attached, by channel.
    attached: HashMap<u16, HashSet<u32>>,
    links: usize,
}

impl Inward {
    /// Where to put bytes that the guard has passed.
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Translates every whole frame into `out`, and gives the payload bytes among them.
    pub(crate) fn translate(&mut self, out: &mut BytesMut) -> Result<usize, Overstep> {
        let mut payload = 0;
        while let Some(frame) = next_frame(&mut self.unread) {
            payload += self.frame(&frame, out)?;
        }
        Ok(payload)
    }

    fn frame(&mut self, frame: &[u8], out: &mut BytesMut) -> Result<usize, Overstep> {
        let channel = u16::from_be_bytes([frame[6], frame[7]]);
        let body = frame.get(usize::from(frame[4]) * 4..).unwrap_or_default();
        let Some(performative) = Performative::of(body) else {
            put_frame(out, channel, body, None);
            return Ok(0);
        };
        self.count(channel, &performative)?;
        if performative.kind == Kind::Transfer {
            let (performative, payload) = body.split_at(performative.end);
            put_frame(out, channel, performative, Some(payload));
            return Ok(payload.len());
        }
        put_frame(out, channel, body, None);
        Ok(0)
    }

    fn count(&mut self, channel: u16, performative: &Performative<'_>) -> Result<(), Overstep> {
        match performative.kind {
            Kind::Begin => {
                if self.attached.len() >= MAX_SESSIONS {
                    return Err(Overstep::Sessions);
                }
                if self.attached.insert(channel, HashSet::new()).is_some() {
                    return Err(Overstep::ChannelInUse);
                }
            }
            Kind::End => {
                let gone = self.attached.remove(&channel).map_or(0, |handles| handles.len());
                self.links -= gone;
            }
            Kind::Attach => {
                let handle = performative.uint(1);
                let (Some(handles), Some(handle)) = (self.attached.get_mut(&channel), handle) else {
                    return Ok(()); // the engine refuses it
                };
                if self.links >= MAX_LINKS {
                    return Err(Overstep::Links);
                }
                if !handles.insert(handle) {
                    return Err(Overstep::HandleInUse);
                }
                self.links += 1;
            }
            Kind::Detach => {
                let handle = performative.uint(0);
                let handles = self.attached.get_mut(&channel);
                if handles
                    .zip(handle)
                    .is_some_and(|(handles, handle)| handles.remove(&handle))
                {
                    self.links -= 1;
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
        Ok(())
    }

    fn must_be_attached(&self, channel: u16, handle: Option<u32>) -> Result<(), Overstep> {
        let handles = self.attached.get(&channel);
        match handles
            .zip(handle)
            .is_some_and(|(handles, handle)| handles.contains(&handle))
        {
            true => Ok(()),
            false => Err(Overstep::UnattachedHandle),
        }
    }
}

/// Translates what the engine writes.
#[derive(Debug)]
pub(crate) struct Outward {
    container_id: String,
    unread: BytesMut,
    state: OutwardState,
}

#[derive(Debug, PartialEq)]
enum OutwardState {
    Header,
    Open,
    Rest,
}

impl Outward {
    pub(crate) fn new(container_id: String) -> Self {
        Self {
            container_id,
            unread: BytesMut::new(),
            state: OutwardState::Header,
        }
    }

    /// Translates `bytes` into `out`.
    pub(crate) fn translate(&mut self, bytes: &[u8], out: &mut BytesMut) {
        if self.state == OutwardState::Rest {
            out.put_slice(bytes);
            return;
        }
        self.unread.put_slice(bytes);
        if self.state == OutwardState::Header {
            if self.unread.len() < super::AMQP_HEADER_LEN {
                return;
            }
            out.put(self.unread.split_to(super::AMQP_HEADER_LEN));
            self.state = OutwardState::Open;
        }
        if self.state == OutwardState::Open {
            let Some(frame) = next_frame(&mut self.unread) else {
                return;
            };
            // The engine's first frame is its `open` (§2.4.1), unless it has nothing to say but `close`.
            let is_open = Performative::of(&frame[8..]).is_some_and(|found| found.kind == Kind::Open);
            if is_open {
                put_frame(out, 0, &open(&self.container_id), None);
            } else {
                out.put_slice(&frame);
            }
            self.state = OutwardState::Rest;
        }
        out.put(self.unread.split());
    }
}

/// `open` (§2.7.1) with all its ten fields, as the real hub fills them.
fn open(container_id: &str) -> Vec<u8> {
    let mut fields = vec![0xa1, u8::try_from(container_id.len()).unwrap_or(0)];
    fields.extend_from_slice(container_id.as_bytes());
    fields.extend_from_slice(&[0xa1, 9]); // hostname
    fields.extend_from_slice(b"localhost");
    fields.push(0x70); // max-frame-size
    fields.extend_from_slice(&MAX_FRAME_SIZE.to_be_bytes());
    fields.push(0x60); // channel-max
    fields.extend_from_slice(&CHANNEL_MAX.to_be_bytes());
    fields.push(0x70); // idle-time-out
    fields.extend_from_slice(&IDLE_TIME_OUT_MS.to_be_bytes());
    fields.extend_from_slice(&[0x40; 5]); // locales, capabilities, properties
    let size = u8::try_from(fields.len() + 1).unwrap_or(0);
    let mut open = vec![0x00, 0x53, 0x10, 0xc0, size, 10];
    open.append(&mut fields);
    open
}

/// Takes a whole frame off the front. The guard has seen to it that the size is at least that of a header.
fn next_frame(unread: &mut BytesMut) -> Option<BytesMut> {
    let size = u32::from_be_bytes(*unread.first_chunk()?) as usize;
    (size >= super::AMQP_HEADER_LEN && unread.len() >= size).then(|| unread.split_to(size))
}

fn put_frame(out: &mut BytesMut, channel: u16, performative: &[u8], payload: Option<&[u8]>) {
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

/// How many bytes a data section adds to its content.
const DATA_SECTION: usize = 8;

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
