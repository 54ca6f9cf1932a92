//! Goal: `doctor` says at which step a device's way to the hub ends, and what to do; nothing shows a secret.
//! Method: the emulator, and worlds where one thing is wrong, each step's line as JSON.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use iothub_emulator::{Emulator, Keys, Value as Amqp};
use iothub_tests::proxy::TestProxy;
use rustls_pki_types::PrivateKeyDer;
use tokio::runtime::Runtime;

use super::harness::{Cli, FAR, KEY, Ran, iothub, key, url};

struct World {
    runtime: Runtime,
    emulator: Emulator,
}

impl World {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let builder = Emulator::builder()
            .hub("myhub".parse().unwrap())
            .amqps_port(0)
            .https_port(0)
            .device("dev".parse().unwrap(), Keys::new(key(), key()));
        let emulator = runtime.block_on(builder.start()).unwrap();
        Self { runtime, emulator }
    }

    fn string(&self, key: &str) -> String {
        let port = self.emulator.amqps_address().port();
        format!("HostName=localhost:{port};DeviceId=dev;SharedAccessKey={key}")
    }

    /// With all that it needs.
    fn doctor(&self) -> Cli {
        self.doctor_as("json")
    }

    fn doctor_as(&self, format: &str) -> Cli {
        self.untrusting_as(format)
            .file("--ca", self.emulator.root_certificate_pem())
    }

    fn untrusting(&self) -> Cli {
        self.untrusting_as("json")
    }

    fn untrusting_as(&self, format: &str) -> Cli {
        let https = self.emulator.https_address().unwrap().port().to_string();
        iothub(["doctor", "-o", format, "--https-port", &https])
            .env("IOTHUB_DEVICE_CONNECTION_STRING", self.string(KEY))
    }
}

/// Step and status of each line.
fn steps(ran: &Ran) -> Vec<(String, String)> {
    assert!(!format!("{ran:?}").contains(&KEY[..12]), "{ran:?}");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let lines = ran.json();
    lines
        .iter()
        .map(|line| (text(&line["step"]), text(&line["status"])))
        .collect()
}

fn expect_steps(ran: &Ran, expected: &str) {
    let expected: Vec<_> = expected
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(step, status)| (step.to_owned(), status.to_owned()))
        .collect();
    assert_eq!(steps(ran), expected, "{ran:?}");
}

/// What stands on the line of the step that failed: what was found, and what to do.
fn failed(ran: &Ran) -> (String, String) {
    let lines = ran.json();
    let line = lines.iter().find(|line| line["status"] == "fail").unwrap();
    ["found", "next"]
        .map(|field| line[field].as_str().unwrap().to_owned())
        .into()
}

#[test]
fn a_device_that_gets_through_has_every_step_and_one_message_at_the_hub() {
    let world = World::new();
    let ran = world.doctor().run().expect_code(0);
    let all = "credential=ok clock=ok dns=ok tcp=ok tcp=ok tls=ok sign-in=ok link=ok message=ok seen=skip";
    expect_steps(&ran, all);
    let events = world.emulator.journal().snapshot();
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0].message.property("iothub-doctor"),
        Some(&Amqp::from("true"))
    );
    let quiet = world.doctor().arg("--no-send").run().expect_code(0);
    assert_eq!(steps(&quiet)[8], ("message".to_owned(), "skip".to_owned()));
    assert_eq!(world.emulator.journal().snapshot().len(), 1);
}

#[test]
fn its_steps_are_rows_of_csv_too() {
    let world = World::new();
    let csv = world
        .doctor_as("csv")
        .arg("--no-send")
        .run()
        .expect_code(0)
        .stdout;
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 11, "{csv}");
    assert_eq!(lines[0], "step,status,found,next,ms");
    assert!(lines[1].starts_with("credential,ok,"), "{csv}");
    assert!(lines[9].starts_with("message,skip,--no-send,,"), "{csv}");
}

#[test]
fn a_websocket_needs_the_https_port_alone() {
    let world = World::new();
    let https = world.emulator.https_address().unwrap().port().to_string();
    let string = format!("HostName=localhost;DeviceId=dev;SharedAccessKey={KEY}");
    let ran = iothub(["doctor", "-o", "json", "--transport", "ws", "--port", &https])
        .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
        .file("--ca", world.emulator.root_certificate_pem())
        .run()
        .expect_code(0);
    let steps = steps(&ran);
    assert_eq!(
        steps[4..].iter().filter(|(_, status)| status == "ok").count(),
        5,
        "{steps:?}"
    );
}

#[test]
fn a_wrong_key_fails_the_sign_in_and_what_comes_behind_is_left_out() {
    let world = World::new();
    let wrong = world.string(&KEY.replace('A', "B"));
    let ran = world
        .doctor()
        .env("IOTHUB_DEVICE_CONNECTION_STRING", wrong)
        .run()
        .expect_code(4);
    expect_steps(
        &ran,
        "credential=ok clock=ok dns=ok tcp=ok tcp=ok tls=ok sign-in=fail link=skip message=skip seen=skip",
    );
    assert!(failed(&ran).1.contains("check the key"), "{ran:?}");
}

