#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod derive;
mod diagnose;
mod error;
mod escape;
mod key;
mod renewal;
mod resource;
mod secret;
mod signer;
mod spelling;
mod time;
mod token;
mod verify;

// The public interface:
pub use derive::derive_device_key;
pub use diagnose::{Expected, Newline, Reason};
pub use error::{Field, KeyError, TokenError, VerifyError};
pub use key::{KeyText, SharedKey};
pub use renewal::Renewal;
pub use signer::Signer;
pub use spelling::Spelling;
pub use time::UnixTime;
pub use token::SasToken;
pub use verify::CLOCK_SKEW;
