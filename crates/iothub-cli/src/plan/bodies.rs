//! Message bodies, one after another, as they can be read: never all of a file at once.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use tokio::sync::mpsc;

use crate::args::Input;
use crate::failure::Failure;
use crate::io::Io;

/// Bodies in the order of the command line; the lines of `--jsonl` come last.
pub(crate) struct Bodies {
    given: VecDeque<Given>,
    lines: Option<Source>,
    reading: Option<mpsc::Receiver<io::Result<Body>>>,
}

/// A message's body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// It has more bytes than [`LONGEST_BODY`], which is more than any hub takes: it was not kept.
    TooLong,
}

enum Given {
    Argument(Vec<u8>),
    Stdin(Source),
}

struct Source {
    reader: Box<dyn Read + Send>,
    name: String,
}

impl Bodies {
    pub(crate) fn of(given: Vec<OsString>, jsonl: Option<Input>, io: &mut Io) -> Result<Self, Failure> {
        let given = given.into_iter().map(|body| {
            if body == "-" {
                Given::Stdin(Source {
                    reader: io.take_stdin(),
                    name: Input::Stdin.to_string(),
                })
            } else {
                Given::Argument(body.into_encoded_bytes())
            }
        });
        let given = given.collect();
        let lines = jsonl.map(|input| Source::open(&input, io)).transpose()?;
        Ok(Self {
            given,
            lines,
            reading: None,
        })
    }

    /// The next body. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Body, Failure>> {
        loop {
            if let Some(reading) = &mut self.reading {
                if let Some(read) = reading.recv().await {
                    return Some(
                        read.map_err(|error| Failure::unexpected("reading bodies failed").because(&error)),
                    );
                }
                self.reading = None;
            }
            self.reading = Some(match self.given.pop_front() {
                Some(Given::Argument(body)) => return Some(Ok(Body::of(body))),
                Some(Given::Stdin(source)) => source.read_in_thread(|reader, out| {
                    out(read_whole(reader).map(Some));
                }),
                None => self
                    .lines
                    .take()?
                    .read_in_thread(|reader, out| while out(read_line(reader)) {}),
            });
        }
    }

    /// Gives up what is still to be read from files, which may have no end.
    pub(crate) fn stop_reading(&mut self) -> bool {
        self.given.retain(|given| matches!(given, Given::Argument(_)));
        let had_more = self.lines.is_some() || self.reading.is_some();
        self.lines = None;
        self.reading = None;
        had_more
    }
}

impl Body {
    fn of(bytes: Vec<u8>) -> Self {
        if bytes.len() > LONGEST_BODY {
            Self::TooLong
        } else {
            Self::Whole(bytes)
        }
    }
}

impl Source {
    fn open(input: &Input, io: &mut Io) -> Result<Self, Failure> {
        let name = input.to_string();
        let unreadable = |error: io::Error| Failure::usage(format!("can't read {name}")).because(&error);
        let reader: Box<dyn Read + Send> = match input {
            Input::Stdin => io.take_stdin(),
            Input::File(path) => {
                let file = File::open(path).map_err(unreadable)?;
                if file.metadata().map_err(unreadable)?.is_dir() {
                    return Err(unreadable(io::ErrorKind::IsADirectory.into()));
                }
                Box::new(file)
            }
        };
        Ok(Self { reader, name })
    }

    /// Reads in a thread of its own: a terminal or pipe may never say anything, and must not hold up the rest. The
    /// thread ends with its source, or when nobody listens to it any more.
    fn read_in_thread<F>(self, read: F) -> mpsc::Receiver<io::Result<Body>>
    where
        F: FnOnce(&mut dyn BufRead, &mut dyn FnMut(io::Result<Option<Body>>) -> bool) + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        tracing::debug!(name = self.name, "reading bodies");
        std::thread::spawn(move || {
            let mut reader = BufReader::new(self.reader);
            read(&mut reader, &mut |item| match item {
                Ok(None) => false,
                Ok(Some(body)) => sender.blocking_send(Ok(body)).is_ok(),
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    false
                }
            });
        });
        receiver
    }
}

fn read_whole(reader: &mut dyn BufRead) -> io::Result<Body> {
    let mut bytes = Vec::new();
    reader.take(LONGEST_BODY as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Body::of(bytes))
}

/// The next line with text in it, without its line ending. JSON Lines lets a file end in empty lines.
fn read_line(reader: &mut dyn BufRead) -> io::Result<Option<Body>> {
    loop {
        let mut line = Vec::new();
        let mut length: usize = 0;
        loop {
            let buffer = match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                if length == 0 {
                    return Ok(None);
                }
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(buffer.len());
            length = length.saturating_add(taken);
            // Of a line that is too long nothing more is kept, but its end is looked for.
            if length <= LONGEST_BODY + 2 {
                line.extend_from_slice(&buffer[..taken]);
            }
            reader.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if length > LONGEST_BODY + 2 {
            return Ok(Some(Body::TooLong));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Body::of(line)));
        }
    }
}

/// The most bytes of a body that are kept: four times what a hub accepts, so that the hub can have its own word about
/// what is a little too large.
pub(crate) const LONGEST_BODY: usize = 1024 * 1024;

/// How many bodies wait to be sent, beside those that are on their way.
const READ_AHEAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut text: &[u8]) -> Vec<Body> {
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut text).unwrap() {
            lines.push(line);
        }
        lines
    }

    fn whole(body: &[u8]) -> Body {
        Body::Whole(body.to_vec())
    }

    #[test]
    fn each_line_is_a_body_without_its_ending() {
        assert_eq!(
            lines(b"a\nb\r\n c \nd"),
            [whole(b"a"), whole(b"b"), whole(b" c "), whole(b"d")]
        );
        assert_eq!(lines(b"\xff\x00\n"), [whole(b"\xff\x00")]);
    }

    #[test]
    fn lines_without_text_are_skipped() {
        assert_eq!(lines(b"\n\r\n  \t\na\n\n\n"), [whole(b"a")]);
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), []);
    }

    #[test]
    fn a_line_that_no_hub_takes_is_not_kept_and_the_next_one_is_found() {
        let mut text = vec![b'x'; LONGEST_BODY];
        text.extend(b"\r\n");
        text.extend(vec![b'y'; LONGEST_BODY + 1]);
        text.extend(b"\nz\n");
        assert_eq!(
            lines(&text),
            [Body::Whole(vec![b'x'; LONGEST_BODY]), Body::TooLong, whole(b"z")]
        );
        let long = vec![b'y'; 3 * LONGEST_BODY];
        assert_eq!(lines(&long), [Body::TooLong]);
        assert_eq!(read_whole(&mut &long[..]).unwrap(), Body::TooLong);
    }
}
