//! Goal: an application may drop any future of the client's at any await point: nothing that was accepted is lost, nothing
//! comes twice, and the client goes on.
//! Method: each operation is polled k times and dropped, for every k until it would have been done; in virtual time, with a
//! hub in memory. Between two polls all other tasks do what they have to do.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use iothub_address::HubHost;
use iothub_amqp::{Batching, Connection, DeviceClient, Key, Message, Pool, Proxies};
use iothub_emulator::{CloudMessage, MethodCall};
use iothub_sas::SharedKey;
use iothub_tests::faults::Pipes;
use iothub_tests::frames::data_sections;
use iothub_tests::memory::{Memory, identity};
use iothub_tests::reactive::{Answer, Hub, Seen};
use serde_json::json;
use tokio::time::{sleep, timeout};

/// Polls it so often, and drops it if it is not done; true if it is. A poll follows only what wakes it, or a step of time.
async fn polled<T>(future: impl Future<Output = T>, polls: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        if futures_util::poll!(&mut future).is_ready() {
            return true;
        }
        // The clock is paused: it moves when all others have nothing left to do.
        sleep(Duration::from_micros(1)).await;
    }
    false
}

/// Does it with ever more polls until it is done, and looks at the client each time.
async fn at_every_point<F, T>(name: &str, client: &DeviceClient, mut operation: impl FnMut(usize) -> F)
where
    F: Future<Output = T>,
{
    for polls in 0..MOST {
        let done = polled(operation(polls), polls).await;
        client
            .send(Message::new(format!("after {name} {polls}")))
            .await
            .unwrap();
        if done {
            assert!(polls > 0);
            return;
        }
    }
    panic!("{name} is not done after {MOST} polls");
}

const MOST: usize = 200;

