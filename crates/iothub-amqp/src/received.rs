//! What a device receives.

use std::time::SystemTime;

/// A cloud-to-device message, or a message that an Edge hub routes to a module.
///
/// # Delivery
/// It is the application's own copy of what a [`Command`](crate::Command) brought, which comes again until it is
/// completed or rejected, counted by [`delivery_count`](Self::delivery_count).
///
/// # Cancel safety
/// Dropping it, or a clone of it, is no answer: only the [`Command`](crate::Command) gives one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// The body: the bytes of its data sections, or of the one string or binary that it is.
    pub body: Vec<u8>,
    /// What its sender calls it. A hub's ids are strings; others are shown as text.
    pub message_id: Option<String>,
    /// What it belongs to.
    pub correlation_id: Option<String>,
    /// The address that it was sent to.
    pub to: Option<String>,
    /// Its sender's id.
    pub user_id: Option<Vec<u8>>,
    /// The content type, such as `application/json`.
    pub content_type: Option<String>,
    /// The content encoding, such as `utf-8`.
    pub content_encoding: Option<String>,
    /// When it is of no more use.
    pub expires_at: Option<SystemTime>,
    /// When the hub took it.
    pub enqueued_at: Option<SystemTime>,
    /// Its number in the device's queue.
    pub sequence_number: Option<i64>,
    /// How often the hub has delivered it before.
    pub delivery_count: Option<u32>,
    /// The module input that it was routed to.
    pub input_name: Option<String>,
    /// The application properties, in the order in which they came. Hubs and SDKs write strings; what another sender has put
    /// there is shown as text: numbers in decimals, a time in milliseconds since 1970, bytes in base64, null as nothing.
    pub properties: Vec<(String, String)>,
}

impl ReceivedMessage {
    /// The application property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}
