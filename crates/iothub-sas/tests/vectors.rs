//! Goal: signatures agree with those that programs which are not ours compute.
//! Method: `data/tokens.tsv` holds keys, signed texts and signatures computed in Python; each must verify, and those
//! in a spelling of ours must be what we sign, to the byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use iothub_sas::{SasToken, SharedKey, Signer, Spelling, UnixTime};

const TOKENS: &str = include_str!("data/tokens.tsv");
const SPECIAL_ID: &str = "A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p";

struct Vector {
    case: &'static str,
    key: SharedKey,
    sr: &'static str,
    se: &'static str,
    signature: &'static str,
}

fn vectors() -> Vec<Vector> {
    let rows = TOKENS.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let [case, kind, key, sr, se, signature] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let key = match kind {
            "base64" => SharedKey::from_base64(key).unwrap(),
            "text" => SharedKey::from_text(key).unwrap(),
            other => panic!("unknown kind of key: {other}"),
        };
        Vector {
            case,
            key,
            sr,
            se,
            signature,
        }
    })
    .collect()
}

fn vector(case: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.case == case).unwrap()
}

#[test]
fn every_vector_verifies_at_its_last_second() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 16);
    for Vector {
        case,
        key,
        sr,
        se,
        signature,
    } in vectors
    {
        let token = format!("SharedAccessSignature sr={sr}&sig={signature}&se={se}");
        let token = SasToken::parse(&token).unwrap();
        assert_eq!(token.raw_resource(), sr, "case {case}");
        assert_eq!(
            token.verify(&key, None, token.expires_at()),
            Ok(()),
            "case {case}"
        );
    }
}

#[test]
fn each_spelling_signs_the_special_id_as_its_sdk_does() {
    let resource = format!("myhub.azure-devices.net/devices/{SPECIAL_ID}");
    let pairs = [
        ("8b", Spelling::Double),
        ("8c", Spelling::SlashesRaw),
        ("8d", Spelling::Raw),
        ("8e", Spelling::Escaped),
    ];
    for (case, spelling) in pairs {
        signs(case, spelling, &resource);
    }
}

#[test]
fn the_special_id_is_covered_in_every_spelling() {
    for case in ["8a", "8b", "8c", "8d", "8e"] {
        let Vector { sr, signature, .. } = vector(case);
        let token = SasToken::parse(&format!("SharedAccessSignature sr={sr}&sig={signature}&se=1")).unwrap();
        assert!(
            token.covers(&format!("MyHub.azure-devices.net/devices/{SPECIAL_ID}")),
            "case {case}"
        );
    }
}

#[test]
fn the_default_spelling_signs_devices_modules_policies_event_hubs_and_registrations() {
    let rows = [
        ("1", "myhub.azure-devices.net/devices/device1"),
        ("3", "tcontehub.azure-devices.net/devices/myFirstDevice"),
        ("5", "myhub.azure-devices.net/devices/device1/modules/temp-sensor"),
        ("6", "myhub.azure-devices.net"),
        ("7", "myhub.azure-devices.net/devices/device1"),
        ("9", "myhub.azure-devices.net/devices/device1"),
        ("10", "sb://iothub-ns-x-1-abc.servicebus.windows.net/myhub"),
        ("10t", "sb://iothub-ns-x-1-abc.servicebus.windows.net/myhub"),
        (
            "dps",
            "0ne00000000/registrations/sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6",
        ),
    ];
    for (case, resource) in rows {
        signs(case, Spelling::default(), resource);
    }
}

#[test]
fn the_raw_spelling_signs_a_plain_device() {
    signs("4", Spelling::Raw, "myhub.azure-devices.net/devices/device1");
}

/// Asserts that signing `resource` gives the `sr` and the signature of the vector.
fn signs(case: &str, spelling: Spelling, resource: &str) {
    let Vector {
        key,
        sr,
        se,
        signature,
        ..
    } = vector(case);
    let token = Signer::new(key)
        .spelling(spelling)
        .sign(resource, UnixTime::from_secs(se.parse().unwrap()));
    assert_eq!(token.raw_resource(), sr, "case {case}");
    let raw = token
        .expose()
        .split('&')
        .find_map(|field| field.split("sig=").nth(1))
        .unwrap();
    let raw = raw.replace("%2b", "+").replace("%2f", "/").replace("%3d", "=");
    assert_eq!(
        raw.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="),
        signature,
        "case {case}"
    );
}

/// The finished tokens of the SDKs: Node and Python (case 1, 6), C (case 4).
#[test]
fn finished_tokens_are_those_of_the_sdks() {
    let device = "myhub.azure-devices.net/devices/device1";
    let expires = UnixTime::from_secs(1_700_000_000);
    let node = Signer::new(vector("1").key).sign(device, expires);
    assert_eq!(
        node.expose(),
        "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdevice1&sig=gFSfLGMXDOvf906%2FiaX3KwzLLNFHgaFZyCbsGjxtd1Y%3D&se=1700000000"
    );
    let c = Signer::new(vector("4").key)
        .spelling(Spelling::Raw)
        .sign(device, expires);
    assert_eq!(
        c.expose(),
        "SharedAccessSignature sr=myhub.azure-devices.net/devices/device1&sig=NlrxHOPrp0Ykah29gS5LOHFu7Y%2fi4fWSpV%2f%2fMjSnuQ8%3d&se=1700000000"
    );
    let service = Signer::new(vector("6").key)
        .policy("service")
        .sign("myhub.azure-devices.net", expires);
    assert_eq!(
        service.expose(),
        "SharedAccessSignature sr=myhub.azure-devices.net&sig=YrfA3CSdpfDN87RsrtYXRdUnO2IauwNumipnsM0NoqQ%3D&skn=service&se=1700000000"
    );
    // Python leaves the slash in `sig` raw: read, though not written by us.
    let python = SasToken::parse(
        "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdevice1&sig=gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1Y%3D&se=1700000000",
    );
    assert_eq!(python.unwrap().verify(&vector("1").key, None, expires), Ok(()));
}
