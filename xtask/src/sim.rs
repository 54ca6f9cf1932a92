//! `cargo xtask sim`.

use crate::args::Args;
use crate::shell::{self, Failure};
use crate::test;

pub(crate) const HELP: &str = "\
simulate the client in seeded worlds of faults

usage: cargo xtask sim [--seeds N] [--seed S]

  --seeds N  the worlds of seeds 1 to N; default 5000
  --seed S   this world alone, with all that happens in it printed

A failure prints the command that replays its seed.";

const DEFAULT_SEEDS: u64 = 5000;

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let seeds = args.number("--seeds")?.unwrap_or(DEFAULT_SEEDS);
    let seed = args.number("--seed")?;
    args.finish()?;
    let mut command = shell::cargo("test");
    command.args([
        "--package",
        "iothub-tests",
        "--test",
        "sim_supervisor",
        "--",
        "--nocapture",
    ]);
    let what = match seed {
        Some(seed) => {
            command.env("SIM_SEED", seed.to_string()).env("SIM_TRACE", "1");
            format!("the world of seed {seed}")
        }
        None => {
            command.env("SIM_SEEDS", seeds.to_string());
            format!("{seeds} worlds")
        }
    };
    test::count(&mut command)?;
    Ok(format!("{what}: every invariant held"))
}
