//! Goal: `c2d send` and `feedback` say what becomes of messages to devices, and take no one else's feedback.
//! Method: the emulator in the test's own process, whose clock is turned to when it tells feedback; `device listen` as the
//! device.

use std::time::Duration;

use iothub_emulator::{Ack, CloudMessage, Notice, Passed};
use serde_json::{Value, json};

use super::events::World;
use super::harness::{Ran, Running};

/// Starts `c2d send --wait` to a device that listens, and turns the clock once the message is settled. Gives what both wrote.
fn sent_and_settled(settle: &str) -> (Ran, Ran) {
    let world = World::new();
    let listen = ["listen", "--count", "1", "--settle", settle, "-o", "json"];
    let device = world.device("pump-1", &listen).start();
    let send = [
        "c2d",
        "send",
        "pump-1",
        "{\"on\":true}",
        "-p",
        "urgent=yes",
        "--message-id",
        "m1",
        "--wait",
        "-o",
        "json",
    ];
    let waiting = world.service(&send).start();
    let device = device.end().expect_code(0);
    (end_after_feedback(&world, waiting), device)
}

/// Feedback is told 15 s after the first of it (protocol §6.1), which the hub's clock says.
fn end_after_feedback(world: &World, waiting: Running) -> Ran {
    let mut traffic = world.emulator.traffic().subscribe_from_start();
    world.runtime.block_on(async {
        while let Some(notice) = traffic.next().await {
            if let Notice::Entry(entry) = notice
                && matches!(entry.passed, Passed::Left { .. })
            {
                break;
            }
        }
        world.emulator.turn_clock(Duration::from_secs(16)).await.unwrap();
    });
    waiting.end()
}

#[test]
fn a_message_is_sent_and_waited_for_until_its_device_has_completed_it() {
    let (sent, device) = sent_and_settled("complete");
    let sent = sent.expect_code(0).object();
    let fields = ["message_id", "device", "module", "outcome", "feedback"].map(|field| sent[field].clone());
    let expected = [
        json!("m1"),
        json!("pump-1"),
        Value::Null,
        json!("accepted"),
        json!("Success"),
    ];
    assert_eq!(fields, expected);
    assert!(sent["feedback_time"].as_str().unwrap().ends_with('Z'), "{sent}");
    assert!(sent["ms"].as_f64().unwrap() > 0.0, "{sent}");
    let received = device.object();
    assert_eq!(received["properties"]["urgent"], "yes", "{received}");
    assert_eq!(received["body"], json!({"on": true}));
}

#[test]
fn a_message_that_its_device_rejects_ends_it_with_7() {
    let (sent, _) = sent_and_settled("reject");
    assert_eq!(sent.expect_code(7).object()["feedback"], "Rejected");
}

#[test]
fn to_wait_takes_the_feedback_of_each_end() {
    let world = World::new();
    let send = ["c2d", "send", "pump-1", "x", "--wait", "--ack", "positive"];
    world
        .service(&send)
        .run()
        .expect_error(2, &["--wait needs to hear of each end", "say --ack full"]);
    let waits = world
        .emulator
        .waiting_messages("pump-1".parse::<iothub_address::DeviceId>().unwrap());
    assert_eq!(world.runtime.block_on(waits).unwrap(), 0, "nothing was sent");
}

#[test]
fn what_the_hub_refuses_is_told_by_its_condition() {
    let world = World::new();
    let error = |ran: Ran, code| {
        let ran = ran.expect_code(code);
        let line: Value = serde_json::from_str(&ran.stderr).unwrap();
        line["error"].clone()
    };
    let nobody = error(
        world.service(&["c2d", "send", "nobody", "x", "-o", "json"]).run(),
        5,
    );
    assert_eq!(nobody["condition"], "amqp:not-found");
    assert!(
        nobody["hint"].as_str().unwrap().contains("iothub registry list"),
        "{nobody}"
    );
    world.runtime.block_on(async {
        for _ in 0..50 {
            let device: iothub_address::DeviceId = "fan-1".parse().unwrap();
            let message = CloudMessage::new("x");
            world.emulator.send_to_device(device, message).await.unwrap();
        }
    });
    let full = error(
        world.service(&["c2d", "send", "fan-1", "x", "-o", "json"]).run(),
        6,
    );
    assert_eq!(full["condition"], "amqp:resource-limit-exceeded");
    assert_eq!(full["retryable"], true);
    let large = "x".repeat(64 * 1024);
    let send = ["c2d", "send", "pump-1", "-", "-o", "json"];
    let large = error(world.service(&send).stdin(large).run(), 7);
    assert_eq!(large["kind"], "rejected");
}

