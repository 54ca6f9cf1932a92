//! A hub with a state directory goes on where the one before it ended: what clients were told is there, and numbers
//! go on. Seen through the library, over the wire, and by a hub that never stops in order.

use std::path::Path;

use iothub_address::{Identity, ModuleId};
use iothub_emulator::{
    Authentication, Builder, Keys, LogLimits, StartError, StateError, Status, Thumbprint, Thumbprints,
};

use crate::common::*;
use crate::raw::*;

fn on(directory: &Path) -> Builder {
    builder().state_dir(directory)
}

/// Sends telemetry and waits until each is accepted.
async fn send(hub: &iothub_emulator::Emulator, numbers: std::ops::Range<u32>) {
    let mut raw = Raw::attached(hub).await;
    for (id, number) in numbers.enumerate() {
        let id = u32::try_from(id).unwrap();
        raw.send(&transfer(id, false, false, &data(number.to_string().as_bytes())))
            .await;
        let disposition = raw.expect_past_flows(DISPOSITION).await;
        assert_eq!(disposition.field(1), &serde_amqp::Value::Uint(id));
    }
}

fn numbers(hub: &iothub_emulator::Emulator) -> Vec<u64> {
    let events = hub.journal().snapshot();
    let bodies: Vec<String> = events
        .iter()
        .map(|event| format!("{:?}", event.message.body))
        .collect();
    for (event, body) in events.iter().zip(&bodies) {
        assert_eq!(body, &format!("Data(b\"{}\")", event.sequence_number));
    }
    events.iter().map(|event| event.sequence_number).collect()
}

#[tokio::test]
async fn events_and_their_numbers_go_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let hub = on(directory.path()).start().await.unwrap();
        let mut this_run = hub.journal().subscribe_from_this_run();
        send(&hub, run * 3..run * 3 + 3).await;
        assert_eq!(numbers(&hub), (0..u64::from(run) * 3 + 3).collect::<Vec<_>>());
        let iothub_emulator::Notice::Entry(first) = this_run.next().await.unwrap() else {
            panic!("missed")
        };
        assert_eq!(first.sequence_number, u64::from(run) * 3);
        // The offset is what all events before take in their encoded form.
        let all = hub.journal().snapshot();
        let sizes: u64 = all[..all.len() - 1]
            .iter()
            .map(|event| event.message.encoded_size as u64)
            .sum();
        assert_eq!(all.last().unwrap().offset, sizes);
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_reader_comes_from_the_file_into_memory_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let hub = on(directory.path()).start().await.unwrap();
    send(&hub, 0..300).await;
    hub.stop().await;
    let hub = on(directory.path()).start().await.unwrap();
    let mut reader = hub.journal().subscribe_from_start();
    send(&hub, 300..310).await;
    for expected in 0..310 {
        let iothub_emulator::Notice::Entry(event) = reader.next().await.unwrap() else {
            panic!("missed")
        };
        assert_eq!(event.sequence_number, expected);
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_is_dropped_in_the_middle_has_kept_what_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut sent = 0;
    for _ in 0..5 {
        let hub = loop {
            // The one before closes its file in its own time.
            match on(directory.path()).start().await {
                Err(StartError::State(StateError::InUse(_))) => tokio::task::yield_now().await,
                started => break started.unwrap(),
            }
        };
        assert_eq!(numbers(&hub), (0..u64::from(sent)).collect::<Vec<_>>());
        send(&hub, sent..sent + 4).await;
        sent += 4;
        drop(hub);
    }
}

#[tokio::test]
async fn identities_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let hub = on(directory.path()).start().await.unwrap();
    let module: ModuleId = "m".parse().unwrap();
    hub.register_device("made".parse().unwrap(), None).await.unwrap();
    hub.register_module("made".parse().unwrap(), module.clone(), None)
        .await
        .unwrap();
    hub.register_device("gone".parse().unwrap(), None).await.unwrap();
    hub.register_module("gone".parse().unwrap(), module, None)
        .await
        .unwrap();
    hub.set_status(&"made".parse().unwrap(), Status::Disabled)
        .await
        .unwrap();
    hub.remove(&"gone".parse::<Identity>().unwrap()).await.unwrap();
    let thumbprints = Thumbprints::new(Thumbprint::sha1(b"one"), Thumbprint::sha256(b"two"));
    hub.register_device("x509".parse().unwrap(), thumbprints)
        .await
        .unwrap();
    hub.register_device("ca".parse().unwrap(), Authentication::CertificateAuthority)
        .await
        .unwrap();
    let strings = async |hub: &iothub_emulator::Emulator| {
        let mut strings = Vec::new();
        for identity in ["made", "made/modules/m", DEVICE] {
            let string = hub
                .connection_string(&identity.parse().unwrap())
                .await
                .unwrap()
                .expose();
            // The port is another at each start.
            strings.push(string.split_once("DeviceId").unwrap().1.to_owned());
        }
        strings
    };
    let before = strings(&hub).await;
    hub.stop().await;

    let hub = on(directory.path()).start().await.unwrap();
    assert_eq!(strings(&hub).await, before);
    let devices: Vec<String> = hub
        .devices()
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(devices, ["ca", "made", DEVICE, "x509"]);
    assert!(
        hub.connection_string(&"gone/modules/m".parse().unwrap())
            .await
            .is_err()
    );
    let again = hub
        .register_device("made".parse().unwrap(), None)
        .await
        .unwrap_err();
    assert_eq!(again.to_string(), "made is registered already");
    hub.stop().await;
}

