//! Goal: the commands that touch no network keep their contract to the letter.
//! Method: tokens and signatures from outside our code (those that Azure's SDKs write for the key of bytes 00..1f and
//! for the key `policy-key-0123456789abcdef-XYZ!`), run through the binary.

use serde_json::{Value, json};

use super::harness::{KEY, Ran, iothub};

const POLICY_KEY: &str = "cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE=";
const TOKEN: &str = "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdevice1\
                     &sig=gFSfLGMXDOvf906%2FiaX3KwzLLNFHgaFZyCbsGjxtd1Y%3D&se=1700000000";
const URL: &str = "amqps://device1%40sas.myhub:SharedAccessSignature%20sr%3Dmyhub.azure-devices.net%252Fdevices%252F\
                   device1%26sig%3DgFSfLGMXDOvf906%252FiaX3KwzLLNFHgaFZyCbsGjxtd1Y%253D%26se%3D1700000000\
                   @myhub.azure-devices.net/devices/device1/messages/events";
/// The key is made up: the bytes 00 to 1f.
const STRING: &str = "HostName=myhub.azure-devices.net;DeviceId=device1;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn run(args: &[&str]) -> Ran {
    iothub(args.iter().copied())
        .env("KEY", KEY)
        .env("POLICY_KEY", POLICY_KEY)
        .run()
}

fn ok(args: &[&str]) -> String {
    let ran = run(args).expect_code(0);
    assert_eq!(ran.stderr, "");
    ran.stdout
}

#[test]
fn sign_prints_the_token_alone() {
    let sign = [
        "sas",
        "sign",
        "--hub",
        "myhub",
        "--device",
        "device1",
        "--key-env",
        "KEY",
    ];
    let at = ["--expires-at", "1700000000"];
    assert_eq!(ok(&[&sign[..], &at].concat()), format!("{TOKEN}\n"));
    let json = run(&[&sign[..], &at, &["-o", "json"]].concat()).object();
    assert_eq!(json, json!({"token": TOKEN, "expires": 1_700_000_000}));
    let host = [
        "sas",
        "sign",
        "--host",
        "myhub.azure-devices.net",
        "--device",
        "device1",
        "--key-file",
        "-",
    ];
    let ran = iothub([&host[..], &at].concat()).stdin(format!("{KEY}\n")).run();
    assert_eq!(ran.stdout, format!("{TOKEN}\n"));
}

#[test]
fn sign_writes_the_resource_in_four_spellings() {
    let id = "A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p";
    for (spelling, signature) in [
        ("escaped", "X8QdAs13PER5xN/kl58gmrR1iCjjtiB2X3gkjGZdyww="),
        ("double", "6S1rcMbMYEreHj/yh5V7U75Ej3Mmb+E4ft/nH1cyWoY="),
        ("slashes-raw", "1uAp1FJi/N8FN7q7TpcbWqe8ytlGAqOz44kkyZ2s/XU="),
        ("raw", "pGmYQtSqAaSvhDvdJGDY8JwAujRqgLrtlt7unbzJA3A="),
    ] {
        let token = ok(&[
            "sas",
            "sign",
            "--hub",
            "myhub",
            "--device",
            id,
            "--key-env",
            "KEY",
            "--expires-at",
            "1700000000",
            "--spelling",
            spelling,
        ]);
        let token = token.trim_end();
        let escaped = signature
            .replace('/', "%2F")
            .replace('+', "%2B")
            .replace('=', "%3D");
        assert!(
            token
                .to_lowercase()
                .contains(&format!("sig={escaped}").to_lowercase()),
            "{spelling}: {token}"
        );
        let decoded = run(&["sas", "decode", token]).object();
        assert_eq!(decoded["spelling"], spelling);
        ok(&[
            "sas",
            "verify",
            token,
            "--key-env",
            "KEY",
            "--now",
            "1600000000",
            "--hub",
            "myhub",
            "--device",
            id,
        ]);
    }
}

