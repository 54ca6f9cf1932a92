//! `cargo xtask interop`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::args::Args;
use crate::shell::{self, Failure};

pub(crate) const HELP: &str = "\
let software that we did not write talk to ours

usage: cargo xtask interop [--only SUBSTRING] [--shared-network]

  --only SUBSTRING  only the cases whose name has it
  --shared-network  make no network namespace, use free ports

Installs the peers (tests/interop/install.sh: Debian packages where they are missing, a Python venv and Node packages
in .interop/), builds `iothub` as release and the programs of the cases as tests are built, and runs the cases of
tests/interop/, some beside each other. Where the kernel allows it they run in a network
namespace of their own, so that the ports 5671 and 443 are free and need no root; elsewhere on free ports.
One line a case; what processes of a failed case said is under it, in full in .interop/run/.";

const RUNNER: &str = "tests/interop/run.py";
const VENV_PYTHON: &str = ".interop/venv/bin/python";
const WORK: &str = ".interop/run";

/// As a user who is root inside only, or as the root that one is in a container which grants no user namespaces.
const NAMESPACES: [&[&str]; 2] = [&["unshare", "-Urn"], &["unshare", "-n"]];

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let only = args.value("--only")?;
    let shared = args.flag("--shared-network");
    args.finish()?;
    // Before the namespace: in there is no way to a package registry.
    shell::run(&mut shell::program(
        shell::root().join("tests/interop/install.sh"),
    ))?;
    let iothub = build(&["--release", "--package", "iothub-cli"], "iothub")?;
    // The libraries under test in programs of the cases: built as all tests are, so that little of it is built anew.
    let [hub, client] = ["interop-hub", "interop-client"]
        .map(|name| build(&["--package", "iothub-tests", "--bin", name], name));
    let namespace = if shared { None } else { namespace() };

    let mut runner = runner(namespace.unwrap_or_default());
    runner.arg("--iothub").arg(iothub);
    runner.arg("--hub").arg(hub?).arg("--client").arg(client?);
    runner.args(["--work", WORK]);
    runner.args(["--network", if namespace.is_some() { "own" } else { "shared" }]);
    runner.args(only.iter().flat_map(|substring| ["--only", substring]));
    let mut child = runner
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::because("cannot run Python"))?;
    // The runner's last line is its count, and becomes this task's closing line.
    let mut closing = "the runner printed nothing".to_owned();
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|stdout| BufReader::new(stdout).lines())
    {
        closing = line.map_err(Failure::because("cannot read what the cases print"))?;
        println!("{closing}");
    }
    let status = child.wait().map_err(Failure::because("cannot wait for Python"))?;
    if status.success() {
        Ok(closing)
    } else {
        Err(Failure::Failed(closing))
    }
}

/// Builds programs, and says where the one of this name is.
pub(crate) fn build(which: &[&str], name: &str) -> Result<PathBuf, Failure> {
    let mut command = shell::cargo("build");
    command
        .args(which)
        .arg("--message-format=json-render-diagnostics");
    let line = shell::announce(&command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::because("cannot run cargo"))?;
    if !output.status.success() {
        return Err(Failure::Failed(format!("`{line}` ended with {}", output.status)));
    }
    executable(&String::from_utf8_lossy(&output.stdout), name)
        .ok_or_else(|| Failure::Failed(format!("cargo built no program named {name}")))
}

/// The path of a program in cargo's messages, one JSON object a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The first way to a network of our own that works here, tried by what it is for: `lo` up and port 443 bound.
fn namespace() -> Option<&'static [&'static str]> {
    let mut reasons = Vec::new();
    for prefix in NAMESPACES {
        match runner(prefix).arg("--check-network").output() {
            Ok(ran) if ran.status.success() => return Some(prefix),
            Ok(ran) => reasons.push(
                String::from_utf8_lossy(&ran.stderr)
                    .lines()
                    .last()
                    .unwrap_or("?")
                    .to_owned(),
            ),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    println!(
        "no network namespace here, so the cases use free ports and not 5671 and 443: {}",
        reasons.join("; ")
    );
    None
}

fn runner(prefix: &[&str]) -> Command {
    let python = shell::root().join(VENV_PYTHON);
    let mut words = prefix
        .iter()
        .map(Path::new)
        .chain([python.as_path(), Path::new(RUNNER)]);
    let mut command = shell::program(words.next().unwrap_or(&python));
    command.args(words);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"iothub_cli"},"executable":null}
            not json
            {"reason":"compiler-artifact","target":{"name":"iothub"},"executable":"/t/release/iothub"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "iothub"),
            Some(PathBuf::from("/t/release/iothub"))
        );
        assert_eq!(executable(messages, "iothub_cli"), None);
    }

    #[test]
    fn a_prefix_stands_before_python() {
        let words = |prefix: &[&str]| {
            let command = runner(prefix);
            let program = command.get_program().to_string_lossy().into_owned();
            std::iter::once(program)
                .chain(command.get_args().map(|word| word.to_string_lossy().into_owned()))
                .collect()
        };
        let plain: Vec<String> = words(&[]);
        assert!(plain[0].ends_with(VENV_PYTHON), "{plain:?}");
        let inside: Vec<String> = words(&["unshare", "-n"]);
        assert_eq!(inside[..2], ["unshare", "-n"]);
        assert_eq!(inside[2..], plain[..]);
    }
}
