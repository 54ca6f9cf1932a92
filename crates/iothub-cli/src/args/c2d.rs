//! `iothub c2d send` and `feedback`

use std::ffi::OsString;

use clap::{Args, ValueEnum};
use iothub_address::{DeviceId, ModuleId};

use super::Span;
use super::device::property;
use super::everywhere::Everywhere;
use super::examples::service_examples;

/// Send a message to a device.
///
/// It is done when the message waits at the hub; with --wait when the hub knows what has become of it, which it tells up to
/// 15 s later. What the hub tells of other messages meanwhile stays there for others.
#[derive(Args)]
#[command(after_long_help = service_examples!(
    "iothub c2d send myFirstDevice '{\"reboot\":true}' -p urgent=yes --expires 1h",
    "iothub c2d send myFirstDevice 'Hello device!' --wait -o json",
))]
pub(crate) struct Send {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    /// The body; '-' reads it from standard input, byte by byte
    #[arg(value_name = "BODY|-")]
    pub(crate) body: OsString,

    /// Send it to this module of the device
    #[arg(short, long, value_name = "MODULE")]
    pub(crate) module: Option<ModuleId>,

    /// Of which ends of the message the hub is to tell by feedback: positive is that the device has completed it, negative any
    /// other [default: none, and full with --wait, which needs it]
    #[arg(long, value_name = "WHICH")]
    pub(crate) ack: Option<Which>,

    /// Wait for what becomes of the message
    #[arg(long)]
    pub(crate) wait: bool,

    /// How long the message may wait for the device, at most 2d; the hub's own is an hour
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Span>,

    /// Set the message id; without it it has a random one
    #[arg(long, value_name = "ID")]
    pub(crate) message_id: Option<String>,

    /// Set the content type
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,

    /// Add an application property; the key ends at the first '='
    #[arg(short, long = "property", value_name = "KEY=VALUE", value_parser = property)]
    pub(crate) properties: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
}

/// Of which ends of a message its sender wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Of none
    None,
    /// That the device has completed it
    Positive,
    /// That it was rejected, has expired, was delivered too often or was purged
    Negative,
    /// Of each
    Full,
}

/// Print what becomes of messages whose senders asked, a line each, and take it from the hub.
///
/// A hub tells everyone's feedback once: what is printed here no other service hears of.
#[derive(Args)]
#[command(after_long_help = service_examples!(
    "iothub c2d feedback",
    "iothub c2d feedback -n 10 -o json",
))]
pub(crate) struct Feedback {
    /// End after so many, or some more that the hub tells at once
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
}
