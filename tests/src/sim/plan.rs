//! What a seed's world is like. Each kind of fault is on in about half of the worlds: together they hide each other.

use std::time::Duration;

use iothub_amqp::supervisor::backoff::Schedule;
use iothub_amqp::supervisor::{Lifetime, Principal, Settings, SignIn, SlotSettings};
use iothub_amqp::{Batching, OPERATION_TIMEOUT};

use super::dice::Dice;

/// Rates are a thousandth of the chances.
pub(super) struct Plan {
    pub(super) messages: u64,
    /// The application is busy, and faults happen, for this long.
    pub(super) horizon: Duration,
    pub(super) latency: Duration,
    /// How many transfers the hub takes before it has settled one.
    pub(super) credit: usize,
    /// Gone connections and links, each at a random time.
    pub(super) cuts: u64,
    pub(super) detaches: u64,
    pub(super) credit_pauses: u64,
    pub(super) dial_fails: u64,
    pub(super) dial_hangs: u64,
    pub(super) attach_fails: u64,
    pub(super) poison: u64,
    pub(super) released: u64,
    pub(super) busy: u64,
    pub(super) throttled: u64,
    pub(super) unsettled: u64,
    pub(super) token_fails: u64,
    pub(super) put_fails: u64,
    pub(super) put_hangs: u64,
    pub(super) token_life: Duration,
    pub(super) withdrawn: u64,
    /// What can't be recovered from may happen.
    pub(super) fatal: u64,
    pub(super) short_deadlines: bool,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice) -> (Self, Settings, SlotSettings) {
        let mut rate = |most: u64| if dice.coin() { 0 } else { 1 + dice.below(most) };
        let plan = Self {
            cuts: rate(12),
            detaches: rate(12),
            credit_pauses: rate(6),
            dial_fails: rate(600),
            dial_hangs: rate(200),
            attach_fails: rate(300),
            poison: rate(30),
            released: rate(30),
            busy: rate(30),
            throttled: rate(5),
            unsettled: rate(10),
            token_fails: rate(200),
            put_fails: rate(200),
            put_hangs: rate(200),
            withdrawn: rate(50),
            fatal: if dice.permille(200) { 30 } else { 0 },
            short_deadlines: dice.permille(400),
            messages: dice.pick(&[0, 1, 10, 100, 300]),
            horizon: dice.pick(&[60, 600, 4 * 3600].map(Duration::from_secs)),
            latency: dice.pick(&[1, 50, 2_000].map(Duration::from_millis)),
            credit: dice.pick(&[1, 7, 1000]),
            token_life: dice.pick(&[1800, 3600].map(Duration::from_secs)),
        };
        let settings = Settings {
            sign_in: dice.pick(&[SignIn::Plain, SignIn::Claims]),
            lifetime: Lifetime::OfItsSlots,
            recover: !dice.permille(50),
            schedule: Schedule::default(),
            operation_timeout: OPERATION_TIMEOUT,
            window_bytes: dice.pick(&[10_000, 4 << 20]),
            seed: dice.throw(),
        };
        let slot = SlotSettings {
            principal: Principal::Device,
            settle_timeout: OPERATION_TIMEOUT,
            window: dice.pick(&[1, 2, 16, 256]),
            batching: dice.pick(&[Batching::Off, Batching::On]),
        };
        (plan, settings, slot)
    }

    /// Nothing ends a link before its time: then nothing may arrive twice.
    pub(super) fn is_uncut(&self) -> bool {
        [
            self.cuts,
            self.detaches,
            self.unsettled,
            self.put_fails,
            self.put_hangs,
            self.credit_pauses,
            self.fatal,
            self.busy,
            self.released,
        ] == [0; 9]
    }
}
