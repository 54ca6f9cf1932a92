//! What arrives, checked once more before the engine sees it: whole messages.
//!
//! The frame guard walks performatives; a message's sections may span frames, so they can be walked only when all of
//! them are there. The engine decodes a message recursively, so nothing may reach it that is nested without bound.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use iothub_frame::{Blown, Fuse, Violation, walk};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heartbeat::halve_idle_time_out;

/// A stream whose incoming messages are sound.
#[derive(Debug)]
pub(super) struct Inward<S> {
    stream: S,
    fuse: Fuse,
    unread: BytesMut,
    /// How many bytes at the front of `unread` are checked.
    passed: usize,
    /// What has arrived of messages that are not whole, by channel and handle.
    partial: BTreeMap<(u16, u32), Vec<u8>>,
    /// The peer's `open` is here.
    opened: bool,
}

impl<S> Inward<S> {
    pub(super) fn new(stream: S, fuse: Fuse) -> Self {
        Self {
            stream,
            fuse,
            unread: BytesMut::new(),
            passed: 0,
            partial: BTreeMap::new(),
            opened: false,
        }
    }

    /// Passes whole frames; the guard below has seen to it that sizes are sound.
    fn check(&mut self) -> Result<(), Violation> {
        while let Some(size) = self.unread.get(self.passed..).and_then(frame_size) {
            let Some(frame) = self.unread.get_mut(self.passed..self.passed + size) else {
                break;
            };
            if !self.opened {
                self.opened = halve_idle_time_out(frame)?;
            }
            if let Some(transfer) = Transfer::in_frame(frame)? {
                transfer.check(&mut self.partial)?;
            }
            self.passed += size;
        }
        Ok(())
    }
}

/// How many bytes a frame or protocol header takes that begins here, once its own head is there.
pub(super) fn frame_size(bytes: &[u8]) -> Option<usize> {
    match *bytes.first_chunk::<8>()? {
        [b'A', b'M', b'Q', b'P', ..] => Some(8),
        [a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d]) as usize),
    }
}

/// The channel of a frame, its performative's code, and its fields, with what stands behind them; `None` for what is not of
/// AMQP's own frames.
pub(super) fn performative(frame: &[u8]) -> Option<(u16, u8, &[u8])> {
    let [_, _, _, _, offset, AMQP, high, low, ..] = *frame else {
        return None;
    };
    let body = frame.get(usize::from(offset) * 4..)?;
    let (code, fields) = match body {
        [0x00, 0x53, code, fields @ ..] | [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code, fields @ ..] => {
            (*code, fields)
        }
        _ => return None,
    };
    Some((u16::from_be_bytes([high, low]), code, fields))
}

pub(super) struct Transfer<'a> {
    pub(super) link: (u16, u32),
    pub(super) more: bool,
    aborted: bool,
    payload: &'a [u8],
}

impl<'a> Transfer<'a> {
    /// Reads what is needed of a transfer (§2.7.5); `None` for every other frame.
    pub(super) fn in_frame(frame: &'a [u8]) -> Result<Option<Self>, Violation> {
        let Some((channel, TRANSFER, fields)) = performative(frame) else {
            return Ok(None);
        };
        let end = walk::check_value(fields, 0)?;
        let mut at = match fields.first() {
            Some(0xc0) => 3,
            Some(0xd0) => 9,
            _ => end, // an empty list, which the engine refuses
        };
        let mut handle = 0;
        let (mut more, mut aborted) = (false, false);
        for field in 0..=ABORTED {
            if at >= end {
                break;
            }
            let next = walk::check_value(fields, at)?;
            let value = fields.get(at..next).unwrap_or_default();
            match field {
                HANDLE => handle = uint(value),
                MORE => more = matches!(value, [0x41] | [0x56, 1]),
                ABORTED => aborted = matches!(value, [0x41] | [0x56, 1]),
                _ => {}
            }
            at = next;
        }
        Ok(Some(Self {
            link: (channel, handle),
            more,
            aborted,
            payload: fields.get(end..).unwrap_or_default(),
        }))
    }

