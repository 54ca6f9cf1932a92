//! Goal: `emulator run` is ready when it says so, can be reached with what it prints, and stops cleanly.
//! Method: two processes, the hub and `device send`, with the hub's CA verified.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, SystemTime};

use iothub_address::{ConnectionString, Scheme};
use serde_json::{Value, json};

use super::harness::{Cli, KEY, Ran, iothub, stop, url};

fn run<'a>(more: impl IntoIterator<Item = &'a str>) -> Cli {
    let ports = ["emulator", "run", "--amqps-port", "0", "--https-port", "0"];
    iothub(ports.into_iter().chain(more))
}

fn send(ready: &Value, device: &str, args: &[&str]) -> Ran {
    iothub(["device", "send"].into_iter().chain(args.iter().copied()))
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            ready["devices"][device].as_str().unwrap(),
        )
        .run()
}

#[cfg(unix)]
#[test]
fn a_ready_hub_is_one_object_and_takes_messages_from_another_process() {
    let mut hub = run(["-o", "json"]).start();
    let ready = hub.json();
    let keys: Vec<_> = ready.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "ready",
            "hub",
            "host",
            "amqps_port",
            "amqp_port",
            "https_port",
            "ca",
            "devices",
            "service",
            "events"
        ]
    );
    assert_eq!(
        (&ready["ready"], &ready["hub"], &ready["host"]),
        (&json!(true), &json!("tcontehub"), &json!("localhost"))
    );
    assert_eq!(ready["amqp_port"], Value::Null);
    let port = ready["amqps_port"].as_u64().unwrap();
    for (name, begins, ends) in [
        (
            "service",
            format!("HostName=localhost:{port};SharedAccessKeyName=iothubowner;"),
            "",
        ),
        (
            "events",
            format!("Endpoint=sb://localhost:{port}/;SharedAccessKeyName=service;SharedAccessKey="),
            ";EntityPath=tcontehub",
        ),
    ] {
        let string = ready[name].as_str().unwrap();
        assert!(string.starts_with(&begins) && string.ends_with(ends), "{name}");
    }
    let string = ready["devices"]["myFirstDevice"].as_str().unwrap();
    assert!(
        string.starts_with(&format!(
            "HostName=localhost:{port};DeviceId=myFirstDevice;SharedAccessKey="
        )),
        "{string}"
    );
    assert!(Path::new(ready["ca"].as_str().unwrap()).is_absolute());

    let sent = send(
        &ready,
        "myFirstDevice",
        &["-o", "json", "-p", "k=v", "Hello World!"],
    )
    .expect_code(0);
    assert_eq!(sent.object()["outcome"], "accepted");
    let event = hub.json();
    assert_eq!(
        (&event["device"], &event["body"]),
        (&json!("myFirstDevice"), &json!("Hello World!"))
    );
    assert_eq!(
        (&event["properties"], &event["body_kind"]),
        (&json!({"k": "v"}), &json!("text"))
    );

    let rest = stop(hub);
    assert_eq!((rest.stdout.as_str(), rest.stderr.as_str()), ("", ""));
}

/// The rest of 127.0.0.0/8 is there without being asked for on Linux alone.
#[cfg(target_os = "linux")]
#[test]
fn a_loopback_address_of_its_own_is_what_it_is_reached_by() {
    let mut hub = run(["--listen", "127.0.0.2", "--device", "dev1", "-o", "json"]).start();
    let ready = hub.json();
    assert_eq!(ready["host"], "127.0.0.2");
    for string in [&ready["service"], &ready["devices"]["dev1"]] {
        let string = string.as_str().unwrap();
        assert!(string.starts_with("HostName=127.0.0.2:"), "{string}");
    }
    send(&ready, "dev1", &["hello"]).expect_code(0);
    let events = iothub(["events", "watch", "--since", "start", "-n", "1", "-o", "json"])
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .env(
            "IOTHUB_SERVICE_CONNECTION_STRING",
            ready["service"].as_str().unwrap(),
        )
        .run()
        .expect_code(0);
    assert_eq!(events.object()["body"], "hello");
}

#[cfg(unix)]
#[test]
fn as_text_it_prints_commands_that_work_as_they_stand() {
    let mut hub = run([]).start();
    let mut script = String::new();
    loop {
        let line = hub.line();
        if line.starts_with("Ctrl-C stops it") {
            break;
        }
        if let Some(command) = line.strip_prefix("  export ") {
            script.push_str(&format!("export {command}\n"));
        }
        if line.trim_start().starts_with("iothub device send") {
            script.push_str(&line.replace("iothub", env!("CARGO_BIN_EXE_iothub")));
        }
    }
    let done = std::process::Command::new("sh")
        .args(["-euc", &script])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}\n{script}");
    let line = hub.line();
    assert!(
        line.contains("  myFirstDevice  ") && line.ends_with("Hello World!"),
        "{line}"
    );
    stop(hub);
}

