//! How a command fails: an exit code and one line that says what, why, and what to do, for people or for programs.

use std::error::Error;
use std::fmt;

use iothub_amqp::{
    CloseError, Condition, ConnectError, EventsError, Interruption, SendError, SubscribeError, TwinError,
};
use iothub_registry::{ErrorCode, RegistryError};

use serde::Serialize;

use crate::advice;
use crate::exit::Exit;
use crate::output::human::OneLine;
use crate::output::json;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    /// What the hub calls it: an AMQP condition, or the `errorCode` of its REST API.
    condition: Option<String>,
    /// By which Azure's support finds the request.
    tracking_id: Option<String>,
    /// Where it is another than that of the exit code.
    retryable: Option<bool>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            message: without_stop(what.into()),
            hint: None,
            condition: None,
            tracking_id: None,
            retryable: None,
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

    /// Adds a part of the line: a reason.
    pub(crate) fn and(mut self, part: impl AsRef<str>) -> Self {
        self.push(part.as_ref());
        self
    }

    /// Says what to do about it, at the end of the line.
    pub(crate) fn hint(mut self, what_to_do: impl Into<String>) -> Self {
        self.hint = Some(what_to_do.into());
        self
    }

    /// Says before it what it is about.
    pub(crate) fn of(mut self, what: impl AsRef<str>) -> Self {
        self.message = format!("{}: {}", what.as_ref(), self.message);
        self
    }

    /// As a peer calls it, if it was a peer that refused.
    pub(crate) fn refused_as(self, condition: Option<&Condition>) -> Self {
        let Some(condition) = condition else { return self };
        let failure = self.condition(condition.name.as_str());
        match condition.tracking_id() {
            Some(id) => failure.tracking_id(id),
            None => failure,
        }
    }

    /// As the hub calls it.
    pub(crate) fn condition(mut self, name: impl Into<String>) -> Self {
        self.condition = Some(name.into());
        self
    }

    pub(crate) fn tracking_id(mut self, id: impl Into<String>) -> Self {
        self.tracking_id = Some(id.into());
        self
    }

    /// Whether the same may come to a better end later, where the exit code does not tell.
    pub(crate) const fn retryable(mut self, is: bool) -> Self {
        self.retryable = Some(is);
        self
    }

    /// As one JSON object on one line; its fields are a contract.
    pub(crate) fn json(&self) -> String {
        json::line(&Report {
            error: Fields {
                kind: self.exit.name(),
                message: &self.message,
                condition: self.condition.as_deref(),
                retryable: self.retryable.unwrap_or_else(|| self.exit.is_retryable()),
                hint: self.hint.as_deref(),
                tracking_id: self.tracking_id.as_deref(),
            },
        })
    }

    /// What went wrong, without what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    fn push(&mut self, part: &str) {
        self.message.push_str(": ");
        self.message.push_str(part);
        self.message = without_stop(std::mem::take(&mut self.message));
    }
}

/// A hub's sentences end with a full stop, and then what to do stands behind it.
fn without_stop(mut text: String) -> String {
    // A dot that is a name of its own, as of a folder, is none.
    let is_sentence = text
        .strip_suffix('.')
        .and_then(|rest| rest.chars().next_back())
        .is_some_and(|last| last.is_alphanumeric() || matches!(last, ')' | '"' | '\''));
    if is_sentence {
        text.pop();
    }
    text
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
        let refused = match &error {
            ConnectError::RefusedWith { condition, .. } | ConnectError::TokenRefused(condition) => {
                Some(condition)
            }
            _ => None,
        };
        let failure = Self::new(Exit::from(&error), chain(&error)).refused_as(refused);
        match advice::on_connecting(&error) {
            Some(advice) => failure.hint(advice),
            None => failure,
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let mut failure = Self::new(Exit::from(&error), chain(&error));
        if let Some(refusal) = error.refusal() {
            failure = failure.condition(refusal.code.to_string());
            if let Some(id) = &refusal.tracking_id {
                failure = failure.tracking_id(id.as_str());
            }
        }
        // What may have been done is looked at, not repeated.
        let code = error.refusal().map(|refusal| &refusal.code);
        if matches!(error, RegistryError::Unknown(_)) || code == Some(&ErrorCode::GatewayTimeout) {
            failure = failure.retryable(false);
        } else if code == Some(&ErrorCode::DeviceNotOnline) {
            failure = failure.retryable(true);
        }
        match advice::on_asking(&error) {
            Some(advice) => failure.hint(advice),
            None => failure,
        }
    }
}

impl From<EventsError> for Failure {
    fn from(error: EventsError) -> Self {
        if let EventsError::Connect(error) = error {
            return error.into();
        }
        let refused = match &error {
            EventsError::Stolen { why, .. }
            | EventsError::Ended { why, .. }
            | EventsError::NoRedirect(why)
            | EventsError::NotAnswered(why) => condition_of(why),
            _ => None,
        };
        let failure = Self::new(Exit::from(&error), chain(&error)).refused_as(refused);
        match error {
            EventsError::Stolen { .. } => {
                failure.hint("take another --consumer-group, or stop who reads in this one")
            }
            EventsError::NoRedirect(_) => failure
                .hint("give an Event Hubs-compatible connection string, as IOTHUB_EVENTS_CONNECTION_STRING"),
            EventsError::Ended {
                why: Interruption::Refused(condition),
                ..
            } if condition.name == "amqp:not-found" => {
                failure.hint("check --consumer-group, and that the event hub is there")
            }
            _ => failure,
        }
    }
}

impl From<&SubscribeError> for Failure {
    fn from(error: &SubscribeError) -> Self {
        let refused = match error {
            SubscribeError::Ended(why) => condition_of(why),
            _ => None,
        };
        Self::new(Exit::from(error), chain(error)).refused_as(refused)
    }
}

impl From<&SendError> for Failure {
    fn from(error: &SendError) -> Self {
        let refused = match error {
            SendError::Rejected(condition) => Some(condition),
            SendError::NotSent(why) | SendError::Unknown(why) => condition_of(why),
            _ => None,
        };
        let failure = Self::new(Exit::from(error), chain(error)).refused_as(refused);
        match advice::on_sending(error) {
            Some(advice) => failure.hint(advice),
            None => failure,
        }
    }
}

impl From<&TwinError> for Failure {
    fn from(error: &TwinError) -> Self {
        let refused = match error {
            TwinError::NotAnswered(why) | TwinError::Unknown(why) => condition_of(why),
            _ => None,
        };
        Self::new(Exit::from(error), chain(error)).refused_as(refused)
    }
}

const fn condition_of(why: &Interruption) -> Option<&Condition> {
    match why {
        Interruption::Refused(condition) => Some(condition),
        _ => None,
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
        match &self.hint {
            // A peer's words may end with a stop.
            Some(hint) => write!(
                f,
                "{}: {}",
                OneLine(&without_stop(self.message.clone())),
                OneLine(hint)
            ),
            None => write!(f, "{}", OneLine(&self.message)),
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    kind: &'static str,
    message: &'a str,
    condition: Option<&'a str>,
    retryable: bool,
    hint: Option<&'a str>,
    tracking_id: Option<&'a str>,
}
