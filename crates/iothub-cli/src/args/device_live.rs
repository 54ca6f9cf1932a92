//! `iothub device listen`, `twin`, `methods` and `run`: a device that stays.

use clap::{Args, Subcommand, ValueEnum};

use super::device::Auth;
use super::examples::examples;
use super::given::Given;
use super::route::Route;
use super::{Format, Input, Span};

/// Whose device, and how to reach its hub.
#[derive(Args)]
pub(crate) struct Connect<F = Format>
where
    F: ValueEnum + Send + Sync + 'static,
{
    /// Read the double-"@" address, token included, from a file
    #[arg(long, value_name = "FILE|-", group = "credential")]
    pub(crate) url_file: Option<Input>,

    #[command(flatten)]
    pub(crate) given: Given,

    /// How to sign in: plain is SASL PLAIN, as an address gives it; cbs is claims-based security, as a connection
    /// string gives it, with tokens that are renewed; x509 is a certificate, as --cert asks for
    #[arg(long, value_name = "HOW")]
    pub(crate) auth: Option<Auth>,

    #[command(flatten)]
    pub(crate) route: Route,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: F,

    /// Trust these certificates too (PEM, one or more); IOTHUB_CA_FILE in the environment does the same
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<Input>,

    /// Give up on any step that makes no progress for this long: 500ms, 30s, 2m, 1h
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) timeout: Span,
}

/// Listen to cloud-to-device messages.
///
/// Each message is one line on standard output. Lost connections are made anew; Ctrl-C ends it with 0.
#[derive(Args)]
#[command(after_long_help = LISTEN_EXAMPLES)]
pub(crate) struct Listen {
    #[command(flatten)]
    pub(crate) connect: Connect,

    /// What to tell the hub of each message
    #[arg(long, value_name = "WORD", default_value = "complete")]
    pub(crate) settle: Settle,

    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// The word on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Settle {
    /// It is done: the hub deletes it
    Complete,
    /// The hub is to deliver it again
    Abandon,
    /// It can't be done: the hub deletes it, and says so to a sender who asks
    Reject,
}

#[derive(Subcommand)]
pub(crate) enum Twin {
    /// Print all of the twin that the device may see
    #[command(after_long_help = examples!(
        "iothub device twin get",
        "iothub device twin get -o json",
    ))]
    Get(Get),
    /// Merge a JSON patch into the reported properties; null deletes
    #[command(after_long_help = examples!(
        "iothub device twin report '{\"fan\":\"on\"}'",
        "iothub device twin report '{\"fan\":null}'",
    ))]
    Report(Report),
    /// Print the desired properties, and each change, a line each, until Ctrl-C
    #[command(after_long_help = examples!(
        "iothub device twin watch",
    ))]
    Watch(Watch),
}

#[derive(Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args)]
pub(crate) struct Report {
    /// The patch: a JSON object; '-' reads it from standard input
    #[arg(value_name = "JSON")]
    pub(crate) patch: String,

    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) connect: Connect,

    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Answer direct methods.
///
/// Each call is one line on standard output, once it is answered. Lost connections are made anew; Ctrl-C ends it with 0.
#[derive(Args)]
#[command(after_long_help = METHODS_EXAMPLES)]
pub(crate) struct Methods {
    #[command(flatten)]
    pub(crate) connect: Connect,

    #[command(flatten)]
    pub(crate) reply: Reply,

    /// End after so many calls
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// What calls are answered with.
#[derive(Args)]
pub(crate) struct Reply {
    /// Answer every call with this JSON
    #[arg(long, value_name = "JSON", conflicts_with = "exec")]
    pub(crate) reply: Option<String>,

    /// Answer with what a command of the shell writes, which is JSON. It finds the method's name in IOTHUB_METHOD and
    /// the payload on standard input; if it fails, or takes longer than --timeout, the status is 500
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,

    /// The status of answers
    #[arg(long, value_name = "STATUS", default_value_t = 200)]
    pub(crate) status: i32,
}

/// Be a device: send telemetry, print and complete commands, answer methods, and report desired properties back.
///
/// Everything that happens is one line on standard output. Lost connections are made anew; Ctrl-C ends it with 0.
#[derive(Args)]
#[command(after_long_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) connect: Connect,

    #[command(flatten)]
    pub(crate) reply: Reply,

    /// The body of telemetry; {number} in it counts up from 1
    #[arg(long, value_name = "BODY", default_value = "{\"count\":{number}}")]
    pub(crate) body: String,

    /// Send telemetry so often
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) interval: Span,

    /// End after so many messages of telemetry
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

const LISTEN_EXAMPLES: &str = "\
Examples:
  iothub device listen
  iothub device listen --settle reject --count 1 -o json

'iothub --help' lists the exit codes.";

const METHODS_EXAMPLES: &str = "\
Examples:
  iothub device methods --reply '{\"ok\":true}'
  iothub device methods --exec 'jq .delay'

'iothub --help' lists the exit codes.";

const RUN_EXAMPLES: &str = "\
Examples:
  iothub device run --interval 1s --body '{\"t\": 21.5, \"n\": {number}}'

'iothub --help' lists the exit codes.";
