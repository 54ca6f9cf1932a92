//! What can be wrong with a key or a token. No message repeats any of the input, since that is secret.

use core::error::Error;
use core::fmt;
use core::time::Duration;

/// Why a text or some bytes are no [`SharedKey`](crate::SharedKey).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// A byte at this offset is not of the base64 alphabet. Usual cause: white space or a newline that came with the
    /// key from a file, the URL-safe alphabet (`-` and `_`), or a key that is still percent-encoded.
    InvalidByte {
        /// Offset of the byte in the text.
        at: usize,
    },
    /// The text is cut short, or its padding (`=` at the end) is missing or wrong.
    Padding,
    /// The last character before the padding carries bits that belong to no byte: the text was changed by hand, and
    /// other programs would read a key from it that prints differently.
    NotCanonical,
    /// Shorter than the shortest key, [`SharedKey::MIN_LEN`](crate::SharedKey::MIN_LEN) bytes, or than one
    /// character if the key is a text.
    TooShort {
        /// Length of the key in bytes.
        len: usize,
    },
    /// Longer than the longest key: [`SharedKey::MAX_LEN`](crate::SharedKey::MAX_LEN) bytes, or
    /// [`SharedKey::MAX_TEXT_LEN`](crate::SharedKey::MAX_TEXT_LEN) if the key is a text.
    TooLong {
        /// Length of the key in bytes.
        len: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidByte { at } => {
                write!(f, "shared key is not base64: wrong character at offset {at}")
            }
            Self::Padding => f.write_str("shared key is not base64: cut short, or padding (=) missing"),
            Self::NotCanonical => {
                f.write_str("shared key is not canonical base64: its last character carries stray bits")
            }
            Self::TooShort { len } => write!(f, "shared key has {len} bytes, which is too few"),
            Self::TooLong { len } => write!(f, "shared key has {len} bytes, which is too many"),
        }
    }
}

impl Error for KeyError {}

/// A field of a SAS token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Field {
    /// `sr`: what the token opens.
    Resource,
    /// `sig`: the signature.
    Signature,
    /// `se`: when it ends.
    Expiry,
    /// `skn`: the policy whose key signed it.
    Policy,
}

impl Field {
    /// The name that stands in the token: `sr`, `sig`, `se` or `skn`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resource => "sr",
            Self::Signature => "sig",
            Self::Expiry => "se",
            Self::Policy => "skn",
        }
    }
}

/// The name that stands in the token.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is no [`SasToken`](crate::SasToken). Offsets count bytes from the start of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TokenError {
    /// The text does not begin with `SharedAccessSignature` and one space. Usual cause: a connection string or a bare
    /// key in place of a token, or a token that is still percent-encoded as in a URL.
    Prefix,
    /// White space or a control character inside the token. Usual cause: the newline at the end of a file, or a `+`
    /// of the signature that something decoded as a space.
    Space {
        /// Where it stands.
        at: usize,
    },
    /// A part between two `&` is no `name=value`.
    NotAField {
        /// Where the part begins.
        at: usize,
    },
    /// A field that SAS tokens do not have.
    UnknownField {
        /// Where it begins.
        at: usize,
    },
    /// A field stands there twice, so that two readers could see two tokens.
    Duplicate {
        /// Which one.
        field: Field,
        /// Where it begins for the second time.
        at: usize,
    },
    /// A field is not there.
    Missing {
        /// Which one.
        field: Field,
    },
    /// The resource is empty.
    EmptyResource {
        /// Where its value should begin.
        at: usize,
    },
    /// The signature is not the base64 (canonical, padded, percent-encoded or not) of 32 bytes. Usual cause: the
    /// token was cut short or encoded twice.
    Signature {
        /// Where its value begins.
        at: usize,
    },
    /// The expiry is not a decimal number of seconds. Usual cause: a fraction, or a date.
    Expiry {
        /// Where its value begins.
        at: usize,
    },
    /// The policy's name, once decoded, is not UTF-8.
    Policy {
        /// Where its value begins.
        at: usize,
    },
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => {
                f.write_str("no SAS token: it must begin with 'SharedAccessSignature' and one space")
            }
            Self::Space { at } => write!(
                f,
                "SAS token holds white space or a control character at offset {at}"
            ),
            Self::NotAField { at } => write!(f, "SAS token has no name=value at offset {at}"),
            Self::UnknownField { at } => {
                write!(
                    f,
                    "SAS token has a field other than sr, sig, se and skn at offset {at}"
                )
            }
            Self::Duplicate { field, at } => write!(f, "SAS token has a second {field} at offset {at}"),
            Self::Missing { field } => write!(f, "SAS token has no {field}"),
            Self::EmptyResource { at } => write!(f, "SAS token has an empty sr at offset {at}"),
            Self::Signature { at } => write!(f, "sig at offset {at} is not the base64 of 32 bytes"),
            Self::Expiry { at } => write!(f, "se at offset {at} is not a whole number of seconds since 1970"),
            Self::Policy { at } => write!(f, "skn at offset {at} is not UTF-8 once decoded"),
        }
    }
}

impl Error for TokenError {}

/// Why a token does not hold. [`SasToken::verify`](crate::SasToken::verify) says in which order they are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// It names another policy than the expected one, or one where none is expected, or none where one is.
    WrongPolicy,
    /// The key did not sign it: another key, another resource, or a token that something re-encoded on its way.
    WrongSignature,
    /// Its time is over.
    Expired {
        /// For how long, at least 1 s.
        by: Duration,
    },
    /// It ends after [`UnixTime::YEAR_9999`](crate::UnixTime::YEAR_9999). Usual cause: milliseconds, where seconds
    /// are meant.
    ExpiryOutOfRange,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPolicy => f.write_str("token names another policy (skn) than the expected one"),
            Self::WrongSignature => f.write_str("token was not signed with this key"),
            Self::Expired { by } => write!(f, "token expired {} s ago", by.as_secs()),
            Self::ExpiryOutOfRange => {
                f.write_str("token ends after the year 9999: se counts seconds, not milliseconds")
            }
        }
    }
}

impl Error for VerifyError {}
