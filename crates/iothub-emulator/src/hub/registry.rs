//! Who the hub knows: devices, their modules, and the shared access policies.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use iothub_address::{DeviceId, Identity, ModuleId, PolicyName};
use iothub_sas::SharedKey;

use super::thumbprint::{Thumbprint, Thumbprints};
use crate::clock::Timestamp;

/// The two keys of an identity or a policy. Either signs; two let an owner change one at a time.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(crate) primary: SharedKey,
    pub(crate) secondary: SharedKey,
}

impl Keys {
    /// A primary and a secondary key.
    pub const fn new(primary: SharedKey, secondary: SharedKey) -> Self {
        Self { primary, secondary }
    }

    /// The primary key.
    pub const fn primary(&self) -> &SharedKey {
        &self.primary
    }

    /// The secondary key.
    pub const fn secondary(&self) -> &SharedKey {
        &self.secondary
    }

    /// The keys whose bytes are the text of these ones.
    pub(crate) fn as_text(&self) -> Self {
        let text = |key: &SharedKey| {
            SharedKey::from_text(key.to_base64().expose()).expect("the base64 of 64 bytes is short enough")
        };
        Self::new(text(&self.primary), text(&self.secondary))
    }
}

/// How an identity proves who it is, by IoT Hub's four types.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// `sas`: by a token that either of two keys has signed.
    Sas(Keys),
    /// `selfSigned`: by a certificate that the registry knows, whoever has signed it.
    SelfSigned(Thumbprints),
    /// `certificateAuthority`: by a certificate that an authority has signed which the hub trusts, and whose common
    /// name is the identity: `DEVICE`, or `DEVICE/MODULE`.
    CertificateAuthority,
    /// `none`: it has nothing to show. Only the holder of a policy's key can act for it.
    None,
}

impl Authentication {
    /// IoT Hub's word for the type, as the registry's `authentication.type` holds it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Sas(_) => "sas",
            Self::SelfSigned(_) => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
        }
    }

    /// The keys, where it is by keys.
    pub const fn keys(&self) -> Option<&Keys> {
        match self {
            Self::Sas(keys) => Some(keys),
            _ => None,
        }
    }
}

impl Authentication {
    /// The thumbprints, where it is by such.
    fn thumbprints(&self) -> Vec<Thumbprint> {
        match self {
            Self::SelfSigned(known) => [Some(known.primary()), known.secondary()]
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl From<Keys> for Authentication {
    fn from(keys: Keys) -> Self {
        Self::Sas(keys)
    }
}

impl From<Thumbprints> for Authentication {
    fn from(thumbprints: Thumbprints) -> Self {
        Self::SelfSigned(thumbprints)
    }
}

/// For where `None` means new keys.
impl From<Keys> for Option<Authentication> {
    fn from(keys: Keys) -> Self {
        Some(keys.into())
    }
}

/// For where `None` means new keys.
impl From<Thumbprints> for Option<Authentication> {
    fn from(thumbprints: Thumbprints) -> Self {
        Some(thumbprints.into())
    }
}

/// Whether an identity may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It may.
    Enabled,
    /// It may not; its open connections are closed.
    Disabled,
}

/// What the holder of a policy's key may do. The names are IoT Hub's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// Read the identity registry.
    pub registry_read: bool,
    /// Write the identity registry.
    pub registry_write: bool,
    /// Use the service endpoints: events, cloud-to-device messages, methods, twins.
    pub service_connect: bool,
    /// Use the device endpoints, as any device.
    pub device_connect: bool,
}

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self {
        registry_read: false,
        registry_write: false,
        service_connect: false,
        device_connect: false,
    };
    /// Every right: what `iothubowner` has.
    pub const ALL: Self = Self {
        registry_read: true,
        registry_write: true,
        service_connect: true,
        device_connect: true,
    };

    /// The names of the policies that every hub has.
    pub const BUILT_IN: [&'static str; 5] = [
        "iothubowner",
        "service",
        "device",
        "registryRead",
        "registryReadWrite",
    ];

    /// The rights of one of the hub's five built-in policies, by its name (Azure docs, "Control access to IoT Hub
    /// by using shared access signatures").
    pub fn of_built_in(policy: &str) -> Option<Self> {
        Some(match policy {
            "iothubowner" => Self::ALL,
            "service" => Self {
                service_connect: true,
                ..Self::NONE
            },
            "device" => Self {
                device_connect: true,
                ..Self::NONE
            },
            "registryRead" => Self {
                registry_read: true,
                ..Self::NONE
            },
            "registryReadWrite" => Self {
                registry_read: true,
                registry_write: true,
                ..Self::NONE
            },
            _ => return None,
        })
    }
}

/// Why the registry would not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is an identity of that name.
    #[error("{0} is registered already")]
    Exists(Identity),
    /// There is no such identity.
    #[error("{0} is not registered")]
    NotFound(Identity),
    /// The device has as many modules as one may have.
    #[error("{0} has {MAX_MODULES} modules, and no device may have more")]
    TooManyModules(DeviceId),
}

