//! What was found, a line a step.

use std::time::Instant;

use serde::Serialize;

use crate::args::Output;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::human::OneLine;
use crate::output::{json, table};

/// Writes the lines, and remembers the first failure.
pub(super) struct Chart<'a> {
    output: Output,
    has_names: bool,
    io: &'a mut Io,
    exit: Exit,
    since: Instant,
}

/// Its fields are a contract.
#[derive(Serialize)]
struct Line<'a> {
    step: &'a str,
    status: &'static str,
    found: &'a str,
    /// What to do.
    next: Option<&'a str>,
    /// How long the step took.
    ms: u64,
}

impl<'a> Chart<'a> {
    pub(super) fn new(output: Output, io: &'a mut Io) -> Self {
        Self {
            output,
            has_names: false,
            io,
            exit: Exit::Done,
            since: Instant::now(),
        }
    }

    pub(super) const fn io(&mut self) -> &mut Io {
        self.io
    }

    /// That of the first step that failed.
    pub(super) const fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) fn ok(&mut self, step: &str, found: &str) -> Result<(), Failure> {
        self.line(step, "ok", found, None)
    }

    /// It is not as it should be, and may do.
    pub(super) fn warn(&mut self, step: &str, found: &str, next: &str) -> Result<(), Failure> {
        self.line(step, "warn", found, Some(next))
    }

    pub(super) fn skip(&mut self, step: &str, why: &str) -> Result<(), Failure> {
        self.line(step, "skip", why, None)
    }

    pub(super) fn fail(&mut self, step: &str, failure: &Failure) -> Result<(), Failure> {
        if self.exit == Exit::Done {
            self.exit = failure.exit();
        }
        self.line(step, "fail", failure.message(), failure.advice())
    }

    fn line(
        &mut self,
        step: &str,
        status: &'static str,
        found: &str,
        next: Option<&str>,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        let ms = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.since = now;
        let line = match self.output {
            Output::Json => json::line(&Line {
                step,
                status,
                found,
                next,
                ms,
            }),
            Output::Text => {
                let next = next.map(|next| format!("\n{:18}-> {}", "", OneLine(next)));
                let next = next.unwrap_or_default();
                format!("{status:4}  {step:10}  {}{next}", OneLine(found))
            }
            Output::Csv => {
                if !std::mem::replace(&mut self.has_names, true) {
                    self.io
                        .print(&table::csv(["step", "status", "found", "next", "ms"]))?;
                }
                table::csv([step, status, found, next.unwrap_or_default(), &ms.to_string()])
            }
        };
        self.io.print(&line)
    }
}
