//! What a command reads from and writes to.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;

/// The rim of a command: standard streams and environment. Tests bring their own.
pub struct Io {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output, for data alone.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error, for everything that is not data.
    pub stderr: Box<dyn Write + Send>,
    /// Whether standard input is a terminal, where people answer.
    pub stdin_is_terminal: bool,
    /// Whether standard output is a terminal, where people watch.
    pub stdout_is_terminal: bool,
    /// Whether standard error is one.
    pub stderr_is_terminal: bool,
    /// Looks up a variable of the environment.
    pub env: Environment,
    /// How what is no data is said; the command line has the last word on it.
    pub manner: Manner,
}

/// How a command says what is no data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manner {
    /// Errors alone: no warnings, no progress.
    pub(crate) quiet: bool,
    /// No colour, not even on a terminal.
    pub(crate) colourless: bool,
    /// Errors as JSON.
    pub(crate) json: bool,
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
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            env: Box::new(|name| std::env::var_os(name)),
            manner: Manner::default(),
        }
    }

    /// Writes a line of data, at once.
    pub(crate) fn print(&mut self, line: &str) -> Result<(), Failure> {
        print_to(&mut *self.stdout, line)
    }

    /// Writes a line of data that is to have a reader, at once: what it shows is then taken from the hub. Here a reader
    /// who has gone is a failure as any other.
    pub(crate) fn hand_over(&mut self, line: &str) -> Result<(), Failure> {
        write_line(&mut *self.stdout, line).map_err(|error| unwritten(&error))
    }

    /// Writes a line that is neither data nor an error, unless silence was asked for.
    pub(crate) fn note(&mut self, line: &str) {
        if self.manner.quiet {
            return;
        }
        match line.strip_prefix("warning: ") {
            Some(rest) => self.mark("warning:", AnsiColor::Yellow.on_default(), rest),
            None => self.say(line),
        }
    }

    /// Writes why a command failed, on one line.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.manner.json {
            self.say(&failure.json());
        } else {
            self.mark("error:", AnsiColor::Red.on_default().bold(), &failure.to_string());
        }
    }

    /// Whether people watch standard error, and want to see how far things are.
    pub(crate) const fn shows_progress(&self) -> bool {
        self.stderr_is_terminal && !self.manner.quiet
    }

    fn mark(&mut self, mark: &str, style: Style, rest: &str) {
        let coloured =
            self.stderr_is_terminal && !self.manner.colourless && self.variable("NO_COLOR").is_none();
        if coloured {
            self.say(&format!("{style}{mark}{style:#} {rest}"));
        } else {
            self.say(&format!("{mark} {rest}"));
        }
    }

    /// Writes a line to standard error. If nobody can read it, there is nobody to tell.
    pub(crate) fn say(&mut self, line: &str) {
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
    match write_line(stdout, line) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(unwritten(&error)),
    }
}

/// In one piece, so that lines of two processes on one pipe stay whole if they are short.
fn write_line(stdout: &mut dyn Write, line: &str) -> io::Result<()> {
    stdout.write_all(format!("{line}\n").as_bytes())?;
    stdout.flush()
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::unexpected("can't write to standard output").because(error)
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics in it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written for a warning and an error.
    fn said(terminal: bool, manner: Manner, no_color: Option<&'static str>) -> String {
        let stderr = Kept::default();
        let mut io = Io {
            stdin: Box::new(io::empty()),
            stdout: Box::new(io::sink()),
            stderr: Box::new(stderr.clone()),
            stdin_is_terminal: terminal,
            stdout_is_terminal: terminal,
            stderr_is_terminal: terminal,
            env: Box::new(move |name| (name == "NO_COLOR").then_some(no_color?.into())),
            manner,
        };
        io.note("warning: a");
        io.fail(&Failure::usage("b").hint("c"));
        let bytes = stderr.0.lock().expect("no test panics in it").clone();
        String::from_utf8(bytes).expect("text")
    }

    /// <https://no-color.org>: set, and not empty.
    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let plain = "warning: a\nerror: b: c\n";
        let coloured = "\u{1b}[33mwarning:\u{1b}[0m a\n\u{1b}[1m\u{1b}[31merror:\u{1b}[0m b: c\n";
        let manner = Manner::default();
        assert_eq!(said(false, manner, None), plain);
        assert_eq!(said(true, manner, None), coloured);
        assert_eq!(said(true, manner, Some("")), coloured);
        assert_eq!(said(true, manner, Some("1")), plain);
        let colourless = Manner {
            colourless: true,
            ..manner
        };
        assert_eq!(said(true, colourless, None), plain);
        let quiet = Manner {
            quiet: true,
            ..manner
        };
        assert_eq!(said(false, quiet, None), "error: b: c\n");
    }
}
