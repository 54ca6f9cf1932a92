//! Goal: whatever is wrong with a token is named, and nothing else.
//! Method: tokens with one fault (or two) made with the bare HMAC, never with the crate's own signer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::time::Duration;

use base64::engine::{Engine, general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use iothub_sas::{Expected, Newline, Reason, SasToken, SharedKey, UnixTime};
use proptest::prelude::*;
use sha2::Sha256;

const PRIMARY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECONDARY: &str = "cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE=";
const DEVICE: &str = "myhub.azure-devices.net/devices/A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p";
const ESCAPED: &str =
    "myhub.azure-devices.net%2Fdevices%2FA-1.b%2Bc%25d_e%23f%2Ag%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p";
const END: &str = "1700000000";
const NOW: UnixTime = UnixTime::from_secs(1_699_999_000);

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

/// A token that says `sr` and `se`, and whose signature is the HMAC of `signed`.
fn token(sr: &str, se: &str, key: &[u8], signed: &str) -> SasToken {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(signed);
    let sig = STANDARD.encode(mac.finalize().into_bytes()).replace('=', "%3D");
    SasToken::parse(&format!("SharedAccessSignature sr={sr}&sig={sig}&se={se}")).unwrap()
}

/// What is found wrong by a server that has both keys and expects the device.
fn reasons(token: &SasToken) -> Vec<Reason> {
    let (primary, secondary) = keys();
    token.diagnose(
        &Expected::new(&primary).secondary(&secondary).resource(DEVICE),
        NOW,
    )
}

fn keys() -> (SharedKey, SharedKey) {
    (
        SharedKey::from_base64(PRIMARY).unwrap(),
        SharedKey::from_base64(SECONDARY).unwrap(),
    )
}

fn signed(text: &str) -> SasToken {
    token(ESCAPED, END, &bytes(PRIMARY), text)
}

#[test]
fn nothing_is_wrong_with_a_good_token() {
    assert_eq!(reasons(&signed(&format!("{ESCAPED}\n{END}"))), []);
}

#[test]
fn an_expired_token_says_since_when() {
    let (key, _) = keys();
    let token = signed(&format!("{ESCAPED}\n{END}"));
    let at = |now| token.diagnose(&Expected::new(&key), UnixTime::from_secs(now));
    assert_eq!(at(1_700_000_000), []);
    assert_eq!(
        at(1_700_003_600),
        [Reason::Expired {
            by: Duration::from_secs(3600)
        }]
    );
}

#[test]
fn a_swapped_key_is_found() {
    let token = token(ESCAPED, END, &bytes(SECONDARY), &format!("{ESCAPED}\n{END}"));
    assert_eq!(reasons(&token), [Reason::SecondaryKey]);
    let (primary, _) = keys();
    assert_eq!(token.diagnose(&Expected::new(&primary), NOW), [Reason::WrongKey]);
}

#[test]
fn a_key_used_as_text_is_found() {
    let text = format!("{ESCAPED}\n{END}");
    assert_eq!(
        reasons(&token(ESCAPED, END, PRIMARY.as_bytes(), &text)),
        [Reason::KeyAsText]
    );
    let both = [Reason::SecondaryKey, Reason::KeyAsText];
    assert_eq!(reasons(&token(ESCAPED, END, SECONDARY.as_bytes(), &text)), both);
}

#[test]
fn a_key_decoded_where_its_text_signs_is_found() {
    let text = SharedKey::from_text(PRIMARY).unwrap();
    let token = signed(&format!("{ESCAPED}\n{END}"));
    assert_eq!(token.diagnose(&Expected::new(&text), NOW), [Reason::KeyDecoded]);
}

#[test]
fn a_newline_in_the_key_is_found() {
    let newline = Reason::TrailingNewline { after: Newline::Key };
    for end in ["\n", "\r\n"] {
        let key = format!("{PRIMARY}{end}");
        let token = token(ESCAPED, END, key.as_bytes(), &format!("{ESCAPED}\n{END}"));
        let faults = [Reason::KeyAsText, newline.clone()];
        assert_eq!(reasons(&token), faults);
        let text = SharedKey::from_text(PRIMARY).unwrap();
        assert_eq!(token.diagnose(&Expected::new(&text), NOW), faults[1..]);
    }
}

#[test]
fn a_newline_in_the_signed_text_is_found() {
    let expiry = [Reason::TrailingNewline {
        after: Newline::Expiry,
    }];
    let resource = [Reason::TrailingNewline {
        after: Newline::Resource,
    }];
    assert_eq!(reasons(&signed(&format!("{ESCAPED}\n{END}\n"))), expiry);
    assert_eq!(reasons(&signed(&format!("{ESCAPED}\n{END}\r\n"))), expiry);
    assert_eq!(reasons(&signed(&format!("{ESCAPED}\r\n{END}"))), resource);
    assert_eq!(reasons(&signed(&format!("{ESCAPED}\n\n{END}"))), resource);
    assert_eq!(reasons(&signed(&format!("{ESCAPED}\r\n\n{END}"))), resource);
}

#[test]
fn a_newline_in_the_resource_itself_is_found() {
    for end in ["%0A", "%0D%0A"] {
        let sr = format!("{ESCAPED}{end}");
        let token = token(&sr, END, &bytes(PRIMARY), &format!("{sr}\n{END}"));
        assert_eq!(
            reasons(&token),
            [Reason::TrailingNewline {
                after: Newline::Resource
            }]
        );
    }
}

#[test]
fn a_newline_does_not_hide_a_wrong_resource() {
    let sr = "myhub.azure-devices.net%2Fdevices%2Fother%0A";
    let token = token(sr, END, &bytes(PRIMARY), &format!("{sr}\n{END}"));
    let found = "myhub.azure-devices.net/devices/other\n".into();
    assert_eq!(reasons(&token), [Reason::WrongResource { found }]);
}

#[test]
fn another_spelling_signed_is_found() {
    for spelled in [
        // C#, Java, C and Node, then what samples and hand-written code do.
        "myhub.azure-devices.net%2Fdevices%2FA-1.b%252Bc%2525d_e%2523f*g%253Fh!i(j)k%252Cl%253Dm%2540n%2524o%2527p",
        "myhub.azure-devices.net/devices/A-1.b%2Bc%25d_e%23f*g%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p",
        DEVICE,
        "myhub.azure-devices.net%2Fdevices%2FA-1.b%2Bc%25d_e%23f%2ag%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p",
        "myhub.azure-devices.net%2fdevices%2fA-1.b%2bc%25d_e%23f%2ag%3fh%21i%28j%29k%2cl%3dm%40n%24o%27p",
        "myhub.azure-devices.net%2fdevices%2fA-1.b%2bc%25d_e%23f*g%3fh!i(j)k%2cl%3dm%40n%24o%27p",
        "myhub.azure-devices.net%2Fdevices%2FA-1.b%2Bc%25d_e%23f*g%3Fh!i(j)k%2Cl%3Dm%40n%24o'p",
        "myhub.azure-devices.net/devices/A-1.b%2Bc%25d_e%23f%2Ag%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p",
        "myhub.azure-devices.net%2Fdevices%2FA-1.b%2Bc%25d_e%23f*g%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p",
        "myhub.azure-devices.net%2fdevices%2fa-1.b%2bc%25d_e%23f%2ag%3fh%21i%28j%29k%2cl%3dm%40n%24o%27p",
    ] {
        let reason = Reason::OtherSpelling {
            signed: spelled.into(),
        };
        assert_eq!(reasons(&signed(&format!("{spelled}\n{END}"))), [reason]);
    }
}

#[test]
fn a_token_decoded_once_too_often_is_found() {
    let good = signed(&format!("{ESCAPED}\n{END}"));
    let decoded = good.expose().replace(ESCAPED, DEVICE).replace("%3D", "=");
    let reason = Reason::DecodedTooOften {
        signed: ESCAPED.into(),
    };
    assert_eq!(reasons(&SasToken::parse(&decoded).unwrap()), [reason]);
    // Only `sr` is decoded: then that is what was signed wrongly, not what happened to the token on its way.
    let half = good.expose().replace(ESCAPED, DEVICE);
    let reason = Reason::OtherSpelling {
        signed: ESCAPED.into(),
    };
    assert_eq!(reasons(&SasToken::parse(&half).unwrap()), [reason]);
    // What was signed does not decode to what the token says.
    let raw = signed(&format!("{DEVICE}\n{END}"));
    let reason = Reason::OtherSpelling {
        signed: DEVICE.into(),
    };
    assert_eq!(
        reasons(&SasToken::parse(&raw.expose().replace("%3D", "=")).unwrap()),
        [reason]
    );
}

#[test]
fn a_token_for_another_resource_is_found() {
    let sr = "myhub.azure-devices.net%2Fdevices%2Fother";
    let token = token(sr, END, &bytes(PRIMARY), &format!("{sr}\n{END}"));
    let found = "myhub.azure-devices.net/devices/other".into();
    assert_eq!(reasons(&token), [Reason::WrongResource { found }]);
}

#[test]
fn a_resource_changed_after_signing_is_found() {
    let token = token(
        "myhub.azure-devices.net%2Fdevices%2Fother",
        END,
        &bytes(PRIMARY),
        &format!("{ESCAPED}\n{END}"),
    );
    let found = "myhub.azure-devices.net/devices/other".into();
    let signed = ESCAPED.into();
    assert_eq!(
        reasons(&token),
        [Reason::OtherResource { signed }, Reason::WrongResource { found }]
    );
}

#[test]
fn another_policy_is_found() {
    let (key, _) = keys();
    let good = signed(&format!("{ESCAPED}\n{END}"));
    let named = SasToken::parse(&format!("{}&skn=device", good.expose())).unwrap();
    let diagnose = |token: &SasToken, policy| token.diagnose(&Expected::new(&key).policy(policy), NOW);
    assert_eq!(diagnose(&good, None), []);
    assert_eq!(diagnose(&named, Some("device")), []);
    assert_eq!(
        diagnose(&good, Some("device")),
        [Reason::WrongPolicy { found: None }]
    );
    let found = Some("device".into());
    assert_eq!(
        diagnose(&named, None),
        [Reason::WrongPolicy { found: found.clone() }]
    );
    assert_eq!(diagnose(&named, Some("service")), [Reason::WrongPolicy { found }]);
}

#[test]
fn an_expiry_in_milliseconds_is_found() {
    let at = |se: &str| token(ESCAPED, se, &bytes(PRIMARY), &format!("{ESCAPED}\n{se}"));
    let meant = UnixTime::from_secs(1_700_000_000);
    assert_eq!(reasons(&at("1700000000123")), [Reason::Milliseconds { meant }]);
    assert_eq!(reasons(&at("253402300799")), []);
    let meant = UnixTime::from_secs(253_402_300);
    assert_eq!(reasons(&at("253402300800")), [Reason::Milliseconds { meant }]);
    assert_eq!(
        reasons(&at("253402300799999")),
        [Reason::Milliseconds {
            meant: UnixTime::YEAR_9999
        }]
    );
    assert_eq!(reasons(&at("253402300800000")), [Reason::ExpiryOutOfRange]);
}

#[test]
fn an_expiry_signed_in_another_unit_is_found() {
    let seconds = UnixTime::from_secs(1_700_000_000);
    let milliseconds = UnixTime::from_secs(1_700_000_000_000);
    let shows_seconds = signed(&format!("{ESCAPED}\n{END}000"));
    assert_eq!(
        reasons(&shows_seconds),
        [Reason::OtherExpiry { signed: milliseconds }]
    );
    let shows_milliseconds = token(
        ESCAPED,
        "1700000000000",
        &bytes(PRIMARY),
        &format!("{ESCAPED}\n{END}"),
    );
    let both = [
        Reason::OtherExpiry { signed: seconds },
        Reason::Milliseconds { meant: seconds },
    ];
    assert_eq!(reasons(&shows_milliseconds), both);
}

#[test]
fn three_faults_at_a_time_are_found_and_four_are_not() {
    let text = format!("{DEVICE}\n{END}");
    let three = token(ESCAPED, END, SECONDARY.as_bytes(), &text);
    let spelling = Reason::OtherSpelling {
        signed: DEVICE.into(),
    };
    assert_eq!(
        reasons(&three),
        [Reason::SecondaryKey, Reason::KeyAsText, spelling]
    );
    let four = token(ESCAPED, END, SECONDARY.as_bytes(), &format!("{text}\n"));
    assert_eq!(reasons(&four), [Reason::WrongKey]);
}

#[test]
fn all_that_is_wrong_is_listed() {
    let sr = "other.azure-devices.net";
    let token = token(sr, "1", &[7; 32], "something else");
    let (key, _) = keys();
    let expected = Expected::new(&key).policy(Some("service")).resource(DEVICE);
    let all = [
        Reason::WrongPolicy { found: None },
        Reason::WrongKey,
        Reason::WrongResource { found: sr.into() },
        Reason::Expired {
            by: Duration::from_secs(1_699_998_999),
        },
    ];
    assert_eq!(token.diagnose(&expected, NOW), all);
}

#[test]
fn each_reason_has_its_code_and_a_line_for_people() {
    let signed = || "h%2Fd".into();
    let newline = |after| Reason::TrailingNewline { after };
    for (reason, code, text) in [
        (
            Reason::WrongPolicy { found: None },
            "wrong_policy",
            "it names no policy (skn)",
        ),
        (
            Reason::WrongPolicy {
                found: Some("p".into()),
            },
            "wrong_policy",
            "it names the policy \"p\", which is not the expected one",
        ),
        (
            Reason::SecondaryKey,
            "secondary_key",
            "the second key signed it: the keys are swapped",
        ),
        (
            Reason::KeyAsText,
            "key_as_text",
            "the key was used as text: decode it from base64 before signing",
        ),
        (
            Reason::KeyDecoded,
            "key_decoded",
            "the key was decoded from base64: this endpoint signs with its text",
        ),
        (
            newline(Newline::Key),
            "trailing_newline",
            "the key was used with the newline at its end",
        ),
        (
            newline(Newline::Resource),
            "trailing_newline",
            "the resource was signed with a newline at its end",
        ),
        (
            newline(Newline::Expiry),
            "trailing_newline",
            "the text was signed with a newline at its end",
        ),
        (
            Reason::OtherSpelling { signed: signed() },
            "other_spelling",
            "another spelling of the resource was signed: \"h%2Fd\", which is not what sr says",
        ),
        (
            Reason::DecodedTooOften { signed: signed() },
            "decoded_too_often",
            "the token was percent-decoded once too often: signed was \"h%2Fd\"",
        ),
        (
            Reason::OtherResource { signed: signed() },
            "other_resource",
            "another resource was signed: \"h%2Fd\", which is not what sr says",
        ),
        (
            Reason::OtherExpiry {
                signed: UnixTime::from_secs(5),
            },
            "other_expiry",
            "another expiry was signed: 5, which is not what se says",
        ),
        (
            Reason::WrongKey,
            "wrong_key",
            "no key given signed it, in no way known",
        ),
        (
            Reason::WrongResource { found: "h".into() },
            "wrong_resource",
            "it opens \"h\", which does not cover the resource",
        ),
        (
            Reason::Expired {
                by: Duration::from_secs(5),
            },
            "expired",
            "it expired 5 s ago",
        ),
        (
            Reason::Milliseconds {
                meant: UnixTime::from_secs(5),
            },
            "milliseconds",
            "its expiry is in milliseconds: se counts seconds, probably 5",
        ),
        (
            Reason::ExpiryOutOfRange,
            "expiry_out_of_range",
            "its expiry lies after the year 9999",
        ),
    ] {
        assert_eq!((reason.code(), reason.to_string().as_str()), (code, text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(64), ..Default::default() })]

    #[test]
    fn nothing_is_found_exactly_if_the_token_verifies_and_covers(
        sr in prop::sample::select(vec![ESCAPED, DEVICE, "myhub.azure-devices.net", "other"]),
        se in prop::sample::select(vec!["1", END, "1700000000000", "18446744073709551615"]),
        key in prop::sample::select(vec![PRIMARY, SECONDARY]),
        signed_sr in prop::option::of(Just(ESCAPED)),
    ) {
        let (primary, _) = keys();
        let signed = format!("{}\n{se}", signed_sr.unwrap_or(sr));
        let token = token(sr, se, &bytes(key), &signed);
        let good = token.verify(&primary, None, NOW).is_ok() && token.covers(DEVICE);
        let reasons = token.diagnose(&Expected::new(&primary).resource(DEVICE), NOW);
        prop_assert_eq!(reasons.is_empty(), good, "{:?}", reasons);
    }
}
