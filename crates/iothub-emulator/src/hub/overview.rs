//! What a hub has, at a glance.

use iothub_address::Identity;

use super::Hub;
use super::identities::{DeviceCount, Known};

/// See the module.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) count: DeviceCount,
    /// How many of them are there.
    pub(crate) connected: usize,
    /// The first of those who are there, by id, and then of the others.
    pub(crate) devices: Vec<Known>,
}

impl Hub {
    /// At most `most` devices are in it.
    pub(crate) fn overview(&self, most: usize) -> Overview {
        let is_there = |device: &Identity| self.presences.get(device).is_some_and(|known| known.is_there());
        let all = || self.registry.devices().cloned().map(Identity::Device);
        let there = all().filter(is_there);
        let others = all().filter(|device| !is_there(device));
        Overview {
            count: self.count_devices(),
            connected: self.count_connected(),
            devices: there
                .chain(others)
                .take(most)
                .filter_map(|device| self.known(&device).ok())
                .collect(),
        }
    }
}
