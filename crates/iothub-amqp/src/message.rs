//! A device-to-cloud message, and its one way onto the wire.

use std::time::SystemTime;

use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Data, Message as WireMessage, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, OrderedMap, SimpleValue, Symbol, Timestamp, Value};
use iothub_address::Identity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A telemetry message: a body of bytes, the system properties that IoT Hub knows, and the application's own.
///
/// # Delivery
/// All copies that a hub gets of it after losses are alike: the [message id](Self::message_id), if it has one, is what
/// a reader knows them by.
///
/// # Cancel safety
/// Dropping it sends nothing. Once given to a client it is the client's: whether it can be taken back is said where it
/// was given.
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
    to: Option<String>,
    /// Message annotations, by their names on the wire.
    annotations: Vec<(&'static str, String)>,
    /// System properties that travel among the application's.
    system: Vec<(&'static str, String)>,
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

    /// Sets the address that it is for. A hub has no need of it.
    #[must_use]
    pub fn to(mut self, address: impl Into<String>) -> Self {
        self.to = Some(address.into());
        self
    }

    /// Sets the component of a digital twin that it comes from (`dt-subject`).
    #[must_use]
    pub fn component(mut self, name: impl Into<String>) -> Self {
        set(&mut self.annotations, "dt-subject", name.into());
        self
    }

    /// Marks it as a security message (`iothub-interface-id`), for Microsoft Defender for IoT.
    #[must_use]
    pub fn security_message(mut self) -> Self {
        set(
            &mut self.annotations,
            "iothub-interface-id",
            SECURITY_INTERFACE.to_owned(),
        );
        self
    }

    /// Marks it to be traced: a hub that traces logs when it had the message under this id of eight letters and digits, which
    /// is best random, and the time when it was made.
    ///
    /// On the wire these are the annotations `Diagnostic-Id` and `Correlation-Context`, which is `creationtimeutc=` with whole
    /// seconds since 1970, both or none: so the C SDK writes them (`uamqp_messaging.c`; C#'s adds `.000`).
    #[must_use]
    pub fn traced(mut self, id: impl Into<String>, created: SystemTime) -> Self {
        let since = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let context = format!("creationtimeutc={}", since.as_secs());
        set(&mut self.annotations, "Diagnostic-Id", id.into());
        set(&mut self.annotations, "Correlation-Context", context);
        self
    }

    /// Sets the output of an Edge module that it leaves by, for an Edge hub to route (`iothub-outputname`).
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> Self {
        set(&mut self.system, "iothub-outputname", name.into());
        self
    }

    /// Sets when it was made, as ISO 8601 in UTC with milliseconds (`iothub-creation-time-utc`).
    #[must_use]
    pub fn created_at(mut self, time: SystemTime) -> Self {
        set(&mut self.system, "iothub-creation-time-utc", iso_8601(time));
        self
    }

    /// Sets the schema of the body (`iothub-message-schema`).
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        set(&mut self.system, "iothub-message-schema", schema.into());
        self
    }

    /// Sets the operation that it tells of (`iothub-operation`).
    #[must_use]
    pub fn operation(mut self, operation: impl Into<String>) -> Self {
        set(&mut self.system, "iothub-operation", operation.into());
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

    /// As a service sends it to a device or module: the ids are escaped in the address, as Node's and C#'s SDKs do.
    pub(crate) fn for_device(mut self, to: &Identity, ack: &str) -> Self {
        let escaped = |id: &str| utf8_percent_encode(id, ID).to_string();
        let module = to.module().map_or_else(String::new, |module| {
            format!("/modules/{}", escaped(module.as_str()))
        });
        let device = escaped(to.device().as_str());
        self.to = Some(format!("/devices/{device}{module}/messages/deviceBound"));
        set(&mut self.system, "iothub-ack", ack.to_owned());
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
        let own = self.properties.iter();
        let own = own.map(|(name, value)| name.len() + value.len());
        let named = self.annotations.iter().chain(&self.system);
        let named = named.map(|(name, value)| name.len() + value.len());
        let pairs: usize = own.chain(named).map(|text| text + PAIR_WEIGHT).sum();
        let texts = [
            &self.message_id,
            &self.correlation_id,
            &self.content_type,
            &self.content_encoding,
            &self.to,
        ];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let user_id = self.user_id.as_ref().map_or(0, Vec::len);
        self.body.len() + texts + user_id + pairs + FIXED_WEIGHT
    }

    /// The message as the AMQP library takes it (sections of AMQP 1.0 §3.2).
    pub(crate) fn into_wire(self) -> WireMessage<Data> {
        let properties = Properties {
            message_id: self.message_id.map(MessageId::String),
            correlation_id: self.correlation_id.map(MessageId::String),
            user_id: self.user_id.map(Binary::from),
            to: self.to,
            content_type: self.content_type.map(Symbol::from),
            content_encoding: self.content_encoding.map(Symbol::from),
            absolute_expiry_time: self.expires_at.map(timestamp),
            ..Properties::default()
        };
        let properties = (properties != Properties::default()).then_some(properties);
        let annotations = (!self.annotations.is_empty()).then(|| {
            let entries = self.annotations.into_iter();
            MessageAnnotations(
                entries
                    .map(|(name, value)| (OwnedKey::from(Symbol::from(name)), Value::String(value)))
                    .collect(),
            )
        });
        let system = self
            .system
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        let mut all = self.properties.into_iter().chain(system).peekable();
        let application = all.peek().is_some().then(|| {
            let map: OrderedMap<String, SimpleValue> = all
                .map(|(name, value)| (name, SimpleValue::String(value)))
                .collect();
            ApplicationProperties(map)
        });
        WireMessage::builder()
            .message_annotations(annotations)
            .properties(properties)
            .application_properties(application)
            .data(Binary::from(self.body))
            .build()
    }
}

fn set(entries: &mut Vec<(&'static str, String)>, name: &'static str, value: String) {
    entries.retain(|(known, _)| *known != name);
    entries.push((name, value));
}

/// Such as `2023-11-14T22:13:20.123Z`: the calendar of RFC 3339, computed from days since 1970 (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn iso_8601(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let (second, milli) = (second % 60, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Milliseconds since 1970; a time before that is 1970, since a message expired then is expired all the same.
fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What is escaped in an id: all but what RFC 3986 leaves as it stands everywhere.
const ID: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What Defender's agents say that they are.
const SECURITY_INTERFACE: &str = "urn:azureiot:Security:SecurityAgent:1";

/// What a message of any content costs beside its texts and its body, in bytes: its own records and the engine's.
const FIXED_WEIGHT: usize = 1024;

/// What a property costs beside its two texts, in bytes: its place in a map, and two pieces of memory of their own.
const PAIR_WEIGHT: usize = 128;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::engine::Encoded;

    #[test]
    fn a_message_weighs_no_less_than_its_bytes_on_the_wire() {
        let many = (0..1000).fold(Message::new("x"), |message, number| {
            message.property(number.to_string(), "")
        });
        let named = Message::default()
            .component("c")
            .security_message()
            .traced("0123abcd", SystemTime::UNIX_EPOCH)
            .created_at(SystemTime::UNIX_EPOCH)
            .expires_at(SystemTime::UNIX_EPOCH);
        for message in [Message::default(), Message::new(vec![0; 5000]), many, named] {
            let weight = message.weight();
            let size = Encoded::from(message).size();
            assert!(weight >= size, "{weight} < {size}");
        }
    }

    #[test]
    fn times_are_written_as_iso_8601_with_milliseconds() {
        let at = |milliseconds| iso_8601(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        // The leap days of 2000 and 2024, the end of a year, and a century that is none.
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_735_689_599_000), "2024-12-31T23:59:59.000Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
