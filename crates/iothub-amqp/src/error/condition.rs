//! What a peer says of what it refuses.

use std::fmt;

use serde_json::Value;

/// An AMQP error condition with the text that the peer gave for it.
///
/// IoT Hub's text is often a JSON object with an error code, a message and a tracking id, and shown as those; it is for people,
/// not for decisions.
///
/// # Delivery
/// In [`SendError::Rejected`](crate::SendError::Rejected) it is why the hub has not got a message. As the end of a
/// link, a session or a connection it says nothing of those that were on their way.
///
/// # Cancel safety
/// It is text that has come. Dropping it tells the peer nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// The condition's symbol, such as `amqp:unauthorized-access`.
    pub name: String,
    /// The peer's own words, as they came.
    pub description: Option<String>,
    /// Where what was asked for is to be had instead: the address, with `amqp:link:redirect`.
    pub redirect: Option<String>,
}

impl Condition {
    /// A condition by its symbol, as a program that tests its own handling of errors makes one.
    #[must_use]
    pub fn new(name: impl Into<String>, description: Option<String>) -> Self {
        Self {
            name: name.into(),
            description,
            redirect: None,
        }
    }

    /// The hub's number for it, such as 404001, where its text has one.
    #[must_use]
    pub fn error_code(&self) -> Option<u32> {
        self.words()?.error_code
    }

    /// By which Azure's support finds what happened: of the hub's JSON, or behind `TrackingId:` in the text of an event endpoint.
    #[must_use]
    pub fn tracking_id(&self) -> Option<String> {
        if let Some(words) = self.words() {
            return words.tracking_id;
        }
        let (_, id) = self.description.as_ref()?.split_once("TrackingId:")?;
        let id = id.split([',', ' ']).next()?;
        (!id.is_empty()).then(|| id.to_owned())
    }

    fn words(&self) -> Option<Words> {
        let text = self.description.as_deref().filter(|text| text.starts_with('{'))?;
        let value: Value = serde_json::from_str(text).ok()?;
        let word = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Words {
            error_code: value["errorCode"]
                .as_u64()
                .and_then(|code| u32::try_from(code).ok()),
            tracking_id: word("trackingId"),
            message: word("message"),
        })
    }
}

/// The JSON that IoT Hub puts into an error's description; seen in traces of all SDKs.
struct Words {
    error_code: Option<u32>,
    tracking_id: Option<String>,
    message: Option<String>,
}

/// On one line, whatever the peer's text holds.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", OneLine(&self.name))?;
        match (self.words(), &self.description) {
            (
                Some(Words {
                    message: Some(message),
                    error_code,
                    ..
                }),
                _,
            ) => match error_code {
                Some(code) => write!(f, ": {} ({code})", OneLine(message.trim_end_matches('.'))),
                None => write!(f, ": {}", OneLine(&message)),
            },
            (_, Some(text)) => write!(f, ": {}", OneLine(text)),
            (_, None) => Ok(()),
        }
    }
}

/// A peer's text, with what would move the cursor or turn the reading direction escaped.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| match acts(c) {
            true => write!(f, "{}", c.escape_default()),
            false => f.write_char(c),
        })
    }
}

/// Control characters, line and paragraph separators, and those of Unicode TR 9.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Condition {
        Condition::new("amqp:not-found", Some(text.to_owned()))
    }

    /// The form of the hub's link errors, as public threads on the SDKs have it.
    #[test]
    fn the_hubs_json_is_shown_as_its_message_and_number() {
        let condition = with(
            r#"{"errorCode":404001,"trackingId":"8d1fa8b0-G:2-TimeStamp:11/29/2026 10:43:07","message":"No such device's here.","timestampUtc":"2026-11-29T10:43:07Z"}"#,
        );
        assert_eq!(
            condition.to_string(),
            "amqp:not-found: No such device's here (404001)"
        );
        assert_eq!(condition.error_code(), Some(404_001));
        assert_eq!(
            condition.tracking_id().as_deref(),
            Some("8d1fa8b0-G:2-TimeStamp:11/29/2026 10:43:07")
        );
    }

    #[test]
    fn any_other_text_is_shown_as_it_is_on_one_line() {
        for (text, shown) in [
            ("It's \"gone\"", "It's \"gone\""),
            ("a\nb\u{1b}[2J\u{202e}", "a\\nb\\u{1b}[2J\\u{202e}"),
            ("{\"a\":1}", "{\"a\":1}"),
            ("{", "{"),
            ("{\"message\":\"a\\nb\"}", "a\\nb"),
        ] {
            assert_eq!(with(text).to_string(), format!("amqp:not-found: {shown}"));
            assert_eq!((with(text).error_code(), with(text).tracking_id()), (None, None));
        }
        assert_eq!(Condition::new("a:b\u{1b}", None).to_string(), "a:b\\u{1b}");
        let endpoint = with(
            "It could not be found. TrackingId:5b1c_G21_B3, SystemTracker:hub, Timestamp:2026-11-29T10:43:07",
        );
        assert_eq!(endpoint.tracking_id().as_deref(), Some("5b1c_G21_B3"));
    }
}