#[tokio::test(start_paused = true)]
async fn every_future_may_be_dropped_at_every_point() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let memory = Memory::start(1).await;
    let at_rest = tasks();
    let client = memory.device(0).connect().await.unwrap();
    let one = &client;

    at_every_point("send", one, |polls| {
        one.send(Message::new(format!("send {polls}")))
    })
    .await;
    let ticket = |polls: usize| one.enqueue(Message::new(format!("ticket {polls}"))).unwrap();
    at_every_point("ticket", one, ticket).await;

    let twin = client.twin();
    at_every_point("twin.get", one, |_| twin.get()).await;
    twin.get().await.unwrap();
    at_every_point("twin.report", one, |polls| {
        let twin = &twin;
        async move { twin.report(&json!({ "polls": polls })).await }
    })
    .await;
    twin.report(&json!({ "last": true })).await.unwrap();
    at_every_point("twin.desired", one, |_| twin.desired()).await;
    at_every_point("methods", one, |_| one.methods()).await;
    at_every_point("commands", one, |_| one.commands()).await;
    let module = memory.module("m").await.connect().await.unwrap();
    at_every_point("inputs", &module, |_| module.inputs()).await;
    let mut inputs = module.inputs().await.unwrap();
    let message = CloudMessage::new("to the input");
    let (device, name) = (identity(0).device().clone(), "m".parse().unwrap());
    memory
        .hub()
        .send_to_input(device, name, "in", message)
        .await
        .unwrap();
    let input = inputs.next().await.unwrap();
    assert_eq!(input.message().input_name.as_deref(), Some("in"));
    input.complete().await.unwrap();
    drop(inputs);
    module.close().await.unwrap();

    // What a dropped `next` would have given, the next one gives.
    let mut commands = client.commands().await.unwrap();
    for number in 0..3 {
        let message = CloudMessage::new(format!("{number}"));
        memory.hub().send_to_device(identity(0), message).await.unwrap();
    }
    for polls in 0..10 {
        assert!(!polled(async { std::future::pending::<()>().await }, polls).await);
        let mut next = pin!(commands.next());
        if polls == 0 {
            continue;
        }
        if futures_util::poll!(&mut next).is_ready() {
            break;
        }
    }
    let mut seen = BTreeMap::new();
    while let Ok(Some(command)) = timeout(Duration::from_secs(120), commands.next()).await {
        let body = String::from_utf8(command.message().body.clone()).unwrap();
        *seen.entry(body).or_insert(0) += 1;
        // An answer that is dropped may have been given; if it was not, the message comes again.
        if seen.values().sum::<u32>() <= 2 {
            polled(command.complete(), 1).await;
        } else {
            command.complete().await.unwrap();
        }
    }
    assert_eq!(memory.hub().waiting_messages(identity(0)).await.unwrap(), 0);
    drop(commands);

    let bodies = memory.bodies();
    let mut copies = BTreeMap::new();
    for body in &bodies {
        *copies.entry(body.clone()).or_insert(0) += 1;
    }
    assert!(copies.values().all(|copies| *copies == 1), "{copies:?}");
    // What was only dropped while it was waited for has an outcome all the same.
    let tickets = bodies.iter().filter(|body| body.starts_with("ticket")).count();
    let given = bodies
        .iter()
        .filter(|body| body.starts_with("after ticket"))
        .count();
    assert_eq!(tickets, given);

    // Whoever drops the closing has only stopped waiting for it.
    assert!(!polled(client.close(), 1).await);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((memory.open(), tasks()), (0, at_rest));

    let nothing_is_left = async |what: &str, polls: usize| {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(
            (memory.open(), tasks()),
            (0, at_rest),
            "{what} after {polls} polls"
        );
    };
    let limit = Duration::from_secs(20);
    for polls in 0.. {
        assert!(polls < MOST, "close_within is not done");
        let client = memory.device(0).connect().await.unwrap();
        let _last = client.enqueue(Message::new(format!("last {polls}"))).unwrap();
        let done = polled(client.close_within(limit), polls).await;
        nothing_is_left("close_within", polls).await;
        if done {
            let sent = (0..=polls).map(|polls| format!("last {polls}"));
            let bodies = memory.bodies();
            let came = bodies.iter().filter(|body| body.starts_with("last"));
            // Of a client that was dropped before it was asked to close, it may or may not have gone.
            let came: Vec<_> = came.filter(|body| *body != "last 0").cloned().collect();
            assert_eq!(came, sent.skip(1).collect::<Vec<_>>());
            break;
        }
    }
    for polls in 0.. {
        assert!(polls < MOST, "connect is not done");
        let done = polled(memory.device(0).connect(), polls).await;
        nothing_is_left("connect", polls).await;
        if done {
            return;
        }
    }
}

/// The hub has seen it and taken no notice of it, and whoever sent it does not wait any more: it is the client's still.
#[tokio::test(start_paused = true)]
async fn a_message_whose_send_is_dropped_while_it_flies_comes_to_the_hub_after_a_cut() {
    let seen = AtomicUsize::new(0);
    let (mut hub, door) = Hub::in_memory("ANONYMOUS", move |what, _| match what {
        Seen::Telemetry(_) => match seen.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::Nothing,
            1 => Answer::Cut,
            _ => Answer::Accept,
        },
        _ => Answer::Accept,
    });
    let key = Key::new(SharedKey::from_bytes(&[7; 32]).unwrap());
    let client = DeviceClient::builder(HubHost::parse("localhost").unwrap(), identity(0), key)
        .claims_based()
        .plain_tcp_to_this_machine()
        .network(Pipes::to(door, []))
        .batching(Batching::Off)
        .connect()
        .await
        .unwrap();
    let body = |sections: &[u8]| String::from_utf8(data_sections(sections)[0].to_vec()).unwrap();
    {
        let mut sending = pin!(client.send(Message::new("dropped")));
        loop {
            tokio::select! {
                outcome = &mut sending => panic!("{outcome:?}"),
                what = hub.next() => if let Seen::Telemetry(sections) = what {
                    assert_eq!(body(&sections), "dropped");
                    break;
                },
            }
        }
    }
    client.send(Message::new("cut")).await.unwrap();
    let told = client.clone();
    client.close().await.unwrap();
    let mut bodies = Vec::new();
    loop {
        match hub.next().await {
            Seen::Telemetry(sections) => bodies.push(body(&sections)),
            Seen::Close => break,
            _ => {}
        }
    }
    assert_eq!(bodies, ["cut", "dropped", "cut"]);
    assert_eq!(told.statistics().accepted, 2);
}

