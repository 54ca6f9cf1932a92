//! Goal: the stream ends when it must, tells why, and a peer that does not read stops nothing but the writes.
//! Method: an in-memory pipe whose other end the test plays, on tokio's paused clock.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use iothub_frame::{Blown, Fuse, Guarded, Limits, Violation};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, timeout};

const HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";
const HEARTBEAT: &[u8] = b"\x00\x00\x00\x08\x02\x00\x00\x00";

fn guarded(pipe: usize) -> (Guarded<DuplexStream>, Fuse, DuplexStream) {
    let (ours, theirs) = duplex(pipe);
    let (stream, fuse) = Guarded::new(
        ours,
        Limits {
            stall: Duration::from_secs(3),
            ..Limits::default()
        },
    );
    (stream, fuse, theirs)
}

#[tokio::test(start_paused = true)]
async fn whole_frames_pass_in_both_directions() {
    let (mut stream, fuse, mut peer) = guarded(1024);
    for byte in [HEADER, HEARTBEAT].concat() {
        peer.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut read = [0; 16];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, &[HEADER, HEARTBEAT].concat()[..]);

    stream.write_all(b"out").await.unwrap();
    let mut out = [0; 3];
    peer.read_exact(&mut out).await.unwrap();
    assert_eq!(&out, b"out");
    assert_eq!(fuse.why(), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_frame_passes_before_it_is_whole() {
    let (mut stream, _fuse, mut peer) = guarded(1024);
    peer.write_all(HEADER).await.unwrap();
    peer.write_all(&HEARTBEAT[..7]).await.unwrap();
    let mut read = [0; 16];
    assert_eq!(stream.read(&mut read).await.unwrap(), 8);
    assert!(
        timeout(Duration::from_secs(1), stream.read(&mut read))
            .await
            .is_err()
    );
    peer.write_all(&HEARTBEAT[7..]).await.unwrap();
    assert_eq!(stream.read(&mut read).await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_that_a_listener_peeked_at_come_first() {
    let (ours, mut peer) = duplex(1024);
    let (mut stream, _fuse) = Guarded::with_prefix(ours, HEADER, Limits::default());
    peer.write_all(HEARTBEAT).await.unwrap();
    let mut read = [0; 16];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, &[HEADER, HEARTBEAT].concat()[..]);
}

#[tokio::test(start_paused = true)]
async fn a_violation_fails_the_read_and_the_write_and_is_the_reason() {
    let (mut stream, fuse, mut peer) = guarded(1024);
    peer.write_all(HEADER).await.unwrap();
    peer.write_all(&[0, 0, 0, 5]).await.unwrap();
    let mut read = [0; 16];
    assert_eq!(stream.read(&mut read).await.unwrap(), 8);
    let error = stream.read(&mut read).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(fuse.why(), Some(Blown::Misbehaved(Violation::ShortFrame(5))));
    assert!(stream.write(b"x").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_end_between_frames_is_an_end_and_inside_one_is_an_error() {
    let (mut stream, fuse, mut peer) = guarded(1024);
    peer.write_all(HEADER).await.unwrap();
    drop(peer);
    let mut read = Vec::new();
    assert_eq!(stream.read_to_end(&mut read).await.unwrap(), 8);
    assert_eq!(fuse.why(), Some(Blown::PeerClosed));

    let (mut stream, fuse, mut peer) = guarded(1024);
    peer.write_all(HEADER).await.unwrap();
    peer.write_all(&HEARTBEAT[..5]).await.unwrap();
    drop(peer);
    let error = stream.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(fuse.why(), Some(Blown::Truncated));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_blocks_no_write_and_no_read_and_ends_after_the_stall_time() {
    let (mut stream, fuse, mut peer) = guarded(64);
    let begun = Instant::now();
    stream.write_all(&[0; 100_000]).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);

    peer.write_all(HEADER).await.unwrap();
    let mut read = [0; 8];
    stream.read_exact(&mut read).await.unwrap();

    assert_eq!(fuse.ended().await, Blown::Stalled);
    assert_eq!(begun.elapsed().as_secs(), 3);
    let error = stream.read(&mut read).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_is_not_stalled() {
    let (mut stream, fuse, mut peer) = guarded(16 * 1024);
    stream.write_all(&vec![7; 160 * 1024]).await.unwrap();
    let mut piece = vec![0; 16 * 1024];
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(2)).await;
        peer.read_exact(&mut piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(fuse.why(), None);
}

#[tokio::test(start_paused = true)]
async fn above_the_high_mark_a_write_waits_until_the_writer_took_the_bytes() {
    let (ours, mut peer) = duplex(8);
    let limits = Limits {
        out_high: 100,
        ..Limits::default()
    };
    let (mut stream, _fuse) = Guarded::new(ours, limits);
    stream.write_all(&[1; 100]).await.unwrap(); // the writer task takes these
    tokio::task::yield_now().await;
    stream.write_all(&[2; 100]).await.unwrap(); // these wait behind them
    assert!(timeout(Duration::from_secs(1), stream.write(&[3])).await.is_err());
    let mut read = vec![0; 150];
    peer.read_exact(&mut read).await.unwrap();
    timeout(Duration::from_secs(1), stream.write(&[3]))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_fuse_ends_a_read_that_waits_and_throws_away_what_waits_to_leave() {
    let (mut stream, fuse, mut peer) = guarded(4);
    stream.write_all(&[9; 1000]).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut read = [0; 8];
        let error = stream.read(&mut read).await.unwrap_err();
        (error.kind(), stream)
    });
    tokio::task::yield_now().await;
    fuse.blow(Blown::Stopped);
    fuse.blow(Blown::Stalled);
    let (kind, stream) = reading.await.unwrap();
    assert_eq!(kind, io::ErrorKind::ConnectionAborted);
    assert_eq!(fuse.why(), Some(Blown::Stopped), "the first reason stays");
    fuse.drained().await;
    drop(stream);
    let mut left = Vec::new();
    peer.read_to_end(&mut left).await.unwrap();
    assert!(left.len() <= 8, "{}", left.len());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_lets_what_waits_leave_first() {
    let (mut stream, fuse, mut peer) = guarded(16);
    stream.write_all(&[5; 5000]).await.unwrap();
    drop(stream);
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.unwrap();
    assert_eq!(read.len(), 5000);
    fuse.drained().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_waits_for_a_silent_peer_only_for_the_stall_time() {
    let (mut stream, fuse, _peer) = guarded(16);
    stream.write_all(&[5; 5000]).await.unwrap();
    let begun = Instant::now();
    drop(stream);
    fuse.drained().await;
    assert!(begun.elapsed() <= Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_when_everything_has_left() {
    let (mut stream, fuse, mut peer) = guarded(16);
    stream.write_all(&[5; 500]).await.unwrap();
    let reader = tokio::spawn(async move {
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        read.len()
    });
    stream.shutdown().await.unwrap();
    assert_eq!(reader.await.unwrap(), 500);
    fuse.drained().await;
    assert_eq!(
        stream.write(b"late").await.unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

/// Counts the writes that come to it.
struct Counting {
    inner: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn frames_that_wait_for_the_writer_leave_together() {
    const FRAMES: usize = 100;
    let (inner, mut peer) = duplex(64 * 1024);
    let writes = Arc::new(AtomicUsize::new(0));
    let counting = Counting {
        inner,
        writes: Arc::clone(&writes),
    };
    let (mut stream, _fuse) = Guarded::new(counting, Limits::default());
    // As the engine does it: a write and a flush for each.
    for _ in 0..FRAMES {
        stream.write_all(HEARTBEAT).await.unwrap();
        stream.flush().await.unwrap();
    }
    peer.read_exact(&mut [0; 8 * FRAMES]).await.unwrap();
    let writes = writes.load(Ordering::Relaxed);
    assert!(writes <= FRAMES / 10, "{writes} writes");
}
