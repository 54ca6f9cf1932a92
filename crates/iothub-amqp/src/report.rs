//! What a hub writes to services, as JSON: the parts that are read the same everywhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::error::ReportError;
use crate::received::ReceivedMessage;

/// The body, if it is said to be of this type, and is JSON.
pub(crate) fn body(message: &ReceivedMessage, content_type: &str) -> Result<Value, ReportError> {
    let said = message.content_type.as_deref().unwrap_or_default();
    if !said.eq_ignore_ascii_case(content_type) {
        return Err(ReportError::ContentType(said.to_owned()));
    }
    serde_json::from_slice(&message.body).map_err(|error| ReportError::Body(error.to_string()))
}

/// A text that has to be there.
pub(crate) fn field(item: &Value, name: &str) -> Result<String, ReportError> {
    text(item, name).ok_or_else(|| ReportError::Body(format!("{name} is missing")))
}

pub(crate) fn text(item: &Value, name: &str) -> Option<String> {
    item.get(name)?.as_str().map(str::to_owned)
}

/// A time of RFC 3339, or as .NET writes one without its zone, which is UTC then; with any number of digits behind the
/// second.
pub(crate) fn time(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or("", |rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        &rest[..end]
    });
    let zone = rest
        .trim_start_matches('.')
        .trim_start_matches(|c: char| c.is_ascii_digit());
    let offset = match zone {
        "" | "Z" | "z" => 0,
        zone => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = i64::from(hours.parse::<u8>().ok()?) * 60 + i64::from(minutes.parse::<u8>().ok()?);
            match zone.as_bytes().first()? {
                b'+' => minutes,
                b'-' => -minutes,
                _ => return None,
            }
        }
    };
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    let nanos: u64 = format!("{digits:0<9.9}").parse().ok()?;
    UNIX_EPOCH
        .checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))?
        .checked_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_date_reads_them() {
        let at = |milliseconds| Some(UNIX_EPOCH + Duration::from_millis(milliseconds));
        assert_eq!(time("1970-01-01T00:00:00Z"), at(0));
        assert_eq!(time("2023-11-14T22:13:20.123Z"), at(1_700_000_000_123));
        assert_eq!(time("2023-11-14T22:13:20.1230000"), at(1_700_000_000_123));
        assert_eq!(time("2023-11-15T00:13:20.123+02:00"), at(1_700_000_000_123));
        assert_eq!(time("2000-02-29T00:00:00.000Z"), at(951_782_400_000));
        for bad in [
            "",
            "yesterday",
            "2023-13-01T00:00:00Z",
            "2023-11-14T22:13:2",
            "2023-11-14T22:13:20X",
            "2023-11-14T22:13:20+999999999999999999:00",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
