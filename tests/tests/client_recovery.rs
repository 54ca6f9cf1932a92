//! Goal: after whatever ends a link, a session or a connection, the client does what the table of recovery says, and
//! every message gets its outcome.
//! Method: a hub of hand-written frames on loopback that does to each message what the test wants; real time and short
//! limits. What takes minutes is in `client_supervisor.rs`.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use iothub_address::{DeviceId, HubHost, HubName, Identity};
use iothub_amqp::{
    Batching, DeviceClient, DeviceClientBuilder, EnqueueError, Interruption, Message, QUEUE, Recover,
    Schedule, SendError, Status,
};
use iothub_emulator::{Body, Emulator, Keys};
use iothub_sas::{SharedKey, Signer, UnixTime};
use iothub_tests::frames;
use iothub_tests::reactive::{Answer, Hub, Seen};
use iothub_tests::scripted::{Step, accept_and_play, listen};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn builder(hub: SocketAddr) -> DeviceClientBuilder {
    let identity = Identity::Device(DeviceId::parse("dev").unwrap());
    let key = SharedKey::from_bytes(&[7; 32]).unwrap();
    let token = Signer::new(key).sign(
        "hub.azure-devices.net/devices/dev",
        UnixTime::from_secs(2_000_000_000),
    );
    let quick = Schedule::default()
        .spread(Duration::from_millis(50))
        .first(Duration::from_millis(50));
    DeviceClient::builder(HubHost::parse("127.0.0.1").unwrap(), identity, token)
        .hub(HubName::parse("hub").unwrap())
        .port(hub.port())
        .plain_tcp_to_this_machine()
        .recovery(Recover::On(quick))
}

/// Does this to the first message, and accepts all others.
async fn hub_that(first: Answer) -> Hub {
    Hub::start(
        "PLAIN",
        move |_, number| if number == 0 { first } else { Answer::Accept },
    )
    .await
}

