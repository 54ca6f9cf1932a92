//! Goal: what a command prints, for people, as JSON and as CSV, is as somebody has read and approved it.
//! Method: sessions at a terminal, a noun each, typed into a shell against the emulator, whose clock stands still. A transcript has
//! what was typed behind `$`, standard output as it is, standard error behind `2>`, and the exit code where it is not 0; what
//! differs from run to run is replaced by as many letters. One that is not as it was kept fails: read the new one and keep
//! it with `INSTA_UPDATE=always cargo test -p iothub-cli --test cli transcripts`.

use std::time::Duration;

use iothub_address::{DeviceId, PolicyName};
use iothub_emulator::{Clock, ConnectionState, Emulator, Keys, ManualClock, SystemClock, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::harness::{Cli, KEY, Running, iothub, key, shell};

struct Terminal {
    runtime: Runtime,
    emulator: Emulator,
    service: String,
    /// Where the shell is, and what it makes stays.
    folder: TempDir,
    shown: String,
}

impl Terminal {
    fn new() -> Self {
        // 2026-01-02T03:04:05.678Z.
        Self::with_clock(ManualClock::new(Timestamp::from_millis(1_767_323_045_678)))
    }

    fn with_clock(clock: impl Clock) -> Self {
        let runtime = Runtime::new().unwrap();
        let builder = Emulator::builder()
            .clock(clock)
            // Ids and ETags are those of this seed.
            .randomness(7)
            .partitions(2)
            .device("pump-1".parse().unwrap(), Keys::new(key(), key()));
        let emulator = runtime.block_on(builder.start()).unwrap();
        let owner: PolicyName = "iothubowner".parse().unwrap();
        let service = runtime.block_on(emulator.policy_connection_string(&owner));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), emulator.root_certificate_pem()).unwrap();
        Self {
            service: service.unwrap().expose(),
            runtime,
            emulator,
            folder,
            shown: String::new(),
        }
    }

    /// With what `emulator env` gives.
    fn equipped(&self, cli: Cli) -> Cli {
        let port = self.emulator.https_address().unwrap().port();
        cli.env("IOTHUB_SERVICE_CONNECTION_STRING", &self.service)
            .env("IOTHUB_CA_FILE", self.folder.path().join("ca.pem"))
            .env("IOTHUB_HTTPS_PORT", port.to_string())
            .env("IOTHUB_DEVICE_CONNECTION_STRING", self.device())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .directory(self.folder.path())
    }

    /// What `pump-1` connects with.
    fn device(&self) -> String {
        let port = self.emulator.amqps_address().port();
        format!("HostName=localhost:{port};DeviceId=pump-1;SharedAccessKey={KEY}")
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Types a line, and waits for the prompt.
    fn types(&mut self, line: &str) {
        self.types_meanwhile(line, |_| {});
    }

    /// Types a line, does this while its commands run, and waits for the prompt.
    fn types_meanwhile(&mut self, line: &str, act: impl FnOnce(&Self)) {
        let running = self.equipped(shell(line)).start();
        act(self);
        let ran = running.end();
        self.shown += &format!("$ {line}\n{}", ran.stdout);
        self.shown
            .extend(ran.stderr.lines().map(|line| format!("2> {line}\n")));
        match ran.code {
            Some(0) => {}
            code => self.shown += &format!("exit {}\n", code.unwrap_or(-1)),
        }
        self.shown.push('\n');
    }

    /// Runs `pump-1` beside it.
    fn beside(&self, line: &str) -> Running {
        self.equipped(iothub(line.split(' '))).start()
    }

    /// Has something done that nobody sees.
    fn unseen(&self, line: &str) {
        self.equipped(shell(line)).run().expect_code(0);
        let pump: DeviceId = "pump-1".parse().unwrap();
        self.runtime.block_on(async {
            while self.emulator.presence(pump.clone()).await.unwrap().state == ConnectionState::Connected {}
        });
    }

    /// Until the hub has told all feedback that there is (15 s after the first of it).
    fn turn_clock(&self) {
        let pump: DeviceId = "pump-1".parse().unwrap();
        self.runtime.block_on(async {
            while self.emulator.waiting_messages(pump.clone()).await.unwrap() > 0 {}
            self.emulator.turn_clock(Duration::from_secs(16)).await.unwrap();
        });
    }

    /// Compares all that was shown with what is kept.
    fn expect_kept(self, name: &str) {
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path("transcripts");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let folder = self.folder.path().to_str().unwrap();
        settings.add_filter(&regex_of(folder), "~");
        let amqps = self.emulator.amqps_address().port();
        let https = self.emulator.https_address().unwrap().port();
        for (port, shown) in [(amqps, "15671"), (https, "15443")] {
            settings.add_filter(&format!(r"\b{port}\b"), shown);
        }
        for (pattern, replacement) in DIFFERS {
            settings.add_filter(pattern, *replacement);
        }
        settings.bind(|| insta::assert_snapshot!(name, self.shown));
    }
}

