//! The command line, typed. What it means is worked out in `plan` and in the commands.

pub(crate) mod address;
pub(crate) mod administration;
pub(crate) mod c2d;
pub(crate) mod context;
pub(crate) mod device;
pub(crate) mod device_live;
pub(crate) mod doctor;
pub(crate) mod emulator;
pub(crate) mod events;
pub(crate) mod everywhere;
mod examples;
pub(crate) mod given;
pub(crate) mod manual;
pub(crate) mod registry;
pub(crate) mod rest;
pub(crate) mod route;
pub(crate) mod sas;
pub(crate) mod surroundings;
pub(crate) mod twin;
mod values;

use std::ffi::OsString;

use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};

pub(crate) use values::{Input, Rate, Since, Span};

/// Azure IoT Hub from a terminal: send as a device, make and take apart addresses and tokens, run a hub of your own
#[derive(Parser)]
#[command(name = "iothub", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Say more on standard error: -v what happens, -vv how, -vvv everything; never a secret
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    /// Say less: no warnings and no progress; of 'emulator run' nothing of what happens at the hub
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Use no colours; nor are they used where standard error is no terminal, or NO_COLOR is set
    #[arg(long, global = true)]
    pub(crate) no_color: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Act as a device
    #[command(subcommand)]
    Device(device::Device),
    /// Make and take apart the double-"@" address, offline
    #[command(subcommand)]
    Address(address::Address),
    /// Make and take apart SAS tokens, offline
    #[command(subcommand)]
    Sas(sas::Sas),
    /// Run a hub on this machine
    #[command(subcommand)]
    Emulator(emulator::Emulator),
    /// Keep the devices that a hub knows
    #[command(subcommand)]
    Registry(registry::Registry),
    /// Keep the modules of a device
    #[command(subcommand)]
    Module(registry::Module),
    /// Read and change twins, as a service
    #[command(subcommand)]
    Twin(twin::Twin),
    /// Call direct methods
    #[command(subcommand)]
    Method(twin::Method),
    /// Deal with messages to devices
    #[command(subcommand)]
    C2d(twin::C2d),
    /// Read what devices have sent
    #[command(subcommand)]
    Events(events::Events),
    /// Keep credentials and how to reach a hub, under a name
    #[command(subcommand)]
    Context(context::Context),
    /// Find out, step by step, why a device does not get through
    Doctor(doctor::Doctor),
    /// Print what a shell needs to complete command lines
    Completions(manual::Completions),
    /// Write the manual's pages into a folder, one for each command
    Man(manual::Man),
}

/// For whom output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: one JSON object a line
    Json,
}

/// The same, of what has rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs: one JSON object a line
    Json,
    /// For spreadsheets: a line of names, then a line a row (RFC 4180)
    Csv,
}

/// Whether a command line, good or bad, asks for JSON: errors are then written so too. By its text, since clap gives nothing
/// of a line that it can't take.
pub(crate) fn asks_for_json(args: &[OsString]) -> bool {
    let words = args.iter().map(|arg| arg.to_str().unwrap_or_default());
    let words: Vec<_> = words.take_while(|word| *word != "--").collect();
    let last = words.iter().enumerate().rev().find_map(|(at, word)| {
        let value = format_flag(word)?;
        Some(if value.is_empty() {
            words.get(at + 1).copied().unwrap_or_default()
        } else {
            value
        })
    });
    last == Some("json")
}

/// The names of the command that a command line, good or bad, is for, as far as there are such.
pub(crate) fn command_of(args: &[OsString]) -> String {
    let mut command = &Args::command();
    let mut names = command.get_name().to_owned();
    let words = args.iter().skip(1).filter_map(|arg| arg.to_str());
    for word in words.filter(|word| !word.starts_with('-')) {
        let Some(next) = command.find_subcommand(word) else {
            break;
        };
        command = next;
        names.push(' ');
        names.push_str(word);
    }
    names
}

/// What clap says of a command line, without the words of it that hold a credential: it repeats what it does not expect.
pub(crate) fn without_secrets(text: String, args: &[OsString]) -> String {
    let holds = |word: &str| {
        let word = word.to_ascii_lowercase();
        ["sharedaccesskey=", "sharedaccesssignature", "sig=", "primarykey="]
            .iter()
            .any(|mark| word.contains(mark))
    };
    let words = args.iter().map(|arg| arg.to_string_lossy());
    words
        .filter(|word| holds(word))
        .fold(text, |text, word| text.replace(&*word, "***"))
}

/// What stands behind `--output` or `-o` in the same word: nothing, where the value is the next one.
fn format_flag(word: &str) -> Option<&str> {
    let value = match word.strip_prefix("--output") {
        Some(value) => value,
        // Behind flags without values, if any.
        None => word
            .strip_prefix('-')?
            .trim_start_matches(['v', 'q'])
            .strip_prefix('o')?,
    };
    Some(value.strip_prefix('=').unwrap_or(value))
}

/// What 'iothub' alone says: what most people want.
pub(crate) const FIRST_WORDS: &str = "\
Azure IoT Hub from a terminal.

  iothub device send --local 'Hello World!'  send a message as a device, to a hub that is started for it
  iothub emulator run                        run a hub on this machine
  iothub events watch                        watch what devices send
  iothub registry create my-device           make a device, and get its connection string
  iothub doctor                              find out why a device does not get through

'iothub --help' lists all commands, and each shows examples by its own --help.";

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  unexpected: a full disk, a bug
    2  usage: a bad flag, a malformed address or connection string, no credential
    3  cannot reach: DNS, port closed, TLS name mismatch or unknown CA, peer speaks no AMQP
    4  not authorised: wrong key, expired token; with --auth plain an unknown device too
    5  not found: the device, where the hub says so
    6  throttled or over quota
    7  rejected by the peer, such as a body over 256 KiB
    8  time-out: the peer fell silent
    9  partial: some messages not accepted, with counts on standard error
  130  interrupted by Ctrl-C before the work was done

Example:
  iothub device send --local \"Hello World!\"";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn json_is_asked_for_by_good_and_bad_command_lines() {
        let asks = |line: &str| {
            let args: Vec<_> = line.split(' ').map(OsString::from).collect();
            asks_for_json(&args)
        };
        for line in [
            "iothub device send -o json x",
            "iothub device send x -ojson",
            "iothub device send --output=json --local",
            "iothub -q device send --no-such-flag -qo json",
            "iothub device send -o text -o json",
            "iothub context list --output json --what",
            "iothub device twin get -o json",
        ] {
            assert!(asks(line), "{line}");
        }
        for line in [
            "iothub",
            "iothub device send x",
            "iothub device send -o text json",
            "iothub device send -- -o json",
            "iothub device send -p output=json x",
            "iothub nothing",
        ] {
            assert!(!asks(line), "{line}");
        }
    }
}
