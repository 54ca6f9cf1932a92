//! Flags of every command that asks the hub's REST API.

use std::num::NonZeroU16;

use clap::Args;
use iothub_address::{DeviceId, Identity, ModuleId};

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

/// A device or one of its modules, at a hub.
#[derive(Args)]
pub(crate) struct Whose {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    /// Its module
    #[arg(short, long, value_name = "MODULE")]
    pub(crate) module: Option<ModuleId>,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

impl Whose {
    pub(crate) fn identity(&self) -> Identity {
        match &self.module {
            None => Identity::Device(self.id.clone()),
            Some(module) => Identity::Module(self.id.clone(), module.clone()),
        }
    }
}
