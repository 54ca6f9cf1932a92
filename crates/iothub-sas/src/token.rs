//! Tokens.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::ops::Range;

use crate::secret::{SecretBytes, SecretText};
use crate::{Field, Spelling, TokenError, UnixTime, escape, resource};
use base64::engine::{Engine, general_purpose::STANDARD};
use percent_encoding::percent_decode_str;

/// A SAS token: what it opens, until when, and who signed it, with the text exactly as it was signed or received.
///
/// The text is a secret: whoever has it may act as the device. It is zeroized when dropped, `Debug` redacts the
/// signature, there is no `Display` and no `==`; [`SasToken::expose`] reads it.
///
/// A parsed token is well-formed, nothing more: [`SasToken::verify`] says whether it holds.
#[derive(Clone)]
pub struct SasToken {
    text: SecretText,
    layout: Layout,
    expires: UnixTime,
    policy: Policy,
}

impl SasToken {
    /// Reads a token: `SharedAccessSignature`, one space, then the fields `sr`, `sig`, `se` and perhaps `skn` in any
    /// order, joined by `&`.
    ///
    /// Takes what the SDKs write: escapes in upper and lower case, a raw `/`, `+` or `=` in `sig`, an `sr` that is
    /// escaped once, twice, in part or not at all, an empty `skn`, and the first word in any case.
    ///
    /// # Errors
    ///
    /// [`TokenError`] says what is wrong and where, without repeating any of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use iothub_sas::{Field, SasToken, TokenError};
    ///
    /// let error = SasToken::parse("SharedAccessSignature sr=myhub.azure-devices.net&se=1700000000").unwrap_err();
    /// assert_eq!(error, TokenError::Missing { field: Field::Signature });
    /// assert_eq!(error.to_string(), "SAS token has no sig");
    /// ```
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let layout = Layout::of(text)?;
        let value = |range: &Range<usize>| &text[range.clone()];
        if layout.resource.is_empty() {
            return Err(TokenError::EmptyResource {
                at: layout.resource.start,
            });
        }
        if decode_signature(value(&layout.signature)).is_none() {
            return Err(TokenError::Signature {
                at: layout.signature.start,
            });
        }
        let expires = parse_expiry(value(&layout.expiry)).ok_or(TokenError::Expiry {
            at: layout.expiry.start,
        })?;
        let policy = Policy::of(value(&layout.policy)).ok_or(TokenError::Policy {
            at: layout.policy.start,
        })?;
        Ok(Self {
            text: SecretText(String::from(text)),
            layout,
            expires,
            policy,
        })
    }

    /// A token just signed, each field well-formed.
    #[inline]
    pub(crate) fn from_parts(text: SecretText, layout: Layout, expires: UnixTime) -> Self {
        let policy = Policy::of(&text[layout.policy.clone()]).unwrap_or(Policy::AsWritten);
        Self {
            text,
            layout,
            expires,
            policy,
        }
    }

    /// What the token opens: `sr` decoded once.
    ///
    /// If that is not UTF-8 (an unescaped id may hold `%FF`) this is `sr` as it stands. For ids that an SDK escaped
    /// twice or not at all see [`SasToken::resource_readings`].
    pub fn resource(&self) -> Cow<'_, str> {
        let raw = self.raw_resource();
        escape::decode(raw).unwrap_or(Cow::Borrowed(raw))
    }

    /// `sr` exactly as it stands in the token: this is what is signed.
    pub fn raw_resource(&self) -> &str {
        &self.text[self.layout.resource.clone()]
    }

    /// All that `sr` may mean, each once, the likeliest first: decoded once, decoded twice (the C# SDK escapes ids
    /// twice), as it stands (the C SDK does not escape).
    ///
    /// They are different resources only if the id holds a `%` that looks like an escape. Then only a registry knows
    /// which one exists.
    pub fn resource_readings(&self) -> impl Iterator<Item = Cow<'_, str>> {
        resource::readings(self.raw_resource())
    }

    /// In which spelling `sr` is written, if it is one of ours.
    ///
    /// A resource without characters to escape looks the same in several of them: then it is
    /// [`Spelling::Escaped`] if slashes are escaped, and [`Spelling::Raw`] if they are not. `Double` and `Escaped`
    /// cannot be told apart where an id holds something like `%2B` or was escaped to it: then it is `Double`.
    pub fn spelling(&self) -> Option<Spelling> {
        Spelling::of(self.raw_resource())
    }

    /// Whether the token opens `resource`, such as `HUB.azure-devices.net/devices/DEVICE`, by one of its
    /// [readings](SasToken::resource_readings): if that is the resource or a prefix of it in whole segments, as
    /// `HUB.azure-devices.net` is.
    ///
    /// The host compares case-insensitively, all else exactly. A scheme and a trailing slash are ignored, and so is a
    /// port if only one of the two names it.
    ///
    /// This looks at the words only. A device's own token covers its modules in this sense, but a module signs with
    /// its own key; and a token proves nothing until it is [verified](SasToken::verify) with the key of the identity
    /// that it is used for.
    ///
    /// # Examples
    ///
    /// ```
    /// # use iothub_sas::{SharedKey, Signer, UnixTime};
    /// # let signer = Signer::new(SharedKey::generate_from([7; 32]));
    /// let token = signer.sign("myhub.azure-devices.net/devices/dev", UnixTime::from_secs(1_700_000_000));
    /// assert!(token.covers("MYHUB.azure-devices.net/devices/dev/modules/mod"));
    /// assert!(!token.covers("myhub.azure-devices.net/devices/device"));
    /// assert!(!token.covers("myhub.azure-devices.net/devices/DEV"));
    /// ```
    pub fn covers(&self, resource: &str) -> bool {
        self.resource_readings()
            .any(|scope| resource::covers(&scope, resource))
    }

    /// When the token ends: the last second at which it holds.
    pub fn expires_at(&self) -> UnixTime {
        self.expires
    }

    /// The policy whose key signed the token, decoded; `None` for the key of a device or a module. An empty `skn` is
    /// none.
    pub fn policy(&self) -> Option<&str> {
        match &self.policy {
            Policy::None => None,
            Policy::AsWritten => Some(&self.text[self.layout.policy.clone()]),
            Policy::Decoded(name) => Some(name),
        }
    }

    /// The whole token, exactly as it was signed or received. This takes the secret out of its shell.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The two texts that are signed, with a newline between them.
    pub(crate) fn signed(&self) -> [&str; 3] {
        [self.raw_resource(), "\n", self.raw_expiry()]
    }

    /// The 32 bytes of `sig`.
    pub(crate) fn signature(&self) -> SecretBytes<32> {
        decode_signature(self.raw_signature()).expect("checked when the token was parsed or signed")
    }

    /// `se` exactly as it stands in the token.
    pub(crate) fn raw_expiry(&self) -> &str {
        &self.text[self.layout.expiry.clone()]
    }

    /// `sig` exactly as it stands in the token.
    pub(crate) fn raw_signature(&self) -> &str {
        &self.text[self.layout.signature.clone()]
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &self.raw_resource())
            .field("signature", &format_args!("(redacted)"))
            .field("expires_at", &self.expires)
            .field("policy", &self.policy())
            .finish()
    }
}

