//! What holds for any text whatever: shared by the corpus and the fuzz target.
#![allow(unreachable_pub, reason = "each user takes what it needs")]

use iothub_sas::{Expected, SasToken, SharedKey, UnixTime};

/// A token that is read prints back to the byte, and nothing that is asked of it panics or lets a stranger in.
pub fn token(text: &str) {
    let Ok(token) = SasToken::parse(text) else { return };
    assert_eq!(token.expose(), text);
    assert!(text.contains(token.raw_resource()), "{text}");
    let again = SasToken::parse(token.expose()).expect("what was read once is read again");
    assert_eq!(again.raw_resource(), token.raw_resource());
    assert_eq!(
        (again.expires_at(), again.policy()),
        (token.expires_at(), token.policy())
    );

    let key = SharedKey::from_bytes(&[0xa5; 32]).expect("32 bytes are a key");
    let now = UnixTime::from_secs(0);
    // No text that anyone could write holds for a key that nobody knows.
    assert!(token.verify(&key, token.policy(), now).is_err(), "{text}");
    assert!(!token.diagnose(&Expected::new(&key), now).is_empty(), "{text}");
    for reading in token.resource_readings() {
        let _ = token.covers(&reading);
    }
}
