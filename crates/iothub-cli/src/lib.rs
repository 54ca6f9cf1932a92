#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod advice;
mod args;
mod commands;
mod exit;
mod failure;
mod io;
mod logging;
mod output;
mod plan;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Args;
use crate::failure::Failure;

// The public interface:
pub use crate::exit::Exit;
pub use crate::io::{Environment, Io, Manner};

/// Runs one command line, the program's name first, and gives what the process should exit with.
///
/// Data goes to `io.stdout` and everything else to `io.stderr`. A reader of standard output that goes away does not
/// end the work: the rest of the output is dropped without a word.
pub fn run(args: impl IntoIterator<Item = OsString>, io: &mut Io) -> ExitCode {
    run_to_exit(args, io).into()
}

/// As [`run`], with the exit code as a value to look at.
pub fn run_to_exit(args: impl IntoIterator<Item = OsString>, io: &mut Io) -> Exit {
    let args: Vec<_> = args.into_iter().collect();
    io.manner.json = args::asks_for_json(&args);
    if args.len() <= 1 {
        // No command was given, which is no work done.
        io.say(args::FIRST_WORDS);
        return Exit::Usage;
    }
    let done = match Args::try_parse_from(&args) {
        Ok(args) => {
            logging::start(args.verbose);
            io.manner.quiet = args.quiet;
            io.manner.colourless = args.no_color;
            commands::run(args.command, io)
        }
        Err(error) => show(&error, &args, io),
    };
    done.unwrap_or_else(|failure| {
        io.fail(&failure);
        failure.exit()
    })
}

/// What clap has to say: help that was asked for is data, all else is an error, on one line as every other is.
fn show(error: &clap::Error, args: &[OsString], io: &mut Io) -> Result<Exit, Failure> {
    let text = args::without_secrets(error.render().to_string(), args);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            io.print(text.trim_end())?;
            Ok(Exit::Done)
        }
        // The help of a command whose parts were not named.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !io.manner.json => {
            io.say(text.trim_end());
            Ok(Exit::Usage)
        }
        _ => Err(misuse(&text, &args::command_of(args))),
    }
}

/// Clap's words, which are in paragraphs: what is wrong, then tips, then how the command is used.
fn misuse(text: &str, command: &str) -> Failure {
    let mut what = String::new();
    for paragraph in text.split("\n\n") {
        let words: Vec<_> = paragraph.split_whitespace().collect();
        match words.first() {
            Some(&"Usage:" | &"For") | None => {}
            _ if what.is_empty() => what = words.join(" "),
            _ => what.push_str(&format!("; {}", words.join(" "))),
        }
    }
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    Failure::usage(what).hint(format!("'{command} --help' shows how it is used"))
}