#[tokio::test]
async fn a_device_or_policy_that_is_there_keeps_what_is_not_given_anew() {
    let directory = tempfile::tempdir().unwrap();
    let owner: iothub_address::PolicyName = "iothubowner".parse().unwrap();
    let start = async |builder: Builder| builder.state_dir(directory.path()).start().await.unwrap();
    let primary = async |hub: &iothub_emulator::Emulator, id: &str| {
        let string = hub.connection_string(&id.parse().unwrap()).await.unwrap();
        string.key().unwrap().expose().to_owned()
    };
    let empty = iothub_emulator::Emulator::builder;
    let hub = start(empty().device(device(), None).policy(owner.clone(), key(KEY))).await;
    let made = primary(&hub, DEVICE).await;
    hub.stop().await;
    // Nothing given, and without a key: the same.
    for builder in [empty(), empty().device(device(), None)] {
        let hub = start(builder).await;
        assert_eq!(primary(&hub, DEVICE).await, made);
        let string = hub.policy_connection_string(&owner).await.unwrap();
        assert_eq!(string.key().unwrap().expose(), KEY);
        hub.stop().await;
    }
    // A key given replaces the primary one; the device is otherwise what it was.
    let hub = start(empty().device(device(), None)).await;
    hub.set_status(&device(), Status::Disabled).await.unwrap();
    hub.stop().await;
    let hub = start(
        empty()
            .device_key(device(), key(OTHER_KEY))
            .policy(owner.clone(), key(OTHER_KEY)),
    )
    .await;
    assert_eq!(primary(&hub, DEVICE).await, OTHER_KEY);
    let string = hub.policy_connection_string(&owner).await.unwrap();
    assert_eq!(string.key().unwrap().expose(), OTHER_KEY);
    hub.stop().await;
    // Twice in one start is still a mistake.
    let keys = || Keys::new(key(KEY), key(KEY));
    let twice = empty()
        .state_dir(directory.path())
        .device(device(), keys())
        .device(device(), keys());
    assert!(matches!(twice.start().await, Err(StartError::Device(_))));
}

#[tokio::test]
async fn the_directory_is_one_hubs_at_a_time_and_a_failed_start_lets_go_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let hub = on(directory.path()).start().await.unwrap();
    let second = on(directory.path()).start().await;
    let Err(StartError::State(error @ StateError::InUse(_))) = second else {
        panic!("{second:?}")
    };
    assert!(
        error
            .to_string()
            .contains("is in use by another hub: stop that one")
    );
    let taken = hub.amqps_address().port();
    hub.stop().await;
    // A port that is taken is found out after the state is open.
    let port = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let refused = on(directory.path()).amqps_port(taken).start().await;
    assert!(matches!(refused, Err(StartError::Listen { .. })));
    drop(port);
    on(directory.path()).start().await.unwrap().stop().await;
}

#[tokio::test]
async fn partitions_stay_and_the_log_is_bounded_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits::new(32, usize::MAX);
    let hub = on(directory.path())
        .partitions(2)
        .journal_limits(limits)
        .start()
        .await
        .unwrap();
    send(&hub, 0..100).await;
    hub.stop().await;
    let other = on(directory.path()).partitions(3).start().await;
    assert!(matches!(
        other,
        Err(StartError::State(StateError::Partitions {
            kept: 2,
            asked: 3,
            ..
        }))
    ));
    let hub = on(directory.path()).journal_limits(limits).start().await.unwrap();
    let kept = numbers(&hub);
    assert!((28..=32).contains(&kept.len()), "{kept:?}");
    assert_eq!(kept.last(), Some(&99));
    send(&hub, 100..101).await;
    assert_eq!(numbers(&hub).last(), Some(&100));
    hub.stop().await;
}
