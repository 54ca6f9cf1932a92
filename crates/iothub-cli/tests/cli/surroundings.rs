//! Goal: what `emulator env` and `ca` print is all that another program needs, and a shell reads it as it is meant.
//! Method: a real bash takes it, and the device runs in what it made of it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::harness::{Cli, KEY, Ran, Running, emulator_run, iothub, stop};

/// A path that a careless line would break at, or run.
const NASTY: &str = "it's \"a\" $HOME `id` $(id) \\ ; & ü #";

fn hub(state: &Path, more: &[&str]) -> (Running, Value) {
    let mut hub = emulator_run(more.iter().copied())
        .arg("--state-dir")
        .arg(state)
        .start();
    let ready = hub.json();
    (hub, ready)
}

fn emulator(state: &Path, args: &[&str]) -> Cli {
    iothub(["emulator"].into_iter().chain(args.iter().copied()))
        .arg("--state-dir")
        .arg(state)
}

/// What bash makes of the commands, and then prints.
fn in_bash(commands: &str, then: &str) -> String {
    let ran = Command::new("bash")
        .args(["-euc", &format!("{commands}\n{then}")])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn a_shell_that_takes_it_has_all_that_a_device_needs() {
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join(NASTY);
    let given = format!("dev={KEY}");
    let (mut hub, ready) = hub(&state, &["--device", &given]);
    let env = emulator(&state, &["env"]).run().expect_code(0);
    assert_eq!(env.stderr, "");
    let ca = state.join("ca.pem");
    let ca = ca.to_str().unwrap();
    for variable in [
        "IOTHUB_CA_FILE",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    ] {
        assert_eq!(
            in_bash(&env.stdout, &format!("printenv {variable}")).trim_end(),
            ca
        );
    }
    let string = in_bash(&env.stdout, "printenv IOTHUB_DEVICE_CONNECTION_STRING");
    let port = &ready["amqps_port"];
    assert_eq!(
        string.trim_end(),
        format!("HostName=localhost:{port};DeviceId=dev;SharedAccessKey={KEY}")
    );
    in_bash(
        &env.stdout,
        &format!("{} device send hello", env!("CARGO_BIN_EXE_iothub")),
    );
    assert_eq!(hub.json()["body"], "hello");
    stop(hub);
}

#[test]
fn each_shell_gets_its_own_commands() {
    let state = tempfile::tempdir().unwrap();
    let (hub, _) = hub(state.path(), &[]);
    let lines = |shell: &str| {
        let ran: Ran = emulator(state.path(), &["env", "--shell", shell])
            .run()
            .expect_code(0);
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (shell, begins, ends) in [
        ("bash", "export IOTHUB_DEVICE_CONNECTION_STRING='HostName=", "'"),
        ("fish", "set -gx IOTHUB_DEVICE_CONNECTION_STRING 'HostName=", "'"),
        (
            "powershell",
            "$env:IOTHUB_DEVICE_CONNECTION_STRING = 'HostName=",
            "'",
        ),
    ] {
        let lines = lines(shell);
        assert_eq!(lines.len(), 8, "{lines:?}");
        assert!(
            lines[0].starts_with(begins) && lines[0].ends_with(ends),
            "{lines:?}"
        );
    }
    emulator(state.path(), &["env", "--shell", "cmd"])
        .run()
        .expect_code(2);
    stop(hub);
}

#[test]
fn the_device_is_the_first_or_the_one_that_is_named() {
    let state = tempfile::tempdir().unwrap();
    let (hub, _) = hub(
        state.path(),
        &["--device", "b", "--device", "a", "--module", "a/m"],
    );
    let id = |args: &[&str]| {
        let ran = emulator(state.path(), args).run().expect_code(0);
        let string = in_bash(&ran.stdout, "printenv IOTHUB_DEVICE_CONNECTION_STRING");
        let parts: Vec<_> = string
            .split(';')
            .filter(|part| part.contains("Id="))
            .map(str::to_owned)
            .collect();
        (parts.join(";"), ran.stderr)
    };
    let (first, note) = id(&["env"]);
    assert_eq!(first, "DeviceId=a");
    assert_eq!(note, "this is for device a; --device names another\n");
    assert_eq!(
        id(&["env", "--device", "b"]),
        ("DeviceId=b".to_owned(), String::new())
    );
    assert_eq!(
        id(&["env", "--device", "a", "--module", "m"]).0,
        "DeviceId=a;ModuleId=m"
    );
    emulator(state.path(), &["env", "--device", "c"])
        .run()
        .expect_error(5, &["c"]);
    emulator(state.path(), &["env", "--module", "m"])
        .run()
        .expect_code(2);
    stop(hub);
    emulator(state.path(), &["env"])
        .run()
        .expect_error(3, &["no hub runs on"]);
}

#[test]
fn the_certificate_is_printed_by_a_hub_that_runs_or_has_run() {
    let state = tempfile::tempdir().unwrap();
    emulator(state.path(), &["ca"])
        .run()
        .expect_error(2, &["ca.pem", "iothub emulator run"]);
    let (hub, ready) = hub(state.path(), &[]);
    let pem = std::fs::read_to_string(ready["ca"].as_str().unwrap()).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    assert_eq!(emulator(state.path(), &["ca"]).run().expect_code(0).stdout, pem);
    stop(hub);
    assert_eq!(emulator(state.path(), &["ca"]).run().expect_code(0).stdout, pem);
    iothub(["emulator", "ca"]).run().expect_error(3, &["no hub runs"]);
    iothub(["emulator", "env"])
        .run()
        .expect_error(3, &["no hub runs"]);
}

/// The one that runs without a state directory is found by itself.
#[test]
fn a_hub_without_a_state_directory_is_found() {
    let runtime = tempfile::tempdir().unwrap();
    let mut hub = emulator_run([]).env("XDG_RUNTIME_DIR", runtime.path()).start();
    let ready = hub.json();
    let pem = std::fs::read_to_string(ready["ca"].as_str().unwrap()).unwrap();
    let ran = |what: &str| {
        iothub(["emulator", what])
            .env("XDG_RUNTIME_DIR", runtime.path())
            .run()
            .expect_code(0)
    };
    assert_eq!(ran("ca").stdout, pem);
    let string = in_bash(&ran("env").stdout, "printenv IOTHUB_DEVICE_CONNECTION_STRING");
    assert_eq!(string.trim_end(), ready["devices"]["myFirstDevice"]);
    stop(hub);
}