/// Reads nothing of what the command writes, and says whether the hub still has a message for its device.
#[track_caller]
fn unread(args: &[&str]) {
    let world = World::new();
    let device: iothub_address::DeviceId = "pump-1".parse().unwrap();
    let sent = world
        .emulator
        .send_to_device(device.clone(), CloudMessage::new("open the valve"));
    world.runtime.block_on(sent).unwrap();
    let (command, stdout) = world.device("pump-1", args).start_unread();
    drop(stdout);
    command.end().expect_error(1, &["can't write to standard output"]);
    let waits = world.emulator.waiting_messages(device);
    assert_eq!(world.runtime.block_on(waits).unwrap(), 1, "{args:?}");
}

#[test]
fn a_message_that_nobody_reads_stays_with_the_hub() {
    for word in ["complete", "reject", "abandon"] {
        unread(&["listen", "--settle", word]);
        unread(&["listen", "--settle", word, "-o", "json"]);
    }
    unread(&["run"]);
}

/// Where a write fails (proc(5) and null(4) have `/dev/full`).
#[cfg(target_os = "linux")]
#[test]
fn a_message_for_which_the_disk_has_no_room_stays_with_the_hub() {
    let world = World::new();
    let device: iothub_address::DeviceId = "pump-1".parse().unwrap();
    let sent = world
        .emulator
        .send_to_device(device.clone(), CloudMessage::new("open the valve"));
    world.runtime.block_on(sent).unwrap();
    let full = world.device("pump-1", &["listen"]).stdout_to("/dev/full").run();
    full.expect_error(1, &["can't write to standard output"]);
    let waits = world.emulator.waiting_messages(device);
    assert_eq!(world.runtime.block_on(waits).unwrap(), 1);
}

/// Puts two messages that are purged, of which the hub tells.
fn purge_two(world: &World) {
    let device: iothub_address::DeviceId = "fan-1".parse().unwrap();
    world.runtime.block_on(async {
        for id in ["m1", "m2"] {
            let message = CloudMessage::new("x").id(id).ack(Ack::Full);
            world
                .emulator
                .send_to_device(device.clone(), message)
                .await
                .unwrap();
        }
        world.emulator.purge_messages(device).await.unwrap();
        world.emulator.turn_clock(Duration::from_secs(16)).await.unwrap();
    });
}

#[test]
fn feedback_that_nobody_reads_is_told_to_the_next() {
    let world = World::new();
    purge_two(&world);
    let (command, stdout) = world.service(&["c2d", "feedback"]).start_unread();
    drop(stdout);
    command.end().expect_error(1, &["can't write to standard output"]);
    let told = world.service(&["c2d", "feedback", "-n", "1", "-o", "json"]).run();
    let lines = told.expect_code(0).json();
    assert_eq!((&lines[0]["message_id"], lines.len()), (&json!("m1"), 2));
}

#[test]
fn feedback_is_printed_a_line_a_message() {
    let world = World::new();
    purge_two(&world);
    let told = world
        .service(&["c2d", "feedback", "-n", "1", "-o", "json"])
        .run()
        .expect_code(0);
    let lines = told.json();
    let shown: Vec<_> = lines
        .iter()
        .map(|line| ["message_id", "device", "status"].map(|field| line[field].as_str().unwrap()))
        .collect();
    // Both stand in one batch, which is taken as a whole.
    assert_eq!(shown, [["m1", "fan-1", "Purged"], ["m2", "fan-1", "Purged"]]);
}
