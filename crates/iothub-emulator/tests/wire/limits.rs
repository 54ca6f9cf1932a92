//! Throttles and the quota on the wire. The numbers are in Azure docs, "IoT Hub quotas and throttling".

use std::time::Duration;

use iothub_emulator::{Tier, Timestamp};

use crate::cbs::{LATER, NODE_TYPE, OURS, attach_pair, put, sign};
use crate::common::{DEVICE, KEY, builder};
use crate::messages::{ACCEPTED, REJECTED, events, outcome};
use crate::principals::at_start;
use crate::raw::*;

const BATCH: u32 = 0x8001_3700;

fn batch(count: usize) -> Vec<u8> {
    data(&data(b"x")).repeat(count)
}

/// A free hub takes 8,000 messages a day.
#[tokio::test]
async fn the_message_behind_the_last_of_the_day_is_rejected_and_the_link_lives_until_midnight() {
    let clock = at_start();
    let hub = builder()
        .tier(Tier::F1)
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let mut raw = Raw::silent(&hub).await;
    let user = format!("{DEVICE}@sas.tcontehub");
    assert_eq!(raw.plain(&user, &sign(KEY, OURS, LATER)).await, 0);
    raw.exchange_open().await;
    raw.begin(0).await;
    raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    for (id, count) in (0..).zip([2000, 2000, 2000, 1999]) {
        raw.send(&transfer_format(id, BATCH, false, false, &batch(count)))
            .await;
        assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
    }
    raw.send(&transfer(4, false, false, &data(b"x"))).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
    raw.send(&transfer(5, false, false, &data(b"x"))).await;
    let disposition = raw.expect(DISPOSITION).await;
    let refused = (REJECTED, Some("amqp:resource-limit-exceeded".to_owned()));
    assert_eq!(outcome(&disposition), refused);
    assert_eq!(disposition.field(1), &serde_amqp::Value::Uint(5));
    assert_eq!(events(&hub).len(), 8000);
    // 2023-11-15T00:00:00Z
    clock.set(Timestamp::from_seconds(1_700_006_400));
    raw.send(&transfer(6, false, false, &data(b"x"))).await;
    assert_eq!(outcome(&raw.expect(DISPOSITION).await), (ACCEPTED, None));
}

/// 100 cloud-bound sends a second on one S1 unit, 6,000 of them at once.
#[tokio::test]
async fn a_send_above_the_throttle_is_answered_when_its_time_has_come() {
    let clock = at_start();
    let hub = builder()
        .tier(Tier::S1)
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &sign(KEY, OURS, LATER)).await.0, 200);
    crate::cbs::attach_telemetry(&mut raw).await;
    let mut credit = 200_u32;
    let mut answered = 0;
    let mut sent = 0;
    // To the end with credit for one more: without, the one behind them would be too many.
    while answered < 6000 || credit == 0 {
        while credit > 0 && sent < 6000 {
            sent += 1;
            credit -= 1;
            raw.send(&crate::cbs::telemetry(sent)).await;
        }
        let frame = raw.frame().await.unwrap();
        match u8::try_from(frame.code).unwrap() {
            FLOW => {
                if let (serde_amqp::Value::Uint(count), serde_amqp::Value::Uint(granted)) =
                    (frame.field(5), frame.field(6))
                {
                    credit = (count + granted).saturating_sub(sent);
                }
            }
            _ => {
                assert_eq!(outcome(&frame), (ACCEPTED, None));
                let (serde_amqp::Value::Uint(first), serde_amqp::Value::Uint(last)) =
                    (frame.field(1), frame.field(2))
                else {
                    panic!("{frame:?}")
                };
                answered += last - first + 1;
            }
        }
    }
    raw.send(&crate::cbs::telemetry(6001)).await;
    // The hub has it, and does not say so while its clock stands.
    let mut feed = hub.journal().subscribe_from_start();
    for _ in 0..6001 {
        feed.next().await;
    }
    raw.begin(1).await;
    clock.advance(Duration::from_millis(10));
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(disposition.field(1), &serde_amqp::Value::Uint(6001));
    assert_eq!(outcome(&disposition), (ACCEPTED, None));
}
