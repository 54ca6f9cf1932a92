//! Keys of enrollment groups.

use hmac::Mac;
use zeroize::Zeroizing;

use crate::SharedKey;

/// The key of one device of a DPS enrollment group: the HMAC-SHA256 of its registration id under the group's key.
///
/// Registration ids are case-insensitive and the service derives from the lower-case form, so `registration_id` is
/// lower-cased first.
///
/// # Examples
///
/// The example that DPS's documentation publishes:
///
/// ```
/// use iothub_sas::{SharedKey, derive_device_key};
///
/// let group = SharedKey::from_base64(
///     "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==",
/// )?;
/// let device = derive_device_key(&group, "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6");
/// assert_eq!(device.to_base64().expose(), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
/// # Ok::<(), iothub_sas::KeyError>(())
/// ```
pub fn derive_device_key(group_key: &SharedKey, registration_id: &str) -> SharedKey {
    let tag = group_key
        .mac(&[&registration_id.to_ascii_lowercase()])
        .finalize()
        .into_bytes();
    let tag: Zeroizing<[u8; 32]> = Zeroizing::new(tag.into());
    SharedKey::prepare(&*tag)
}
