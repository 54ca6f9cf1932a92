//! `cargo xtask kill`.

use crate::args::Args;
use crate::interop;
use crate::shell::{self, Failure};
use crate::test;

pub(crate) const HELP: &str = "\
kill a hub with a state directory, over and over, and see what is left

usage: cargo xtask kill [--times N] [--seed S]

  --times N  how often, at random moments under load; default 25
  --seed S   when; default 1

Every third of the hubs, about, is `iothub emulator run`, the others are a program of the tests that also does what a
service asks. After each kill, nothing that was acknowledged is gone, and nothing that was completed comes back.";

const DEFAULT_TIMES: u64 = 25;

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let times = args.number("--times")?.unwrap_or(DEFAULT_TIMES);
    let seed = args.number("--seed")?.unwrap_or(1);
    args.finish()?;
    let mut command = shell::cargo("test");
    command.args(["--package", "iothub-tests", "--test", "kill", "--", "--nocapture"]);
    command
        .env("KILL_TIMES", times.to_string())
        .env("KILL_SEED", seed.to_string())
        .env(
            "KILL_IOTHUB",
            interop::build(&["--release", "--package", "iothub-cli"], "iothub")?,
        );
    test::count(&mut command)?;
    Ok(format!("{times} kills: nothing that was acknowledged was lost"))
}
