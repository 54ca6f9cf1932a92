//! Goal: `device send` sends what it was given, says what became of each message, and exits as documented.
//! Method: the binary against the emulator in the test's own process, over TLS; and against a scripted hub of
//! hand-written frames for outcomes that the emulator does not give.

use iothub_address::Scheme;
use iothub_emulator::{Body, Event, Value as Amqp};
use iothub_tests::frames;
use iothub_tests::scripted::{Step, accept_and_play, listen};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::harness::{FAR, Hub, Ran, iothub, url};

fn bodies(hub: &Hub) -> Vec<Vec<u8>> {
    let body = |event: &Event| match &event.message.body {
        Body::Data(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    hub.emulator
        .journal()
        .snapshot()
        .iter()
        .map(|event| body(event))
        .collect()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.as_bytes()[14] == b'4' && text.chars().filter(|c| *c == '-').count() == 4
}

#[test]
fn local_sends_over_tls_and_shows_what_the_hub_received() {
    let ran = iothub([
        "device",
        "send",
        "--local",
        "-o",
        "json",
        "-p",
        "a=b=c",
        "Hello World!",
        "[1, 2]",
    ])
    .run();
    let lines = ran.expect_code(0);
    let address = lines.stderr.trim_end();
    assert!(
        address.contains("amqps://myFirstDevice%40sas.tcontehub:***@localhost:"),
        "{address}"
    );
    assert!(
        address.ends_with("/devices/myFirstDevice/messages/events"),
        "{address}"
    );

    let json = lines.json();
    assert_eq!(json.len(), 4);
    let (outcome, event) = (&json[0], &json[1]);
    let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(outcome),
        ["message_id", "outcome", "condition", "description", "ms"]
    );
    assert_eq!(outcome["outcome"], "accepted");
    assert_eq!(
        (&outcome["condition"], &outcome["description"]),
        (&Value::Null, &Value::Null)
    );
    assert!(outcome["ms"].as_f64().unwrap() > 0.0);
    let id = outcome["message_id"].as_str().unwrap();
    assert!(is_uuid(id), "{id}");

    assert_eq!(
        keys(event),
        [
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
            "body"
        ]
    );
    assert_eq!(
        (&event["device"], &event["module"]),
        (&json!("myFirstDevice"), &Value::Null)
    );
    assert_eq!(
        (&event["body_kind"], &event["body"]),
        (&json!("text"), &json!("Hello World!"))
    );
    assert_eq!(
        (&event["source"], &event["seq"]),
        (&json!("Telemetry"), &json!(0))
    );
    assert_eq!(event["properties"], json!({"a": "b=c"}));
    assert_eq!(event["system"]["message-id"], id);
    assert_eq!(event["system"]["iothub-connection-device-id"], "myFirstDevice");
    assert_eq!(event["system"]["iothub-enqueuedtime"], event["enqueued"]);
    let enqueued = event["enqueued"].as_str().unwrap();
    assert!(
        enqueued.len() == 24 && enqueued.ends_with('Z') && enqueued.as_bytes()[19] == b'.',
        "{enqueued}"
    );
    assert_eq!(
        (&json[3]["body_kind"], &json[3]["body"], &json[3]["seq"]),
        (&json!("json"), &json!([1, 2]), &json!(1))
    );
}

#[test]
fn local_as_text_names_body_device_and_time() {
    let ran = iothub(["device", "send", "--local", "Hello World!"])
        .run()
        .expect_code(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    let words: Vec<_> = lines[0].split("  ").collect();
    assert_eq!(words[0], "accepted");
    assert!(is_uuid(words[1]) && words[2].ends_with(" ms"), "{words:?}");
    assert!(lines[1].starts_with("received  20"), "{ran:?}");
    assert!(
        lines[1].contains("  myFirstDevice  ") && lines[1].ends_with("  Hello World!"),
        "{ran:?}"
    );
}

#[test]
fn a_connection_string_is_taken_from_the_environment_a_file_or_standard_input() {
    let hub = Hub::start();
    hub.send(["1"]).run().expect_code(0);
    let string = format!("{}\n", hub.connection_string());
    let other = || iothub(["device", "send", "2"]).env("IOTHUB_DEVICE_CONNECTION_STRING", "nonsense");
    // The flag counts, not the environment.
    let by_file = other()
        .file("--connection-string-file", &string)
        .arg("--ca")
        .arg(hub.ca())
        .run();
    by_file.expect_code(0);
    let by_stdin = other()
        .arg("--connection-string-file")
        .arg("-")
        .arg("--ca")
        .arg(hub.ca())
        .stdin(string)
        .run();
    by_stdin.expect_code(0);
    assert_eq!(bodies(&hub), [b"1", b"2", b"2"]);
}

#[test]
fn the_double_at_address_is_taken_from_a_file_over_tls_and_over_plain_loopback() {
    let hub = Hub::start();
    let tls = url(
        Scheme::Amqps,
        "localhost",
        hub.emulator.amqps_address().port(),
        "dev",
        FAR,
    );
    let ran = iothub(["device", "send", "tls"])
        .file("--url-file", format!("{tls}\n"))
        .arg("--ca")
        .arg(hub.ca())
        .run();
    ran.expect_code(0);
    let plain = url(
        Scheme::Amqp,
        "127.0.0.1",
        hub.emulator.amqp_address().unwrap().port(),
        "dev",
        FAR,
    );
    iothub(["device", "send", "plain"])
        .file("--url-file", plain)
        .run()
        .expect_code(0);
    assert_eq!(bodies(&hub), [&b"tls"[..], b"plain"]);
}

#[test]
fn a_ready_token_and_a_gateway_work_in_a_connection_string() {
    let hub = Hub::start();
    let token =
        iothub_sas::Signer::new(super::harness::key()).sign("myhub.azure-devices.net/devices/dev", FAR);
    let port = hub.emulator.amqps_address().port();
    // The gateway is dialled; the hub's name is that of HostName.
    let string = format!(
        "HostName=myhub.azure-devices.net;DeviceId=dev;SharedAccessSignature={};GatewayHostName=localhost:{port}",
        token.expose()
    );
    let ran = hub
        .send(["a"])
        .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
        .run();
    ran.expect_code(0);
    assert_eq!(hub.received(), 1);
}

#[test]
fn by_claims_a_token_may_be_long_and_a_stranger_is_told_apart_from_a_wrong_key() {
    let ran = iothub(["device", "send", "--local", "--auth", "cbs", "Hello World!"]).run();
    assert!(ran.stdout.contains("Hello World!"), "{}", ran.stdout);
    ran.expect_code(0);

    let hub = Hub::start();
    let other_key = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    for (id, key, code) in [("dev", other_key, 4), ("stranger", super::harness::KEY, 5)] {
        let ran = hub
            .send(["--auth", "cbs", "a"])
            .env(
                "IOTHUB_DEVICE_CONNECTION_STRING",
                hub.connection_string_of(id, key),
            )
            .run();
        ran.expect_error(code, &["the hub refused the token"]);
    }
}

#[test]
fn a_body_from_standard_input_arrives_byte_by_byte() {
    let hub = Hub::start();
    let bytes: Vec<u8> = (0..=255).chain(*b"\r\n").collect();
    hub.send(["first", "-", "last"])
        .stdin(bytes.clone())
        .run()
        .expect_code(0);
    assert_eq!(bodies(&hub), [b"first".to_vec(), bytes, b"last".to_vec()]);
}

#[test]
fn each_line_is_a_body_and_they_arrive_in_order() {
    let hub = Hub::start();
    let lines: String = (0..1000)
        .map(|number| format!("{{\"n\":{number}}}\n\n"))
        .collect();
    let ran = hub
        .send(["--jsonl", "-", "-o", "json"])
        .stdin(lines.clone())
        .run()
        .expect_code(0);
    assert_eq!(ran.json().len(), 1000);
    let ids: std::collections::HashSet<_> = ran
        .json()
        .iter()
        .map(|line| line["message_id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1000);
    let expected: Vec<_> = (0..1000)
        .map(|number| format!("{{\"n\":{number}}}").into_bytes())
        .collect();
    assert_eq!(bodies(&hub), expected);
    hub.send(["before"]).file("--jsonl", lines).run().expect_code(0);
    assert_eq!(hub.received(), 2001);
}

#[test]
fn nothing_in_a_file_of_lines_is_nothing_to_do() {
    let hub = Hub::start();
    let ran = hub.send(["--jsonl", "-"]).stdin("\n\n").run().expect_code(0);
    assert_eq!(ran.stdout, "");
}

#[test]
fn what_is_said_of_a_message_arrives() {
    let hub = Hub::start();
    let flags = [
        "--content-type",
        "application/json",
        "--message-id",
        "id-1",
        "-p",
        "k=v",
        "--property",
        "e=",
        "-p",
        "k=w",
    ];
    let ran = hub.send([&flags[..], &["{}"]].concat()).run().expect_code(0);
    assert!(ran.stdout.starts_with("accepted  id-1  "), "{ran:?}");
    let events = hub.emulator.journal().snapshot();
    let message = &events[0].message;
    assert_eq!(
        message.properties.content_type.as_deref(),
        Some("application/json")
    );
    assert_eq!(message.properties.content_encoding.as_deref(), Some("utf-8"));
    let text = |text: &str| Amqp::String(text.to_owned());
    let expected = vec![("k".to_owned(), text("w")), ("e".to_owned(), text(""))];
    assert_eq!(message.application_properties, expected);
}

#[test]
fn a_body_that_is_a_negative_number_is_no_flag() {
    let hub = Hub::start();
    hub.send(["-5.5"]).run().expect_code(0);
    assert_eq!(bodies(&hub), [b"-5.5"]);
}

/// Against a scripted hub that answers the messages, once it has them all, with these frames.
fn scripted(answers: &[Vec<u8>], args: &[&str]) -> Ran {
    let runtime = Runtime::new().unwrap();
    let (listener, address) = runtime.block_on(listen()).unwrap();
    let (messages, answers) = (answers.len(), answers.concat());
    runtime.spawn(async move {
        let mut peer = accept_and_play(&listener, Step::Credit).await.unwrap();
        for _ in 0..messages {
            peer.step(Step::Transfer).await.unwrap();
        }
        peer.send(&answers).await.unwrap();
        for step in [Step::Detach, Step::End, Step::Close] {
            peer.step(step).await.unwrap();
        }
    });
    let url = url(Scheme::Amqp, "127.0.0.1", address.port(), "dev", FAR);
    let send = ["device", "send"].into_iter().chain(args.iter().copied());
    iothub(send).file("--url-file", url).run()
}

#[test]
fn a_rejected_message_exits_by_its_condition() {
    for (condition, code) in [
        ("amqp:unauthorized-access", 4),
        ("amqp:not-found", 5),
        ("com.microsoft:device-container-throttled", 6),
        ("amqp:resource-limit-exceeded", 6),
        ("com.microsoft:quota-exceeded", 6),
        ("amqp:not-allowed", 7),
    ] {
        let ran = scripted(&[frames::rejected(0, condition, "why\nso")], &["-o", "json", "a"]);
        let outcome = ran.object();
        assert_eq!(outcome["outcome"], "rejected");
        assert_eq!(
            (&outcome["condition"], &outcome["description"]),
            (&json!(condition), &json!("why\nso"))
        );
        ran.expect_error(code, &[condition, "why\\nso"]);
    }
}

#[test]
fn a_released_message_is_not_accepted() {
    let ran = scripted(&[frames::released(0)], &["-o", "json", "a"]);
    assert_eq!(ran.object()["outcome"], "released");
    ran.expect_error(7, &["released"]);
}

#[test]
fn some_messages_not_accepted_are_partial_with_counts() {
    let answers = [frames::accepted(0), frames::rejected(1, "amqp:not-allowed", "no")];
    let ran = scripted(&answers, &["-o", "json", "a", "b"]);
    let outcomes: Vec<_> = ran.json().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["accepted", "rejected"]);
    ran.expect_error(9, &["1 of 2 messages not accepted", "1 rejected"]);
}

#[test]
fn several_messages_that_fail_for_one_reason_exit_with_it() {
    let answers = [0, 1].map(|id| frames::rejected(id, "com.microsoft:quota-exceeded", "no"));
    scripted(&answers, &["a", "b"]).expect_error(6, &["2 of 2 messages not accepted", "2 rejected"]);
}

#[test]
fn a_hub_that_ends_the_link_leaves_the_rest_of_a_file_unread() {
    let runtime = Runtime::new().unwrap();
    let (listener, address) = runtime.block_on(listen()).unwrap();
    runtime.spawn(async move {
        let mut peer = accept_and_play(&listener, Step::Transfer).await.unwrap();
        peer.send(&frames::detach(Some(("amqp:unauthorized-access", "expired"))))
            .await
            .unwrap();
        peer.until_gone().await;
    });
    let url = url(Scheme::Amqp, "127.0.0.1", address.port(), "dev", FAR);
    let mut send = iothub(["device", "send", "--jsonl", "-"])
        .file("--url-file", url)
        .start();
    use std::io::Write;
    // Standard input stays open, as that of a program that measures for years.
    send.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    let line = send.line();
    assert!(line.starts_with("unknown "), "{line}");
    let _open = send.stdin.take();
    let ran = send.end().expect_code(4);
    assert!(
        ran.stderr.contains("the rest of the input is not read"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.lines().last().unwrap().starts_with("error: message "),
        "{ran:?}"
    );
}

#[test]
fn a_reader_who_goes_away_does_not_end_the_sending() {
    let hub = Hub::start();
    let (send, stdout) = hub.send(["--jsonl", "-"]).start_unread();
    drop(stdout);
    let mut send = send;
    use std::io::Write;
    send.stdin.as_mut().unwrap().write_all(b"a\nb\nc\n").unwrap();
    let ran = send.end().expect_code(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(hub.received(), 3);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_unexpected() {
    let hub = Hub::start();
    hub.send(["a"])
        .stdout_to("/dev/full")
        .run()
        .expect_error(1, &["standard output", "No space left"]);
}
