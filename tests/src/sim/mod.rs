//! Simulation of the client's supervisor: a seeded world of application, driver, hub and faults, in virtual time.
//!
//! The world plays all orders in which facts can reach the supervisor: acceptances that overtake a loss or come after
//! it, hand-overs that are not known yet, answers to questions that nobody asks any more. A checker watches.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a seed that is replayed is told in words, and one that hangs is named by the process that aborts"
)]

mod checker;
pub(crate) mod dice;
mod driver;
mod plan;
mod world;

use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use world::World;

pub use checker::Tally;

/// Runs one seed twice: the invariants hold, and both runs do the same.
///
/// # Panics
/// When they do not; the message has the command that replays the seed.
#[must_use]
pub fn run(seed: u64) -> Tally {
    let origin = Instant::now();
    let (first, second) = (World::new(seed, origin).run(), World::new(seed, origin).run());
    assert_eq!(first.trace, second.trace, "two runs differ; {}", replay(seed));
    first
}

/// The command that runs this seed alone.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("replay with: cargo xtask sim --supervisor --seed {seed}")
}

/// Ends the process, naming the seed, when one takes longer than a minute: a world that spins is found by this alone.
pub struct Watchdog {
    seed: Arc<AtomicU64>,
    alive: mpsc::Sender<()>,
}

impl Watchdog {
    /// Watches from now on.
    #[must_use]
    pub fn start(replay: fn(u64) -> String) -> Self {
        let (alive, heard) = mpsc::channel();
        let seed = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&seed);
        std::thread::spawn(move || {
            loop {
                match heard.recv_timeout(PATIENCE) {
                    Ok(()) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        let seed = watched.load(Ordering::Relaxed);
                        eprintln!("seed {seed} hangs; {}", replay(seed));
                        std::process::abort();
                    }
                }
            }
        });
        Self { seed, alive }
    }

    /// This seed begins.
    pub fn begin(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
        let _ = self.alive.send(());
    }
}

/// What happened, as one number.
struct Trace {
    hash: DefaultHasher,
    /// The environment asks for it in words too: `cargo xtask sim --seed` does.
    in_words: bool,
}

impl Trace {
    fn new() -> Self {
        Self {
            hash: DefaultHasher::new(),
            in_words: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    fn note(&mut self, at: Duration, what: &impl Debug) {
        let words = format!("{at:?} {what:?}");
        words.hash(&mut self.hash);
        if self.in_words {
            println!("{words}");
        }
    }

    fn finish(&self) -> u64 {
        self.hash.finish()
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
