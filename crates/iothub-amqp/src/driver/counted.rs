//! A hash for what is counted from 0 by us: no peer chooses such keys, so they need no guard against one that would.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds hashes of [`Counted`].
pub(super) type ByCount = BuildHasherDefault<Counted>;

#[derive(Default)]
pub(super) struct Counted(u64);

impl Hasher for Counted {
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(SPREAD);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// An odd number near 2^64 divided by the golden ratio: neighbours come to lie far apart (Knuth, "The Art of Computer
/// Programming" 3, §6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
