//! Goal: keys are read strictly, and cannot be printed by accident.
//! Method: texts with one thing wrong each; lengths at both sides of each limit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use iothub_sas::{KeyError, SharedKey};

fn error(text: &str) -> KeyError {
    SharedKey::from_base64(text).unwrap_err()
}

#[test]
fn a_key_prints_back_as_the_base64_it_was_read_from() {
    for text in [
        "AAECAwQFBgcICQoLDA0ODw==", // 16 bytes
        "cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE=",
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", // 64 bytes
    ] {
        assert_eq!(SharedKey::from_base64(text).unwrap().to_base64().expose(), text);
    }
}

#[test]
fn keys_have_16_to_64_bytes() {
    assert_eq!(error("AAECAwQFBgcICQoLDA0O"), KeyError::TooShort { len: 15 });
    assert_eq!(error(""), KeyError::TooShort { len: 0 });
    // 65 and 66 bytes fit the 88 characters of 64 bytes; 67 do not.
    assert_eq!(error(&("A".repeat(87) + "=")), KeyError::TooLong { len: 65 });
    assert_eq!(error(&"A".repeat(88)), KeyError::TooLong { len: 66 });
    assert_eq!(error(&("A".repeat(91) + "=")), KeyError::TooLong { len: 69 });

    assert_eq!(
        SharedKey::from_bytes(&[7; 15]).unwrap_err(),
        KeyError::TooShort { len: 15 }
    );
    assert!(SharedKey::from_bytes(&[7; 16]).is_ok());
    assert!(SharedKey::from_bytes(&[7; 64]).is_ok());
    assert_eq!(
        SharedKey::from_bytes(&[7; 65]).unwrap_err(),
        KeyError::TooLong { len: 65 }
    );
}

#[test]
fn a_key_must_be_canonical_base64() {
    assert_eq!(error("AAECAwQFBgcICQoLDA0ODw"), KeyError::Padding);
    assert_eq!(error("AAECAwQFBgcICQoLDA0ODw="), KeyError::Padding);
    assert_eq!(error("AAECAwQFBgcICQoLDA0ODx=="), KeyError::NotCanonical);
    assert_eq!(
        error("AAECAwQFBgcICQoLDA0ODw==\n"),
        KeyError::InvalidByte { at: 24 }
    );
    assert_eq!(
        error(" AAECAwQFBgcICQoLDA0ODw=="),
        KeyError::InvalidByte { at: 0 }
    );
    assert_eq!(
        error("AAECAwQFBgc-CQoLDA0ODw=="),
        KeyError::InvalidByte { at: 11 }
    );
    assert_eq!(
        error("AAECAwQFBgcICQoLDA0ODw%3D%3D"),
        KeyError::InvalidByte { at: 22 }
    );
}

#[test]
fn a_text_key_is_not_decoded() {
    let text = "AAECAwQFBgcICQoLDA0ODw==";
    assert_eq!(
        SharedKey::from_text(text).unwrap().to_base64().expose(),
        "QUFFQ0F3UUZCZ2NJQ1FvTERBME9Edz09" // base64 of the text, by `printf … | base64`
    );
}

#[test]
fn a_text_key_has_1_to_256_bytes() {
    assert_eq!(
        SharedKey::from_text("").unwrap_err(),
        KeyError::TooShort { len: 0 }
    );
    assert!(SharedKey::from_text("k").is_ok());
    assert!(SharedKey::from_text(&"k".repeat(256)).is_ok());
    assert_eq!(
        SharedKey::from_text(&"k".repeat(257)).unwrap_err(),
        KeyError::TooLong { len: 257 }
    );
}

#[test]
fn a_generated_key_is_the_bytes_it_was_given() {
    let bytes: [u8; 32] = core::array::from_fn(|index| index as u8);
    let key = SharedKey::generate_from(bytes);
    assert_eq!(
        key.to_base64().expose(),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    );
}

#[test]
fn debug_prints_no_secret() {
    let key = SharedKey::generate_from([7; 32]);
    assert_eq!(format!("{key:?} {:?}", key.to_base64()), "SharedKey KeyText");
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    assert_eq!(
        error("AAEC*").to_string(),
        "shared key is not base64: wrong character at offset 4"
    );
    assert_eq!(
        error("AAE").to_string(),
        "shared key is not base64: cut short, or padding (=) missing"
    );
    assert_eq!(
        error("AAF=").to_string(),
        "shared key is not canonical base64: its last character carries stray bits"
    );
    assert_eq!(
        error("AAEC").to_string(),
        "shared key has 3 bytes, which is too few"
    );
    assert_eq!(
        error(&"A".repeat(88)).to_string(),
        "shared key has 66 bytes, which is too many"
    );
}
