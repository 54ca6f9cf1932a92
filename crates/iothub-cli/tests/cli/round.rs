//! Goal: the operator's round, all of it with the one program: a device is made, sends and is watched, is sent a message and
//! acknowledges it, has its twin patched and reports, is called, goes with the registry from one file into the hub again, is
//! purged and deleted.
//! Method: `emulator run`, and a shell beside it that has taken what `emulator env` prints; README.md has the same round in short.

use serde_json::{Value, json};

use super::harness::{Ran, Running, emulator_run, shell, stop};

struct Shell {
    hub: Running,
    folder: tempfile::TempDir,
}

impl Shell {
    /// Beside a hub that runs.
    fn open() -> Self {
        let mut hub = emulator_run(["--device", "gateway-7"]).start();
        assert_eq!(hub.json()["ready"], true);
        let folder = tempfile::tempdir().unwrap();
        Self { hub, folder }
    }

    /// Types a line, as this device, and leaves it running.
    fn start(&self, device: &str, line: &str) -> Running {
        let line = format!("set -eu\neval \"$(iothub emulator env --device {device})\"\n{line}");
        shell(&line)
            .env("XDG_RUNTIME_DIR", self.hub.runtime_dir())
            .directory(self.folder.path())
            .start()
    }

    fn run(&self, line: &str) -> Ran {
        self.start("gateway-7", line).end().expect_code(0)
    }

    fn run_as(&self, device: &str, line: &str) -> Ran {
        self.start(device, line).end().expect_code(0)
    }

    /// The one object that it prints.
    fn object(&self, line: &str) -> Value {
        self.run(line).object()
    }
}

/// The next line of what a device does of which this holds.
fn saw(device: &mut Running, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let line = device.json();
        if holds(&line) {
            return line;
        }
    }
}

#[test]
fn the_operators_round_goes_from_a_new_device_to_its_end() {
    let shell = Shell::open();
    let made = shell.object("iothub registry create pump-1 -o json");
    assert_eq!(
        (&made["device"], &made["status"]),
        (&json!("pump-1"), &json!("enabled"))
    );

    shell.run_as("pump-1", "iothub device send -p alarm=false '{\"bar\": 2.4}'");
    let seen = shell.object("iothub events watch -d pump-1 --since start -n 1 -o json");
    assert_eq!(
        (&seen["device"], &seen["properties"], &seen["body"]),
        (&json!("pump-1"), &json!({"alarm": "false"}), &json!({"bar": 2.4}))
    );

    // It sends once a second, takes messages and calls, and reports what is desired of it.
    let mut device = shell.start(
        "pump-1",
        "exec iothub device run --interval 1s --reply '{\"passed\":true}' -o json",
    );
    let called =
        shell.object("iothub method call pump-1 selftest '{\"quick\":true}' --connect-timeout 60s -o json");
    assert_eq!(
        (&called["status"], &called["payload"]),
        (&json!(200), &json!({"passed": true}))
    );

    let waiting = shell.start(
        "gateway-7",
        "iothub c2d send pump-1 'close the valve' --message-id m1 --wait -o json",
    );
    saw(&mut device, |line| line["body"] == "close the valve");
    // A hub tells feedback 15 s after the first of it.
    while shell.object("iothub registry show pump-1 -o json")["messages"] != 0 {}
    shell.run("iothub emulator clock turn 16s");
    let sent = waiting.end().expect_code(0).object();
    assert_eq!(
        (&sent["message_id"], &sent["feedback"]),
        (&json!("m1"), &json!("Success"))
    );

    let patch = json!({"tags": {"hall": 4}, "properties": {"desired": {"limit": 3.5}}});
    let mut watched = shell.start("gateway-7", "iothub twin watch pump-1 --every 50ms -o json");
    shell.run(&format!("iothub twin patch pump-1 '{patch}'"));
    let reported = saw(&mut watched, |twin| {
        twin["properties"]["reported"]["limit"] == 3.5
    });
    assert_eq!(reported["tags"], json!({"hall": 4}));
    for running in [watched, device] {
        running.signal("INT");
        running.end().expect_code(0);
    }

    shell.run("iothub registry export devices.jsonl");
    shell.run("iothub registry delete pump-1 --yes");
    let again = shell.object("grep pump-1 devices.jsonl | iothub registry import - -o json");
    assert_eq!((&again["done"], &again["refused"]), (&json!(1), &json!(0)));
    let keys = shell.object("iothub registry keys show pump-1 -o json");
    assert_eq!(
        keys["connection_string"], made["connection_string"],
        "its keys are those of before"
    );
    assert_eq!(
        shell.object("iothub twin show pump-1 -o json")["tags"],
        json!({"hall": 4})
    );

    shell.run("iothub c2d send pump-1 'never mind'");
    let purged = shell.object("iothub c2d purge pump-1 -o json");
    assert_eq!(purged, json!({"device": "pump-1", "purged": 1}));
    shell.run("iothub registry delete pump-1 --yes");
    let left = shell.object("iothub registry list -o json");
    assert_eq!(left["device"], "gateway-7");
    stop(shell.hub);
}
