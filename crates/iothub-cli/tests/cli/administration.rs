//! Goal: who owns a hub that runs lets things go wrong in it and turns its clock, and nobody else does; what can't be done
//! is one line that says what and why. Method: the hub, a device and the owner as processes of their own.

use std::path::Path;

use serde_json::{Value, json};

use super::harness::{Cli, Ran, Running, emulator_run, iothub, stop};

/// A hub of its own, found by those who look into the same folder.
fn hub(runtime: &Path, more: &[&str]) -> (Running, Value) {
    let mut hub = emulator_run(more.iter().copied())
        .env("XDG_RUNTIME_DIR", runtime)
        .start();
    let ready = hub.json();
    (hub, ready)
}

/// `iothub emulator …` of the owner.
fn emulator(runtime: &Path, args: &[&str]) -> Cli {
    iothub(["emulator"].into_iter().chain(args.iter().copied())).env("XDG_RUNTIME_DIR", runtime)
}

fn send(ready: &Value) -> Ran {
    iothub(["device", "send", "a"])
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            ready["devices"]["myFirstDevice"].as_str().unwrap(),
        )
        .run()
}

#[test]
fn a_fault_hits_the_device_until_it_is_cleared() {
    let runtime = tempfile::tempdir().unwrap();
    let (hub, ready) = hub(
        runtime.path(),
        &["--device", "myFirstDevice", "--device", "other"],
    );
    let ask = |args: &[&str]| emulator(runtime.path(), args).run().expect_code(0).stdout;
    send(&ready).expect_code(0);
    let throttle = [
        "fault",
        "inject",
        "invokethrottling",
        "--duration",
        "1h",
        "--device",
    ];
    assert_eq!(ask(&[&throttle[..], &["other"]].concat()), "injected\n");
    send(&ready).expect_code(0);
    ask(&[
        &throttle[..],
        &["myFirstDevice", "--condition", "amqp:not-implemented"],
    ]
    .concat());
    let refused = send(&ready).expect_code(7);
    assert!(refused.stderr.contains("amqp:not-implemented"), "{refused:?}");
    let clear = ask(&["fault", "clear"]);
    assert_eq!(clear, "2 cleared\n");
    send(&ready).expect_code(0);
    stop(hub);
}

#[test]
fn faults_are_listed_for_people_and_for_programs() {
    let runtime = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    let (hub, _) = hub(runtime.path(), &["--state-dir", state]);
    let ask = |args: &[&str]| {
        let args = [args, &["--state-dir", state]].concat();
        emulator(runtime.path(), &args).run().expect_code(0)
    };
    assert_eq!(ask(&["fault", "list"]).stdout, "");
    let injected = ask(&[
        "fault",
        "inject",
        "RefusePutToken",
        "--status",
        "404",
        "--delay",
        "1h",
        "-o",
        "json",
    ]);
    assert_eq!(injected.object(), json!({ "injected": true }));
    ask(&[
        "fault",
        "inject",
        "DelaySettlement",
        "--late",
        "1500ms",
        "--device",
        "myFirstDevice",
    ]);
    ask(&["fault", "inject", "KillTcp", "--reason", "byebye"]);
    let listed = ask(&["fault", "list", "-o", "json"]).json();
    let without_time = |mut fault: Value| {
        let fault = fault.as_object_mut().unwrap();
        let (name, time) = fault
            .iter()
            .next_back()
            .map(|(name, at)| (name.clone(), at.clone()))
            .unwrap();
        fault.remove(&name);
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        (name, Value::Object(fault.clone()))
    };
    let listed: Vec<_> = listed.into_iter().map(without_time).collect();
    assert_eq!(
        listed,
        [
            (
                "ends".to_owned(),
                json!({ "kind": "DelaySettlement", "device": "myFirstDevice", "late_ms": 1500 })
            ),
            (
                "begins".to_owned(),
                json!({ "kind": "RefusePutToken", "delay_ms": 3_600_000, "status": 404 })
            ),
        ]
    );
    let text = ask(&["fault", "list"]).stdout;
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("DelaySettlement  device myFirstDevice  late_ms 1500  ends 20"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2);
    stop(hub);
}

