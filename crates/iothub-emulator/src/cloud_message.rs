//! A cloud-to-device message, as a service writes it.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::hub::{Ack, Body, INPUT_NAME, Message, MessageId, Properties, Value};

/// A message for a device or module.
///
/// # Limits
/// 64 KB, body and properties together. A mailbox holds 50.
///
/// # Examples
/// ```
/// use iothub_emulator::{Ack, CloudMessage};
///
/// let message = CloudMessage::new("open the valve").id("order-17").property("valve", "3").ack(Ack::Full);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "it is put into a mailbox by `Emulator::send_to_device`"]
pub struct CloudMessage(Message);

impl CloudMessage {
    /// A message with this body, which the device gets as bytes.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self(Message {
            body: Body::Data(body.into()),
            ..Message::default()
        })
    }

    /// Its message-id, by which feedback names it. Default none.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.properties.message_id = Some(MessageId::String(id.into()));
        self
    }

    /// Its correlation-id. Default none.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.0.properties.correlation_id = Some(MessageId::String(id.into()));
        self
    }

    /// Its content-type. Default none.
    pub fn content_type(mut self, kind: impl Into<String>) -> Self {
        self.0.properties.content_type = Some(kind.into());
        self
    }

    /// Its content-encoding. Default none.
    pub fn content_encoding(mut self, encoding: impl Into<String>) -> Self {
        self.0.properties.content_encoding = Some(encoding.into());
        self
    }

    /// Until when it waits, at most two days. Default: as long as the hub's
    /// [time to live](crate::CloudToDevice::time_to_live) says.
    pub fn expires(mut self, at: Timestamp) -> Self {
        self.0.properties.absolute_expiry_time = Some(at);
        self
    }

    /// Adds an application property.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0
            .application_properties
            .push((name.into(), Value::String(value.into())));
        self
    }

    /// Which feedback is wanted. Default none.
    pub fn ack(mut self, ack: Ack) -> Self {
        self.0.application_properties.retain(|(name, _)| name != ACK);
        self.property(ACK, ack.as_str())
    }

    /// With all system properties as they stand here.
    pub fn properties(mut self, properties: Properties) -> Self {
        self.0.properties = properties;
        self
    }

    pub(crate) fn for_input(mut self, input: String) -> Self {
        self.0.annotations = vec![(INPUT_NAME.to_owned(), Value::String(input))];
        self
    }

    pub(crate) fn into_message(self) -> Message {
        self.0
    }
}

const ACK: &str = "iothub-ack";
