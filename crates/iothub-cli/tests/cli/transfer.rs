//! Goal: a registry goes into a file and out of it again, and whoever is in the way of that, or stops it, is told how far it came.
//! Method: the process, against the emulator; expected texts are written by hand from docs/cli.md.

use std::collections::BTreeSet;

use iothub_emulator::{Emulator, Tier};
use iothub_registry::{Device, Registry};
use serde_json::{Value, json};

use super::operators::Hub;

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
        json!({ "done": 105, "refused": 0, "unknown": 0, "not_asked": 0 })
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
    assert_eq!(
        again.object(),
        json!({ "done": 1, "refused": 1, "unknown": 0, "not_asked": 0 })
    );
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
    nowhere.expect_error(2, &["can't make /nowhere/devices.jsonl: No such file"]);

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

/// A hub of one unit takes 100 changes a minute (Azure docs, "IoT Hub quotas and throttling"), of which a bulk is one: what comes behind has
/// to wait.
#[test]
#[cfg(unix)]
fn an_import_that_is_stopped_says_what_is_done() {
    let hub = Hub::of(Emulator::builder().tier(Tier::S1));
    hub.runtime.block_on(async {
        let string = hub.service.parse().unwrap();
        let registry = Registry::from_connection_string(&string).unwrap();
        let registry = registry
            .port(hub.emulator.https_address().unwrap().port())
            .root(hub.emulator.root_certificate_der().to_vec().into())
            .build()
            .await
            .unwrap();
        for number in 0..98 {
            let id = format!("before{number}").parse().unwrap();
            registry.create_device(&Device::new(id)).await.unwrap();
        }
    });
    let lines: Vec<_> = (0..5_000)
        .map(|number| format!("{{\"id\":\"dev{number}\"}}\n"))
        .collect();
    let file = hub.file("devices.jsonl");
    std::fs::write(&file, lines.concat()).unwrap();
    let import = hub
        .run("registry import -o json --timeout 600s")
        .arg(&file)
        .start();
    let registered = || hub.runtime.block_on(hub.emulator.devices()).unwrap().len() as u64 - 98;
    while registered() < 100 {
        std::thread::yield_now();
    }
    import.signal("INT");
    let ran = import.end().expect_code(130);
    let told = ran.object();
    let count = |name: &str| told[name].as_u64().unwrap();
    let (done, unknown) = (count("done"), count("unknown"));
    assert!((done..=done + unknown).contains(&registered()), "{ran:?}");
    assert_eq!(done + unknown + count("not_asked"), 5_000, "{ran:?}");
    assert!(unknown <= 100 && count("not_asked") > 0, "{ran:?}");
}

#[test]
fn an_import_takes_a_pipe_and_what_other_tools_write() {
    let hub = Hub::start();
    // As export jobs write it: a mode that a bulk does not know, in whatever place.
    let lines = [
        r#"{"id":"a","importMode":"createOrUpdate"}"#,
        r#"{ "importMode" : "createOrUpdate", "id" : "b", "tags" : { "importMode" : "createOrUpdate" } }"#,
        "",
        r#"{"id":"a","importMode":"delete"}"#,
    ];
    let ran = hub.run("registry import -").stdin(lines.join("\r\n")).run();
    assert_eq!(ran.expect_code(0).stdout, "3 done, 0 refused\n");
    let b = hub.object("twin show b -o json");
    assert_eq!(b["tags"], json!({ "importMode": "createOrUpdate" }));
    hub.run("registry show a").run().expect_code(5);
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(1 << 20));
    let ran = hub.run("registry import -").stdin(long).run();
    ran.expect_error(2, &["line 1 of standard input", "longer than 1048576 bytes"]);
}
