//! What became of a message.

use std::time::Duration;

use iothub_amqp::{Accepted, Interruption, SendError};
use serde::Serialize;

use super::human::OneLine;
use super::json;
use crate::args::Format;

/// A message's outcome, as one line.
#[derive(Serialize)]
pub(crate) struct Outcome<'a> {
    message_id: &'a str,
    outcome: &'static str,
    condition: Option<&'a str>,
    /// The hub's own words, as they came.
    description: Option<String>,
    ms: f64,
    /// The reason for people.
    #[serde(skip)]
    reason: Option<String>,
}

impl<'a> Outcome<'a> {
    pub(crate) fn of(message_id: &'a str, result: &'a Result<Accepted, SendError>, took: Duration) -> Self {
        let outcome = Self {
            message_id,
            outcome: name(result),
            condition: None,
            description: None,
            ms: millis(took),
            reason: None,
        };
        let Err(error) = result else { return outcome };
        match error {
            SendError::Rejected(condition)
            | SendError::NotSent(Interruption::Refused(condition))
            | SendError::Unknown(Interruption::Refused(condition)) => Self {
                condition: Some(&condition.name),
                description: condition.description.clone(),
                reason: Some(condition.to_string()),
                ..outcome
            },
            SendError::NotSent(why) | SendError::Unknown(why) => Self {
                description: Some(why.to_string()),
                reason: Some(why.to_string()),
                ..outcome
            },
            SendError::Released => outcome,
            error => Self {
                description: Some(error.to_string()),
                reason: Some(error.to_string()),
                ..outcome
            },
        }
    }

    /// It was on its way when Ctrl-C came.
    pub(crate) fn interrupted(message_id: &'a str, took: Duration) -> Self {
        let description = Some("interrupted before the outcome was known".to_owned());
        Self {
            message_id,
            outcome: UNKNOWN,
            condition: None,
            reason: description.clone(),
            description,
            ms: millis(took),
        }
    }

    /// Its body was too long even to be kept.
    pub(crate) fn too_long(message_id: &'a str, longest: usize) -> Self {
        let description = Some(format!("the body has more than {longest} bytes"));
        Self {
            message_id,
            outcome: TOO_LARGE,
            condition: None,
            reason: description.clone(),
            description,
            ms: 0.0,
        }
    }

    pub(crate) fn line(&self, format: Format) -> String {
        if format == Format::Json {
            return json::line(self);
        }
        let mut line = format!(
            "{:8}  {}  {:.1} ms",
            self.outcome,
            OneLine(self.message_id),
            self.ms
        );
        if let Some(reason) = &self.reason {
            line.push_str(&format!("  {}", OneLine(reason)));
        }
        line
    }
}

/// The outcome's word, as the contract of the command line has it.
pub(crate) const fn name(result: &Result<Accepted, SendError>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(SendError::Rejected(_)) => "rejected",
        Err(SendError::Released) => "released",
        Err(SendError::TooLarge { .. }) => TOO_LARGE,
        Err(SendError::NotSent(_)) => "not-sent",
        Err(_) => UNKNOWN,
    }
}

fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

pub(crate) const UNKNOWN: &str = "unknown";
pub(crate) const TOO_LARGE: &str = "too-large";