/// Polled once, which comes to nothing, and dropped.
async fn dropped<T>(next: impl Future<Output = T>) {
    assert!(!polled(next, 1).await);
}

/// What is there comes, also if its future was dropped after the first poll: whoever is not ready by then has not taken it.
macro_rules! comes_after_a_drop {
    ($stream:expr) => {
        match $stream.next().now_or_never() {
            Some(next) => next.unwrap(),
            None => timeout(Duration::from_secs(60), $stream.next())
                .await
                .unwrap()
                .unwrap(),
        }
    };
}

#[tokio::test(start_paused = true)]
async fn a_next_that_is_dropped_loses_no_command_no_call_and_no_change() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    let (hub, id) = (memory.hub(), identity(0));
    let mut commands = client.commands().await.unwrap();
    let mut methods = client.methods().await.unwrap();
    let mut changes = client.twin().desired().await.unwrap();
    changes.next().await.unwrap(); // all of them, at first
    hub.send_to_device(id.clone(), CloudMessage::new("undisturbed"))
        .await
        .unwrap();
    let undisturbed = commands.next().await.unwrap();
    let deliveries = undisturbed.message().delivery_count;
    undisturbed.complete().await.unwrap();
    for number in 0..5 {
        dropped(commands.next()).await;
        let message = CloudMessage::new(number.to_string());
        hub.send_to_device(id.clone(), message).await.unwrap();
        sleep(SOON).await; // it is here, and nobody asks for it
        let command = comes_after_a_drop!(commands);
        assert_eq!(command.message().body, number.to_string().as_bytes());
        assert_eq!(command.message().delivery_count, deliveries);
        command.complete().await.unwrap();

        dropped(methods.next()).await;
        let call = MethodCall::new(number.to_string());
        let answer = async {
            sleep(SOON).await;
            let call = comes_after_a_drop!(methods);
            assert_eq!(call.name(), number.to_string());
            call.respond(200, "null").await.unwrap();
        };
        let (response, ()) = tokio::join!(hub.call_method(id.clone(), call), answer);
        assert_eq!(response.unwrap().status, 200);

        dropped(changes.next()).await;
        let patch = json!({ "number": number });
        hub.patch_desired(id.clone(), patch).await.unwrap();
        sleep(SOON).await;
        let change = comes_after_a_drop!(changes);
        assert_eq!(change.values["number"], number);
    }
    dropped(commands.next()).await;
    dropped(methods.next()).await;
    dropped(changes.next()).await;
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_polled_once_and_dropped_has_been_given() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    let (hub, id) = (memory.hub(), identity(0));
    let mut commands = client.commands().await.unwrap();
    for _ in 0..3 {
        let message = CloudMessage::new("x");
        hub.send_to_device(id.clone(), message).await.unwrap();
    }
    polled(commands.next().await.unwrap().complete(), 1).await;
    polled(commands.next().await.unwrap().reject(), 1).await;
    sleep(SOON).await;
    assert_eq!(hub.waiting_messages(id.clone()).await.unwrap(), 1);
    let first = commands.next().await.unwrap();
    let before = first.message().delivery_count;
    polled(first.abandon(), 1).await;
    let again = commands.next().await.unwrap();
    assert!(again.message().delivery_count > before);
    again.complete().await.unwrap();

    let mut methods = client.methods().await.unwrap();
    let call = MethodCall::new("x");
    let answer = async { polled(methods.next().await.unwrap().respond(201, "null"), 1).await };
    let (response, _) = tokio::join!(hub.call_method(id, call), answer);
    assert_eq!(response.unwrap().status, 201);
    client.close().await.unwrap();
}

