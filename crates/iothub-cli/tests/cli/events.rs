//! Goal: `events` shows what devices sent, once and in order, to the end that was asked for, and no other device's.
//! Method: the emulator in the test's own process; expected values are what the test itself sent.

use std::io::{BufRead, BufReader};

use iothub_emulator::{Emulator, Keys, LogLimits};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::harness::{Cli, KEY, Ran, iothub, key};

pub(super) struct World {
    pub(super) runtime: Runtime,
    pub(super) emulator: Emulator,
    scratch: tempfile::TempDir,
}

const DEVICES: [&str; 3] = ["pump-1", "pump-2", "fan-1"];

impl World {
    pub(super) fn new() -> Self {
        Self::with_log(LogLimits::default())
    }

    pub(super) fn with_log(limits: LogLimits) -> Self {
        let runtime = Runtime::new().unwrap();
        let builder = Emulator::builder()
            .journal_limits(limits)
            .hub("myhub".parse().unwrap())
            .amqps_port(0)
            .https_port(None);
        let builder = DEVICES.iter().fold(builder, |builder, device| {
            builder.device(device.parse().unwrap(), Keys::new(key(), key()))
        });
        let emulator = runtime.block_on(builder.start()).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("ca.pem"), emulator.root_certificate_pem()).unwrap();
        Self {
            runtime,
            emulator,
            scratch,
        }
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.scratch.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn send(&self, device: &str, args: &[&str]) {
        self.device(device, &[&["send"], args].concat())
            .run()
            .expect_code(0);
    }

    pub(super) fn device(&self, device: &str, args: &[&str]) -> Cli {
        let port = self.emulator.amqps_address().port();
        let string = format!("HostName=localhost:{port};DeviceId={device};SharedAccessKey={KEY}");
        self.cli(&[&["device"], args].concat())
            .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
    }

    fn cli(&self, args: &[&str]) -> Cli {
        iothub(args.iter().copied()).env("IOTHUB_CA_FILE", self.scratch.path().join("ca.pem"))
    }

    pub(super) fn events(&self, args: &[&str]) -> Cli {
        self.service(&[&["events"], args].concat())
    }

    /// As a service.
    pub(super) fn service(&self, args: &[&str]) -> Cli {
        let policy = "service".parse().unwrap();
        let string = self
            .runtime
            .block_on(self.emulator.policy_connection_string(&policy))
            .unwrap();
        self.cli(args)
            .env("IOTHUB_SERVICE_CONNECTION_STRING", string.expose())
    }
}