#[test]
fn a_token_that_has_ended_is_told_before_anything_is_asked() {
    let world = World::new();
    let port = world.emulator.amqps_address().port();
    let at = |end| url(iothub_address::Scheme::Amqps, "localhost", port, "dev", end);
    let run = |address: String| {
        let cli = iothub(["doctor", "-o", "json"]).file("--ca", world.emulator.root_certificate_pem());
        cli.file("--url-file", address).run()
    };
    let ended = run(at(iothub_sas::UnixTime::from_secs(1_700_000_000))).expect_code(4);
    let (found, next) = failed(&ended);
    assert!(found.ends_with("has ended at 2023-11-14 22:13:20 UTC"), "{found}");
    assert_eq!(next, "make a new one with 'iothub sas sign'");
    // It is tried all the same: a clock may be wrong.
    let signed_in = steps(&ended)
        .into_iter()
        .find(|(step, _)| step == "sign-in")
        .unwrap();
    assert_eq!(signed_in.1, "fail");
    let good = run(at(FAR));
    assert_eq!(steps(&good)[0].1, "ok");
}

#[test]
fn a_server_that_is_not_trusted_a_port_that_is_closed_and_a_name_that_is_none_are_told() {
    let world = World::new();
    let rest = "sign-in=skip link=skip message=skip seen=skip";
    let untrusted = world.untrusting().run().expect_code(3);
    expect_steps(
        &untrusted,
        &format!("credential=ok clock=skip dns=ok tcp=ok tcp=ok tls=fail {rest}"),
    );
    assert!(failed(&untrusted).1.contains("--ca FILE"), "{untrusted:?}");

    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let string = format!("HostName=localhost:{free};DeviceId=dev;SharedAccessKey={KEY}");
    let closed = world
        .doctor()
        .env("IOTHUB_DEVICE_CONNECTION_STRING", &string)
        .run()
        .expect_code(3);
    expect_steps(
        &closed,
        &format!("credential=ok clock=ok dns=ok tcp=fail tcp=ok tls=skip {rest}"),
    );
    assert!(
        failed(&closed).0.starts_with(&format!("port {free} is not open")),
        "{closed:?}"
    );
    assert!(failed(&closed).1.contains("--transport ws"), "{closed:?}");

    let nowhere = string.replace(&format!("localhost:{free}"), "no-such-hub.invalid");
    let nowhere = world
        .doctor()
        .env("IOTHUB_DEVICE_CONNECTION_STRING", nowhere)
        .run()
        .expect_code(3);
    expect_steps(&nowhere, &format!("credential=ok clock=skip dns=fail {rest}"));
}

#[test]
fn without_a_credential_there_is_nothing_to_look_at() {
    let ran = iothub(["doctor", "-o", "json"]).run().expect_code(2);
    expect_steps(&ran, "credential=fail");
    assert!(
        failed(&ran).1.contains("IOTHUB_DEVICE_CONNECTION_STRING"),
        "{ran:?}"
    );
    let text = iothub(["doctor"]).run().expect_code(2).stdout;
    assert!(
        text.starts_with("fail  credential  no credential\n                  -> give "),
        "{text}"
    );
}

#[test]
fn through_a_proxy_signing_in_is_what_tells() {
    let world = World::new();
    let proxy = world.runtime.block_on(TestProxy::start(None));
    let address = format!("http://{}", proxy.address);
    let ran = world.doctor().args(["--proxy", &address]).run().expect_code(0);
    expect_steps(
        &ran,
        "credential=ok clock=skip dns=skip tcp=skip tls=skip sign-in=ok link=ok message=ok seen=skip",
    );
}

/// A server whose clock is an hour ahead: what it answers with, once, over TLS.
#[test]
fn a_clock_that_differs_is_a_warning() {
    let world = World::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca = format!("{}{}", world.emulator.root_certificate_pem(), made.cert.pem());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let ahead = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let date = ahead
        .format(&time::format_description::well_known::Rfc2822)
        .unwrap();
    let date = date.replace("+0000", "GMT");
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        let answer = format!("HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let ran = iothub(["doctor", "-o", "json", "--no-send", "--https-port", &port])
        .env("IOTHUB_DEVICE_CONNECTION_STRING", world.string(KEY))
        .file("--ca", ca)
        .run()
        .expect_code(0);
    server.join().unwrap();
    let line = &ran.json()[1];
    assert_eq!(
        (&line["step"], &line["status"]),
        (&"clock".into(), &"warn".into()),
        "{ran:?}"
    );
    let found = line["found"].as_str().unwrap();
    let seconds: u64 = found.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!(
        found.ends_with("s behind the server's") && (3590..=3610).contains(&seconds),
        "{found}"
    );
}