    fn check(self, partial: &mut BTreeMap<(u16, u32), Vec<u8>>) -> Result<(), Violation> {
        if self.aborted {
            partial.remove(&self.link);
            return Ok(());
        }
        if self.more {
            let held: usize = partial.values().map(Vec::len).sum();
            let size = held + self.payload.len();
            if size > MAX_PARTIAL {
                return Err(Violation::Oversize {
                    size: u32::try_from(size).unwrap_or(u32::MAX),
                    limit: MAX_PARTIAL as u32,
                });
            }
            partial
                .entry(self.link)
                .or_default()
                .extend_from_slice(self.payload);
            return Ok(());
        }
        match partial.remove(&self.link) {
            None => walk::check_message(self.payload),
            Some(mut whole) => {
                whole.extend_from_slice(self.payload);
                walk::check_message(&whole)
            }
        }
    }
}

pub(super) fn uint(value: &[u8]) -> u32 {
    match *value {
        [0x52, small] => u32::from(small),
        [0x70, a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inward<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.passed > 0 {
                let taken = this.passed.min(buf.remaining());
                buf.put_slice(&this.unread[..taken]);
                this.unread.advance(taken);
                this.passed -= taken;
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.unread.extend_from_slice(chunk.filled());
            if let Err(violation) = this.check() {
                this.fuse.blow(Blown::Misbehaved(violation));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inward<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const AMQP: u8 = 0;
const TRANSFER: u8 = 0x14;
/// The positions of a transfer's fields.
const HANDLE: usize = 0;
const MORE: usize = 5;
const ABORTED: usize = 9;

/// The most bytes of messages that are not whole: a hub sends a device at most 64 KiB, and we grant few messages.
const MAX_PARTIAL: usize = 1024 * 1024;
const CHUNK: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A transfer of handle 3 on channel 1, with `more` as it is said, and this payload.
    fn transfer(more: u8, payload: &[u8]) -> Vec<u8> {
        let performative = [
            0x00, 0x53, 0x14, 0xc0, 9, 6, 0x52, 3, 0x43, 0xa0, 0, 0x43, 0x42, more,
        ];
        let size = u32::try_from(8 + performative.len() + payload.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 1], &performative, payload].concat()
    }

    fn check(frames: &[Vec<u8>]) -> Result<usize, Violation> {
        let mut partial = BTreeMap::new();
        for frame in frames {
            let transfer = Transfer::in_frame(frame)?.expect("a transfer");
            assert_eq!(transfer.link, (1, 3));
            transfer.check(&mut partial)?;
        }
        Ok(partial.values().map(Vec::len).sum())
    }

    const LAST: u8 = 0x42;
    const MORE_FOLLOWS: u8 = 0x41;
    /// A data section.
    const SOUND: [u8; 7] = [0x00, 0x53, 0x75, 0xa0, 2, b'h', b'i'];

    #[test]
    fn a_message_passes_in_one_frame_or_several_and_leaves_nothing_behind() {
        assert_eq!(check(&[transfer(LAST, &SOUND)]), Ok(0));
        let parts = [transfer(MORE_FOLLOWS, &SOUND[..4]), transfer(LAST, &SOUND[4..])];
        assert_eq!(check(&parts[..1]), Ok(4));
        assert_eq!(check(&parts), Ok(0));
    }

    #[test]
    fn a_message_that_would_overflow_a_decoder_s_stack_is_stopped_however_it_is_cut() {
        let nested = [0x00; 4_500];
        assert_eq!(check(&[transfer(LAST, &nested)]), Err(Violation::Depth));
        let parts = [
            transfer(MORE_FOLLOWS, &nested[..20]),
            transfer(LAST, &nested[20..]),
        ];
        assert_eq!(check(&parts), Err(Violation::Depth));
        assert_eq!(
            check(&[transfer(LAST, &[0x40])]),
            Err(Violation::NotDescribed(0x40))
        );
    }

    #[test]
    fn a_message_that_never_ends_is_stopped_at_a_bound() {
        let part = transfer(MORE_FOLLOWS, &vec![0; 60_000]);
        let parts = vec![part; 20];
        assert!(matches!(check(&parts), Err(Violation::Oversize { .. })));
    }
}
