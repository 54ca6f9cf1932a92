//! Goal: `iothub device listen`, `twin`, `methods` and `run` show what comes, answer it, and end as they should.
//! Method: the process, against a hub of hand-written frames; each step follows from what the hub or the process says.

use iothub_address::Scheme;
use iothub_tests::cloud::{Cloud, Seen};
use iothub_tests::frames::{NULL, fields, string, text};
use iothub_tests::sections::{binary, entries, int, long, message, sections};
use serde_json::json;
use tokio::runtime::Runtime;

use super::harness::{Cli, FAR, iothub, url};

struct Peer {
    runtime: Runtime,
    cloud: Cloud,
}

impl Peer {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let cloud = runtime.block_on(Cloud::start());
        Self { runtime, cloud }
    }

    /// A command of `iothub device` to it.
    fn device<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Cli {
        let url = url(Scheme::Amqp, "127.0.0.1", self.cloud.address.port(), "dev", FAR);
        iothub(["device"].into_iter().chain(args))
            .arg("--auth")
            .arg("cbs")
            .file("--url-file", url)
    }

    /// Waits for the next link to an address with this end.
    fn attached(&mut self, end: &str) {
        let attached = self
            .cloud
            .find(|seen| matches!(seen, Seen::Attach(address, _) if address.ends_with(end)).then_some(()));
        self.runtime.block_on(attached);
    }

    fn settled(&mut self) -> u8 {
        let settled = self.cloud.find(|seen| match seen {
            Seen::Settled(code) => Some(code),
            _ => None,
        });
        self.runtime.block_on(settled)
    }

    /// The next request to the twin: its operation, the sections, and by what its answer is known.
    fn asked(&mut self) -> (String, Vec<u8>, Vec<u8>) {
        let sent = self.cloud.find(|seen| match seen {
            Seen::Sent(address, bytes) if address.ends_with("/twin") => Some(bytes),
            _ => None,
        });
        let sections = sections(&self.runtime.block_on(sent));
        let (properties, _) = fields(&sections[&0x73]);
        let operation = text(&entries(&sections[&0x72])["operation"]);
        (
            operation,
            properties[5].to_vec(),
            binary(&sections[&0x75]).to_vec(),
        )
    }

    fn answer(&self, id: &[u8], status: i32, version: i64, body: &str) {
        let annotations = [("status", int(status)), ("version", long(version))];
        let answer = message(
            &[NULL, NULL, NULL, NULL, NULL, id],
            &annotations,
            &[],
            body.as_bytes(),
        );
        self.cloud.send("/twin", answer);
    }

    /// Answers a request, which is to be this operation.
    fn expect(&mut self, operation: &str, version: i64, body: &str) -> Vec<u8> {
        let (asked, id, sent) = self.asked();
        assert_eq!(asked, operation);
        self.answer(&id, 200, version, body);
        sent
    }
}

const COMMANDS: &str = "/messages/devicebound";
const EVENTS: &str = "/messages/events";
const METHODS: &str = "/methods/devicebound";

fn command(body: &str) -> Vec<u8> {
    message(&[&string("id-1")], &[], &[("unit", "C")], body.as_bytes())
}

fn call(name: &str, payload: &str) -> Vec<u8> {
    let id = string("call-1");
    message(
        &[NULL, NULL, NULL, NULL, NULL, &id],
        &[],
        &[("IoThub-methodname", name)],
        payload.as_bytes(),
    )
}

#[test]
fn listening_prints_each_message_with_the_word_on_it_and_ctrl_c_ends_it_with_0() {
    for (word, code, told) in [
        ("complete", 0x24, "completed"),
        ("reject", 0x25, "rejected"),
        ("abandon", 0x26, "abandoned"),
    ] {
        let mut peer = Peer::start();
        let mut listen = peer.device(["listen", "--settle", word, "-o", "json"]).start();
        peer.cloud.send(COMMANDS, command("{\"a\": 1}"));
        let line = listen.json();
        assert_eq!(line["message_id"], "id-1");
        assert_eq!(line["properties"], json!({ "unit": "C" }));
        assert_eq!(line["body"], json!({ "a": 1 }));
        assert_eq!(line["settled"], told);
        assert_eq!(peer.settled(), code);
        listen.signal("INT");
        let ran = listen.end().expect_code(0);
        assert_eq!(ran.stderr, "", "{ran:?}");
    }
}

