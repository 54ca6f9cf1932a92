//! AMQP values as the hub keeps them: with their types, independent of any wire library.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// An AMQP 1.0 value (§1.6), with the type its sender gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Value {
    /// null
    Null,
    /// boolean
    Boolean(bool),
    /// ubyte
    Ubyte(u8),
    /// ushort
    Ushort(u16),
    /// uint
    Uint(u32),
    /// ulong
    Ulong(u64),
    /// byte
    Byte(i8),
    /// short
    Short(i16),
    /// int
    Int(i32),
    /// long
    Long(i64),
    /// float
    Float(f32),
    /// double
    Double(f64),
    /// decimal32, as its four bytes on the wire
    Decimal32([u8; 4]),
    /// decimal64, as its eight bytes on the wire
    Decimal64([u8; 8]),
    /// decimal128, as its sixteen bytes on the wire
    Decimal128([u8; 16]),
    /// char
    Char(char),
    /// timestamp
    Timestamp(Timestamp),
    /// uuid, its bytes in the order of its text
    Uuid([u8; 16]),
    /// binary
    Binary(Bytes),
    /// string
    String(String),
    /// symbol
    Symbol(String),
    /// list
    List(Vec<Self>),
    /// map, in the order of the wire
    Map(Vec<(Self, Self)>),
    /// array: values of one type
    Array(Vec<Self>),
    /// A described value.
    Described(Box<(Self, Self)>),
}

impl Value {
    /// The text of a string or symbol.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
