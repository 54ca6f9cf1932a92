//! What a broken or hostile client sends must end its own connection and nothing else: the process lives, and
//! another client is served. Each of these sequences panics, aborts, or occupies a bare engine.

use iothub_emulator::{Emulator, Notice, What};

use crate::common::hub;
use crate::raw::*;

/// The name of a sequence, and its bytes.
fn sequences() -> Vec<(String, Vec<u8>)> {
    let mut sequences: Vec<(String, Vec<u8>)> = (0..8_u32)
        .map(|size| {
            // Whatever the size says, there are bytes behind it.
            (
                format!("frame size {size}"),
                [&size.to_be_bytes()[..], &[2, 0, 0, 0, 0, 0, 0, 0]].concat(),
            )
        })
        .collect();
    sequences.extend([
        (
            "frame size 0xffffffff".to_owned(),
            b"\xff\xff\xff\xff\x02\x00\x00\x00".to_vec(),
        ),
        ("attach nested 6000 levels".to_owned(), nested_attach(6000)),
        ("disposition over all ids".to_owned(), disposition(0, u32::MAX)),
        ("array of 2^32-1 elements".to_owned(), endless_array()),
        (
            "data offset 1".to_owned(),
            b"\x00\x00\x00\x08\x01\x00\x00\x00".to_vec(),
        ),
        (
            "data offset beyond the frame".to_owned(),
            b"\x00\x00\x00\x08\x03\x00\x00\x00".to_vec(),
        ),
        (
            "frame type 7".to_owned(),
            b"\x00\x00\x00\x08\x02\x07\x00\x00".to_vec(),
        ),
        ("a second protocol header".to_owned(), AMQP.to_vec()),
        (
            "a performative that is none".to_owned(),
            frame(0, 0x70, &[null()], b""),
        ),
        (
            "a list longer than its frame".to_owned(),
            raw_frame(0, 0, b"\x00\x53\x11\xd0\x00\x01\x00\x00\x00\x00\x00\x01"),
        ),
    ]);
    sequences
}

fn nested_attach(levels: usize) -> Vec<u8> {
    let mut value = vec![0x45];
    for _ in 0..levels {
        value = list(&[value]);
    }
    // In the link's properties, the fourteenth field.
    let mut fields = attach_fields(0, "nested", false, "s", "t");
    fields.extend([null(), null(), null(), map(&[(symbol("deep"), value)])]);
    frame(0, ATTACH, &fields, b"")
}

fn disposition(first: u32, last: u32) -> Vec<u8> {
    frame(
        0,
        DISPOSITION,
        &[boolean(false), uint(first), uint(last), boolean(true)],
        b"",
    )
}

/// An array of nulls: no element takes a byte.
fn endless_array() -> Vec<u8> {
    let array = [
        &[0xf0][..],
        &5_u32.to_be_bytes(),
        &u32::MAX.to_be_bytes(),
        &[0x40],
    ]
    .concat();
    frame(
        0,
        BEGIN,
        &[null(), uint(0), uint(1), uint(1), uint(1), array],
        b"",
    )
}

/// The hub still serves someone else.
async fn assert_alive(hub: &Emulator, after: &str) {
    let mut events = hub.journal().subscribe();
    let mut witness = Raw::attached(hub).await;
    witness
        .send(&transfer(0, false, false, &data(after.as_bytes())))
        .await;
    witness.expect(DISPOSITION).await;
    assert!(
        matches!(events.next().await, Some(Notice::Entry(_))),
        "after {after}"
    );
}

