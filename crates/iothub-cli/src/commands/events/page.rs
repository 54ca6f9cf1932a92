//! Where lines of events go: many of them at a time, so that a flood of them is not slowed by its own showing.

use std::io::{BufWriter, ErrorKind, Write};

use crate::failure::Failure;

/// Standard output or a file.
pub(super) struct Page {
    to: BufWriter<Box<dyn Write + Send>>,
    what: String,
    /// The reader has gone.
    is_closed: bool,
}

impl Page {
    pub(super) fn new(to: Box<dyn Write + Send>, what: impl Into<String>) -> Self {
        Self {
            to: BufWriter::with_capacity(ROOM, to),
            what: what.into(),
            is_closed: false,
        }
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        let written = self
            .to
            .write_all(line.as_bytes())
            .and_then(|()| self.to.write_all(b"\n"));
        self.note(written)
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.to.flush();
        self.note(flushed)
    }

    /// Nobody reads any more, which is no failure.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn note(&mut self, done: std::io::Result<()>) -> Result<(), Failure> {
        match done {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::unexpected(format!("can't write to {}", self.what)).because(&error)),
        }
    }
}

const ROOM: usize = 64 * 1024;