#[test]
fn a_policy_signs_for_the_hub_and_for_its_devices() {
    let policy = [
        "--policy",
        "service",
        "--key-env",
        "POLICY_KEY",
        "--expires-at",
        "1700000000",
    ];
    let token = ok(&[&["sas", "sign", "--hub", "myhub"][..], &policy].concat());
    let signature = "sig=YrfA3CSdpfDN87RsrtYXRdUnO2IauwNumipnsM0NoqQ%3D&skn=service";
    assert!(token.contains(signature), "{token}");
    let ran = run(&["sas", "sign", "--hub", "myhub", "--key-env", "KEY"]).expect_code(2);
    assert!(
        ran.stderr.contains("--device") && ran.stderr.contains("--policy"),
        "{ran:?}"
    );
}

#[test]
fn a_token_holds_for_an_hour_unless_told_otherwise() {
    for (ttl, seconds) in [
        (&[][..], 3600),
        (&["--ttl", "1h"], 3600),
        (&["--ttl", "90s"], 90),
        (&["--ttl", "7d"], 604_800),
    ] {
        let token = ok(&[
            &["sas", "sign", "--hub", "h-1", "--device", "d", "--key-env", "KEY"][..],
            ttl,
        ]
        .concat());
        let left = run(&["sas", "decode", token.trim_end()]).object()["expires_in_s"]
            .as_i64()
            .unwrap();
        // A slow machine may take a while between the two.
        assert!(left <= seconds && left > seconds - 60, "{ttl:?}: {left}");
    }
    run(&[
        "sas",
        "sign",
        "--hub",
        "h-1",
        "--device",
        "d",
        "--key-env",
        "KEY",
        "--ttl",
        "1",
    ])
    .expect_code(2);
}

#[test]
fn decode_gives_a_tokens_parts() {
    let decoded = run(&["sas", "decode", TOKEN]).expect_code(0).object();
    let keys: Vec<_> = decoded.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["resource", "spelling", "expires", "expires_in_s", "policy"]
    );
    assert_eq!(decoded["resource"], "myhub.azure-devices.net/devices/device1");
    assert_eq!(decoded["spelling"], "escaped");
    assert_eq!(decoded["expires"], 1_700_000_000);
    assert!(decoded["expires_in_s"].as_i64().unwrap() < 0);
    assert_eq!(decoded["policy"], Value::Null);
    for args in [&["sas", "decode"][..], &["sas", "decode", "-"]] {
        let ran = iothub(args.iter().copied()).stdin(format!("{TOKEN}\r\n")).run();
        let mut again = ran.object();
        // Time goes on.
        again["expires_in_s"] = decoded["expires_in_s"].clone();
        assert_eq!(again, decoded);
    }
    let text = ok(&["sas", "decode", TOKEN, "-o", "text"]);
    assert!(text.contains("2023-11-14 22:13:20 UTC"), "{text}");
    run(&["sas", "decode", "nonsense"]).expect_error(2, &["token"]);
}

