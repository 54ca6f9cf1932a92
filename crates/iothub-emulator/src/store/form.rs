//! How identities and policies are written: as JSON, so that what comes to them later can be left out by what wrote
//! them earlier.

use std::sync::Arc;

use iothub_sas::SharedKey;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::hub::{Authentication, Entry, Keys, Policy, Rights, Status, Thumbprint, Thumbprints};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEntry {
    authentication: StoredAuthentication,
    status: StoredStatus,
    generation_id: Arc<str>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum StoredAuthentication {
    Sas(StoredKeys),
    SelfSigned {
        primary: String,
        secondary: Option<String>,
    },
    CertificateAuthority,
    None,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredStatus {
    Enabled,
    Disabled,
}

#[derive(Serialize, Deserialize)]
struct StoredKeys {
    primary: String,
    secondary: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredPolicy {
    keys: StoredKeys,
    registry_read: bool,
    registry_write: bool,
    service_connect: bool,
    device_connect: bool,
}

pub(super) fn write_entry(entry: &Entry) -> Result<Vec<u8>, Fault> {
    let authentication = match &entry.authentication {
        Authentication::Sas(keys) => StoredAuthentication::Sas(StoredKeys::of(keys)),
        Authentication::SelfSigned(thumbprints) => StoredAuthentication::SelfSigned {
            primary: thumbprints.primary().to_string(),
            secondary: thumbprints.secondary().map(ToString::to_string),
        },
        Authentication::CertificateAuthority => StoredAuthentication::CertificateAuthority,
        Authentication::None => StoredAuthentication::None,
    };
    let status = match entry.status {
        Status::Enabled => StoredStatus::Enabled,
        Status::Disabled => StoredStatus::Disabled,
    };
    json(&StoredEntry {
        authentication,
        status,
        generation_id: Arc::clone(&entry.generation_id),
    })
}

pub(super) fn read_entry(bytes: &[u8]) -> Result<Entry, Fault> {
    let stored: StoredEntry = serde_json::from_slice(bytes).map_err(Fault::damaged)?;
    let authentication = match stored.authentication {
        StoredAuthentication::Sas(keys) => Authentication::Sas(keys.keys()?),
        StoredAuthentication::SelfSigned { primary, secondary } => {
            let secondary = secondary.as_deref().map(Thumbprint::parse).transpose();
            Authentication::SelfSigned(Thumbprints::new(
                Thumbprint::parse(&primary).map_err(Fault::damaged)?,
                secondary.map_err(Fault::damaged)?,
            ))
        }
        StoredAuthentication::CertificateAuthority => Authentication::CertificateAuthority,
        StoredAuthentication::None => Authentication::None,
    };
    Ok(Entry {
        authentication,
        status: match stored.status {
            StoredStatus::Enabled => Status::Enabled,
            StoredStatus::Disabled => Status::Disabled,
        },
        generation_id: stored.generation_id,
    })
}

pub(super) fn write_policy(policy: &Policy) -> Result<Vec<u8>, Fault> {
    let rights = &policy.rights;
    json(&StoredPolicy {
        keys: StoredKeys::of(&policy.keys),
        registry_read: rights.registry_read,
        registry_write: rights.registry_write,
        service_connect: rights.service_connect,
        device_connect: rights.device_connect,
    })
}

pub(super) fn read_policy(bytes: &[u8]) -> Result<Policy, Fault> {
    let stored: StoredPolicy = serde_json::from_slice(bytes).map_err(Fault::damaged)?;
    Ok(Policy {
        keys: stored.keys.keys()?,
        rights: Rights {
            registry_read: stored.registry_read,
            registry_write: stored.registry_write,
            service_connect: stored.service_connect,
            device_connect: stored.device_connect,
        },
    })
}

impl StoredKeys {
    fn of(keys: &Keys) -> Self {
        Self {
            primary: keys.primary().to_base64().expose().to_owned(),
            secondary: keys.secondary().to_base64().expose().to_owned(),
        }
    }

    fn keys(&self) -> Result<Keys, Fault> {
        let key = |text| SharedKey::from_base64(text).map_err(Fault::damaged);
        Ok(Keys::new(key(&self.primary)?, key(&self.secondary)?))
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(Fault::damaged)
}
