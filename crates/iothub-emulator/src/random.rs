//! Randomness, taken at the rim; the hub gets what it needs as values.

use iothub_sas::SharedKey;

use crate::hub::{Authentication, Keys};

/// The operating system has no randomness to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
#[non_exhaustive]
pub struct NoRandomness;

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

pub(crate) fn seed() -> Result<u64, NoRandomness> {
    bytes().map(u64::from_be_bytes)
}

pub(crate) fn key() -> Result<SharedKey, NoRandomness> {
    bytes().map(SharedKey::generate_from)
}

impl Keys {
    /// Two new keys of 32 random bytes.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self::new(key()?, key()?))
    }
}

impl Authentication {
    /// By two new keys.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        Keys::generate().map(Self::Sas)
    }
}
