//! How what is not an event is written: identities, policies and twins as JSON, so that what comes to them later can be
//! left out by what wrote them earlier; messages and feedback as the events are, in postcard's form.

use std::sync::Arc;

use iothub_sas::SharedKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::clock::Timestamp;
use crate::hub::{
    Ack, Authentication, Details, Entry, Feedback, Keys, Message, Policy, Rights, Section, Status,
    Thumbprint, Thumbprints, Twin, Waiting,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEntry {
    authentication: StoredAuthentication,
    status: StoredStatus,
    generation_id: Arc<str>,
    #[serde(default = "etag_of_old")]
    etag: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_reason: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    iot_edge: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_scope: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parent_scopes: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    managed_by: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_id: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_updated: Option<Timestamp>,
}

/// Of an identity that was written before it had one: a 0.
fn etag_of_old() -> Arc<str> {
    "MA==".into()
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
        etag: Arc::clone(&entry.etag),
        status_reason: entry.details.status_reason.clone(),
        iot_edge: entry.details.iot_edge,
        device_scope: entry.details.device_scope.clone(),
        parent_scopes: entry.details.parent_scopes.clone(),
        managed_by: entry.details.managed_by.clone(),
        model_id: entry.model_id.clone(),
        status_updated: entry.status_updated,
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
        status_updated: stored.status_updated,
        generation_id: stored.generation_id,
        etag: stored.etag,
        details: Details {
            status_reason: stored.status_reason,
            iot_edge: stored.iot_edge,
            device_scope: stored.device_scope,
            parent_scopes: stored.parent_scopes,
            managed_by: stored.managed_by,
        },
        model_id: stored.model_id,
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

#[derive(Serialize, Deserialize)]
struct StoredTwin {
    tags: Map<String, Value>,
    desired: Section,
    reported: Section,
    version: u64,
    etag: u64,
}

pub(super) fn write_twin(twin: &Twin) -> Result<Vec<u8>, Fault> {
    let twin = twin.clone();
    json(&StoredTwin {
        tags: twin.tags,
        desired: twin.desired,
        reported: twin.reported,
        version: twin.version,
        etag: twin.etag,
    })
}

pub(super) fn read_twin(bytes: &[u8]) -> Result<Twin, Fault> {
    let stored: StoredTwin = serde_json::from_slice(bytes).map_err(Fault::damaged)?;
    Ok(Twin {
        tags: stored.tags,
        desired: stored.desired,
        reported: stored.reported,
        version: stored.version,
        etag: stored.etag,
    })
}

/// Written by reference, read as owned: postcard writes both the same.
#[derive(Serialize, Deserialize)]
struct StoredMessage<M> {
    ack: Ack,
    enqueued: Timestamp,
    expires: Timestamp,
    delivery_count: u8,
    is_locked: bool,
    message: M,
}

pub(super) fn write_message(waiting: &Waiting) -> Result<Vec<u8>, Fault> {
    let stored = StoredMessage {
        ack: waiting.ack,
        enqueued: waiting.enqueued,
        expires: waiting.expires,
        delivery_count: waiting.delivery_count,
        is_locked: waiting.is_locked(),
        message: &waiting.message,
    };
    postcard::to_allocvec(&stored).map_err(Fault::damaged)
}

/// The message, and whether it was out for delivery.
pub(super) fn read_message(bytes: &[u8]) -> Result<(Waiting, bool), Fault> {
    let stored: StoredMessage<Message> = postcard::from_bytes(bytes).map_err(Fault::damaged)?;
    let mut waiting = Waiting::new(stored.message, stored.ack, stored.enqueued, stored.expires);
    waiting.delivery_count = stored.delivery_count;
    Ok((waiting, stored.is_locked))
}

pub(super) fn write_feedback(feedback: &Feedback) -> Result<Vec<u8>, Fault> {
    postcard::to_allocvec(feedback).map_err(Fault::damaged)
}

pub(super) fn read_feedback(bytes: &[u8]) -> Result<Feedback, Fault> {
    postcard::from_bytes(bytes).map_err(Fault::damaged)
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
