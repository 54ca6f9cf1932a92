//! Goal: a server finds out what a token opens, whichever SDK wrote it.
//! Method: scopes against resources; readings of one `sr`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use iothub_sas::{SasToken, SharedKey, Signer, Spelling, UnixTime};

const SIG: &str = "gFSfLGMXDOvf906%2FiaX3KwzLLNFHgaFZyCbsGjxtd1Y%3D";

fn with_sr(sr: &str) -> SasToken {
    SasToken::parse(&format!("SharedAccessSignature sr={sr}&sig={SIG}&se=1")).unwrap()
}

#[test]
fn a_scope_covers_itself_and_what_is_below_it_in_whole_segments() {
    let paths = [
        "",
        "/devices",
        "/devices/d",
        "/devices/d/modules",
        "/devices/d/modules/m",
    ];
    for (length, scope) in paths.iter().enumerate() {
        let token = with_sr(&format!("hub.azure-devices.net{scope}").replace('/', "%2F"));
        for (other, path) in paths.iter().enumerate() {
            let covered = token.covers(&format!("hub.azure-devices.net{path}"));
            assert_eq!(covered, other >= length, "{scope} against {path}");
        }
    }
    let device = with_sr("hub/devices/d");
    assert!(!device.covers("hub/devices/dd"));
    assert!(!device.covers("hub/devices/e"));
    assert!(!device.covers("other/devices/d"));
    assert!(!device.covers("hub.evil/devices/d"));
}

#[test]
fn the_host_compares_in_any_case_and_ids_exactly() {
    let token = with_sr("MyHub.Azure-Devices.net%2Fdevices%2FDev");
    assert!(token.covers("myhub.azure-devices.NET/devices/Dev/modules/M"));
    assert!(!token.covers("myhub.azure-devices.net/devices/dev"));
}

#[test]
fn a_scheme_a_trailing_slash_and_a_port_on_one_side_are_ignored() {
    assert!(with_sr("hub/").covers("hub/devices/d"));
    assert!(with_sr("hub/devices/d/").covers("hub/devices/d"));
    assert!(with_sr("hub/devices/d").covers("hub/devices/d/"));
    assert!(with_sr("sb%3A%2F%2Fns.servicebus.windows.net%2Fhub").covers("ns.servicebus.windows.net/hub"));
    assert!(with_sr("hub").covers("amqps://hub:5671/"));
    assert!(with_sr("localhost%3A8443%2Fdevices%2Fd").covers("localhost/devices/d"));
    assert!(with_sr("localhost:8443").covers("localhost:8443/devices/d"));
    assert!(!with_sr("localhost:8443").covers("localhost:8444/devices/d"));
    assert!(with_sr("[::1]").covers("[::1]:5671/devices/d"));
    assert!(!with_sr("[::1]").covers("[::2]"));
    // Only what stands before the first slash can be a scheme.
    assert!(!with_sr("x/y://hub").covers("hub"));
}

#[test]
fn nothing_is_covered_without_a_host() {
    assert!(!with_sr("/").covers("hub/devices/d"));
    assert!(!with_sr("%2Fdevices").covers("/devices"));
    assert!(!with_sr("sb://").covers("hub"));
    assert!(!with_sr(":5671").covers("hub"));
    assert!(!with_sr("hub").covers(""));
}

