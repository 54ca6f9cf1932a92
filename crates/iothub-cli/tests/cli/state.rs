//! Goal: a hub's identities go in and out as files, and a bad file or a full disk is told in one line.
//! Method: processes, and files that users have.

use std::time::Instant;

use serde_json::{Value, json};

use super::harness::{KEY, PATIENCE, emulator_run, iothub, stop};

fn run(more: &[&str]) -> super::harness::Cli {
    emulator_run(more.iter().copied())
}

fn line(id: &str) -> String {
    json!({
        "id": id,
        "status": "enabled",
        "authentication": {"symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}},
        "tags": {"floor": 3},
    })
    .to_string()
}

#[cfg(unix)]
#[test]
fn devices_come_from_a_file_and_go_into_one() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let mut hub = run(&["--state-dir", state])
        .file("--seed", format!("{}\n{}\n", line("one"), line("two")))
        .start();
    let ready = hub.json();
    let devices: Vec<_> = ready["devices"].as_object().unwrap().keys().collect();
    assert_eq!(devices, ["one", "two"], "and no other by default");
    let string = ready["devices"]["one"].as_str().unwrap();
    assert!(string.contains(KEY));
    let while_it_runs = iothub(["emulator", "export", "--state-dir", state])
        .run()
        .expect_code(0);
    stop(hub);

    let exported = iothub(["emulator", "export", "--state-dir", state])
        .run()
        .expect_code(0);
    assert_eq!(exported.stdout, while_it_runs.stdout);
    let lines: Vec<Value> = exported
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["id"], &lines[0]["tags"]),
        (&json!("one"), &json!({"floor": 3}))
    );
    assert_eq!(lines[0]["authentication"]["symmetricKey"]["primaryKey"], KEY);
    let without = iothub(["emulator", "export", "--exclude-keys", "--state-dir", state])
        .run()
        .expect_code(0);
    assert!(!without.stdout.contains(KEY) && without.stdout.contains("\"primaryKey\":null"));

    // Into another hub, and out again.
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().to_str().unwrap();
    let mut hub = run(&["--state-dir", state])
        .file("--seed", &exported.stdout)
        .start();
    hub.json();
    stop(hub);
    let again = iothub(["emulator", "export", "--state-dir", state])
        .run()
        .expect_code(0);
    assert_eq!(again.stdout, exported.stdout);
}

#[cfg(unix)]
#[test]
fn a_hub_in_memory_is_exported_while_it_runs() {
    let mut hub = run(&[]).file("--seed", format!("{}\n", line("one"))).start();
    hub.json();
    let export = |args: &[&str]| {
        iothub(["emulator", "export"].iter().chain(args).copied())
            .env("XDG_RUNTIME_DIR", hub.runtime_dir())
            .run()
            .expect_code(0)
            .object()
    };
    let keys = |line: &Value| line["authentication"]["symmetricKey"]["primaryKey"].clone();
    let whole = export(&[]);
    assert_eq!((&whole["id"], keys(&whole)), (&json!("one"), json!(KEY)));
    let without = export(&["--exclude-keys"]);
    assert_eq!((&without["id"], keys(&without)), (&json!("one"), Value::Null));
    stop(hub);
    iothub(["emulator", "export"])
        .run()
        .expect_error(3, &["no hub runs without a state directory"]);
}

#[test]
fn a_bad_line_ends_the_start_with_2_and_is_told_by_file_line_and_field() {
    let bad = r#"{"id":"d","authentication":{"symmetricKey":{"primaryKey":"c2hvcnQ="}}}"#;
    let ran = run(&[]).file("--seed", format!("{}\n{bad}\n", line("one"))).run();
    assert!(!ran.stderr.contains("c2hv"), "{ran:?}");
    ran.expect_error(
        2,
        &["--seed", "seed, line 2: authentication.symmetricKey.primaryKey: "],
    );
    run(&["--seed", "/nowhere/devices.txt"])
        .run()
        .expect_error(2, &["--seed", "/nowhere/devices.txt"]);
}

#[test]
fn a_directory_without_a_hub_is_not_exported_and_none_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    iothub(["emulator", "export", "--state-dir"])
        .arg(&missing)
        .run()
        .expect_error(2, &["no hub was kept there"]);
    assert!(!missing.exists());
}

#[cfg(unix)]
#[test]
fn a_damaged_file_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let mut hub = run(&["--state-dir", state]).start();
    hub.json();
    stop(hub);
    let file = directory.path().join("state.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    // All but the magic number, which would make it no file of a hub at all.
    bytes[64..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    for args in [&["emulator", "run"][..], &["emulator", "export"]] {
        iothub(args.iter().copied())
            .arg("--state-dir")
            .arg(state)
            .run()
            .expect_error(
                2,
                &["state.redb is damaged", "move it away to begin with an empty hub"],
            );
    }
}

/// The system's own limit on the size of a file stands for the end of the disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_refuses_what_would_have_to_be_kept_and_the_hub_goes_on_when_it_has_room() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let mut hub = run(&["--state-dir", state, "--log-size", "64MiB"]).start();
    hub.json();
    stop(hub);
    let used = std::fs::metadata(directory.path().join("state.redb"))
        .unwrap()
        .len();

    let mut hub = run(&["--state-dir", state, "--log-size", "64MiB"])
        .files_of_at_most(used)
        .start();
    let ready = hub.json();
    let device = |args: &[&str]| {
        iothub(["device"].iter().chain(args).copied())
            .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
            .env(
                "IOTHUB_DEVICE_CONNECTION_STRING",
                ready["devices"]["myFirstDevice"].as_str().unwrap(),
            )
            .args(["--timeout", "3s"])
    };
    let filling = device(&["send", "-", "--count", "1000", "-o", "json"])
        .stdin("x".repeat(60_000))
        .run();
    let accepted = filling
        .json()
        .iter()
        .filter(|sent| sent["outcome"] == "accepted")
        .count();
    assert!(
        filling.code != Some(0) && accepted < 1000,
        "{accepted} {}",
        filling.stderr
    );
    assert!(
        filling.stderr.contains("amqp:internal-error"),
        "{}",
        filling.stderr
    );
    let reported = device(&["twin", "report", r#"{"fan":"on"}"#]).run();
    assert!(reported.code != Some(0), "{reported:?}");
    // What is not kept goes on.
    device(&["twin", "get"]).run().expect_code(0);

    hub.lift_limit_of_files();
    // The hub tries its disk once a second.
    let begun = Instant::now();
    while device(&["send", "again"]).run().code != Some(0) {
        assert!(begun.elapsed() < PATIENCE);
    }
    device(&["twin", "report", r#"{"fan":"off"}"#])
        .run()
        .expect_code(0);
    hub.signal("KILL");
    let ended = hub.end();
    let says = |part: &str| assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    says("the hub's state can't be written, so nothing is taken until it can");
    says("the hub's state is written again");

    let export = iothub(["emulator", "export", "--state-dir", state])
        .run()
        .expect_code(0);
    assert_eq!(export.object()["properties"]["reported"]["fan"], "off");
}
