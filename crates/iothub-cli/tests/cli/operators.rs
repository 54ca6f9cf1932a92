//! Goal: what an operator does with a hub's REST API, as text and JSON that scripts rely on.
//! Method: the process, against the emulator; expected texts are written by hand from docs/cli.md.

use std::collections::BTreeSet;

use iothub_address::{Identity, PolicyName};
use iothub_emulator::{Builder, CloudMessage, Emulator};
use iothub_sas::{SharedKey, Signer, UnixTime};
use iothub_tests::proxy::TestProxy;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::harness::{Cli, KEY, iothub};

pub(super) struct Hub {
    pub(super) emulator: Emulator,
    pub(super) runtime: Runtime,
    pub(super) service: String,
    scratch: TempDir,
}

impl Hub {
    pub(super) fn start() -> Self {
        Self::of(Emulator::builder())
    }

    pub(super) fn of(builder: Builder) -> Self {
        let runtime = Runtime::new().unwrap();
        let emulator = runtime.block_on(builder.start()).unwrap();
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
    pub(super) fn run(&self, line: &str) -> Cli {
        let port = self.emulator.https_address().unwrap().port();
        iothub(line.split(' '))
            .env("IOTHUB_SERVICE_CONNECTION_STRING", &self.service)
            .env("IOTHUB_CA_FILE", self.scratch.path().join("ca.pem"))
            .env("IOTHUB_HTTPS_PORT", port.to_string())
    }

    /// What it prints when all goes well.
    pub(super) fn said(&self, line: &str) -> String {
        self.run(line).run().expect_code(0).stdout
    }

    pub(super) fn object(&self, line: &str) -> Value {
        self.run(line).run().expect_code(0).object()
    }

    pub(super) fn file(&self, name: &str) -> String {
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

#[cfg(unix)]
#[test]
fn a_command_that_answers_methods_sees_no_credential() {
    let hub = Hub::start();
    let made = hub.object("registry create dev1 -o json");
    let device = hub
        .run("device methods --count 1 --exec")
        .arg("env | grep -c CONNECTION_STRING")
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            made["connection_string"].as_str().unwrap(),
        )
        .env("IOTHUB_EVENTS_CONNECTION_STRING", &hub.service)
        .start();
    let answer = hub.object("method call dev1 count --connect-timeout 60s -o json");
    // By grep: none, which it calls a failure.
    let error = answer["payload"]["error"].as_str().unwrap();
    assert!(error.ends_with("exit status: 1"), "{answer}");
    device.end().expect_code(0);
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
fn a_list_says_when_it_may_not_be_all() {
    let builder = (0..1_001).fold(Emulator::builder(), |builder, number| {
        builder.device(format!("dev{number:04}").parse().unwrap(), None)
    });
    let hub = Hub::of(builder);
    let listed = hub.run("registry list -o csv").run().expect_code(0);
    assert_eq!(
        listed.stdout.lines().count(),
        1_001,
        "the names, and what the hub gives at most"
    );
    assert!(
        listed.stderr.contains("more than 1000 devices"),
        "{}",
        listed.stderr
    );
    let all = hub
        .run("registry query -o json")
        .arg("SELECT deviceId FROM devices")
        .run();
    assert_eq!(all.expect_code(0).json().len(), 1_001);
}

/// In a pseudo-terminal, which util-linux's `script` makes.
#[test]
#[cfg(target_os = "linux")]
fn whoever_sits_there_is_asked_before_a_deletion() {
    let hub = Hub::start();
    hub.said("registry create dev1");
    let delete = |answer: &str, redirect: &str| {
        let line = format!("exec \"$IOTHUB\" registry delete dev1 {redirect}");
        hub.run("registry")
            .program(
                "script",
                &["--quiet", "--return", "--command", &line, "/dev/null"],
            )
            .env("IOTHUB", env!("CARGO_BIN_EXE_iothub"))
            .stdin(answer)
            .run()
    };
    let not = delete("n\n", "").expect_code(2);
    assert!(not.stdout.contains("delete device dev1 for good?"), "{not:?}");
    // A terminal that shows is none that answers.
    let nobody = delete("y\n", "</dev/null").expect_code(2);
    assert!(nobody.stdout.contains("nobody is there to ask"), "{nobody:?}");
    hub.said("registry show dev1");
    delete("y\n", "").expect_code(0);
    hub.run("registry show dev1").run().expect_code(5);
}
