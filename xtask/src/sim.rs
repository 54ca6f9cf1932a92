//! `cargo xtask sim`.

use std::process::Command;

use crate::args::Args;
use crate::shell::{self, Failure};
use crate::test;

pub(crate) const HELP: &str = "\
simulate the client in seeded worlds of faults

usage: cargo xtask sim [--seeds N] [--first F] [--seed S] [--whole | --supervisor]

  --seeds N     so many worlds of each kind; default 5000
  --first F     from this seed on; default 1
  --seed S      this world alone, with all that happens in it printed
  --whole       only the worlds of client, engines and hub on bad connections
  --supervisor  only the worlds of what decides in the client

A failure prints the command that replays its seed. It is built for itself, into target/sim: the runtime's own dice are
seeded only with `--cfg tokio_unstable`.";

const DEFAULT_SEEDS: u64 = 5000;

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let seeds = args.number("--seeds")?.unwrap_or(DEFAULT_SEEDS);
    let first = args.number("--first")?.unwrap_or(1);
    let seed = args.number("--seed")?;
    let (whole, supervisor) = (args.flag("--whole"), args.flag("--supervisor"));
    args.finish()?;
    let mut command = build(whole, supervisor)?;
    let what = match seed {
        Some(seed) => {
            command.env("SIM_SEED", seed.to_string()).env("SIM_TRACE", "1");
            format!("the world of seed {seed}")
        }
        None => {
            command.env("SIM_SEEDS", seeds.to_string());
            command.env("SIM_FIRST", first.to_string());
            match (whole, supervisor) {
                (false, false) => format!("{seeds} worlds of the supervisor and {seeds} of the whole"),
                _ => format!("{seeds} worlds"),
            }
        }
    };
    test::count(&mut command)?;
    Ok(format!("{what}: every invariant held"))
}

/// With a seeded runtime, in a folder of its own, so that nothing else is built anew for it.
fn build(whole: bool, supervisor: bool) -> Result<Command, Failure> {
    let mut command = shell::cargo("test");
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg tokio_unstable").trim_start());
    command.env("CARGO_TARGET_DIR", shell::root().join("target").join("sim"));
    command.args(["--profile", "sim", "--package", "iothub-tests"]);
    match (whole, supervisor) {
        (true, true) => return Err(Failure::Usage("--whole or --supervisor, not both".to_owned())),
        (true, false) => command.args(["--test", "sim_whole"]),
        (false, true) => command.args(["--test", "sim_supervisor"]),
        (false, false) => command.args(["--test", "sim_supervisor", "--test", "sim_whole"]),
    };
    command.args(["--", "--nocapture"]);
    Ok(command)
}
