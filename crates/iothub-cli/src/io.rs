//! What a command reads from and writes to.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};

use crate::failure::Failure;

/// The rim of a command: standard streams and environment. Tests bring their own.
pub struct Io {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output, for data alone.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error, for everything that is not data.
    pub stderr: Box<dyn Write + Send>,
    /// Whether standard output is a terminal, where people watch.
    pub stdout_is_terminal: bool,
    /// Whether standard error is one.
    pub stderr_is_terminal: bool,
    /// Looks up a variable of the environment.
    pub env: Environment,
}

/// Gives the value of a variable, if it is set.
pub type Environment = Box<dyn Fn(&str) -> Option<OsString> + Send>;

impl Io {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            stdin: Box::new(io::stdin()),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            env: Box::new(|name| std::env::var_os(name)),
        }
    }

    /// Writes a line of data, at once.
    pub(crate) fn print(&mut self, line: &str) -> Result<(), Failure> {
        print_to(&mut *self.stdout, line)
    }

    /// Writes a line that is no data. If nobody can read it, there is nobody to tell.
    pub(crate) fn note(&mut self, line: &str) {
        let _ = writeln!(self.stderr, "{line}").and_then(|()| self.stderr.flush());
    }

    /// A variable of the environment; an empty one counts as not set.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// Standard input, for the one who reads it. Whoever comes later finds it empty.
    pub(crate) fn take_stdin(&mut self) -> Box<dyn Read + Send> {
        std::mem::replace(&mut self.stdin, Box::new(io::empty()))
    }

    /// Standard output, for a thread that writes to it.
    pub(crate) fn take_stdout(&mut self) -> Box<dyn Write + Send> {
        std::mem::replace(&mut self.stdout, Box::new(io::sink()))
    }
}

/// Writes a line of data, at once. A reader who has gone is no failure: the work goes on without one.
pub(crate) fn print_to(stdout: &mut dyn Write, line: &str) -> Result<(), Failure> {
    // In one piece, so that lines of two processes on one pipe stay whole if they are short.
    match stdout
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::unexpected("can't write to standard output").because(&error)),
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}
