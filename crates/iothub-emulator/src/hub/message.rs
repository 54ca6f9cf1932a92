//! A message as the hub keeps it: what its sender wrote, with the types it gave.

use bytes::Bytes;

use super::value::Value;
use crate::clock::Timestamp;

/// A message: the bare message of AMQP 1.0 (§3.2) and its message annotations.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The properties section. IoT Hub calls them system properties.
    pub properties: Properties,
    /// The application properties, in the order of the wire.
    pub application_properties: Vec<(String, Value)>,
    /// The message annotations that the sender wrote, in the order of the wire.
    pub annotations: Vec<(String, Value)>,
    /// The body.
    pub body: Body,
    /// How long the encoded message was, in bytes. It is what the size limit counts.
    pub encoded_size: usize,
    /// About how much memory it takes, in bytes.
    pub(crate) weight: usize,
}

/// The body of a message.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// No body section at all.
    #[default]
    Empty,
    /// The data sections, joined.
    Data(Bytes),
    /// An amqp-value section.
    Value(Value),
    /// The amqp-sequence sections, a list each.
    Sequence(Vec<Vec<Value>>),
}

/// The properties section (§3.2.4). Text that a sender wrote as symbol where the standard says string, or the
/// other way round, is taken as it is: SDKs differ there.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// message-id
    pub message_id: Option<MessageId>,
    /// user-id
    pub user_id: Option<Bytes>,
    /// to
    pub to: Option<String>,
    /// subject
    pub subject: Option<String>,
    /// reply-to
    pub reply_to: Option<String>,
    /// correlation-id
    pub correlation_id: Option<MessageId>,
    /// content-type
    pub content_type: Option<String>,
    /// content-encoding
    pub content_encoding: Option<String>,
    /// absolute-expiry-time
    pub absolute_expiry_time: Option<Timestamp>,
    /// creation-time
    pub creation_time: Option<Timestamp>,
    /// group-id
    pub group_id: Option<String>,
    /// group-sequence
    pub group_sequence: Option<u32>,
    /// reply-to-group-id
    pub reply_to_group_id: Option<String>,
}

/// A message-id or correlation-id in one of the four types that AMQP allows (§3.2.11 to §3.2.14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageId {
    /// ulong
    Ulong(u64),
    /// uuid, its bytes in the order of its text. The Node SDK sends every id that looks like a uuid so.
    Uuid([u8; 16]),
    /// binary
    Binary(Bytes),
    /// string
    String(String),
}
