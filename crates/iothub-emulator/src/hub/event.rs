//! An event: a message that the hub took, with what the hub adds to it.

use std::fmt;
use std::sync::Arc;

use iothub_address::{DeviceId, Identity, ModuleId};
use serde::{Deserialize, Serialize};

use super::message::Message;
use super::value::Value;
use crate::clock::Timestamp;

/// One entry of the hub's event log, as a reader of the built-in endpoint sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Who sent it.
    pub sender: Sender,
    /// The partition, from 0. A stable hash of the device id chooses it, so one device's events stay in order.
    pub partition: u16,
    /// The place in the partition, from 0, without gaps.
    pub sequence_number: u64,
    /// The place in the partition in bytes. Events written before it take that much.
    pub offset: u64,
    /// When the hub took it.
    pub enqueued: Timestamp,
    /// What kind of event it is.
    pub source: Source,
    /// What the sender wrote.
    pub message: Message,
}

/// Who sent an event, as the hub knew the sender at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sender {
    /// The device or module.
    #[serde(with = "super::text")]
    pub identity: Identity,
    /// Tells two identities of one name apart, when the first was removed and the second registered later.
    pub generation_id: Arc<str>,
    /// How the sender proved who it is.
    pub auth_method: AuthMethod,
}

impl Sender {
    pub(crate) fn new(identity: Identity, generation_id: Arc<str>, auth_method: AuthMethod) -> Self {
        Self {
            identity,
            generation_id,
            auth_method,
        }
    }
}

/// How a sender proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AuthMethod {
    /// A token signed with the key of the device or module itself.
    OwnKey(Scope),
    /// A token signed with the key of a policy that may act for devices.
    Policy,
    /// The certificate of the device or module itself.
    Certificate(Scope),
}

/// Whose key or certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Scope {
    /// A device's.
    Device,
    /// A module's.
    Module,
}

impl Scope {
    pub(crate) const fn of(identity: &Identity) -> Self {
        match identity {
            Identity::Device(_) => Self::Device,
            Identity::Module(..) => Self::Module,
        }
    }
}

/// As the hub writes it in `iothub-connection-auth-method`: JSON text.
impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self {
            Self::OwnKey(Scope::Device) | Self::Certificate(Scope::Device) => "device",
            Self::OwnKey(Scope::Module) | Self::Certificate(Scope::Module) => "module",
            Self::Policy => "hub",
        };
        let (kind, issuer) = match self {
            Self::OwnKey(_) | Self::Policy => ("sas", "iothub"),
            Self::Certificate(_) => ("x509Certificate", "external"),
        };
        write!(
            f,
            r#"{{"scope":"{scope}","type":"{kind}","issuer":"{issuer}","acceptingIpFilterRule":null}}"#
        )
    }
}

/// What kind of event it is, by the hub's own word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Source {
    /// `Telemetry`: a device-to-cloud message.
    Telemetry,
}

impl Source {
    /// The word that `iothub-message-source` holds.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Event {
    /// The device.
    pub fn device(&self) -> &DeviceId {
        self.sender.identity.device()
    }

    /// The module, if a module sent it.
    pub fn module(&self) -> Option<&ModuleId> {
        self.sender.identity.module()
    }

    /// The offset as readers see it: decimal text.
    pub fn offset_text(&self) -> String {
        self.offset.to_string()
    }

    /// The message annotations that the hub stamps, by key, in the types that readers of the built-in endpoint
    /// get (Azure docs, "Read device-to-cloud messages from the built-in endpoint"). Keys are symbols on the wire.
    pub fn annotations(&self) -> Vec<(&'static str, Value)> {
        let mut annotations = vec![("iothub-connection-device-id", self.device().as_str().into())];
        if let Some(module) = self.module() {
            annotations.push(("iothub-connection-module-id", module.as_str().into()));
        }
        annotations.extend([
            (
                "iothub-connection-auth-method",
                Value::String(self.sender.auth_method.to_string()),
            ),
            (
                "iothub-connection-auth-generation-id",
                (&*self.sender.generation_id).into(),
            ),
            ("iothub-enqueuedtime", Value::Timestamp(self.enqueued)),
            ("iothub-message-source", self.source.as_str().into()),
            (
                "x-opt-sequence-number",
                Value::Long(i64::try_from(self.sequence_number).unwrap_or(i64::MAX)),
            ),
            ("x-opt-offset", Value::String(self.offset_text())),
            ("x-opt-enqueued-time", Value::Timestamp(self.enqueued)),
        ]);
        annotations
    }
}