/// The hub detaches a link, and settles what had come by it only when the next one has sent under the same handle.
#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_comes_after_its_link_is_not_taken_for_one_on_the_next_link_s_message() {
    let (listener, address) = listen().await.unwrap();
    let hub = tokio::spawn(async move {
        let mut peer = accept_and_play(&listener, Step::Transfer).await?;
        peer.send(&frames::detach(Some(("amqp:link:detach-forced", "busy"))))
            .await?;
        for step in [Step::Attach, Step::Credit, Step::Transfer] {
            peer.step(step).await?;
        }
        peer.send(&frames::accepted(0)).await?;
        peer.send(&frames::rejected(
            1,
            "amqp:link:message-size-exceeded",
            "too large",
        ))
        .await?;
        peer.until_gone().await;
        std::io::Result::Ok(())
    });
    let client = builder(address).connect().await.unwrap();
    let sent = timeout(PATIENCE, client.send(Message::new("once")))
        .await
        .unwrap();
    assert!(matches!(sent, Err(SendError::Rejected(_))), "{sent:?}");
    drop(client);
    hub.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_messages_fly_than_the_window_lets() {
    // Nothing is answered until the last of a window; what flew when the connection went is what is sent again.
    for (asked, flying) in [(0, 1), (1, 1), (3, 3)] {
        let hub = Hub::start("PLAIN", move |_, number| match number + 1 {
            last if last == flying => Answer::Cut,
            before if before < flying => Answer::Nothing,
            _ => Answer::Accept,
        })
        .await;
        let client = builder(hub.address).window(asked).connect().await.unwrap();
        let tickets: Vec<_> = (0..10)
            .map(|_| client.enqueue(Message::new("flies")).unwrap())
            .collect();
        for outcome in timeout(PATIENCE, join_all(tickets)).await.unwrap() {
            outcome.unwrap();
        }
        assert_eq!(client.statistics().resent, flying as u64, "window {asked}");
        client.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_flew_when_the_connection_was_cut_is_sent_again_before_newer_ones() {
    let mut hub = hub_that(Answer::Cut).await;
    let client = builder(hub.address).connect().await.unwrap();
    let tickets: Vec<_> = ["one", "two", "three"]
        .map(|body| client.enqueue(Message::new(body)).unwrap())
        .into();
    for outcome in timeout(PATIENCE, join_all(tickets)).await.unwrap() {
        outcome.unwrap();
    }
    let statistics = client.statistics();
    assert_eq!(
        (statistics.accepted, statistics.attempts, statistics.waiting),
        (3, 2, 0)
    );
    assert!((1..=3).contains(&statistics.resent), "{statistics:?}");
    client.close().await.unwrap();
    let mut after_the_cut = Vec::new();
    let mut cut = false;
    loop {
        match hub.next().await {
            Seen::Connection(2) => cut = true,
            Seen::Telemetry(sections) if cut => after_the_cut.push(sections),
            Seen::Close => break,
            _ => {}
        }
    }
    let bodies: Vec<_> = after_the_cut.iter().map(|sections| &sections[5..]).collect();
    assert_eq!(bodies, [&b"one"[..], b"two", b"three"]);
}

/// What C#'s SDK makes of a condition, which is the model for this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// It tries again.
    Retried,
    /// It gives up.
    Final,
    /// Its tables have no row for it.
    Unknown,
}
use Said::{Final, Retried, Unknown};

/// Every condition that Microsoft's SDKs know, with what C#'s does (azure-iot-sdk-csharp, `AmqpIotErrorAdapter` and
/// `AmqpErrorMapper`, and `IsTransient` of what they give), and one that nobody does.
const CONDITIONS: [(&str, Said); 40] = [
    ("amqp:unauthorized-access", Final),
    ("amqp:not-found", Final),
    ("amqp:not-allowed", Final),
    ("amqp:not-implemented", Final),
    ("amqp:decode-error", Final),
    ("amqp:invalid-field", Final),
    ("amqp:illegal-state", Final),
    ("amqp:frame-size-too-small", Final),
    ("amqp:precondition-failed", Final),
    ("amqp:resource-deleted", Final),
    ("amqp:resource-locked", Retried),
    ("amqp:resource-limit-exceeded", Final),
    ("amqp:internal-error", Retried),
    ("amqp:connection:forced", Retried),
    ("amqp:connection:framing-error", Retried),
    ("amqp:connection:redirect", Retried),
    ("amqp:link:detach-forced", Retried),
    ("amqp:link:redirect", Retried),
    ("amqp:link:stolen", Retried),
    ("amqp:link:transfer-limit-exceeded", Retried),
    ("amqp:link:message-size-exceeded", Final),
    ("amqp:session:errant-link", Retried),
    ("amqp:session:handle-in-use", Retried),
    ("amqp:session:unattached-handle", Retried),
    ("amqp:session:window-violation", Retried),
    ("amqp:transaction:rollback", Retried),
    ("amqp:transaction:timeout", Retried),
    ("proton:io", Final),
    ("com.microsoft:device-container-throttled", Retried),
    ("com.microsoft:timeout", Retried),
    ("com.microsoft:message-lock-lost", Final),
    ("com.microsoft:iot-hub-suspended", Final),
    ("com.microsoft:iot-hub-not-found-error", Final),
    ("com.microsoft:precondition-failed", Final),
    ("com.microsoft:argument-error", Final),
    ("com.microsoft:argument-out-of-range", Final),
    ("com.microsoft:device-already-exists", Unknown),
    ("com.microsoft:quota-exceeded", Unknown),
    ("com.microsoft:link-creation-conflict", Unknown),
    ("com.example:unheard-of", Unknown),
];

/// What is to come of a link that is detached so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    End,
    Pause,
    /// So many connections and sessions, the first among them.
    Back(usize, usize),
}