#[test]
fn listening_ends_after_as_many_as_asked_for_and_shows_no_control_characters() {
    let peer = Peer::start();
    let listen = peer.device(["listen", "--count", "2"]).start();
    peer.cloud.send(COMMANDS, command("one"));
    peer.cloud.send(COMMANDS, command("\u{202e}two"));
    let ran = listen.end().expect_code(0);
    assert_eq!(
        ran.stdout,
        "completed  id-1  {unit=C}  one\ncompleted  id-1  {unit=C}  \\u{202e}two\n"
    );
}

#[test]
fn listening_goes_on_after_a_lost_connection_and_says_so() {
    let mut peer = Peer::start();
    let mut listen = peer.device(["listen", "--count", "2"]).start();
    peer.attached(EVENTS);
    peer.cloud.send(COMMANDS, command("one"));
    listen.line();
    peer.cloud.detach(EVENTS, "amqp:link:detach-forced");
    peer.attached(EVENTS);
    // The client knows of the loss, and attaches this link only after the other: what comes on it comes when all is well.
    peer.cloud.detach(COMMANDS, "amqp:link:detach-forced");
    peer.cloud.send(COMMANDS, command("two"));
    assert!(listen.line().ends_with("two"));
    let ran = listen.end().expect_code(0);
    assert!(ran.stderr.contains("amqp:link:detach-forced"), "{ran:?}");
    assert!(ran.stderr.contains("connected again"), "{ran:?}");
}

#[test]
fn a_refused_link_ends_a_command_with_its_reason() {
    for args in [&["listen"][..], &["methods", "--reply", "1"]] {
        let peer = Peer::start();
        peer.cloud.refuse("/devicebound", "amqp:not-allowed");
        let ran = peer.device(args.iter().copied()).run();
        ran.expect_error(7, &["amqp:not-allowed"]);
    }
}

#[test]
fn the_twin_is_printed_and_reported_to() {
    let mut peer = Peer::start();
    let get = peer.device(["twin", "get", "-o", "json"]).start();
    let twin = r#"{"desired":{"a":1,"$version":4},"reported":{"$version":9}}"#;
    peer.expect("GET", 0, twin);
    let ran = get.end().expect_code(0);
    assert_eq!(
        ran.object(),
        serde_json::from_str::<serde_json::Value>(twin).unwrap()
    );

    let mut peer = Peer::start();
    let report = peer.device(["twin", "report", "{\"fan\": null}"]).start();
    assert_eq!(peer.expect("PATCH", 5, ""), br#"{"fan":null}"#);
    assert_eq!(report.end().expect_code(0).stdout, "reported  version 5\n");

    let mut peer = Peer::start();
    let report = peer.device(["twin", "report", "{}"]).start();
    let (_, id, _) = peer.asked();
    peer.answer(&id, 429, 0, "slow down");
    report.end().expect_error(6, &["429", "slow down"]);
}

#[test]
fn a_patch_that_is_no_object_is_told_before_anything_is_contacted() {
    for patch in ["[1]", "{", "3"] {
        let ran = iothub(["device", "twin", "report", patch])
            .env("IOTHUB_DEVICE_CONNECTION_STRING", CONNECTION)
            .run();
        ran.expect_error(2, &["the patch is"]);
    }
}

/// With a made-up key.
const CONNECTION: &str =
    "HostName=localhost:1;DeviceId=dev;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn the_desired_properties_are_watched() {
    let mut peer = Peer::start();
    let mut watch = peer
        .device(["twin", "watch", "--count", "2", "-o", "json"])
        .start();
    peer.expect("PUT", 0, "");
    peer.expect(
        "GET",
        0,
        r#"{"desired":{"a":1,"$version":4},"reported":{"$version":1}}"#,
    );
    let line = watch.json();
    assert_eq!(
        (&line["version"], &line["whole"], &line["desired"]),
        (&json!(4), &json!(true), &json!({"a": 1}))
    );
    let change = message(&[], &[("version", long(5))], &[], br#"{"a":null,"$version":5}"#);
    peer.cloud.send("/twin", change);
    let line = watch.json();
    assert_eq!(
        (&line["version"], &line["whole"], &line["desired"]),
        (&json!(5), &json!(false), &json!({"a": null}))
    );
    watch.end().expect_code(0);
}

/// The answer to a call: its status as it is encoded, and the payload.
fn answered(peer: &mut Peer) -> (Vec<u8>, Vec<u8>) {
    let sent = peer.cloud.find(|seen| match seen {
        Seen::Sent(address, bytes) if address.ends_with(METHODS) => Some(bytes),
        _ => None,
    });
    let sections = sections(&peer.runtime.block_on(sent));
    let status = entries(&sections[&0x74])["IoThub-status"].clone();
    (status, binary(&sections[&0x75]).to_vec())
}

#[test]
fn methods_are_answered_with_one_reply_or_by_a_command_of_the_shell() {
    let mut peer = Peer::start();
    let methods = peer
        .device([
            "methods",
            "--reply",
            "{\"ok\":true}",
            "--status",
            "7",
            "--count",
            "1",
            "-o",
            "json",
        ])
        .start();
    peer.cloud.send(METHODS, call("reboot", "{\"in\":5}"));
    assert_eq!(answered(&mut peer), (vec![0x54, 7], b"{\"ok\":true}".to_vec()));
    let line = methods.end().expect_code(0).object();
    assert_eq!(
        (&line["method"], &line["payload"]),
        (&json!("reboot"), &json!({ "in": 5 }))
    );
    assert_eq!(
        (&line["status"], &line["reply"]),
        (&json!(7), &json!({ "ok": true }))
    );
    assert_eq!(line["outcome"], "answered");

    let mut peer = Peer::start();
    let script = "read payload; echo \"{\\\"name\\\": \\\"$IOTHUB_METHOD\\\", \\\"got\\\": $payload}\"";
    let methods = peer.device(["methods", "--exec", script, "--count", "1"]).start();
    peer.cloud.send(METHODS, call("echo", "[1]\n"));
    let (status, reply) = answered(&mut peer);
    assert_eq!(status, [0x71, 0, 0, 0, 200]);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&reply).unwrap(),
        json!({"name": "echo", "got": [1]})
    );
    methods.end().expect_code(0);
}

