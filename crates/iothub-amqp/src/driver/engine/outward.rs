//! What the engine writes, looked at once more before it goes: nothing on a link or session that is not there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::manifest::{Gate, Manifest};
use super::performative::frame_size;

/// A stream on which nothing leaves of what has ended.
#[derive(Debug)]
pub(super) struct Outward<S> {
    stream: S,
    gate: Gate,
    /// How many bytes, from the next one on, may go.
    passed: usize,
}

impl<S> Outward<S> {
    pub(super) fn new(stream: S, manifest: Manifest) -> Self {
        Self {
            stream,
            gate: Gate::new(manifest),
            passed: 0,
        }
    }

    /// Takes note of the frames at the front of `bytes`, which begins with one, and says how far they may go. Where that is
    /// nowhere, how much of it is to be left out.
    fn look(&mut self, bytes: &[u8]) -> Front {
        let mut at = 0;
        while let Some(size) = bytes.get(at..).and_then(frame_size) {
            // The engine writes whole frames, and goes on behind what was taken of them.
            let frame = bytes.get(at..at + size).unwrap_or_default();
            if !self.gate.may_leave(frame) {
                return if at == 0 {
                    Front::LeftOut(size)
                } else {
                    Front::Passes(at)
                };
            }
            at += size.max(1);
        }
        Front::Passes(at.max(bytes.len()))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Front {
    Passes(usize),
    LeftOut(usize),
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outward<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.passed == 0 {
            match this.look(bytes) {
                Front::LeftOut(size) => {
                    tracing::debug!("a frame of a link or session that is gone is left out");
                    return Poll::Ready(Ok(size));
                }
                Front::Passes(passed) => this.passed = passed,
            }
        }
        let may_go = &bytes[..bytes.len().min(this.passed)];
        let taken = ready!(Pin::new(&mut this.stream).poll_write(cx, may_go))?;
        this.passed -= taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outward<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const BEGIN: u8 = 0x11;
    const ATTACH: u8 = 0x12;
    const FLOW: u8 = 0x13;
    const DETACH: u8 = 0x16;
    const END: u8 = 0x17;

    /// A frame on channel 2 with a performative of these fields (§2.3, §2.7).
    fn frame(performative: u8, fields: &[&[u8]], payload: &[u8]) -> Vec<u8> {
        let list = fields.concat();
        let (size, count) = (
            u8::try_from(list.len() + 1).unwrap(),
            u8::try_from(fields.len()).unwrap(),
        );
        let body = [&[0x00, 0x53, performative, 0xc0, size, count], &list[..], payload].concat();
        let size = u32::try_from(8 + body.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 2], &body].concat()
    }

    fn begin() -> Vec<u8> {
        frame(BEGIN, &[&[0x40], &[0x43], &[0x52, 8], &[0x52, 8]], &[])
    }

    fn attach(handle: u8) -> Vec<u8> {
        frame(ATTACH, &[&[0xa1, 1, b'l'], &[0x52, handle], &[0x41]], &[])
    }

    fn flow(handle: Option<u8>) -> Vec<u8> {
        let mut fields: Vec<&[u8]> = vec![&[0x43], &[0x52, 8], &[0x43], &[0x52, 8]];
        let handle = handle.map(|handle| [0x52, handle]);
        fields.extend(handle.iter().map(|handle| &handle[..]));
        frame(FLOW, &fields, &[])
    }

    fn detach(handle: u8) -> Vec<u8> {
        frame(DETACH, &[&[0x52, handle], &[0x41]], &[])
    }

    fn transfer(payload: usize) -> Vec<u8> {
        frame(0x14, &[&[0x43], &[0x43]], &vec![0x13; payload])
    }

    /// What goes out of what is written, whatever pieces of it the stream takes at a time.
    async fn goes(written: &[Vec<u8>]) -> Vec<u8> {
        let mut seen = Vec::new();
        for room in [1, 7, 64, 4096] {
            let (near, mut far) = tokio::io::duplex(room);
            let mut outward = Outward::new(near, Manifest::default());
            let written = written.concat();
            let writes = async {
                outward.write_all(&written).await.unwrap();
                drop(outward);
            };
            let mut out = Vec::new();
            let reads = tokio::io::AsyncReadExt::read_to_end(&mut far, &mut out);
            let ((), read) = tokio::join!(writes, reads);
            read.unwrap();
            seen.push(out);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
        seen.remove(0)
    }

    #[tokio::test]
    async fn credit_of_a_link_that_is_gone_stays_here_and_all_else_goes() {
        let header = b"AMQP\x00\x01\x00\x00".to_vec();
        let frames = [
            header,
            begin(),
            attach(0),
            attach(1),
            flow(Some(0)),
            transfer(5_000),
            detach(0),
            flow(Some(0)),
            flow(Some(1)),
            flow(None),
        ];
        let stays = 7;
        let left = [&frames[..stays], &frames[stays + 1..]].concat();
        assert_eq!(goes(&frames).await, left.concat());
    }

    #[tokio::test]
    async fn a_handle_that_is_taken_again_gives_credit_again_and_a_session_takes_all_with_it() {
        let again = [begin(), attach(3), detach(3), attach(3), flow(Some(3))];
        assert_eq!(goes(&again).await, again.concat());
        let ended = [begin(), attach(3), frame(END, &[], &[]), begin(), flow(Some(3))];
        assert_eq!(goes(&ended).await, ended[..4].concat());
    }
}
