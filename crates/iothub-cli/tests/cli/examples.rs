//! Goal: the examples in each command's --help work as they stand.
//! Method: they are read out of the help and typed into a shell, a command's in one folder, beside an `emulator run` that has
//! what they need: files, devices that send and answer, a clock that is turned. Only ports are not theirs: 5671 and 443 may be
//! taken. What runs on until it is stopped must print a line, and end by Ctrl-C as docs/cli.md has it.

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use super::harness::{Cli, KEY, Ran, Running, emulator_run, iothub, shell, stop};

/// All commands that do something, by their words.
fn commands() -> Vec<String> {
    let mut found = Vec::new();
    let mut groups = vec![String::new()];
    while let Some(group) = groups.pop() {
        let help = help(&group);
        let verbs = section(&help, "Commands:");
        if verbs.is_empty() {
            found.push(group);
            continue;
        }
        groups.extend(
            verbs
                .iter()
                .filter_map(|line| line.split_whitespace().next())
                .filter(|verb| *verb != "help")
                .map(|verb| format!("{group} {verb}").trim().to_owned()),
        );
    }
    found.sort();
    found
}

fn help(command: &str) -> String {
    iothub(command.split_whitespace().chain(["--help"]))
        // A narrow terminal folds no example.
        .env("COLUMNS", "80")
        .run()
        .expect_code(0)
        .stdout
}

/// The lines below one that begins with this word that are indented by two.
fn section<'a>(help: &'a str, word: &str) -> Vec<&'a str> {
    let lines = help.lines().skip_while(|line| !line.starts_with(word)).skip(1);
    lines
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .map(str::trim)
        .collect()
}

/// A hub, and a folder with the files that examples name.
struct World {
    hub: Running,
    ready: Value,
    folder: TempDir,
    beside: Vec<Running>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([]).unwrap().self_signed(&key).unwrap();
        let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        file("device.pem", &certificate.pem());
        file("device.key", &key.serialize_pem());
        let print = iothub_emulator::Thumbprint::sha256(certificate.der());
        let pump = format!("pump-7={KEY}");
        let certified = format!("zone-3={print}");
        let mine = format!("myFirstDevice={KEY}");
        let devices = ["--device", &mine, "--device", &pump, "--x509-device", &certified];
        let mut hub = emulator_run(devices).start();
        let ready = hub.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let ca = std::fs::read_to_string(text(&ready["ca"])).unwrap();
        file("ca.pem", &ca);
        file("key.txt", KEY);
        file("service.txt", &text(&ready["service"]));
        file("connection-string.txt", &text(&ready["devices"]["pump-7"]));
        file("readings.jsonl", "{\"t\":1}\n{\"t\":2}\n");
        file(
            "devices.jsonl",
            "{\"id\":\"dev1\"}\n{\"id\":\"dev2\",\"tags\":{\"floor\":4}}\n",
        );
        std::fs::create_dir_all(folder.path().join(".config/fish/completions")).unwrap();
        let world = Self {
            hub,
            ready,
            folder,
            beside: Vec::new(),
        };
        let port = world.port("amqps_port");
        let address = "iothub address build --hub tcontehub --device myFirstDevice --key-file key.txt";
        world.done(&format!("{address} --host localhost --port {port} > address.txt"));
        world.done("iothub sas sign --hub myhub --device dev1 --key-file key.txt > token.txt");
        world
    }

    fn port(&self, name: &str) -> u64 {
        self.ready[name].as_u64().unwrap()
    }

    /// A line in a shell that has what `emulator env` prints.
    fn line(&self, line: &str) -> Cli {
        let line =
            format!("set -euo pipefail\neval \"$(iothub -q emulator env --device myFirstDevice)\"\n{line}");
        let home = self.folder.path();
        shell(&line)
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_RUNTIME_DIR", self.hub.runtime_dir())
            .directory(home)
    }

    fn done(&self, line: &str) -> Ran {
        self.line(line).run().expect_code(0)
    }

    /// Leaves it running until the end of this world.
    fn beside(&mut self, line: &str) {
        let running = self.line(&format!("exec {line}")).start();
        self.beside.push(running);
    }

    /// What a command's examples need beside them.
    fn prepare(&mut self, command: &str) {
        // Before another of that name comes, who takes over.
        if command == "events watch" {
            self.done(
                "iothub device send --count 1000 --batch x --connection-string-file connection-string.txt",
            );
        }
        let is_service = ["events", "c2d", "method", "twin"]
            .iter()
            .any(|noun| command.starts_with(noun));
        if is_service {
            self.beside("iothub device run --interval 100ms");
            let pump = "--connection-string-file connection-string.txt -p alarm=yes";
            self.beside(&format!(
                "iothub device send --count 100000 --interval 100ms {pump} '{{\"temp\":21.5}}'"
            ));
        }
    }

    /// What one example needs before it.
    fn before(&self, line: &str) {
        if line.starts_with("iothub c2d feedback") {
            for _ in 0..10 {
                self.done("iothub c2d send myFirstDevice x --ack full");
            }
            while self.done("iothub registry show myFirstDevice -o json").object()["messages"] != 0 {}
            self.turn_clock();
        }
        if line.starts_with("iothub device listen") {
            self.done("iothub c2d send myFirstDevice x");
        }
    }

    /// A hub tells feedback 15 s after the first of it.
    fn turn_clock(&self) {
        self.done("iothub emulator clock turn 16s");
    }

    /// Types it.
    fn runs(&self, line: &str) {
        self.before(line);
        let typed = self.with_ports(&for_bash(line));
        let Some(code) = ends_by_ctrl_c(line) else {
            let mut running = self.line(&typed).start();
            while line.contains("--wait") && running.runs() {
                self.turn_clock();
            }
            let ran = running.end();
            assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
            return;
        };
        let mut running = self.line(&format!("exec {typed}")).start();
        if line.starts_with("iothub device methods") {
            self.done("iothub method call myFirstDevice reboot '{\"delay\":5}' --connect-timeout 60s");
        }
        running.line();
        running.signal("INT");
        let ran = running.end();
        assert_eq!(ran.code, Some(code), "{line}: {ran:?}");
    }

    /// Where this hub is, in place of where a hub is by default.
    fn with_ports(&self, line: &str) -> String {
        let line = line.replace(
            "iothub emulator run",
            "iothub emulator run --amqps-port 0 --https-port 0",
        );
        let https = self.port("https_port");
        let line = match line.contains("--cert ") {
            true => {
                let string = self.ready["devices"]["zone-3"].as_str().unwrap();
                format!("IOTHUB_DEVICE_CONNECTION_STRING='{string}' {line}")
            }
            false => line,
        };
        let ws = format!("--transport ws --port {https}");
        match line.contains("context add") {
            true => line,
            false => line
                .replace("--transport ws", &ws)
                .replace("iothub doctor", &format!("iothub doctor --https-port {https}")),
        }
    }

    fn end(self) {
        drop(self.beside);
        stop(self.hub);
    }
}

