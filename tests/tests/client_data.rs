//! Goal: what is only data says nothing to the hub whatever becomes of it, a builder reaches for nobody, and a credential
//! outlives no client.
//! Method: a hub in memory and in virtual time, with an eye on what it sends, on connections and on tasks.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use iothub_address::{HubHost, Resource};
use iothub_amqp::{
    Clock, ConnectError, Credential, DeviceClient, Event, Events, Key, Message, Phase, Position, Read,
    ServiceClient, ServiceClientBuilder, Status, SubscribeError, TokenFuture,
};
use iothub_emulator::CloudMessage;
use iothub_sas::UnixTime;
use iothub_tests::memory::{Memory, identity};
use serde_json::json;
use tokio::time::{sleep, timeout};

/// What is on its way through the memory is there.
const SOON: Duration = Duration::from_millis(10);

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn event(events: &mut Events) -> Event {
    match timeout(Duration::from_secs(60), events.next()).await.unwrap() {
        Some(Read::Event(event)) => *event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_only_data_tells_the_hub_nothing_when_it_is_dropped() {
    let memory = Memory::start(1).await;
    let (hub, id) = (memory.hub(), identity(0));
    let client = memory.device(0).connect().await.unwrap();
    let mut commands = client.commands().await.unwrap();
    let (twin, mut status) = (client.twin(), client.status());
    let mut changes = twin.desired().await.unwrap();
    let reader = memory.events().await.connect().await.unwrap();
    let mut events = reader.events(Position::Earliest).open().await.unwrap();

    let message = Message::new("first").property("a", "b");
    let accepted = client.send(message.clone()).await.unwrap();
    hub.send_to_device(id.clone(), CloudMessage::new("x"))
        .await
        .unwrap();
    let command = commands.next().await.unwrap();
    let received = command.message().clone();
    let (change, state) = (changes.next().await.unwrap(), twin.get().await.unwrap());
    let refused = client.commands().await.unwrap_err();
    assert_eq!(refused, SubscribeError::AlreadyOpen);
    let read = event(&mut events).await;
    let value = read.properties[0].clone();
    let partition = reader.partition(read.partition).await.unwrap();
    let progress: Vec<_> = events.progress().collect();
    let stood = (status.borrow().clone(), client.statistics());
    sleep(SOON).await;

    let sent = memory.transfers();
    drop((message, accepted, received, refused, stood));
    drop((change, state.desired.clone(), state));
    drop((read, value, partition, progress));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(memory.transfers(), sent, "the hub had nothing to say to it");
    assert_eq!(
        hub.waiting_messages(id.clone()).await.unwrap(),
        1,
        "it has no answer"
    );
    assert_eq!(memory.bodies(), ["first"]);

    // All goes on behind what was dropped.
    command.complete().await.unwrap();
    client.send(Message::new("second")).await.unwrap();
    assert_eq!(event(&mut events).await.body, b"second");
    hub.patch_desired(id.clone(), json!({ "n": 1 })).await.unwrap();
    assert_eq!(changes.next().await.unwrap().values["n"], 1);
    assert_eq!(hub.waiting_messages(id).await.unwrap(), 0);

    // Why it was interrupted, dropped, keeps nobody from coming back.
    memory.down();
    let is_lost = |status: &Status| matches!(status, Status::Recovering { .. });
    let Status::Recovering { why, .. } = status.wait_for(is_lost).await.unwrap().clone() else {
        panic!("it is lost")
    };
    drop(why);
    memory.up();
    client.send(Message::new("third")).await.unwrap();
    client.close().await.unwrap();
}

async fn service(memory: &Memory) -> ServiceClientBuilder {
    let policy = "service".parse().unwrap();
    let string = memory.hub().policy_connection_string(&policy).await.unwrap();
    let builder = ServiceClient::with(&string).unwrap();
    builder.plain_tcp_to_this_machine().network(memory.clone())
}

#[tokio::test(start_paused = true)]
async fn nobody_is_contacted_before_a_builder_connects() {
    let memory = Memory::start(1).await;
    let (events, service) = (memory.events().await, service(&memory).await);
    let at_rest = tasks();
    drop(memory.device(0));
    drop(memory.device(0).connect());
    drop(memory.connection_builder());
    drop(memory.connection_builder().open());
    drop(events.clone());
    drop(events.connect());
    drop(service.clone());
    drop(service.connect());
    assert_eq!(tasks(), at_rest);
    let connection = memory.connection_builder().open().await.unwrap();
    let device = || connection.device(identity(0), memory.credential());
    drop(device());
    drop(device().connect());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(connection.devices(), 0);
    assert_eq!((memory.attempts(), memory.open()), (vec![], 0));
    drop(connection);
    sleep(SOON).await;
    assert_eq!(tasks(), at_rest);
}

/// Gives so many tokens, and then only promises.
struct Promising {
    key: Key,
    left: AtomicUsize,
    /// How often it was asked in vain, and how many of these futures there are.
    asked: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Promising {
    fn after(tokens: usize, memory: &Memory) -> (Self, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let (asked, open) = (Arc::default(), Arc::default());
        let promising = Self {
            key: memory.credential(),
            left: AtomicUsize::new(tokens),
            asked: Arc::clone(&asked),
            open: Arc::clone(&open),
        };
        (promising, asked, open)
    }
}

/// A future that is there.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Credential for Promising {
    fn token<'a>(&'a self, resource: &'a Resource, now: UnixTime) -> TokenFuture<'a> {
        let given = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if given.is_ok() {
            return self.key.token(resource, now);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        Box::pin(async move {
            let _open = open;
            std::future::pending().await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_credential_was_asked_is_dropped_in_time_and_with_the_client() {
    let memory = Memory::start(1).await;
    let at_rest = tasks();
    let count = |of: &Arc<AtomicUsize>| of.load(Ordering::Relaxed);
    let connect = |credential| {
        let host = HubHost::parse("localhost").unwrap();
        let builder = DeviceClient::builder(host, identity(0), credential).claims_based();
        let builder = builder.plain_tcp_to_this_machine().network(memory.clone());
        builder.clock(memory.clock()).connect()
    };

    // Its time is up.
    let (credential, asked, open) = Promising::after(0, &memory);
    let error = connect(credential).await.unwrap_err();
    let in_time = |error: &ConnectError| {
        matches!(
            error,
            ConnectError::TimedOut {
                phase: Phase::Credential,
                ..
            }
        )
    };
    assert!(in_time(&error), "{error:?}");
    sleep(SOON).await;
    assert_eq!((count(&asked), count(&open)), (1, 0));
    assert_eq!(
        Arc::strong_count(&open),
        1,
        "the credential is gone with who needed it"
    );

    // Whoever wants to connect has gone.
    let (credential, asked, open) = Promising::after(0, &memory);
    let connecting = connect(credential);
    assert!(timeout(Duration::from_secs(5), connecting).await.is_err());
    sleep(SOON).await;
    assert_eq!((count(&asked), count(&open)), (1, 0));
    assert_eq!(Arc::strong_count(&open), 1);

    // The client is closed, or dropped, while it asks for the next.
    for is_closed in [true, false] {
        let (credential, asked, open) = Promising::after(1, &memory);
        let client = connect(credential).await.unwrap();
        let mut waited = Duration::ZERO;
        while count(&open) == 0 {
            assert!(
                waited < Duration::from_secs(3600),
                "a token of an hour is renewed"
            );
            sleep(Duration::from_secs(1)).await;
            waited += Duration::from_secs(1);
        }
        // The token of before does.
        client.send(Message::new("meanwhile")).await.unwrap();
        // Asked again after it did not answer, with the first question dropped.
        sleep(Duration::from_secs(40)).await;
        assert_eq!((count(&asked), count(&open)), (2, 1));
        if is_closed {
            let closing = client.close();
            timeout(SOON, closing)
                .await
                .expect("it is not waited for")
                .unwrap();
        } else {
            drop(client);
        }
        sleep(SOON).await;
        assert_eq!((count(&open), Arc::strong_count(&open)), (0, 1), "{is_closed}");
    }
    assert_eq!((memory.open(), tasks()), (0, at_rest));

    // On a connection that others share, it is the same.
    let connection = memory.connection().await;
    let (credential, asked, open) = Promising::after(0, &memory);
    let connecting = connection.device(identity(0), credential).connect();
    assert!(timeout(Duration::from_secs(5), connecting).await.is_err());
    sleep(SOON).await;
    assert_eq!((count(&asked), count(&open)), (1, 0));
    assert_eq!(Arc::strong_count(&open), 1);
    connection.close().await.unwrap();

    let host = HubHost::parse("myhub.azure-devices.net").unwrap();
    let resource = Resource::identity(&host, &identity(0));
    let key = memory.credential();
    let token = key.token(&resource, Clock::now(&memory.clock())).now_or_never();
    token.expect("a key signs at once").unwrap();
}
