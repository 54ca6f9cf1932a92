//! The explanations.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::UnixTime;

/// One thing that is wrong with a token, as [`SasToken::diagnose`](crate::SasToken::diagnose) finds it.
///
/// `Display` gives a line for people, [`Reason::code`] a word for programs. Neither repeats a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// It names another policy than the expected one. `skn` is not signed, so nothing else need be wrong: use the
    /// key of the policy it names, or name the policy whose key signed it.
    WrongPolicy {
        /// The policy it names.
        found: Option<String>,
    },
    /// The second key signed it: the two are swapped somewhere. A hub takes either.
    SecondaryKey,
    /// The key's base64 text signed it, not the bytes that it decodes to. IoT Hub wants the bytes; only Event Hubs
    /// clients sign with the text.
    KeyAsText,
    /// The bytes that the key's text decodes to signed it, and not the text itself, as is right for Event Hubs.
    KeyDecoded,
    /// A line end slipped into what was signed, or into the key.
    TrailingNewline {
        /// Where it is.
        after: Newline,
    },
    /// The resource was signed in another spelling than the one that stands in `sr`. Sign exactly the text that you
    /// put there.
    OtherSpelling {
        /// The `sr` that was signed.
        signed: String,
    },
    /// The whole token was percent-decoded once too often on its way here: what was signed was escaped, and neither
    /// `sr` nor `sig` is. Usual cause: a token from a URL, decoded by the parser and by the program.
    DecodedTooOften {
        /// The `sr` that was signed.
        signed: String,
    },
    /// The expected resource was signed, but `sr` names another one.
    OtherResource {
        /// The `sr` that was signed.
        signed: String,
    },
    /// Another time was signed than the one that stands in `se`, in milliseconds in place of seconds or the other way
    /// round.
    OtherExpiry {
        /// The number that was signed, whatever its unit.
        signed: UnixTime,
    },
    /// None of the explanations fits: another key signed it, or the token was changed.
    WrongKey,
    /// It opens something else than the expected resource.
    WrongResource {
        /// What it opens.
        found: String,
    },
    /// Its time is over.
    Expired {
        /// For how long.
        by: Duration,
    },
    /// `se` counts milliseconds: as seconds it lies after the year 9999.
    Milliseconds {
        /// The time that was meant.
        meant: UnixTime,
    },
    /// `se` lies after the year 9999, even if it counts milliseconds.
    ExpiryOutOfRange,
}

/// Where a stray line end was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Newline {
    /// At the end of the key, as from a file.
    Key,
    /// At the end of the resource.
    Resource,
    /// At the end of the text that was signed.
    Expiry,
}

impl Reason {
    /// A word for programs that stays the same: the variant's name in snake case, such as `key_as_text`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongPolicy { .. } => "wrong_policy",
            Self::SecondaryKey => "secondary_key",
            Self::KeyAsText => "key_as_text",
            Self::KeyDecoded => "key_decoded",
            Self::TrailingNewline { .. } => "trailing_newline",
            Self::OtherSpelling { .. } => "other_spelling",
            Self::DecodedTooOften { .. } => "decoded_too_often",
            Self::OtherResource { .. } => "other_resource",
            Self::OtherExpiry { .. } => "other_expiry",
            Self::WrongKey => "wrong_key",
            Self::WrongResource { .. } => "wrong_resource",
            Self::Expired { .. } => "expired",
            Self::Milliseconds { .. } => "milliseconds",
            Self::ExpiryOutOfRange => "expiry_out_of_range",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPolicy { found: Some(found) } => {
                write!(f, "it names the policy {found:?}, which is not the expected one")
            }
            Self::WrongPolicy { found: None } => f.write_str("it names no policy (skn)"),
            Self::SecondaryKey => f.write_str("the second key signed it: the keys are swapped"),
            Self::KeyAsText => f.write_str("the key was used as text: decode it from base64 before signing"),
            Self::KeyDecoded => {
                f.write_str("the key was decoded from base64: this endpoint signs with its text")
            }
            Self::TrailingNewline { after } => match after {
                Newline::Key => f.write_str("the key was used with the newline at its end"),
                Newline::Resource => f.write_str("the resource was signed with a newline at its end"),
                Newline::Expiry => f.write_str("the text was signed with a newline at its end"),
            },
            Self::OtherSpelling { signed } => {
                write!(
                    f,
                    "another spelling of the resource was signed: {signed:?}, which is not what sr says"
                )
            }
            Self::DecodedTooOften { signed } => {
                write!(
                    f,
                    "the token was percent-decoded once too often: signed was {signed:?}"
                )
            }
            Self::OtherResource { signed } => {
                write!(
                    f,
                    "another resource was signed: {signed:?}, which is not what sr says"
                )
            }
            Self::OtherExpiry { signed } => {
                write!(
                    f,
                    "another expiry was signed: {signed}, which is not what se says"
                )
            }
            Self::WrongKey => f.write_str("no key given signed it, in no way known"),
            Self::WrongResource { found } => {
                write!(f, "it opens {found:?}, which does not cover the resource")
            }
            Self::Expired { by } => write!(f, "it expired {} s ago", by.as_secs()),
            Self::Milliseconds { meant } => {
                write!(
                    f,
                    "its expiry is in milliseconds: se counts seconds, probably {meant}"
                )
            }
            Self::ExpiryOutOfRange => f.write_str("its expiry lies after the year 9999"),
        }
    }
}
