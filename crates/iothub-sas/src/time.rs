//! Points in time as SAS tokens write them.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: whole seconds since 1970-01-01 00:00:00 UTC, as the field `se` of a token counts them.
///
/// This crate reads no clock: whoever has one makes a `UnixTime` of it, by [`UnixTime::from_secs`],
/// [`UnixTime::from_duration_since_epoch`] or, with the feature `std`, `UnixTime::from(SystemTime::now())`.
///
/// Arithmetic saturates at both ends, and drops fractions of a second of the `Duration`.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use iothub_sas::UnixTime;
///
/// let expires = UnixTime::from_secs(1_700_000_000) + Duration::from_millis(3_600_999);
/// assert_eq!(expires.as_secs(), 1_700_003_600);
/// assert_eq!(UnixTime::EPOCH - Duration::from_secs(1), UnixTime::EPOCH);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnixTime(u64);

impl UnixTime {
    /// 1970-01-01 00:00:00 UTC.
    pub const EPOCH: Self = Self(0);

    /// The last second of the year 9999. The hub counts time in .NET's `DateTime`, which ends there.
    pub const YEAR_9999: Self = Self(253_402_300_799);

    /// The time `seconds` after 1970-01-01 00:00:00 UTC.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The time `since_epoch` after 1970-01-01 00:00:00 UTC, rounded down to a whole second.
    pub const fn from_duration_since_epoch(since_epoch: Duration) -> Self {
        Self(since_epoch.as_secs())
    }

    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}

impl Sub<Duration> for UnixTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }
}

/// Rounded down to a whole second; a clock that stands before 1970 gives [`UnixTime::EPOCH`].
#[cfg(feature = "std")]
impl From<std::time::SystemTime> for UnixTime {
    fn from(time: std::time::SystemTime) -> Self {
        Self::from_duration_since_epoch(time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
    }
}

/// The seconds as a decimal number, as in the field `se`.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_drops_fractions() {
        let time = UnixTime::from_secs(10);
        assert_eq!(time + Duration::from_millis(1999), UnixTime::from_secs(11));
        assert_eq!(time - Duration::from_millis(1999), UnixTime::from_secs(9));
        assert_eq!(time - Duration::from_secs(11), UnixTime::EPOCH);
        assert_eq!(time + Duration::MAX, UnixTime::from_secs(u64::MAX));
    }

    #[test]
    fn the_distance_to_a_later_time_is_zero() {
        let (earlier, later) = (UnixTime::from_secs(10), UnixTime::from_secs(13));
        assert_eq!(later.saturating_duration_since(earlier), Duration::from_secs(3));
        assert_eq!(earlier.saturating_duration_since(later), Duration::ZERO);
    }

    #[test]
    fn a_duration_since_the_epoch_is_rounded_down() {
        assert_eq!(
            UnixTime::from_duration_since_epoch(Duration::from_millis(1999)),
            UnixTime::from_secs(1)
        );
    }

    #[test]
    fn year_9999_is_where_dotnet_ends() {
        // DateTimeOffset.MaxValue.ToUnixTimeSeconds() in .NET.
        assert_eq!(UnixTime::YEAR_9999.as_secs(), 253_402_300_799);
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_system_clock_before_1970_reads_as_the_epoch() {
        use std::time::UNIX_EPOCH;
        assert_eq!(
            UnixTime::from(UNIX_EPOCH - Duration::from_secs(5)),
            UnixTime::EPOCH
        );
        assert_eq!(
            UnixTime::from(UNIX_EPOCH + Duration::from_millis(5999)),
            UnixTime::from_secs(5)
        );
    }
}
