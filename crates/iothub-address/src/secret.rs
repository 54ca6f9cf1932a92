//! Text that must not be seen.

use alloc::string::String;
use core::fmt;

use zeroize::Zeroize;

/// An owned text that must not be seen: a token, a password, a key.
///
/// It cannot be printed, compared, hashed or dereferenced; reading it is spelled [`expose`](Self::expose),
/// so that a review finds every place. Its memory is overwritten when it is dropped. Copies that the caller
/// makes of the exposed text are the caller's to wipe.
///
/// # Examples
/// ```
/// use iothub_address::Secret;
/// let secret = Secret::new("SharedAccessSignature sr=…");
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// assert!(secret.expose().starts_with("SharedAccessSignature "));
/// ```
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over. A `String` is moved, not copied.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What stands for a secret in a printed address.
pub(crate) const REDACTED: &str = "***";

/// Counts the bytes that are written: a text with a secret in it is given its room before it is written,
/// so that no outgrown copy stays behind.
#[derive(Default)]
pub(crate) struct Length(usize);

impl Length {
    pub(crate) const fn bytes(&self) -> usize {
        self.0
    }
}

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}
