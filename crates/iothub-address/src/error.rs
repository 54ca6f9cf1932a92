//! What can be wrong with an address.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::url::{OddityKind, Reading};

/// Why a text is no address, and where.
///
/// Carries no part of the input but single characters of names: printing it never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    kind: ErrorKind,
    span: Range<usize>,
}

impl AddressError {
    pub(crate) const fn new(kind: ErrorKind, span: Range<usize>) -> Self {
        Self { kind, span }
    }

    /// The same error, for an input in which the faulty text starts `bytes` later. Not for an ambiguity, whose readings
    /// have places of their own.
    pub(crate) fn shifted(mut self, bytes: usize) -> Self {
        self.span.start += bytes;
        self.span.end += bytes;
        self
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Where it is: bytes of the text that was parsed. Empty, at the end, for something missing; `0..0` for
    /// a value that was built and not parsed.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match &self.kind {
            // Nothing was parsed, or the message tells its own places.
            _ if self.span == (0..0) => Ok(()),
            ErrorKind::Ambiguous { .. } => Ok(()),
            _ if self.span.len() > 1 => write!(f, " (bytes {}..{})", self.span.start, self.span.end),
            _ => write!(f, " (byte {})", self.span.start),
        }
    }
}

impl core::error::Error for AddressError {}

