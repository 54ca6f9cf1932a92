//! How partitions are read, frame by frame: from where, at whose pace, beside whom (protocol §6.4, §15 row 11).

use std::time::Duration;

use iothub_emulator::LogLimits;
use serde_amqp::Value as Wire;

use crate::common::{KEY, builder, key};
use crate::events::{
    Asked, PARTITION, attach_reader, bodies, hub_of_one_partition, reader, receiver, selector, send,
};
use crate::pairs::{body, delivered, entry, grant};
use crate::raw::*;

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_reader_gets_what_its_selector_says_under_either_descriptor() {
    let hub = hub_of_one_partition().await;
    send(&hub, 10).await;
    // Each message is a data section of 9 bytes.
    for (by_number, text, from) in [
        (false, "amqp.annotation.x-opt-offset > '-1'", 0),
        (true, "amqp.annotation.x-opt-offset > '-1'", 0),
        (true, "amqp.annotation.x-opt-offset > '27'", 4),
        (false, "amqp.annotation.x-opt-offset >= '27'", 3),
        (true, "amqp.annotation.x-opt-sequence-number > '6'", 7),
        (false, "amqp.annotation.x-opt-sequence-number >= '6'", 6),
        (false, "amqp.annotation.x-opt-enqueued-time > '1700000000000'", 0),
        (false, "amqp.annotation.x-opt-enqueuedtimeutc >= 1700000000000", 0),
    ] {
        let mut raw = reader(&hub).await;
        let asked = Asked {
            filter: Some(selector(by_number, text)),
            ..Asked::default()
        };
        attach_reader(&mut raw, 2, PARTITION, &asked).await;
        grant(&mut raw, 2, 20).await;
        let got = bodies(&mut raw, 10 - from as usize).await;
        assert_eq!(got, numbers(from..10), "{text}");
        assert!(raw.is_silent().await, "{text}");
    }
    let mut raw = reader(&hub).await;
    let latest = Asked {
        filter: Some(selector(false, "amqp.annotation.x-opt-offset > '@latest'")),
        ..Asked::default()
    };
    attach_reader(&mut raw, 2, PARTITION, &latest).await;
    grant(&mut raw, 2, 20).await;
    assert!(raw.is_silent().await);
    send(&hub, 1).await;
    assert_eq!(bodies(&mut raw, 1).await, ["0"]);
    // What is no selector.
    let wrong = Asked {
        filter: Some(selector(false, "x-opt-offset is 3")),
        ..Asked::default()
    };
    raw.send(&frame(0, ATTACH, &receiver(4, PARTITION, &wrong), b""))
        .await;
    let (condition, description) = raw.refusal().await;
    assert_eq!(condition, "com.microsoft:argument-error");
    assert!(
        description.contains("amqp.annotation.x-opt-offset"),
        "{description}"
    );
}

#[tokio::test]
async fn a_reader_gets_as_many_as_it_gives_credit_for() {
    let hub = hub_of_one_partition().await;
    send(&hub, 10).await;
    let mut raw = reader(&hub).await;
    attach_reader(&mut raw, 2, PARTITION, &Asked::default()).await;
    assert!(raw.is_silent().await);
    grant(&mut raw, 2, 3).await;
    assert_eq!(bodies(&mut raw, 3).await, numbers(0..3));
    assert!(raw.is_silent().await);
    raw.send(&flow(3, 2)).await;
    assert_eq!(bodies(&mut raw, 2).await, numbers(3..5));
    assert!(raw.is_silent().await);
    raw.send(&flow(5, 100)).await;
    assert_eq!(bodies(&mut raw, 5).await, numbers(5..10));
    assert!(raw.is_silent().await);
    // A second link reads on its own.
    attach_reader(&mut raw, 4, PARTITION, &Asked::default()).await;
    grant(&mut raw, 4, 100).await;
    assert_eq!(bodies(&mut raw, 10).await, numbers(0..10));
}

