//! `iothub registry import`

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};

use iothub_registry::{BulkChange, BulkError, BulkMode, MAX_BULK, Registry, RegistryError};
use serde_json::{Value, json};

use super::asking::ask;
use crate::args::registry::{Import, Mode};
use crate::args::{Input, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::progress::Progress;
use crate::output::{identity, rows};
use crate::plan::rest::Hub;

pub(super) fn import(args: Import, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("FILE '-'", args.file == Input::Stdin), io)?;
    let output = hub.output;
    let mut lines = Lines::open(&args.file, mode(args.mode), io)?;
    // All of them before anything is changed: what can't be read is told first, with its line.
    let mut total = 0;
    while lines.next()?.is_some() {
        total += 1;
    }
    lines.rewind()?;
    let tally = RefCell::new(Tally::default());
    let done = ask(hub, async |registry| {
        let progress = Progress::counting("identities", Some(total), io);
        send(&registry, &mut lines, &tally, &progress, io).await
    });
    let mut tally = tally.into_inner();
    if !tally.has_begun {
        return done;
    }
    if done.is_ok() || is_interrupted(&done) {
        // Whoever stops it knows nothing of what is under way.
        tally.unknown += std::mem::take(&mut tally.flying);
    }
    tally.print(total, output, io)?;
    done
}

async fn send(
    registry: &Registry,
    lines: &mut Lines,
    tally: &RefCell<Tally>,
    progress: &Progress,
    io: &mut Io,
) -> Result<Exit, Failure> {
    tally.borrow_mut().has_begun = true;
    loop {
        let mut part = Vec::new();
        while part.len() < MAX_BULK
            && let Some(change) = lines.next()?
        {
            part.push(change);
        }
        if part.is_empty() {
            break;
        }
        tally.borrow_mut().flying = part.len() as u64;
        let answer = registry.bulk(&part).await;
        let errors = tally.borrow_mut().landed(answer)?;
        for error in errors {
            progress.aside(|| warn(&error, io));
        }
        part.iter().for_each(|_| progress.step());
    }
    Ok(match tally.borrow().refused {
        0 => Exit::Done,
        _ => Exit::Partial,
    })
}

fn warn(error: &BulkError, io: &mut Io) {
    let module = error.module_id.as_ref().map(|module| format!("/{module}"));
    let name = format!("{}{}", error.device_id, module.unwrap_or_default());
    io.note(&format!("warning: {name}: {}: {}", error.code, error.message));
}

fn is_interrupted(done: &Result<Exit, Failure>) -> bool {
    matches!(done, Err(failure) if failure.exit() == Exit::Interrupted)
}

/// How many identities came to what.
#[derive(Default)]
struct Tally {
    has_begun: bool,
    done: u64,
    refused: u64,
    /// The hub was asked and has not answered.
    flying: u64,
    /// It may have done them.
    unknown: u64,
}

impl Tally {
    /// Takes the hub's answer for what is under way.
    fn landed(
        &mut self,
        answer: Result<iothub_registry::BulkReport, RegistryError>,
    ) -> Result<Vec<BulkError>, Failure> {
        let asked = std::mem::take(&mut self.flying);
        match answer {
            Ok(report) => {
                let refused = (report.errors.len() as u64).min(asked);
                self.refused += refused;
                self.done += asked - refused;
                Ok(report.errors)
            }
            Err(error) => {
                let is_unknown = match &error {
                    RegistryError::Unknown(_) | RegistryError::BadReply(_) => true,
                    // What failed at the hub itself may be done in part.
                    RegistryError::Refused(refusal) => refusal.status >= 500,
                    _ => false,
                };
                if is_unknown {
                    self.unknown += asked;
                }
                Err(error.into())
            }
        }
    }

