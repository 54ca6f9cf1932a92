//! Flags of every command that asks the hub's REST API.

use std::num::NonZeroU16;

use clap::Args;

use super::everywhere::Everywhere;

/// As of every service's command, and where HTTPS is.
#[derive(Args)]
pub(crate) struct Rest {
    #[command(flatten)]
    pub(crate) everywhere: Everywhere,

    /// The hub's port for HTTPS; IOTHUB_HTTPS_PORT or a context may say it too. Otherwise 443, where every hub has it but an
    /// emulator that was told otherwise
    #[arg(long, value_name = "PORT", help_heading = "The way to the hub")]
    pub(crate) https_port: Option<NonZeroU16>,
}
