//! A device-to-cloud message, and its one way onto the wire.

use std::time::SystemTime;

use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Data, Message as WireMessage, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, OrderedMap, SimpleValue, Symbol, Timestamp};

/// A telemetry message: a body of bytes, the system properties that IoT Hub knows, and the application's own.
///
/// # Limits
/// A hub rejects a message of more than 256 KiB, properties included, and takes ids of up to 128 ASCII characters.
/// Neither is checked here: the hub's word counts.
///
/// # Examples
/// ```
/// use iothub_amqp::Message;
///
/// let message = Message::new(r#"{"temperature": 21.5}"#)
///     .message_id("reading-17")
///     .content_type("application/json")
///     .content_encoding("utf-8")
///     .property("alarm", "false");
/// assert_eq!(message.body().len(), 21);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    body: Vec<u8>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    user_id: Option<Vec<u8>>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    expires_at: Option<SystemTime>,
    properties: Vec<(String, String)>,
}

impl Message {
    /// A message with this body, sent as one AMQP `data` section, and nothing else.
    #[must_use]
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Sets the message id, by which the application may tell messages apart.
    #[must_use]
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into());
        self
    }

    /// Sets the correlation id, usually the message id of what this one answers.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets the user id.
    #[must_use]
    pub fn user_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.user_id = Some(id.into());
        self
    }

    /// Sets the content type. Routing queries read a body only as `application/json` in `utf-8`.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets the content encoding, such as `utf-8`.
    #[must_use]
    pub fn content_encoding(mut self, encoding: impl Into<String>) -> Self {
        self.content_encoding = Some(encoding.into());
        self
    }

    /// Sets when the message is of no more use.
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// Adds an application property, or replaces the one of this name. The hub takes strings only.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.properties.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.properties.push((name, value)),
        }
        self
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The message id, if one is set.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    /// The application properties, in the order in which they were first set.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many bytes of memory the message stands for while it is on its way.
    pub(crate) fn weight(&self) -> usize {
        let properties: usize = self
            .properties
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.body.len() + properties + FIXED_WEIGHT
    }

    /// The message as the AMQP library takes it (sections of AMQP 1.0 §3.2).
    pub(crate) fn into_wire(self) -> WireMessage<Data> {
        let properties = Properties {
            message_id: self.message_id.map(MessageId::String),
            correlation_id: self.correlation_id.map(MessageId::String),
            user_id: self.user_id.map(Binary::from),
            content_type: self.content_type.map(Symbol::from),
            content_encoding: self.content_encoding.map(Symbol::from),
            absolute_expiry_time: self.expires_at.map(timestamp),
            ..Properties::default()
        };
        let properties = (properties != Properties::default()).then_some(properties);
        let application = (!self.properties.is_empty()).then(|| {
            let map: OrderedMap<String, SimpleValue> = self
                .properties
                .into_iter()
                .map(|(name, value)| (name, SimpleValue::String(value)))
                .collect();
            ApplicationProperties(map)
        });
        WireMessage::builder()
            .properties(properties)
            .application_properties(application)
            .data(Binary::from(self.body))
            .build()
    }
}

/// Milliseconds since 1970; a time before that is 1970, since a message expired then is expired all the same.
fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What the system properties and the engine's own records come to at the most, in bytes.
const FIXED_WEIGHT: usize = 1024;