#[test]
fn registry() {
    let mut terminal = Terminal::new();
    terminal.types("iothub registry create dev1");
    terminal.types("iothub registry create dev2 --edge --status disabled -o json");
    let print = "AB".repeat(20);
    terminal.types(&format!(
        "iothub registry create dev3 --thumbprint {print} -o csv"
    ));
    terminal.types("iothub registry create dev4 --ca-signed");
    terminal.types("iothub registry create dev1");
    terminal.types("iothub registry show dev2");
    terminal.types("iothub registry show dev2 -o json");
    terminal.types("iothub registry show dev2 -o csv");
    terminal.types("iothub registry update dev1 --status disabled --reason 'in the workshop'");
    terminal.types(&format!(
        "iothub registry update dev1 --thumbprint {print} {} -o json",
        "CD".repeat(20)
    ));
    terminal.types("iothub registry update dev1");
    terminal.unseen("iothub device send hello");
    terminal.types("iothub registry list");
    terminal.types("iothub registry list --top 1 -o json");
    terminal.types("iothub registry list -o csv");
    let query = "SELECT deviceId, status, tags FROM devices WHERE status = 'disabled'";
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub registry query \"{query}\" -o {format}"));
    }
    terminal.types("iothub registry query 'SELECT COUNT() AS number FROM devices'");
    terminal.types("iothub registry query \"SELECT * FROM devices WHERE deviceId = 'nobody'\"");
    terminal.types("iothub registry query \"SELECT * FROM devices WHERE deviceId = 'pump-1'\"");
    terminal.types("iothub registry query 'SELECT FROM devices'");
    terminal.types("iothub registry delete dev1");
    terminal.types("iothub registry delete dev1 --yes --if-match AAAA");
    terminal.types("iothub registry delete dev1 --yes");
    terminal.types("iothub registry show dev1");
    terminal.types("iothub registry show dev1 -o json");
    terminal.expect_kept("registry");
}

#[test]
fn keys() {
    let mut terminal = Terminal::new();
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub registry keys show pump-1 -o {format}"));
    }
    terminal.types("iothub registry keys renew pump-1 --key secondary");
    terminal.types("iothub registry keys swap pump-1 -o json");
    terminal.types("iothub module create pump-1 cam >made.txt");
    terminal.types("iothub registry keys show pump-1 -m cam");
    terminal.types("iothub registry create dev1 --ca-signed >made.txt");
    terminal.types("iothub registry keys show dev1");
    terminal.types("iothub registry keys show nobody");
    terminal.expect_kept("keys");
}

#[test]
fn module() {
    let mut terminal = Terminal::new();
    terminal.types("iothub module list pump-1");
    terminal.types("iothub module create pump-1 cam");
    terminal.types("iothub module create pump-1 filter --ca-signed -o json");
    terminal.types("iothub module create pump-1 cam");
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub module show pump-1 cam -o {format}"));
        terminal.types(&format!("iothub module list pump-1 -o {format}"));
    }
    terminal.types("iothub module delete pump-1 cam --yes");
    terminal.types("iothub module show pump-1 cam");
    terminal.expect_kept("module");
}

