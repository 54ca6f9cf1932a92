//! Goal: what holds for every token, not only for those in examples.
//! Method: proptest over legal names and over mutilated tokens. `PROPTEST_CASES=1000000 cargo test --release -p
//! iothub-sas --test properties` runs a million cases a property; a failure prints the case and how to replay it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::engine::{Engine, general_purpose::STANDARD};
use iothub_sas::{Expected, KeyError, SasToken, SharedKey, Signer, Spelling, UnixTime};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The characters of device and module ids.
const LEGAL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:.+%_#*?!(),=@;$'";

/// Legal ids, often with something in them that looks like an escape.
fn id() -> impl Strategy<Value = String> {
    let character = select(LEGAL.chars().map(String::from).collect::<Vec<_>>());
    let escape = select(vec!["%41", "%2B", "%2f", "%25", "%FF", "%", "%4", "%252B"]).prop_map(String::from);
    prop::collection::vec(prop_oneof![8 => character, 1 => escape], 1..40).prop_map(|parts| parts.concat())
}

fn resource() -> impl Strategy<Value = String> {
    let host = select(vec![
        "myhub.azure-devices.net",
        "localhost:8443",
        "[::1]:5671",
        "MyHub.Azure-Devices.NET",
    ]);
    let path = prop_oneof![
        Just(String::new()),
        id().prop_map(|device| format!("/devices/{device}")),
        (id(), id()).prop_map(|(device, module)| format!("/devices/{device}/modules/{module}")),
    ];
    (host, path).prop_map(|(host, path)| format!("{host}{path}"))
}

fn key() -> impl Strategy<Value = SharedKey> {
    prop::collection::vec(any::<u8>(), 16..=64).prop_map(|bytes| SharedKey::from_bytes(&bytes).unwrap())
}

fn expires() -> impl Strategy<Value = UnixTime> {
    prop_oneof![
        1_000_000_000_u64..2_000_000_000,
        0..=UnixTime::YEAR_9999.as_secs(),
        (0..12_u32).prop_map(|power| 10_u64.pow(power)),
        (1..12_u32).prop_map(|power| 10_u64.pow(power) - 1),
    ]
    .prop_map(UnixTime::from_secs)
}

fn policy() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[A-Za-z0-9_@.-]{1,20}")
}

#[derive(Clone, Debug)]
struct Signed {
    key: SharedKey,
    resource: String,
    expires: UnixTime,
    policy: Option<String>,
    spelling: Spelling,
}

impl Signed {
    fn token(&self) -> SasToken {
        let signer = Signer::new(self.key.clone()).policy(self.policy().unwrap_or_default());
        signer.spelling(self.spelling).sign(&self.resource, self.expires)
    }

    fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Whether `text` is a token that holds, as this one does.
    fn holds(&self, text: &str) -> bool {
        SasToken::parse(text)
            .is_ok_and(|token| token.verify(&self.key, self.policy(), UnixTime::EPOCH).is_ok())
    }
}

fn signed() -> impl Strategy<Value = Signed> {
    (key(), resource(), expires(), policy(), select(Spelling::ALL)).prop_map(
        |(key, resource, expires, policy, spelling)| Signed {
            key,
            resource,
            expires,
            policy,
            spelling,
        },
    )
}

/// Where the values of the fields stand in `text`.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let fields = text.split_once(' ').unwrap().1.split('&');
    fields
        .map(|field| field.split_once('=').unwrap())
        .find(|(field, _)| *field == name)
        .unwrap()
        .1
}

/// `bytes` with one bit flipped, and as text if it still is one.
fn flip(bytes: &[u8], at: Index) -> Result<String, std::string::FromUtf8Error> {
    let at = at.index(8 * bytes.len());
    let mut bytes = bytes.to_vec();
    bytes[at / 8] ^= 1 << (at % 8);
    String::from_utf8(bytes)
}

fn with_value(text: &str, name: &str, new: &str) -> String {
    text.replace(&format!("{name}={}", value(text, name)), &format!("{name}={new}"))
}

