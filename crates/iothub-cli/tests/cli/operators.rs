//! Goal: what an operator does with a hub's REST API, as text and JSON that scripts rely on.
//! Method: the process, against the emulator; expected texts are written by hand from docs/cli.md.

use std::collections::BTreeSet;

use iothub_address::{Identity, PolicyName};
use iothub_emulator::{CloudMessage, Emulator};
use iothub_sas::{SharedKey, Signer, UnixTime};
use iothub_tests::proxy::TestProxy;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::harness::{Cli, KEY, iothub};

struct Hub {
    emulator: Emulator,
    runtime: Runtime,
    service: String,
    scratch: TempDir,
}

impl Hub {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let emulator = runtime.block_on(Emulator::builder().start()).unwrap();
        let owner: PolicyName = "iothubowner".parse().unwrap();
        let service = runtime
            .block_on(emulator.policy_connection_string(&owner))
            .unwrap()
            .expose();
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("ca.pem"), emulator.root_certificate_pem()).unwrap();
        Self {
            emulator,
            runtime,
            service,
            scratch,
        }
    }

    /// A command line whose words are parted by spaces.
    fn run(&self, line: &str) -> Cli {
        let port = self.emulator.https_address().unwrap().port();
        iothub(line.split(' '))
            .env("IOTHUB_SERVICE_CONNECTION_STRING", &self.service)
            .env("IOTHUB_CA_FILE", self.scratch.path().join("ca.pem"))
            .env("IOTHUB_HTTPS_PORT", port.to_string())
    }

    /// What it prints when all goes well.
    fn said(&self, line: &str) -> String {
        self.run(line).run().expect_code(0).stdout
    }

    fn object(&self, line: &str) -> Value {
        self.run(line).run().expect_code(0).object()
    }

    fn file(&self, name: &str) -> String {
        self.scratch.path().join(name).to_str().unwrap().to_owned()
    }
}

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The fields of docs/cli.md.
const DEVICE_FIELDS: [&str; 12] = [
    "device",
    "status",
    "status_reason",
    "connection",
    "auth",
    "thumbprints",
    "edge",
    "scope",
    "messages",
    "last_activity",
    "generation",
    "etag",
];

#[test]
fn a_device_is_created_shown_changed_listed_and_deleted() {
    let hub = Hub::start();
    let made = hub
        .run("registry create dev1 -o json")
        .file("--key-file", KEY)
        .run()
        .expect_code(0)
        .object();
    let mut fields: BTreeSet<_> = DEVICE_FIELDS.into();
    fields.insert("connection_string");
    assert_eq!(names(&made), fields);
    let port = hub.emulator.amqps_address().port();
    assert_eq!(
        made["connection_string"],
        format!("HostName=localhost:{port};DeviceId=dev1;SharedAccessKey={KEY}")
    );
    let shown = hub.object("registry show dev1 -o json");
    assert_eq!(names(&shown), DEVICE_FIELDS.into());
    assert_eq!(shown["status"], "enabled");
    assert_eq!(
        (&shown["auth"], &shown["connection"]),
        (&json!("sas"), &json!("disconnected"))
    );
    assert!(!shown.to_string().contains(KEY), "{shown}");

    let line = [
        "registry",
        "update",
        "dev1",
        "--status",
        "disabled",
        "--reason",
        "in the workshop",
        "-o",
        "json",
    ];
    let changed = hub.run("registry show dev1").run().expect_code(0);
    assert!(changed.stdout.starts_with("device         dev1\nstatus         enabled\nconnection     disconnected\nauth           sas\nedge           false\nmessages       0\n"), "{}", changed.stdout);
    let mut update = hub.run(line[0]);
    for word in &line[1..] {
        update = update.arg(word);
    }
    let changed = update.run().expect_code(0).object();
    assert_eq!(
        (&changed["status"], &changed["status_reason"]),
        (&json!("disabled"), &json!("in the workshop"))
    );

    let thumbprint = "AB".repeat(20);
    hub.said(&format!("registry create dev2 --thumbprint {thumbprint}"));
    assert_eq!(
        hub.said("registry list"),
        "DEVICE  STATUS    CONNECTION    AUTH        EDGE   LAST_ACTIVITY\n\
         dev1    disabled  disconnected  sas         false\n\
         dev2    enabled   disconnected  selfSigned  false\n"
    );
    assert_eq!(
        hub.said("registry list --top 1 -o csv"),
        "device,status,connection,auth,edge,last_activity\ndev1,disabled,disconnected,sas,false,\n"
    );
    assert_eq!(
        hub.object("registry show dev2 -o json")["thumbprints"],
        json!([thumbprint])
    );

    let unsure = hub.run("registry delete dev1").run();
    unsure.expect_error(
        2,
        &["nobody is there to ask whether to delete device dev1", "--yes"],
    );
    let stale = hub.run("registry delete dev1 --yes --if-match AAAA").run();
    stale.expect_error(7, &["PreconditionFailed", "412"]);
    assert_eq!(hub.said("registry delete dev1 --yes"), "");
    hub.run("registry show dev1")
        .run()
        .expect_error(5, &["DeviceNotFound"]);
}