/// Of a line for another shell, what bash can run.
fn for_bash(line: &str) -> String {
    match line.split_once(" | ") {
        Some((ours, _))
            if ["--shell fish", "--shell powershell"]
                .iter()
                .any(|flag| ours.ends_with(flag)) =>
        {
            ours.to_owned()
        }
        _ => line.to_owned(),
    }
}

/// The exit code of what runs on until it is stopped.
fn ends_by_ctrl_c(line: &str) -> Option<i32> {
    let counts = [" -n ", " --count ", " --for ", " --idle "];
    if counts.iter().any(|flag| line.contains(flag)) {
        return None;
    }
    let with_0 = [
        "device listen",
        "device methods",
        "device run",
        "device twin watch",
        "twin watch",
        "emulator run",
    ];
    let with_130 = ["events watch", "c2d feedback"];
    let is = |verb: &&str| line.starts_with(&format!("iothub {verb}"));
    match (with_0.iter().any(is), with_130.iter().any(is)) {
        (true, _) => Some(0),
        (_, true) => Some(130),
        _ => None,
    }
}

/// Runs the examples of the commands that begin with one of these words.
fn run_all(nouns: &[&str]) {
    let commands = commands();
    let wanted = commands
        .iter()
        .filter(|command| nouns.contains(&command.split(' ').next().unwrap()));
    for command in wanted {
        let help = help(command);
        let examples = section(&help, "Example");
        assert!(
            examples
                .iter()
                .any(|line| line.contains(&format!("iothub {command}"))),
            "no example of 'iothub {command}' in {help}"
        );
        let mut world = World::new();
        world.prepare(command);
        examples.iter().for_each(|line| world.runs(line));
        world.end();
    }
}

const NOUNS: [&[&str]; 6] = [
    &["registry"],
    &["module", "twin", "method", "c2d"],
    &["events", "context", "doctor", "completions", "man"],
    &["device"],
    &["address", "sas"],
    &["emulator"],
];

#[test]
fn each_noun_has_its_examples_run() {
    for command in commands() {
        let noun = command.split(' ').next().unwrap();
        assert!(NOUNS.iter().any(|nouns| nouns.contains(&noun)), "{command}");
    }
}

#[test]
fn examples_of_registry_work() {
    run_all(NOUNS[0]);
}

#[test]
fn examples_of_modules_twins_methods_and_messages_work() {
    run_all(NOUNS[1]);
}

#[test]
fn examples_of_events_contexts_doctor_and_manual_work() {
    run_all(NOUNS[2]);
}

#[test]
fn examples_of_devices_work() {
    run_all(NOUNS[3]);
}

#[test]
fn examples_of_addresses_and_tokens_work() {
    run_all(NOUNS[4]);
}

#[test]
fn examples_of_emulators_work() {
    run_all(NOUNS[5]);
}
