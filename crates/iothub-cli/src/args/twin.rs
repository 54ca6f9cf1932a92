//! `iothub twin …`, `iothub method …` and `iothub c2d …`

use clap::{Args, Subcommand};
use iothub_address::{DeviceId, ModuleId};

use super::Span;
use super::c2d;
use super::rest::Rest;

/// Read and change twins, as a service.
#[derive(Subcommand)]
#[command(after_long_help = EXAMPLES)]
pub(crate) enum Twin {
    /// Show a twin
    Show(Of),
    /// Merge a JSON patch of tags and desired properties; null deletes
    Patch(Change),
    /// Put tags and desired properties in place of those that are there
    Replace(Change),
    /// Show a twin, and again whenever it has changed, until Ctrl-C
    Watch(Watch),
}

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Of {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    /// Its module
    #[arg(short, long, value_name = "MODULE")]
    pub(crate) module: Option<ModuleId>,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) of: Of,

    /// {"tags":{…},"properties":{"desired":{…}}}, or '-' to read it from standard input
    #[arg(value_name = "JSON")]
    pub(crate) json: String,

    /// Only if the twin has this ETag still
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,
}

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) of: Of,

    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(crate) every: Span,

    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Call direct methods.
#[derive(Subcommand)]
#[command(after_long_help = METHOD_EXAMPLES)]
pub(crate) enum Method {
    /// Call a direct method, and show the device's answer
    Call(Call),
}

/// Call a direct method, and show the device's answer. --timeout is how long the device may take to answer, 5s to 300s.
#[derive(Args)]
#[command(after_long_help = METHOD_EXAMPLES)]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) of: Of,

    /// The method
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// JSON, or '-' to read it from standard input; without it null
    #[arg(value_name = "PAYLOAD|-")]
    pub(crate) payload: Option<String>,

    /// How long to wait for a device that is not connected, at most 300s; without it not at all
    #[arg(long, value_name = "TIME", value_parser = connect_timeout)]
    pub(crate) connect_timeout: Option<Span>,
}

/// Deal with messages to devices.
#[derive(Subcommand)]
#[command(after_long_help = C2D_EXAMPLES)]
pub(crate) enum C2d {
    /// Send a message to a device
    Send(Box<c2d::Send>),
    /// Print what becomes of messages whose senders asked
    Feedback(c2d::Feedback),
    /// Take away all messages that wait for a device
    Purge(Purge),
}

#[derive(Args)]
#[command(after_long_help = C2D_EXAMPLES)]
pub(crate) struct Purge {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

/// `0s` is a time too, here.
fn connect_timeout(text: &str) -> Result<Span, &'static str> {
    match text {
        "0s" => Ok(Span(std::time::Duration::ZERO)),
        text => text.parse(),
    }
}

const EXAMPLES: &str = "\
Examples, against 'iothub emulator run':
  eval \"$(iothub emulator env)\"
  iothub registry create dev1
  iothub twin patch dev1 '{\"tags\":{\"floor\":4},\"properties\":{\"desired\":{\"light\":\"on\"}}}'
  iothub twin show dev1 -o json
  iothub twin watch dev1 --every 5s";

const METHOD_EXAMPLES: &str = "\
Example, against 'iothub emulator run', with 'iothub device methods' as the device:
  eval \"$(iothub emulator env)\"
  iothub method call myFirstDevice reboot '{\"delay\":5}' --timeout 10s --connect-timeout 30s";

const C2D_EXAMPLES: &str = "\
Example, against 'iothub emulator run':
  eval \"$(iothub emulator env)\"
  iothub c2d send myFirstDevice '{\"reboot\":true}' --expires 1h
  iothub c2d purge myFirstDevice";
