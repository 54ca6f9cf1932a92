//! `cargo xtask watch`.

use crate::args::Args;
use crate::shell::{self, Failure};
use crate::test;

pub(crate) const HELP: &str = "\
let `iothub events watch` show very many events, through cuts of its connection and within its memory

usage: cargo xtask watch [--events N] [--cuts N] [--many N]

  --events N  how many are sent while the connection is cut; default 200000
  --cuts N    how often it is cut; default 100. Who is cut again and again waits for up to a minute before it tries again, so a
              hundred take most of an hour
  --many N    how many are sent for the memory's sake; default 1000000

Built as release. Each event must be shown once and in order, what a hub has dropped be told to the number, and the memory be
the same for all as for a tenth of them.";

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let events = args.number("--events")?.unwrap_or(200_000);
    let cuts = args.number("--cuts")?.unwrap_or(100).max(1);
    let many = args.number("--many")?.unwrap_or(1_000_000);
    args.finish()?;
    let mut command = shell::cargo("test");
    command.args(["--release", "--package", "iothub-cli", "--test", "cli"]);
    // One after the other: they take the machine.
    command.args(["--", "flood::", "--nocapture", "--test-threads", "1"]);
    command
        .env("WATCH_EVENTS", events.to_string())
        .env("WATCH_CUTS", cuts.to_string())
        .env("WATCH_MANY", many.to_string());
    test::count(&mut command)?;
    Ok(format!(
        "{events} events were each shown once through {cuts} cuts, and {many} within the memory of {}",
        many / 10
    ))
}
