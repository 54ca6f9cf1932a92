//! Reading JSON of the hub's into types.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use iothub_address::Secret;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::BadReply;

pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, BadReply> {
    // An error's text repeats a value, and that may be a key: only where it is.
    serde_path(value)
}

fn serde_path<T: DeserializeOwned>(value: Value) -> Result<T, BadReply> {
    T::deserialize(value).map_err(|error| {
        let text = error.to_string();
        // serde_json names what was expected behind "expected".
        let expected = text.split_once("expected").map_or("", |(_, expected)| expected);
        let missing = text.strip_prefix("missing field").map(str::trim);
        BadReply::Form(match missing {
            Some(field) => format!("it has no {}", field.trim_matches('`')),
            None if expected.is_empty() => "a field of it has a value that can't be read".to_owned(),
            None => format!("a field of it has another value than{expected}"),
        })
    })
}

/// A name of ours.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

/// Text that prints as nothing; none and empty are the same.
pub(crate) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}

/// A time of the hub's: RFC 3339, of which identities leave the zone out (UTC). The year 1 means never.
pub(crate) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let time = OffsetDateTime::parse(&text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .map_err(|_| D::Error::custom("expected a time"))?;
    Ok(Some(time).filter(|time| time.year() > 1))
}

/// What may be null is then as if it were not there.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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
