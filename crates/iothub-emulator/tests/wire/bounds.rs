//! What a connection may have of everything: as much as the bound says, and what happens at one more. The bounds are
//! the constants of `src/wire/mod.rs` and of those who keep something for a link.

use std::sync::Arc;

use iothub_emulator::{MethodCall, Notice, What};
use serde_amqp::Value as Wire;

use crate::common::{DEVICE, device, hub};
use crate::pairs::{attach_half, delivered, grant, pair};
use crate::raw::*;

/// How the hub's first connection ended.
async fn gone(hub: &iothub_emulator::Emulator) -> String {
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

/// `MAX_SESSIONS`.
#[tokio::test]
async fn a_connection_has_1024_sessions_and_not_one_more() {
    let hub = hub().await;
    let mut raw = Raw::open(&hub).await;
    let begins: Vec<u8> = (0..1024).flat_map(begin).collect();
    raw.send(&begins).await;
    for _ in 0..1024 {
        raw.expect(BEGIN).await;
    }
    // One that has ended makes room for another.
    raw.send(&frame(5, END, &[], b"")).await;
    raw.expect(END).await;
    raw.begin(5).await;
    raw.send_anyway(&begin(1024)).await;
    raw.drain().await;
    assert_eq!(gone(&hub).await, "more than 1024 sessions on one connection");
}

/// `CHANNEL_MAX`.
#[tokio::test]
async fn a_session_is_on_a_channel_up_to_8191_and_not_above() {
    let hub = hub().await;
    let mut raw = Raw::open(&hub).await;
    raw.begin(8191).await;
    raw.send_anyway(&begin(8192)).await;
    raw.drain().await;
    assert_eq!(gone(&hub).await, "a session on a channel above 8191");
}

/// `MAX_LINKS`: over all sessions, and links that were refused too until the client has detached.
#[tokio::test]
async fn a_connection_has_4096_links_and_not_one_more() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    raw.begin(1).await;
    for handle in 0..4096_u32 {
        let channel = u16::try_from(handle % 2).unwrap();
        raw.send(&attach(channel, handle, &format!("link {handle}"), "nowhere"))
            .await;
        raw.expect(ATTACH).await;
        raw.expect_past_flows(DETACH).await;
    }
    raw.send_anyway(&attach(0, 5000, "one more", "nowhere")).await;
    raw.drain().await;
    assert_eq!(gone(&hub).await, "more than 4096 links on one connection");
}

fn read_twin(id: u32) -> Vec<u8> {
    let annotations = section(0x72, &map(&[(symbol("operation"), string("GET"))]));
    transfer(id, true, false, &[annotations, data(b" ")].concat())
}

/// `MAX_UNSETTLED`: the link waits at it, and goes on when the client has settled some.
#[tokio::test]
async fn a_link_has_1024_unsettled_deliveries_and_waits_with_the_next() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let address = format!("/devices/{DEVICE}/twin");
    attach_half(&mut raw, 0, false, &address, None).await;
    raw.expect(ATTACH).await;
    // The client wants to settle each answer itself.
    let mut fields = attach_fields(1, "answers", true, &address, "here");
    fields[3] = vec![0x50, 0];
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect_past_flows(ATTACH).await;
    grant(&mut raw, 1, 3000).await;
    for id in 0..1024 {
        raw.send(&read_twin(id)).await;
        let (transfer, _) = delivered(&mut raw).await;
        assert_eq!(transfer.field(4), &Wire::Bool(false), "settled");
    }
    for id in 1024..1040 {
        raw.send(&read_twin(id)).await;
    }
    raw.begin(1).await;
    let state = described(0x24, &list(&[]));
    let fields = [boolean(true), uint(0), uint(9), boolean(true), state];
    raw.send(&frame(0, DISPOSITION, &fields, b"")).await;
    for id in 1024..1034 {
        let (transfer, _) = delivered(&mut raw).await;
        assert_eq!(transfer.field(1), &Wire::Uint(id));
    }
    raw.begin(2).await;
}

/// How many deliveries the hub takes over the link with handle 0, counted from its first, if the frame says that.
fn limit_of(frame: &Frame) -> Option<u32> {
    match (frame.code, frame.field(4), frame.field(5), frame.field(6)) {
        (0x13, Wire::Uint(0), Wire::Uint(count), Wire::Uint(credit)) => Some(count + credit),
        _ => None,
    }
}

/// `MAX_WAITING` of a link: 256 deliveries for a client that gives no credit. Who asks for more without taking any loses
/// the link, and nothing else.
#[tokio::test]
async fn what_waits_for_credit_is_bounded() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let address = format!("/devices/{DEVICE}/twin");
    attach_half(&mut raw, 0, false, &address, None).await;
    raw.expect(ATTACH).await;
    let mut limit = limit_of(&raw.expect(FLOW).await).unwrap();
    attach_half(&mut raw, 1, true, &address, None).await;
    raw.expect(ATTACH).await;
    let mut sent = 0;
    let mut came = 0;
    // As many as are kept for a client that is only late.
    while sent < 256 {
        while sent < limit.min(256) {
            raw.send(&read_twin(sent)).await;
            sent += 1;
        }
        if sent < 256 {
            limit = limit_of(&raw.expect(FLOW).await).unwrap_or(limit);
        }
    }
    grant(&mut raw, 1, 256).await;
    while came < 256 {
        let next = raw.frame().await.unwrap();
        limit = limit_of(&next).unwrap_or(limit);
        came += u32::from(next.code == u64::from(TRANSFER));
    }
    // From now on it takes nothing.
    let detach = loop {
        while sent < limit {
            raw.send(&read_twin(sent)).await;
            sent += 1;
        }
        let next = raw.frame().await.unwrap();
        match limit_of(&next) {
            Some(more) => limit = more,
            None if next.code == u64::from(FLOW) => {}
            None => break next,
        }
    };
    assert_eq!(detach.code, u64::from(DETACH), "{detach:?}");
    assert_eq!(detach.field(0), &Wire::Uint(1), "the link of the answers");
    assert_eq!(detach.error(2).0, "amqp:resource-limit-exceeded");
    raw.begin(1).await;
}

/// As many as a service has at once for one device: none ends the link by coming together with others.
#[tokio::test]
async fn two_hundred_calls_at_once_reach_a_device() {
    let hub = Arc::new(hub().await);
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, &format!("/devices/{DEVICE}/methods/devicebound"), None).await;
    grant(&mut raw, 1, 500).await;
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let hub = Arc::clone(&hub);
            tokio::spawn(async move { hub.call_method(device(), MethodCall::new("m")).await })
        })
        .collect();
    for _ in 0..200 {
        delivered(&mut raw).await;
    }
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}
