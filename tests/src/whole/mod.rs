//! Simulation of the whole: applications, clients, their AMQP engine, bad connections, the hub's engine, the hub; in
//! virtual time, by a seed.
//!
//! Where `sim` plays facts to the supervisor alone, here nothing is a model but the network. Built with
//! `--cfg tokio_unstable`, as `cargo xtask sim` does it, the runtime's dice are seeded too, and a seed is a world that can
//! be seen again; without it the invariants hold all the same, but each run is another.
#![allow(clippy::print_stdout, reason = "a seed that is replayed is told in words")]

mod app;
mod commands;
mod impatience;
mod known;
mod links;
mod methods;
mod net;
mod parting;
mod plan;
mod record;
mod sends;
mod telemetry;
mod trace;
mod twin;
mod wire;
mod world;

use tokio::runtime::{Builder, Runtime};

pub use known::Known;

use impatience::Impatience;
use plan::Plan;
use world::World;

use crate::sim::dice::Dice;

/// What came of a world, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Messages that the applications gave to their clients.
    pub messages: u64,
    /// Those that the hub has, each counted once.
    pub at_hub: u64,
    /// Copies beyond.
    pub duplicates: u64,
    /// Attempts to connect.
    pub attempts: u64,
    /// Connections that the network broke.
    pub cuts: u64,
    /// Messages from the cloud that a device completed.
    pub commands: u64,
    /// Method calls that were answered.
    pub calls: u64,
    /// Devices that had at last what their twins said.
    pub twins: u64,
    /// The most that the runtime did in a second of virtual time.
    pub busiest: u64,
}

impl Tally {
    /// Adds the other's counts.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.at_hub += other.at_hub;
        self.duplicates += other.duplicates;
        self.attempts += other.attempts;
        self.cuts += other.cuts;
        self.commands += other.commands;
        self.calls += other.calls;
        self.twins += other.twins;
        self.busiest = self.busiest.max(other.busiest);
    }
}

/// Whether the same seed is the same world.
pub const REPLAYS: bool = cfg!(tokio_unstable);

/// Runs one seed: the invariants hold; and where a seed can be seen again, some are, and both runs do the same.
///
/// # Panics
/// When they do not; the message has the command that replays the seed.
#[must_use]
pub fn run(seed: u64) -> Tally {
    let first = once(seed);
    if REPLAYS && seed.is_multiple_of(REPLAYED) {
        assert_eq!(first.1, once(seed).1, "two runs differ; {}", replay(seed));
    }
    first.0
}

/// Runs a world in which a defect was found once, by some seeds.
///
/// # Panics
/// When an invariant does not hold.
pub fn run_known(known: Known) {
    for seed in 1..=KNOWN_SEEDS {
        let _ = in_world(known.plan(), seed, Dice::new(seed));
    }
}

/// The command that runs this seed alone.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("replay with: cargo xtask sim --whole --seed {seed}")
}

fn once(seed: u64) -> (Tally, u64) {
    let mut dice = Dice::new(seed);
    let plan = Plan::new(&mut dice);
    in_world(plan, seed, dice)
}

fn in_world(plan: Plan, seed: u64, dice: Dice) -> (Tally, u64) {
    let impatience = Impatience::default();
    let runtime = runtime(seed, &impatience);
    let done = runtime.block_on(World::run(plan.clone(), dice, impatience.clone()));
    let left = runtime.metrics().num_alive_tasks();
    let mut wrong = done.wrong;
    wrong.extend(impatience.wrong());
    if left > 0 {
        wrong.push(format!("{left} tasks are left"));
    }
    wrong.dedup();
    wrong.truncate(MOST_TOLD);
    assert!(
        wrong.is_empty(),
        "in the world of {plan:?}:\n  {}\n{}",
        wrong.join("\n  "),
        replay(seed)
    );
    (done.tally, done.trace)
}

fn runtime(seed: u64, impatience: &Impatience) -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    impatience.watch(&mut builder);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
    #[cfg(not(tokio_unstable))]
    let _ = seed;
    builder
        .build()
        .expect("a runtime needs no more than a few handles")
}

/// One seed of so many is run twice.
const REPLAYED: u64 = 8;

const KNOWN_SEEDS: u64 = 8;

/// Of what is wrong with a world.
const MOST_TOLD: usize = 20;
