//! The numbers, all of them, and where they are from: Azure docs, "IoT Hub quotas and throttling" (rates, meter
//! sizes), "Azure IoT Hub billing information" (what is charged), and the pricing page (messages a day).

/// A hub's tier: with it come throttles and a daily quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// Free: one unit, 8,000 messages of 0.5 KB a day.
    F1,
    /// 400,000 messages of 4 KB a day and unit.
    S1,
    /// 6,000,000 messages of 4 KB a day and unit.
    S2,
    /// 300,000,000 messages of 4 KB a day and unit.
    S3,
}

/// What is throttled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A connection of a device: a token shown, by SASL or to `$cbs`, for whom none was on that connection.
    Connect,
    /// A device sends a message, or a batch in one.
    DeviceToCloud,
    /// A back end sends a message to a device.
    CloudToDevice,
    /// A method is called.
    Method,
    /// A twin is read, by either side.
    TwinRead,
    /// A twin is changed, by either side.
    TwinUpdate,
    /// The identity registry is read or written: one or all devices of a request, or a list.
    Registry,
    /// A query.
    Query,
    /// A job is made, read, listed or cancelled.
    Job,
    /// A configuration is made, read, changed or deleted.
    Configuration,
}

/// An operation's throttle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) operation: Operation,
    /// As the documentation calls it.
    pub(crate) name: &'static str,
    /// Of F1 and S1, of S2, of S3.
    rates: [Rate; 3],
    meter: Meter,
    /// Whether it counts towards the daily quota.
    pub(crate) charged: bool,
}

/// "The higher of `floor` or `per_unit` for each unit", both a minute.
#[derive(Debug, PartialEq, Eq)]
struct Rate {
    floor: u64,
    per_unit: u64,
}

/// What a throttle counts.
#[derive(Debug, PartialEq, Eq)]
enum Meter {
    /// One, however large.
    Operations,
    /// Bytes, of which there are never less than so many, nor any but a multiple of them.
    Bytes(u64),
}

#[rustfmt::skip]
pub(super) const ROWS: [Row; 10] = [
    Row {
        operation: Operation::Connect,
        name: "new device connections",
        rates: [higher_of(per_second(100), per_second(12)), per_unit(per_second(120)), per_unit(per_second(6000))],
        meter: Meter::Operations,
        charged: false,
    },
    Row {
        operation: Operation::DeviceToCloud,
        name: "device-to-cloud sends",
        rates: [higher_of(per_second(100), per_second(12)), per_unit(per_second(120)), per_unit(per_second(6000))],
        meter: Meter::Operations,
        charged: true,
    },
    Row {
        operation: Operation::CloudToDevice,
        name: "cloud-to-device sends",
        rates: [per_unit(100), per_unit(100), per_unit(5000)],
        meter: Meter::Operations,
        charged: true,
    },
    Row {
        operation: Operation::Method,
        name: "direct methods",
        rates: [per_unit(per_second(160 * KB)), per_unit(per_second(480 * KB)), per_unit(per_second(24 * KB * KB))],
        meter: Meter::Bytes(4 * KB),
        charged: true,
    },
    Row {
        operation: Operation::TwinRead,
        name: "twin reads",
        rates: [higher_of(per_second(100), 0), higher_of(per_second(100), per_second(10)), per_unit(per_second(500))],
        meter: Meter::Operations,
        charged: true,
    },
    Row {
        operation: Operation::TwinUpdate,
        name: "twin updates",
        rates: [higher_of(per_second(50), 0), higher_of(per_second(50), per_second(5)), per_unit(per_second(250))],
        meter: Meter::Operations,
        charged: true,
    },
    Row {
        operation: Operation::Registry,
        name: "identity registry operations",
        rates: [per_unit(100), per_unit(100), per_unit(5000)],
        meter: Meter::Operations,
        charged: false,
    },
    Row {
        operation: Operation::Query,
        name: "queries",
        rates: [per_unit(20), per_unit(20), per_unit(1000)],
        meter: Meter::Operations,
        charged: false,
    },
    Row {
        operation: Operation::Job,
        name: "jobs operations",
        rates: [per_unit(100), per_unit(100), per_unit(5000)],
        meter: Meter::Operations,
        charged: false,
    },
    Row {
        operation: Operation::Configuration,
        name: "configurations",
        rates: [per_unit(20), per_unit(20), per_unit(20)],
        meter: Meter::Operations,
        charged: false,
    },
];

impl Row {
    pub(super) fn per_minute(&self, tier: Tier, units: u16) -> u64 {
        let [small, medium, large] = &self.rates;
        let rate = match tier {
            Tier::F1 | Tier::S1 => small,
            Tier::S2 => medium,
            Tier::S3 => large,
        };
        rate.floor.max(rate.per_unit * u64::from(units))
    }

    /// What one of `size` bytes takes from the throttle.
    pub(super) fn cost(&self, size: usize) -> u64 {
        match self.meter {
            Meter::Operations => 1,
            Meter::Bytes(meter) => chunks(size, meter) * meter,
        }
    }
}

impl Tier {
    /// How many units it has when `asked` for: at least one, and no more than one of a free hub.
    pub(super) fn units(self, asked: u16) -> u16 {
        match self {
            Self::F1 => 1,
            _ => asked.max(1),
        }
    }

    pub(super) fn messages_per_day(self, units: u16) -> u64 {
        let per_unit = match self {
            Self::F1 => 8000,
            Self::S1 => 400_000,
            Self::S2 => 6_000_000,
            Self::S3 => 300_000_000,
        };
        per_unit * u64::from(units)
    }

    /// How many jobs may be active at once (Azure docs, "IoT Hub quotas and throttling", other limits).
    pub(super) const fn active_jobs(self) -> usize {
        match self {
            Self::F1 | Self::S1 => 1,
            Self::S2 => 5,
            Self::S3 => 10,
        }
    }

    /// For how many messages one of `size` bytes counts.
    pub(super) fn messages(self, size: usize) -> u64 {
        let meter = match self {
            Self::F1 => KB / 2,
            _ => 4 * KB,
        };
        chunks(size, meter)
    }
}

/// At least one: what is empty counts as well.
fn chunks(size: usize, of: u64) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX).div_ceil(of).max(1)
}

const fn higher_of(floor: u64, per_unit: u64) -> Rate {
    Rate { floor, per_unit }
}

const fn per_unit(per_unit: u64) -> Rate {
    higher_of(0, per_unit)
}

const fn per_second(rate: u64) -> u64 {
    60 * rate
}

const KB: u64 = 1024;
