//! How many devices there are.

use serde::Deserialize;

use crate::error::RegistryError;
use crate::registry::Registry;
use crate::request::Call;
use crate::wire;

/// How many devices are registered. Up to minutes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DeviceCounts {
    /// All of them.
    #[serde(rename = "totalDeviceCount")]
    pub total: u64,
    /// Those that may connect.
    #[serde(rename = "enabledDeviceCount")]
    pub enabled: u64,
    /// Those that may not.
    #[serde(rename = "disabledDeviceCount")]
    pub disabled: u64,
}

impl Registry {
    /// How many devices are registered.
    ///
    /// # Errors
    /// As of every call.
    pub async fn device_counts(&self) -> Result<DeviceCounts, RegistryError> {
        Ok(wire::read(self.ask(&Call::get("/statistics/devices")).await?)?)
    }

    /// How many devices are connected. Up to minutes late.
    ///
    /// # Errors
    /// As of every call.
    pub async fn connected_devices(&self) -> Result<u64, RegistryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Connected {
            connected_device_count: u64,
        }
        let answer = self.ask(&Call::get("/statistics/service")).await?;
        Ok(wire::read::<Connected>(answer)?.connected_device_count)
    }
}
