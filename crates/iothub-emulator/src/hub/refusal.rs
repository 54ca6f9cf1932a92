//! What the hub answers when it will not.

use crate::clock::Timestamp;

/// A refusal, in the terms of AMQP's `error` and of the hub's own error codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) condition: Condition,
    /// The hub's number for it (the SDKs' error code tables).
    pub(crate) code: u32,
    pub(crate) message: String,
    pub(crate) tracking_id: String,
    /// What is written in place of the condition's own name.
    named: Option<String>,
    /// It is no refusal but sends the client elsewhere.
    pub(crate) redirect: Option<Box<Redirect>>,
    at: Timestamp,
}

/// Where a client is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The whole address of the node there.
    pub(crate) address: String,
}

/// The AMQP error conditions that the hub uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    UnauthorizedAccess,
    NotFound,
    NotAllowed,
    ConnectionForced,
    DetachForced,
    InvalidArgument,
    ResourceLimitExceeded,
    Throttled,
    LinkStolen,
    LinkRedirect,
    OutOfRange,
    MessageSizeExceeded,
    InternalError,
    LinkCreationConflict,
}

impl Condition {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::UnauthorizedAccess => "amqp:unauthorized-access",
            Self::NotFound => "amqp:not-found",
            Self::NotAllowed => "amqp:not-allowed",
            Self::ConnectionForced => "amqp:connection:forced",
            Self::DetachForced => "amqp:link:detach-forced",
            Self::InternalError => "amqp:internal-error",
            Self::InvalidArgument => "com.microsoft:argument-error",
            Self::ResourceLimitExceeded => "amqp:resource-limit-exceeded",
            Self::Throttled => "com.microsoft:device-container-throttled",
            Self::LinkStolen => "amqp:link:stolen",
            Self::LinkRedirect => "amqp:link:redirect",
            Self::MessageSizeExceeded => "amqp:link:message-size-exceeded",
            Self::OutOfRange => "com.microsoft:argument-out-of-range",
            Self::LinkCreationConflict => "com.microsoft:link-creation-conflict",
        }
    }
}

impl Refusal {
    /// With another name for its condition.
    #[must_use]
    pub(crate) fn named(mut self, name: Option<String>) -> Self {
        self.named = name;
        self
    }

    /// The AMQP error condition, as it is written.
    pub(crate) fn condition_name(&self) -> &str {
        self.named.as_deref().unwrap_or(self.condition.as_str())
    }

    /// The JSON text that the real hub puts into `error.description`, as traces of it show.
    pub(crate) fn description(&self) -> String {
        serde_json::json!({
            "errorCode": self.code,
            "trackingId": self.tracking_id,
            "message": self.message,
            "timestampUtc": self.at.to_string(),
        })
        .to_string()
    }
}

/// Makes refusals, each with a tracking id of its own.
#[derive(Debug)]
pub(crate) struct Refusals {
    seed: u64,
    count: u64,
}

impl Refusals {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(crate) fn refuse(
        &mut self,
        condition: Condition,
        code: u32,
        message: impl Into<String>,
        now: Timestamp,
    ) -> Refusal {
        let tracking_id = self.tracking_id(now);
        Refusal {
            condition,
            code,
            message: message.into(),
            tracking_id,
            named: None,
            redirect: None,
            at: now,
        }
    }

    /// Sends a client elsewhere.
    pub(crate) fn redirect(&mut self, to: Redirect, now: Timestamp) -> Refusal {
        let mut refusal = self.refuse(Condition::LinkRedirect, 0, String::new(), now);
        refusal.redirect = Some(Box::new(to));
        refusal
    }

    /// `<32 hex>-G:<gateway>-TimeStamp:<MM/dd/yyyy HH:mm:ss>`, as the real hub writes it.
    pub(crate) fn tracking_id(&mut self, now: Timestamp) -> String {
        self.count += 1;
        format!(
            "{:016x}{:016x}-G:0-TimeStamp:{}",
            self.seed,
            self.count,
            now.as_tracking_time()
        )
    }
}

/// The hub's error codes, by the names that the SDKs give them.
pub(crate) mod code {
    pub(crate) const INVALID_OPERATION: u32 = 400_003;
    pub(crate) const INVALID_ARGUMENT: u32 = 400_004;
    pub(crate) const CLOSED_ON_NEW_CONNECTION: u32 = 400_027;
    /// One of the two that the SDKs' tables name for it.
    pub(crate) const FAULT_INJECTED: u32 = 400_029;
    pub(crate) const UNAUTHORIZED_ACCESS: u32 = 401_002;
    pub(crate) const QUOTA_EXCEEDED: u32 = 403_002;
    pub(crate) const QUEUE_DEPTH_EXCEEDED: u32 = 403_004;
    pub(crate) const MESSAGE_TOO_LARGE: u32 = 413_001;
    pub(crate) const THROTTLING: u32 = 429_001;
    pub(crate) const DEVICE_DISABLED: u32 = 403_012;
    pub(crate) const DEVICE_NOT_FOUND: u32 = 404_001;
    pub(crate) const ADDRESS_NOT_FOUND: u32 = 404_006;
    pub(crate) const LINK_CREATION_CONFLICT: u32 = 409_002;
    pub(crate) const MESSAGE_LOCK_LOST: u32 = 412_002;
    pub(crate) const SERVER_ERROR: u32 = 500_001;
    pub(crate) const PRECONDITION_FAILED: u32 = 412_004;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape that traces of the real hub show.
    #[test]
    fn a_refusal_describes_itself_in_the_hubs_json() {
        let mut refusals = Refusals::new(0x0123_4567_89ab_cdef);
        let now = Timestamp::from_millis(1_700_000_000_123);
        let refusal = refusals.refuse(Condition::NotFound, 404_006, "text", now);
        assert_eq!(
            refusal.description(),
            concat!(
                r#"{"errorCode":404006,"#,
                r#""trackingId":"0123456789abcdef0000000000000001-G:0-TimeStamp:11/14/2023 22:13:20","#,
                r#""message":"text","timestampUtc":"2023-11-14T22:13:20.123Z"}"#
            )
        );
    }
}