#[cfg(unix)]
#[test]
fn devices_have_the_keys_that_they_are_given_or_new_ones() {
    let given = format!("dev=1={KEY}");
    let mut hub = run([
        "-o", "json", "--hub", "h-1", "--device", &given, "--device", "other's",
    ])
    .start();
    let ready = hub.json();
    let devices: Vec<_> = ready["devices"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(devices, ["dev=1", "other's"]);
    assert_eq!(ready["hub"], "h-1");
    let key = |device: &str| {
        let string = ConnectionString::parse(ready["devices"][device].as_str().unwrap()).unwrap();
        string.key().unwrap().expose().to_owned()
    };
    assert_eq!(key("dev=1"), KEY);
    assert_ne!(key("other's"), KEY);
    for device in ["dev=1", "other's"] {
        send(&ready, device, &["a"]).expect_code(0);
        assert_eq!(hub.json()["device"], device);
    }
    stop(hub);
}

#[cfg(unix)]
#[test]
fn a_policy_that_is_given_may_act_for_devices() {
    let policy = format!("device={KEY}");
    let mut hub = run(["-o", "json", "--policy", &policy]).start();
    let ready = hub.json();
    let string = format!(
        "HostName=localhost:{};DeviceId=myFirstDevice;SharedAccessKeyName=device;SharedAccessKey={KEY}",
        ready["amqps_port"]
    );
    let sent = iothub(["device", "send", "a"])
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
        .run();
    sent.expect_code(0);
    assert_eq!(hub.json()["body"], "a");
    stop(hub);
}

#[cfg(unix)]
#[test]
fn the_ready_object_is_in_the_state_directory_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("new").join("state");
    let mut hub = run(["-o", "json", "--state-dir", directory.to_str().unwrap()]).start();
    let ready = hub.json();
    let file = directory.join("emulator.json");
    assert_eq!(mode(&file), 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut announced: Value = serde_json::from_str(&text).unwrap();
    let token = announced.as_object_mut().unwrap().remove("admin_token");
    assert!(token.is_some_and(|token| token.is_string()));
    assert_eq!(announced, ready);
    assert_eq!(ready["ca"], directory.join("ca.pem").to_str().unwrap());
    assert_eq!(mode(&directory.join("ca.pem")), 0o644);
    let ca = std::fs::read(directory.join("ca.pem")).unwrap();
    stop(hub);
    assert!(!file.exists());

    // The authority stays, so that a developer trusts it once.
    let mut hub = run(["-o", "json", "--state-dir", directory.to_str().unwrap()]).start();
    hub.json();
    assert_eq!(std::fs::read(directory.join("ca.pem")).unwrap(), ca);
    stop(hub);
}

#[cfg(unix)]
#[test]
fn the_runtime_folder_is_private_and_gone_at_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let runtime = tempfile::tempdir().unwrap();
    let start = || {
        let mut hub = run(["-o", "json"]).env("XDG_RUNTIME_DIR", runtime.path()).start();
        let ready = hub.json();
        (hub, ready)
    };
    // Two at once do not disturb each other.
    let ((one, first), (other, second)) = (start(), start());
    let folder = |ready: &Value| {
        Path::new(ready["ca"].as_str().unwrap())
            .parent()
            .unwrap()
            .to_owned()
    };
    for ready in [&first, &second] {
        let folder = folder(ready);
        assert!(folder.starts_with(runtime.path().join("iothub")));
        assert_eq!(
            std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(folder.join("emulator.json").exists());
    }
    stop(one);
    assert!(!folder(&first).exists() && folder(&second).exists());
    send(&second, "myFirstDevice", &["a"]).expect_code(0);
    stop(other);
    assert_eq!(std::fs::read_dir(runtime.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn without_a_runtime_folder_it_uses_the_temporary_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let mut hub = run(["-o", "json"])
        .env("XDG_RUNTIME_DIR", "")
        .env("TMPDIR", temporary.path())
        .start();
    let ready = hub.json();
    assert!(
        ready["ca"]
            .as_str()
            .unwrap()
            .starts_with(temporary.path().to_str().unwrap()),
        "{ready}"
    );
    stop(hub);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_runtime_folder_that_others_can_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let runtime = tempfile::tempdir().unwrap();
    let base = runtime.path().join("iothub");
    std::fs::create_dir(&base).unwrap();
    std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ran = run([]).env("XDG_RUNTIME_DIR", runtime.path()).run();
    ran.expect_error(1, &["others can change", "--state-dir"]);
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_one_line_that_names_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--amqps-port", "--https-port", "--amqp-port"] {
        let free: Vec<_> = ["--amqps-port", "--https-port"]
            .into_iter()
            .filter(|other| *other != flag)
            .collect();
        let mut args = vec!["emulator", "run", flag, &port];
        args.extend(free.into_iter().flat_map(|flag| [flag, "0"]));
        iothub(args).run().expect_error(2, &[flag, &port]);
    }
}

#[cfg(unix)]
#[test]
fn https_falls_back_to_a_free_port_when_nobody_asked_for_443() {
    // With the right to bind it, we take it first; without, the hub has none either. Whoever else has it is as good.
    let _taken = std::net::TcpListener::bind("127.0.0.1:443");
    let mut hub = iothub(["emulator", "run", "--amqps-port", "0", "-o", "json"]).start();
    let ready = hub.json();
    let port = ready["https_port"].as_u64().unwrap();
    assert!(port != 443 && port != 0, "{ready}");
    let rest = stop(hub);
    assert!(rest.stderr.starts_with("warning: port 443 "), "{rest:?}");
    assert!(rest.stderr.contains("--https-port"), "{rest:?}");
    assert_eq!(rest.stderr.lines().count(), 1, "{rest:?}");
}

#[cfg(unix)]
#[test]
fn plain_amqp_is_there_when_asked_for() {
    let mut hub = run(["-o", "json", "--amqp-port", "0"]).start();
    let ready = hub.json();
    let string = ready["devices"]["myFirstDevice"].as_str().unwrap();
    let url = iothub(["address", "convert", "--to", "url", string])
        .run()
        .expect_code(0)
        .stdout;
    let tls = format!("localhost:{}", ready["amqps_port"]);
    let plain = format!("localhost:{}", ready["amqp_port"]);
    let url = url.replace("amqps://", "amqp://").replace(&tls, &plain);
    iothub(["device", "send", "a"])
        .file("--url-file", url)
        .run()
        .expect_code(0);
    assert_eq!(hub.json()["body"], "a");
    stop(hub);
}

#[cfg(unix)]
#[test]
fn a_reader_who_does_not_read_holds_up_neither_the_hub_nor_its_end() {
    let (hub, stdout) = run(["-o", "json"]).start_unread();
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    // Far more than a pipe holds.
    let lines = format!("{}\n", "x".repeat(100_000)).repeat(50);
    let sent = iothub(["device", "send", "--jsonl", "-"])
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            ready["devices"]["myFirstDevice"].as_str().unwrap(),
        )
        .stdin(lines)
        .run();
    sent.expect_code(0);
    let rest = stop(hub);
    assert!(rest.took < Duration::from_secs(20), "{rest:?}");
}

#[cfg(unix)]
#[test]
fn a_hub_whose_output_nobody_reads_any_more_runs_on() {
    let (hub, stdout) = run(["-o", "json"]).start_unread();
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    drop(stdout);
    for body in ["a", "b"] {
        send(&ready, "myFirstDevice", &[body]).expect_code(0);
    }
    assert_eq!(stop(hub).stderr, "");
}

#[cfg(unix)]
#[test]
fn a_device_that_does_not_get_in_is_explained_on_standard_error() {
    let mut hub = run(["-o", "json"]).start();
    let ready = hub.json();
    let string = format!(
        "HostName=localhost:{};DeviceId=stranger;SharedAccessKey={KEY}",
        ready["amqps_port"]
    );
    let sent = iothub(["device", "send", "a"])
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
        .run();
    sent.expect_code(5);
    let rest = stop(hub);
    assert!(rest.stderr.contains("stranger is not registered"), "{rest:?}");
}

#[test]
fn a_device_or_policy_that_can_not_be_is_usage() {
    for (flags, words) in [
        (["--device", "a/b"], "'/'"),
        (["--device", "dev=c2hvcnQ="], "5 bytes"),
        (["--policy", "service"], "NAME=BASE64KEY"),
        (["--policy", "service=c2hvcnQ="], "5 bytes"),
    ] {
        run(flags).run().expect_error(2, &[flags[0], words]);
    }
    run(["--device", "dev", "--device", "dev"])
        .run()
        .expect_error(2, &["--device", "dev"]);
    run(["--hub", "a.b"]).run().expect_code(2);
}

/// As `iothub device send` by certificate does, with openssl in no part of it.
#[cfg(unix)]
#[test]
fn devices_come_by_certificate_and_modules_by_key() {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = named("devices");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(path("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let signed = named("signed")
        .signed_by(&key, &Issuer::new(ca, &ca_key))
        .unwrap();
    let own = named("own").self_signed(&key).unwrap();
    // Two hashes of the same bytes, by the standard tools' names for them.
    let thumbprint = iothub_emulator::Thumbprint::sha256(own.der()).to_string();
    let x509 = format!("own={},{thumbprint}", "0".repeat(40));
    let module = format!("dev/m={KEY}");
    let flags = [
        "-o",
        "json",
        "--device",
        "dev",
        "--module",
        &module,
        "--x509-device",
        &x509,
    ];
    let mut hub = run(flags)
        .arg("--x509-device")
        .arg("signed")
        .arg("--device-ca")
        .arg(path("ca.pem"))
        .start();
    let ready = hub.json();
    let port = &ready["amqps_port"];
    let by = |string: String| {
        iothub(["device", "send", "a"])
            .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
            .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
    };
    for (device, certificate) in [("own", own), ("signed", signed)] {
        let string = ready["devices"][device].as_str().unwrap();
        assert_eq!(
            string,
            format!("HostName=localhost:{port};DeviceId={device};x509=true")
        );
        by(string.to_owned())
            .file("--cert", certificate.pem())
            .file("--cert-key", key.serialize_pem())
            .run()
            .expect_code(0);
        assert_eq!(hub.json()["device"], device);
    }
    by(format!(
        "HostName=localhost:{port};DeviceId=dev;ModuleId=m;SharedAccessKey={KEY}"
    ))
    .run()
    .expect_code(0);
    let event = hub.json();
    assert_eq!((&event["device"], &event["module"]), (&json!("dev"), &json!("m")));
    stop(hub);
}

/// The host of a connection string is what SDKs dial, check the certificate for, and write into tokens.
#[cfg(unix)]
#[test]
fn the_hub_answers_to_each_of_its_names() {
    let mut hub = run([
        "-o",
        "json",
        "--name",
        "127.0.0.5",
        "--name",
        "hub.localhost",
        "--listen",
        "127.0.0.1",
    ])
    .start();
    let ready = hub.json();
    let key = ready["devices"]["myFirstDevice"]
        .as_str()
        .unwrap()
        .split("SharedAccessKey=")
        .nth(1)
        .unwrap()
        .to_owned();
    let port = &ready["amqps_port"];
    for host in [
        "localhost",
        "127.0.0.1",
        "tcontehub.azure-devices.net",
        "hub.localhost",
    ] {
        let string = format!("HostName={host}:{port};DeviceId=myFirstDevice;SharedAccessKey={key}");
        let gateway = "localhost";
        for auth in ["plain", "cbs"] {
            let mut send = iothub(["device", "send", host, "--auth", auth])
                .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
                .env("IOTHUB_DEVICE_CONNECTION_STRING", &string);
            if host.contains('.') && host != "127.0.0.1" {
                // No resolver knows it.
                send = send.arg("--gateway").arg(format!("{gateway}:{port}"));
            }
            send.run().expect_code(0);
            assert_eq!(hub.json()["body"], host);
        }
    }
    stop(hub);
}

#[test]
fn a_name_or_an_authority_or_a_certified_device_that_can_not_be_is_usage() {
    let scratch = tempfile::tempdir().unwrap();
    let empty = scratch.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let empty = empty.to_str().unwrap();
    for (flags, words) in [
        (["--device-ca", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
        (["--device-ca", empty], empty),
        (["--device-ca", "/"], "/"),
        (["--x509-device", "dev=12"], "40 hexadecimal digits"),
        (["--module", "dev"], "DEVICE/MODULE"),
        (["--module", "nobody/m"], "nobody"),
        (["--module", "dev/m=c2hvcnQ="], "5 bytes"),
    ] {
        run(flags).run().expect_error(2, &[flags[0], words]);
    }
    run(["--name", "a b"]).run().expect_code(2);
}

#[test]
fn a_tier_and_its_units_must_fit() {
    for flags in [&["--units", "2"][..], &["--tier", "f1", "--units", "2"]] {
        run(flags.iter().copied()).run().expect_error(2, &["--tier"]);
    }
    for flags in [
        ["--tier", "S4"],
        ["--units", "0"],
        ["--units", "201"],
        ["--clock-skew", "5"],
    ] {
        run(flags).run().expect_code(2);
    }
}

/// The device's token ended half an hour ago.
#[cfg(unix)]
#[test]
fn a_clock_skew_lets_in_whose_token_has_just_ended() {
    let device = format!("dev={KEY}");
    let ended = SystemTime::now() - Duration::from_secs(1800);
    for (skew, code) in [("1h", 0), ("1m", 4)] {
        let mut hub = run([
            "--hub",
            "myhub",
            "--device",
            &device,
            "--clock-skew",
            skew,
            "-o",
            "json",
        ])
        .start();
        let ready = hub.json();
        let port = ready["amqps_port"].as_u64().unwrap().try_into().unwrap();
        iothub(["device", "send", "x"])
            .file(
                "--url-file",
                url(Scheme::Amqps, "localhost", port, "dev", ended.into()),
            )
            .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
            .run()
            .expect_code(code);
        stop(hub);
    }
}