#[test]
fn import_and_export() {
    let mut terminal = Terminal::new();
    let devices = format!(
        "{{\"id\":\"dev1\",\"status\":\"enabled\",\"authentication\":{{\"type\":\"sas\",\"symmetricKey\":\
         {{\"primaryKey\":\"{KEY}\",\"secondaryKey\":\"{KEY}\"}}}},\"tags\":{{\"floor\":4}}}}\n\
         {{\"id\":\"dev1\",\"moduleId\":\"cam\"}}\n"
    );
    terminal.file("devices.jsonl", &devices);
    terminal.file("again.jsonl", "{\"id\":\"dev1\"}\n{\"id\":\"dev2\"}\n");
    terminal.file("wrong.jsonl", "{\"id\":\"dev3\"}\n{\"name\":\"dev4\"}\n");
    terminal.types("iothub registry import devices.jsonl");
    terminal.types("iothub registry import again.jsonl -o json");
    terminal.types("iothub registry import again.jsonl --mode delete -o csv");
    terminal.types("iothub registry import wrong.jsonl");
    terminal.types("iothub registry import nowhere.jsonl");
    terminal.types("iothub registry import devices.jsonl");
    terminal.types("iothub registry export all.jsonl");
    terminal.types("iothub registry export -");
    terminal.types("iothub registry export nowhere/all.jsonl");
    terminal.expect_kept("import_and_export");
}

#[test]
fn twin() {
    let mut terminal = Terminal::new();
    terminal.types(
        "iothub twin patch pump-1 '{\"tags\":{\"floor\":4},\"properties\":{\"desired\":{\"light\":\"on\"}}}'",
    );
    terminal.unseen("iothub device twin report '{\"light\":\"on\"}'");
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub twin show pump-1 -o {format}"));
    }
    terminal.types(
        "echo '{\"properties\":{\"desired\":{\"light\":\"off\"}}}' | iothub twin replace pump-1 - -o json",
    );
    terminal.types("iothub twin patch pump-1 '{\"light\":\"on\"}'");
    terminal.types("iothub twin patch pump-1 '{light:on}'");
    terminal.types("iothub twin patch pump-1 '{\"tags\":{}}' --if-match AAAA");
    terminal.types("iothub twin watch pump-1 --count 1 -o json");
    terminal.types("iothub twin show nobody");
    terminal.expect_kept("twin");
}

#[test]
fn method() {
    let mut terminal = Terminal::new();
    terminal.types("iothub method call pump-1 reboot");
    terminal.types("iothub method call pump-1 reboot -o json");
    let device = terminal.beside("device methods --count 3 --status 202 --reply {\"in\":\"5s\"}");
    let call = "iothub method call pump-1 reboot '{\"delay\":5}' --connect-timeout 60s";
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("{call} -o {format}"));
    }
    device.end().expect_code(0);
    terminal.types("iothub method call pump-1 reboot '{delay:5}'");
    terminal.types("iothub method call pump-1 reboot --timeout 1s");
    terminal.types("iothub method call nobody reboot");
    terminal.expect_kept("method");
}

