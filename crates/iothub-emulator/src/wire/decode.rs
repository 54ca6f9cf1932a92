//! Reads an encoded message (§3.2) into the hub's own types.
//!
//! The decoder recurses as deep as the value nests, so it only takes what `iothub_frame::walk` has walked: depth
//! bounded, every length inside its parent, counts not above sizes.

use bytes::Bytes;
use iothub_frame::{Violation, walk};

use crate::clock::Timestamp;
use crate::hub::{Batch, Body, Message, MessageId, Properties, Value};

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the message is not well formed: {0}")]
    Framing(Violation),
    #[error("the message holds no section")]
    Empty,
    #[error("0x{0:02x} is no encoding of AMQP 1.0")]
    Encoding(u8),
    #[error("the message holds more than {MAX_VALUES} values")]
    TooManyValues,
    #[error("the batch holds more than {MAX_BATCH} messages")]
    TooManyMessages,
    #[error("a value ends too early")]
    Short,
    #[error("a string or symbol is no text")]
    Text,
    #[error("a char is no Unicode scalar value")]
    Char,
    #[error("a map has a key without a value")]
    OddMap,
    #[error("{0} is no section of a message")]
    Section(u64),
    #[error("the {0} section stands twice or out of order")]
    Order(&'static str),
    #[error("the {0} section has the wrong type")]
    SectionType(&'static str),
    #[error("the field {0} has the wrong type")]
    Field(&'static str),
}

/// Reads one message; `bytes` is all of it.
pub(crate) fn message(bytes: &Bytes) -> Result<Message, Malformed> {
    let mut budget = MAX_VALUES;
    message_within(bytes, &mut budget)
}

fn message_within(bytes: &Bytes, budget: &mut usize) -> Result<Message, Malformed> {
    let mut message = Message {
        encoded_size: bytes.len(),
        ..Message::default()
    };
    let mut data = Vec::new();
    let mut last = None;
    let before = *budget;
    for section in sections(bytes, budget)? {
        let (code, name) = (section.code, section.name);
        // §3.2: the sections in this order, each at most once, but for data and sequence that may repeat.
        if last.is_some_and(|last| code < last || (code == last && !matches!(code, DATA | SEQUENCE))) {
            return Err(Malformed::Order(name));
        }
        if matches!(last, Some(DATA | SEQUENCE | VALUE)) && code != FOOTER && last != Some(code) {
            return Err(Malformed::Order(name));
        }
        last = Some(code);
        match (code, section.value) {
            (HEADER, Value::List(_)) | (DELIVERY_ANNOTATIONS | FOOTER, Value::Map(_)) => {}
            (MESSAGE_ANNOTATIONS, Value::Map(pairs)) => message.annotations = named(pairs, name)?,
            (PROPERTIES, Value::List(fields)) => message.properties = properties(fields)?,
            (APPLICATION_PROPERTIES, Value::Map(pairs)) => {
                message.application_properties = named(pairs, name)?
            }
            (DATA, Value::Binary(bytes)) => data.push(bytes),
            (SEQUENCE, Value::List(items)) => match &mut message.body {
                Body::Sequence(lists) => lists.push(items),
                body => *body = Body::Sequence(vec![items]),
            },
            (VALUE, value) => message.body = Body::Value(value),
            _ => return Err(Malformed::SectionType(name)),
        }
    }
    match data.len() {
        0 if last.is_none() => return Err(Malformed::Empty),
        0 => {}
        1 => message.body = Body::Data(data.remove(0)),
        _ => message.body = Body::Data(data.concat().into()),
    }
    message.weight = bytes.len() + (before - *budget) * size_of::<Value>();
    Ok(message)
}

/// The messages of a batch (message-format 0x80013700): the outer message's data sections are a whole encoded
/// message each.
pub(crate) fn batch(bytes: &Bytes) -> Result<Batch, Malformed> {
    let mut budget = MAX_VALUES;
    let mut batch = Batch::default();
    for section in sections(bytes, &mut budget)? {
        match (section.code, section.value) {
            (DATA, Value::Binary(_)) if batch.messages.len() == MAX_BATCH => {
                return Err(Malformed::TooManyMessages);
            }
            (DATA, Value::Binary(inner)) => batch.messages.push(message_within(&inner, &mut budget)?),
            (APPLICATION_PROPERTIES, Value::Map(pairs)) => batch.properties = named(pairs, section.name)?,
            (SEQUENCE | VALUE, _) => return Err(Malformed::SectionType("body")),
            _ => {}
        }
    }
    if batch.messages.is_empty() {
        Err(Malformed::Empty)
    } else {
        Ok(batch)
    }
}

struct Section {
    code: u64,
    name: &'static str,
    value: Value,
}

fn sections(bytes: &Bytes, budget: &mut usize) -> Result<Vec<Section>, Malformed> {
    walk::check_message(bytes).map_err(Malformed::Framing)?;
    let mut reader = Reader { bytes, at: 0, budget };
    let mut sections = Vec::new();
    while reader.at < bytes.len() {
        let Value::Described(described) = reader.value()? else {
            return Err(Malformed::Encoding(0));
        };
        let (descriptor, value) = *described;
        let (code, name) = section_of(&descriptor)?;
        sections.push(Section { code, name, value });
    }
    Ok(sections)
}

fn section_of(descriptor: &Value) -> Result<(u64, &'static str), Malformed> {
    let found = match descriptor {
        Value::Ulong(code) => SECTIONS.iter().find(|section| section.0 == *code),
        Value::Symbol(symbol) => SECTIONS.iter().find(|section| section.2 == symbol),
        _ => None,
    };
    let unknown = if let Value::Ulong(code) = descriptor {
        *code
    } else {
        0
    };
    found
        .map(|section| (section.0, section.1))
        .ok_or(Malformed::Section(unknown))
}

fn named(pairs: Vec<(Value, Value)>, section: &'static str) -> Result<Vec<(String, Value)>, Malformed> {
    pairs
        .into_iter()
        .map(|(key, value)| match key {
            Value::String(key) | Value::Symbol(key) => Ok((key, value)),
            // Annotations may be keyed by a number (§3.2.10).
            Value::Ulong(key) => Ok((key.to_string(), value)),
            _ => Err(Malformed::SectionType(section)),
        })
        .collect()
}

fn properties(fields: Vec<Value>) -> Result<Properties, Malformed> {
    let mut fields = fields.into_iter();
    let mut next = || fields.next().unwrap_or(Value::Null);
    // The order is that of §3.2.4.
    Ok(Properties {
        message_id: message_id(next(), "message-id")?,
        user_id: match next() {
            Value::Null => None,
            Value::Binary(bytes) => Some(bytes),
            _ => return Err(Malformed::Field("user-id")),
        },
        to: text(next(), "to")?,
        subject: text(next(), "subject")?,
        reply_to: text(next(), "reply-to")?,
        correlation_id: message_id(next(), "correlation-id")?,
        content_type: text(next(), "content-type")?,
        content_encoding: text(next(), "content-encoding")?,
        absolute_expiry_time: timestamp(next(), "absolute-expiry-time")?,
        creation_time: timestamp(next(), "creation-time")?,
        group_id: text(next(), "group-id")?,
        group_sequence: match next() {
            Value::Null => None,
            Value::Uint(number) => Some(number),
            _ => return Err(Malformed::Field("group-sequence")),
        },
        reply_to_group_id: text(next(), "reply-to-group-id")?,
    })
}

fn message_id(value: Value, field: &'static str) -> Result<Option<MessageId>, Malformed> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Ulong(id) => MessageId::Ulong(id),
        Value::Uuid(id) => MessageId::Uuid(id),
        Value::Binary(id) => MessageId::Binary(id),
        Value::String(id) => MessageId::String(id),
        _ => return Err(Malformed::Field(field)),
    }))
}