#[test]
fn a_command_that_fails_or_says_no_json_answers_with_500() {
    for script in ["exit 3", "echo not json", "exec sleep 60"] {
        let mut peer = Peer::start();
        let methods = peer
            .device(["methods", "--exec", script, "--count", "1", "--timeout", "3s"])
            .start();
        peer.cloud.send(METHODS, call("m", "null"));
        let (status, reply) = answered(&mut peer);
        assert_eq!(status, [0x71, 0, 0, 1, 0xf4], "{script}");
        assert!(String::from_utf8(reply).unwrap().contains("error"), "{script}");
        methods.end().expect_code(0);
    }
}

#[test]
fn a_reply_that_is_no_json_is_a_usage_error() {
    let ran = iothub(["device", "methods", "--reply", "ok"])
        .env("IOTHUB_DEVICE_CONNECTION_STRING", CONNECTION)
        .run();
    ran.expect_error(2, &["--reply is no JSON"]);
}

#[test]
fn a_simulated_device_does_all_of_it_at_once() {
    let mut peer = Peer::start();
    let mut run = peer
        .device([
            "run",
            "--interval",
            "1h",
            "--body",
            "{\"n\":{number}}",
            "--reply",
            "true",
            "-o",
            "json",
        ])
        .start();
    peer.expect("PUT", 0, "");
    peer.expect(
        "GET",
        0,
        r#"{"desired":{"fan":"on","$version":2},"reported":{"$version":1}}"#,
    );
    let mut lines = Vec::new();
    assert_eq!(
        peer.expect("PATCH", 3, ""),
        br#"{"fan":"on"}"#,
        "what is desired is reported"
    );
    peer.cloud.send(COMMANDS, command("go"));
    peer.cloud.send(METHODS, call("blink", "null"));
    for _ in 0..5 {
        lines.push(run.json());
    }
    let kinds: std::collections::BTreeSet<_> = lines
        .iter()
        .map(|line| {
            line.get("kind")
                .or_else(|| line.get("outcome"))
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected = ["accepted", "command", "desired", "method", "reported"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    run.signal("INT");
    run.end().expect_code(0);
}

#[test]
fn without_a_credential_nothing_is_done() {
    for args in [&["listen"][..], &["methods"], &["run"], &["twin", "get"]] {
        let ran = iothub(["device"].into_iter().chain(args.iter().copied())).run();
        ran.expect_error(2, &["no credential", "IOTHUB_DEVICE_CONNECTION_STRING"]);
    }
}
