//! Goal: what a service sends to devices gets there or is refused in so many words, and what becomes of it comes back.
//! Method: the client against the emulator in memory and virtual time, with a device's client at the other end.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, SystemTime};

use iothub_address::{ConnectionString, Identity};
use iothub_amqp::{
    Ack, ConnectError, DispatchError, Interruption, Message, ServiceClient, ServiceClientBuilder,
};
use iothub_tests::memory::{Memory, identity};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

async fn builder(memory: &Memory, policy: &str) -> ServiceClientBuilder {
    let policy = policy.parse().unwrap();
    let string = memory.hub().policy_connection_string(&policy).await.unwrap();
    let builder = ServiceClient::with(&string).unwrap();
    let builder = builder.plain_tcp_to_this_machine().network(memory.clone());
    builder.clock(memory.clock()).seed(1_000)
}

async fn service(memory: &Memory) -> ServiceClient {
    builder(memory, "service").await.connect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_its_device_with_all_that_was_said_of_it() {
    let memory = Memory::start(1).await;
    let device = memory.device(0).connect().await.unwrap();
    let mut commands = device.commands().await.unwrap();
    let plain = builder(&memory, "service").await;
    let plain = plain
        .plain("service".parse().unwrap())
        .hub("emulator".parse().unwrap());
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(memory.clock().unix() + 600);
    for client in [service(&memory).await, plain.connect().await.unwrap()] {
        let message = Message::new("fan on")
            .message_id("m1")
            .correlation_id("c1")
            .content_type("text/plain")
            .expires_at(expires)
            .property("urgent", "yes");
        client.send(&identity(0), message, Ack::Full).await.unwrap();
        let command = timeout(Duration::from_secs(60), commands.next())
            .await
            .unwrap()
            .unwrap();
        let message = command.message();
        assert_eq!(message.body, b"fan on");
        assert_eq!(message.message_id.as_deref(), Some("m1"));
        assert_eq!(message.correlation_id.as_deref(), Some("c1"));
        assert_eq!(message.content_type.as_deref(), Some("text/plain"));
        assert_eq!(message.expires_at, Some(expires));
        assert_eq!(message.property("urgent"), Some("yes"));
        command.complete().await.unwrap();
        client.close().await.unwrap();
    }
    device.close().await.unwrap();
    assert_eq!(memory.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_refuses_is_told_by_what_is_wrong() {
    let memory = Memory::start(1).await;
    let client = service(&memory).await;
    let send = async |to: &Identity| client.send(to, Message::new("x"), Ack::None).await;
    let nobody = Identity::parse("nobody").unwrap();
    let unknown = send(&nobody).await.unwrap_err();
    assert!(matches!(unknown, DispatchError::NotFound(_)), "{unknown}");
    // A queue has room for 50.
    for _ in 0..50 {
        send(&identity(0)).await.unwrap();
    }
    let full = send(&identity(0)).await.unwrap_err();
    assert!(matches!(full, DispatchError::QueueFull(_)), "{full}");
    let large = Message::new(vec![0; 300 * 1024]);
    let large = client.send(&identity(0), large, Ack::None).await.unwrap_err();
    assert!(
        matches!(large, DispatchError::TooLarge { .. } | DispatchError::Rejected(_)),
        "{large}"
    );
    // What was refused has harmed nothing.
    memory.hub().purge_messages(identity(0)).await.unwrap();
    send(&identity(0)).await.unwrap();

    let reader = builder(&memory, "registryRead").await.connect().await.unwrap();
    let refused = reader.send(&identity(0), Message::new("x"), Ack::None).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, DispatchError::NoRights(_)), "{refused}");
    let device = ConnectionString::parse("HostName=localhost;DeviceId=d;SharedAccessKey=AAECAw==").unwrap();
    assert!(matches!(
        ServiceClient::with(&device),
        Err(ConnectError::NotAServicesConnection)
    ));
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_sent_through_cuts_reach_their_device() {
    let memory = Memory::start(1).await;
    let device = memory.device(0).connect().await.unwrap();
    let mut commands = device.commands().await.unwrap();
    let client = service(&memory).await;
    let mut sending = JoinSet::new();
    for number in 0..40 {
        let client = client.clone();
        sending.spawn(async move {
            let message = Message::new(number.to_string()).message_id(number.to_string());
            client.send(&identity(0), message, Ack::None).await.unwrap();
        });
    }
    let mut came = std::collections::BTreeSet::new();
    while came.len() < 40 {
        let command = timeout(Duration::from_secs(600), commands.next())
            .await
            .unwrap()
            .unwrap();
        came.insert(command.message().message_id.clone().unwrap());
        // If the link is gone it comes again.
        let _ = command.complete().await;
        if came.len() % 10 == 5 {
            memory.down();
            sleep(Duration::from_secs(1)).await;
            memory.up();
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_of_a_service_is_withdrawn_or_flies_on() {
    let memory = Memory::start(1).await;
    let client = service(&memory).await;
    let send = |id: &str| {
        let message = Message::new("x").message_id(id);
        let (client, to) = (client.clone(), identity(0));
        async move { client.send(&to, message, Ack::None).await }
    };
    memory.down();
    let queued = timeout(Duration::from_secs(1), send("withdrawn")).await;
    assert!(queued.is_err(), "{queued:?}");
    memory.up();
    send("sent").await.unwrap();
    let device = memory.device(0).connect().await.unwrap();
    let mut commands = device.commands().await.unwrap();
    let command = timeout(Duration::from_secs(60), commands.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(command.message().message_id.as_deref(), Some("sent"));
    command.complete().await.unwrap();
    assert!(timeout(Duration::from_secs(60), commands.next()).await.is_err());
    device.close().await.unwrap();
    let connecting = timeout(Duration::ZERO, builder(&memory, "service").await.connect()).await;
    assert!(connecting.is_err());
    let closing = timeout(Duration::ZERO, client.clone().close()).await;
    assert!(closing.is_err());
    let _ = timeout(
        Duration::ZERO,
        client.clone().close_within(Duration::from_secs(1)),
    )
    .await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(memory.open(), 0);
    let late = client.send(&identity(0), Message::new("x"), Ack::None).await;
    assert_eq!(late.unwrap_err(), DispatchError::NotSent(Interruption::Stopped));
}
