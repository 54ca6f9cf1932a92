//! Shared keys.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::DecodeSliceError;
use base64::engine::{Engine, general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::KeyError;
use crate::secret::SecretBytes;

/// A key that the hub and a device, a module or a policy share, ready to sign with HMAC-SHA256.
///
/// The HMAC key schedule is made once, here. Key and schedule live on the heap and are zeroized when dropped.
/// `Debug` prints the type's name only; there is no `Display` and no `==`.
///
/// # Examples
///
/// ```
/// use iothub_sas::SharedKey;
///
/// let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
/// assert_eq!(format!("{key:?}"), "SharedKey");
/// # Ok::<(), iothub_sas::KeyError>(())
/// ```
#[derive(Clone)]
pub struct SharedKey(Box<Schedule>);

#[derive(Clone)]
struct Schedule {
    bytes: Zeroizing<Vec<u8>>,
    mac: Hmac<Sha256>,
}

impl SharedKey {
    /// The shortest key in bytes: what IoT Hub takes for a device.
    pub const MIN_LEN: usize = 16;
    /// The longest key in bytes: what IoT Hub takes for a device, and the length of those it generates today.
    pub const MAX_LEN: usize = 64;
    /// The longest key in bytes if it is a text, see [`SharedKey::from_text`].
    pub const MAX_TEXT_LEN: usize = 256;

    /// The key as a connection string or the portal shows it: canonical, padded base64 of 16 to 64 bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError`] says what is wrong and where, without repeating any of it. White space is not skipped: a key
    /// with a newline at its end is one that the next program signs differently with.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        if text.len() > LONGEST_BASE64 {
            return Err(KeyError::TooLong {
                len: text.len() / 4 * 3,
            });
        }
        let mut bytes = SecretBytes([0; LONGEST_BASE64]);
        let len = STANDARD.decode_slice(text, &mut bytes).map_err(key_error)?;
        Self::from_bytes(&bytes[..len])
    }

    /// The key as its raw bytes, 16 to 64 of them.
    ///
    /// # Errors
    ///
    /// [`KeyError::TooShort`] or [`KeyError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            len @ ..Self::MIN_LEN => Err(KeyError::TooShort { len }),
            Self::MIN_LEN..=Self::MAX_LEN => Ok(Self::prepare(bytes)),
            len => Err(KeyError::TooLong { len }),
        }
    }

    /// The key as a text whose own UTF-8 bytes sign, 1 to 256 of them; even if it looks like base64 it is not
    /// decoded.
    ///
    /// Event Hubs clients sign in this way, also for the Event Hubs-compatible endpoint of a hub, with the same
    /// text that IoT Hub clients decode first.
    ///
    /// # Errors
    ///
    /// [`KeyError::TooShort`] or [`KeyError::TooLong`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        match text.len() {
            0 => Err(KeyError::TooShort { len: 0 }),
            1..=Self::MAX_TEXT_LEN => Ok(Self::prepare(text.as_bytes())),
            len => Err(KeyError::TooLong { len }),
        }
    }

    /// A new key of 32 random bytes, as a hub generates one for a device.
    ///
    /// This crate has no source of randomness: the bytes must come from the operating system's, and must be used
    /// for nothing else. Our copy of them is zeroized, yours is for you to wipe.
    pub fn generate_from(mut random: [u8; 32]) -> Self {
        let key = Self::prepare(&random);
        random.zeroize();
        key
    }

    /// The key in base64, for a connection string. This takes the secret out of its shell.
    pub fn to_base64(&self) -> KeyText {
        KeyText(Zeroizing::new(STANDARD.encode(&*self.0.bytes)))
    }

    /// The signature of `text`, in base64.
    #[inline]
    pub(crate) fn sign(&self, text: &str) -> SecretBytes<44> {
        let tag = self.mac(&[text]).finalize();
        let mut base64 = SecretBytes([0; 44]);
        STANDARD
            .encode_slice(tag.as_bytes(), &mut base64)
            .expect("base64 of 32 bytes has 44 characters");
        base64
    }

    /// The HMAC of the concatenated `parts`, before it is finalized.
    #[inline]
    pub(crate) fn mac(&self, parts: &[&str]) -> Hmac<Sha256> {
        let mut mac = self.0.mac.clone();
        for part in parts {
            mac.update(part.as_bytes());
        }
        mac
    }

    /// The key itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// A key of any length.
    pub(crate) fn prepare(bytes: &[u8]) -> Self {
        let mac = Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length");
        Self(Box::new(Schedule {
            bytes: Zeroizing::new(bytes.to_vec()),
            mac,
        }))
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey")
    }
}

/// A key as base64 text, made by [`SharedKey::to_base64`]: zeroized when dropped, read by [`KeyText::expose`].
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText")
    }
}

fn key_error(error: DecodeSliceError) -> KeyError {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    match error {
        DecodeSliceError::DecodeError(InvalidByte(at, _)) => KeyError::InvalidByte { at },
        DecodeSliceError::DecodeError(InvalidLastSymbol { .. }) => KeyError::NotCanonical,
        // The buffer is as long as the longest text, so that it is never too small.
        DecodeSliceError::DecodeError(InvalidLength(_) | InvalidPadding)
        | DecodeSliceError::OutputSliceTooSmall => KeyError::Padding,
    }
}

/// Characters of the base64 of [`SharedKey::MAX_LEN`] bytes.
const LONGEST_BASE64: usize = SharedKey::MAX_LEN.div_ceil(3) * 4;
