//! Goal: credentials are found in the documented order, contexts are kept for their owner alone, and nothing shows a secret.
//! Method: a folder for settings of the test's own, and several commands on it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Cli, Hub, KEY, Ran, iothub};

/// A folder where contexts are kept.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, line: &str) -> Cli {
        iothub(line.split(' ')).env("XDG_CONFIG_HOME", self.0.path())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("iothub/contexts.json")
    }

    /// What `context show` finds: name, value and place of each.
    fn shown(&self, adapt: impl FnOnce(Cli) -> Cli) -> Vec<[String; 3]> {
        let ran = adapt(self.run("context show -o json")).run().expect_code(0);
        expect_no_secret(&ran);
        ran.json()
            .iter()
            .map(|line| ["name", "value", "from"].map(|field| line[field].as_str().unwrap().to_owned()))
            .collect()
    }
}

fn expect_no_secret(ran: &Ran) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!all.contains(&KEY[..12]), "{all}");
}

fn service(host: &str) -> String {
    format!("HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}")
}

fn redacted(host: &str) -> String {
    format!("HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey=***")
}

const DEVICE: &str = "HostName=h-1.azure-devices.net;DeviceId=d;SharedAccessKey=***";

fn device() -> String {
    DEVICE.replace("***", KEY)
}

