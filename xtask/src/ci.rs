//! `cargo xtask ci`.

use std::time::Instant;

use crate::args::Args;
use crate::shell::{self, Failure};
use crate::{readme, test, tidy};

pub(crate) const HELP: &str = "\
check everything that a change must keep, interop aside

usage: cargo xtask ci [--skip STEP]...

Steps, in this order: tidy, fmt, clippy, docs, deny (where cargo-deny is installed), test, readme. A step that fails
does not stop the others; the last lines say which they were.

  --skip STEP  leave one out";

struct Step {
    name: &'static str,
    run: fn(&Progress) -> Result<String, Failure>,
}

const STEPS: [Step; 7] = [
    Step {
        name: "tidy",
        run: |_| tidy::run(no_arguments()),
    },
    Step {
        name: "fmt",
        run: |_| fmt(),
    },
    Step {
        name: "clippy",
        run: |_| clippy(),
    },
    Step {
        name: "docs",
        run: |_| docs(),
    },
    Step {
        name: "deny",
        run: |_| deny(),
    },
    Step {
        name: "test",
        run: |_| test::run(no_arguments()),
    },
    Step {
        name: "readme",
        run: |progress| readme::commands(progress.tests_passed),
    },
];

/// What later steps may lean on.
#[derive(Default)]
struct Progress {
    tests_passed: bool,
}

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let mut skipped = Vec::new();
    while let Some(name) = args.value("--skip")? {
        if !STEPS.iter().any(|step| step.name == name) {
            return Err(Failure::Usage(format!("there is no step `{name}`")));
        }
        skipped.push(name);
    }
    args.finish()?;

    let started = Instant::now();
    let mut progress = Progress::default();
    let mut lines = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    for step in STEPS
        .iter()
        .filter(|step| !skipped.iter().any(|name| name == step.name))
    {
        println!("\n== {}", step.name);
        let step_started = Instant::now();
        let result = (step.run)(&progress);
        let seconds = step_started.elapsed().as_secs_f64();
        let (word, closing) = match result {
            Ok(closing) => {
                passed += 1;
                progress.tests_passed |= step.name == "test";
                ("ok  ", closing)
            }
            Err(Failure::Usage(message) | Failure::Failed(message)) => {
                failed += 1;
                eprintln!("{}: {message}", step.name);
                ("FAIL", message)
            }
        };
        let first_line = closing.lines().next().unwrap_or_default();
        lines.push(format!("{word}  {:7} {seconds:6.1} s  {first_line}", step.name));
    }
    println!("\n== all steps\n{}", lines.join("\n"));
    let closing = format!(
        "{passed} steps passed, {failed} failed, in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    if failed == 0 {
        Ok(closing)
    } else {
        Err(Failure::Failed(closing))
    }
}

fn fmt() -> Result<String, Failure> {
    shell::run(shell::cargo("fmt").args(["--all", "--check"]))?;
    Ok("all as rustfmt writes it".to_owned())
}

fn clippy() -> Result<String, Failure> {
    shell::run(shell::cargo("clippy").args(["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    Ok("no warnings".to_owned())
}

fn docs() -> Result<String, Failure> {
    shell::run(
        shell::cargo("doc")
            .args(["--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    Ok("no warnings".to_owned())
}

/// Licences and bans of `deny.toml`. Advisories need the network and change by the day: not a check of a change.
fn deny() -> Result<String, Failure> {
    if !shell::program("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|ran| ran.status.success())
    {
        return Ok("left out: cargo-deny is not installed".to_owned());
    }
    let mut command = shell::program("cargo-deny");
    command.args([
        "--all-features",
        "--locked",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    shell::run(&mut command)?;
    Ok("licences, bans and sources as deny.toml has them".to_owned())
}

fn no_arguments() -> Args {
    Args::new(std::iter::empty())
}
