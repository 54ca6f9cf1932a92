//! Values of flags.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use iothub_address::Secret;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where a text is read from: a file, or standard input for `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin,
    File(PathBuf),
}

impl From<OsString> for Input {
    fn from(text: OsString) -> Self {
        if text == "-" {
            Self::Stdin
        } else {
            Self::File(text.into())
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A text that may be or hold a secret. It is taken apart later, and there may be several where one is meant, since
/// clap would repeat in its own message what it does not like.
pub(crate) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// A length of time with its unit: `500ms`, `30s`, `2m`, `1h`, `7d`. From 1 ms to 3650 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(NEEDS_UNIT)?;
        let (number, unit) = text.split_at(unit_at);
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => DAY_MILLIS,
            _ => return Err(NEEDS_UNIT),
        };
        let number: u64 = number.parse().map_err(|_| NEEDS_UNIT)?;
        match number.checked_mul(millis) {
            Some(millis @ 1..=LONGEST_MILLIS) => Ok(Self(Duration::from_millis(millis))),
            _ => Err("from 1ms to 3650d"),
        }
    }
}

/// From when on: `10m` ago, a time in RFC 3339, or the `start` of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Start,
    Ago(Duration),
    At(SystemTime),
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "start" {
            return Ok(Self::Start);
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::At(time.into()));
        }
        let span = text.parse::<Span>();
        span.map(|span| Self::Ago(span.0))
            .map_err(|_| "a time such as 10m (ago) or 2026-11-29T08:00:00Z, or 'start'")
    }
}

/// A number of bytes: `65536`, `64KiB`, `256MiB`, `1GiB`. From 64 KiB to 1024 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let shift = match unit {
            "" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(NO_SIZE),
        };
        let number: u64 = number.parse().map_err(|_| NO_SIZE)?;
        match number.checked_mul(1 << shift) {
            Some(bytes @ SMALLEST..=LARGEST) => Ok(Self(usize::try_from(bytes).unwrap_or(usize::MAX))),
            _ => Err("from 64KiB to 1024GiB"),
        }
    }
}

const NO_SIZE: &str = "a whole number, of bytes or with its unit: 65536, 64KiB, 256MiB, 1GiB";
const SMALLEST: u64 = 64 << 10;
const LARGEST: u64 = 1 << 40;
/// So many a time: `100/s`, `90/m`, `5000/h`. Kept as the time between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Duration);

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a whole number and its unit: 100/s, 90/m, 5000/h";
        let (number, unit) = text.split_once('/').ok_or(FORM)?;
        let unit = Duration::from_secs(match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return Err(FORM),
        });
        match number.parse() {
            Ok(number @ 1..=1_000_000) => Ok(Self(unit / number)),
            Ok(_) => Err("from 1 to 1000000"),
            Err(_) => Err(FORM),
        }
    }
}

const NEEDS_UNIT: &str = "a whole number and its unit: 500ms, 30s, 2m, 1h, 7d";
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
const LONGEST_MILLIS: u64 = 3650 * DAY_MILLIS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_time() {
        let micros = |text: &str| text.parse::<Rate>().map(|rate| rate.0.as_micros()).ok();
        assert_eq!(micros("1000/s"), Some(1000));
        assert_eq!(micros("1/s"), Some(1_000_000));
        assert_eq!(micros("60/m"), Some(1_000_000));
        assert_eq!(micros("3600/h"), Some(1_000_000));
        for text in [
            "",
            "5",
            "/s",
            "0/s",
            "-1/s",
            "1/d",
            "1.5/s",
            "1000001/s",
            "99999999999/s",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn since_is_a_span_a_time_or_the_start() {
        assert_eq!("start".parse(), Ok(Since::Start));
        assert_eq!("10m".parse(), Ok(Since::Ago(Duration::from_secs(600))));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for text in ["2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00"] {
            assert_eq!(text.parse(), Ok(Since::At(at)), "{text}");
        }
        for text in ["", "10", "yesterday", "2023-11-14", "2023-11-14T22:13:20"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_is_a_number_with_its_unit() {
        let millis = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("30s"), Ok(30_000));
        assert_eq!(millis("2m"), Ok(120_000));
        assert_eq!(millis("1h"), Ok(3_600_000));
        assert_eq!(millis("3650d"), Ok(315_360_000_000));
        for wrong in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1S",
            "0s",
            "0ms",
            "3651d",
            "99999999999999999999s",
        ] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_is_a_number_of_bytes_or_has_its_unit() {
        let bytes = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(bytes("65536"), Ok(65_536));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("256MiB"), Ok(268_435_456));
        assert_eq!(bytes("1GiB"), Ok(1_073_741_824));
        for wrong in [
            "",
            "MiB",
            "-1MiB",
            "1.5GiB",
            "1 GiB",
            "1MB",
            "1m",
            "65535",
            "0",
            "1025GiB",
            "99999999999999999999GiB",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_dash_is_standard_input() {
        assert_eq!(Input::from(OsString::from("-")), Input::Stdin);
        assert_eq!(Input::from(OsString::from("./-")), Input::File("./-".into()));
    }
}
