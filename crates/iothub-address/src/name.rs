//! The names a hub gives and takes, each with its alphabet.

use alloc::string::String;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use crate::error::{AddressError, ErrorKind, Part};

/// Defines a name: an owned text of 1 to `limit` bytes from a closed alphabet.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $part:ident, $limit:literal, $legal:path) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(String);

        impl $name {
            /// The most bytes that the name may have.
            pub const MAX_LEN: usize = $limit;

            /// Reads a name.
            ///
            /// # Errors
            /// `Empty`, `TooLong` or `Character`, with the place.
            pub fn parse(text: &str) -> Result<Self, AddressError> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }

            /// Whether the text is such a name, without keeping it.
            pub(crate) fn check(text: &str) -> Result<(), AddressError> {
                check(text, Part::$part, $limit, $legal)
            }

            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0).finish()
            }
        }

        impl FromStr for $name {
            type Err = AddressError;

            fn from_str(text: &str) -> Result<Self, AddressError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = AddressError;

            /// As `parse`, without a copy.
            fn try_from(text: String) -> Result<Self, AddressError> {
                Self::check(&text)?;
                Ok(Self(text))
            }
        }
    };
}

/// Compares a name byte by byte.
macro_rules! case_sensitive {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }
        impl Eq for $name {}
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.cmp(&other.0)
            }
        }
    };
}

/// Compares a name without regard to the case of ASCII letters.
macro_rules! case_insensitive {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_str().eq_ignore_ascii_case(other.as_str())
            }
        }
        impl Eq for $name {}
        impl core::hash::Hash for $name {
            fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
                crate::name::hash_ignoring_case(self.as_str(), state);
            }
        }
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                crate::name::cmp_ignoring_case(self.as_str(), other.as_str())
            }
        }
    };
}
pub(crate) use case_insensitive;

name! {
    /// A device's id: 1 to 128 bytes of ASCII letters, digits and `` -:.+%_#*?!(),=@;$' ``, case-sensitive.
    ///
    /// The alphabet is the one that the C# service SDK checks (`azure-iot-sdk-csharp`); the product
    /// documentation leaves out `:` and `;`.
    DeviceId, DeviceId, 128, is_id_byte
}
case_sensitive!(DeviceId);

name! {
    /// A module's id: as a [`DeviceId`], and not to be swapped with one.
    ModuleId, ModuleId, 128, is_id_byte
}
case_sensitive!(ModuleId);

name! {
    /// The name of a shared access policy, such as `iothubowner`: ASCII letters, digits and `_-@.`.
    PolicyName, PolicyName, 256, is_policy_byte
}
case_sensitive!(PolicyName);

name! {
    /// A hub's name, the first DNS label of its host: ASCII letters, digits, `-` and `_`; compares without
    /// regard to case.
    ///
    /// New hubs have 3 to 50 characters; the limit here is DNS's, so that `localhost` and private names fit.
    HubName, HubName, 63, is_label_byte
}
case_insensitive!(HubName);

name! {
    /// The registration id of a device at a provisioning service: ASCII letters, digits and `-._:`; compares
    /// without regard to case. Keys of a group are derived from its lower-case form.
    RegistrationId, RegistrationId, 128, is_registration_byte
}
case_insensitive!(RegistrationId);

name! {
    /// A consumer group of the event endpoint, such as `$Default`: ASCII letters, digits and `-._$`; compares
    /// without regard to case.
    ConsumerGroup, ConsumerGroup, 256, is_group_byte
}
case_insensitive!(ConsumerGroup);

name! {
    /// The name of an event hub (`EntityPath`): ASCII letters, digits and `-._`; compares without regard to
    /// case.
    EventHubName, EventHubName, 260, is_entity_byte
}
case_insensitive!(EventHubName);

/// The id scope of a provisioning service, such as `0ne00000000`: a `0`, then 4 to 31 ASCII letters or
/// digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdScope(String);

impl IdScope {
    /// The most bytes that the name may have.
    pub const MAX_LEN: usize = 32;

    /// Reads an id scope.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `Character`, or `Malformed` if it does not start with `0` or is too short.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    pub(crate) fn check(text: &str) -> Result<(), AddressError> {
        check(text, Part::IdScope, Self::MAX_LEN, |byte| {
            byte.is_ascii_alphanumeric()
        })?;
        if text.starts_with('0') && text.len() >= 5 {
            Ok(())
        } else {
            Err(AddressError::new(
                ErrorKind::Malformed(Part::IdScope),
                0..text.len(),
            ))
        }
    }

    /// The text of the id scope.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for IdScope {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for IdScope {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl HubName {
    /// The hub that a program on this machine is: what an emulator calls itself when none is named.
    pub(crate) fn localhost() -> Self {
        Self("localhost".into())
    }
}

fn check(text: &str, part: Part, limit: usize, legal: impl Fn(u8) -> bool) -> Result<(), AddressError> {
    if text.is_empty() {
        return Err(AddressError::new(ErrorKind::Empty(part), 0..0));
    }
    // The alphabet first: a text that is something else entirely is better told by its first foreign character.
    if let Some(at) = text.bytes().position(|byte| !legal(byte)) {
        return Err(foreign_character(text, at, part));
    }
    if text.len() > limit {
        let kind = ErrorKind::TooLong {
            part,
            length: text.len(),
            limit,
        };
        return Err(AddressError::new(kind, 0..text.len()));
    }
    Ok(())
}

/// The error for the character at byte `at`, where an ASCII-only alphabet met its first other byte; this is
/// always the first byte of a character.
pub(crate) fn foreign_character(text: &str, at: usize, part: Part) -> AddressError {
    let found = text
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .unwrap_or(char::REPLACEMENT_CHARACTER);
    AddressError::new(ErrorKind::Character { part, found }, at..at + found.len_utf8())
}

pub(crate) fn hash_ignoring_case<H: Hasher>(text: &str, state: &mut H) {
    for byte in text.bytes() {
        state.write_u8(byte.to_ascii_lowercase());
    }
    state.write_u8(0xff);
}

pub(crate) fn cmp_ignoring_case(one: &str, other: &str) -> Ordering {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    one.bytes().map(lower).cmp(other.bytes().map(lower))
}

/// The alphabet of device and module ids.
pub(crate) const fn is_id_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-' | b':' | b'.' | b'+' | b'%' | b'_' | b'#' | b'*' | b'?' | b'!'
            | b'(' | b')' | b',' | b'=' | b'@' | b';' | b'$' | b'\''
    )
}

const fn is_policy_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'@' | b'.')
}

/// The alphabet of a DNS label, and `_`, which Edge gateways take in a hub's name.
pub(crate) const fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const fn is_registration_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':')
}

const fn is_group_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'$')
}

const fn is_entity_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}
