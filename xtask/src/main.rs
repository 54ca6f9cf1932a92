//! The automation of the workspace: `cargo xtask TASK`, one file a task.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the command line: printing is what it is for"
)]

mod args;
mod bench;
mod ci;
mod events;
mod fuzz;
mod interop;
mod kill;
mod metadata;
mod prop;
mod readme;
mod shell;
mod sim;
mod start;
mod test;
mod tidy;
mod watch;

use std::process::ExitCode;

use args::Args;
use shell::Failure;

/// A task: what `--help` says of it, and what it does. The text that it returns is its closing line.
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(Args) -> Result<String, Failure>,
}

const TASKS: [Task; 13] = [
    Task {
        name: "test",
        help: test::HELP,
        run: test::run,
    },
    Task {
        name: "ci",
        help: ci::HELP,
        run: ci::run,
    },
    Task {
        name: "readme",
        help: readme::HELP,
        run: readme::run,
    },
    Task {
        name: "prop",
        help: prop::HELP,
        run: prop::run,
    },
    Task {
        name: "sim",
        help: sim::HELP,
        run: sim::run,
    },
    Task {
        name: "events",
        help: events::HELP,
        run: events::run,
    },
    Task {
        name: "watch",
        help: watch::HELP,
        run: watch::run,
    },
    Task {
        name: "kill",
        help: kill::HELP,
        run: kill::run,
    },
    Task {
        name: "bench",
        help: bench::HELP,
        run: bench::run,
    },
    Task {
        name: "start",
        help: start::HELP,
        run: start::run,
    },
    Task {
        name: "fuzz",
        help: fuzz::HELP,
        run: fuzz::run,
    },
    Task {
        name: "interop",
        help: interop::HELP,
        run: interop::run,
    },
    Task {
        name: "tidy",
        help: tidy::HELP,
        run: tidy::run,
    },
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = match words.next() {
        None => {
            eprintln!("{}", overview());
            return ExitCode::from(2);
        }
        Some(help) if matches!(help.as_str(), "-h" | "--help" | "help") => {
            println!("{}", overview());
            return ExitCode::SUCCESS;
        }
        Some(name) => name,
    };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("there is no task `{name}`\n\n{}", overview());
        return ExitCode::from(2);
    };
    let args = Args::new(words);
    if args.asks_for_help() {
        println!("{}", task.help);
        return ExitCode::SUCCESS;
    }
    match (task.run)(args) {
        Ok(closing) => {
            println!("{name}: {closing}");
            ExitCode::SUCCESS
        }
        Err(Failure::Usage(message)) => {
            eprintln!("{name}: {message}\n\n{}", task.help);
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn overview() -> String {
    let lines: Vec<String> = TASKS
        .iter()
        .map(|task| {
            format!(
                "  {:8}  {}",
                task.name,
                task.help.lines().next().unwrap_or_default()
            )
        })
        .collect();
    format!("usage: cargo xtask TASK [--help]\n\n{}", lines.join("\n"))
}