fn text(value: Value, field: &'static str) -> Result<Option<String>, Malformed> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) | Value::Symbol(text) => Ok(Some(text)),
        _ => Err(Malformed::Field(field)),
    }
}

fn timestamp(value: Value, field: &'static str) -> Result<Option<Timestamp>, Malformed> {
    match value {
        Value::Null => Ok(None),
        Value::Timestamp(time) => Ok(Some(time)),
        _ => Err(Malformed::Field(field)),
    }
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    /// How many values may still be made. A value is some forty times as large in memory as the shortest is on
    /// the wire, and an array's shared descriptor is copied to each element.
    budget: &'a mut usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, Malformed> {
        let constructor = self.constructor()?;
        self.construct(&constructor)
    }

    fn constructor(&mut self) -> Result<Constructor, Malformed> {
        match self.u8()? {
            0x00 => {
                let start = self.at;
                let descriptor = self.value()?;
                let cost = self.at - start;
                Ok(Constructor::Described(
                    descriptor,
                    cost,
                    Box::new(self.constructor()?),
                ))
            }
            code => Ok(Constructor::Code(code)),
        }
    }

    fn construct(&mut self, constructor: &Constructor) -> Result<Value, Malformed> {
        match constructor {
            Constructor::Code(code) => self.primitive(*code),
            Constructor::Described(descriptor, cost, inner) => {
                self.charge(*cost)?;
                let value = self.construct(inner)?;
                Ok(Value::Described(Box::new((descriptor.clone(), value))))
            }
        }
    }

    /// What follows each constructor of §1.6.
    fn primitive(&mut self, code: u8) -> Result<Value, Malformed> {
        self.charge(1)?;
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Boolean(true),
            0x42 => Value::Boolean(false),
            0x56 => Value::Boolean(self.u8()? != 0),
            0x50 => Value::Ubyte(self.u8()?),
            0x60 => Value::Ushort(u16::from_be_bytes(self.array()?)),
            0x43 => Value::Uint(0),
            0x52 => Value::Uint(self.u8()?.into()),
            0x70 => Value::Uint(self.u32()?),
            0x44 => Value::Ulong(0),
            0x53 => Value::Ulong(self.u8()?.into()),
            0x80 => Value::Ulong(u64::from_be_bytes(self.array()?)),
            0x51 => Value::Byte(i8::from_be_bytes(self.array()?)),
            0x61 => Value::Short(i16::from_be_bytes(self.array()?)),
            0x54 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            0x71 => Value::Int(i32::from_be_bytes(self.array()?)),
            0x55 => Value::Long(i8::from_be_bytes(self.array()?).into()),
            0x81 => Value::Long(i64::from_be_bytes(self.array()?)),
            0x72 => Value::Float(f32::from_be_bytes(self.array()?)),
            0x82 => Value::Double(f64::from_be_bytes(self.array()?)),
            0x74 => Value::Decimal32(self.array()?),
            0x84 => Value::Decimal64(self.array()?),
            0x94 => Value::Decimal128(self.array()?),
            0x73 => Value::Char(char::from_u32(self.u32()?).ok_or(Malformed::Char)?),
            0x83 => Value::Timestamp(Timestamp::from_millis(i64::from_be_bytes(self.array()?))),
            0x98 => Value::Uuid(self.array()?),
            0xa0 | 0xb0 => Value::Binary(self.variable(code)?),
            0xa1 | 0xb1 => Value::String(self.text(code)?),
            0xa3 | 0xb3 => Value::Symbol(self.text(code)?),
            0x45 => Value::List(Vec::new()),
            0xc0 | 0xd0 => {
                let count = self.count(code)?;
                Value::List(self.values(count)?)
            }
            0xc1 | 0xd1 => {
                let count = self.count(code)?;
                if count % 2 != 0 {
                    return Err(Malformed::OddMap);
                }
                Value::Map(
                    (0..count / 2)
                        .map(|_| Ok((self.value()?, self.value()?)))
                        .collect::<Result<_, _>>()?,
                )
            }
            0xe0 | 0xf0 => self.array_of(code)?,
            other => return Err(Malformed::Encoding(other)),
        })
    }

    fn array_of(&mut self, code: u8) -> Result<Value, Malformed> {
        let end = self.at + self.width(code) + self.peek_length(code)?;
        let count = self.count(code)?;
        if count == 0 {
            // Some encoders write the element constructor of an empty array, some do not.
            self.at = end;
            return Ok(Value::Array(Vec::new()));
        }
        let constructor = self.constructor()?;
        Ok(Value::Array(
            (0..count)
                .map(|_| self.construct(&constructor))
                .collect::<Result<_, _>>()?,
        ))
    }

    fn values(&mut self, count: u32) -> Result<Vec<Value>, Malformed> {
        (0..count).map(|_| self.value()).collect()
    }

    /// Steps over a compound's size and gives its count.
    fn count(&mut self, code: u8) -> Result<u32, Malformed> {
        if self.width(code) == 1 {
            self.u8()?;
            Ok(self.u8()?.into())
        } else {
            self.u32()?;
            self.u32()
        }
    }

    fn variable(&mut self, code: u8) -> Result<Bytes, Malformed> {
        let length = self.peek_length(code)?;
        self.at += self.width(code);
        let end = self
            .at
            .checked_add(length)
            .filter(|&end| end <= self.bytes.len())
            .ok_or(Malformed::Short)?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    fn text(&mut self, code: u8) -> Result<String, Malformed> {
        let bytes = self.variable(code)?;
        std::str::from_utf8(&bytes)
            .map(str::to_owned)
            .map_err(|_| Malformed::Text)
    }

    /// The length field's own width: the high nibble's lowest bit says it (§1.2).
    fn width(&self, code: u8) -> usize {
        if code & 0x10 == 0 { 1 } else { 4 }
    }

    fn peek_length(&self, code: u8) -> Result<usize, Malformed> {
        let rest = self.bytes.get(self.at..).ok_or(Malformed::Short)?;
        if self.width(code) == 1 {
            rest.first()
                .map(|length| usize::from(*length))
                .ok_or(Malformed::Short)
        } else {
            rest.first_chunk()
                .map(|word| u32::from_be_bytes(*word) as usize)
                .ok_or(Malformed::Short)
        }
    }

    fn charge(&mut self, values: usize) -> Result<(), Malformed> {
        *self.budget = self.budget.checked_sub(values).ok_or(Malformed::TooManyValues)?;
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(Malformed::Short)?;
        self.at += N;
        Ok(*bytes)
    }
}