/// Credit for handle 2, when so many deliveries have been seen.
fn flow(seen: u32, credit: u32) -> Vec<u8> {
    let fields = [
        uint(0),
        uint(5000),
        uint(0),
        uint(5000),
        uint(2),
        uint(seen),
        uint(credit),
    ];
    frame(0, FLOW, &fields, b"")
}

#[tokio::test]
async fn a_reader_that_settles_itself_is_answered_and_gets_each_event_once() {
    let hub = hub_of_one_partition().await;
    send(&hub, 3).await;
    let mut raw = reader(&hub).await;
    let asked = Asked {
        settles: true,
        ..Asked::default()
    };
    attach_reader(&mut raw, 2, PARTITION, &asked).await;
    grant(&mut raw, 2, 1).await;
    let mut seen = 0;
    for outcome in [0x24, 0x26, 0x25] {
        let (transfer, _) = delivered(&mut raw).await;
        assert_eq!(transfer.field(4), &Wire::Bool(false), "the client settles");
        let Wire::Uint(id) = transfer.field(1) else {
            panic!("no id")
        };
        let state = described(outcome, &list(&[]));
        let fields = [boolean(true), uint(*id), null(), boolean(false), state];
        raw.send(&frame(0, DISPOSITION, &fields, b"")).await;
        let answer = raw.expect_past_flows(DISPOSITION).await;
        assert_eq!(answer.field(1), &Wire::Uint(*id));
        assert_eq!(answer.field(3), &Wire::Bool(true), "settled");
        seen += 1;
        raw.send(&flow(seen, 1)).await;
    }
    assert!(
        raw.is_silent().await,
        "an event that is given back does not come again"
    );
}

/// As Microsoft's Event Hubs SDK for Python does: it asks to settle, and never says a word.
#[tokio::test]
async fn a_reader_that_never_settles_reads_on() {
    let hub = hub_of_one_partition().await;
    send(&hub, 1100).await;
    let mut raw = reader(&hub).await;
    let asked = Asked {
        settles: true,
        ..Asked::default()
    };
    attach_reader(&mut raw, 2, PARTITION, &asked).await;
    grant(&mut raw, 2, 2000).await;
    for number in 0..1100 {
        let (transfer, sections) = delivered(&mut raw).await;
        assert_eq!(body(&sections), number.to_string().as_bytes());
        // `MAX_UNSETTLED` of them are kept for it.
        assert_eq!(
            transfer.field(4),
            &Wire::Bool(number >= 1024),
            "settled: {number}"
        );
    }
}

#[tokio::test]
async fn a_higher_epoch_takes_over_and_a_lower_one_is_refused() {
    let hub = hub_of_one_partition().await;
    let epoch = |epoch| Asked {
        epoch: Some(epoch),
        ..Asked::default()
    };
    let mut shared = reader(&hub).await;
    attach_reader(&mut shared, 2, PARTITION, &Asked::default()).await;
    let mut first = reader(&hub).await;
    attach_reader(&mut first, 2, PARTITION, &epoch(5)).await;
    let gone = shared.expect_past_flows(DETACH).await;
    assert_eq!(gone.field(1), &Wire::Bool(true), "closed");
    assert_eq!(gone.error(2).0, "amqp:link:stolen");
    for asked in [epoch(4), Asked::default()] {
        shared
            .send(&frame(0, ATTACH, &receiver(3, PARTITION, &asked), b""))
            .await;
        assert_eq!(shared.refusal().await.0, "amqp:link:stolen");
        shared
            .send(&frame(0, DETACH, &[uint(3), boolean(true)], b""))
            .await;
    }
    // Another group has readers of its own.
    let other = PARTITION.replace("$Default", "OTHER");
    attach_reader(&mut shared, 4, &other, &Asked::default()).await;
    let mut second = reader(&hub).await;
    attach_reader(&mut second, 2, PARTITION, &epoch(6)).await;
    assert_eq!(
        first.expect_past_flows(DETACH).await.error(2).0,
        "amqp:link:stolen"
    );
    send(&hub, 1).await;
    grant(&mut second, 2, 1).await;
    assert_eq!(bodies(&mut second, 1).await, ["0"]);
    grant(&mut shared, 4, 1).await;
    assert_eq!(bodies(&mut shared, 1).await, ["0"]);
}