async fn within_a_day<T>(next: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(24 * 3600), next).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_unanswered_is_the_caller_s_time_out_and_no_more() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    let mut methods = client.methods().await.unwrap();
    let call = |name| memory.hub().call_method(identity(0), MethodCall::new(name));
    // More than a client holds at once: each leaves its place to the next.
    for _ in 0..40 {
        let (response, ()) = tokio::join!(call("dropped"), async {
            drop(within_a_day(methods.next()).await.unwrap());
        });
        response.unwrap_err();
    }
    let (response, ()) = tokio::join!(call("next"), async {
        // The one before does not come again.
        let call = within_a_day(methods.next()).await.unwrap();
        assert_eq!(call.name(), "next");
        call.respond(200, "null").await.unwrap();
    });
    assert_eq!(response.unwrap().status, 200);
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_on_a_connection_or_a_pool_disturbs_none_of_its_devices() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let memory = Memory::start(2).await;
    let at_rest = tasks();
    let connection = memory.connection().await;
    let connecting = |device: usize| connection.device(identity(device), memory.credential()).connect();
    let stays = connecting(0).await.unwrap();
    let mut last = None;
    for polls in 0..MOST {
        last = Some(polls);
        let done = polled(connecting(1), polls).await;
        stays.send(Message::new(format!("beside {polls}"))).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(connection.devices(), 1, "after {polls} polls");
        if done {
            break;
        }
    }
    assert!(last.is_some_and(|polls| polls > 0 && polls < MOST - 1));
    assert_eq!(stays.statistics().attempts, 1);
    let all = memory.bodies();
    let expected: Vec<_> = (0..=last.unwrap())
        .map(|polls| format!("beside {polls}"))
        .collect();
    assert_eq!(all, expected);
    assert!(!polled(connection.close(), 1).await);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((memory.open(), tasks()), (0, at_rest));
    drop(stays);

    let limit = Duration::from_secs(20);
    for polls in 1.. {
        assert!(polls < MOST, "close_within is not done");
        let connection = memory.connection().await;
        let device = connection.device(identity(0), memory.credential());
        let device = device.connect().await.unwrap();
        let last = device.enqueue(Message::new("last")).unwrap();
        let done = polled(connection.close_within(limit), polls).await;
        sleep(Duration::from_secs(60)).await;
        let left = (memory.open(), tasks());
        assert_eq!(left, (0, at_rest), "after {polls} polls");
        last.await.unwrap();
        device.send(Message::new("too late")).await.unwrap_err();
        if done {
            break;
        }
    }

    // With TLS, whose certificates are read first: only whom a device asks for is contacted.
    let attempts = memory.attempts().len();
    let builder = || {
        let builder = Connection::builder("localhost".parse().unwrap());
        builder.network(memory.clone()).proxies(Proxies::none())
    };
    for polls in 0.. {
        assert!(polls < MOST, "open is not done");
        let one = polled(builder().open(), polls).await;
        let all = polled(Pool::open(builder(), 3), polls).await;
        sleep(Duration::from_secs(60)).await;
        let left = (memory.open(), tasks());
        assert_eq!(left, (0, at_rest), "after {polls} polls");
        if one && all {
            break;
        }
    }
    assert_eq!(memory.attempts().len(), attempts);

    let pool = Pool::open(memory.connection_builder(), 2).await.unwrap();
    let device = pool
        .device(identity(0), memory.credential())
        .connect()
        .await
        .unwrap();
    device.send(Message::new("by the pool")).await.unwrap();
    assert!(!polled(pool.close(), 1).await);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((memory.open(), tasks()), (0, at_rest));
}

/// What is on its way through the memory is there.
const SOON: Duration = Duration::from_millis(10);

/// Neither the handle that goes with the future nor its being the last shortens it.
#[tokio::test(start_paused = true)]
async fn a_closing_that_nobody_waits_for_has_the_time_that_it_was_given() {
    const MINUTE: Duration = Duration::from_secs(60);
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    memory.down();
    let ticket = client.enqueue(Message::new("late")).unwrap();
    let waited = timeout(Duration::from_secs(1), client.close_within(10 * MINUTE)).await;
    assert!(waited.is_err(), "{waited:?}");
    sleep(3 * MINUTE).await;
    memory.up();
    ticket.await.unwrap();
}