/// Where C# tries again, what the condition speaks of is made anew: a link, unless its name (AMQP 1.0 §2.8.15 and §2.8.16)
/// says that it is the connection or the session.
fn expected(name: &str, said: Said) -> Comes {
    let (link, session, connection) = (Comes::Back(1, 1), Comes::Back(1, 2), Comes::Back(2, 2));
    match (name, said) {
        // Where this client differs from C#, or that says nothing.
        ("proton:io", _) => connection, // Java's word for a transport that failed, which it retries
        ("com.microsoft:device-already-exists" | "com.microsoft:quota-exceeded", _) => Comes::End, // as Node has it
        ("com.microsoft:link-creation-conflict", _) => link, // as Java has it
        ("com.example:unheard-of", _) => connection, // C# gives up; a device that does so needs a person to come to it
        // C# retries it by a policy of its own; what is throttled is left alone for a while.
        ("com.microsoft:device-container-throttled", Retried) => Comes::Pause,
        (_, Final) => Comes::End,
        (name, Retried) if name.starts_with("amqp:connection:") => connection,
        (name, Retried) if name.starts_with("amqp:session:") => session,
        (_, Retried) => link,
        (name, Unknown) => panic!("{name} has no row"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_detached_with_each_condition_comes_to_what_the_table_says() {
    let cases = CONDITIONS.map(|(name, said)| async move {
        let mut hub = hub_that(Answer::Detach(name)).await;
        let client = builder(hub.address).connect().await.unwrap();
        let ticket = client.enqueue(Message::new("x")).unwrap();
        match expected(name, said) {
            Comes::End => {
                let error = timeout(PATIENCE, ticket).await.unwrap().unwrap_err();
                assert!(
                    matches!(&error, SendError::Unknown(Interruption::Refused(condition)) if condition.name == name),
                    "{name}: {error:?}"
                );
                assert_eq!(client.statistics().attempts, 1, "{name}");
            }
            Comes::Pause => {
                let mut status = client.status();
                let throttled = |status: &Status| matches!(status, Status::Throttled { .. });
                timeout(PATIENCE, status.wait_for(throttled)).await.unwrap().unwrap();
            }
            Comes::Back(connections, sessions) => {
                timeout(PATIENCE, ticket).await.unwrap().unwrap();
                client.close().await.unwrap();
                let mut made = (0, 0);
                while let Some(seen) = hub.seen.recv().await {
                    made.0 += usize::from(matches!(seen, Seen::Connection(_)));
                    made.1 += usize::from(seen == Seen::Begin);
                    if seen == Seen::Close {
                        break;
                    }
                }
                assert_eq!(made, (connections, sessions), "{name}");
            }
        }
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_and_a_connection_that_is_closed_are_made_anew() {
    for (answer, attempts) in [
        (Answer::End("amqp:internal-error"), 1),
        (Answer::Close("amqp:connection:forced"), 2),
    ] {
        let hub = hub_that(answer).await;
        let client = builder(hub.address).connect().await.unwrap();
        let sent = client.send(Message::new("x"));
        timeout(PATIENCE, sent).await.unwrap().unwrap();
        assert_eq!(client.statistics().attempts, attempts, "{answer:?}");
        client.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_settlement_never_comes_the_link_and_then_the_connection_are_replaced() {
    let hub = Hub::start("PLAIN", |_, number| match number {
        0 | 1 => Answer::Nothing,
        _ => Answer::Accept,
    })
    .await;
    let client = builder(hub.address)
        .operation_timeout(Duration::from_millis(400))
        .connect()
        .await
        .unwrap();
    let ticket = client.enqueue(Message::new("x")).unwrap();
    timeout(PATIENCE, ticket).await.unwrap().unwrap();
    let statistics = client.statistics();
    assert_eq!(
        (statistics.attempts, statistics.links, statistics.resent),
        (2, 3, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_credit_for_ever_the_queue_is_bounded_and_every_send_ends_in_time() {
    let (listener, address) = listen().await.unwrap();
    let hub = tokio::spawn(async move {
        let step = Step::Attach;
        let mut peer = accept_and_play(&listener, step).await.unwrap();
        peer.until_gone().await;
    });
    let limit = Duration::from_millis(400);
    let client = builder(address).operation_timeout(limit).connect().await.unwrap();
    let begun = Instant::now();
    let error = client.send(Message::new("x")).await.unwrap_err();
    assert!(
        matches!(error, SendError::NotSent(Interruption::TimedOut { .. })),
        "{error:?}"
    );
    assert!(begun.elapsed() < limit + PATIENCE);
    let mut queued = Vec::new();
    let full = loop {
        match client.enqueue(Message::new("x")) {
            Ok(ticket) => queued.push(ticket),
            Err(error) => break error,
        }
    };
    assert_eq!(full, EnqueueError::QueueFull);
    assert!(queued.len() <= QUEUE && queued.len() > 1000, "{}", queued.len());
    // Closing in time, with each message's outcome known: none was handed over.
    let closing = client.close_within(Duration::from_millis(500));
    timeout(PATIENCE, closing).await.unwrap().unwrap_err();
    for outcome in join_all(queued).await {
        assert!(
            matches!(outcome, Err(SendError::NotSent(Interruption::Stopped))),
            "{outcome:?}"
        );
    }
    hub.abort();
}

async fn emulator() -> (Emulator, DeviceClientBuilder) {
    let keys = || SharedKey::from_bytes(&[7; 32]).unwrap();
    let id = DeviceId::parse("dev").unwrap();
    let hub = Emulator::builder()
        .hub(HubName::parse("hub").unwrap())
        .amqps_port(0)
        .device(id.clone(), Keys::new(keys(), keys()))
        .start()
        .await
        .unwrap();
    let token = Signer::new(keys()).sign(
        "hub.azure-devices.net/devices/dev",
        UnixTime::from_secs(2_000_000_000),
    );
    let builder = DeviceClient::builder(HubHost::parse("localhost").unwrap(), Identity::Device(id), token)
        .hub(HubName::parse("hub").unwrap())
        .port(hub.amqps_address().port())
        .root_certificate(hub.root_certificate_der().to_vec().into());
    (hub, builder)
}

fn bodies(hub: &Emulator) -> Vec<String> {
    let events = hub.journal().snapshot();
    let text = |body: &Body| match body {
        Body::Data(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    events.iter().map(|event| text(&event.message.body)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_messages_do_not_stall_in_batches_or_without() {
    for batching in [Batching::Off, Batching::On] {
        let (hub, builder) = emulator().await;
        let client = builder.batching(batching).connect().await.unwrap();
        let tickets: Vec<_> = (0..5000)
            .map(|number| client.enqueue(Message::new(number.to_string())).unwrap())
            .collect();
        for outcome in timeout(2 * PATIENCE, join_all(tickets)).await.unwrap() {
            outcome.unwrap();
        }
        let statistics = client.statistics();
        client.close().await.unwrap();
        let expected: Vec<_> = (0..5000).map(|number| number.to_string()).collect();
        assert_eq!(bodies(&hub), expected);
        assert_eq!((statistics.accepted, statistics.resent), (5000, 0));
        let is_batched = statistics.transfers < 5000;
        assert_eq!(is_batched, batching == Batching::On, "{statistics:?}");
        hub.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_rejected_sinks_the_bad_message_alone() {
    let (hub, builder) = emulator().await;
    let client = builder.batching(Batching::On).connect().await.unwrap();
    // Alone it is over what the hub takes, and under what its link takes.
    let sizes = [10, 10, 300 * 1024, 10, 10];
    let tickets = sizes.map(|size| client.enqueue(Message::new(vec![b'x'; size])).unwrap());
    let outcomes = timeout(PATIENCE, join_all(tickets)).await.unwrap();
    for (size, outcome) in sizes.iter().zip(outcomes) {
        assert_eq!(outcome.is_ok(), *size == 10, "{outcome:?}");
    }
    assert_eq!(bodies(&hub).len(), 4);
    client.close().await.unwrap();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_is_dropped_after_any_number_of_polls_loses_and_doubles_nothing() {
    let (hub, builder) = emulator().await;
    let client = builder.connect().await.unwrap();
    for polls in 0..60 {
        let mut dropped = Box::pin(client.send(Message::new(format!("dropped {polls}"))));
        for _ in 0..polls {
            if futures_util::poll!(&mut dropped).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        client.send(Message::new(format!("kept {polls}"))).await.unwrap();
    }
    client.close().await.unwrap();
    let mut arrived = bodies(&hub);
    let kept: Vec<_> = arrived
        .iter()
        .filter(|body| body.starts_with("kept"))
        .cloned()
        .collect();
    assert_eq!(
        kept,
        (0..60).map(|polls| format!("kept {polls}")).collect::<Vec<_>>()
    );
    let all = arrived.len();
    arrived.sort();
    arrived.dedup();
    assert_eq!(arrived.len(), all);
    hub.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_client_that_was_closed_dropped_or_never_connected() {
    let hub = hub_that(Answer::Cut).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for end in 0..4 {
        let connecting = builder(hub.address).connect();
        match end {
            0 => {
                let client = connecting.await.unwrap();
                client.send(Message::new("through the cut")).await.unwrap();
                client.close().await.unwrap();
            }
            1 => drop(connecting.await.unwrap()),
            2 => {
                let client = connecting.await.unwrap();
                let _flying = client.enqueue(Message::new("x")).unwrap();
            }
            _ => {
                let cut_short = timeout(Duration::from_millis(5), connecting);
                drop(cut_short.await);
            }
        }
        let settled = async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        let rest = timeout(PATIENCE, settled).await;
        assert!(rest.is_ok(), "end {end}: {} tasks are left", tasks() - before);
    }
}
