//! `cargo xtask bench`.

use crate::args::Args;
use crate::interop::build;
use crate::metadata::Workspace;
use crate::shell::{self, Failure};

pub(crate) const HELP: &str = "\
run the benchmarks of all packages, or measure against others' software

usage: cargo xtask bench [-- CRITERION-ARGUMENT...]
       cargo xtask bench peers [--only SECTION] [--rounds N]

What stands behind `--` goes to each benchmark, for example a filter or `--quick`.

`peers` measures the client and the emulator as whole processes: against Proton C and its broker (Debian's
libqpid-proton11-dev and its examples), against Microsoft's SDKs for Node and for Event Hubs, and with thousands of devices; and the command
line against Node's start and against Microsoft's reader of events. It prints the rows of BENCHMARKS.md. In each of N rounds (7) each contender runs
once; use it on a quiet machine. About 15 minutes, or one SECTION alone: ingest, reading, client, node, fleet, startup, watch.";

const RUNNER: &str = "tests/bench/run.py";
const INSTALL: &str = "tests/bench/install.sh";
const WORK: &str = ".interop/bench";

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    // Before the words: what stands behind these names is none.
    let chosen = Chosen {
        only: args.value("--only")?,
        rounds: args.value("--rounds")?,
    };
    match args.words().as_slice() {
        [] if chosen.is_all() => criterion(args),
        [what] if what == "peers" => {
            args.finish()?;
            peers(&chosen)
        }
        [] => Err(Failure::Usage("--only and --rounds are of `peers`".to_owned())),
        [what, ..] => Err(Failure::Usage(format!("there is no benchmark `{what}`"))),
    }
}

fn criterion(mut args: Args) -> Result<String, Failure> {
    let trailing = args.trailing();
    args.finish()?;
    let workspace = Workspace::load()?;
    let mut count = 0;
    for package in workspace.members() {
        // By name: `cargo bench` alone would run libtest's benches too, which take none of criterion's arguments.
        for target in package.targets.iter().filter(|target| target.is("bench")) {
            let mut command = shell::cargo("bench");
            command
                .args(["--package", &package.name, "--bench", &target.name])
                .arg("--")
                .args(&trailing);
            shell::run(&mut command)?;
            count += 1;
        }
    }
    Ok(match count {
        0 => "no package of the workspace has a benchmark".to_owned(),
        count => format!("{count} benchmarks ran"),
    })
}

/// What is to be measured of peers, and how often.
struct Chosen {
    only: Option<String>,
    rounds: Option<String>,
}

impl Chosen {
    const fn is_all(&self) -> bool {
        self.only.is_none() && self.rounds.is_none()
    }
}

fn peers(chosen: &Chosen) -> Result<String, Failure> {
    shell::run(&mut shell::program(shell::root().join(INSTALL)))?;
    let iothub = build(&["--release", "--package", "iothub-cli"], "iothub")?;
    let bench = build(&["--release", "--package", "iothub-bench"], "iothub-bench")?;
    let mut runner = shell::program("python3");
    runner
        .arg(RUNNER)
        .arg("--iothub")
        .arg(iothub)
        .arg("--bench")
        .arg(bench);
    runner.args(["--work", WORK]);
    runner.args(chosen.only.iter().flat_map(|section| ["--only", section]));
    runner.args(chosen.rounds.iter().flat_map(|rounds| ["--rounds", rounds]));
    shell::run(&mut runner)?;
    Ok("the rows are above".to_owned())
}
