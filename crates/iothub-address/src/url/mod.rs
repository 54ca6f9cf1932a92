//! The double-"@" URL.

mod borrowed;
#[cfg(feature = "url")]
mod convert;
mod explain;
mod layout;
mod oddity;
mod others;
mod owned;
mod reading;

pub use borrowed::{AmqpUrlRef, Piece};
pub use explain::{Difference, ExplainedPart, Explanation, OtherReading};
pub use oddity::{Oddity, OddityKind};
pub use others::Parser;
pub use owned::AmqpUrl;
pub use reading::Reading;

use core::fmt;

/// The scheme of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "AMQP is spoken over TLS or not")]
pub enum Scheme {
    /// TLS from the first byte, port 5671.
    #[default]
    Amqps,
    /// No TLS, port 5672. A real hub does not speak it; an emulator may, on this machine.
    Amqp,
}

impl Scheme {
    /// The scheme without `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amqps => "amqps",
            Self::Amqp => "amqp",
        }
    }

    /// The port that is meant when an address names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Amqps => 5671,
            Self::Amqp => 5672,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
