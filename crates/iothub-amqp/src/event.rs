//! An event, as readers of a hub's event endpoint see it.

use std::time::SystemTime;

/// A message that a hub took, with what the hub adds to it.
///
/// # Delivery
/// It is the application's own copy. Nothing is settled: the hub keeps the event for as long as its log goes back, for
/// every reader.
///
/// # Cancel safety
/// Dropping it tells the hub nothing, and has the stream give the next one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The device that sent it, or that it is about; `None` if something else than a device sent it.
    pub device: Option<String>,
    /// The module, if one did.
    pub module: Option<String>,
    /// The partition, from 0.
    pub partition: u32,
    /// Its place in the partition, counted without gaps.
    pub sequence_number: i64,
    /// Its place in the partition, as the endpoint writes it: to be given back to it, not to be reckoned with.
    pub offset: String,
    /// When the hub took it.
    pub enqueued_at: SystemTime,
    /// What kind of event it is, such as `Telemetry` or `twinChangeEvents`.
    pub source: Option<String>,
    /// The body: the bytes of its data sections, or of the one string or binary that it is.
    pub body: Vec<u8>,
    /// The body where it is another AMQP value, or sequences, as a list of lists: `body` is empty then.
    pub value: Option<EventValue>,
    /// The content type, such as `application/json`.
    pub content_type: Option<String>,
    /// What the sender's application set, in the order in which it came.
    pub properties: Vec<(String, EventValue)>,
    /// The system properties: those of the message by AMQP's names for them, such as `message-id`, and the hub's
    /// annotations, such as `iothub-connection-auth-method`, those included that have a field of their own here.
    pub system: Vec<(String, EventValue)>,
    /// The sequence number that the partition had come to.
    pub(crate) last_enqueued: Option<i64>,
}

impl Event {
    /// The application property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&EventValue> {
        find(&self.properties, name)
    }

    /// The system property of this name.
    #[must_use]
    pub fn system_property(&self, name: &str) -> Option<&EventValue> {
        find(&self.system, name)
    }
}

impl Default for Event {
    fn default() -> Self {
        Self {
            device: None,
            module: None,
            partition: 0,
            sequence_number: 0,
            offset: String::new(),
            enqueued_at: SystemTime::UNIX_EPOCH,
            source: None,
            body: Vec::new(),
            value: None,
            content_type: None,
            properties: Vec::new(),
            system: Vec::new(),
            last_enqueued: None,
        }
    }
}

fn find<'a>(all: &'a [(String, EventValue)], name: &str) -> Option<&'a EventValue> {
    all.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

/// A property's value, or a body's.
///
/// # Delivery
/// As its sender wrote it, or the hub; it is a part of an [`Event`], and comes with it.
///
/// # Cancel safety
/// Dropping it tells the hub nothing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventValue {
    /// A string, a symbol, a UUID or a character.
    Text(String),
    /// A whole number of any width.
    Whole(i64),
    /// A number with a fraction.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// A moment.
    Time(SystemTime),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list, or an array.
    List(Vec<Self>),
    /// A map, in the order in which it came.
    Map(Vec<(Self, Self)>),
    /// AMQP's null.
    Null,
    /// A decimal number, or a whole one over `i64::MAX`.
    Other,
}
