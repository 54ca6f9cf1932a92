//! Signing.

use alloc::string::String;

use base64::engine::{Engine, general_purpose::STANDARD};
use hmac::Mac;
use zeroize::Zeroizing;

use crate::escape::{self, UNRESERVED};
use crate::token::{Layout, PREFIX};
use crate::{Field, SasToken, SharedKey, Spelling, UnixTime};

/// Signs tokens with one key.
///
/// A resource is the text that a token opens, not escaped, such as
///
/// | for | resource |
/// |---|---|
/// | a hub, with a policy's key | `HUB.azure-devices.net` |
/// | a device | `HUB.azure-devices.net/devices/DEVICE` |
/// | a module | `HUB.azure-devices.net/devices/DEVICE/modules/MODULE` |
/// | a device that registers through DPS, with policy `registration` | `ID_SCOPE/registrations/REGISTRATION` |
/// | an Event Hub, with the key's [text](SharedKey::from_text) | `sb://NAMESPACE.servicebus.windows.net/ENTITY` |
///
/// The first segment is the host; ids hold no slash, so that every slash separates.
///
/// # Examples
///
/// ```
/// use iothub_sas::{SharedKey, Signer, UnixTime};
///
/// let key = SharedKey::from_base64("cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE=")?;
/// let token = Signer::new(key).policy("service").sign("myhub.azure-devices.net", UnixTime::from_secs(1_700_000_000));
/// assert_eq!(
///     token.expose(),
///     "SharedAccessSignature sr=myhub.azure-devices.net\
///      &sig=YrfA3CSdpfDN87RsrtYXRdUnO2IauwNumipnsM0NoqQ%3D&skn=service&se=1700000000"
/// );
/// # Ok::<(), iothub_sas::KeyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Signer {
    key: SharedKey,
    /// As the token holds it, escaped; empty for a device's or a module's own key.
    policy: String,
    spelling: Spelling,
}

impl Signer {
    /// Signs with the key of a device or a module, in the default [`Spelling`].
    pub fn new(key: SharedKey) -> Self {
        Self {
            key,
            policy: String::new(),
            spelling: Spelling::default(),
        }
    }

    /// The key is that of a policy: tokens name it in `skn`. An empty name is no policy.
    ///
    /// The name is not signed; it tells the hub which key to verify with.
    #[must_use]
    pub fn policy(mut self, name: impl AsRef<str>) -> Self {
        self.policy.clear();
        escape::write(name.as_ref(), UNRESERVED, &mut self.policy);
        self
    }

    /// How tokens are written. Default [`Spelling::Escaped`], which is right for every legal id; the others are there
    /// to stand in for other SDKs.
    #[must_use]
    pub fn spelling(mut self, spelling: Spelling) -> Self {
        self.spelling = spelling;
        self
    }

    /// A token for `resource` that ends at `expires`: usually `now + ttl`.
    ///
    /// Nothing is checked: a resource that no hub knows, or an empty one, gives a token that no hub takes.
    pub fn sign(&self, resource: impl AsRef<str>, expires: UnixTime) -> SasToken {
        self.sign_text(resource.as_ref(), expires)
    }

    fn sign_text(&self, resource: &str, expires: UnixTime) -> SasToken {
        let mut scope = String::with_capacity(3 * resource.len());
        self.spelling.write(resource, &mut scope);
        let mut digits = [0; MAX_DIGITS];
        let expiry = decimal(expires.as_secs(), &mut digits);

        let tag = self.key.mac(&[&scope, "\n", expiry]).finalize().into_bytes();
        let tag: Zeroizing<[u8; 32]> = Zeroizing::new(tag.into());
        let mut signature = Zeroizing::new([0; 44]);
        STANDARD
            .encode_slice(&tag[..], &mut *signature)
            .expect("base64 of 32 bytes is 44 characters");

        // Never grows, so that no copy of the signature stays behind: each of its characters may take three.
        let capacity =
            PREFIX.len() + "sr=&sig=&se=&skn=".len() + scope.len() + 3 * signature.len() + MAX_DIGITS;
        let mut text = Zeroizing::new(String::with_capacity(capacity + self.policy.len()));
        let mut layout = Layout::default();
        text.push_str(PREFIX);
        for (index, &field) in self.order().iter().enumerate() {
            if index > 0 {
                text.push('&');
            }
            text.push_str(field.name());
            text.push('=');
            let start = text.len();
            match field {
                Field::Resource => text.push_str(&scope),
                Field::Signature => self.write_signature(&*signature, &mut text),
                Field::Expiry => text.push_str(expiry),
                Field::Policy => text.push_str(&self.policy),
            }
            layout[field] = start..text.len();
        }
        SasToken::from_parts(text, layout, expires)
    }

    fn order(&self) -> &'static [Field] {
        use Field::{Expiry, Policy, Resource, Signature};
        match (self.spelling, self.policy.is_empty()) {
            (Spelling::SlashesRaw, true) => &[Signature, Expiry, Resource],
            (_, true) => &[Resource, Signature, Expiry],
            (Spelling::Escaped, false) => &[Resource, Signature, Policy, Expiry],
            (_, false) => &[Resource, Signature, Expiry, Policy],
        }
    }

    fn write_signature(&self, base64: &[u8], out: &mut String) {
        let lower = self.spelling == Spelling::Raw;
        for &byte in base64 {
            match byte {
                b'+' => out.push_str(if lower { "%2b" } else { "%2B" }),
                b'/' => out.push_str(if lower { "%2f" } else { "%2F" }),
                b'=' => out.push_str(if lower { "%3d" } else { "%3D" }),
                _ => out.push(char::from(byte)),
            }
        }
    }
}

/// `number` in decimal, at the end of `buffer`.
fn decimal(mut number: u64, buffer: &mut [u8; MAX_DIGITS]) -> &str {
    let mut start = MAX_DIGITS;
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    core::str::from_utf8(&buffer[start..]).expect("decimal digits are ASCII")
}

/// Digits of [`u64::MAX`].
const MAX_DIGITS: usize = 20;