#[test]
fn what_the_hub_refuses_is_told_as_json() {
    let hub = Hub::start();
    let ran = hub.run("registry show nobody -o json").run().expect_code(5);
    assert_eq!(ran.stdout, "");
    let line: Value = serde_json::from_str(&ran.stderr).unwrap();
    let error = &line["error"];
    assert_eq!(error["kind"], "not-found");
    assert_eq!(error["condition"], "DeviceNotFound");
    assert_eq!(error["retryable"], false);
    assert!(!error["tracking_id"].as_str().unwrap().is_empty());
    let wrong = hub
        .run("registry list")
        .env(
            "IOTHUB_SERVICE_CONNECTION_STRING",
            format!("HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"),
        )
        .run();
    let wrong = wrong.expect_error(4, &["IotHubUnauthorizedAccess", "check the key"]);
    assert!(!wrong.stderr.contains(KEY));
    let nowhere = hub.run("registry list --https-port 1").run();
    nowhere.expect_error(3, &["can't connect to localhost:1", "--https-port"]);
    hub.run("registry list")
        .env("IOTHUB_HTTPS_PORT", "x")
        .run()
        .expect_error(2, &["IOTHUB_HTTPS_PORT"]);
    let syntax = hub.run("registry query SELECT").run();
    syntax.expect_error(7, &["ArgumentInvalid"]);
}

#[test]
fn keys_are_shown_swapped_and_renewed() {
    let hub = Hub::start();
    hub.said("registry create dev1");
    hub.said("module create dev1 cam");
    for whose in ["dev1", "dev1 -m cam"] {
        let keys = |verb: &str| hub.object(&format!("registry keys {verb} {whose} -o json"));
        let first = keys("show");
        let fields = [
            "device",
            "module",
            "primary_key",
            "secondary_key",
            "connection_string",
        ];
        assert_eq!(names(&first), fields.into());
        let swapped = keys("swap");
        assert_eq!(
            (&swapped["primary_key"], &swapped["secondary_key"]),
            (&first["secondary_key"], &first["primary_key"])
        );
        let renewed = hub.object(&format!("registry keys renew {whose} --key secondary -o json"));
        assert_eq!(renewed["primary_key"], swapped["primary_key"]);
        assert_ne!(renewed["secondary_key"], swapped["secondary_key"]);
        assert_eq!(keys("show"), renewed);
    }
}

#[test]
fn modules_are_created_listed_shown_and_deleted() {
    let hub = Hub::start();
    hub.said("registry create dev1");
    let made = hub.object("module create dev1 cam -o json");
    let string = made["connection_string"].as_str().unwrap();
    assert!(
        string.contains(";DeviceId=dev1;ModuleId=cam;SharedAccessKey="),
        "{string}"
    );
    assert_eq!(
        hub.said("module list dev1"),
        "DEVICE  MODULE  CONNECTION    AUTH  MANAGED_BY\ndev1    cam     disconnected  sas\n"
    );
    assert_eq!(hub.object("module show dev1 cam -o json")["module"], "cam");
    assert_eq!(hub.said("module delete dev1 cam --yes"), "");
    hub.run("module show dev1 cam")
        .run()
        .expect_error(5, &["ModuleNotFound"]);
}