    fn print(&self, total: u64, output: Output, io: &mut Io) -> Result<(), Failure> {
        // The file may have grown since its lines were counted.
        let not_asked = total.saturating_sub(self.done + self.refused + self.unknown);
        if output != Output::Text {
            let shown = json!({
                "done": self.done,
                "refused": self.refused,
                "unknown": self.unknown,
                "not_asked": not_asked,
            });
            return rows::print_one(&identity::object(shown), output, io);
        }
        let mut line = format!("{} done, {} refused", self.done, self.refused);
        for (count, what) in [(self.unknown, "not known"), (not_asked, "not asked for")] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        io.print(&line)
    }
}

/// The lines of an import, which can be gone through again.
struct Lines {
    reader: BufReader<File>,
    name: String,
    mode: BulkMode,
    /// How many were read.
    at: usize,
}

impl Lines {
    fn open(input: &Input, mode: BulkMode, io: &mut Io) -> Result<Self, Failure> {
        let name = input.to_string();
        let unreadable = |error: std::io::Error| unreadable(&name, &error);
        let mut from: Box<dyn Read> = match input {
            Input::Stdin => io.take_stdin(),
            Input::File(path) => {
                let file = File::open(path).map_err(unreadable)?;
                if file.metadata().map_err(unreadable)?.is_file() {
                    return Ok(Self::of(file, name, mode));
                }
                Box::new(file)
            }
        };
        // A stream comes but once; it may hold keys, and this file has no name.
        let mut file = tempfile::tempfile()
            .map_err(|error| Failure::unexpected("can't make a temporary file").because(&error))?;
        std::io::copy(&mut from, &mut file).map_err(unreadable)?;
        let mut lines = Self::of(file, name, mode);
        lines.rewind()?;
        Ok(lines)
    }

    fn of(file: File, name: String, mode: BulkMode) -> Self {
        Self {
            reader: BufReader::new(file),
            name,
            mode,
            at: 0,
        }
    }

    fn rewind(&mut self) -> Result<(), Failure> {
        self.at = 0;
        self.reader
            .rewind()
            .map_err(|error| unreadable(&self.name, &error))
    }

    fn next(&mut self) -> Result<Option<BulkChange>, Failure> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader)
                .take(LONGEST_LINE + 1)
                .read_until(b'\n', &mut line);
            if read.map_err(|error| unreadable(&self.name, &error))? == 0 {
                return Ok(None);
            }
            self.at += 1;
            let wrong = || Failure::usage(format!("line {} of {} is no identity", self.at, self.name));
            if line.len() as u64 > LONGEST_LINE {
                return Err(wrong().and(format!("it is longer than {LONGEST_LINE} bytes")));
            }
            let line = std::str::from_utf8(&line).map_err(|error| wrong().because(&error))?;
            if line.trim().is_empty() {
                continue;
            }
            let change = match without_mode(line) {
                Some(line) => BulkChange::from_json(&line, self.mode),
                None => BulkChange::from_json(line, self.mode),
            };
            return change.map(Some).map_err(|error| wrong().because(&error));
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::usage(format!("can't read {name}")).because(error)
}

/// A line whose `importMode` is `createOrUpdate`, as export jobs and seeds have it, without it: a bulk knows no such mode, and what --mode
/// says counts.
fn without_mode(line: &str) -> Option<String> {
    const EITHER: &str = "createOrUpdate";
    if !line.contains(EITHER) {
        return None;
    }
    let mut value: Value = serde_json::from_str(line).ok()?;
    let object = value.as_object_mut()?;
    if object.get("importMode").and_then(Value::as_str) != Some(EITHER) {
        return None;
    }
    object.shift_remove("importMode");
    Some(value.to_string())
}

const fn mode(mode: Mode) -> BulkMode {
    match mode {
        Mode::Create => BulkMode::Create,
        Mode::Update => BulkMode::Update,
        Mode::Delete => BulkMode::Delete,
        Mode::UpdateTwin => BulkMode::UpdateTwin,
    }
}

/// In bytes. An identity with the largest twin has far less (tags and properties are at most 32 KiB each).
const LONGEST_LINE: u64 = 1024 * 1024;
