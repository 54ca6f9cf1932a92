//! Goal: no secret is in any output at any level of `-v`, but where it is the very thing asked for.
//! Method: a canary: a key and tokens that are easy to recognise, through successes and failures of every command, and a
//! search of all that was written for them in every spelling that a careless line would have.

use iothub_address::Scheme;
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime};
use iothub_tests::scripted::{Step, accept_and_play, listen};
use tokio::runtime::Runtime;

use super::harness::{Cli, FAR, Hub, Ran, emulator_run, iothub};

/// Bytes that read `Canary-0123456789-Canary-abcdef!`.
const BYTES: &[u8; 32] = b"Canary-0123456789-Canary-abcdef!";
const LEVELS: [&[&str]; 4] = [&[], &["-v"], &["-vv"], &["-vvv"]];

fn key() -> SharedKey {
    SharedKey::from_bytes(BYTES).unwrap()
}

fn token(expires: UnixTime) -> SasToken {
    Signer::new(key()).sign("myhub.azure-devices.net/devices/dev", expires)
}

/// What must not be seen: the key as base64 and as bytes in several ways, and the signatures' longest pieces that no
/// escaping changes.
fn canaries() -> Vec<String> {
    let key = key().to_base64().expose().trim_end_matches('=').to_owned();
    let hex: String = BYTES.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut canaries = vec![
        key[..16].to_owned(),
        "Canary-0123".to_owned(),
        "67, 97, 110".to_owned(),
        hex[..16].to_owned(),
    ];
    for expires in [FAR, UnixTime::from_secs(1)] {
        let token = token(expires);
        let signature = token
            .expose()
            .split("sig=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap()
            .to_owned();
        let pieces = signature
            .split('%')
            .map(|piece| piece.trim_start_matches("2F").trim_start_matches("2B"));
        let longest = pieces.max_by_key(|piece| piece.len()).unwrap();
        assert!(longest.len() >= 6, "{longest}");
        canaries.push(longest.to_owned());
    }
    canaries
}

#[track_caller]
fn expect_none_in(text: &str) {
    for canary in canaries() {
        assert!(!text.contains(&canary), "{canary} in {text}");
    }
}

/// Runs it at every level and looks through all that it wrote.
fn expect_silence(code: i32, cli: impl Fn() -> Cli) {
    for level in LEVELS {
        let cli = level.iter().fold(cli(), |cli, flag| cli.arg(flag));
        let ran = cli
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .run()
            .expect_code(code);
        expect_none_in(&format!("{ran:?}"));
        expect_none_in(&ran.stdout);
        expect_none_in(&ran.stderr);
    }
}

fn key_text() -> String {
    key().to_base64().expose().to_owned()
}

fn address(scheme: Scheme, host: &str, port: u16, expires: UnixTime) -> String {
    super::harness::url_with(scheme, host, port, "dev", &token(expires))
}

fn send() -> Cli {
    iothub(["device", "send", "a"])
}

fn send_as(text: impl AsRef<std::ffi::OsStr>) -> Cli {
    send().env("IOTHUB_DEVICE_CONNECTION_STRING", text)
}

/// So that the search is known to find what it looks for.
#[test]
fn the_search_finds_a_key_and_a_token_where_they_are_what_was_asked_for() {
    let found = |ran: Ran| canaries().iter().any(|canary| ran.stdout.contains(canary));
    let at = FAR.to_string();
    let sign = iothub([
        "sas",
        "sign",
        "--hub",
        "myhub",
        "--device",
        "dev",
        "--key-env",
        "KEY",
        "--expires-at",
        &at,
    ]);
    assert!(found(sign.env("KEY", key_text()).run()));
    let url = address(Scheme::Amqps, "localhost", 1, FAR);
    assert!(found(iothub(["address", "parse", "--show-secrets", &url]).run()));
}

#[test]
fn sending_shows_none() {
    let hub = Hub::with_key(key());
    let string = || hub.connection_string_of("dev", &key_text());
    expect_silence(0, || send_as(string()).env("IOTHUB_CA_FILE", hub.ca()));
    let (tls, plain) = (
        hub.emulator.amqps_address().port(),
        hub.emulator.amqp_address().unwrap().port(),
    );
    let url = || address(Scheme::Amqps, "localhost", tls, FAR);
    expect_silence(0, || {
        send().env("IOTHUB_CA_FILE", hub.ca()).file("--url-file", url())
    });
    let url = || address(Scheme::Amqp, "127.0.0.1", plain, FAR);
    expect_silence(0, || send().file("--url-file", url()));
    expect_silence(0, || iothub(["device", "send", "--local", "a"]));
}

#[test]
fn being_refused_shows_none() {
    let (other, own) = (Hub::start(), Hub::with_key(key()));
    let string = || other.connection_string_of("dev", &key_text());
    expect_silence(4, || send_as(string()).env("IOTHUB_CA_FILE", other.ca()));
    let unknown = || own.connection_string_of("stranger", &key_text());
    expect_silence(5, || send_as(unknown()).env("IOTHUB_CA_FILE", own.ca()));
    let port = own.emulator.amqps_address().port();
    let expired = || address(Scheme::Amqps, "localhost", port, UnixTime::from_secs(1));
    expect_silence(4, || {
        send()
            .env("IOTHUB_CA_FILE", own.ca())
            .file("--url-file", expired())
    });
}

#[test]
fn a_peer_that_can_not_be_trusted_or_says_nothing_gets_none_and_shows_none() {
    let hub = Hub::with_key(key());
    let string = || hub.connection_string_of("dev", &key_text());
    expect_silence(3, || send_as(string()));
    for last in [Step::SaslHeader, Step::SaslInit, Step::Transfer] {
        let runtime = Runtime::new().unwrap();
        let (listener, address_of_hub) = runtime.block_on(listen()).unwrap();
        runtime.spawn(async move {
            let mut silent = Vec::new();
            loop {
                // One that gave up before it came so far is as good.
                silent.push(accept_and_play(&listener, last).await);
            }
        });
        let url = || address(Scheme::Amqp, "127.0.0.1", address_of_hub.port(), FAR);
        expect_silence(8, || {
            send().arg("--timeout").arg("300ms").file("--url-file", url())
        });
    }
}

#[test]
fn what_is_malformed_is_not_repeated() {
    let key = key_text();
    for text in [
        key.clone(),
        token(FAR).expose().to_owned(),
        format!("HostName=localhost;DeviceId=dev;SharedAccessKey={key};SharedAccessKey={key}"),
        format!("HostName=localhost;DeviceId=dev;SharedAccessKey=a;{key}"),
        format!("HostName=localhost;DeviceId=dev;SharedAccessKey={}", &key[1..]),
        format!("HostName=localhost;DeviceId=dev;SharedAccessKey={key}{key}"),
        format!("HostName=localhost;DeviceId=dev;sharedaccesskey={key}"),
        format!("HostName=localhost;DeviceId=dev;{key}=1"),
        format!("HostName={key};DeviceId=dev;SharedAccessKey={key}"),
        format!("HostName=localhost;DeviceId=dev;SharedAccessSignature={key}"),
    ] {
        expect_silence(2, || send_as(&text));
        expect_silence(2, || iothub(["address", "convert", "--to", "url", &text]));
    }
    let url = address(Scheme::Amqps, "localhost", 1, FAR);
    for text in [
        url.replace("amqps", "https"),
        url.replace("sas.", ""),
        url.replace("/devices", " /devices"),
        url.replace("events", "devicebound"),
        url.replace("%26se%3D", "%"),
        url.replace("localhost:1", "localhost:x"),
        format!(
            "amqps://dev@sas.myhub:{}@localhost/devices/dev/messages/events\n\n",
            token(FAR).expose()
        ),
    ] {
        expect_silence(2, || send().file("--url-file", &text));
    }
}

#[test]
fn misuse_of_the_command_line_does_not_repeat_what_may_be_secret() {
    let (key, token) = (key_text(), token(FAR));
    let url = address(Scheme::Amqps, "localhost", 1, FAR);
    // Without its quotes a shell makes two words of a token.
    let (first, second) = token.expose().split_once(' ').unwrap();
    for args in [
        vec!["sas", "decode", first, second],
        vec!["sas", "verify", first, second, "--key-env", "KEY"],
        vec!["sas", "decode", &key],
        vec!["sas", "verify", token.expose(), "--key-env", "NO_SUCH"],
        vec!["address", "parse", &url, &url],
        vec!["address", "explain", &key],
        vec!["address", "convert", "--to", "url", &url, &url],
        vec!["emulator", "run", "--device", &key],
        vec!["emulator", "run", "--policy", &key],
    ] {
        expect_silence(2, || iothub(args.iter().copied()).env("KEY", &key));
    }
    let wrong = format!("dev={}", &key[4..]);
    expect_silence(2, || {
        iothub(["emulator", "run", "--device", &format!("{wrong}x")])
    });
    expect_silence(2, || {
        iothub(["emulator", "run", "--policy", &format!("service={}", &key[1..])])
    });
    let string = format!("HostName=localhost;DeviceId=dev;SharedAccessKey={key}");
    for args in [
        vec!["device", "listen", &string],
        vec!["registry", "list", &string, "-o", "json"],
        vec![&string],
    ] {
        expect_silence(2, || iothub(args.iter().copied()));
    }
    for flag in ["--connection-string", "--key", "--url", "--token"] {
        expect_silence(2, || send().arg(format!("{flag}={key}")));
    }
}

#[test]
fn taking_apart_shows_none_unless_asked() {
    let (key, token) = (key_text(), token(FAR));
    let url = address(Scheme::Amqps, "localhost", 1, FAR);
    let string = format!("HostName=localhost;DeviceId=dev;SharedAccessKey={key}");
    for args in [
        vec!["address", "parse", &url],
        vec!["address", "explain", &url],
        vec!["address", "convert", "--to", "json", &url],
        vec!["address", "convert", "--to", "json", &string],
        vec!["sas", "decode", token.expose()],
        vec!["sas", "decode", "-o", "text", token.expose()],
        vec!["sas", "verify", "--key-env", "KEY", token.expose()],
    ] {
        expect_silence(0, || iothub(args.iter().copied()).env("KEY", &key));
    }
    for args in [
        vec!["sas", "verify", "--key-env", "OTHER", token.expose()],
        vec![
            "sas",
            "verify",
            "--key-env",
            "KEY",
            "--now",
            "5000000000",
            token.expose(),
        ],
    ] {
        expect_silence(4, || {
            iothub(args.iter().copied())
                .env("KEY", &key)
                .env("OTHER", super::harness::KEY)
        });
    }
}

/// The hub prints keys on standard output, since that is its purpose; on standard error it does not.
#[cfg(unix)]
#[test]
fn a_hub_logs_none() {
    let device = format!("dev={}", key_text());
    let other = format!("other={}", super::harness::KEY);
    let mut hub = emulator_run(["-vvv", "--device", &device, "--device", &other])
        .env("RUST_LOG", "trace")
        .start();
    let ready = hub.json();
    let ca = ready["ca"].as_str().unwrap();
    send_as(ready["devices"]["dev"].as_str().unwrap())
        .env("IOTHUB_CA_FILE", ca)
        .run()
        .expect_code(0);
    let port = ready["amqps_port"].as_u64().unwrap();
    let wrong = format!(
        "HostName=localhost:{port};DeviceId=other;SharedAccessKey={}",
        key_text()
    );
    send_as(wrong).env("IOTHUB_CA_FILE", ca).run().expect_code(4);
    hub.signal("TERM");
    let rest = hub.end().expect_code(0);
    assert!(
        rest.stderr.contains("INFO") && rest.stderr.contains("refused"),
        "{rest:?}"
    );
    expect_none_in(&rest.stderr);
}
