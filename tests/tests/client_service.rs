//! Goal: what a service sends to devices gets there or is refused in so many words, and what becomes of it comes back.
//! Method: the client against the emulator in memory and virtual time, with a device's client at the other end.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, SystemTime};

use iothub_address::{ConnectionString, Identity};
use iothub_amqp::{
    Ack, ConnectError, DispatchError, FeedbackBatch, FeedbackBatches, FeedbackStatus, Interruption, Message,
    ServiceClient, ServiceClientBuilder, SettleError, SubscribeError,
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

/// The next batch, when the hub has put it together.
async fn next_batch(feedback: &mut FeedbackBatches) -> FeedbackBatch {
    timeout(Duration::from_secs(300), feedback.next())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn feedback_comes_until_it_is_settled_through_cuts_too() {
    let memory = Memory::start(1).await;
    let client = service(&memory).await;
    let mut feedback = client.feedback().await.unwrap();
    assert!(matches!(
        client.feedback().await,
        Err(SubscribeError::AlreadyOpen)
    ));
    let device = memory.device(0).connect().await.unwrap();
    let mut commands = device.commands().await.unwrap();
    for (id, ack) in [("done", Ack::Full), ("bad", Ack::Negative), ("silent", Ack::None)] {
        let message = Message::new("x").message_id(id);
        client.send(&identity(0), message, ack).await.unwrap();
        let command = timeout(Duration::from_secs(60), commands.next())
            .await
            .unwrap()
            .unwrap();
        match id {
            "bad" => command.reject().await.unwrap(),
            _ => command.complete().await.unwrap(),
        }
    }
    let batch = next_batch(&mut feedback).await;
    let check = |batch: &FeedbackBatch| {
        let records = batch.records().unwrap().to_vec();
        let all: Vec<_> = records
            .iter()
            .map(|record| (record.original_message_id.as_str(), record.status.clone()))
            .collect();
        let expected = [
            ("done", FeedbackStatus::Success),
            ("bad", FeedbackStatus::Rejected),
        ];
        assert_eq!(all, expected);
        assert!(
            records
                .iter()
                .all(|record| record.device == "d0" && record.at.is_some())
        );
    };
    check(&batch);
    batch.abandon().await.unwrap();
    let again = next_batch(&mut feedback).await;
    check(&again);
    // Its link is gone: the hub has it back.
    memory.down();
    memory.up();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(again.complete().await, Err(SettleError::LockLost));
    let last = next_batch(&mut feedback).await;
    check(&last);
    last.complete().await.unwrap();
    let more = timeout(Duration::from_secs(300), feedback.next()).await;
    assert!(more.is_err(), "{more:?}");
    client.close().await.unwrap();
    assert!(feedback.next().await.is_none());
    assert_eq!(feedback.ended(), Some(Interruption::Stopped));
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_of_feedback_comes_to_the_next_who_asks() {
    let memory = Memory::start(1).await;
    let client = service(&memory).await;
    let message = Message::new("x").message_id("m");
    client.send(&identity(0), message, Ack::Full).await.unwrap();
    memory.hub().purge_messages(identity(0)).await.unwrap();
    let opening = timeout(Duration::ZERO, client.feedback()).await;
    assert!(opening.is_err());
    sleep(Duration::from_secs(30)).await;
    for round in 0..3 {
        let mut feedback = client.feedback().await.unwrap();
        for _ in 0..5 {
            // Dropped before there is one.
            let _ = timeout(Duration::ZERO, std::future::pending::<()>()).await;
        }
        let batch = next_batch(&mut feedback).await;
        assert_eq!(batch.records().unwrap()[0].status, FeedbackStatus::Purged);
        match round {
            0 => drop(batch),
            1 => drop((feedback, batch)),
            _ => {
                // Polled once and dropped, it has been said.
                let mut answer = Box::pin(batch.reject());
                let polled = futures_util::poll!(answer.as_mut());
                drop((polled, answer));
                let more = timeout(Duration::from_secs(300), feedback.next()).await;
                assert!(more.is_err(), "{more:?}");
            }
        }
        sleep(Duration::from_secs(10)).await;
    }
    let mut files = client.file_notifications().await.unwrap();
    let none = timeout(Duration::from_secs(60), files.next()).await;
    assert!(none.is_err(), "{none:?}");
}