/// By the names of the protocol reference, §11, and the hub's own.
#[test]
fn every_kind_is_taken_by_its_name() {
    let runtime = tempfile::tempdir().unwrap();
    let (hub, _) = hub(runtime.path(), &[]);
    let kinds = [
        "KillTcp",
        "KillAmqpConnection",
        "KillAmqpSession",
        "KillAmqpCBSLinkReq",
        "KillAmqpCBSLinkResp",
        "KillAmqpD2CLink",
        "KillAmqpC2DLink",
        "KillAmqpTwinLinkReq",
        "KillAmqpTwinLinkResp",
        "KillAmqpMethodReqLink",
        "KillAmqpMethodRespLink",
        "InvokeThrottling",
        "InvokeMaxMessageQuota",
        "InvokeAuthError",
        "ShutDownAmqp",
        "ShutDownMqtt",
        "CutTls",
        "RefusePutToken",
        "SwallowPutToken",
        "WithholdCredit",
        "CloseWindow",
        "WithholdSettlement",
        "DelaySettlement",
        "StopReading",
        "StopWriting",
    ];
    for kind in kinds {
        emulator(runtime.path(), &["fault", "inject", kind, "--delay", "1h"])
            .run()
            .expect_code(0);
    }
    let listed = emulator(runtime.path(), &["fault", "list", "-o", "json"])
        .run()
        .expect_code(0);
    let listed: Vec<_> = listed
        .json()
        .iter()
        .map(|fault| fault["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, kinds);
    let help = emulator(runtime.path(), &["fault", "inject", "--help"])
        .run()
        .expect_code(0)
        .stdout;
    for kind in kinds {
        assert!(help.contains(kind), "{kind} in {help}");
    }
    stop(hub);
}

#[test]
fn the_clock_is_shown_and_turned() {
    let runtime = tempfile::tempdir().unwrap();
    let (mut hub, ready) = hub(runtime.path(), &[]);
    let ask = |args: &[&str]| emulator(runtime.path(), args).run().expect_code(0);
    let year = |time: &str| time[..4].parse::<u32>().unwrap();
    let before = year(&ask(&["clock", "show"]).stdout);
    let turned = ask(&["clock", "turn", "2000d", "-o", "json"]).object();
    let after = year(turned["now"].as_str().unwrap());
    assert!((before + 5..=before + 6).contains(&after), "{before} {after}");
    // The device's token is of the time before.
    send(&ready).expect_code(4);
    // And so are the times of events that come by a fresh one.
    let fresh = iothub(["address", "convert", "--to", "url", "--ttl", "3000d"])
        .arg(ready["devices"]["myFirstDevice"].as_str().unwrap())
        .run()
        .expect_code(0)
        .stdout;
    iothub(["device", "send", "a"])
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .file("--url-file", fresh)
        .run()
        .expect_code(0);
    assert_eq!(year(hub.json()["enqueued"].as_str().unwrap()), after);
    stop(hub);
}

#[test]
fn which_hub_is_meant_is_found_or_asked_for() {
    let runtime = tempfile::tempdir().unwrap();
    let list = || emulator(runtime.path(), &["fault", "list"]).run();
    list().expect_error(3, &["no hub runs", "iothub emulator run", "--state-dir"]);
    let (one, _) = hub(runtime.path(), &[]);
    list().expect_code(0);
    let (other, ready) = hub(runtime.path(), &[]);
    list().expect_error(2, &["2 hubs", "--state-dir"]);
    let folder = Path::new(ready["ca"].as_str().unwrap()).parent().unwrap();
    let on = |folder: &Path| {
        emulator(runtime.path(), &["fault", "list", "--state-dir"])
            .arg(folder)
            .run()
    };
    on(folder).expect_code(0);
    on(runtime.path()).expect_error(3, &["no hub runs on", runtime.path().to_str().unwrap()]);
    on(Path::new("/nowhere")).expect_error(2, &["/nowhere"]);
    stop(other);
    list().expect_code(0);
    stop(one);
    list().expect_code(3);
}

#[test]
fn a_hub_that_was_killed_is_not_found_and_the_next_one_clears_up() {
    let runtime = tempfile::tempdir().unwrap();
    let (killed, ready) = hub(runtime.path(), &[]);
    killed.signal("KILL");
    let (_, _scratch) = killed.end_keeping_scratch();
    let folder = Path::new(ready["ca"].as_str().unwrap()).parent().unwrap();
    assert!(folder.exists());
    emulator(runtime.path(), &["fault", "list"])
        .run()
        .expect_error(3, &["no hub runs"]);
    let (living, _) = hub(runtime.path(), &[]);
    assert!(!folder.exists());
    // It does not take the living for dead.
    let (next, _) = hub(runtime.path(), &[]);
    let folders = std::fs::read_dir(runtime.path().join("iothub")).unwrap().count();
    assert_eq!(folders, 2);
    stop(next);
    stop(living);

    // The user's own directory stays; that nobody is there is told.
    let state = tempfile::tempdir().unwrap();
    let (killed, _) = hub(runtime.path(), &["--state-dir", state.path().to_str().unwrap()]);
    killed.signal("KILL");
    let (_, _scratch) = killed.end_keeping_scratch();
    emulator(runtime.path(), &["fault", "list", "--state-dir"])
        .arg(state.path())
        .run()
        .expect_error(3, &["can't reach the hub at localhost:", "killed"]);
}

#[test]
fn what_the_hub_will_not_do_is_one_line_with_its_reason() {
    let runtime = tempfile::tempdir().unwrap();
    let (hub, _) = hub(runtime.path(), &[]);
    let inject = |args: &[&str]| emulator(runtime.path(), &[&["fault", "inject"], args].concat()).run();
    inject(&["KillTcp", "--device", "nobody"]).expect_error(5, &["nobody"]);
    inject(&["KillTcp", "--device", "myFirstDevice", "--module", "m"]).expect_error(5, &["myFirstDevice/m"]);
    inject(&["KillTcp", "--delay", "25h"]).expect_error(2, &["longer than a day"]);
    inject(&["KillTcp", "--condition", "a b"]).expect_error(2, &["graphic ASCII"]);
    inject(&["RefusePutToken", "--status", "200"]).expect_error(2, &["300 to 599"]);
    inject(&["KillTcp", "--status", "500"]).expect_error(2, &["--status", "RefusePutToken"]);
    inject(&["RefusePutToken", "--late", "5s"]).expect_error(2, &["--late", "DelaySettlement"]);
    for (args, word) in [
        (&["KillAll"][..], "KillAmqpConnection"),
        (&["KillTcp", "--module", "m"], "--device"),
        (&["KillTcp", "--device", "a/b"], "'/'"),
        (&["KillTcp", "--reason", "bye"], "boom or byebye"),
        (&["KillTcp", "--duration", "5"], "--duration"),
        (&[], "KIND"),
    ] {
        let ran = inject(args).expect_code(2);
        assert!(ran.stderr.contains(word), "{ran:?}");
    }
    emulator(runtime.path(), &["clock", "turn"]).run().expect_code(2);
    emulator(runtime.path(), &["clock", "turn", "3651d"])
        .run()
        .expect_code(2);
    assert_eq!(emulator(runtime.path(), &["fault", "list"]).run().stdout, "");
    stop(hub);
}

/// The file of another run, or of another hub's making.
#[test]
fn a_file_that_does_not_fit_the_hub_is_told() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().to_str().unwrap();
    let (hub, _) = hub(state.path(), &["--state-dir", path]);
    let file = state.path().join("emulator.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let list = || {
        emulator(state.path(), &["fault", "list", "--state-dir", path])
            .arg("-vvv")
            .env("RUST_LOG", "trace")
            .run()
    };
    let announced: Value = serde_json::from_str(&text).unwrap();
    let token = announced["admin_token"].as_str().unwrap();

    let wrong = token.replace(|c: char| c.is_ascii_digit(), "f");
    std::fs::write(&file, text.replace(token, &wrong)).unwrap();
    let ran = list().expect_code(4);
    assert!(ran.stderr.contains("error: the hub: not authorised"), "{ran:?}");
    assert!(!ran.stderr.contains(&wrong[..16]), "{ran:?}");

    // The first one's certificate does not vouch for the second.
    let ca = announced["ca"].as_str().unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other_ca = state.path().join("other.pem");
    std::fs::write(&other_ca, other.cert.pem()).unwrap();
    std::fs::write(&file, text.replace(ca, other_ca.to_str().unwrap())).unwrap();
    let ran = list().expect_code(3);
    assert!(ran.stderr.contains("certificate"), "{ran:?}");
    assert!(!ran.stderr.contains(&token[..16]), "{ran:?}");

    for (text, words) in [
        ("", "not as this version writes it"),
        ("{}", "not as this version writes it"),
        (
            &text.replace("admin_token", "token"),
            "not as this version writes it",
        ),
        (&text.replace(ca, "/nowhere/ca.pem"), "/nowhere/ca.pem"),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = list().expect_code(2);
        assert!(ran.stderr.contains(words), "{ran:?}");
        assert!(!ran.stderr.contains(&token[..16]), "{ran:?}");
    }
    stop(hub);
}

/// Of a hub that tells all that it does, and of those who ask it.
#[test]
fn the_token_is_in_the_owners_file_alone() {
    let runtime = tempfile::tempdir().unwrap();
    let loud = [
        "-vvv",
        "emulator",
        "run",
        "--amqps-port",
        "0",
        "--https-port",
        "0",
    ];
    let state = tempfile::tempdir().unwrap();
    let mut hub = iothub(loud)
        .arg("--state-dir")
        .arg(state.path())
        .env("RUST_LOG", "trace")
        .env("XDG_RUNTIME_DIR", runtime.path())
        .start();
    let mut said = String::new();
    while !said.contains("Ctrl-C stops it") {
        said.push_str(&hub.line());
    }
    let file = std::fs::read_to_string(state.path().join("emulator.json")).unwrap();
    let announced: Value = serde_json::from_str(&file).unwrap();
    let token = announced["admin_token"].as_str().unwrap();
    assert!(token.len() >= 32, "{token}");
    for args in [
        &["clock", "show"][..],
        &["fault", "inject", "KillTcp"],
        &["fault", "inject", "KillTcp", "--delay", "25h"],
    ] {
        let ran = emulator(runtime.path(), args)
            .arg("--state-dir")
            .arg(state.path())
            .arg("-vvv")
            .env("RUST_LOG", "trace")
            .run();
        said.push_str(&format!("{ran:?}"));
    }
    said.push_str(&format!("{:?}", stop(hub)));
    assert!(!said.contains(&token[..16]), "{said}");
}