#[test]
fn verify_says_whether_a_token_holds_and_why_not() {
    let verify = |more: &[&str]| run(&[&["sas", "verify", TOKEN, "-o", "json"][..], more].concat());
    let now = ["--now", "1600000000"];
    let key = ["--key-env", "KEY"];
    let other = ["--key-env", "POLICY_KEY"];
    let valid = verify(&[&key[..], &now].concat()).expect_code(0).object();
    assert_eq!(valid, json!({"valid": true, "reasons": []}));

    let codes = |more: &[&str]| -> Vec<String> {
        let verdict = verify(more).expect_code(4).object();
        assert_eq!(verdict["valid"], false);
        let reasons = verdict["reasons"].as_array().unwrap();
        assert!(
            reasons
                .iter()
                .all(|reason| !reason["text"].as_str().unwrap().is_empty())
        );
        reasons
            .iter()
            .map(|reason| reason["code"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(codes(&[&key[..], &["--now", "1700000001"]].concat()), ["expired"]);
    assert_eq!(codes(&[&other[..], &now].concat()), ["wrong_key"]);
    let device2 = ["--hub", "myhub", "--device", "device2"];
    assert!(codes(&[&key[..], &now, &device2].concat()).contains(&"wrong_resource".to_owned()));
    assert_eq!(
        codes(&[&key[..], &now, &["--policy", "service"]].concat()),
        ["wrong_policy"]
    );

    // A hub takes either key.
    verify(&[&other[..], &now, &["--secondary-key-env", "KEY"]].concat()).expect_code(0);
    let text = run(&["sas", "verify", TOKEN, "--key-env", "POLICY_KEY"])
        .expect_code(4)
        .stdout;
    assert_eq!(text.lines().count(), 2, "one line a reason: {text}");
}

#[test]
fn a_key_is_read_from_a_file_without_its_newline() {
    for ending in ["", "\n", "\r\n"] {
        let ran = iothub(["sas", "verify", TOKEN, "--now", "1600000000"])
            .file("--key-file", format!("{KEY}{ending}"));
        ran.run().expect_code(0);
    }
    let two = iothub(["sas", "verify", TOKEN])
        .file("--key-file", format!("{KEY}\n\n"))
        .run();
    two.expect_error(2, &["key-file", "offset 44"]);
    run(&["sas", "verify", TOKEN, "--key-file", "/nowhere/key"]).expect_error(2, &["/nowhere/key"]);
    run(&["sas", "verify", TOKEN, "--key-env", "NOT_SET"]).expect_error(2, &["NOT_SET"]);
    run(&["sas", "verify", "--key-file", "-"]).expect_error(2, &["standard input"]);
}

#[test]
fn build_makes_the_double_at_address() {
    let build = ["address", "build", "--hub", "myhub", "--device", "device1"];
    let key = ["--key-env", "KEY", "--expires-at", "1700000000"];
    assert_eq!(ok(&[&build[..], &key].concat()), format!("{URL}\n"));
    let by_token = iothub(build).file("--sas-file", format!("{TOKEN}\n")).run();
    assert_eq!(by_token.stdout, format!("{URL}\n"));

    let placed = ok(&[
        &build[..],
        &key,
        &["--host", "127.0.0.1", "--port", "5672", "--node", "twin"],
    ]
    .concat());
    assert!(
        placed.ends_with("@127.0.0.1:5672/devices/device1/twin\n"),
        "{placed}"
    );
    let module = ok(&[&build[..], &key, &["--module", "m", "--node", "methods"]].concat());
    assert!(
        module.starts_with("amqps://device1%2Fmodules%2Fm%40sas.myhub:"),
        "{module}"
    );
    assert!(
        module.ends_with("/devices/device1/modules/m/methods/devicebound\n"),
        "{module}"
    );
    let json = run(&[&build[..], &key, &["-o", "json"]].concat()).object();
    assert_eq!(json, json!({"url": URL, "expires": 1_700_000_000}));

    for wrong in [
        &[][..],
        &["--key-env", "KEY", "--policy", "p"],
        &["--key-env", "KEY", "--key-file", "f"],
        &["--key-env", "KEY", "--ttl", "1h", "--expires-at", "1"],
    ] {
        run(&[&build[..], wrong].concat()).expect_code(2);
    }
}

#[test]
fn a_token_for_another_device_is_warned_of() {
    let ran = iothub(["address", "build", "--hub", "myhub", "--device", "other"])
        .file("--sas-file", TOKEN)
        .run();
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.starts_with("warning: "), "{ran:?}");
}

#[test]
fn parse_gives_an_addresss_parts() {
    let parts = |url: &str, more: &[&str]| {
        run(&[&["address", "parse", url][..], more].concat())
            .expect_code(0)
            .object()
    };
    let expected = json!({
        "scheme": "amqps", "user": "device1@sas.myhub", "kind": "device", "device": "device1", "module": null,
        "policy": null, "hub": "myhub", "password": null, "host": "myhub.azure-devices.net", "port": null,
        "node": "events", "path": "/devices/device1/messages/events", "oddities": [],
    });
    assert_eq!(parts(URL, &[]), expected);
    assert_eq!(parts(URL, &["--show-secrets"])["password"], TOKEN);
    let read = iothub(["address", "parse"]).stdin(format!("{URL}\n")).run();
    assert_eq!(read.object(), expected);

    let module = parts(
        "amqps://d/modules/m@sas.h-1:t@127.0.0.1:1234/devices/d/modules/m/methods/devicebound",
        &[],
    );
    assert_eq!(
        (
            &module["kind"],
            &module["device"],
            &module["module"],
            &module["port"],
            &module["node"]
        ),
        (
            &json!("module"),
            &json!("d"),
            &json!("m"),
            &json!(1234),
            &json!("methods")
        )
    );
    let policy = parts(
        "amqps://service@sas.root.myhub:t@myhub.azure-devices.net/messages/devicebound",
        &[],
    );
    assert_eq!(
        (
            &policy["kind"],
            &policy["policy"],
            &policy["device"],
            &policy["node"]
        ),
        (&json!("policy"), &json!("service"), &Value::Null, &json!("other"))
    );
    let bare = parts(
        "amqps://myhub.azure-devices.net/devices/d/messages/devicebound",
        &[],
    );
    assert_eq!(
        (&bare["user"], &bare["kind"], &bare["node"]),
        (&Value::Null, &Value::Null, &json!("commands"))
    );

    // As in the post's prose: a raw user name, and no port behind the colon.
    let post = "amqps://d@sas.h-1:t@h-1.azure-devices.net:/devices/d/messages/events";
    let at = |at: usize| json!([at, at + 1]);
    let oddities = parts(post, &[])["oddities"].clone();
    assert_eq!(
        (&oddities[0]["kind"], &oddities[0]["at"]),
        (&json!("unescaped"), &at(post.find('@').unwrap()))
    );
    assert_eq!(
        (&oddities[1]["kind"], &oddities[1]["at"]),
        (&json!("empty-port"), &at(post.find(":/d").unwrap()))
    );
    assert_eq!(oddities.as_array().unwrap().len(), 2);
    assert!(oddities[0]["text"].as_str().unwrap().contains("user name"));
    run(&["address", "parse", "http://myhub/"]).expect_error(2, &["amqps://"]);
}

#[test]
fn explain_is_for_people_and_hides_the_token() {
    let text = ok(&["address", "explain", URL]);
    for word in [
        "device id",
        "device1",
        "telemetry",
        "5671",
        "--show-secrets",
        "SAS token",
        "read by",
        "Proton",
    ] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert!(!text.contains("gFSf"), "{text}");
    assert!(ok(&["address", "explain", URL, "--show-secrets"]).contains(TOKEN));
}

#[test]
fn convert_goes_both_ways() {
    let at = ["--expires-at", "1700000000"];
    let url = ok(&[&["address", "convert", "--to", "url", STRING][..], &at].concat());
    assert_eq!(url, format!("{URL}\n"));
    let string = ok(&["address", "convert", "--to", "connection-string", URL]);
    let expected =
        format!("HostName=myhub.azure-devices.net;DeviceId=device1;SharedAccessSignature={TOKEN}\n");
    assert_eq!(string, expected);
    let back = iothub(["address", "convert", "--to", "url"]).stdin(string).run();
    assert_eq!(back.stdout, format!("{URL}\n"));
    let json = run(&["address", "convert", "--to", "json", URL]).object();
    assert_eq!(json, run(&["address", "parse", URL]).object());
    let key = run(&["address", "convert", "--to", "json", STRING]).object();
    assert_eq!(
        (&key["device"], &key["password"]),
        (&json!("device1"), &Value::Null)
    );
    run(&["address", "convert", "--to", "url", "HostName=h"]).expect_error(2, &["connection string"]);
    // Legal in an id, and the end of a part of a connection string.
    let semicolon = URL
        .replace("device1%40", "a%3Bb%40")
        .replace("/device1/", "/a%3Bb/");
    run(&["address", "convert", "--to", "connection-string", &semicolon])
        .expect_error(2, &["DeviceId", "';'"]);
}

#[test]
fn help_documents_the_exit_codes_and_every_command_has_an_example() {
    let help = ok(&["--help"]);
    for code in [
        "  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", "  6  ", "  7  ", "  8  ", "  9  ", "130  ",
    ] {
        assert!(help.contains(code), "{code}");
    }
    for command in [
        &["device", "send"][..],
        &["address", "build"],
        &["address", "parse"],
        &["address", "explain"],
        &["address", "convert"],
        &["sas", "sign"],
        &["sas", "decode"],
        &["sas", "verify"],
        &["emulator", "run"],
    ] {
        let help = ok(&[command, &["--help"]].concat());
        assert!(help.contains("Example"), "{command:?}");
    }
    let bare = run(&[]).expect_code(2);
    assert!(
        bare.stdout.is_empty() && bare.stderr.contains("iothub --help"),
        "{bare:?}"
    );
    assert_eq!(
        ok(&["--version"]),
        format!("iothub {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_unexpected() {
    let ran = iothub(["sas", "decode", TOKEN]).stdout_to("/dev/full").run();
    ran.expect_error(1, &["standard output", "No space left"]);
}