/// The kinds of [`AddressError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A part that must not be empty is.
    Empty(Part),
    /// A part is longer than a hub takes.
    TooLong {
        /// Which part.
        part: Part,
        /// Its length in bytes.
        length: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// A part holds a character outside its alphabet. Never told of a password or key.
    Character {
        /// Which part.
        part: Part,
        /// The first such character.
        found: char,
    },
    /// A part has only legal characters and yet not the form it must have, for example a host name whose
    /// label ends in a hyphen, or an IPv4 address with three numbers.
    Malformed(Part),
    /// The hub is named by its full host name where its first DNS label belongs; a real hub refuses that.
    FullHostName,
    /// Neither `amqps://` nor `amqp://` at the start.
    Scheme,
    /// A control character, such as the newline at the end of a file.
    ControlCharacter,
    /// No `HOST[:PORT]` can be found that has a `/` or the end behind it.
    NoHost,
    /// What stands before the host is none of the three user names of a hub, with or without a password.
    NoUser,
    /// The text can be read in more than one way, each as good as the others. The remedy is to escape the
    /// user name.
    Ambiguous {
        /// The first few ways.
        readings: Vec<Reading>,
    },
    /// A `%` in the path without two hexadecimal digits behind it, or escapes that are no UTF-8.
    Escape(Part),
    /// The path is no link address of a hub.
    UnknownNode,
    /// A part of a connection string has no `=`.
    NoEqualsSign,
    /// A connection string lacks a key that it needs.
    MissingKey {
        /// The missing key.
        key: &'static str,
        /// What asks for it.
        because: &'static str,
    },
    /// No `SharedAccessKey`, `SharedAccessSignature` or `x509=true` in a connection string.
    NoCredential,
    /// A key of a connection string is there twice. Some SDKs take the last, others refuse.
    DuplicateKey(&'static str),
    /// A key of a connection string is none that an SDK knows. Its text is not told, since it may be the
    /// tail of a secret that held a `;`.
    UnknownKey,
    /// A key of a connection string is known in another case; most SDKs compare exactly.
    MisspelledKey(&'static str),
    /// Two keys of a connection string exclude each other.
    Contradiction(&'static str, &'static str),
    /// A value of a connection string is not one that the key can have.
    Value(&'static str),
    /// A value holds a `;`, which no connection string can say: it is legal in an id, so use an
    /// [`AmqpUrl`](crate::AmqpUrl) or the parts.
    Unwritable(&'static str),
    /// A segment of the path is `.` or `..`, which `url::Url` walks and so cannot hold.
    DotSegment,
    /// Something that the strict reading of an address does not take.
    Odd(OddityKind),
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(part) => write!(f, "the {part} is empty"),
            Self::TooLong { part, length, limit } => {
                write!(f, "the {part} has {length} bytes and may have {limit}")
            }
            Self::Character { part, found } => write!(f, "{found:?} is not allowed in a {part}"),
            Self::Malformed(part) => write!(f, "this is not a {part}"),
            Self::FullHostName => f.write_str(
                "the user name holds a full host name: write the hub's name alone, the part before the first dot",
            ),
            Self::Scheme => f.write_str("the address does not start with amqps:// or amqp://"),
            Self::ControlCharacter => f.write_str("there is a control character in the address"),
            Self::NoHost => f.write_str("no host name with a path or the end behind it"),
            Self::NoUser => f.write_str(
                "no user name before the host: it is DEVICE@sas.HUB, DEVICE/modules/MODULE@sas.HUB or POLICY@sas.root.HUB",
            ),
            Self::Ambiguous { readings } => {
                f.write_str("the address can be read in more than one way: ")?;
                for (i, reading) in readings.iter().enumerate() {
                    if i > 0 {
                        f.write_str("; or ")?;
                    }
                    reading.fmt(f)?;
                }
                f.write_str("; escape the user name and the ids of the path, such as '@' by %40, ':' by %3A and '%' by %25")
            }
            Self::Escape(part) => write!(f, "a percent escape of the {part} is broken or no UTF-8"),
            Self::UnknownNode => f.write_str("this is no link address of a hub"),
            Self::NoEqualsSign => f.write_str("a part of the connection string has no '='"),
            Self::MissingKey { key, because } => write!(f, "{key} is missing: {because}"),
            Self::NoCredential => f.write_str(
                "the connection string has no credential: give SharedAccessKey, SharedAccessSignature or x509=true",
            ),
            Self::DuplicateKey(key) => write!(f, "{key} is given twice"),
            Self::UnknownKey => {
                f.write_str("the connection string has an unknown key, or a value with a ';' before it")
            }
            Self::MisspelledKey(key) => write!(f, "the key is spelled {key}"),
            Self::Contradiction(one, other) => write!(f, "{one} cannot stand beside {other}"),
            Self::Value(key) => write!(f, "the value of {key} is not one that it can have"),
            Self::DotSegment => f.write_str("a URL of the url crate cannot hold an id of '.' or '..'"),
            Self::Odd(kind) => kind.fmt(f),
            Self::Unwritable(key) => write!(
                f,
                "the value of {key} holds a ';', which no connection string can hold: use an amqps:// address"
            ),
        }
    }
}

/// A part of an address, for errors and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The scheme of a URL.
    Scheme,
    /// The user name, in any of its three forms.
    User,
    /// The password of a URL.
    Password,
    /// The name or address that is dialled.
    Host,
    /// The port.
    Port,
    /// The path of a URL.
    Path,
    /// A device id.
    DeviceId,
    /// A module id.
    ModuleId,
    /// A hub's name, the first label of its host.
    HubName,
    /// The name of a shared access policy.
    PolicyName,
    /// The id scope of a provisioning service.
    IdScope,
    /// The registration id of a device at a provisioning service.
    RegistrationId,
    /// A consumer group of the built-in event endpoint.
    ConsumerGroup,
    /// The name of an event hub (`EntityPath`).
    EventHubName,
    /// A partition number of the built-in event endpoint.
    Partition,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "scheme",
            Self::User => "user name",
            Self::Password => "password",
            Self::Host => "host name",
            Self::Port => "port number",
            Self::Path => "path",
            Self::DeviceId => "device id",
            Self::ModuleId => "module id",
            Self::HubName => "hub name",
            Self::PolicyName => "policy name",
            Self::IdScope => "id scope",
            Self::RegistrationId => "registration id",
            Self::ConsumerGroup => "consumer group",
            Self::EventHubName => "event hub name",
            Self::Partition => "partition number",
        })
    }
}
