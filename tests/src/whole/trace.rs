//! What happened, as one number.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::memory::Clockwork;

/// Everything that can be seen from outside, in its order.
pub(super) struct Trace {
    clock: Clockwork,
    hash: DefaultHasher,
    /// The environment asks for it in words too: `cargo xtask sim --whole --seed` does.
    in_words: bool,
}

impl Trace {
    pub(super) fn new(clock: Clockwork) -> Self {
        Self {
            clock,
            hash: DefaultHasher::new(),
            in_words: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        let at = self.clock.elapsed();
        let words = what.to_string();
        (at, &words).hash(&mut self.hash);
        if self.in_words {
            println!("{at:?} {words}");
        }
    }

    pub(super) fn wrote(&mut self, connection: u64, side: usize, bytes: &[u8]) {
        let at = self.clock.elapsed();
        (at, connection, side, bytes).hash(&mut self.hash);
        if self.in_words {
            let way = if side == 0 { '>' } else { '<' };
            println!("{at:?} {connection} {way} {}", hex(bytes));
        }
    }

    pub(super) fn finish(&self) -> u64 {
        self.hash.finish()
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text: String = bytes
        .iter()
        .take(LINE)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if bytes.len() > LINE {
        text.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    text
}

const LINE: usize = 400;
