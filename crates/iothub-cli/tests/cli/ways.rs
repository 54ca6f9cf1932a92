//! Goal: `device send` goes by the way that it is told, at the pace that it is told, and shows nothing of a proxy's or a
//! certificate's secrets. Method: the binary against the emulator in the test's own process.

use std::time::Duration;

use iothub_address::{ConnectionString, DeviceId, HubHost, Identity};
use iothub_emulator::{Authentication, Emulator, Keys, Thumbprint, Thumbprints};
use iothub_tests::proxy::TestProxy;
use rcgen::{CertificateParams, KeyPair};
use tokio::runtime::Runtime;

use super::harness::{Cli, KEY, iothub, key};

/// A hub with an HTTPS port, device `dev` by key, and device `certified` by certificate.
struct Hub {
    runtime: Runtime,
    emulator: Emulator,
    certificate: String,
    certificate_key: String,
}

impl Hub {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["certified".to_owned()]).unwrap();
        let certificate = params.self_signed(&pair).unwrap();
        let thumbprints = Thumbprints::new(Thumbprint::sha256(certificate.der()), None);
        let builder = Emulator::builder()
            .amqps_port(0)
            .https_port(0)
            .device(DeviceId::parse("dev").unwrap(), Keys::new(key(), key()))
            .device(
                DeviceId::parse("certified").unwrap(),
                Authentication::from(thumbprints),
            );
        let emulator = runtime.block_on(builder.start()).unwrap();
        Self {
            runtime,
            emulator,
            certificate: certificate.pem(),
            certificate_key: pair.serialize_pem(),
        }
    }

    fn send(&self, device: &str, args: &[&str]) -> Cli {
        let identity = Identity::Device(DeviceId::parse(device).unwrap());
        let string = ConnectionString::builder(HubHost::parse("localhost").unwrap())
            .port(self.emulator.amqps_address().port())
            .identity(identity);
        let string = match device {
            "dev" => string.key(KEY.into()),
            _ => string.x509(),
        };
        iothub(["device", "send"].into_iter().chain(args.iter().copied()))
            .env(
                "IOTHUB_DEVICE_CONNECTION_STRING",
                string.build().unwrap().expose(),
            )
            .file("--ca", self.emulator.root_certificate_pem())
    }

    fn https(&self) -> String {
        self.emulator.https_address().unwrap().port().to_string()
    }

    fn received(&self) -> usize {
        self.emulator.journal().snapshot().len()
    }
}

#[test]
fn messages_go_over_a_websocket_and_by_each_way_to_sign_in() {
    let hub = Hub::start();
    let https = hub.https();
    let ws = ["--transport", "ws", "--port", &https, "a"];
    hub.send("dev", &ws).run().expect_code(0);
    for auth in ["plain", "cbs"] {
        let ran = hub.send("dev", &["--auth", auth, "a"]).run();
        ran.expect_code(0);
        hub.send("dev", &ws).arg("--auth").arg(auth).run().expect_code(0);
    }
    for args in [&["a"][..], &ws, &["--auth", "x509", "a"]] {
        hub.send("certified", args)
            .file("--cert", &hub.certificate)
            .file("--cert-key", &hub.certificate_key)
            .run()
            .expect_code(0);
    }
    assert_eq!(hub.received(), 8);
}

#[test]
fn the_local_hub_is_reached_by_either_transport_and_by_no_detour() {
    for args in [
        &["--transport", "ws"][..],
        &["--transport", "amqp"],
        &["--transport", "ws", "--auth", "cbs"],
    ] {
        let ran = iothub(
            ["device", "send", "--local", "a"]
                .into_iter()
                .chain(args.iter().copied()),
        )
        .arg("-v")
        .run()
        .expect_code(0);
        assert!(ran.stdout.contains("received "), "{ran:?}");
    }
    for (flag, value) in [
        ("--proxy", "none"),
        ("--gateway", "localhost"),
        ("--port", "5671"),
    ] {
        let ran = iothub(["device", "send", "--local", "a", flag, value]).run();
        ran.expect_error(2, &["--local", flag]);
    }
}

#[test]
fn a_certificate_that_can_not_be_used_is_a_usage_error_that_shows_nothing_of_the_key() {
    let hub = Hub::start();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let line = |pem: &str| pem.lines().nth(2).unwrap().to_owned();
    let ran = hub
        .send("certified", &["-vvv", "a"])
        .file("--cert", &hub.certificate)
        .file("--cert-key", &other)
        .run()
        .expect_code(2);
    assert!(ran.stderr.contains("does not belong"), "{ran:?}");
    assert!(!ran.stderr.contains(&line(&other)), "{ran:?}");
    let ran = hub
        .send("certified", &["-vvv", "a"])
        .file("--cert", &hub.certificate)
        .file("--cert-key", &hub.certificate_key)
        .run()
        .expect_code(0);
    assert!(!ran.stderr.contains(&line(&hub.certificate_key)), "{ran:?}");
    hub.send("certified", &["a"])
        .run()
        .expect_error(2, &["certificate", "--cert"]);
    hub.send("dev", &["--auth", "x509", "a"])
        .run()
        .expect_error(2, &["--cert"]);
    hub.send("dev", &["--auth", "cbs", "a"])
        .file("--cert", &hub.certificate)
        .file("--cert-key", &hub.certificate_key)
        .run()
        .expect_error(2, &["--auth"]);
}