/// An identity as the registry holds it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) authentication: Authentication,
    pub(crate) status: Status,
    /// When that was changed last, if it ever was.
    pub(crate) status_updated: Option<Timestamp>,
    pub(crate) generation_id: Arc<str>,
    /// Another after each change.
    pub(crate) etag: Arc<str>,
    pub(crate) details: Details,
    /// The digital-twin model that the device last said it speaks.
    pub(crate) model_id: Option<Arc<str>>,
}

impl Entry {
    pub(crate) fn set_status(&mut self, status: Status, now: Timestamp) {
        if self.status != status {
            self.status = status;
            self.status_updated = Some(now);
        }
    }
}

/// What the hub keeps of an identity and does nothing with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) status_reason: Option<Arc<str>>,
    /// Whether it is an Edge device.
    pub(crate) iot_edge: bool,
    pub(crate) device_scope: Option<Arc<str>>,
    pub(crate) parent_scopes: Vec<Arc<str>>,
    /// Of a module: by whom it is managed.
    pub(crate) managed_by: Option<Arc<str>>,
}

struct Device {
    entry: Entry,
    modules: BTreeMap<ModuleId, Entry>,
}

#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) keys: Keys,
    pub(crate) rights: Rights,
}

/// All identities and policies. Ids compare case-sensitively, as the hub's do.
#[derive(Default)]
pub(crate) struct Registry {
    devices: BTreeMap<DeviceId, Device>,
    /// How many identities are registered with each.
    thumbprints: BTreeMap<Thumbprint, usize>,
    policies: BTreeMap<PolicyName, Policy>,
    /// Random: it makes generation ids and ETags of two hubs differ.
    seed: u64,
    generations: u64,
}

impl Registry {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    pub(crate) fn register(
        &mut self,
        identity: &Identity,
        authentication: Authentication,
    ) -> Result<(), RegistryError> {
        let entry = self.entry(authentication);
        self.insert(identity, entry)
    }

    /// A new identity, which is not registered yet.
    pub(crate) fn entry(&mut self, authentication: Authentication) -> Entry {
        // The real one is a number in text, unique among all identities of one name.
        let generation_id = (self.unique() % GENERATIONS).to_string().into();
        Entry {
            authentication,
            status: Status::Enabled,
            status_updated: None,
            generation_id,
            etag: self.etag(),
            details: Details::default(),
            model_id: None,
        }
    }

    /// An ETag that no identity has had. The real hub's is a number in text, in base64.
    pub(crate) fn etag(&mut self) -> Arc<str> {
        let number = self.unique() % ETAGS;
        base64::engine::general_purpose::STANDARD
            .encode(number.to_string())
            .into()
    }

    fn unique(&mut self) -> u64 {
        self.generations += 1;
        self.seed.wrapping_add(self.generations)
    }

    /// Registers it as it is given.
    pub(crate) fn insert(&mut self, identity: &Identity, entry: Entry) -> Result<(), RegistryError> {
        let thumbprints = entry.authentication.thumbprints();
        match identity {
            Identity::Device(device) => {
                if self.devices.contains_key(device) {
                    return Err(RegistryError::Exists(identity.clone()));
                }
                self.devices.insert(
                    device.clone(),
                    Device {
                        entry,
                        modules: BTreeMap::new(),
                    },
                );
            }
            Identity::Module(device, module) => {
                let owner = self
                    .devices
                    .get_mut(device)
                    .ok_or_else(|| RegistryError::NotFound(Identity::Device(device.clone())))?;
                if owner.modules.contains_key(module) {
                    return Err(RegistryError::Exists(identity.clone()));
                }
                if owner.modules.len() >= MAX_MODULES {
                    return Err(RegistryError::TooManyModules(device.clone()));
                }
                owner.modules.insert(module.clone(), entry);
            }
        }
        self.learn(thumbprints);
        Ok(())
    }

    fn learn(&mut self, thumbprints: impl IntoIterator<Item = Thumbprint>) {
        for thumbprint in thumbprints {
            *self.thumbprints.entry(thumbprint).or_default() += 1;
        }
    }

    /// Removes it, a device with all its modules.
    pub(crate) fn remove(&mut self, identity: &Identity) -> Result<(), RegistryError> {
        let not_found = || RegistryError::NotFound(identity.clone());
        match identity {
            Identity::Device(id) => {
                let removed = self.devices.remove(id).ok_or_else(not_found)?;
                self.forget(&removed.entry.authentication);
                let modules = removed.modules.values();
                modules.for_each(|entry| self.forget(&entry.authentication));
            }
            Identity::Module(device, module) => {
                let owner = self.devices.get_mut(device);
                let removed = owner.and_then(|device| device.modules.remove(module));
                self.forget(&removed.ok_or_else(not_found)?.authentication);
            }
        }
        Ok(())
    }

    fn forget(&mut self, authentication: &Authentication) {
        for thumbprint in authentication.thumbprints() {
            if let Some(count) = self.thumbprints.get_mut(&thumbprint) {
                *count -= 1;
                if *count == 0 {
                    self.thumbprints.remove(&thumbprint);
                }
            }
        }
    }

