//! Goal: a message's system properties stand where a hub looks for them.
//! Method: a hub of hand-written frames on loopback, and the message read section by section.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, SystemTime};

use iothub_address::{DeviceId, HubHost, Identity};
use iothub_amqp::{Connection, DeviceClient, EnqueueError, Key, Message, QUEUE_BYTES};
use iothub_emulator::Value;
use iothub_sas::SharedKey;
use iothub_tests::cloud::{Cloud, Seen};
use iothub_tests::frames::{fields, text};
use iothub_tests::memory::Memory;
use iothub_tests::sections::{entries, sections};

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_carries_its_system_properties_where_the_hub_looks_for_them() {
    let mut cloud = Cloud::start().await;
    let connection = Connection::builder(HubHost::parse("127.0.0.1").unwrap())
        .port(cloud.address.port())
        .plain_tcp_to_this_machine()
        .open()
        .await
        .unwrap();
    let identity = Identity::Device(DeviceId::parse("dev").unwrap());
    // Made up.
    let key = Key::new(SharedKey::from_bytes(&[7; 32]).unwrap());
    let client = connection.device(identity, key).connect().await.unwrap();
    let message = Message::new("x")
        .to("/devices/dev/messages/events")
        .component("thermostat1")
        .security_message()
        .traced(
            "a1B2c3D4",
            SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_999),
        )
        .output("out")
        .created_at(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
        .schema("v1")
        .operation("add")
        .property("mine", "1");
    client.send(message).await.unwrap();
    let bytes = cloud
        .find(|seen| match seen {
            Seen::Telemetry(_, bytes) => Some(bytes),
            _ => None,
        })
        .await;
    let sections = sections(&bytes);
    let texts = |section: u8| {
        let entries = entries(&sections[&section]);
        entries
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    // Sections: AMQP 1.0 §3.2.3 and §3.2.5; names: the SDKs'.
    assert_eq!(
        texts(0x72),
        pairs(&[
            ("Correlation-Context", "creationtimeutc=1700000000"),
            ("Diagnostic-Id", "a1B2c3D4"),
            ("dt-subject", "thermostat1"),
            ("iothub-interface-id", "urn:azureiot:Security:SecurityAgent:1"),
        ])
    );
    assert_eq!(
        texts(0x74),
        pairs(&[
            ("iothub-creation-time-utc", "2023-11-14T22:13:20.123Z"),
            ("iothub-message-schema", "v1"),
            ("iothub-operation", "add"),
            ("iothub-outputname", "out"),
            ("mine", "1"),
        ])
    );
    let (properties, _) = fields(&sections[&0x73]);
    assert_eq!(text(properties[2]), "/devices/dev/messages/events");
}

/// Azure's documentation has readers get the annotations that a device set.
#[tokio::test(start_paused = true)]
async fn a_reader_finds_by_what_a_message_is_traced() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let message = Message::new("x")
        .traced("first000", made)
        .traced("a1B2c3D4", made);
    client.send(message).await.unwrap();
    let event = &memory.hub().journal().snapshot()[0];
    let mut annotations = event.message.annotations.clone();
    annotations.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("Correlation-Context", "creationtimeutc=1700000000"),
        ("Diagnostic-Id", "a1B2c3D4"),
    ];
    let expected = expected.map(|(key, text)| (key.to_owned(), Value::from(text)));
    assert_eq!(annotations, expected);
    client.close().await.unwrap();
}

const MIB: usize = 1024 * 1024;

fn long() -> String {
    "x".repeat(MIB)
}

type Made = fn() -> Message;

/// A message with a mebibyte in one place, each in another.
const LARGE: [(&str, Made); 14] = [
    ("body", || Message::new(long())),
    ("message id", || Message::default().message_id(long())),
    ("correlation id", || Message::default().correlation_id(long())),
    ("user id", || Message::default().user_id(long())),
    ("content type", || Message::default().content_type(long())),
    ("content encoding", || Message::default().content_encoding(long())),
    ("to", || Message::default().to(long())),
    ("component", || Message::default().component(long())),
    ("trace", || {
        Message::default().traced(long(), SystemTime::UNIX_EPOCH)
    }),
    ("output", || Message::default().output(long())),
    ("schema", || Message::default().schema(long())),
    ("operation", || Message::default().operation(long())),
    ("name", || Message::default().property(long(), "")),
    ("value", || Message::default().property("", long())),
];

#[tokio::test(start_paused = true)]
async fn whatever_a_message_holds_counts_for_the_bytes_of_the_queue() {
    let memory = Memory::start(1).await;
    for (place, message) in LARGE {
        let client = memory.device(0).connect().await.unwrap();
        memory.down();
        let mut tickets = Vec::new();
        let full = loop {
            match client.enqueue(message()) {
                Ok(ticket) => tickets.push(ticket),
                Err(error) => break error,
            }
            assert!(tickets.len() < QUEUE_BYTES / MIB, "{place}");
        };
        assert!(matches!(full, EnqueueError::QueueFull), "{place}: {full:?}");
        assert_eq!(tickets.len(), QUEUE_BYTES / MIB - 1, "{place}");
        drop((client, tickets));
        memory.up();
    }
}

/// The attach of a device's telemetry link, and of no other, says what model it speaks: as C#'s and Java's SDKs do.
#[tokio::test(flavor = "multi_thread")]
async fn the_telemetry_link_says_what_model_the_device_speaks_each_time() {
    let mut cloud = Cloud::start().await;
    let host = || HubHost::parse("127.0.0.1").unwrap();
    let identity = |id| Identity::Device(DeviceId::parse(id).unwrap());
    // Made up.
    let key = || Key::new(SharedKey::from_bytes(&[7; 32]).unwrap());
    let connection = Connection::builder(host())
        .port(cloud.address.port())
        .plain_tcp_to_this_machine();
    let connection = connection.open().await.unwrap();
    let shared = connection
        .device(identity("shared"), key())
        .model_id("dtmi:com:example:Pump;1");
    let alone = DeviceClient::builder(host(), identity("alone"), key())
        .claims_based()
        .port(cloud.address.port())
        .plain_tcp_to_this_machine()
        .model_id("dtmi:com:example:Thermostat;2");
    let models = |seen: Vec<Seen>| -> Vec<_> {
        let models = seen.into_iter().filter_map(|seen| match seen {
            Seen::Model(address, model) => Some((address, model)),
            _ => None,
        });
        models.collect()
    };
    let expected = |id: &str, model: &str| {
        let address = format!("/devices/{id}/messages/events");
        vec![(address, model.to_owned())]
    };

    let shared = shared.connect().await.unwrap();
    let _methods = shared.methods().await.unwrap();
    let none = connection
        .device(identity("none"), key())
        .connect()
        .await
        .unwrap();
    let pump = expected("shared", "dtmi:com:example:Pump;1");
    assert_eq!(models(cloud.rest()), pump);
    connection.close().await.unwrap();
    drop((shared, none));

    let alone = alone.connect().await.unwrap();
    let thermostat = expected("alone", "dtmi:com:example:Thermostat;2");
    assert_eq!(models(cloud.rest()), thermostat);
    cloud.detach("/messages/events", "amqp:link:detach-forced");
    alone.send(Message::new("on the next link")).await.unwrap();
    let again = cloud
        .find(|seen| match seen {
            Seen::Model(address, model) => Some((address, model)),
            _ => None,
        })
        .await;
    assert_eq!(vec![again], thermostat);
    alone.close().await.unwrap();
}
