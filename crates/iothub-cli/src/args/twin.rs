//! `iothub twin …`, `iothub method …` and `iothub c2d …`

use clap::{Args, Subcommand};
use iothub_address::DeviceId;

use super::Span;
use super::c2d;
use super::examples::service_examples;
use super::rest::{Rest, Whose};

/// Read and change twins, as a service.
#[derive(Subcommand)]
pub(crate) enum Twin {
    /// Show a twin
    #[command(after_long_help = service_examples!(
        "iothub twin show myFirstDevice -o json",
    ))]
    Show(Whose),
    /// Merge a JSON patch of tags and desired properties; null deletes
    #[command(after_long_help = service_examples!(
        "iothub twin patch myFirstDevice '{\"tags\":{\"floor\":4}}'",
        "iothub twin patch myFirstDevice '{\"properties\":{\"desired\":{\"light\":\"on\"}}}'",
        "iothub twin patch myFirstDevice '{\"properties\":{\"desired\":{\"light\":null}}}'",
    ))]
    Patch(Change),
    /// Put tags and desired properties in place of those that are there
    #[command(after_long_help = service_examples!(
        "iothub twin replace myFirstDevice '{\"properties\":{\"desired\":{\"light\":\"off\"}}}'",
    ))]
    Replace(Change),
    /// Show a twin, and again whenever it has changed, until Ctrl-C
    #[command(after_long_help = service_examples!(
        "iothub twin watch myFirstDevice --every 5s",
    ))]
    Watch(Watch),
}

#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) of: Whose,

    /// {"tags":{…},"properties":{"desired":{…}}}, or '-' to read it from standard input
    #[arg(value_name = "JSON")]
    pub(crate) json: String,

    /// Only if the twin has this ETag still
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,
}

#[derive(Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) of: Whose,

    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(crate) every: Span,

    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Call direct methods.
#[derive(Subcommand)]
pub(crate) enum Method {
    /// Call a direct method, and show the device's answer
    #[command(after_long_help = service_examples!(
        "iothub method call myFirstDevice reboot '{\"delay\":5}' --connect-timeout 30s",
    ))]
    Call(Call),
}

/// Call a direct method, and show the device's answer. --timeout is how long the device may take to answer, 5s to 300s.
#[derive(Args)]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) of: Whose,

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
pub(crate) enum C2d {
    /// Send a message to a device
    Send(Box<c2d::Send>),
    /// Print what becomes of messages whose senders asked
    Feedback(c2d::Feedback),
    /// Take away all messages that wait for a device
    #[command(after_long_help = service_examples!(
        "iothub c2d purge myFirstDevice",
    ))]
    Purge(Purge),
}

#[derive(Args)]
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
