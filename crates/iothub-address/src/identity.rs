//! Who a device or module is.

use core::fmt;
use core::str::FromStr;

use crate::error::AddressError;
use crate::name::{DeviceId, ModuleId};

/// A device, or a module of a device.
///
/// Prints as `DEVICE` or `DEVICE/modules/MODULE`, with the ids as they are (no id can hold a `/`), and reads
/// that back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a hub authenticates devices and modules and nothing else"
)]
pub enum Identity {
    /// A device.
    Device(DeviceId),
    /// A module of a device.
    Module(DeviceId, ModuleId),
}

impl Identity {
    /// Reads `DEVICE` or `DEVICE/modules/MODULE`, nothing escaped.
    ///
    /// # Errors
    /// What is wrong with an id, with the place.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match split_module(text) {
            Some((device, module)) => Ok(Self::Module(
                DeviceId::parse(device)?,
                ModuleId::parse(module).map_err(|error| error.shifted(text.len() - module.len()))?,
            )),
            None => Ok(Self::Device(DeviceId::parse(text)?)),
        }
    }

    /// The device, or the device that the module is of.
    #[must_use]
    pub const fn device(&self) -> &DeviceId {
        match self {
            Self::Device(device) | Self::Module(device, _) => device,
        }
    }

    /// The module, if it is one.
    #[must_use]
    pub const fn module(&self) -> Option<&ModuleId> {
        match self {
            Self::Device(_) => None,
            Self::Module(_, module) => Some(module),
        }
    }
}

/// Splits `DEVICE/modules/MODULE`; checks neither id.
pub(crate) fn split_module(text: &str) -> Option<(&str, &str)> {
    let (device, rest) = text.split_once('/')?;
    let (literal, module) = rest.split_once('/')?;
    (literal == "modules").then_some((device, module))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Module(device, module) => write!(f, "{device}/modules/{module}"),
        }
    }
}

impl FromStr for Identity {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl From<DeviceId> for Identity {
    fn from(device: DeviceId) -> Self {
        Self::Device(device)
    }
}
