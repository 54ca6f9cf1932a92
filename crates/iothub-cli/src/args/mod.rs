//! The command line, typed. What it means is worked out in `plan` and in the commands.

pub(crate) mod address;
pub(crate) mod administration;
pub(crate) mod device;
pub(crate) mod device_live;
pub(crate) mod emulator;
pub(crate) mod route;
pub(crate) mod sas;
pub(crate) mod surroundings;
mod values;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub(crate) use values::{Input, Rate, Span};

/// Azure IoT Hub from a terminal: send as a device, make and take apart addresses and tokens, run a hub of your own
#[derive(Parser)]
#[command(name = "iothub", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Say more on standard error: -v what happens, -vv how, -vvv everything; never a secret
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

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
}

/// For whom output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: one JSON object a line
    Json,
}

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
}
