//! Signing.

use alloc::string::String;
use core::ops::Range;

use crate::escape::{self, UNRESERVED};
use crate::secret::SecretText;
use crate::token::Layout;
use crate::{SasToken, SharedKey, Spelling, UnixTime};

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
        escape::write(name.as_ref(), &UNRESERVED, &mut self.policy);
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
        let mut digits = [0; MAX_DIGITS];
        let expiry = decimal(expires.as_secs(), &mut digits);
        let mut text = String::with_capacity(START.len() + resource.len() + 2 * ESCAPED_SIGNATURE);
        text.push_str(START);
        let resource = append(&mut text, |text| self.spelling.write(resource, text));
        // What is signed stands in the text for a moment, in one piece: the HMAC of pieces takes longer.
        text.push('\n');
        text.push_str(expiry);
        let signature = self.key.sign(&text[resource.start..]);
        text.truncate(resource.end);
        // From here on the text does not grow, so that no copy of the signature stays behind.
        text.reserve_exact("&sig=&skn=&se=".len() + ESCAPED_SIGNATURE + self.policy.len() + expiry.len());
        let capacity = text.capacity();
        text.push_str("&sig=");
        let signature = append(&mut text, |text| self.write_signature(&signature.0, text));
        let mut policy = 0..0;
        if !self.policy.is_empty() {
            text.push_str("&skn=");
            policy = append(&mut text, |text| text.push_str(&self.policy));
        }
        text.push_str("&se=");
        let expiry = append(&mut text, |text| text.push_str(expiry));
        debug_assert_eq!(
            text.capacity(),
            capacity,
            "the text grew, and left a copy of the signature behind"
        );
        SasToken::from_parts(
            SecretText(text),
            Layout {
                resource,
                signature,
                expiry,
                policy,
            },
            expires,
        )
    }

    fn write_signature(&self, base64: &[u8; 44], out: &mut String) {
        let [plus, slash, padding] = match self.spelling {
            Spelling::Raw => ["%2b", "%2f", "%3d"],
            _ => ["%2B", "%2F", "%3D"],
        };
        let base64 = core::str::from_utf8(base64).expect("base64 is ASCII");
        // Nothing but these two sorts before the digits; and 32 bytes have one character of padding.
        let mut rest = &base64[..43];
        while let Some(at) = rest.bytes().position(|byte| byte < b'0') {
            out.push_str(&rest[..at]);
            out.push_str(if rest.as_bytes()[at] == b'+' { plus } else { slash });
            rest = &rest[at + 1..];
        }
        out.push_str(rest);
        out.push_str(padding);
    }
}

/// Where in `text` that stands which `write` appends to it.
fn append(text: &mut String, write: impl FnOnce(&mut String)) -> Range<usize> {
    let start = text.len();
    write(text);
    start..text.len()
}

/// `number` in decimal, at the end of `buffer`.
fn decimal(mut number: u64, buffer: &mut [u8; MAX_DIGITS]) -> &str {
    let mut start = MAX_DIGITS;
    // Two digits a step, since each step waits for the division of the one before.
    while number >= 10 {
        let pair = (number % 100) as u8;
        start -= 2;
        buffer[start] = b'0' + pair / 10;
        buffer[start + 1] = b'0' + pair % 10;
        number /= 100;
    }
    if number > 0 || start == MAX_DIGITS {
        start -= 1;
        buffer[start] = b'0' + number as u8;
    }
    core::str::from_utf8(&buffer[start..]).expect("decimal digits are ASCII")
}

/// How every token of ours begins.
const START: &str = "SharedAccessSignature sr=";

/// The most that a signature takes: 44 characters, each escaped.
const ESCAPED_SIGNATURE: usize = 3 * 44;

/// Digits of [`u64::MAX`].
const MAX_DIGITS: usize = 20;
