//! Connections that wait for the next request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::dial::Sender;
use crate::retry::Safety;

/// At most [`MAX_IDLE`] of them, each for at most [`MAX_AGE`].
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<(Sender, Instant)>>);

impl Pool {
    /// One that waits and is open still. A server may be ending it at this moment, which would leave open what became of a
    /// request: what must not be asked twice takes none that has waited for long.
    pub(crate) fn take(&self, safety: Safety) -> Option<Sender> {
        let max_age = match safety {
            Safety::Read => MAX_AGE,
            Safety::Write | Safety::Method => MAX_AGE_FOR_WRITES,
        };
        let now = Instant::now();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| !sender.is_closed() && now - *since < MAX_AGE);
        // The one that waits for the shortest time is the last.
        let young = idle.pop_if(|(_, since)| now - *since < max_age);
        young.map(|(sender, _)| sender)
    }

    pub(crate) fn put(&self, sender: Sender) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < MAX_IDLE {
            idle.push((sender, Instant::now()));
        }
    }
}

const MAX_IDLE: usize = 16;
const MAX_AGE: Duration = Duration::from_secs(20);
const MAX_AGE_FOR_WRITES: Duration = Duration::from_secs(2);
