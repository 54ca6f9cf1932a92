//! Twins: what a device asks of its own, and what a service changes.

use std::collections::BTreeMap;

use iothub_address::Identity;
use serde_json::{Map, Value as Json};

use super::Hub;
use super::limits::{Excess, Operation};
use super::message::{Body, Message, Properties};
use super::pairs::{Kind, PairKey};
use super::record::Part;
use super::refusal::{Condition, Refusal, code};
use super::registry::RegistryError;
use super::traffic::Passed;
use super::twin::{Twin, TwinError};
use super::value::Value;
use crate::clock::Timestamp;

/// The twins that are not as new ones are.
pub(crate) type Twins = BTreeMap<Identity, Twin>;

/// What a service makes of a twin. What it does not name stays.
#[derive(Clone, Debug)]
pub(crate) struct TwinChange {
    pub(crate) how: How,
    pub(crate) tags: Option<Map<String, Json>>,
    pub(crate) desired: Option<Map<String, Json>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By a merge patch (RFC 7396).
    Merge,
    Replace,
}

/// What a device is answered.
struct Answered {
    status: i32,
    version: Option<u64>,
    body: Vec<u8>,
}

impl Answered {
    const fn ok(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            version: None,
            body,
        }
    }

    /// The code's first three digits are those of HTTP, as everywhere in the hub's table.
    fn refused(refusal: &Refusal) -> Self {
        Self {
            status: i32::try_from(refusal.code / 1000).unwrap_or(500),
            version: None,
            body: refusal.description().into_bytes(),
        }
    }

    fn to(self, request: &Message) -> Message {
        let version = self.version.map(|version| ("version".to_owned(), long(version)));
        let status = ("status".to_owned(), Value::Int(self.status));
        Message {
            // In its own type: Java's is a uuid, the others' a string.
            properties: Properties {
                correlation_id: request.properties.correlation_id.clone(),
                ..Properties::default()
            },
            annotations: [status].into_iter().chain(version).collect(),
            body: Body::Data(self.body.into()),
            ..Message::default()
        }
    }
}

impl Hub {
    /// The twin of an identity.
    pub(crate) fn twin(&self, identity: &Identity) -> Result<Twin, RegistryError> {
        if self.registry.get(identity).is_none() {
            return Err(RegistryError::NotFound(identity.clone()));
        }
        Ok(self.twins.get(identity).cloned().unwrap_or_else(Twin::new))
    }

    /// A service's change of tags and desired properties. A device that has asked to hears of the latter.
    pub(crate) fn patch_twin(
        &mut self,
        identity: &Identity,
        tags: Option<&Json>,
        desired: Option<&Json>,
        etag: Option<&str>,
        now: Timestamp,
    ) -> Result<Result<Twin, TwinError>, RegistryError> {
        let mut twin = self.twin(identity)?;
        if let Err(error) = twin.patch(tags, desired, etag, now) {
            return Ok(Err(error));
        }
        self.put_twin(identity, twin.clone());
        if let Some(Json::Object(patch)) = desired {
            self.tell_desired(identity, patch.clone(), twin.desired_version(), now);
        }
        Ok(Ok(twin))
    }

