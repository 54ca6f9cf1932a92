//! Waiting by the hub's clock.

use std::time::Duration;

use tokio::time::sleep;

use crate::clock::{SharedClock, Timestamp};

/// Until the hub's clock shows the time, or a little while: a clock may be turned, and does not say so.
pub(super) async fn sleep_until(deadline: Option<Timestamp>, clock: &SharedClock) {
    let Some(deadline) = deadline else {
        return std::future::pending().await;
    };
    let millis = deadline.as_millis().saturating_sub(clock.now().as_millis());
    let left = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    sleep(left.min(CLOCK_READ_AGAIN)).await;
}

/// How often the clock is read while the hub waits for a time.
const CLOCK_READ_AGAIN: Duration = Duration::from_millis(500);
