//! The messages of a day.

use super::table::Tier;
use crate::clock::Timestamp;

/// Counts messages, and begins anew at midnight UTC (Azure docs, "Troubleshooting IoT Hub error codes", 403002).
#[derive(Debug)]
pub(super) struct Quota {
    per_day: u64,
    used: u64,
    /// Days since 1970.
    day: u64,
}

impl Quota {
    pub(super) fn of(tier: Tier, units: u16, now: Timestamp) -> Self {
        Self {
            per_day: tier.messages_per_day(units),
            used: 0,
            day: day(now),
        }
    }

    pub(super) const fn per_day(&self) -> u64 {
        self.per_day
    }

    pub(super) fn has_left(&mut self, messages: u64, now: Timestamp) -> bool {
        let today = day(now);
        if self.day != today {
            self.day = today;
            self.used = 0;
        }
        self.used.saturating_add(messages) <= self.per_day
    }

    pub(super) const fn take(&mut self, messages: u64) {
        self.used = self.used.saturating_add(messages);
    }
}

const fn day(now: Timestamp) -> u64 {
    now.as_unix_seconds() / (24 * 60 * 60)
}