    /// Whether an identity is registered with the thumbprint.
    pub(crate) fn knows(&self, thumbprint: &Thumbprint) -> bool {
        self.thumbprints.contains_key(thumbprint)
    }

    pub(crate) fn set_status(
        &mut self,
        device: &DeviceId,
        status: Status,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let etag = self.etag();
        match self.devices.get_mut(device) {
            Some(found) => {
                found.entry.set_status(status, now);
                found.entry.etag = etag;
                Ok(())
            }
            None => Err(RegistryError::NotFound(Identity::Device(device.clone()))),
        }
    }

    /// How many devices there are, and how many of them are enabled.
    pub(crate) fn count(&self) -> (usize, usize) {
        let enabled = |device: &&Device| device.entry.status == Status::Enabled;
        (self.devices.len(), self.devices.values().filter(enabled).count())
    }

    /// The devices, by id.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.devices.keys()
    }

    /// Puts an identity in as it was kept. A module whose device is not there is no part of any hub.
    pub(crate) fn restore(&mut self, identity: Identity, entry: Entry) {
        let thumbprints = entry.authentication.thumbprints();
        match identity {
            Identity::Device(device) => {
                let modules = BTreeMap::new();
                self.devices.insert(device, Device { entry, modules });
            }
            Identity::Module(device, module) => {
                let Some(owner) = self.devices.get_mut(&device) else {
                    return;
                };
                owner.modules.insert(module, entry);
            }
        }
        self.learn(thumbprints);
    }

    pub(crate) fn set_authentication(
        &mut self,
        identity: &Identity,
        authentication: Authentication,
    ) -> Result<(), RegistryError> {
        let found = self.get(identity).cloned();
        let mut entry = found.ok_or_else(|| RegistryError::NotFound(identity.clone()))?;
        entry.authentication = authentication;
        entry.etag = self.etag();
        self.replace(identity, entry)
    }

    /// Notes which model a device speaks; gives whether it is another than before. That is no change of its ETag.
    pub(crate) fn set_model(&mut self, device: &DeviceId, model: &str) -> bool {
        let Some(found) = self.devices.get_mut(device) else {
            return false;
        };
        let differs = found.entry.model_id.as_deref() != Some(model);
        if differs {
            found.entry.model_id = Some(Arc::from(model));
        }
        differs
    }

    /// Puts an entry in the place of the one that is there.
    pub(crate) fn replace(&mut self, identity: &Identity, entry: Entry) -> Result<(), RegistryError> {
        let found = self
            .devices
            .get_mut(identity.device())
            .and_then(|device| match identity {
                Identity::Device(_) => Some(&mut device.entry),
                Identity::Module(_, module) => device.modules.get_mut(module),
            });
        let place = found.ok_or_else(|| RegistryError::NotFound(identity.clone()))?;
        let thumbprints = entry.authentication.thumbprints();
        let former = std::mem::replace(place, entry);
        self.forget(&former.authentication);
        self.learn(thumbprints);
        Ok(())
    }

    pub(crate) fn set_policy(&mut self, name: PolicyName, policy: Policy) {
        self.policies.insert(name, policy);
    }

    pub(crate) fn get(&self, identity: &Identity) -> Option<&Entry> {
        let device = self.devices.get(identity.device())?;
        match identity {
            Identity::Device(_) => Some(&device.entry),
            Identity::Module(_, module) => device.modules.get(module),
        }
    }

    /// All identities, each device before its modules.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Identity, &Entry)> {
        self.devices.iter().flat_map(|(id, device)| {
            let own = (Identity::Device(id.clone()), &device.entry);
            let modules = device.modules.iter();
            let modules =
                modules.map(|(module, entry)| (Identity::Module(id.clone(), module.clone()), entry));
            std::iter::once(own).chain(modules)
        })
    }

    /// The device's modules.
    pub(crate) fn modules(&self, device: &DeviceId) -> Vec<Identity> {
        let modules = self
            .devices
            .get(device)
            .into_iter()
            .flat_map(|found| found.modules.keys());
        modules
            .map(|module| Identity::Module(device.clone(), module.clone()))
            .collect()
    }

    /// Whether it may connect: a module only if its device may.
    pub(crate) fn is_enabled(&self, identity: &Identity) -> bool {
        let device = Identity::Device(identity.device().clone());
        [&device, identity].into_iter().all(|identity| {
            self.get(identity)
                .is_some_and(|entry| entry.status == Status::Enabled)
        })
    }

    pub(crate) fn policy(&self, name: &str) -> Option<(&PolicyName, &Policy)> {
        self.policies.iter().find(|(known, _)| known.as_str() == name)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("devices", &self.devices.len())
            .finish_non_exhaustive()
    }
}

/// The most modules of one device (Azure docs, "IoT Hub quotas and throttling": 50).
const MAX_MODULES: usize = 50;
/// The real hub's generation ids have 18 digits.
const GENERATIONS: u64 = 1_000_000_000_000_000_000;
/// The number in the real hub's ETags has up to 9 digits.
const ETAGS: u64 = 1_000_000_000;
