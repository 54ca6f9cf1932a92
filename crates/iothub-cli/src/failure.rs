//! How a command fails: an exit code and one line that says what, why, and what to do.

use std::error::Error;
use std::fmt;

use iothub_amqp::{CloseError, ConnectError};

use crate::advice;
use crate::exit::Exit;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            message: what.into(),
        }
    }

    /// What was given cannot work.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub(crate) fn unexpected(what: impl Into<String>) -> Self {
        Self::new(Exit::Unexpected, what)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted before the work was done")
    }

    /// Adds an error and the errors behind it.
    pub(crate) fn because(mut self, why: &dyn Error) -> Self {
        self.push(&chain(why));
        self
    }

    /// Adds a part of the line: a reason, or what to do.
    pub(crate) fn and(mut self, part: impl AsRef<str>) -> Self {
        self.push(part.as_ref());
        self
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    fn push(&mut self, part: &str) {
        self.message.push_str(": ");
        self.message.push_str(part);
    }
}

/// An error and the errors behind it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let failure = Self::new(Exit::from(&error), chain(&error));
        match advice::on_connecting(&error) {
            Some(advice) => failure.and(advice),
            None => failure,
        }
    }
}

impl From<CloseError> for Failure {
    fn from(error: CloseError) -> Self {
        Self::new(Exit::from(&error), chain(&error))
    }
}

/// One line, whatever a peer or a file put into it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", crate::output::human::OneLine(&self.message))
    }
}