#[tokio::test]
async fn a_hostile_frame_before_open_ends_its_connection_only() {
    let hub = hub().await;
    for (name, bytes) in sequences() {
        let mut hostile = Raw::admitted(&hub).await;
        hostile.send(AMQP).await;
        hostile.send_anyway(&bytes).await;
        // Of a connection in error the engine says `close` and waits for an answer.
        hostile.send_anyway(&frame(0, CLOSE, &[], b"")).await;
        hostile.drain().await;
        assert_alive(&hub, &name).await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_hostile_frame_after_open_ends_its_connection_only() {
    let hub = hub().await;
    for (name, bytes) in sequences() {
        let mut hostile = Raw::attached(&hub).await;
        hostile.send_anyway(&bytes).await;
        hostile.send_anyway(&frame(0, CLOSE, &[], b"")).await;
        hostile.drain().await;
        assert_alive(&hub, &name).await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_hostile_frame_in_place_of_sasl_ends_its_connection_only() {
    let hub = hub().await;
    for (name, bytes) in sequences() {
        let mut hostile = Raw::silent(&hub).await;
        hostile.send(SASL).await;
        hostile.send_anyway(&bytes).await;
        // As many more as a SASL frame may have, for those that look like the beginning of one.
        hostile.send_anyway(&[0; 512]).await;
        hostile.drain().await;
        assert_alive(&hub, &name).await;
    }
    hub.stop().await;
}

/// Nesting in a message, not in a performative: the guard does not see it, and a message may span frames.
#[tokio::test]
async fn a_deeply_nested_message_is_rejected_and_the_link_lives() {
    let hub = hub().await;
    let mut value = vec![0x45];
    for _ in 0..6000 {
        value = list(&[value]);
    }
    let annotations = section(0x72, &map(&[(symbol("deep"), value.clone())]));
    let body = section(0x77, &value);
    let mut raw = Raw::attached(&hub).await;
    for (id, message) in [annotations, body].into_iter().enumerate() {
        let id = u32::try_from(id).unwrap();
        let (first, rest) = message.split_at(30_000);
        raw.send(&transfer(id, false, true, first)).await;
        raw.send(&transfer(id, false, false, rest)).await;
        let disposition = raw.expect(DISPOSITION).await;
        assert!(
            format!("{disposition:?}").contains("amqp:decode-error"),
            "{disposition:?}"
        );
    }
    raw.send(&transfer(2, false, false, &data(b"still here"))).await;
    raw.expect(DISPOSITION).await;
    assert_eq!(hub.journal().snapshot().len(), 1);
    drop(raw);
    hub.stop().await;
}

#[tokio::test]
async fn more_sessions_than_allowed_end_the_connection() {
    let hub = hub().await;
    let mut raw = Raw::open(&hub).await;
    let begins: Vec<u8> = (0..=1024).flat_map(begin).collect();
    raw.send_anyway(&begins).await;
    raw.drain().await;
    assert_eq!(gone(&hub).await, "more than 1024 sessions on one connection");
    hub.stop().await;
}

#[tokio::test]
async fn more_links_than_allowed_end_the_connection() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let attaches: Vec<u8> = (0..=4096)
        .flat_map(|handle| attach(0, handle, &format!("link{handle}"), "nowhere"))
        .collect();
    raw.send_anyway(&attaches).await;
    raw.drain().await;
    assert_eq!(gone(&hub).await, "more than 4096 links on one connection");
    hub.stop().await;
}

/// The engine would keep each for a link that might still come.
#[tokio::test]
async fn flow_for_a_link_that_was_never_attached_ends_the_connection() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let fields = [
        uint(0),
        uint(5000),
        uint(0),
        uint(5000),
        uint(7),
        uint(0),
        uint(100),
    ];
    raw.send(&frame(0, FLOW, &fields, b"")).await;
    raw.drain().await;
    assert_eq!(gone(&hub).await, "a frame for a link that is not attached");
    hub.stop().await;
}

/// How the first connection ended.
async fn gone(hub: &Emulator) -> String {
    let mut activity = hub.activity().subscribe_from_start();
    loop {
        let Some(Notice::Entry(entry)) = activity.next().await else {
            panic!("it did not end")
        };
        if let What::Gone { why } = &entry.what {
            return why.clone();
        }
    }
}