#[test]
fn a_proxy_is_gone_through_and_its_password_is_never_shown() {
    let hub = Hub::start();
    // RFC 7617 §2.
    let proxy = TestProxy::start(Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    let proxy = hub.runtime.block_on(proxy);
    let url = |password: &str| format!("http://Aladdin:{password}@{}", proxy.address);
    let silent = |ran: super::harness::Ran| {
        let all = format!("{}{}", ran.stdout, ran.stderr);
        for canary in ["sesame", "canary", "QWxhZGRpbj"] {
            assert!(!all.contains(canary), "{all}");
        }
    };
    for level in ["-v", "-vvv"] {
        let right = url("open%20sesame");
        let ran = hub.send("dev", &[level, "--proxy", &right, "a"]).run();
        silent(ran.expect_code(0));
        let ran = hub.send("dev", &[level, "--proxy", &url("canary"), "a"]).run();
        silent(ran.expect_code(4));
        for wrong in ["https://u:canary@p", "http://u:canary@-", "http://u:canary@p:x"] {
            silent(
                hub.send("dev", &[level, "--proxy", wrong, "a"])
                    .run()
                    .expect_code(2),
            );
            let env = hub.send("dev", &[level, "a"]).env("HTTPS_PROXY", wrong);
            silent(env.run().expect_code(2));
        }
    }
    assert_eq!(proxy.asked().len(), 4);
    // The environment's is not for this machine, and none is asked for at all.
    hub.send("dev", &["a"])
        .env("HTTPS_PROXY", url("canary"))
        .run()
        .expect_code(0);
    hub.send("dev", &["--proxy", "none", "a"])
        .env("HTTPS_PROXY", "p")
        .run()
        .expect_code(0);
    assert_eq!(proxy.asked().len(), 4);
}

#[test]
fn a_count_repeats_the_bodies_in_turn_in_batches_too() {
    let hub = Hub::start();
    hub.send("dev", &["--count", "5", "a", "b"]).run().expect_code(0);
    let bodies: Vec<_> = hub
        .emulator
        .journal()
        .snapshot()
        .iter()
        .map(|event| match &event.message.body {
            iothub_emulator::Body::Data(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, [b"a", b"b", b"a", b"b", b"a"]);
    let ran = hub
        .send("dev", &["--count", "3000", "--batch", "c"])
        .run()
        .expect_code(0);
    assert_eq!(
        ran.stdout
            .lines()
            .filter(|line| line.starts_with("accepted"))
            .count(),
        3000
    );
    assert_eq!(hub.received(), 3005);
    for (args, word) in [
        (&["--count", "0", "a"][..], "--count"),
        (&["--count", "2", "--jsonl", "x"], "--jsonl"),
        (&["--rate", "0/s", "a"], "--rate"),
        (&["--rate", "1/s", "--interval", "1s", "a"], "--interval"),
    ] {
        let ran = hub.send("dev", args).run().expect_code(2);
        assert!(ran.stderr.contains(word), "{ran:?}");
    }
}

/// Only from below: a machine under load may take longer.
#[test]
fn a_rate_and_an_interval_take_their_time() {
    let hub = Hub::start();
    for pace in [["--rate", "10/s"], ["--interval", "100ms"]] {
        let ran = hub
            .send("dev", &[pace[0], pace[1], "--count", "6", "a"])
            .run()
            .expect_code(0);
        assert!(ran.took >= Duration::from_millis(500), "{:?}", ran.took);
    }
    assert_eq!(hub.received(), 12);
}

/// `script` (util-linux) gives the command a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_progress_bar_is_for_terminals_alone() {
    use std::process::Command;

    let hub = Hub::start();
    let args = ["--count", "30", "--rate", "20/s", "a"];
    let ran = hub.send("dev", &args).run().expect_code(0);
    assert_eq!(ran.stderr, "");

    let scratch = tempfile::tempdir().unwrap();
    let ca = scratch.path().join("ca.pem");
    std::fs::write(&ca, hub.emulator.root_certificate_pem()).unwrap();
    let port = hub.emulator.amqps_address().port();
    let line = format!(
        "{} device send --ca {} {} >/dev/null",
        env!("CARGO_BIN_EXE_iothub"),
        ca.display(),
        args.join(" ")
    );
    let shown = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            format!("HostName=localhost:{port};DeviceId=dev;SharedAccessKey={KEY}"),
        )
        .env("TERM", "xterm")
        .output()
        .unwrap();
    assert!(shown.status.success(), "{shown:?}");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("/30 messages"), "{shown:?}");
    assert!(!shown.contains(&KEY[..16]), "{shown:?}");
}
