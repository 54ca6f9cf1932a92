//! Randomness, taken at the rim; the hub gets what it needs as values.

use iothub_sas::SharedKey;

use crate::Builder;
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

/// An id that nobody else has, or that of a seed.
pub(crate) fn id(seed: Option<u64>) -> Result<[u8; 16], NoRandomness> {
    seed.map_or_else(bytes, |seed| Ok(u128::from(seed).to_be_bytes()))
}

pub(crate) fn key() -> Result<SharedKey, NoRandomness> {
    bytes().map(SharedKey::generate_from)
}

impl Builder {
    /// What the ids are drawn from that the hub makes up. Default: the operating system's randomness. With a seed a hub
    /// that is asked the same things does the same things, but for what its TLS says; keys are random all the same.
    pub fn randomness(mut self, seed: u64) -> Self {
        self.randomness = Some(seed);
        self
    }
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
