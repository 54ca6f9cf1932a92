//! `cargo xtask bench`.

use crate::args::Args;
use crate::metadata::Workspace;
use crate::shell::{self, Failure};

pub(crate) const HELP: &str = "\
run the benchmarks of all packages

usage: cargo xtask bench [-- CRITERION-ARGUMENT...]

What stands behind `--` goes to each benchmark, for example a filter or `--quick`.";

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
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
