//! What waits for devices, and twins, in a state directory. A crash is a copy of the file as it is while the hub runs:
//! nothing that the hub does at its end is in it.

use std::path::Path;
use std::time::Duration;

use iothub_address::{Identity, ModuleId};
use iothub_emulator::{
    Ack, Builder, CloudMessage, CloudToDevice, Emulator, Fate, Feedback, ManualClock, STATE_FILE, Timestamp,
};
use serde_json::json;
use tempfile::TempDir;

use crate::cloud_to_device::{ACCEPTED, RELEASED, credit, delivery_count, disposition, received, receiver};
use crate::common::*;
use crate::pairs::sections;
use crate::raw::*;
use crate::twins;

fn on(directory: &Path) -> Builder {
    builder().state_dir(directory)
}

/// What a crash at this moment would leave.
fn crashed(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.join(STATE_FILE), copy.path().join(STATE_FILE)).unwrap();
    copy
}

fn message(id: &str) -> CloudMessage {
    CloudMessage::new(id.to_owned()).id(id).ack(Ack::Full)
}

fn module() -> Identity {
    Identity::Module(device(), "m".parse::<ModuleId>().unwrap())
}

fn number(transfer: &Frame) -> u64 {
    let text = format!("{:?}", sections(&transfer.payload)[0].1);
    let (_, behind) = text.split_once("Ulong(").unwrap();
    behind.split_once(')').unwrap().0.parse().unwrap()
}

/// Ends a delivery and waits until the hub says that it has that. Gives how many deliveries came meanwhile.
async fn settle(raw: &mut Raw, delivery: &Frame, outcome: u8) -> usize {
    raw.send(&disposition(delivery.field(1), false, outcome)).await;
    let mut came = 0;
    loop {
        match raw.frame().await.unwrap().code {
            code if code == u64::from(DISPOSITION) => return came,
            code => came += usize::from(code == u64::from(TRANSFER)),
        }
    }
}

/// A device that receives up to 100 messages, and settles them in its own time.
async fn receiving(hub: &Emulator) -> Raw {
    let mut raw = Raw::begun(hub).await;
    receiver(&mut raw, true).await;
    raw.send(&credit(0, 100, false)).await;
    raw
}

/// All feedback there is: of which message what.
fn fates(hub: &Emulator) -> Vec<(String, Fate)> {
    let all = hub.feedback().snapshot();
    all.iter()
        .map(|feedback| (feedback.original_message_id.clone(), feedback.fate))
        .collect()
}

async fn waiting(hub: &Emulator) -> (usize, usize) {
    (
        hub.waiting_messages(device()).await.unwrap(),
        hub.waiting_messages(module()).await.unwrap(),
    )
}

#[tokio::test]
async fn messages_wait_across_a_crash_with_their_numbers_and_counts() {
    let directory = tempfile::tempdir().unwrap();
    let hub = on(directory.path()).start().await.unwrap();
    hub.register_module(device(), "m".parse().unwrap(), None)
        .await
        .unwrap();
    hub.send_to_device(module(), message("of the module"))
        .await
        .unwrap();
    for id in ["completed", "abandoned", "locked"] {
        hub.send_to_device(device(), message(id)).await.unwrap();
    }
    let mut raw = receiving(&hub).await;
    let first = received(&mut raw).await;
    let second = received(&mut raw).await;
    received(&mut raw).await;
    settle(&mut raw, &first, ACCEPTED).await;
    // It comes again at once, and is locked again.
    if settle(&mut raw, &second, RELEASED).await == 0 {
        received(&mut raw).await;
    }
    let crash = crashed(directory.path());

    let again = on(crash.path()).start().await.unwrap();
    assert_eq!(waiting(&again).await, (2, 1));
    assert_eq!(fates(&again), [("completed".to_owned(), Fate::Success)]);
    again.send_to_device(device(), message("new")).await.unwrap();
    let mut raw = receiving(&again).await;
    let (mut seen, mut transfers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let transfer = received(&mut raw).await;
        let body = crate::pairs::body(&sections(&transfer.payload));
        seen.push((
            String::from_utf8(body).unwrap(),
            number(&transfer),
            delivery_count(&transfer),
        ));
        transfers.push(transfer);
    }
    for transfer in &transfers {
        settle(&mut raw, transfer, ACCEPTED).await;
    }
    // Of the abandoned one two deliveries have ended, of the locked one one.
    let expected = [("abandoned", 2, 2), ("locked", 3, 1), ("new", 4, 0)];
    assert_eq!(
        seen,
        expected.map(|(body, number, count)| (body.to_owned(), number, count))
    );

    // Numbers go on though nothing waits.
    let crash = crashed(crash.path());
    let third = on(crash.path()).start().await.unwrap();
    assert_eq!(waiting(&third).await, (0, 1));
    assert_eq!(fates(&third).len(), 4);
    third.send_to_device(device(), message("last")).await.unwrap();
    let mut raw = receiving(&third).await;
    assert_eq!(number(&received(&mut raw).await), 5);
}

