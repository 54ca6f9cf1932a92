//! A client that is not ours sends telemetry, and the journal shows it. The client is fe2o3-amqp's own, over TLS
//! and SASL PLAIN; what it should see is in the docs of IoT Hub.

use crate::common::*;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::messaging::{Message, Outcome};
use fe2o3_amqp::types::primitives::Binary;
use fe2o3_amqp::{Connection, Sender, Session, connection::ConnectionHandle};
use iothub_emulator::{Body, Emulator, Notice, Source};

async fn connect(hub: &Emulator, user: &str, token: &str) -> ConnectionHandle<()> {
    Connection::builder()
        .container_id("test")
        .hostname("localhost")
        .sasl_profile(SaslProfile::Plain {
            username: user.into(),
            password: token.into(),
        })
        .open_with_stream(tls(hub).await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_message_that_was_accepted_is_in_the_journal() {
    let hub = hub().await;
    let mut events = hub.journal().subscribe();
    let mut connection = connect(&hub, "myFirstDevice@sas.tcontehub", &device_token()).await;
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(
        &mut session,
        "telemetry",
        "/devices/myFirstDevice/messages/events",
    )
    .await
    .unwrap();
    let outcome = sender
        .send(
            Message::builder()
                .data(Binary::from(&b"Hello World!"[..]))
                .build(),
        )
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Accepted(_)));

    let Some(Notice::Entry(event)) = events.next().await else {
        panic!("no event")
    };
    assert_eq!(event.device().as_str(), DEVICE);
    assert_eq!(event.module(), None);
    assert_eq!(event.sequence_number, 0);
    assert_eq!(event.source, Source::Telemetry);
    assert_eq!(event.message.body, Body::Data(b"Hello World!"[..].into()));

    sender.close().await.unwrap();
    session.end().await.unwrap();
    connection.close().await.unwrap();
    hub.stop().await;
}
