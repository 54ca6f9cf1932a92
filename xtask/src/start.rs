//! `cargo xtask start`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::interop;
use crate::shell::Failure;

pub(crate) const HELP: &str = "\
measure how long `iothub emulator run` takes to be ready, and how much memory it then has

usage: cargo xtask start [--runs N]

  --runs N  how often, of each kind; default 20

From the start of the process (release build) to the line that says that the hub is ready, without a state directory, with
a new one and with one that is there; the median, the shortest and the longest. The memory is what is resident (VmRSS) a
second later, with nobody connected: the largest that was seen.";

const DEFAULT_RUNS: u64 = 20;

/// How long a hub is left alone before its memory is read.
const REST: Duration = Duration::from_secs(1);

pub(crate) fn run(mut args: Args) -> Result<String, Failure> {
    let runs = args.number("--runs")?.unwrap_or(DEFAULT_RUNS).max(1);
    args.finish()?;
    let program = interop::build(&["--release", "--package", "iothub-cli"], "iothub")?;
    let base = std::env::temp_dir().join(format!("iothub-start-{}", std::process::id()));
    fs::create_dir_all(&base).map_err(Failure::because("cannot make a folder"))?;
    let measured = measure_all(&program, &base, runs);
    // What is left does no harm.
    let _ = fs::remove_dir_all(&base);
    measured
}

fn measure_all(program: &Path, base: &Path, runs: u64) -> Result<String, Failure> {
    let mut lines = Vec::new();
    let there = base.join("there");
    start(program, base, Some(&there))?;
    for kind in ["in memory", "new directory", "directory that is there"] {
        let mut times = Vec::new();
        let mut most = 0;
        for run in 0..runs {
            let new = base.join(run.to_string());
            let directory = match kind {
                "in memory" => None,
                "new directory" => Some(new.as_path()),
                _ => Some(there.as_path()),
            };
            let (time, memory) = start(program, base, directory)?;
            times.push(time);
            most = most.max(memory);
        }
        times.sort_unstable();
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let line = format!(
            "{kind}: ready in {:.0} ms ({:.0} to {:.0}, {runs} runs), {:.1} MB resident",
            millis(times[times.len() / 2]),
            millis(times[0]),
            millis(times[times.len() - 1]),
            most as f64 / 1000.0 * 1.024,
        );
        println!("{line}");
        lines.push(line);
    }
    Ok(lines.join("; "))
}

/// How long it took, and its memory in KiB.
fn start(program: &Path, base: &Path, directory: Option<&Path>) -> Result<(Duration, u64), Failure> {
    let mut command = Command::new(program);
    let ports = ["--amqps-port", "0", "--https-port", "0"];
    command.args(["emulator", "run", "-o", "json"]).args(ports);
    // A hub that is killed leaves its folder there.
    command.env("XDG_RUNTIME_DIR", base);
    if let Some(directory) = directory {
        command.arg("--state-dir").arg(directory);
    }
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(Failure::because("cannot start the hub"))?;
    let measured = ready(&mut child, begun);
    // It may be gone.
    let _ = child.kill();
    let _ = child.wait();
    measured
}

fn ready(child: &mut Child, begun: Instant) -> Result<(Duration, u64), Failure> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        let read = BufReader::new(stdout).read_line(&mut line);
        read.map_err(Failure::because("cannot read what the hub prints"))?;
    }
    let time = begun.elapsed();
    if !line.starts_with("{\"ready\":true") {
        return Err(Failure::Failed(format!("the hub did not start: {line}")));
    }
    std::thread::sleep(REST);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))
        .map_err(Failure::because("cannot read the hub's memory"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    let resident = resident.ok_or_else(|| Failure::Failed("the system says nothing of VmRSS".to_owned()))?;
    Ok((time, resident))
}
