//! Goal: a message's system properties stand where a hub looks for them.
//! Method: a hub of hand-written frames on loopback, and the message read section by section.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, SystemTime};

use iothub_address::{DeviceId, HubHost, Identity};
use iothub_amqp::{Connection, Key, Message};
use iothub_sas::SharedKey;
use iothub_tests::cloud::{Cloud, Seen};
use iothub_tests::frames::{fields, text};
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
