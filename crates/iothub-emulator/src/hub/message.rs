//! A message as the hub keeps it: what its sender wrote, with the types it gave.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::unique::uuid_text;
use super::value::Value;
use crate::clock::Timestamp;

/// A message: the bare message of AMQP 1.0 (§3.2) and its message annotations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

impl Message {
    /// What quotas count: the body, the values of the system properties, the names and values of the others (Azure
    /// docs, "Create and read IoT Hub messages"), in bytes. What has no length of its own in every protocol counts
    /// as encoded.
    pub(crate) fn metered_size(&self) -> usize {
        let body = match &self.body {
            Body::Empty => 0,
            Body::Data(bytes) => bytes.len(),
            Body::Value(Value::String(text)) => text.len(),
            Body::Value(Value::Binary(bytes)) => bytes.len(),
            Body::Value(_) | Body::Sequence(_) => return self.encoded_size,
        };
        let Properties {
            message_id,
            user_id,
            to,
            correlation_id,
            content_type,
            content_encoding,
            absolute_expiry_time,
            ..
        } = &self.properties;
        let id = |id: &Option<MessageId>| match id {
            None => 0,
            Some(MessageId::Ulong(_)) => 8,
            Some(MessageId::Uuid(_)) => 16,
            Some(MessageId::Binary(bytes)) => bytes.len(),
            Some(MessageId::String(text)) => text.len(),
        };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let system = id(message_id)
            + id(correlation_id)
            + user_id.as_ref().map_or(0, Bytes::len)
            + text(to)
            + text(content_type)
            + text(content_encoding)
            + absolute_expiry_time.map_or(0, |_| 8);
        let own = self.application_properties.iter().map(|(name, value)| {
            name.len()
                + match value {
                    Value::String(text) | Value::Symbol(text) => text.len(),
                    Value::Binary(bytes) => bytes.len(),
                    Value::Boolean(_) => 1,
                    _ => 8,
                }
        });
        body + system + own.sum::<usize>()
    }
}

/// The body of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

impl Message {
    /// The value of an application property.
    pub fn property(&self, name: &str) -> Option<&Value> {
        let found = self
            .application_properties
            .iter()
            .find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }
}

/// As text: a uuid in its groups, a binary id in hexadecimal digits.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ulong(number) => number.fmt(f),
            Self::Uuid(bytes) => f.write_str(&uuid_text(bytes)),
            Self::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::String(text) => f.write_str(text),
        }
    }
}
