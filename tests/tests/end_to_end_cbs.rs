//! Goal: claims-based security, batches and recovery work from end to end.
//! Method: the client against the emulator over TLS on loopback; see `end_to_end.rs` for what this can't show.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::Duration;

use iothub_address::{ConnectionString, DeviceId, HubHost, Identity, Secret};
use iothub_amqp::{Batching, ConnectError, DeviceClient, DeviceClientBuilder, Message};
use iothub_emulator::{Body, Emulator, Keys};
use iothub_sas::SharedKey;

fn identity(id: &str) -> Identity {
    Identity::Device(DeviceId::parse(id).unwrap())
}

fn keys() -> Keys {
    Keys::new(
        SharedKey::from_bytes(&[1; 32]).unwrap(),
        SharedKey::from_bytes(&[2; 32]).unwrap(),
    )
}

async fn hub(device: &str) -> Emulator {
    let id = DeviceId::parse(device).unwrap();
    Emulator::builder()
        .amqps_port(0)
        .device(id, keys())
        .start()
        .await
        .unwrap()
}

fn client(hub: &Emulator, connection: &ConnectionString) -> DeviceClientBuilder {
    DeviceClient::with(connection)
        .unwrap()
        .root_certificate(hub.root_certificate_der().to_vec().into())
        .operation_timeout(Duration::from_secs(20))
}

/// The bodies that the hub took, in order.
fn bodies(hub: &Emulator) -> Vec<String> {
    let text = |body: &Body| match body {
        Body::Data(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    hub.journal()
        .snapshot()
        .iter()
        .map(|event| text(&event.message.body))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_string_sends_by_claims_based_security() {
    let hub = hub("dev").await;
    let connection = hub.connection_string(&identity("dev")).await.unwrap();
    let client = client(&hub, &connection).connect().await.unwrap();
    for number in 0..100 {
        client.send(Message::new(number.to_string())).await.unwrap();
    }
    client.close().await.unwrap();
    assert_eq!(
        bodies(&hub),
        (0..100).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_token_is_too_long_for_plain_gets_in_by_claims() {
    let id = "#".repeat(128);
    let hub = hub(&id).await;
    let connection = hub.connection_string(&identity(&id)).await.unwrap();
    let client = client(&hub, &connection).connect().await.unwrap();
    client.send(Message::new("long")).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(hub.journal().snapshot()[0].device().as_str(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_an_unknown_device_are_refused_and_told_apart() {
    let hub = hub("dev").await;
    let port = hub.amqps_address().port();
    let refused = async |id: &str, key: &[u8]| {
        let key = SharedKey::from_bytes(key).unwrap();
        let connection = ConnectionString::builder(HubHost::parse("localhost").unwrap())
            .port(port)
            .identity(identity(id))
            .key(Secret::new(key.to_base64().expose()))
            .build()
            .unwrap();
        match client(&hub, &connection).connect().await.unwrap_err() {
            ConnectError::TokenRefused(condition) => condition.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(refused("dev", &[9; 32]).await.contains("401"));
    assert!(refused("nobody", &[1; 32]).await.contains("404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_queues_up_goes_in_batches_and_arrives_as_single_events_in_order() {
    let hub = hub("dev").await;
    let connection = hub.connection_string(&identity("dev")).await.unwrap();
    let client = client(&hub, &connection)
        .batching(Batching::On)
        .connect()
        .await
        .unwrap();
    let tickets: Vec<_> = (0..2_000)
        .map(|number| client.enqueue(Message::new(number.to_string())).unwrap())
        .collect();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let statistics = client.statistics();
    assert_eq!(statistics.accepted, 2_000);
    assert!(statistics.transfers < 1_000, "{statistics:?}");
    client.close().await.unwrap();
    assert_eq!(
        bodies(&hub),
        (0..2_000).map(|number| number.to_string()).collect::<Vec<_>>()
    );
}
