//! Links and sessions without end, and frames that say much in few bytes.

use crate::raw::*;
use crate::{CONNECTION, MIB, assert_served, attached, begun, events_address, gone, measure, witness};

/// The most that any of these may say before it is cut off, so that a test that fails ends.
const ROUNDS: u32 = 5_000;

#[test]
fn ten_thousand_attaches_end_their_connection_whether_they_are_granted_or_not() {
    for address in [events_address(), "nowhere".to_owned()] {
        let bytes = measure(|hub| async move {
            let mut witness = witness(&hub).await;
            let mut hostile = begun(&hub).await;
            for handle in 0..10_000 {
                let attach = attach(0, handle, &format!("link{handle}"), &address);
                hostile.send_anyway(&attach).await;
                hostile.take().await;
            }
            hostile.drain().await;
            assert_eq!(gone(&hub, 2).await, "more than 4096 links on one connection");
            assert_served(&mut witness, 0).await;
        });
        println!("{bytes} bytes for links");
        assert!(bytes < CONNECTION, "{bytes} bytes");
    }
}

#[test]
fn links_that_come_and_go_without_end_take_no_more_room() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let mut hostile = begun(&hub).await;
        for round in 0..1_000 {
            hostile
                .send(&attach(0, 0, &format!("link{round}"), &events_address()))
                .await;
            hostile.expect_past_flows(ATTACH).await;
            hostile
                .send(&frame(0, DETACH, &[uint(0), boolean(true)], b""))
                .await;
            hostile.expect_past_flows(DETACH).await;
        }
        assert_served(&mut witness, 0).await;
    });
    println!("{bytes} bytes for links that come and go");
    assert!(bytes < 4 * MIB, "{bytes} bytes");
}

#[test]
fn sessions_that_come_and_go_without_end_take_no_more_room() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let mut hostile = begun(&hub).await;
        for _ in 0..1_000 {
            hostile.begin(1).await;
            hostile.send(&frame(1, END, &[], b"")).await;
            hostile.expect_past_flows(END).await;
        }
        assert_served(&mut witness, 0).await;
    });
    println!("{bytes} bytes for sessions that come and go");
    assert!(bytes < 4 * MIB, "{bytes} bytes");
}

/// The answer to each has its long name in it.
#[test]
fn links_without_end_that_nobody_reads_of_are_cut_off() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let mut hostile = begun(&hub).await;
        let name = "n".repeat(15_000);
        let mut said = 0;
        while said < ROUNDS {
            let attach = attach(0, 0, &format!("{name}{said}"), &events_address());
            let detach = frame(0, DETACH, &[uint(0), boolean(true)], b"");
            if hostile.try_send(&[attach, detach].concat()).await.is_err() {
                break;
            }
            said += 1;
        }
        assert!(said < ROUNDS, "all of it was taken");
        assert_eq!(gone(&hub, 2).await, "the peer stopped reading");
        assert_served(&mut witness, 0).await;
    });
    println!("{bytes} bytes for links that nobody reads of");
    assert!(bytes < CONNECTION, "{bytes} bytes");
}

/// A null is one byte on the wire, and many in memory.
#[test]
fn attaches_that_grow_in_memory_wait_until_they_are_looked_at() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let mut hostile = begun(&hub).await;
        let nulls = list(&vec![null(); 3_000]);
        let mut fields = attach_fields(0, "link", false, "source", &events_address());
        fields.extend([null(), null(), null(), map(&[(symbol("nulls"), nulls)])]);
        let attach = frame(0, ATTACH, &fields, b"");
        let detach = frame(0, DETACH, &[uint(0), boolean(true)], b"");
        for _ in 0..1000 {
            hostile.send_anyway(&attach).await;
            hostile.send_anyway(&detach).await;
            hostile.take().await;
        }
        assert_served(&mut witness, 0).await;
    });
    println!("{bytes} bytes for attaches that grow");
    assert!(bytes < CONNECTION, "{bytes} bytes");
}

#[test]
fn begins_that_grow_in_memory_wait_until_they_are_looked_at() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let mut hostile = begun(&hub).await;
        let nulls = list(&vec![null(); 3_000]);
        let mut fields = vec![null(), uint(0), uint(5000), uint(5000), null(), null(), null()];
        fields.push(map(&[(symbol("nulls"), nulls)]));
        let begin = frame(1, BEGIN, &fields, b"");
        let end = frame(1, END, &[], b"");
        for _ in 0..1000 {
            hostile.send_anyway(&begin).await;
            hostile.send_anyway(&end).await;
            hostile.take().await;
        }
        assert_served(&mut witness, 0).await;
    });
    println!("{bytes} bytes for begins that grow");
    assert!(bytes < CONNECTION, "{bytes} bytes");
}

/// The engine would keep each for a link that might still come.
#[test]
fn flows_for_a_link_that_is_over_or_not_there_yet_take_no_room() {
    let flow = |handle| {
        let fields = [
            uint(0),
            uint(5000),
            uint(0),
            uint(5000),
            uint(handle),
            uint(0),
            uint(1),
        ];
        frame(0, FLOW, &fields, b"")
    };
    let bytes = measure(|hub| async move {
        let mut witness = attached(&hub).await;
        let mut hostile = begun(&hub).await;
        // It never answers the hub's detach.
        hostile.attach(0, "refused", "nowhere").await;
        assert_eq!(hostile.refusal().await.0, "amqp:not-found");
        for _ in 0..50 {
            hostile.send(&flow(0).repeat(1000)).await;
        }
        // Before the hub can have answered.
        let early = [attach(0, 1, "granted", &events_address()), flow(1).repeat(1000)].concat();
        hostile.send(&early).await;
        hostile.expect_past_flows(ATTACH).await;
        assert_served(&mut witness, 0).await;
    });
    println!("{bytes} bytes for flows");
    assert!(bytes < 4 * MIB, "{bytes} bytes");
}

/// As wide as a disposition may be: wider ones end the connection (see `hostile` over sockets).
#[test]
fn wide_dispositions_of_nothing_cost_their_client_alone() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let mut hostile = attached(&hub).await;
        for (round, role) in (0..20).zip([true, false].into_iter().cycle()) {
            let first = round * 8192;
            let fields = [
                boolean(role),
                uint(first),
                uint(first + 8191),
                boolean(true),
                described(0x24, &list(&[])),
            ];
            hostile.send(&frame(0, DISPOSITION, &fields, b"")).await;
        }
        assert_served(&mut witness, 0).await;
        assert_served(&mut hostile, 0).await;
    });
    println!("{bytes} bytes for dispositions");
    assert!(bytes < 4 * MIB, "{bytes} bytes");
}
