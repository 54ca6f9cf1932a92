//! `cargo xtask test`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::args::Args;
use crate::shell::{self, Failure};

pub(crate) const HELP: &str = "\
run all tests of the workspace, those in the documentation too

usage: cargo xtask test

For one crate or one test, cargo's own `cargo test -p CRATE NAME` is the tool.";

/// Set by `cargo xtask ci` for the README's commands when its own tests have just passed: the README names
/// `cargo xtask test`, and to run them twice shows nothing new.
pub(crate) const ALREADY_PASSED: &str = "XTASK_TESTS_PASSED";

pub(crate) fn run(args: Args) -> Result<String, Failure> {
    args.finish()?;
    if std::env::var_os(ALREADY_PASSED).is_some() {
        return Ok("passed a moment ago, in the run of `cargo xtask ci` that runs this".to_owned());
    }
    let mut tests = shell::cargo("test");
    tests.args(["--workspace", "--all-targets"]);
    let mut examples = shell::cargo("test");
    examples.args(["--workspace", "--doc"]);
    Ok(format!(
        "{} tests passed",
        count(&mut tests)? + count(&mut examples)?
    ))
}

/// Runs a `cargo test`, passes on what it prints, and adds up its closing lines.
pub(crate) fn count(command: &mut Command) -> Result<u64, Failure> {
    let line = shell::announce(command);
    let failed = |error| Failure::Failed(format!("cannot run `{line}`: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut passed = 0;
    for printed in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|stdout| BufReader::new(stdout).lines())
    {
        let printed = printed.map_err(failed)?;
        println!("{printed}");
        passed += passed_in(&printed);
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        Ok(passed)
    } else {
        Err(Failure::Failed(format!("`{line}` ended with {status}")))
    }
}

/// The number in libtest's `test result: ok. 12 passed; 0 failed; …`; 0 for any other line.
fn passed_in(line: &str) -> u64 {
    line.strip_prefix("test result: ok. ")
        .and_then(|counts| counts.split_once(" passed"))
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::passed_in;

    #[test]
    fn the_closing_line_of_libtest_is_counted_and_nothing_else_is() {
        assert_eq!(
            passed_in("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"),
            12
        );
        assert_eq!(
            passed_in("test result: FAILED. 11 passed; 1 failed; 0 ignored"),
            0
        );
        assert_eq!(passed_in("test tests::it_says_12_passed ... ok"), 0);
    }
}
