//! Names that no other connection or link has: a hub keys links by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives one name after the other, by a seed. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Names(Arc<AtomicU64>);

impl Names {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    pub(crate) fn unique(&self, prefix: &str) -> String {
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        // SplitMix64: each of its numbers comes once.
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        format!("{prefix}-{bits:016x}")
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
