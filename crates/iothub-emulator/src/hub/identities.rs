//! Identities as a back end manages them: with ETags, and with what the hub knows of them beside what was written.

use std::sync::Arc;

use iothub_address::{DeviceId, Identity};

use super::Hub;
use super::presence::Presence;
use super::record::Part;
use super::registry::{Authentication, Details, Entry, RegistryError, Status};
use crate::clock::Timestamp;

/// An identity, and what the hub knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    pub(crate) entry: Entry,
    pub(crate) presence: Presence,
    /// How many cloud-to-device messages wait for it.
    pub(crate) messages: usize,
}

/// What a back end writes of an identity, beside how it proves who it is.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) status: Status,
    pub(crate) details: Details,
}

/// Which state a change is meant for: that of HTTP's `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Any, if only it is there.
    Any,
    /// The one with this ETag, without its quotes.
    Etag(String),
}

impl IfMatch {
    pub(crate) fn holds(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Etag(wanted) => wanted == etag,
        }
    }
}

/// Whether something is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Created,
    Updated,
}

/// Why an identity was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It has another ETag.
    #[error("{0} has been changed by another")]
    Precondition(Identity),
}

/// How many devices the registry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceCount {
    pub(crate) all: usize,
    pub(crate) enabled: usize,
}

impl Hub {
    pub(crate) fn known(&self, identity: &Identity) -> Result<Known, RegistryError> {
        let entry = self.registry.get(identity).cloned();
        Ok(Known {
            entry: entry.ok_or_else(|| RegistryError::NotFound(identity.clone()))?,
            presence: self.presence(identity)?,
            messages: self.waiting_messages(identity),
            identity: identity.clone(),
        })
    }

    /// The first devices, by id.
    pub(crate) fn known_devices(&self, most: usize) -> Vec<Known> {
        let devices = self.registry.devices().take(most);
        devices
            .filter_map(|device| self.known(&Identity::Device(device.clone())).ok())
            .collect()
    }

    /// The modules of a device.
    pub(crate) fn known_modules(&self, device: &DeviceId) -> Result<Vec<Known>, RegistryError> {
        self.known(&Identity::Device(device.clone()))?;
        let modules = self.registry.modules(device);
        modules.iter().map(|module| self.known(module)).collect()
    }

    /// Registers an identity, or with `if_match` changes the one that is there. `authentication` is what it has then.
    pub(crate) fn put_identity(
        &mut self,
        identity: &Identity,
        given: Given,
        authentication: Authentication,
        if_match: Option<&IfMatch>,
        now: Timestamp,
    ) -> Result<(Known, Made), IdentityError> {
        let there = self.registry.get(identity).cloned();
        let made = match (there, if_match) {
            (None, None) => {
                let mut entry = self.registry.entry(authentication);
                entry.set_status(given.status, now);
                entry.details = given.details;
                entry.scope_of_edge(identity);
                self.registry.insert(identity, entry)?;
                Made::Created
            }
            (Some(_), None) => return Err(RegistryError::Exists(identity.clone()).into()),
            (None, Some(_)) => return Err(RegistryError::NotFound(identity.clone()).into()),
            (Some(entry), Some(wanted)) if !wanted.holds(&entry.etag) => {
                return Err(IdentityError::Precondition(identity.clone()));
            }
            (Some(mut entry), Some(_)) => {
                entry.authentication = authentication;
                entry.set_status(given.status, now);
                entry.details = given.details;
                entry.scope_of_edge(identity);
                entry.etag = self.registry.etag();
                self.registry.replace(identity, entry)?;
                self.send_disabled_away(now);
                Made::Updated
            }
        };
        self.changes.touch(|| Part::Identity(identity.clone()));
        self.twin_is_stale(identity);
        Ok((self.known(identity)?, made))
    }

    pub(crate) fn delete_identity(
        &mut self,
        identity: &Identity,
        if_match: &IfMatch,
        now: Timestamp,
    ) -> Result<(), IdentityError> {
        let there = self.registry.get(identity);
        let there = there.ok_or_else(|| RegistryError::NotFound(identity.clone()))?;
        if !if_match.holds(&there.etag) {
            return Err(IdentityError::Precondition(identity.clone()));
        }
        Ok(self.remove(identity, now)?)
    }

    pub(crate) fn count_devices(&self) -> DeviceCount {
        let (all, enabled) = self.registry.count();
        DeviceCount { all, enabled }
    }

    /// How many devices have a link.
    pub(crate) fn count_connected(&self) -> usize {
        let present = self.presences.iter();
        present
            .filter(|(identity, known)| identity.module().is_none() && known.is_there())
            .count()
    }
}

impl Entry {
    /// An Edge device is a scope of its own, which the hub names (Azure docs, "Understand how Azure IoT Edge uses
    /// identities": `ms-azure-iot-edge://DEVICE-GENERATION`).
    fn scope_of_edge(&mut self, identity: &Identity) {
        if self.details.iot_edge && self.details.device_scope.is_none() {
            let scope = format!("ms-azure-iot-edge://{}-{}", identity.device(), self.generation_id);
            self.details.device_scope = Some(Arc::from(scope));
        }
    }
}
