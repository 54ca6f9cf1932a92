//! Why a token does not hold.

mod reason;
mod search;

use alloc::vec::Vec;

pub use reason::{Newline, Reason};

use crate::{SasToken, SharedKey, UnixTime};

/// What a server expects of a token: the key or the two keys of an identity, and what the token is used for.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    primary: &'a SharedKey,
    secondary: Option<&'a SharedKey>,
    policy: Option<&'a str>,
    resource: Option<&'a str>,
}

impl<'a> Expected<'a> {
    /// Signed with this key, without a policy.
    pub const fn new(key: &'a SharedKey) -> Self {
        Self {
            primary: key,
            secondary: None,
            policy: None,
            resource: None,
        }
    }

    /// The identity's other key.
    #[must_use]
    pub const fn secondary(mut self, key: &'a SharedKey) -> Self {
        self.secondary = Some(key);
        self
    }

    /// The policy that the keys belong to; `None`, the default, for those of a device or a module.
    #[must_use]
    pub const fn policy(mut self, name: Option<&'a str>) -> Self {
        self.policy = name;
        self
    }

    /// What the token must [cover](SasToken::covers). Default: not looked at.
    #[must_use]
    pub const fn resource(mut self, resource: &'a str) -> Self {
        self.resource = Some(resource);
        self
    }
}

impl SasToken {
    /// Why this token does not hold: all that is wrong, found by trying.
    ///
    /// Empty exactly if the token [verifies](SasToken::verify) with the first key and [covers](SasToken::covers) the
    /// resource. A signature that does not fit is tried again with the other key, with the keys' texts, with the
    /// resource in every spelling that SDKs use, with another unit of time, with stray newlines, and with up to three
    /// of these faults at a time; the explanation with the fewest is given, and [`Reason::WrongKey`] if there is none.
    ///
    /// This is for people who look for a mistake, not for the path of every token: it computes up to some ten thousand
    /// signatures, which takes milliseconds, and how long it takes tells what is wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use iothub_sas::{Expected, Reason, SasToken, SharedKey, UnixTime};
    ///
    /// let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    /// // The C SDK's signature, over `…/devices/device1`, in a token that says `…%2Fdevices%2Fdevice1`.
    /// let token = SasToken::parse(
    ///     "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdevice1\
    ///      &sig=NlrxHOPrp0Ykah29gS5LOHFu7Y%2fi4fWSpV%2f%2fMjSnuQ8%3d&se=1700000000",
    /// )?;
    /// let reasons = token.diagnose(&Expected::new(&key), UnixTime::from_secs(1_600_000_000));
    /// let signed = "myhub.azure-devices.net/devices/device1".into();
    /// assert_eq!(reasons, [Reason::OtherSpelling { signed }]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn diagnose(&self, expected: &Expected<'_>, now: UnixTime) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.policy() != expected.policy {
            reasons.push(Reason::WrongPolicy {
                found: self.policy().map(Into::into),
            });
        }
        reasons.extend(search::explain_signature(self, expected));
        reasons.extend(
            expected
                .resource
                .and_then(|resource| self.diagnose_resource(resource)),
        );
        reasons.extend(self.diagnose_expiry(now));
        reasons
    }

    fn diagnose_resource(&self, resource: &str) -> Option<Reason> {
        if self.covers(resource) {
            return None;
        }
        let newline = self
            .resource_readings()
            .any(|scope| crate::resource::covers(scope.trim_end_matches(['\r', '\n']), resource));
        Some(if newline {
            Reason::TrailingNewline {
                after: Newline::Resource,
            }
        } else {
            Reason::WrongResource {
                found: self.resource().into_owned(),
            }
        })
    }

    fn diagnose_expiry(&self, now: UnixTime) -> Option<Reason> {
        let expires = self.expires_at();
        let read_as_milliseconds = UnixTime::from_secs(expires.as_secs() / 1000);
        if now > expires {
            Some(Reason::Expired {
                by: now.saturating_duration_since(expires),
            })
        } else if expires <= UnixTime::YEAR_9999 {
            None
        } else if read_as_milliseconds <= UnixTime::YEAR_9999 {
            Some(Reason::Milliseconds {
                meant: read_as_milliseconds,
            })
        } else {
            Some(Reason::ExpiryOutOfRange)
        }
    }
}
