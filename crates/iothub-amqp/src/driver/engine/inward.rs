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

use super::begins::{Begins, Fate, end};
use super::farewells::Answers;
use super::heartbeat::halve_idle_time_out;
use super::manifest::{Links, Manifest};
use super::performative::{DETACH, END, TRANSFER, first_fields, frame_size, performative, uint};
use super::words::{Word, Words};

/// A stream whose incoming messages are sound.
#[derive(Debug)]
pub(super) struct Inward<S> {
    stream: S,
    fuse: Fuse,
    unread: BytesMut,
    /// How many bytes at the front of `unread` are checked.
    passed: usize,
    /// What has arrived of messages that are not whole, by channel and handle.
    partial: Partial,
    answers: Answers,
    words: Words,
    /// The peer's `open` is here.
    opened: bool,
    begins: Begins,
    /// What is to be written to the peer, in whole frames.
    unsaid: Vec<u8>,
}

impl<S> Inward<S> {
    pub(super) fn new(stream: S, fuse: Fuse, manifest: &Manifest) -> Self {
        Self {
            stream,
            fuse,
            unread: BytesMut::new(),
            passed: 0,
            partial: Partial {
                parts: BTreeMap::new(),
                links: manifest.links(),
            },
            answers: Answers::to(manifest.farewells()),
            words: manifest.words(),
            opened: false,
            begins: manifest.begins(),
            unsaid: Vec::new(),
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
            match self.begins.judge(frame) {
                Fate::Passes => {}
                fate => {
                    tracing::debug!("a frame of a session that was given up is left out");
                    self.replace(size, &[]);
                    if let Fate::Ended(channel) = fate {
                        self.unsaid.extend(end(channel));
                    }
                    continue;
                }
            }
            let late = self.words.judge(frame, self.answers.ours(frame));
            if late != Word::Passes {
                tracing::debug!("a word on what a link has sent that is gone is left out");
                let instead = match late {
                    Word::Instead(frame) => frame,
                    _ => Vec::new(),
                };
                self.replace(size, &instead);
                self.passed += instead.len();
                continue;
            }
            match Transfer::in_frame(frame)? {
                Some(transfer) => transfer.check(&mut self.partial)?,
                None => self.partial.forget(frame),
            }
            let Some(instead) = self.answers.hear(frame) else {
                self.passed += size;
                continue;
            };
            self.replace(size, &instead);
            self.passed += instead.len();
        }
        Ok(())
    }

    /// Puts this in the place of so many bytes, the first that are not checked.
    fn replace(&mut self, size: usize, instead: &[u8]) {
        let behind = self.unread.split_off(self.passed + size);
        self.unread.truncate(self.passed);
        self.unread.extend_from_slice(instead);
        self.unread.unsplit(behind);
    }
}

pub(super) struct Transfer<'a> {
    pub(super) link: (u16, u32),
    pub(super) more: bool,
    /// Its delivery, if that is not settled.
    pub(super) awaits_word: Option<u32>,
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
        let (mut delivery, mut settled) = (None, false);
        let (mut more, mut aborted) = (false, false);
        for field in 0..=ABORTED {
            if at >= end {
                break;
            }
            let next = walk::check_value(fields, at)?;
            let value = fields.get(at..next).unwrap_or_default();
            match field {
                HANDLE => handle = uint(value),
                DELIVERY if value != [NULL] => delivery = Some(uint(value)),
                SETTLED => settled = matches!(value, [0x41] | [0x56, 1]),
                MORE => more = matches!(value, [0x41] | [0x56, 1]),
                ABORTED => aborted = matches!(value, [0x41] | [0x56, 1]),
                _ => {}
            }
            at = next;
        }
        Ok(Some(Self {
            link: (channel, handle),
            more,
            awaits_word: delivery.filter(|_| !settled),
            aborted,
            payload: fields.get(end..).unwrap_or_default(),
        }))
    }

    fn check(self, partial: &mut Partial) -> Result<(), Violation> {
        if self.aborted {
            partial.parts.remove(&self.link);
            return Ok(());
        }
        if self.more {
            return partial.add(self.link, self.payload);
        }
        match partial.parts.remove(&self.link) {
            None => walk::check_message(self.payload),
            Some(mut whole) => {
                whole.extend_from_slice(self.payload);
                walk::check_message(&whole)
            }
        }
    }
}

/// What has arrived of messages that are not whole, by channel and handle: a message a link at a time (§2.6.14).
#[derive(Debug)]
struct Partial {
    parts: BTreeMap<(u16, u32), Vec<u8>>,
    /// Those that this side has attached.
    links: Links,
}

impl Partial {
    fn add(&mut self, link: (u16, u32), part: &[u8]) -> Result<(), Violation> {
        let before: usize = self.parts.values().map(Vec::len).sum();
        let mine = self.parts.get(&link).map_or(0, Vec::len);
        let most = MAX_MESSAGE.saturating_mul(self.links.most().max(1));
        for (size, limit) in [(mine + part.len(), MAX_MESSAGE), (before + part.len(), most)] {
            if size > limit {
                let number = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
                return Err(Violation::Oversize {
                    size: number(size),
                    limit: number(limit),
                });
            }
        }
        self.parts.entry(link).or_default().extend_from_slice(part);
        Ok(())
    }

