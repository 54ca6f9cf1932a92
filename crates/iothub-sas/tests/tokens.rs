//! Goal: a token is read as the SDKs write it, keeps its bytes, and is refused with a reason otherwise.
//! Method: one good token, changed in one thing at a time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::time::Duration;

use iothub_sas::{Field, SasToken, SharedKey, Signer, Spelling, TokenError, UnixTime, VerifyError};

const SR: &str = "sr=myhub.azure-devices.net%2Fdevices%2Fdevice1";
const SIG: &str = "sig=gFSfLGMXDOvf906%2FiaX3KwzLLNFHgaFZyCbsGjxtd1Y%3D";
const SE: &str = "se=1700000000";
const DEVICE: &str = "myhub.azure-devices.net/devices/device1";

fn token(fields: &[&str]) -> String {
    format!("SharedAccessSignature {}", fields.join("&"))
}

fn parse(fields: &[&str]) -> SasToken {
    SasToken::parse(&token(fields)).unwrap()
}

fn error(fields: &[&str]) -> TokenError {
    SasToken::parse(&token(fields)).unwrap_err()
}

fn key() -> SharedKey {
    SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

fn end() -> UnixTime {
    UnixTime::from_secs(1_700_000_000)
}

#[test]
fn fields_may_come_in_any_order() {
    let skn = "skn=dev%69ce%40x";
    for fields in [[SR, SIG, SE, skn], [SIG, SE, SR, skn], [skn, SE, SIG, SR]] {
        let token = parse(&fields);
        assert_eq!(token.resource(), DEVICE);
        assert_eq!(token.raw_resource(), &SR[3..]);
        assert_eq!(token.expires_at(), end());
        assert_eq!(token.policy(), Some("device@x"));
        assert_eq!(
            token.expose(),
            format!("SharedAccessSignature {}", fields.join("&"))
        );
        assert_eq!(token.verify(&key(), Some("device@x"), end()), Ok(()));
    }
}

#[test]
fn the_signature_may_be_escaped_in_any_way() {
    for sig in [
        "sig=gFSfLGMXDOvf906%2fiaX3KwzLLNFHgaFZyCbsGjxtd1Y%3d",
        "sig=gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1Y=",
        "sig=%67FSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1Y%3D",
    ] {
        assert_eq!(parse(&[SR, sig, SE]).verify(&key(), None, end()), Ok(()), "{sig}");
    }
}

#[test]
fn a_raw_plus_in_the_signature_is_base64_and_no_space() {
    // Computed by Python's hmac module, for an expiry whose signature holds a plus.
    let raw = "sig=xWa0ppOevhO2aPh8xXvSU437sxYpX0+zNdMIwBmiM/A=";
    assert_eq!(
        parse(&[SR, raw, "se=6"]).verify(&key(), None, UnixTime::from_secs(6)),
        Ok(())
    );
    let spaced = raw.replace('+', " ");
    assert!(matches!(error(&[SR, &spaced, SE]), TokenError::Space { .. }));
}

#[test]
fn an_empty_policy_is_none() {
    let token = parse(&[SR, SIG, SE, "skn="]);
    assert_eq!(token.policy(), None);
    assert_eq!(token.verify(&key(), None, end()), Ok(()));
}

#[test]
fn the_first_word_may_come_in_any_case() {
    let text = token(&[SR, SIG, SE]).replacen("SharedAccess", "sharedACCESS", 1);
    assert_eq!(SasToken::parse(&text).unwrap().expose(), text);
}

#[test]
fn what_is_no_token_is_refused_with_the_reason() {
    for text in [
        "",
        "SharedAccessSignature",
        "SharedAccessSignatures sr=x",
        "SharedAccessSignature%20sr=x",
        "é",
    ] {
        assert_eq!(SasToken::parse(text).unwrap_err(), TokenError::Prefix, "{text:?}");
    }
    assert_eq!(error(&[]), TokenError::NotAField { at: 22 });
    assert_eq!(error(&[SR, SIG]), TokenError::Missing { field: Field::Expiry });
    assert_eq!(
        error(&[SR, SE]),
        TokenError::Missing {
            field: Field::Signature
        }
    );
    assert_eq!(
        error(&[SIG, SE]),
        TokenError::Missing {
            field: Field::Resource
        }
    );
    assert_eq!(
        error(&["sr=x", SE, SE]),
        TokenError::Duplicate {
            field: Field::Expiry,
            at: 41
        }
    );
    assert_eq!(
        error(&["sr=x", "skn=", SIG, SE, "skn=x"]),
        TokenError::Duplicate {
            field: Field::Policy,
            at: 99
        }
    );
    assert_eq!(
        error(&["sr=x", "st=0", SIG, SE]),
        TokenError::UnknownField { at: 27 }
    );
    assert_eq!(error(&["sr=x", "", SIG, SE]), TokenError::NotAField { at: 27 });
    assert_eq!(error(&["sr=", SIG, SE]), TokenError::EmptyResource { at: 25 });
    assert_eq!(
        error(&["sr=x", SIG, "se=1700000000\n"]),
        TokenError::Space { at: 93 }
    );
    assert_eq!(error(&[" sr=x", SIG, SE]), TokenError::Space { at: 22 });
    assert_eq!(error(&["sr=x\x7f", SIG, SE]), TokenError::Space { at: 26 });
    assert_eq!(
        error(&["sr=x", SIG, SE, "skn=%FF"]),
        TokenError::Policy { at: 98 }
    );
}

#[test]
fn an_expiry_is_a_whole_number_of_seconds() {
    for se in [
        "se=",
        "se=+1",
        "se=-1",
        "se=1.5",
        "se=1e9",
        "se=%31",
        "se=99999999999999999999",
    ] {
        assert_eq!(error(&["sr=x", SIG, se]), TokenError::Expiry { at: 83 }, "{se}");
    }
    assert_eq!(
        parse(&["sr=x", SIG, "se=007"]).expires_at(),
        UnixTime::from_secs(7)
    );
    assert_eq!(
        parse(&["sr=x", SIG, "se=18446744073709551615"]).expires_at(),
        UnixTime::from_secs(u64::MAX)
    );
}

#[test]
fn a_signature_is_the_canonical_base64_of_32_bytes() {
    for sig in [
        "sig=",
        "sig=gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1Y", // no padding
        "sig=gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1Z=", // stray bits
        "sig=gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtdw==", // 31 bytes
        "sig=gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1Yg", // 33 bytes
        "sig=gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1YgAA==", // 34 bytes
        "sig=gFSfLGMXDOvf906%252FiaX3KwzLLNFHgaFZyCbsGjxtd1Y%253D",
        "sig=gFSfLGMXDOvf906_iaX3KwzLLNFHgaFZyCbsGjxtd1Y=",
    ] {
        assert_eq!(
            error(&["sr=x", sig, SE]),
            TokenError::Signature { at: 31 },
            "{sig}"
        );
    }
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let text = |fields: &[&str]| error(fields).to_string();
    let prefix = "no SAS token: it must begin with 'SharedAccessSignature' and one space";
    assert_eq!(SasToken::parse("x").unwrap_err().to_string(), prefix);
    assert_eq!(
        text(&["sr=x y"]),
        "SAS token holds white space or a control character at offset 26"
    );
    assert_eq!(text(&["sr"]), "SAS token has no name=value at offset 22");
    assert_eq!(
        text(&["st=1"]),
        "SAS token has a field other than sr, sig, se and skn at offset 22"
    );
    assert_eq!(text(&["sr=x", "sr=y"]), "SAS token has a second sr at offset 27");
    assert_eq!(text(&["sr=x", SE]), "SAS token has no sig");
    assert_eq!(text(&["sr=", SIG, SE]), "SAS token has an empty sr at offset 25");
    assert_eq!(
        text(&["sr=x", "sig=x", SE]),
        "sig at offset 31 is not the base64 of 32 bytes"
    );
    assert_eq!(
        text(&["sr=x", SIG, "se=x"]),
        "se at offset 83 is not a whole number of seconds since 1970"
    );
    assert_eq!(
        text(&["sr=x", SIG, SE, "skn=%FF"]),
        "skn at offset 98 is not UTF-8 once decoded"
    );
}

#[test]
fn debug_redacts_the_signature() {
    let token = parse(&[SR, SIG, SE, "skn=p"]);
    assert_eq!(
        format!("{token:?}"),
        "SasToken { resource: \"myhub.azure-devices.net%2Fdevices%2Fdevice1\", signature: (redacted), \
         expires_at: UnixTime(1700000000), policy: Some(\"p\") }"
    );
}

#[test]
fn a_token_holds_until_the_end_of_its_last_second() {
    let token = parse(&[SR, SIG, SE]);
    assert_eq!(token.verify(&key(), None, end()), Ok(()));
    let by = Duration::from_secs(1);
    assert_eq!(
        token.verify(&key(), None, end() + by),
        Err(VerifyError::Expired { by })
    );
}

#[test]
fn an_expiry_in_milliseconds_is_no_token_for_ever() {
    let signer = Signer::new(key());
    let milliseconds = signer.sign(DEVICE, UnixTime::from_secs(1_700_000_000_000));
    assert_eq!(
        milliseconds.verify(&key(), None, end()),
        Err(VerifyError::ExpiryOutOfRange)
    );
    let last = signer.sign(DEVICE, UnixTime::YEAR_9999);
    assert_eq!(last.verify(&key(), None, end()), Ok(()));
}

#[test]
fn another_key_or_another_policy_does_not_verify() {
    let other = SharedKey::generate_from([7; 32]);
    let device = parse(&[SR, SIG, SE]);
    assert_eq!(
        device.verify(&other, None, end()),
        Err(VerifyError::WrongSignature)
    );
    assert_eq!(
        device.verify(&key(), Some("service"), end()),
        Err(VerifyError::WrongPolicy)
    );
    let policy = parse(&[SR, SIG, SE, "skn=service"]);
    assert_eq!(policy.verify(&key(), Some("service"), end()), Ok(()));
    assert_eq!(
        policy.verify(&key(), Some("Service"), end()),
        Err(VerifyError::WrongPolicy)
    );
    assert_eq!(policy.verify(&key(), None, end()), Err(VerifyError::WrongPolicy));
}

#[test]
fn verify_errors_say_what_is_wrong() {
    assert_eq!(
        VerifyError::WrongPolicy.to_string(),
        "token names another policy (skn) than the expected one"
    );
    assert_eq!(
        VerifyError::WrongSignature.to_string(),
        "token was not signed with this key"
    );
    assert_eq!(
        VerifyError::Expired {
            by: Duration::from_secs(90)
        }
        .to_string(),
        "token expired 90 s ago"
    );
    let far = "token ends after the year 9999: se counts seconds, not milliseconds";
    assert_eq!(VerifyError::ExpiryOutOfRange.to_string(), far);
}

#[test]
fn what_is_signed_is_the_text_as_written() {
    let text = parse(&[SR, SIG, SE]).expose().replace("%2F", "%2f");
    let changed = SasToken::parse(&text).unwrap();
    assert_eq!(changed.resource(), DEVICE);
    assert_eq!(
        changed.verify(&key(), None, end()),
        Err(VerifyError::WrongSignature)
    );
    let zero = parse(&[SR, SIG, "se=01700000000"]);
    assert_eq!(zero.verify(&key(), None, end()), Err(VerifyError::WrongSignature));
}

#[test]
fn a_signed_token_reads_back_as_it_was_signed() {
    let policies = ["", "service", "a@b c"];
    for spelling in [
        Spelling::Escaped,
        Spelling::Double,
        Spelling::SlashesRaw,
        Spelling::Raw,
    ] {
        for policy in policies {
            let signed = Signer::new(key())
                .policy(policy)
                .spelling(spelling)
                .sign(DEVICE, end());
            let read = SasToken::parse(signed.expose()).unwrap();
            for token in [signed, read] {
                assert_eq!(token.resource(), DEVICE);
                assert_eq!(token.expires_at(), end());
                assert_eq!(token.policy(), Some(policy).filter(|policy| !policy.is_empty()));
                assert_eq!(token.verify(&key(), token.policy(), end()), Ok(()));
            }
        }
    }
}

/// A debug build asserts that the text does not grow once the signature is in it.
#[test]
fn a_signature_is_never_copied_however_long_the_rest_is() {
    for length in 0..600 {
        let resource = format!("h/devices/{}", "@".repeat(length));
        for policy in ["", "p", &"p".repeat(300)] {
            let token = Signer::new(key()).policy(policy).sign(&resource, end());
            assert_eq!(token.resource(), resource);
        }
    }
}
