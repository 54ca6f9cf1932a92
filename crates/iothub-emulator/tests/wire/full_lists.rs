//! What azure-eventhub for Python needs beyond the standard, on the bytes that the hub sends: performatives with all
//! their fields, and some that are not null; and what Proton's BlockingConnection needs: one link name both ways.

use serde_amqp::Value as Wire;

use crate::common::{DEVICE, hub};
use crate::raw::*;

#[tokio::test]
async fn performatives_come_with_all_their_fields() {
    let hub = hub().await;
    let mut raw = Raw::admitted(&hub).await;
    let open = raw.exchange_open().await;
    assert_eq!(open.count, 10);
    assert_eq!(open.field(2), &Wire::Uint(65_536), "max-frame-size");
    assert_eq!(open.field(3), &Wire::Ushort(8191), "channel-max");
    let begin = raw.begin(0).await;
    assert_eq!(begin.count, 8);
    assert_eq!(begin.field(4), &Wire::Uint(262_143), "handle-max");

    let address = format!("/devices/{DEVICE}/messages/events");
    raw.attach(0, "telemetry", &address).await;
    let attach = raw.expect(ATTACH).await;
    assert_eq!(attach.count, 14);
    for place in [5, 6] {
        assert_ne!(attach.field(place), &Wire::Null, "a terminus");
    }
    assert_eq!(raw.expect(FLOW).await.count, 11);
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    assert_eq!(raw.expect(DISPOSITION).await.count, 6);

    // A link on which the hub sends, and one that is refused.
    let fields = attach_fields(1, "replies", true, "$cbs", "$cbs");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    let attach = raw.expect(ATTACH).await;
    assert_eq!(attach.count, 14);
    assert_eq!(attach.field(9), &Wire::Uint(0), "initial-delivery-count");
    raw.attach(2, "refused", "nonsense").await;
    let attach = raw.expect(ATTACH).await;
    assert_eq!(attach.count, 14);
    for place in [5, 6] {
        assert_ne!(attach.field(place), &Wire::Null, "a terminus");
    }
    loop {
        let frame = raw.frame().await.unwrap();
        if frame.code == u64::from(DETACH) {
            assert_eq!(frame.count, 3);
            break;
        }
    }
}

#[tokio::test]
async fn one_name_serves_a_sender_and_a_receiver_of_one_session() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    let name = "telemetry";
    raw.send(&frame(
        0,
        ATTACH,
        &attach_fields(1, name, true, "$cbs", "$cbs"),
        b"",
    ))
    .await;
    let attach = raw.expect(ATTACH).await;
    assert_eq!(
        attach.field(0),
        &Wire::String(name.into()),
        "as the client wrote it"
    );
    assert_eq!(attach.field(2), &Wire::Bool(false), "we are the sender");
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    raw.expect(DISPOSITION).await;
}
