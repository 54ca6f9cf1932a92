//! `iothub device …`

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};

use super::given::Given;
use super::route::Route;
use super::{Format, Input, Rate, Span, device_live};

#[derive(Subcommand)]
pub(crate) enum Device {
    /// Send messages, and know that the hub has them
    Send(Send),
    /// Listen to cloud-to-device messages
    Listen(device_live::Listen),
    /// Read the twin, report to it, or watch its desired properties
    #[command(subcommand)]
    Twin(device_live::Twin),
    /// Answer direct methods
    Methods(device_live::Methods),
    /// Be a device: send telemetry, and take whatever comes
    Run(device_live::Run),
}

/// Send messages, and know that the hub has them.
///
/// Each message is one line on standard output once its outcome is known: accepted, rejected, released, too-large,
/// not-sent (it never left this machine, or the hub gave it back) or unknown (the hub may have it).
///
/// The credential is what --local, --url-file or another flag says, or else the environment variable
/// IOTHUB_DEVICE_CONNECTION_STRING, or else the context in use ('iothub context'). Of a connection string's key tokens are
/// signed that hold for an hour.
/// The server's certificate is always verified, with the platform's roots and those of --ca.
#[derive(Args)]
#[command(allow_negative_numbers = true, after_long_help = EXAMPLES)]
pub(crate) struct Send {
    /// Bodies, a message each; '-' reads one from standard input, byte by byte
    #[arg(value_name = "BODY")]
    pub(crate) bodies: Vec<OsString>,

    /// Send each line of a file as one body, without its line ending; lines without text are skipped
    #[arg(long, value_name = "FILE|-")]
    pub(crate) jsonl: Option<Input>,

    #[command(flatten)]
    pub(crate) credential: Credential,

    /// How to sign in: plain is SASL PLAIN, as an address asks for; cbs is claims-based security, as a connection string
    /// asks for, with tokens of any length that are renewed; x509 is a certificate, as --cert asks for
    #[arg(long, value_name = "HOW")]
    pub(crate) auth: Option<Auth>,

    #[command(flatten)]
    pub(crate) route: Route,

    /// Send so many messages in all, repeating the bodies in turn
    #[arg(long, value_name = "N", conflicts_with_all = ["jsonl", "message_id"], value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Send so many a time at the most: 100/s, 90/m, 5000/h
    #[arg(long, value_name = "N/s", conflicts_with = "interval")]
    pub(crate) rate: Option<Rate>,

    /// Wait so long between two messages: 500ms, 10s
    #[arg(long, value_name = "TIME")]
    pub(crate) interval: Option<Span>,

    /// Send what queues up in batches: many more messages a second, an outcome for each all the same
    #[arg(long)]
    pub(crate) batch: bool,

    /// Add an application property; the key ends at the first '='. The last of one key counts
    #[arg(short, long = "property", value_name = "KEY=VALUE", value_parser = property)]
    pub(crate) properties: Vec<(String, String)>,

    /// Set the content type; with application/json a UTF-8 body gets the content encoding utf-8
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,

    /// Set the message id, of a single message; without it each has a random one
    #[arg(long, value_name = "ID")]
    pub(crate) message_id: Option<String>,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,

    /// Trust these certificates too (PEM, one or more); IOTHUB_CA_FILE in the environment does the same
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<Input>,

    /// Give up on any step that makes no progress for this long: 500ms, 30s, 2m, 1h
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) timeout: Span,
}

/// How a device signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// SASL PLAIN
    Plain,
    /// Claims-based security
    Cbs,
    /// An X.509 certificate
    X509,
}

#[derive(Args)]
pub(crate) struct Credential {
    /// Send to a hub that this process starts for it, and show what it received
    #[arg(long, group = "credential")]
    pub(crate) local: bool,

    /// Read the double-"@" address, token included, from a file
    #[arg(long, value_name = "FILE|-", group = "credential")]
    pub(crate) url_file: Option<Input>,

    #[command(flatten)]
    pub(crate) given: Given,
}

pub(crate) fn property(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some(("", _)) => Err("the key is empty"),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("write KEY=VALUE"),
    }
}

const EXAMPLES: &str = "\
Examples:
  iothub device send --local \"Hello World!\"
  iothub device send --url-file address.txt -p alarm=false '{\"t\": 21.5}'
  iothub device send --jsonl readings.jsonl -o json
  iothub device send --count 10000 --rate 5000/s --batch '{\"t\": 21.5}'
  iothub device send --transport ws \"Hello World!\"
  iothub device send --cert device.pem --cert-key device.key \"Hello World!\"

'iothub --help' lists the exit codes.";