#[test]
fn readings_are_once_twice_and_not_decoded_each_once() {
    let readings = |sr| {
        with_sr(sr)
            .resource_readings()
            .map(|reading| reading.into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(readings("h/devices/d"), ["h/devices/d"]);
    assert_eq!(readings("h%2Fdevices%2Fd"), ["h/devices/d", "h%2Fdevices%2Fd"]);
    assert_eq!(readings("h/%252B"), ["h/%2B", "h/+", "h/%252B"]);
    // A raw id whose escapes are no UTF-8, and one that holds no escape at all.
    assert_eq!(readings("h/%FF"), ["h/%FF"]);
    assert_eq!(readings("h/%25FF"), ["h/%FF", "h/%25FF"]);
    assert_eq!(readings("h/100%"), ["h/100%"]);
}

#[test]
fn a_resource_that_decodes_to_no_text_is_read_as_it_stands() {
    assert_eq!(with_sr("h/devices/%FF").resource(), "h/devices/%FF");
    assert_eq!(with_sr("h/devices/%41").resource(), "h/devices/A");
}

#[test]
fn every_spelling_covers_what_was_signed() {
    let signer = Signer::new(SharedKey::generate_from([7; 32]));
    for id in ["d", "a%41", "a%2541", "a%", "%FF", "a+b", "a:b;c", "#?!*'()$,=@"] {
        let resource = format!("localhost:8443/devices/{id}/modules/{id}");
        for spelling in Spelling::ALL {
            let token = signer
                .clone()
                .spelling(*spelling)
                .sign(&resource, UnixTime::EPOCH);
            assert!(token.covers(&resource), "{id} {spelling:?}");
        }
    }
}

#[test]
fn the_default_spelling_decodes_once_to_what_was_signed() {
    let signer = Signer::new(SharedKey::generate_from([7; 32]));
    for id in ["a%41", "a%2541", "%FF", "a+b", "#?!*'()$,=@:;._-"] {
        let resource = format!("h/devices/{id}");
        assert_eq!(signer.sign(&resource, UnixTime::EPOCH).resource(), resource);
    }
}

#[test]
fn what_a_token_cannot_hold_is_escaped_in_every_spelling() {
    let signer = Signer::new(SharedKey::generate_from([7; 32]));
    let resource = "h o&s/a b/&\n=é";
    for spelling in Spelling::ALL {
        let token = signer.clone().spelling(*spelling).sign(resource, UnixTime::EPOCH);
        let read = SasToken::parse(token.expose()).unwrap();
        assert!(
            read.resource_readings().any(|reading| reading == resource),
            "{spelling:?}"
        );
    }
}

#[test]
fn the_spelling_of_a_token_is_told() {
    let spelling = |sr: &str| with_sr(sr).spelling().map(Spelling::name);
    // The special id of the vectors as Python, C#, Java and C write it, and as Node does (`%2a`).
    let prefix = "h%2Fdevices%2FA-1.b";
    let escaped = format!("{prefix}%2Bc%25d_e%23f%2Ag%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p");
    assert_eq!(spelling(&escaped), Some("escaped"));
    let double = format!("{prefix}%252Bc%2525d_e%2523f*g%253Fh!i(j)k%252Cl%253Dm%2540n%2524o%2527p");
    assert_eq!(spelling(&double), Some("double"));
    let java = "h/devices/A-1.b%2Bc%25d_e%23f*g%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p";
    assert_eq!(spelling(java), Some("slashes-raw"));
    assert_eq!(
        spelling("h/devices/A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p"),
        Some("raw")
    );
    assert_eq!(spelling(&escaped.replace("%2A", "%2a")), None);
    assert_eq!(spelling("h%2fdevices%2fd"), None);
    // An id of which C# escapes nothing, and Python does.
    assert_eq!(spelling("h%2Fdevices%2Fa*b"), Some("double"));

    assert_eq!(spelling("h"), Some("escaped"));
    assert_eq!(spelling("h%2Fdevices%2Fd"), Some("escaped"));
    assert_eq!(spelling("h/devices/d"), Some("raw"));
    assert_eq!(spelling("localhost:8443"), Some("raw"));
    assert_eq!(spelling("h/devices/%FF"), Some("raw"));
    assert_eq!(spelling("h/devices/a%2fb"), Some("raw"));
    assert_eq!(spelling("%FF"), None);
    // The id `a%41` escaped once, and the id `a+b` escaped twice or the id `a%2Bb` once.
    assert_eq!(spelling("h%2Fdevices%2Fa%2541"), Some("escaped"));
    assert_eq!(spelling("h%2Fdevices%2Fa%252Bb"), Some("double"));
}