#[test]
fn c2d() {
    let mut terminal = Terminal::new();
    for format in ["text", "json", "csv"] {
        terminal.types(&format!(
            "iothub c2d send pump-1 'Hello!' --message-id m1 --ack full -o {format}"
        ));
    }
    terminal.types("iothub c2d purge pump-1");
    terminal.turn_clock();
    terminal.types("iothub c2d feedback -n 3");
    for (format, settle) in [("text", "complete"), ("json", "reject")] {
        let line = format!("iothub c2d send pump-1 'Hello!' --message-id m2 --wait -o {format}");
        terminal.types_meanwhile(&line, |terminal| {
            terminal.unseen(&format!("iothub device listen --count 1 --settle {settle}"));
            terminal.turn_clock();
        });
    }
    for format in ["text", "json", "csv"] {
        for id in ["m3", "m4"] {
            terminal.unseen(&format!(
                "iothub c2d send pump-1 'Hello!' --message-id {id} --ack full"
            ));
        }
        terminal.types(&format!("iothub c2d purge pump-1 -o {format}"));
        terminal.turn_clock();
        terminal.types(&format!("iothub c2d feedback -n 2 -o {format}"));
    }
    terminal.types("iothub c2d send nobody 'Hello!'");
    terminal.types("iothub c2d send nobody 'Hello!' -o json");
    terminal.expect_kept("c2d");
}

#[test]
fn events() {
    let mut terminal = Terminal::new();
    terminal.types("iothub events count");
    terminal.unseen(
        "iothub device send --message-id m1 -p alarm=false --content-type application/json '{\"t\": 21.5}'",
    );
    terminal.unseen("iothub device send --message-id m2 'Hello!'");
    terminal.unseen("printf '\\x00\\xff' | iothub device send --message-id m3 -");
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub events watch --since start -n 3 -o {format}"));
    }
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub events count -o {format}"));
    }
    terminal.types("iothub events export -d 'pump-*' events.jsonl");
    terminal.types("iothub events export -d 'pump-*' events.jsonl");
    terminal.types("iothub events export -d fan-1 -");
    terminal.types("iothub events watch --partition 7");
    terminal.types("iothub events watch --consumer-group nobodys");
    terminal.expect_kept("events");
}

#[test]
fn context() {
    let mut terminal = Terminal::new();
    terminal.file("service.txt", &terminal.service);
    terminal.types("iothub context list");
    terminal.types("iothub context show");
    terminal.types("iothub context add local");
    terminal.types("iothub context add plant-7 --connection-string-file service.txt --ca ca.pem --transport ws --proxy http://me:secret@proxy.example:3128");
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub context list -o {format}"));
    }
    terminal.types("iothub context use plant-7");
    for format in ["text", "json", "csv"] {
        terminal.types(&format!("iothub context show -o {format}"));
    }
    terminal.types("iothub context use nowhere");
    terminal.types("iothub context remove plant-7");
    terminal.types("iothub context show --context plant-7");
    terminal.expect_kept("context");
}

#[test]
fn doctor() {
    let mut terminal = Terminal::with_clock(SystemClock);
    let https = terminal.emulator.https_address().unwrap().port();
    for format in ["text", "json"] {
        terminal.types(&format!("iothub doctor --https-port {https} -o {format}"));
    }
    terminal.types(&format!("IOTHUB_CA_FILE= iothub doctor --https-port {https}"));
    terminal.expect_kept("doctor");
}

fn regex_of(path: &str) -> String {
    path.replace('.', r"\.")
}

/// What differs from run to run, and what stands in its place; of the same width, so that columns stay as they are.
const DIFFERS: &[(&str, &str)] = &[
    // Keys, given ones too.
    (
        r"[A-Za-z0-9+/]{43}=",
        "0000000000000000000000000000000000000000000=",
    ),
    // Ids that are made up, times of the machine's clock, addresses of its name.
    (r"[0-9a-f]{32}-G:", "00000000000000000000000000000000-G:"),
    (
        r"message [0-9a-f-]{36}",
        "message 00000000-0000-4000-8000-000000000000",
    ),
    (r"until 20[0-9: -]{17}", "until 2026-01-02 04:04:05"),
    (r"localhost is [0-9a-f.:, ]+", "localhost is 127.0.0.1"),
    // How long it took.
    (r"\d+\.\d+ ms", "1.0 ms"),
    (r#""ms":[\d.]+"#, r#""ms":1.0"#),
    (r"accepted,[\d.]+,", "accepted,1.0,"),
];
