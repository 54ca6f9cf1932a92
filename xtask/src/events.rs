//! `cargo xtask events`.

use crate::args::Args;
use crate::shell::{self, Failure};
use crate::test;

pub(crate) const HELP: &str = "\
fill the emulator's event log, and read it from three positions in each partition at once

usage: cargo xtask events [--count N]

  --count N  how many events; default 1000000

Built as release. Every reader must get each event once and in order, while memory and disk stay within bounds.";

const DEFAULT_COUNT: u64 = 1_000_000;

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let count = args.number("--count")?.unwrap_or(DEFAULT_COUNT);
    args.finish()?;
    let mut command = shell::cargo("test");
    command.args([
        "--release",
        "--package",
        "iothub-tests",
        "--test",
        "event_log",
        "--",
        "--nocapture",
    ]);
    command.env("EVENTS", count.to_string());
    test::count(&mut command)?;
    Ok(format!(
        "{count} events: each reader got its own, each once and in order"
    ))
}