enum Constructor {
    Code(u8),
    /// The descriptor, its length on the wire, and the constructor behind it.
    Described(Value, usize, Box<Self>),
}

/// The most values in one message, or in all messages of one batch: one for every two bytes of the size limit.
const MAX_VALUES: usize = 131_072;
/// The most messages in one batch.
const MAX_BATCH: usize = 10_000;

const HEADER: u64 = 0x70;
const DELIVERY_ANNOTATIONS: u64 = 0x71;
const MESSAGE_ANNOTATIONS: u64 = 0x72;
const PROPERTIES: u64 = 0x73;
const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const VALUE: u64 = 0x77;
const FOOTER: u64 = 0x78;

/// Code, name in our messages, and symbolic descriptor of each section (§3.2).
const SECTIONS: [(u64, &str, &str); 9] = [
    (HEADER, "header", "amqp:header:list"),
    (
        DELIVERY_ANNOTATIONS,
        "delivery-annotations",
        "amqp:delivery-annotations:map",
    ),
    (
        MESSAGE_ANNOTATIONS,
        "message-annotations",
        "amqp:message-annotations:map",
    ),
    (PROPERTIES, "properties", "amqp:properties:list"),
    (
        APPLICATION_PROPERTIES,
        "application-properties",
        "amqp:application-properties:map",
    ),
    (DATA, "data", "amqp:data:binary"),
    (SEQUENCE, "amqp-sequence", "amqp:amqp-sequence:list"),
    (VALUE, "amqp-value", "amqp:amqp-value:*"),
    (FOOTER, "footer", "amqp:footer:map"),
];

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
