//! Text for people.

use std::fmt;
use std::time::SystemTime;

use time::OffsetDateTime;

/// A text on one line, with nothing in it that would move the cursor, change the terminal, or turn the reading
/// direction: what a peer or a file says is shown, not obeyed.
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hub shows much text, and most of it needs no closer look.
        if self.0.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(self.0);
        }
        // What stands between two that are escaped is written in one go.
        let mut shown = 0;
        for (at, c) in self.0.char_indices().filter(|(_, c)| acts(*c)) {
            f.write_str(&self.0[shown..at])?;
            write!(f, "{}", c.escape_default())?;
            shown = at + c.len_utf8();
        }
        f.write_str(&self.0[shown..])
    }
}

/// A text of several lines, each as [`OneLine`] has it.
pub(crate) struct Lines<'a>(pub(crate) &'a str);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.0.split('\n').enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "\n" }, OneLine(line))?;
        }
        Ok(())
    }
}

/// JSON for people, whatever a device put into it.
pub(crate) fn pretty(value: &serde_json::Value) -> String {
    Lines(&format!("{value:#}")).to_string()
}

fn acts(c: char) -> bool {
    c.is_control() || is_format(c)
}

/// Line and paragraph separators, and the characters that turn the reading direction (Unicode TR 9).
const fn is_format(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time of day in UTC, such as `2023-11-14 22:13:20 UTC`; the bare seconds if no calendar has it.
pub(crate) fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    match time {
        Some(time) => {
            let (date, clock) = (time.date(), time.time());
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
        }
        None => format!("{seconds} s after 1970"),
    }
}

/// A time in RFC 3339, in UTC with milliseconds, as a hub writes them. A device can send times that RFC 3339 has no year for:
/// they are shown as the first or the last that it has.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let nanos = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |nanos| -nanos),
    };
    let nanos = nanos.clamp(FIRST, LAST);
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (time.date(), time.time());
    let (month, day) = (u8::from(date.month()).into(), date.day().into());
    let (hour, minute, second) = (clock.hour().into(), clock.minute().into(), clock.second().into());
    let mut text = String::with_capacity("2023-11-14T22:13:20.123Z".len());
    // Not by `format!`, which takes several times as long: a line has three of them.
    for (number, width, behind) in [
        (date.year().unsigned_abs(), 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (hour, 2, ':'),
        (minute, 2, ':'),
        (second, 2, '.'),
        (clock.millisecond().into(), 3, 'Z'),
    ] {
        for place in (0..width).rev() {
            let digit = number / 10_u32.pow(place) % 10;
            text.extend(char::from_digit(digit, 10));
        }
        text.push(behind);
    }
    text
}

/// 0000-01-01T00:00:00Z and the millisecond before the year 10000, in nanoseconds since 1970.
const FIRST: i128 = -62_167_219_200 * 1_000_000_000;
const LAST: i128 = 253_402_300_799_999 * 1_000_000;

/// A UUID's text (RFC 9562 §4).
pub(crate) fn uuid(bytes: &[u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(*bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Lines of two columns, the first as wide as its widest.
pub(crate) fn columns(rows: &[(impl fmt::Display, String)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.to_string().len())
        .max()
        .unwrap_or_default();
    let lines: Vec<_> = rows
        .iter()
        .map(|(name, text)| format!("{:width$}  {}", name.to_string(), OneLine(text)))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_escaped() {
        let text = "a\tb\r\n\u{1b}[31m\u{9b}2J \u{202e}ü";
        assert_eq!(
            OneLine(text).to_string(),
            "a\\tb\\r\\n\\u{1b}[31m\\u{9b}2J \\u{202e}ü"
        );
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time(1_700_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(time(u64::MAX), "18446744073709551615 s after 1970");
        let at = |millis| std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        // The example of RFC 3339 §5.8, and the last second of 1999.
        assert_eq!(rfc3339(at(482_196_050_520)), "1985-04-12T23:20:50.520Z");
        assert_eq!(rfc3339(at(946_684_799_007)), "1999-12-31T23:59:59.007Z");
        // What a device may send for a time: any 64 bits of milliseconds.
        let far = std::time::Duration::from_millis(i64::MAX as u64);
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + far), "9999-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - far), "0000-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(at(253_402_300_799_999)), "9999-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(at(253_402_300_800_000)), "9999-12-31T23:59:59.999Z");
    }
}
