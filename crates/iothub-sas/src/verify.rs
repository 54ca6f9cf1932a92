//! Verifying.

use core::time::Duration;

use hmac::Mac;

use crate::{SasToken, SharedKey, UnixTime, VerifyError};

/// How far a client's clock may be off before a server should care: verify with `now - CLOCK_SKEW`.
///
/// The hub is said to tolerate about five minutes; the exact figure is not published.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

impl SasToken {
    /// Whether `key` signed this token for `policy` and it has not ended at `now`.
    ///
    /// Pass the policy that the key belongs to, or `None` for the key of a device or a module: `skn` is not signed,
    /// so that anyone on the way can change it. What the token opens is a separate question:
    /// [`SasToken::covers`].
    ///
    /// The time this takes does not depend on how much of the signature is right.
    ///
    /// # Errors
    ///
    /// The first that applies of [`VerifyError::WrongPolicy`], [`VerifyError::WrongSignature`],
    /// [`VerifyError::Expired`] (from the second after [`SasToken::expires_at`] on) and
    /// [`VerifyError::ExpiryOutOfRange`].
    pub fn verify(&self, key: &SharedKey, policy: Option<&str>, now: UnixTime) -> Result<(), VerifyError> {
        if self.policy() != policy {
            return Err(VerifyError::WrongPolicy);
        }
        key.mac(&self.signed())
            .verify_slice(&self.signature())
            .map_err(|_| VerifyError::WrongSignature)?;
        if now > self.expires_at() {
            return Err(VerifyError::Expired {
                by: now.saturating_duration_since(self.expires_at()),
            });
        }
        if self.expires_at() > UnixTime::YEAR_9999 {
            return Err(VerifyError::ExpiryOutOfRange);
        }
        Ok(())
    }
}