#[test]
fn a_context_is_added_used_listed_and_removed() {
    let home = Home::new();
    let string = service("h-1.azure-devices.net");
    let added = home
        .run("context add one --transport ws")
        .file("--connection-string-file", &string)
        .run()
        .expect_code(0);
    expect_no_secret(&added);
    assert_eq!(added.stdout, "");
    assert_eq!(
        added.stderr,
        format!("context one is kept in {}: it is in use\n", home.file().display())
    );
    let mode = std::fs::metadata(home.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let folder = std::fs::metadata(home.file().parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);

    let two = home
        .run("-q context add two")
        .file("--connection-string-file", device())
        .run()
        .expect_code(0);
    assert_eq!(two.stderr, "");
    let listed = home.run("context list -o json").run().expect_code(0);
    let none = Value::Null;
    let one = json!({
        "name": "one", "in_use": true, "service": redacted("h-1.azure-devices.net"), "device": none, "events": none,
        "ca": false, "transport": "ws", "proxy": none, "https_port": none,
    });
    assert_eq!(listed.json()[0], one);
    assert_eq!(listed.json()[1]["device"], DEVICE);
    assert_eq!(listed.json()[1]["in_use"], false);
    let text = home.run("context list").run().expect_code(0).stdout;
    assert!(text.starts_with("NAME  IN_USE  SERVICE"), "{text}");
    let csv = home.run("context list -o csv").run().expect_code(0).stdout;
    assert_eq!(
        csv.lines().next().unwrap(),
        "name,in_use,service,device,events,ca,transport,proxy,https_port"
    );
    assert_eq!(
        csv.lines().nth(2).unwrap(),
        format!("two,false,,{DEVICE},,false,,,")
    );

    home.run("context use two").run().expect_code(0);
    let shown = home.shown(|cli| cli);
    assert_eq!(shown[0], ["context", "two", "iothub context use"]);
    assert_eq!(shown[1], ["device", DEVICE, "the context two"]);
    home.run("context remove two").run().expect_code(0);
    assert_eq!(home.shown(|cli| cli), Vec::<[String; 3]>::new());
    let unknown = home.run("context use two").run();
    unknown.expect_error(2, &["there is no context \"two\"", "known by name: one"]);
}

/// The order of the documentation: flag, environment, context; but a context that a flag names is a flag.
#[test]
fn what_a_flag_says_counts_before_the_environment_and_that_before_the_context() {
    let home = Home::new();
    let add = |name: &str| {
        let string = service(&format!("{name}.azure-devices.net"));
        let cli = home.run("context add").arg(name);
        cli.file("--connection-string-file", string).run().expect_code(0);
    };
    add("ctx-1");
    add("ctx-2");
    let host = |shown: Vec<[String; 3]>| {
        let line = shown.into_iter().find(|line| line[0] == "service").unwrap();
        let host = line[1]
            .strip_prefix("HostName=")
            .unwrap()
            .split('.')
            .next()
            .unwrap()
            .to_owned();
        (host, line[2].clone())
    };
    let pair = |host: &str, from: &str| (host.to_owned(), from.to_owned());
    assert_eq!(host(home.shown(|cli| cli)), pair("ctx-1", "the context ctx-1"));
    let named = home.shown(|cli| cli.env("IOTHUB_CONTEXT", "ctx-2"));
    assert_eq!(host(named), pair("ctx-2", "the context ctx-2"));
    let variable = "IOTHUB_SERVICE_CONNECTION_STRING";
    let surrounded = |cli: Cli| {
        cli.env(variable, service("env.azure-devices.net"))
            .env("IOTHUB_CONTEXT", "ctx-2")
    };
    let environment = pair("env", "the environment variable IOTHUB_SERVICE_CONNECTION_STRING");
    assert_eq!(host(home.shown(surrounded)), environment);
    let flag = home.shown(|cli| surrounded(cli).args(["--context", "ctx-1"]));
    assert_eq!(host(flag), pair("ctx-1", "the context ctx-1"));
    let other = service("other.azure-devices.net");
    let variable = home.shown(|cli| {
        surrounded(cli)
            .env("MINE", &other)
            .args(["--connection-string-env", "MINE"])
    });
    assert_eq!(host(variable), pair("other", "the environment variable MINE"));
    let file = home.shown(|cli| surrounded(cli).file("--connection-string-file", &other));
    assert_eq!(host(file).0, "other");
    let two = home
        .run("context show --context ctx-1 --connection-string-env MINE")
        .run()
        .expect_code(2);
    assert!(two.stderr.contains("cannot be used with"), "{two:?}");
}

#[test]
fn a_connection_string_on_the_command_line_works_with_a_warning() {
    let home = Home::new();
    let string = service("h-1.azure-devices.net");
    let ran = home
        .run("context show --connection-string")
        .arg(&string)
        .run()
        .expect_code(0);
    expect_no_secret(&ran);
    assert!(
        ran.stderr
            .starts_with("warning: others can see --connection-string"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains(&redacted("h-1.azure-devices.net")), "{ran:?}");
    let quiet = home
        .run("-q context show --connection-string")
        .arg(&string)
        .run()
        .expect_code(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_device_sends_by_what_its_context_holds_the_authority_too() {
    let (home, hub) = (Home::new(), Hub::start());
    home.run("context add local --ca")
        .arg(hub.ca())
        .file("--connection-string-file", hub.connection_string())
        .run()
        .expect_code(0);
    home.run("device send hello").run().expect_code(0);
    assert_eq!(hub.received(), 1);
    // Without the authority the hub isn't trusted.
    home.run("context add bare")
        .file("--connection-string-file", hub.connection_string())
        .run()
        .expect_code(0);
    home.run("device send hello --context bare")
        .run()
        .expect_error(3, &["add the CA's certificate"]);
    let twin = home
        .run("device twin get -o json --context local")
        .run()
        .expect_code(0);
    assert!(twin.object().to_string().contains("desired"), "{twin:?}");
}

#[test]
fn without_flags_a_context_is_what_the_environment_gives() {
    let (home, hub) = (Home::new(), Hub::start());
    home.run("context add all")
        .run()
        .expect_error(2, &["nothing to keep", "IOTHUB_SERVICE_CONNECTION_STRING"]);
    let events = format!(
        "Endpoint=sb://localhost:1/;SharedAccessKeyName=service;SharedAccessKey={KEY};EntityPath=h-1"
    );
    home.run("context add all")
        .env(
            "IOTHUB_SERVICE_CONNECTION_STRING",
            service("h-1.azure-devices.net"),
        )
        .env("IOTHUB_DEVICE_CONNECTION_STRING", device())
        .env("IOTHUB_EVENTS_CONNECTION_STRING", events)
        .env("IOTHUB_CA_FILE", hub.ca())
        .env("IOTHUB_HTTPS_PORT", "8443")
        .run()
        .expect_code(0);
    let shown = home.shown(|cli| cli);
    let names: Vec<_> = shown.iter().map(|line| line[0].as_str()).collect();
    assert_eq!(
        names,
        ["context", "service", "device", "events", "ca", "https-port"]
    );
    assert_eq!(shown[4], ["ca", "1 certificate", "the context all"]);
    assert_eq!(shown[5], ["https-port", "8443", "the context all"]);
}

#[test]
fn a_file_that_others_may_read_or_that_is_damaged_is_told_and_not_shown() {
    let home = Home::new();
    home.run("context add one")
        .file("--connection-string-file", service("h-1.azure-devices.net"))
        .run()
        .expect_code(0);
    std::fs::set_permissions(home.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let readable = home.run("device send x").run();
    readable.expect_error(2, &["others may read", "chmod 600"]);
    std::fs::set_permissions(home.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(home.file()).unwrap();
    std::fs::write(home.file(), text.replace("\"service\": ", "\"service\" ")).unwrap();
    let damaged = home.run("context list").run();
    expect_no_secret(&damaged);
    damaged.expect_error(2, &["can't be read at line 5, column", "remove the file"]);
}

#[test]
fn a_second_string_of_one_kind_and_one_that_nothing_takes_are_refused() {
    let home = Home::new();
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let one = path("one", &service("h-1.azure-devices.net"));
    let other = path("other", &service("h-2.azure-devices.net"));
    let flag = "--connection-string-file";
    home.run("context add x")
        .arg(flag)
        .arg(&one)
        .arg(flag)
        .arg(&other)
        .run()
        .expect_error(2, &["is the second for service", "two contexts"]);
    let provisioning = path("dps", &service("x.azure-devices-provisioning.net"));
    home.run("context add x")
        .arg(flag)
        .arg(provisioning)
        .run()
        .expect_error(2, &["provisioning"]);
    assert!(!home.file().exists());
    let ran = home.run("context add a/b").run().expect_code(2);
    assert!(ran.stderr.contains("1 to 64 letters"), "{ran:?}");
}

/// The fields are a contract.
#[test]
fn errors_are_json_where_the_output_is() {
    let home = Home::new();
    let error = |ran: Ran, code| {
        let ran = ran.expect_code(code);
        assert_eq!(ran.stdout, "");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        let line: Value = serde_json::from_str(&ran.stderr).unwrap();
        line["error"].clone()
    };
    let none = error(home.run("device twin get -o json").run(), 2);
    let hint = none["hint"].as_str().unwrap();
    assert!(hint.contains("IOTHUB_DEVICE_CONNECTION_STRING"), "{hint}");
    let expected = json!({
        "kind": "usage", "message": "no credential", "condition": null, "retryable": false, "hint": hint,
        "tracking_id": null,
    });
    assert_eq!(none, expected);
    let flag = error(home.run("device twin get --what -o json").run(), 2);
    assert_eq!(flag["message"], "unexpected argument '--what' found");

    let hub = Hub::start();
    let wrong = hub.connection_string_of("dev", &KEY.replace('A', "B"));
    let refused = home
        .run("device twin get -o json")
        .env("IOTHUB_CA_FILE", hub.ca())
        .env("IOTHUB_DEVICE_CONNECTION_STRING", wrong)
        .run();
    let refused = error(refused, 4);
    assert_eq!(refused["kind"], "unauthorised");
    assert_eq!(refused["retryable"], false);
    let nobody = home
        .run("device twin get -o json")
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            device().replace("h-1.azure-devices.net", "localhost:1"),
        )
        .run();
    let nobody = error(nobody, 3);
    assert_eq!(
        (&nobody["kind"], &nobody["retryable"]),
        (&json!("unreachable"), &json!(true))
    );
}

/// Flag, `--context`, environment, the context in use; without any of them 443.
#[test]
fn where_https_is_comes_from_the_first_that_says_it() {
    let home = Home::new();
    home.run("context add one --https-port 2")
        .file("--connection-string-file", service("localhost"))
        .run()
        .expect_code(0);
    let asked = |line: &str, environment: Option<&str>| {
        let cli = home.run(line);
        let cli = environment
            .into_iter()
            .fold(cli, |cli, port| cli.env("IOTHUB_HTTPS_PORT", port));
        cli.run().expect_code(3).stderr
    };
    for (line, environment, port) in [
        ("registry list --https-port 1", Some("3"), 1),
        ("registry list --context one", Some("3"), 2),
        ("registry list", Some("3"), 3),
        ("registry list", None, 2),
    ] {
        let told = asked(line, environment);
        assert!(told.contains(&format!("localhost:{port}:")), "{line}: {told}");
    }
    let shown = home.shown(|cli| cli.env("IOTHUB_HTTPS_PORT", "3"));
    let last = &shown[shown.len() - 1];
    assert_eq!(
        last,
        &["https-port", "3", "the environment variable IOTHUB_HTTPS_PORT"]
    );
    home.run("context add two --https-port 0").run().expect_code(2);
}
