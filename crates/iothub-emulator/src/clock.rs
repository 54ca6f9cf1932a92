//! Time, handed in at the rim: nothing below [`Clock`] reads a clock of its own.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Where the hub takes the time of day from.
///
/// It decides what the hub stamps and when tokens end. Network deadlines (handshake, idle, stall) follow
/// the runtime's clock, whatever this one says.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;
}

/// The machine's clock. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is turned. Clones turn together.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.as_millis())))
    }

    /// Shows `time` from now on.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_millis(), Ordering::SeqCst);
    }

    /// Moves on by `by`, which is cut to whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let turned = Clock::now(self) + by;
        self.set(turned);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The hub's clock, for those who are not the hub: it may be turned on by hand. Clones are the same.
#[derive(Clone)]
pub(crate) struct SharedClock {
    clock: Arc<dyn Clock>,
    on: Arc<AtomicI64>,
}

impl SharedClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            on: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let on = self.on.load(Ordering::Acquire);
        Timestamp::from_millis(self.clock.now().as_millis().saturating_add(on))
    }

    /// Turns it on, cut to whole milliseconds.
    pub(crate) fn turn(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let turned = |on: i64| Some(on.saturating_add(by));
        let _ = self.on.fetch_update(Ordering::AcqRel, Ordering::Acquire, turned);
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, the unit of an AMQP timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time `millis` milliseconds after 1970 (before it, when negative).
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The time `seconds` seconds after 1970.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970; 0 for a time before it.
    pub const fn as_unix_seconds(self) -> u64 {
        if self.0 < 0 {
            0
        } else {
            self.0.unsigned_abs() / 1000
        }
    }

    fn date_time(self) -> time::OffsetDateTime {
        // Saturates at the years that `time` can hold (±9999); a peer's timestamp may lie anywhere.
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    }

    /// A time as ISO 8601 has it, such as `2023-11-14T22:13:20Z`; without a zone in UTC.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parse = |text: &str| {
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
        };
        let at = parse(text).or_else(|| parse(&format!("{text}Z")))?;
        let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).ok().map(Self)
    }

    /// As the service writes a time into JSON: with seven digits of the second.
    pub(crate) fn as_service_time(self) -> String {
        self.to_string().replace('Z', "0000Z")
    }

    /// As the hub writes the time in a tracking id: `MM/dd/yyyy HH:mm:ss`.
    pub(crate) fn as_tracking_time(self) -> String {
        let at = self.date_time();
        format!(
            "{:02}/{:02}/{:04} {:02}:{:02}:{:02}",
            u8::from(at.month()),
            at.day(),
            at.year(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

/// RFC 3339 in UTC with milliseconds, `2023-11-14T22:13:20.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.date_time();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339_with_milliseconds() {
        assert_eq!(
            Timestamp::from_millis(1_700_000_000_123).to_string(),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(Timestamp::from_seconds(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_time_is_read_with_or_without_a_zone() {
        let at = Some(Timestamp::from_millis(1_700_000_000_123));
        for text in [
            "2023-11-14T22:13:20.123Z",
            "2023-11-14T22:13:20.1234567",
            "2023-11-14T23:13:20.123+01:00",
        ] {
            assert_eq!(Timestamp::parse(text), at, "{text}");
        }
        for none in ["", "2023", "2023-11-14", "2023-13-14T22:13:20Z", "now"] {
            assert_eq!(Timestamp::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_tracking_time_is_month_first() {
        assert_eq!(
            Timestamp::from_seconds(1_700_000_000).as_tracking_time(),
            "11/14/2023 22:13:20"
        );
    }

    #[test]
    fn clones_of_a_manual_clock_turn_together() {
        let clock = ManualClock::new(Timestamp::from_seconds(10));
        let other = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(Clock::now(&other), Timestamp::from_millis(11_500));
        assert_eq!(Clock::now(&other).as_unix_seconds(), 11);
    }

    #[test]
    fn a_time_out_of_all_calendars_still_prints() {
        assert_eq!(
            Timestamp::from_millis(i64::MAX).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            (Timestamp::from_millis(i64::MAX) + Duration::from_secs(1)).as_millis(),
            i64::MAX
        );
    }
}