proptest! {
    #[test]
    fn a_signed_token_reads_back_verifies_and_covers(signed in signed()) {
        let token = signed.token();
        let read = SasToken::parse(token.expose()).unwrap();
        for token in [&token, &read] {
            prop_assert_eq!(token.expires_at(), signed.expires);
            prop_assert_eq!(token.policy(), signed.policy());
            prop_assert_eq!(token.raw_resource(), value(token.expose(), "sr"));
            prop_assert_eq!(value(token.expose(), "se"), signed.expires.to_string());
            prop_assert!(token.covers(&signed.resource));
            prop_assert!(token.spelling().is_some());
            prop_assert!(token.resource_readings().any(|reading| reading == signed.resource));
            prop_assert_eq!(token.verify(&signed.key, signed.policy(), UnixTime::EPOCH), Ok(()));
        }
        prop_assert_eq!(read.expose(), token.expose());
        if signed.spelling == Spelling::Escaped {
            prop_assert_eq!(read.resource(), signed.resource);
        }
    }

    #[test]
    fn another_bit_in_the_resource_does_not_hold(signed in signed(), at: Index) {
        let text = signed.token().expose().to_owned();
        if let Ok(sr) = flip(value(&text, "sr").as_bytes(), at) {
            prop_assert!(!signed.holds(&with_value(&text, "sr", &sr)));
        }
    }

    #[test]
    fn another_bit_in_the_expiry_does_not_hold(signed in signed(), at: Index) {
        let text = signed.token().expose().to_owned();
        if let Ok(se) = flip(value(&text, "se").as_bytes(), at) {
            prop_assert!(!signed.holds(&with_value(&text, "se", &se)));
        }
    }

    #[test]
    fn another_bit_in_the_decoded_signature_does_not_hold(signed in signed(), at in 0..256_usize) {
        let text = signed.token().expose().to_owned();
        let sig = percent_encoding::percent_decode_str(value(&text, "sig")).decode_utf8().unwrap();
        let mut bytes = STANDARD.decode(sig.as_bytes()).unwrap();
        let resign = |bytes: &[u8]| with_value(&text, "sig", &STANDARD.encode(bytes));
        prop_assert!(signed.holds(&resign(&bytes)), "what is changed next held before");
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(!signed.holds(&resign(&bytes)));
    }

    #[test]
    fn a_truncated_token_is_refused_or_prints_back_the_same_and_never_holds(signed in signed(), at: Index) {
        let text = signed.token().expose().to_owned();
        let text = &text[..at.index(text.len())];
        if let Ok(token) = SasToken::parse(text) {
            prop_assert_eq!(token.expose(), text);
            prop_assert!(!signed.holds(text));
        }
    }

    #[test]
    fn fields_keep_their_bytes_in_any_order(
        order in Just(["sr", "sig", "se", "skn"]).prop_shuffle(),
        sr in "[!-%'-~é]{1,60}",
        bytes: [u8; 32],
        zeros in 0..3_usize,
        expires: u64,
        skn in "[A-Za-z0-9_@.-]{1,20}",
    ) {
        let sig = STANDARD.encode(bytes);
        let se = format!("{}{expires}", "0".repeat(zeros));
        let field = |name| match name { "sr" => &sr, "sig" => &sig, "se" => &se, _ => &skn };
        let fields = order.map(|name| format!("{name}={}", field(name))).join("&");
        let text = format!("SharedAccessSignature {fields}");
        let token = SasToken::parse(&text).unwrap();
        prop_assert_eq!(token.expose(), text);
        prop_assert_eq!(token.raw_resource(), sr);
        prop_assert_eq!(token.expires_at(), UnixTime::from_secs(expires));
        prop_assert_eq!(token.policy(), Some(&*skn));
    }

    #[test]
    fn no_input_panics(text in any::<String>()) {
        exercise(&text);
        exercise(&format!("SharedAccessSignature {text}"));
    }

    #[test]
    fn no_mutilated_token_panics(
        signed in signed(),
        edits in prop::collection::vec((any::<Index>(), any::<Index>(), "[ -~é]{0,3}"), 1..4),
    ) {
        let mut text: Vec<char> = signed.token().expose().chars().collect();
        for (from, to, new) in edits {
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            // Short cuts mostly, so that often a token remains.
            text.splice(from.min(to)..from.max(to).min(from.min(to) + 4), new.chars());
        }
        exercise(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_key_is_refused_or_prints_back_the_same(text in "[A-Za-z0-9+/=_ -]{0,100}") {
        if let Ok(key) = SharedKey::from_base64(&text) {
            prop_assert!(key.to_base64().expose() == text);
        }
    }

    #[test]
    fn a_truncated_key_is_refused_or_another_key(bytes in prop::collection::vec(any::<u8>(), 16..=64), at: Index) {
        let text = STANDARD.encode(bytes);
        let text = &text[..at.index(text.len())];
        match SharedKey::from_base64(text) {
            Ok(key) => prop_assert!(key.to_base64().expose() == text),
            Err(error) => prop_assert!(matches!(
                error, KeyError::Padding | KeyError::NotCanonical | KeyError::TooShort { .. }
            ), "{}", error),
        }
    }
}

/// Reads all that a token has.
fn exercise(text: &str) {
    let Ok(token) = SasToken::parse(text) else { return };
    assert_eq!(token.expose(), text);
    let key = SharedKey::generate_from([7; 32]);
    let covered = token.covers("hub.azure-devices.net/devices/d");
    let verified = token.verify(&key, token.policy(), UnixTime::EPOCH);
    assert!(verified.is_err(), "a signature by another key");
    assert!(!(covered && token.resource().is_empty()));
    assert!(token.resource_readings().count() <= 3);
    assert!(!format!("{token:?}").contains(value(text, "sig")));
}

#[test]
fn every_bit_of_one_token_counts() {
    let key = SharedKey::generate_from([7; 32]);
    let resource = "h/devices/a+b".to_owned();
    let expires = UnixTime::from_secs(1_700_000_000);
    let signed = Signed {
        key,
        resource,
        expires,
        policy: None,
        spelling: Spelling::Escaped,
    };
    let text = signed.token().expose().to_owned();
    assert!(signed.holds(&text));
    let values = [value(&text, "sr"), value(&text, "se")];
    for value in values {
        let start = value.as_ptr() as usize - text.as_ptr() as usize;
        for bit in 8 * start..8 * (start + value.len()) {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !String::from_utf8(bytes).is_ok_and(|text| signed.holds(&text)),
                "bit {bit}"
            );
        }
    }
}

#[test]
fn every_id_of_one_or_two_legal_characters_is_covered_in_every_spelling() {
    let one: Vec<String> = LEGAL.chars().map(String::from).collect();
    let two = one
        .iter()
        .flat_map(|first| one.iter().map(move |second| format!("{first}{second}")));
    let key = SharedKey::generate_from([7; 32]);
    let signers = Spelling::ALL
        .iter()
        .map(|spelling| Signer::new(key.clone()).spelling(*spelling))
        .collect::<Vec<_>>();
    for id in one.iter().cloned().chain(two) {
        let resource = format!("h/devices/{id}");
        for signer in &signers {
            let token = signer.sign(&resource, UnixTime::EPOCH);
            let token = SasToken::parse(token.expose()).unwrap();
            assert!(token.covers(&resource), "{id}");
        }
        let token = Signer::new(key.clone()).sign(&resource, UnixTime::EPOCH);
        assert_eq!(token.resource(), resource);
        assert_eq!(token.verify(&key, None, UnixTime::EPOCH), Ok(()));
    }
}

#[test]
fn a_diagnosis_of_any_token_ends() {
    // The most hypotheses: three readings, two keys and a resource, all different, and nothing fits.
    let sig = STANDARD.encode([7; 32]);
    let token = SasToken::parse(&format!(
        "SharedAccessSignature sr=h%252Fa%2541*!'()~%2f&sig={sig}&se=7"
    ))
    .unwrap();
    let (primary, secondary) = (
        SharedKey::generate_from([1; 32]),
        SharedKey::generate_from([2; 32]),
    );
    let expected = Expected::new(&primary)
        .secondary(&secondary)
        .resource("other/devices/B*!'()~");
    let reasons = token.diagnose(&expected, UnixTime::EPOCH);
    assert_eq!(reasons[0].code(), "wrong_key");
}
