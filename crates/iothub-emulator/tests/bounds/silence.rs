//! Clients that read nothing, and clients that are not there any more.

use std::time::Duration;

use iothub_emulator::CloudMessage;
use tokio::time::Instant;

use crate::common::device;
use crate::raw::*;
use crate::{CONNECTION, MIB, assert_served, attached, begun, gone, measure, stream};

/// Attaches a receiver of cloud-to-device messages with handle 1 and credit for all.
async fn receiver(raw: &mut Raw) {
    let address = "/devices/myFirstDevice/messages/devicebound";
    raw.send(&frame(
        0,
        ATTACH,
        &attach_fields(1, "receiver", true, address, "target"),
        b"",
    ))
    .await;
    raw.expect_past_flows(ATTACH).await;
    let fields = [
        uint(0),
        uint(5000),
        uint(0),
        uint(5000),
        uint(1),
        uint(0),
        uint(1000),
    ];
    raw.send(&frame(0, FLOW, &fields, b"")).await;
}

/// More than goes into the stream under it: the hub's writer waits, then gives the client up.
#[test]
fn a_client_that_reads_nothing_is_given_up_and_gone_and_its_messages_are_another_ones() {
    let bytes = measure(|hub| async move {
        let mut slow = begun(&hub).await;
        receiver(&mut slow).await;
        for _ in 0..50 {
            let message = CloudMessage::new(vec![b'x'; 60_000]);
            hub.send_to_device(device(), message).await.unwrap();
        }
        let before = Instant::now();
        assert_eq!(gone(&hub, 1).await, "the peer stopped reading");
        let waited = before.elapsed();
        assert!(
            (Duration::from_secs(30)..Duration::from_secs(35)).contains(&waited),
            "{waited:?}"
        );
        // What it had not settled is there for the next one.
        let mut next = begun(&hub).await;
        receiver(&mut next).await;
        let first = next.expect_past_flows(TRANSFER).await;
        assert!(!first.payload.is_empty());
        drop(slow);
    });
    println!("{bytes} bytes for a client that reads nothing");
    assert!(bytes < CONNECTION, "{bytes} bytes");
}

/// Each outcome that the client leaves to the hub to settle is answered, and here nobody reads the answers: the hub reads
/// no further than it can say something to.
#[test]
fn a_client_that_asks_to_be_answered_and_reads_no_answer_is_heard_no_further() {
    let bytes = measure(|hub| async move {
        let mut mute = begun(&hub).await;
        receiver(&mut mute).await;
        let message = CloudMessage::new(b"one".to_vec());
        hub.send_to_device(device(), message).await.unwrap();
        mute.expect_past_flows(TRANSFER).await;
        let accepted = described(0x24, &list(&[]));
        // The first settles it; to the others the hub says that it is not there any more.
        let outcome = [boolean(true), uint(0), uint(0), boolean(false), accepted];
        let outcomes = frame(0, DISPOSITION, &outcome, b"").repeat(1000);
        let mut sent = 0;
        while sent < 64 * MIB {
            match tokio::time::timeout(Duration::from_secs(10), mute.try_send(&outcomes)).await {
                Ok(Ok(())) => sent += outcomes.len() as u64,
                _ => break,
            }
        }
        println!("{sent} bytes of outcomes were heard");
        assert!(sent < 16 * MIB, "{sent} bytes");
    });
    println!("{bytes} bytes for answers that nobody reads");
    assert!(bytes < CONNECTION, "{bytes} bytes");
}

/// Cut off from the network, with no word to the hub: the stream is open, and nobody is at its other end.
#[test]
fn a_client_that_is_not_there_any_more_is_gone_after_the_idle_time_out() {
    let bytes = measure(|hub| async move {
        let quiet = attached(&hub).await;
        let before = Instant::now();
        let why = gone(&hub, 1).await;
        let waited = before.elapsed();
        // What our `open` promises: 240 s.
        assert!(
            (Duration::from_secs(240)..Duration::from_secs(250)).contains(&waited),
            "{waited:?}: {why}"
        );
        drop(quiet);
        let mut next = attached(&hub).await;
        assert_served(&mut next, 0).await;
    });
    assert!(bytes < 4 * MIB, "{bytes} bytes");
}

/// The engine spins while it waits for such an answer, so it is not let wait.
#[test]
fn a_client_that_answers_neither_end_nor_close_is_gone_when_its_time_is_over() {
    measure(|hub| async move {
        let mut mute = attached(&hub).await;
        // Of a name that is there already; the hub ends the session, and goes on without an answer.
        mute.attach(1, "telemetry", &crate::events_address()).await;
        mute.expect_past_flows(END).await;
        mute.begin(1).await;
        let before = Instant::now();
        hub.remove(&device().into()).await.unwrap();
        mute.expect_past_flows(CLOSE).await;
        gone(&hub, 1).await;
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "{:?}",
            before.elapsed()
        );
        mute.end().await.unwrap();
    });
}

/// A byte now and then is no frame.
#[test]
fn a_client_that_dribbles_is_gone_after_the_idle_time_out() {
    let bytes = measure(|hub| async move {
        let mut dribbling = attached(&hub).await;
        let frame = transfer(0, false, false, &data(&[b'x'; 10_000]));
        let before = Instant::now();
        for byte in &frame {
            if dribbling.try_send(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        gone(&hub, 1).await;
        assert!(
            before.elapsed() < Duration::from_secs(260),
            "{:?}",
            before.elapsed()
        );
    });
    assert!(bytes < 4 * MIB, "{bytes} bytes");
}

/// Before `open` too: nobody is left to wait for.
#[test]
fn a_stream_whose_other_end_is_dropped_is_gone_at_once() {
    measure(|hub| async move {
        drop(stream(&hub));
        assert!(gone(&hub, 1).await.contains("before it was open"));
    });
}
