//! `iothub doctor`

use std::num::NonZeroU16;

use clap::Args;

use super::Output;
use super::device_live::Connect;
use super::examples::examples;

/// Find out, step by step, why a device does not get through.
///
/// Each step is a line: what was found, and what to do where it fails. They come in this order: the credential; this
/// machine's clock against the server's; the host's name; the ports 5671 and 443; the server's certificate; signing in; the
/// link for telemetry; and one message, whose application property 'iothub-doctor' tells it from others. The exit code is
/// that of the first step that fails.
#[derive(Args)]
#[command(after_long_help = examples!(
    "eval \"$(iothub emulator env)\" && iothub doctor",
    "iothub doctor --transport ws --no-send",
    "iothub doctor -o json",
))]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) connect: Connect<Output>,

    /// Send no message
    #[arg(long)]
    pub(crate) no_send: bool,

    /// Where the hub has HTTPS, for its clock and for WebSockets; IOTHUB_HTTPS_PORT or a context may say it too. Otherwise 443
    #[arg(long, value_name = "PORT")]
    pub(crate) https_port: Option<NonZeroU16>,
}
