//! `cargo xtask fuzz`.

use std::path::PathBuf;
use std::process::{Child, Command};

use crate::args::Args;
use crate::shell::{self, Failure};

pub(crate) const HELP: &str = "\
fuzz what parses, with libFuzzer

usage: cargo xtask fuzz [--minutes N] [TARGET]...

  --minutes N  how long, all targets at once; default 5
  TARGET       url, connection_string, node, token, frame, connection; default all

Builds with coverage for libFuzzer by the stable compiler (it takes a C++ compiler too), starts from the corpus in
fuzz/corpus, and keeps what is new in fuzz/work. Without sanitizers: the code is safe Rust, so a finding is a panic, a
hang of over 10 s, or more than 2 GiB. An input that finds something is left in fuzz/artifacts; add it to the corpus,
which plain tests replay.";

const TARGETS: [&str; 6] = ["url", "connection_string", "node", "token", "frame", "connection"];
const DEFAULT_MINUTES: &str = "5";

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let minutes = args
        .value("--minutes")?
        .unwrap_or_else(|| DEFAULT_MINUTES.to_owned());
    let minutes: u32 = minutes
        .parse()
        .map_err(|_| Failure::Usage(format!("--minutes takes a number, not `{minutes}`")))?;
    let mut targets = args.words();
    args.finish()?;
    if let Some(unknown) = targets.iter().find(|target| !TARGETS.contains(&target.as_str())) {
        return Err(Failure::Usage(format!("there is no target `{unknown}`")));
    }
    if targets.is_empty() {
        targets = TARGETS.map(str::to_owned).to_vec();
    }
    let binaries = build()?;
    let mut running = Vec::new();
    for target in &targets {
        running.push((target, start(&binaries, target, minutes)?));
    }
    let mut findings = Vec::new();
    for (target, mut child) in running {
        let status = child
            .wait()
            .map_err(Failure::because("cannot wait for the fuzzer"))?;
        if !status.success() {
            findings.push(format!("{target} ended with {status}"));
        }
    }
    if findings.is_empty() {
        Ok(format!(
            "{} for {minutes} minutes, no finding",
            targets.join(", ")
        ))
    } else {
        Err(Failure::Failed(findings.join("; ")))
    }
}

/// Builds all targets, and gives the folder that they are in.
fn build() -> Result<PathBuf, Failure> {
    // What cargo-fuzz passes to the compiler, but for the sanitizer, which needs a nightly one.
    let flags = [
        "--cfg=fuzzing",
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Ccodegen-units=1",
    ];
    let target_directory = shell::root().join("target").join("fuzz");
    // A target triple of its own keeps the flags from build scripts and proc macros.
    let host = host_triple()?;
    let mut command = shell::cargo("build");
    command
        .args([
            "--release",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--target",
            &host,
        ])
        .env("CARGO_TARGET_DIR", &target_directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    shell::run(&mut command)?;
    Ok(target_directory.join(host).join("release"))
}

fn host_triple() -> Result<String, Failure> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(Failure::because("cannot run rustc"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .ok_or_else(|| Failure::Failed("rustc does not name its host".to_owned()))
}

fn start(binaries: &std::path::Path, target: &str, minutes: u32) -> Result<Child, Failure> {
    let fuzz = shell::root().join("fuzz");
    let (work, artifacts) = (
        fuzz.join("work").join(target),
        fuzz.join("artifacts").join(target),
    );
    for folder in [&work, &artifacts] {
        std::fs::create_dir_all(folder)
            .map_err(Failure::because(format!("cannot make {}", folder.display())))?;
    }
    let mut command = shell::program(binaries.join(target));
    command
        .arg(&work)
        .arg(fuzz.join("corpus").join(target))
        .arg(format!("-max_total_time={}", u64::from(minutes) * 60))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([
            "-timeout=10",
            "-max_len=4096",
            "-verbosity=0",
            "-print_final_stats=1",
        ]);
    shell::announce(&command);
    command
        .spawn()
        .map_err(Failure::because(format!("cannot start {target}")))
}