pub(super) fn bodies(ran: &Ran) -> Vec<String> {
    assert!(!format!("{ran:?}").contains(&KEY[..12]), "{ran:?}");
    ran.json()
        .iter()
        .map(|line| line["body"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_event_line_is_the_one_that_a_local_hub_prints() {
    let world = World::new();
    world.send(
        "pump-1",
        &[
            "-p",
            "alarm=false",
            "--content-type",
            "application/json",
            "--message-id",
            "m1",
            "{\"t\": 21.5}",
        ],
    );
    let line = world
        .events(&["watch", "--since", "start", "-n", "1", "-o", "json"])
        .run()
        .expect_code(0)
        .object();
    let entry = &world.emulator.journal().snapshot()[0];
    let fields: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    // The order of the documentation, docs/cli.md.
    let mut expected = vec![
        "device",
        "module",
        "partition",
        "seq",
        "offset",
        "enqueued",
        "source",
        "properties",
        "system",
        "body_kind",
        "body",
    ];
    expected.sort_unstable();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(line["device"], "pump-1");
    assert_eq!(line["module"], Value::Null);
    assert_eq!(line["partition"], entry.partition);
    assert_eq!(line["seq"], 0);
    assert_eq!(line["enqueued"], entry.enqueued.to_string());
    assert_eq!(line["source"], "Telemetry");
    assert_eq!(line["properties"], json!({"alarm": "false"}));
    assert_eq!(
        (&line["body_kind"], &line["body"]),
        (&json!("json"), &json!({"t": 21.5}))
    );
    let system = &line["system"];
    assert_eq!(
        (&system["message-id"], &system["content-type"]),
        (&json!("m1"), &json!("application/json"))
    );
    assert_eq!(system["iothub-connection-device-id"], "pump-1");
    assert_eq!(system["iothub-enqueuedtime"], line["enqueued"]);
    let text = world
        .events(&["watch", "--since", "start", "-n", "1"])
        .run()
        .expect_code(0)
        .stdout;
    assert_eq!(
        text,
        format!("{}  pump-1  {{alarm=false}}  {{\"t\":21.5}}\n", entry.enqueued)
    );
}

#[test]
fn only_the_devices_that_were_asked_for_are_shown() {
    let world = World::new();
    for (at, device) in DEVICES.iter().enumerate() {
        world.send(device, &[&format!("a{at}"), &format!("b{at}")]);
    }
    let of = |patterns: &[&str]| {
        let mut args = vec!["watch", "--since", "start", "--idle", "1s", "-o", "json"];
        args.extend(patterns.iter().flat_map(|pattern| ["-d", pattern]));
        let mut bodies = bodies(&world.events(&args).run().expect_code(0));
        bodies.sort();
        bodies
    };
    assert_eq!(of(&["pump-*"]), ["a0", "a1", "b0", "b1"]);
    assert_eq!(of(&["pump-?", "fan-1"]).len(), 6);
    assert_eq!(of(&["fan"]), [""; 0]);
    assert_eq!(of(&["FAN-1"]), [""; 0]);
}

#[test]
fn a_checkpoint_goes_on_where_it_was_with_none_lost_and_none_twice() {
    let world = World::new();
    let sent: Vec<_> = (0..10).map(|at| format!("m{at}")).collect();
    let words: Vec<_> = sent.iter().map(String::as_str).collect();
    world.send("pump-1", &words);
    let file = world.scratch.path().join("seen.json");
    let go_on = |args: &[&str]| {
        let all = [&["watch", "--since", "start", "-o", "json"], args].concat();
        bodies(
            &world
                .events(&all)
                .arg("--checkpoint")
                .arg(&file)
                .run()
                .expect_code(0),
        )
    };
    let mut seen = go_on(&["-n", "3"]);
    seen.extend(go_on(&["-n", "4"]));
    assert_eq!(seen, sent[..7]);
    seen.extend(go_on(&["--idle", "1s"]));
    world.send("pump-1", &["last"]);
    seen.extend(go_on(&["-n", "1"]));
    assert_eq!(seen[..10], sent);
    assert_eq!(seen[10..], ["last"]);
    let other = world
        .events(&["watch", "--consumer-group", "other"])
        .arg("--checkpoint")
        .arg(&file)
        .run();
    other.expect_error(2, &["is of $Default in myhub", "a file of its own"]);
    std::fs::write(&file, "{}").unwrap();
    let broken = world
        .events(&["watch", "-n", "1"])
        .arg("--checkpoint")
        .arg(&file)
        .run();
    broken.expect_error(2, &["is no checkpoint"]);
}

#[test]
fn what_is_there_is_counted_and_exported() {
    let world = World::new();
    world.send("pump-1", &["a", "b", "c"]);
    world.send("fan-1", &["d"]);
    let count = |args: &[&str]| {
        let ran = world
            .events(&[&["count", "-o", "json"], args].concat())
            .run()
            .expect_code(0);
        ran.json()
            .iter()
            .map(|line| line["count"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(count(&[]), 4);
    assert_eq!(count(&["-d", "fan-*"]), 1);
    assert_eq!(count(&["--since", "1h"]), 4);
    let future = "2999-01-01T00:00:00Z";
    assert_eq!(count(&["--since", future]), 0);
    let text = world.events(&["count"]).run().expect_code(0).stdout;
    assert!(
        text.starts_with("PARTITION  COUNT\n") && text.ends_with("all        4\n"),
        "{text}"
    );
    let csv = world.events(&["count", "-o", "csv"]).run().expect_code(0).stdout;
    assert_eq!(csv.lines().count(), 5);

    let file = world.scratch.path().join("events.jsonl");
    let export = || world.events(&["export"]).arg(&file).run();
    let done = export().expect_code(0);
    assert_eq!(done.stderr, "4 events exported\n");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_pump = lines.iter().filter(|line| line["device"] == "pump-1");
    assert_eq!(
        of_pump
            .map(|line| line["body"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    export().expect_error(2, &["events.jsonl", "not there yet"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(
        world.events(&["export", "-"]).run().expect_code(0).json().len(),
        4
    );
}

#[test]
fn wrong_credentials_groups_and_partitions_are_told() {
    let world = World::new();
    world
        .cli(&["events", "watch"])
        .run()
        .expect_error(2, &["no credential", "IOTHUB_EVENTS_CONNECTION_STRING"]);
    let device = format!("HostName=localhost;DeviceId=d;SharedAccessKey={KEY}");
    world
        .cli(&["events", "watch"])
        .env("IOTHUB_SERVICE_CONNECTION_STRING", device)
        .run()
        .expect_error(2, &["it is a device's"]);
    let group = world
        .events(&["watch", "--consumer-group", "nobody", "-o", "json"])
        .run()
        .expect_code(5);
    let error: Value = serde_json::from_str(&group.stderr).unwrap();
    assert_eq!(error["error"]["condition"], "amqp:not-found", "{group:?}");
    world
        .events(&["watch", "--partition", "9"])
        .run()
        .expect_error(2, &["no partition 9", "0 to 3"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_130_and_all_that_came_is_shown() {
    let world = World::new();
    let mut watching = world.events(&["watch", "--since", "start", "-o", "json"]).start();
    world.send("pump-1", &["one", "two"]);
    assert_eq!(watching.json()["body"], "one");
    assert_eq!(watching.json()["body"], "two");
    watching.signal("INT");
    let ended = watching.end().expect_code(130);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let world = World::new();
    world.send("pump-1", &["--count", "2000", "a body that is some bytes long"]);
    let (watching, stdout) = world
        .events(&["watch", "--since", "start", "-o", "json"])
        .start_unread();
    let mut lines = BufReader::new(stdout);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    drop(lines);
    world.send("pump-1", &["--count", "2000", "a body that is some bytes long"]);
    let ended = watching.end().expect_code(0);
    assert_eq!(ended.stderr, "");
}

/// A line of `doctor` that needs both sides.
#[test]
fn doctor_sees_its_message_come_out_of_the_hub() {
    let world = World::new();
    let port = world.emulator.amqps_address().port();
    let string = format!("HostName=localhost:{port};DeviceId=pump-1;SharedAccessKey={KEY}");
    let policy = "service".parse().unwrap();
    let service = world
        .runtime
        .block_on(world.emulator.policy_connection_string(&policy))
        .unwrap();
    let ran = world
        .cli(&["doctor", "-o", "json"])
        .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
        .env("IOTHUB_SERVICE_CONNECTION_STRING", service.expose())
        .run()
        .expect_code(0);
    let last = ran.json().pop().unwrap();
    assert_eq!(
        (&last["step"], &last["status"]),
        (&json!("seen"), &json!("ok")),
        "{ran:?}"
    );
}
