//! The task that writes: it swaps the waiting bytes out, writes them piece by piece, and times every piece.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::time::{Instant, timeout_at};

use crate::stream::{Blown, Shared};

/// Writes until the stream is shut down, dropped or blown.
pub(crate) async fn write_out<S: AsyncWrite>(half: WriteHalf<S>, shared: Arc<Shared>, stall: Duration) {
    let mut fuse = shared.subscribe();
    let mut writer = Writer {
        half,
        shared: Arc::clone(&shared),
        stall,
        last_call: None,
    };
    let ended = tokio::select! {
        biased;
        _ = fuse.wait_for(|why| why.is_some_and(Blown::stops_writes)) => Ok(()),
        ended = writer.run() => ended,
    };
    if let Err(why) = ended {
        shared.blow(why);
    }
    shared.writer_is_done();
}

struct Writer<S> {
    half: WriteHalf<S>,
    shared: Arc<Shared>,
    stall: Duration,
    /// Set once the owner has closed or dropped the stream: what is left must be out by then.
    last_call: Option<Instant>,
}

impl<S: AsyncWrite> Writer<S> {
    async fn run(&mut self) -> Result<(), Blown> {
        while let Some(chunk) = self.shared.next_chunk().await {
            self.write(chunk).await?;
        }
        let deadline = self.deadline();
        // The peer may be gone already, and nobody is left to tell.
        let _ = timeout_at(deadline, self.half.shutdown()).await;
        Ok(())
    }

    async fn write(&mut self, mut chunk: BytesMut) -> Result<(), Blown> {
        while chunk.has_remaining() {
            let deadline = self.deadline();
            // Progress is what counts, not how long the whole takes: a slow peer is not a stalled one. A flush shows
            // no progress of its own, so a piece is what one stall time must be enough for.
            let piece = &chunk[..chunk.len().min(PIECE)];
            match timeout_at(deadline, write_piece(&mut self.half, piece)).await {
                Err(_) => return Err(Blown::Stalled),
                Ok(Err(error)) => return Err(Blown::WriteFailed(error.kind())),
                Ok(Ok(taken)) => chunk.advance(taken),
            }
        }
        Ok(())
    }

    /// By when the next step must be done.
    fn deadline(&mut self) -> Instant {
        let deadline = Instant::now() + self.stall;
        if self.last_call.is_none() && self.shared.is_closing() {
            self.last_call = Some(deadline);
        }
        self.last_call.unwrap_or(deadline)
    }
}

async fn write_piece<W: AsyncWrite + Unpin>(half: &mut W, piece: &[u8]) -> io::Result<usize> {
    let taken = half.write(piece).await?;
    if taken == 0 {
        return Err(io::Error::from(io::ErrorKind::WriteZero));
    }
    half.flush().await?;
    Ok(taken)
}

/// One TLS record's worth of bytes.
const PIECE: usize = 16 * 1024;
