//! What a client takes from the machine that it runs on, beside the network: the time of day, and randomness.

use std::sync::Arc;
use std::time::SystemTime;

use iothub_sas::UnixTime;

/// Where a client takes the time of day from: tokens are signed by it, and it says how long they have left.
///
/// A device whose own clock is not to be trusted gives one that is, as without the right time no token is any good. Time-outs
/// and back-off do not follow it: they go by the runtime's clock.
///
/// # Delivery
/// Tokens alone go by it. One that is wrong has the hub refuse them before any message leaves; it changes no deadline
/// and no outcome.
///
/// # Cancel safety
/// It is asked at once, from the client's own task: there is no future to drop, and it must not block.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> UnixTime;
}

/// The machine's clock. The default.
///
/// # Delivery
/// As [`Clock`] says: on a machine whose time is wrong the hub refuses the tokens, and no message leaves.
///
/// # Cancel safety
/// It never waits, and nothing hangs on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        UnixTime::from(SystemTime::now())
    }
}

/// What the caller said of it.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` for what the operating system gives.
    pub(crate) seed: Option<u64>,
}

impl Machine {
    pub(crate) fn own() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            seed: None,
        }
    }

    /// Without a source of randomness the clients of one machine at least differ.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
            .unwrap_or_else(|| getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())))
    }
}
