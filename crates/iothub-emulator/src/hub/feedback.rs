//! What became of cloud-to-device messages, for the service that sent them.

use std::fmt;
use std::sync::Arc;

use iothub_address::{DeviceId, Identity, ModuleId};
use serde::{Deserialize, Serialize};

use super::batches::Batches;
use super::receiver::Receiver;
use super::ring::SharedRing;
use super::unique::Unique;
use crate::clock::Timestamp;

/// The feedback of a hub: its log, and what of it goes to services.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(super) log: SharedRing<Feedback>,
    pub(super) batches: Batches,
    /// In the order in which they came.
    pub(super) receivers: Vec<Receiver>,
    pub(super) tokens: Unique,
}

impl Outbound {
    /// Services are done with what stands before place `done` of the log.
    pub(super) fn new(log: SharedRing<Feedback>, done: u64, seed: u64, now: Timestamp) -> Self {
        let ring = log.lock();
        let places = done.clamp(ring.first(), ring.end())..ring.end();
        drop(ring);
        Self {
            log,
            batches: Batches::new(places, now),
            receivers: Vec::new(),
            tokens: Unique::new(seed),
        }
    }
}

/// What became of one cloud-to-device message, if its sender asked to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Feedback {
    /// The message-id of the message, empty if it had none.
    pub original_message_id: String,
    /// When it was decided.
    pub time: Timestamp,
    /// What became of it.
    pub fate: Fate,
    /// For whom it was.
    #[serde(with = "super::text")]
    pub identity: Identity,
    /// The generation of the device or module for whom it was.
    pub generation_id: Arc<str>,
}

impl Feedback {
    /// The device.
    pub fn device(&self) -> &DeviceId {
        self.identity.device()
    }

    /// The module, if it was for one.
    pub fn module(&self) -> Option<&ModuleId> {
        self.identity.module()
    }
}

/// What became of a cloud-to-device message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fate {
    /// The device completed it.
    Success,
    /// Its time to live was over before the device completed it.
    Expired,
    /// It was delivered as often as a message may be.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// The service purged the device's messages.
    Purged,
}

impl Fate {
    /// The hub's own word for it, `statusCode` in a feedback message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which fates of a message its sender wants feedback of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ack {
    /// None.
    #[default]
    None,
    /// Only that it was completed.
    Positive,
    /// Only that it was not.
    Negative,
    /// Both.
    Full,
}

impl Ack {
    /// The value of the application property `iothub-ack`; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Positive, Self::Negative, Self::Full]
            .into_iter()
            .find(|ack| ack.as_str() == text)
    }

    /// As the application property `iothub-ack` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// Whether the fate is one to be told.
    pub(crate) const fn wants(self, fate: Fate) -> bool {
        match (self, fate) {
            (Self::None, _) => false,
            (Self::Full, _) | (Self::Positive, Fate::Success) => true,
            (Self::Positive, _) | (Self::Negative, Fate::Success) => false,
            (Self::Negative, _) => true,
        }
    }
}
