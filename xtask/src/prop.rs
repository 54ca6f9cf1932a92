//! `cargo xtask prop`.

use crate::args::Args;
use crate::metadata::Workspace;
use crate::shell::Failure;
use crate::{shell, test};

pub(crate) const HELP: &str = "\
run the property tests with many cases, as a release build

usage: cargo xtask prop [--cases N] [-- FILTER]

  --cases N  cases a property; default 1000000
  FILTER     only tests whose name has it

Runs the tests of every package that uses proptest, with PROPTEST_CASES=N. A failure prints the input it shrank to.";

const DEFAULT_CASES: &str = "1000000";

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let cases = args.value("--cases")?.unwrap_or_else(|| DEFAULT_CASES.to_owned());
    if !cases.parse::<u32>().is_ok_and(|number| number > 0) {
        return Err(Failure::Usage(format!(
            "--cases takes a number from 1 to {}, not `{cases}`",
            u32::MAX
        )));
    }
    let filter = args.trailing();
    args.finish()?;
    let workspace = Workspace::load()?;
    let packages: Vec<&str> = workspace
        .members()
        .filter(|package| {
            package
                .dependencies
                .iter()
                .any(|dependency| dependency.name == "proptest")
        })
        .map(|package| package.name.as_str())
        .collect();
    if packages.is_empty() {
        return Err(Failure::Failed(
            "no package of the workspace uses proptest".to_owned(),
        ));
    }
    let mut command = shell::cargo("test");
    command
        .args(["--release", "--lib", "--tests"])
        .env("PROPTEST_CASES", &cases);
    for package in &packages {
        command.args(["--package", package]);
    }
    command.arg("--").args(filter);
    let passed = test::count(&mut command)?;
    Ok(format!(
        "{passed} tests of {} passed, {cases} cases a property",
        packages.join(", ")
    ))
}