#[tokio::test]
async fn who_asks_for_it_is_told_how_far_the_partition_has_come() {
    let hub = hub_of_one_partition().await;
    send(&hub, 3).await;
    let mut raw = reader(&hub).await;
    let asked = Asked {
        metric: true,
        ..Asked::default()
    };
    attach_reader(&mut raw, 2, PARTITION, &asked).await;
    grant(&mut raw, 2, 1).await;
    let (_, sections) = delivered(&mut raw).await;
    let metric = |name: &str| entry(&sections, 0x71, name);
    assert_eq!(metric("last_enqueued_sequence_number"), Some(Wire::Long(2)));
    assert_eq!(metric("last_enqueued_offset"), Some(Wire::String("18".into())));
    assert!(matches!(
        metric("last_enqueued_time_utc"),
        Some(Wire::Timestamp(_))
    ));
    assert!(matches!(
        metric("runtime_info_retrieval_time_utc"),
        Some(Wire::Timestamp(_))
    ));
    assert_eq!(body(&sections), b"0");
}

/// A hub that goes on from its state directory has its events on disk alone, and they are read as others are.
#[tokio::test]
async fn events_of_an_earlier_run_are_read_from_the_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        builder()
            .state_dir(directory.path())
            .partitions(2)
            .policy("service".parse().unwrap(), key(KEY))
            .start()
    };
    let hub = start().await.unwrap();
    send(&hub, 5).await;
    let partition = hub.journal().snapshot()[0].partition;
    hub.stop().await;
    let hub = start().await.unwrap();
    send(&hub, 2).await;
    let mut raw = reader(&hub).await;
    let address = format!("tcontehub/ConsumerGroups/$Default/Partitions/{partition}");
    let asked = Asked {
        filter: Some(selector(false, "amqp.annotation.x-opt-sequence-number > '1'")),
        ..Asked::default()
    };
    attach_reader(&mut raw, 2, &address, &asked).await;
    grant(&mut raw, 2, 10).await;
    assert_eq!(bodies(&mut raw, 5).await, ["2", "3", "4", "0", "1"]);
}

/// A client that asks for everything and takes nothing: no more is kept for it than the connection's bound, and the hub
/// serves others.
#[tokio::test]
async fn a_reader_that_takes_nothing_holds_nobody_up() {
    let hub = builder()
        .partitions(1)
        .policy("service".parse().unwrap(), key(KEY))
        .journal_limits(LogLimits::new(10_000, 64 * 1024 * 1024))
        .start()
        .await
        .unwrap();
    let mut device = Raw::attached(&hub).await;
    let large = data(&vec![b'x'; 50_000]);
    for number in 0..400 {
        device.send(&transfer(number, false, false, &large)).await;
        device.expect_past_flows(DISPOSITION).await;
    }
    let mut idle = reader(&hub).await;
    attach_reader(&mut idle, 2, PARTITION, &Asked::default()).await;
    grant(&mut idle, 2, 1_000_000).await;
    let mut raw = reader(&hub).await;
    attach_reader(&mut raw, 2, PARTITION, &Asked::default()).await;
    grant(&mut raw, 2, 400).await;
    for _ in 0..400 {
        next_delivery(&mut raw).await;
    }
    // It can still read, from where it was.
    tokio::time::timeout(Duration::from_secs(10), next_delivery(&mut idle))
        .await
        .unwrap();
}

/// A delivery in one frame or in several.
async fn next_delivery(raw: &mut Raw) {
    while raw.expect_past_flows(TRANSFER).await.field(5) == &Wire::Bool(true) {}
}