#[derive(Clone)]
enum Policy {
    None,
    /// Nothing in it is escaped.
    AsWritten,
    Decoded(String),
}

impl Policy {
    /// `None` if the decoded name is not UTF-8.
    fn of(raw: &str) -> Option<Self> {
        if raw.is_empty() {
            return Some(Self::None);
        }
        Some(match escape::decode(raw)? {
            Cow::Borrowed(_) => Self::AsWritten,
            Cow::Owned(name) => Self::Decoded(name),
        })
    }
}

/// Where the value of each field stands in a token's text. That of an absent policy is empty.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) resource: Range<usize>,
    pub(crate) signature: Range<usize>,
    pub(crate) expiry: Range<usize>,
    pub(crate) policy: Range<usize>,
}

impl Layout {
    fn of(text: &str) -> Result<Self, TokenError> {
        if !text
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        {
            return Err(TokenError::Prefix);
        }
        let fields = &text[PREFIX.len()..];
        if let Some(at) = fields.bytes().position(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(TokenError::Space {
                at: PREFIX.len() + at,
            });
        }
        let (mut resource, mut signature, mut expiry, mut policy) = (None, None, None, None);
        let mut at = PREFIX.len();
        for part in fields.split('&') {
            let (name, value) = part.split_once('=').ok_or(TokenError::NotAField { at })?;
            let (field, found) = match name {
                "sr" => (Field::Resource, &mut resource),
                "sig" => (Field::Signature, &mut signature),
                "se" => (Field::Expiry, &mut expiry),
                "skn" => (Field::Policy, &mut policy),
                _ => return Err(TokenError::UnknownField { at }),
            };
            let end = at + part.len();
            if found.replace(end - value.len()..end).is_some() {
                return Err(TokenError::Duplicate { field, at });
            }
            at = end + 1;
        }
        Ok(Self {
            resource: resource.ok_or(TokenError::Missing {
                field: Field::Resource,
            })?,
            signature: signature.ok_or(TokenError::Missing {
                field: Field::Signature,
            })?,
            expiry: expiry.ok_or(TokenError::Missing { field: Field::Expiry })?,
            policy: policy.unwrap_or_default(),
        })
    }
}

/// The bytes of a signature that is percent-encoded or not. A `+` is base64, never a space.
fn decode_signature(raw: &str) -> Option<SecretBytes<32>> {
    let mut base64 = SecretBytes([0; 44]);
    let mut len = 0;
    for byte in percent_decode_str(raw) {
        *base64.get_mut(len)? = byte;
        len += 1;
    }
    // One byte more than a signature has, since 44 characters may hold 33.
    let mut bytes = SecretBytes([0; 33]);
    match STANDARD.decode_slice(&base64[..len], &mut bytes) {
        Ok(32) => bytes.first_chunk().map(|bytes| SecretBytes(*bytes)),
        _ => None,
    }
}

fn parse_expiry(raw: &str) -> Option<UnixTime> {
    // `u64::from_str` would take a leading plus.
    let digits = raw.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| raw.parse().ok())
        .flatten()
        .map(UnixTime::from_secs)
}

/// How every token begins.
const PREFIX: &str = "SharedAccessSignature ";