#[test]
fn a_twin_is_shown_patched_replaced_and_watched() {
    let hub = Hub::start();
    hub.said("registry create dev1");
    let patched =
        hub.object(r#"twin patch dev1 {"tags":{"floor":4},"properties":{"desired":{"light":"on"}}} -o json"#);
    assert_eq!(patched["tags"], json!({ "floor": 4 }));
    assert_eq!(patched["properties"]["desired"]["light"], "on");
    assert_eq!(hub.object("twin show dev1 -o json"), patched);
    let etag = patched["etag"].as_str().unwrap();
    let replaced = hub
        .run(&format!("twin replace dev1 - -o json --if-match {etag}"))
        .stdin(r#"{"properties":{"desired":{"b":2}}}"#)
        .run()
        .expect_code(0)
        .object();
    assert_eq!(replaced["properties"]["desired"]["light"], Value::Null);
    let stale = hub
        .run(&format!("twin patch dev1 {{\"tags\":{{}}}} --if-match {etag}"))
        .run();
    stale.expect_error(7, &["PreconditionFailed", "its ETag of now"]);
    hub.run(r#"twin patch dev1 {"light":"on"}"#)
        .run()
        .expect_error(2, &["neither tags nor properties"]);

    let mut watching = hub.run("twin watch dev1 --every 50ms --count 2 -o json").start();
    assert_eq!(watching.json()["properties"]["desired"]["b"], 2);
    hub.said(r#"twin patch dev1 {"properties":{"desired":{"b":3}}}"#);
    assert_eq!(watching.json()["properties"]["desired"]["b"], 3);
    watching.end().expect_code(0);
}

#[test]
fn a_method_is_called_and_a_queue_purged() {
    let hub = Hub::start();
    let made = hub.object("registry create dev1 -o json");
    hub.run("method call dev1 reboot")
        .run()
        .expect_error(5, &["DeviceNotOnline", "--connect-timeout"]);
    let device = hub
        .run("device methods --count 1 -o json --status 207")
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            made["connection_string"].as_str().unwrap(),
        )
        .start();
    let answer =
        hub.object(r#"method call dev1 reboot {"delay":5} --timeout 30s --connect-timeout 60s -o json"#);
    assert_eq!(
        names(&answer),
        ["device", "module", "method", "status", "payload"].into()
    );
    assert_eq!(
        (&answer["method"], &answer["status"]),
        (&json!("reboot"), &json!(207))
    );
    device.end().expect_code(0);

    let dev1 = Identity::Device("dev1".parse().unwrap());
    for _ in 0..3 {
        let sent = hub
            .emulator
            .send_to_device(dev1.clone(), CloudMessage::new("hello"));
        hub.runtime.block_on(sent).unwrap();
    }
    assert_eq!(
        hub.object("c2d purge dev1 -o json"),
        json!({ "device": "dev1", "purged": 3 })
    );
    assert_eq!(hub.said("c2d purge dev1"), "0 messages purged\n");
}

#[test]
fn a_registry_goes_from_one_hub_to_another() {
    let (from, to) = (Hub::start(), Hub::start());
    let lines: Vec<_> = (0..105)
        .map(|number| json!({ "id": format!("dev{number:03}"), "tags": { "number": number } }).to_string())
        .collect();
    let imported = from
        .run("registry import - -o json")
        .stdin(lines.join("\n"))
        .run()
        .expect_code(0);
    assert_eq!(
        imported.object(),
        json!({ "done": 105, "refused": 0, "not_asked": 0 })
    );
    assert_eq!(imported.stderr, "", "no progress where nobody watches");
    from.said("module create dev007 cam");

    let file = from.file("devices.jsonl");
    assert_eq!(from.said(&format!("registry export {file}")), "");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(
        to.said(&format!("registry import {file}")),
        "106 done, 0 refused\n"
    );
    let everything = |hub: &Hub| -> BTreeSet<String> {
        let lines = hub.said("registry export -");
        let lines = lines.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            // These are each hub's own.
            for field in ["eTag", "twinETag"] {
                line.as_object_mut().unwrap().shift_remove(field);
            }
            line.to_string()
        });
        lines.collect()
    };
    let there = everything(&to);
    assert_eq!(there.len(), 106);
    assert_eq!(everything(&from), there);
    assert!(there.iter().any(|line| line.contains(r#""tags":{"number":7}"#)));

    let again = to
        .run("registry import - -o json")
        .stdin("{\"id\":\"new\"}\n{\"id\":\"dev001\"}\n")
        .run()
        .expect_code(9);
    assert_eq!(again.object(), json!({ "done": 1, "refused": 1, "not_asked": 0 }));
    assert!(
        again.stderr.starts_with("warning: dev001: DeviceAlreadyExists: "),
        "{}",
        again.stderr
    );
    to.run("registry import -")
        .stdin("{\"id\":\"x\"}\n{\"id\":7}\n")
        .run()
        .expect_error(2, &["line 2 of standard input is no identity"]);
    let nowhere = from.run("registry export /nowhere/devices.jsonl").run();
    nowhere.expect_error(1, &["can't write /nowhere/devices.jsonl"]);

    let mut query = to.run("registry").arg("query");
    query = query
        .arg("SELECT deviceId, tags.number FROM devices WHERE tags.number >= 103")
        .arg("-o")
        .arg("csv");
    assert_eq!(
        query.run().expect_code(0).stdout,
        "deviceId,number\ndev103,103\ndev104,104\n"
    );
}

#[test]
fn the_way_leads_through_a_proxy_whose_password_is_never_shown() {
    let hub = Hub::start();
    // "Aladdin" with "open sesame", of RFC 7617 §2.
    let proxy = TestProxy::start(Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    let proxy = hub.runtime.block_on(proxy);
    let url = |password: &str| format!("http://Aladdin:{password}@{}", proxy.address);
    let through = hub
        .run("-vvv registry list -o csv --proxy")
        .arg(url("open%20sesame"))
        .run();
    let right = through.expect_code(0);
    let port = hub.emulator.https_address().unwrap().port();
    assert!(
        proxy.asked()[0].starts_with(&format!("CONNECT localhost:{port} ")),
        "{:?}",
        proxy.asked()
    );
    let wrong = hub.run("registry list --proxy").arg(url("canary")).run();
    let wrong = wrong.expect_error(4, &["wants credentials", "HTTPS_PROXY or --proxy"]);
    let down = hub.run("registry list --proxy http://u:canary@127.0.0.1:1").run();
    let down = down.expect_error(3, &["127.0.0.1:1 can't be reached"]);
    for ran in [right, wrong, down] {
        let all = format!("{}{}", ran.stdout, ran.stderr);
        for secret in ["sesame", "canary", "QWxhZGRpbj"] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

#[test]
fn tokens_policies_and_kinds_that_do_not_fit_are_told_without_secrets() {
    let hub = Hub::start();
    let expired = Signer::new(SharedKey::from_base64(KEY).unwrap())
        .policy("iothubowner")
        .sign("localhost", UnixTime::from_secs(1_000_000_000));
    let reader: PolicyName = "registryRead".parse().unwrap();
    let reader = hub
        .runtime
        .block_on(hub.emulator.policy_connection_string(&reader))
        .unwrap()
        .expose();
    let device = format!("HostName=localhost;DeviceId=dev1;SharedAccessKey={KEY}");
    let old = format!("HostName=localhost;SharedAccessSignature={}", expired.expose());
    for (string, code, words) in [
        (old, 4, "IotHubUnauthorizedAccess"),
        (reader, 4, "IotHubUnauthorizedAccess"),
        (device, 2, "a service's, with SharedAccessKeyName"),
    ] {
        let ran = hub
            .run("registry create dev1 --connection-string-file -")
            .stdin(string.clone())
            .run()
            .expect_error(code, &[words]);
        for secret in [
            KEY,
            "sig=",
            string.split("SharedAccessKey=").nth(1).unwrap_or("sig="),
        ] {
            assert!(!ran.stderr.contains(secret), "{ran:?}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_import_shows_how_far_it_is_on_a_terminal_alone() {
    let hub = Hub::start();
    let lines: Vec<_> = (0..120)
        .map(|number| format!("{{\"id\":\"dev{number}\"}}"))
        .collect();
    let file = hub.file("devices.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let on_a_terminal = |command: &str| {
        let line = format!("{} registry {command} >/dev/null", env!("CARGO_BIN_EXE_iothub"));
        let shown = std::process::Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("IOTHUB_SERVICE_CONNECTION_STRING", &hub.service)
            .env("IOTHUB_CA_FILE", hub.file("ca.pem"))
            .env(
                "IOTHUB_HTTPS_PORT",
                hub.emulator.https_address().unwrap().port().to_string(),
            )
            .env("TERM", "xterm")
            .output()
            .unwrap();
        assert!(shown.status.success(), "{shown:?}");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let shown = on_a_terminal(&format!("import {file}"));
    assert!(shown.contains("/120 identities"), "{shown:?}");
    let shown = on_a_terminal("export -");
    assert!(shown.contains("/120 identities"), "{shown:?}");
    assert_eq!(
        hub.run("registry export -").run().stderr,
        "120 identities exported, with their keys\n"
    );
}
