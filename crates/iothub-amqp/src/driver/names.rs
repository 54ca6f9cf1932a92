//! Names that no other connection or link has: a hub keys links by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives one name after the other, by a seed. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    seed: u64,
    last: Arc<AtomicU64>,
}

impl Names {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            last: Arc::new(AtomicU64::new(seed)),
        }
    }

    /// Those of one connection: what was tried on those before, and how far it came, changes nothing of them.
    pub(crate) fn of_connection(&self, conn: u32) -> Self {
        Self::new(mixed(self.seed ^ u64::from(conn)))
    }

    pub(crate) fn unique(&self, prefix: &str) -> String {
        // Each of SplitMix64's numbers comes once.
        let state = self.last.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        format!("{prefix}-{:016x}", mixed(state))
    }
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