#[tokio::test]
async fn time_and_deliveries_run_out_across_a_crash_too() {
    let clock = ManualClock::new(Timestamp::from_seconds(1_700_000_000));
    let directory = tempfile::tempdir().unwrap();
    let start = async |directory: &Path, clock: &ManualClock| {
        let settings = CloudToDevice::default().max_delivery_count(1);
        let builder = on(directory).clock(clock.clone()).cloud_to_device(settings);
        builder.start().await.unwrap()
    };
    let hub = start(directory.path(), &clock).await;
    hub.send_to_device(device(), message("out for delivery"))
        .await
        .unwrap();
    let later = Timestamp::from_seconds(1_700_000_060);
    for (id, expires) in [("too old", Some(later)), ("an hour", None)] {
        let message = message(id);
        let message = match expires {
            Some(expires) => message.expires(expires),
            None => message,
        };
        hub.send_to_device(device(), message).await.unwrap();
    }
    let mut raw = Raw::begun(&hub).await;
    receiver(&mut raw, true).await;
    raw.send(&credit(0, 1, false)).await;
    received(&mut raw).await;
    let crash = crashed(directory.path());
    clock.advance(Duration::from_secs(61));

    let again = start(crash.path(), &clock).await;
    assert_eq!(waiting(&again).await.0, 1);
    assert_eq!(
        fates(&again),
        [
            ("out for delivery".to_owned(), Fate::DeliveryCountExceeded),
            ("too old".to_owned(), Fate::Expired)
        ]
    );
    // That is kept as well, and told once.
    let crash = crashed(crash.path());
    let third = start(crash.path(), &clock).await;
    assert_eq!((waiting(&third).await.0, fates(&third).len()), (1, 2));
}

/// At most once: what went out settled is done with that.
#[tokio::test]
async fn a_message_that_went_out_settled_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let hub = on(directory.path()).start().await.unwrap();
    hub.send_to_device(device(), message("once")).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    let mut fields = attach_fields(
        0,
        "receiver",
        true,
        "/devices/myFirstDevice/messages/devicebound",
        "t",
    );
    fields[3] = vec![0x50, 1];
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect(ATTACH).await;
    raw.send(&credit(0, 1, false)).await;
    received(&mut raw).await;
    let crash = crashed(directory.path());
    let again = on(crash.path()).start().await.unwrap();
    assert_eq!(waiting(&again).await.0, 0);
}

#[tokio::test]
async fn feedback_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    for run in 0..3_usize {
        let hub = on(directory.path()).start().await.unwrap();
        let mut this_run = hub.feedback().subscribe_from_this_run();
        hub.send_to_device(device(), message(&run.to_string()))
            .await
            .unwrap();
        hub.purge_messages(device()).await.unwrap();
        let Some(iothub_emulator::Notice::Entry(told)) = this_run.next().await else {
            panic!("missed")
        };
        let all: Vec<Feedback> = hub
            .feedback()
            .snapshot()
            .iter()
            .map(|one| (**one).clone())
            .collect();
        assert_eq!((all.len(), all.last()), (run + 1, Some(&*told)));
        assert_eq!(
            (&*told.original_message_id, told.fate),
            (&*run.to_string(), Fate::Purged)
        );
        hub.stop().await;
    }
}

#[tokio::test]
async fn twins_are_after_a_crash_what_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let hub = on(directory.path()).start().await.unwrap();
    hub.register_module(device(), "m".parse().unwrap(), None)
        .await
        .unwrap();
    hub.patch_desired(
        device(),
        json!({"interval": 60, "a": {"b": [1, 2.5, null]}, "gone": 1}),
    )
    .await
    .unwrap();
    hub.patch_desired(device(), json!({"gone": null})).await.unwrap();
    hub.patch_tags(module(), json!({"floor": 3})).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    twins::report(&mut raw, &json!({"firmware": {"version": "1.0"}})).await;
    let both = async |hub: &Emulator| {
        let twins = [device().into(), module()].map(|identity: Identity| hub.twin(identity));
        let [device, module] = twins;
        (device.await.unwrap(), module.await.unwrap())
    };
    let before = both(&hub).await;
    assert_eq!(
        (
            before.0.desired_version(),
            before.0.reported_version(),
            before.0.version()
        ),
        (3, 2, 4)
    );
    let crash = crashed(directory.path());
    let again = on(crash.path()).start().await.unwrap();
    let after = both(&again).await;
    assert_eq!(after, before);
    assert_eq!(after.0.to_json().to_string(), before.0.to_json().to_string());
    let patched = again.patch_desired(device(), json!({})).await.unwrap();
    assert_eq!(patched.desired_version(), 4);
    assert_ne!(patched.etag(), before.0.etag());
}

#[tokio::test]
async fn with_an_identity_goes_all_that_was_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let hub = on(directory.path()).start().await.unwrap();
    let register = async |hub: &Emulator| {
        hub.register_device("gone".parse().unwrap(), None).await.unwrap();
        hub.register_module("gone".parse().unwrap(), "m".parse().unwrap(), None)
            .await
            .unwrap();
    };
    register(&hub).await;
    let identities: [Identity; 2] = ["gone", "gone/modules/m"].map(|text| text.parse().unwrap());
    for identity in &identities {
        hub.send_to_device(identity.clone(), message("m")).await.unwrap();
        hub.patch_tags(identity.clone(), json!({"floor": 3}))
            .await
            .unwrap();
    }
    hub.remove(&identities[0]).await.unwrap();
    let crash = crashed(directory.path());
    let again = on(crash.path()).start().await.unwrap();
    register(&again).await;
    for identity in &identities {
        assert_eq!(again.waiting_messages(identity.clone()).await.unwrap(), 0);
        let twin = again.twin(identity.clone()).await.unwrap();
        assert_eq!((twin.version(), twin.tags().len()), (1, 0));
    }
    // Nobody is told of them.
    assert_eq!(fates(&again), []);
}