    /// As [`patch_twin`](Self::patch_twin), or with others in the place of the tags and desired properties that are there.
    pub(crate) fn change_twin(
        &mut self,
        identity: &Identity,
        change: TwinChange,
        etag: Option<&str>,
        now: Timestamp,
    ) -> Result<Result<Twin, TwinError>, RegistryError> {
        let TwinChange { how, tags, desired } = change;
        if how == How::Merge {
            let (tags, desired) = (tags.map(Json::Object), desired.map(Json::Object));
            return self.patch_twin(identity, tags.as_ref(), desired.as_ref(), etag, now);
        }
        let mut twin = self.twin(identity)?;
        match twin.replace(tags, desired, etag, now) {
            Ok(patch) => {
                self.put_twin(identity, twin.clone());
                if let Some(patch) = patch {
                    self.tell_desired(identity, patch, twin.desired_version(), now);
                }
                Ok(Ok(twin))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) fn put_twin(&mut self, identity: &Identity, twin: Twin) {
        self.twins.insert(identity.clone(), twin);
        self.changes.touch(|| Part::Twin(identity.clone()));
        self.twin_is_stale(identity);
    }

    /// Tells a device that has asked to hear of it what has changed in its desired properties.
    pub(super) fn tell_desired(
        &mut self,
        identity: &Identity,
        mut patch: Map<String, Json>,
        version: u64,
        now: Timestamp,
    ) {
        self.passed(identity, Passed::Desired { version }, now);
        patch.insert("$version".to_owned(), version.into());
        let body = Json::Object(patch).to_string();
        let subscribed: Vec<PairKey> = self
            .pairs
            .receiving(identity, Kind::Twin)
            .filter(|(_, pair)| pair.subscribed)
            .map(|(key, _)| key.clone())
            .collect();
        for key in subscribed {
            let notification = Message {
                annotations: vec![
                    ("resource".to_owned(), DESIRED.into()),
                    ("version".to_owned(), long(version)),
                ],
                body: Body::Data(body.clone().into()),
                ..Message::default()
            };
            self.send_to_pair(&key, notification, now);
        }
    }

    /// The identity is gone, and its twin with it.
    pub(super) fn drop_twin(&mut self, identity: &Identity) {
        if self.twins.remove(identity).is_some() {
            self.changes.touch(|| Part::Twin(identity.clone()));
        }
    }

    /// A device has asked something of its twin.
    pub(super) fn twin_request(&mut self, key: &PairKey, request: &Message, now: Timestamp) {
        let answered = self.answer_twin(key, request, now);
        // Only a change has a version to tell.
        let if_unsaved = answered.version.map(|_| self.twin_unsaved(now).to(request));
        self.send_to_pair_or(key, answered.to(request), if_unsaved, now);
    }

    fn answer_twin(&mut self, key: &PairKey, request: &Message, now: Timestamp) -> Answered {
        if let Some(refusal) = self.refused_by_fault(&key.identity, now) {
            return Answered::refused(&refusal);
        }
        let annotation = |name: &str| {
            let found = request.annotations.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value)
        };
        let text = |name: &str| annotation(name).and_then(Value::as_text).unwrap_or_default();
        if let Err(excess) = self.count_twin_request(text("operation"), body(request).len(), now) {
            let refusal = self.excess(excess, now);
            return Answered::refused(&refusal);
        }
        match (text("operation"), text("resource")) {
            ("GET", _) => {
                let twin = self.twins.get(&key.identity).cloned().unwrap_or_else(Twin::new);
                Answered::ok(twin.to_device_json().to_string().into_bytes())
            }
            ("PATCH", REPORTED) if self.changes.are_refused() => self.twin_unsaved(now),
            ("PATCH", REPORTED) => {
                let Ok(patch) = serde_json::from_slice(body(request)) else {
                    return self.refuse_twin(
                        400,
                        code::INVALID_ARGUMENT,
                        "The body is no JSON.".to_owned(),
                        now,
                    );
                };
                let expected = annotation("version").and_then(number);
                let twin = self.twins.entry(key.identity.clone()).or_insert_with(Twin::new);
                match twin.report(&patch, expected, now) {
                    Ok(version) => {
                        self.changes.touch(|| Part::Twin(key.identity.clone()));
                        self.twin_is_stale(&key.identity);
                        self.passed(&key.identity, Passed::Reported { version }, now);
                        Answered {
                            status: 200,
                            version: Some(version),
                            body: Vec::new(),
                        }
                    }
                    Err(error @ TwinError::Precondition) => {
                        self.refuse_twin(412, code::PRECONDITION_FAILED, error.to_string(), now)
                    }
                    Err(error) => self.refuse_twin(400, code::INVALID_ARGUMENT, error.to_string(), now),
                }
            }
            (operation @ ("PUT" | "DELETE"), NOTIFICATIONS) => {
                if let Some(pair) = self.pairs.get_mut(key) {
                    pair.subscribed = operation == "PUT";
                }
                Answered::ok(Vec::new())
            }
            (operation, resource) => {
                let text = format!("There is no operation {operation:?} on {resource:?}.");
                self.refuse_twin(400, code::INVALID_ARGUMENT, text, now)
            }
        }
    }

    /// What waits in a throttle's queue is answered at once: the rate over time is the tier's all the same.
    fn count_twin_request(&mut self, operation: &str, size: usize, now: Timestamp) -> Result<(), Excess> {
        let operation = match operation {
            "GET" => Operation::TwinRead,
            "PATCH" => Operation::TwinUpdate,
            _ => return Ok(()),
        };
        self.limits.admit(operation, [size], now).map(drop)
    }

    /// The answer to a change that the disk does not take. SDKs try again on this status.
    fn twin_unsaved(&mut self, now: Timestamp) -> Answered {
        Answered::refused(&self.unsaved(now))
    }

    fn refuse_twin(&mut self, status: i32, code: u32, text: String, now: Timestamp) -> Answered {
        let refusal = self.refusals.refuse(Condition::NotAllowed, code, text, now);
        Answered {
            status,
            version: None,
            body: refusal.description().into_bytes(),
        }
    }
}

fn body(message: &Message) -> &[u8] {
    match &message.body {
        Body::Data(bytes) | Body::Value(Value::Binary(bytes)) => bytes,
        Body::Value(Value::String(text)) => text.as_bytes(),
        _ => &[],
    }
}

/// A version, in whichever integer type the SDK sends it; null is none.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Long(number) => u64::try_from(*number).ok(),
        Value::Uint(number) => Some(u64::from(*number)),
        Value::Ulong(number) => Some(*number),
        _ => None,
    }
}

fn long(version: u64) -> Value {
    Value::Long(i64::try_from(version).unwrap_or(i64::MAX))
}

const REPORTED: &str = "/properties/reported";
const DESIRED: &str = "/properties/desired";
const NOTIFICATIONS: &str = "/notifications/twin/properties/desired";