    /// What a link has begun that the peer detaches, or whose session it ends, is not the beginning of the next one's.
    fn forget(&mut self, frame: &[u8]) {
        match performative(frame) {
            Some((channel, DETACH, fields)) => {
                if let Ok([handle]) = first_fields(fields) {
                    self.parts.remove(&(channel, uint(handle)));
                }
            }
            Some((channel, END, _)) => self.parts.retain(|(of, _), _| *of != channel),
            _ => {}
        }
    }
}

impl<S: AsyncWrite + Unpin> Inward<S> {
    /// Writes what this side has to say here, between the engine's frames: it reads only when it has written one whole.
    fn say(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.unsaid.is_empty()
            && let Poll::Ready(taken) = Pin::new(&mut self.stream).poll_write(cx, &self.unsaid)
        {
            self.unsaid.drain(..taken?);
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Inward<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.say(cx)?;
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

/// The positions of a transfer's fields.
const HANDLE: usize = 0;
const DELIVERY: usize = 1;
const SETTLED: usize = 4;
const MORE: usize = 5;
const NULL: u8 = 0x40;
const ABORTED: usize = 9;

/// The most bytes of a message that comes in parts: the largest that an event hub takes is 1 MiB, to which it adds what it has
/// to say of it. A hub's own are 256 KiB, and 128 KiB to a device.
const MAX_MESSAGE: usize = (1024 + 64) * 1024;
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
        let mut partial = of_links(1);
        for frame in frames {
            let transfer = Transfer::in_frame(frame)?.expect("a transfer");
            assert_eq!(transfer.link, (1, 3));
            transfer.check(&mut partial)?;
        }
        Ok(partial.parts.values().map(Vec::len).sum())
    }

    /// For so many links.
    fn of_links(number: usize) -> Partial {
        let links = Links::default();
        links.are(number);
        Partial {
            parts: BTreeMap::new(),
            links,
        }
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

    /// The engine reads it in each encoding of its descriptor.
    #[test]
    fn a_transfer_by_its_name_is_walked_too() {
        let nested = [0x00; 4_500];
        let plain = transfer(LAST, &nested);
        let name = b"\x00\xa3\x12amqp:transfer:list";
        let body = [&name[..], &plain[8 + 3..]].concat();
        let size = u32::try_from(8 + body.len()).unwrap();
        let named = [&size.to_be_bytes()[..], &plain[4..8], &body].concat();
        assert_eq!(check(&[named]), Err(Violation::Depth));
    }

    /// Part of a message of so many bytes, on this handle.
    fn part(handle: u32, size: usize) -> Transfer<'static> {
        const ZEROES: &[u8] = &[0; 1 << 20];
        Transfer {
            link: (1, handle),
            more: true,
            awaits_word: None,
            aborted: false,
            payload: &ZEROES[..size],
        }
    }

    #[test]
    fn each_link_may_have_begun_a_message_of_the_largest_size() {
        // The events of 32 partitions, as the largest of hubs has them, each all but whole.
        let mut partial = of_links(32);
        for (round, handle) in (0..4).flat_map(|round| (0..32).map(move |handle| (round, handle))) {
            let begun = part(handle, 64 * 1024).check(&mut partial);
            assert_eq!(begun, Ok(()), "round {round} of link {handle}");
        }
        // One link alone has no more than its own.
        let mut alone = of_links(32);
        assert_eq!(part(0, 1 << 20).check(&mut alone), Ok(()));
        let more = part(0, 1 << 20).check(&mut alone);
        assert!(matches!(more, Err(Violation::Oversize { .. })), "{more:?}");
        // And handles of no link make no room.
        let mut few = of_links(2);
        let all: Result<(), Violation> = (0..4).try_for_each(|handle| part(handle, 1 << 20).check(&mut few));
        assert!(matches!(all, Err(Violation::Oversize { .. })), "{all:?}");
    }

    #[test]
    fn what_a_link_has_begun_does_not_outlive_it() {
        let detach = [0, 0, 0, 16, 2, 0, 0, 1, 0x00, 0x53, 0x16, 0xc0, 3, 1, 0x52, 3];
        let end = [0, 0, 0, 12, 2, 0, 0, 1, 0x00, 0x53, 0x17, 0x45];
        for gone in [&detach[..], &end] {
            let mut partial = of_links(1);
            let begun = transfer(MORE_FOLLOWS, &SOUND[..4]);
            Transfer::in_frame(&begun)
                .unwrap()
                .unwrap()
                .check(&mut partial)
                .unwrap();
            partial.forget(gone);
            let next = transfer(LAST, &SOUND);
            let next = Transfer::in_frame(&next).unwrap().unwrap().check(&mut partial);
            assert_eq!(next, Ok(()));
        }
    }

    #[test]
    fn a_message_that_never_ends_is_stopped_at_a_bound() {
        let part = transfer(MORE_FOLLOWS, &vec![0; 60_000]);
        let parts = vec![part; 20];
        assert!(matches!(check(&parts), Err(Violation::Oversize { .. })));
    }
}
