//! Goal: many devices share one connection, and what one of them meets the others don't feel.
//! Method: a hub of hand-written frames on loopback, real time and short limits; what takes minutes, in virtual time on
//! the supervisor itself.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::Duration;

use futures_util::future::join_all;
use iothub_address::{DeviceId, HubHost, Identity};
use iothub_amqp::recovery::{Recovery, classify_connect};
use iothub_amqp::{
    ConnectError, Connection, DeviceClient, Interruption, Key, MAX_DEVICES, Message, Phase, Pool, Recover,
    Schedule, SendError, Status, SubscribeError,
};
use iothub_sas::SharedKey;
use iothub_tests::cloud::{Cloud, Seen};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

fn identity(name: &str) -> Identity {
    Identity::Device(DeviceId::parse(name).unwrap())
}

/// Made up.
fn key() -> Key {
    Key::new(SharedKey::from_bytes(&[7; 32]).unwrap())
}

fn builder(cloud: &Cloud) -> iothub_amqp::ConnectionBuilder {
    let quick = Schedule::default()
        .spread(Duration::from_millis(20))
        .first(Duration::from_millis(20));
    Connection::builder(HubHost::parse("127.0.0.1").unwrap())
        .port(cloud.address.port())
        .plain_tcp_to_this_machine()
        .operation_timeout(Duration::from_secs(20))
        .recovery(Recover::On(quick))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it comes in time")
}

async fn device(connection: &Connection, name: &str) -> DeviceClient {
    within(connection.device(identity(name), key()).connect())
        .await
        .unwrap()
}

fn connections(seen: &[Seen]) -> usize {
    seen.iter()
        .filter(|seen| matches!(seen, Seen::Connection(_)))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_999_devices_and_tells_the_next_that_it_is_full() {
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let joining = (0..MAX_DEVICES).map(|number| {
        let device = connection.device(identity(&format!("d{number}")), key());
        async move { device.connect().await.unwrap() }
    });
    let clients = within(join_all(joining)).await;
    assert_eq!(connection.devices(), 999);
    let full = connection.device(identity("one-too-many"), key()).connect().await;
    assert!(matches!(full, Err(ConnectError::ConnectionFull)), "{full:?}");
    let sent = within(join_all(
        clients.iter().map(|client| client.send(Message::new("x"))),
    ))
    .await;
    assert!(sent.iter().all(Result::is_ok));
    within(connection.close()).await.unwrap();

    let seen = cloud.rest();
    assert_eq!(connections(&seen), 1);
    let count = |of: fn(&Seen) -> bool| seen.iter().filter(|seen| of(seen)).count();
    assert_eq!(count(|seen| matches!(seen, Seen::Token(_))), 999);
    assert_eq!(count(|seen| matches!(seen, Seen::Telemetry(..))), 999);
    // One pair of `$cbs` links, and one link a device.
    assert_eq!(
        count(|seen| matches!(seen, Seen::Attach(address, _) if address == "$cbs")),
        2
    );
    assert_eq!(
        count(|seen| matches!(seen, Seen::Attach(address, false) if address != "$cbs")),
        999
    );
    assert_eq!(count(|seen| matches!(seen, Seen::Close)), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_device_that_has_gone_is_not_told_of_the_next() {
    let limit = Duration::from_millis(800);
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud).operation_timeout(limit).open().await.unwrap();
    let lively = device(&connection, "lively").await;
    cloud.token_status("gone", None);
    cloud.token_status("next", None);
    let gone = tokio::spawn(connection.device(identity("gone"), key()).connect());
    let is_token_of = |seen: Seen, name: &str| match seen {
        Seen::Token(audience) => audience.ends_with(name).then_some(()),
        _ => None,
    };
    within(cloud.find(|seen| is_token_of(seen, "gone"))).await;
    gone.abort();
    gone.await.unwrap_err();
    // Its token gets its answer when nobody waits for it any more.
    while connection.devices() > 1 {
        tokio::task::yield_now().await;
    }
    cloud.detach("$cbs", "amqp:unauthorized-access");
    within(cloud.find(|seen| (seen == Seen::End).then_some(()))).await;
    let next = tokio::spawn(connection.device(identity("next"), key()).connect());
    while !next.is_finished() {
        // The connection lives, so that the silence is the next one's alone.
        within(lively.send(Message::new("x"))).await.unwrap();
    }
    let error = next.await.unwrap().unwrap_err();
    assert!(
        matches!(error, ConnectError::TimedOut { phase: Phase::Token, after } if after == limit),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_links_that_is_taken_away_under_several_tokens_is_final_for_none() {
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let (one, two) = (device(&connection, "one").await, device(&connection, "two").await);
    cloud.rest();
    for name in ["one", "two"] {
        cloud.token_status(name, None);
    }
    cloud.cut();
    for _ in 0..2 {
        within(cloud.find(|seen| matches!(seen, Seen::Token(_)).then_some(()))).await;
    }
    for name in ["one", "two"] {
        cloud.token_status(name, Some(200));
    }
    cloud.detach("$cbs", "amqp:unauthorized-access");
    for client in [one, two] {
        within(client.send(Message::new("x"))).await.unwrap();
    }
}

/// What is not answered in the name of one device.
enum Silence {
    Begin,
    Claims,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_silent_to_one_device_keeps_no_other_waiting() {
    for silence in [Silence::Begin, Silence::Claims] {
        let mut cloud = Cloud::start().await;
        let connection = builder(&cloud).open().await.unwrap();
        let good = device(&connection, "good").await;
        let leaving = device(&connection, "leaving").await;
        match silence {
            Silence::Begin => cloud.hold_begins(),
            Silence::Claims => {
                // It has to be attached anew for the next token.
                cloud.detach("$cbs", "amqp:link:detach-forced");
                within(cloud.find(|seen| (seen == Seen::End).then_some(()))).await;
                cloud.hold_attaches("$cbs");
            }
        }
        let late = tokio::spawn(connection.device(identity("late"), key()).connect());
        within(cloud.find(|seen| (seen == Seen::Held).then_some(()))).await;
        // Less than the time that the silence may last, which is 20 s.
        let closed = leaving.close_within(Duration::from_secs(10)).await;
        assert_eq!(closed, Ok(()));
        within(good.send(Message::new("x"))).await.unwrap();
        assert!(!late.is_finished());
        late.abort();
    }
}

/// To the engine it is the answer to what it has forgotten, for which it would end the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_comes_after_its_time_out_is_ended_and_costs_nobody_the_connection() {
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud)
        .operation_timeout(Duration::from_millis(500))
        .open()
        .await
        .unwrap();
    let good = device(&connection, "good").await;
    cloud.hold_begins();
    let late = within(connection.device(identity("late"), key()).connect()).await;
    assert!(
        matches!(
            late,
            Err(ConnectError::TimedOut {
                phase: Phase::Begin,
                ..
            })
        ),
        "{late:?}"
    );
    cloud.rest();
    cloud.answer_held();
    within(cloud.find(|seen| (seen == Seen::End).then_some(()))).await;
    // The answer to that has come too when the next session is there.
    let again = device(&connection, "late").await;
    for client in [&good, &again] {
        client.send(Message::new("x")).await.unwrap();
        assert_eq!(client.statistics().attempts, 1);
    }
    within(connection.close()).await.unwrap();
    assert_eq!(connections(&cloud.rest()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_refused_does_not_disturb_the_others() {
    let mut cloud = Cloud::start().await;
    cloud.token_status("unknown", Some(404));
    cloud.token_status("wrong-key", Some(401));
    cloud.refuse("/devices/disabled/messages/events", "amqp:unauthorized-access");
    let connection = builder(&cloud).open().await.unwrap();
    let good = device(&connection, "good").await;
    for name in ["unknown", "wrong-key"] {
        let error = within(connection.device(identity(name), key()).connect())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::TokenRefused(_)),
            "{name}: {error:?}"
        );
        good.send(Message::new("x")).await.unwrap();
    }
    // Attached first and refused then, as the real hub does, it may be told either way.
    match within(connection.device(identity("disabled"), key()).connect()).await {
        Err(_) => {}
        Ok(client) => {
            let error = within(client.send(Message::new("x"))).await.unwrap_err();
            assert!(
                matches!(error, SendError::NotSent(_) | SendError::Unknown(_)),
                "{error:?}"
            );
        }
    }
    good.send(Message::new("x")).await.unwrap();
    let late = device(&connection, "late").await;
    late.send(Message::new("x")).await.unwrap();
    let statistics = good.statistics();
    assert_eq!(
        (statistics.attempts, statistics.links, statistics.resent),
        (1, 1, 0)
    );
    within(connection.close()).await.unwrap();
    assert_eq!(connections(&cloud.rest()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_never_answered_costs_its_own_device_only() {
    let mut cloud = Cloud::start().await;
    cloud.token_status("silent", None);
    let connection = builder(&cloud)
        .operation_timeout(Duration::from_millis(500))
        .open()
        .await
        .unwrap();
    let good = device(&connection, "good").await;
    let silent = connection.device(identity("silent"), key()).connect();
    let lively = async {
        for _ in 0..40 {
            good.send(Message::new("x")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (silent, ()) = within(async { tokio::join!(silent, lively) }).await;
    assert!(matches!(silent, Err(ConnectError::TimedOut { .. })), "{silent:?}");
    assert_eq!(good.statistics().attempts, 1);
    assert_eq!(connections(&cloud.rest()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_link_keeps_going_starts_over_alone() {
    let cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let good = device(&connection, "good").await;
    let bad = device(&connection, "bad").await;
    let mut status = bad.status();
    status.mark_unchanged();
    for _ in 0..6 {
        // A word that no table knows: alone on its connection the device would make a new one.
        cloud.detach("/devices/bad/messages/events", "com.example:unheard-of");
        within(status.changed()).await.unwrap();
        good.send(Message::new("x")).await.unwrap();
        within(status.wait_for(|status| matches!(status, Status::Connected { .. })))
            .await
            .unwrap();
    }
    bad.send(Message::new("x")).await.unwrap();
    assert_eq!(good.statistics().attempts, 1);
    assert_eq!(good.statistics().links, 1);
    assert!(bad.statistics().links > 6, "{:?}", bad.statistics());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_leaves_in_good_order_and_comes_back_while_others_stay() {
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let stays = device(&connection, "stays").await;
    for round in 0..3 {
        let goes = device(&connection, "goes").await;
        goes.send(Message::new("x")).await.unwrap();
        cloud.rest();
        within(goes.close()).await.unwrap();
        assert_eq!(connection.devices(), 1);
        let seen = cloud.rest();
        assert!(seen.contains(&Seen::End), "round {round}: {seen:?}");
        assert!(
            seen.iter()
                .any(|seen| matches!(seen, Seen::Detach(address) if address.contains("/goes/")))
        );
        assert!(
            !seen
                .iter()
                .any(|seen| matches!(seen, Seen::Detach(address) if address.contains("/stays/")))
        );
        stays.send(Message::new("x")).await.unwrap();
    }
    drop(stays);
    // With its last device gone the connection is closed, and made anew for the next.
    within(cloud.find(|seen| (seen == Seen::Close).then_some(()))).await;
    let next = device(&connection, "next").await;
    next.send(Message::new("x")).await.unwrap();
    assert_eq!(next.statistics().attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_anew_once_for_all_its_devices() {
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let clients = join_all((0..20).map(|number| {
        let connection = &connection;
        async move { device(connection, &format!("d{number}")).await }
    }))
    .await;
    cloud.rest();
    cloud.cut();
    let sent = within(join_all(
        clients.iter().map(|client| client.send(Message::new("x"))),
    ))
    .await;
    assert!(sent.iter().all(|result| result.is_ok()), "{sent:?}");
    assert_eq!(connections(&cloud.rest()), 1);
}

/// Methods are subscribed to, and the hub holds back its answer to the attach.
async fn subscribing_held(
    cloud: &mut Cloud,
    client: &DeviceClient,
) -> JoinHandle<Result<(), SubscribeError>> {
    cloud.hold_attaches("/methods/devicebound");
    let client = client.clone();
    let subscribing = tokio::spawn(async move { client.methods().await.map(drop) });
    within(cloud.find(|seen| matches!(seen, Seen::Held).then_some(()))).await;
    subscribing
}

/// The session's end is heard first of by the link that was being attached, and nobody wants that any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_a_dropped_subscription_is_attached_is_begun_anew() {
    for reason in ["amqp:session:errant-link", ""] {
        let mut cloud = Cloud::start().await;
        let connection = builder(&cloud).open().await.unwrap();
        let client = device(&connection, "dev").await;
        let subscribing = subscribing_held(&mut cloud, &client).await;
        subscribing.abort();
        assert!(subscribing.await.unwrap_err().is_cancelled());
        cloud.end_session("/messages/events", reason);
        within(client.send(Message::new("on the next session")))
            .await
            .unwrap();
    }
}

/// The peer need not say why.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_a_link_is_attached_costs_that_session_only() {
    for reason in ["amqp:session:errant-link", ""] {
        let mut cloud = Cloud::start().await;
        let connection = builder(&cloud).open().await.unwrap();
        let client = device(&connection, "dev").await;
        let subscribing = subscribing_held(&mut cloud, &client).await;
        cloud.end_session("/messages/events", reason);
        cloud.answer_held();
        within(subscribing).await.unwrap().unwrap();
        within(client.send(Message::new("on the next session")))
            .await
            .unwrap();
        assert_eq!(client.statistics().attempts, 1, "{reason:?}");
    }
}

/// What is asked for and dropped again while a slow hub takes its time costs neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_dropped_before_its_turn_to_be_attached_is_not_attached() {
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let client = device(&connection, "dev").await;
    cloud.hold_attaches("/methods/devicebound");
    let (first, behind) = (client.clone(), client.clone());
    let methods = tokio::spawn(async move { first.methods().await });
    within(cloud.find(|seen| matches!(seen, Seen::Held).then_some(()))).await;
    let commands = tokio::spawn(async move { behind.commands().await.map(drop) });
    // It is asked for by then, and taken back by the next.
    client.send(Message::new("behind it")).await.unwrap();
    commands.abort();
    assert!(commands.await.unwrap_err().is_cancelled());
    client.send(Message::new("behind that")).await.unwrap();
    cloud.answer_held();
    let methods = within(methods).await.unwrap().unwrap();
    drop(methods);
    within(connection.close()).await.unwrap();
    let seen = cloud.rest();
    let is_attached =
        |seen: &Seen| matches!(seen, Seen::Attach(address, _) if address.ends_with("/messages/devicebound"));
    assert!(!seen.iter().any(is_attached), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_attached_on_a_session_that_ends_is_attached_on_the_next() {
    let mut cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let client = device(&connection, "dev").await;
    cloud.hold_attaches("/methods/devicebound");
    let (first, behind) = (client.clone(), client.clone());
    let methods = tokio::spawn(async move { first.methods().await.map(drop) });
    within(cloud.find(|seen| matches!(seen, Seen::Held).then_some(()))).await;
    let commands = tokio::spawn(async move { behind.commands().await.map(drop) });
    // It is asked for by then.
    client.send(Message::new("behind it")).await.unwrap();
    // The next session does not wait for it, if it is asked for there before it is dropped.
    cloud.hold_attaches("/nobody");
    cloud.end_session("/messages/events", "amqp:session:errant-link");
    methods.abort();
    // At once, and not when its time to be attached is over.
    let attached = tokio::time::timeout(Duration::from_secs(10), commands);
    attached.await.expect("in time").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_on_a_closed_connection_is_told_so() {
    let cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let client = device(&connection, "dev").await;
    let mut status = client.status();
    within(connection.clone().close()).await.unwrap();
    within(status.wait_for(|status| matches!(status, Status::Ended { .. })))
        .await
        .unwrap();
    let error = within(client.send(Message::new("x"))).await.unwrap_err();
    assert_eq!(error, SendError::NotSent(Interruption::Stopped));
    let error = within(connection.device(identity("other"), key()).connect())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Ended(Interruption::Stopped)),
        "{error:?}"
    );
    assert_eq!(classify_connect(&error), Recovery::GiveUp);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_spreads_devices_evenly() {
    let mut cloud = Cloud::start().await;
    let pool = Pool::open(builder(&cloud), 4).await.unwrap();
    let clients = within(join_all((0..100).map(|number| {
        let device = pool.device(identity(&format!("d{number}")), key());
        async move { device.connect().await.unwrap() }
    })))
    .await;
    assert_eq!(pool.devices(), 100);
    for connection in pool.connections() {
        assert_eq!(connection.devices(), 25);
    }
    let sent = within(join_all(
        clients.iter().map(|client| client.send(Message::new("x"))),
    ))
    .await;
    assert!(sent.iter().all(Result::is_ok));
    within(pool.close()).await.unwrap();
    assert_eq!(connections(&cloud.rest()), 4);
    assert_eq!(
        [
            Pool::connections_for(0),
            Pool::connections_for(999),
            Pool::connections_for(5000)
        ],
        [1, 1, 6]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statistics_of_a_client_stay_when_it_has_left() {
    let cloud = Cloud::start().await;
    let connection = builder(&cloud).open().await.unwrap();
    let client = device(&connection, "one").await;
    client.send(Message::new("x")).await.unwrap();
    let told = client.clone();
    within(client.close()).await.unwrap();
    let statistics = told.statistics();
    assert_eq!((statistics.accepted, statistics.links), (1, 1), "{statistics:?}");
    within(connection.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_gives_no_device_to_a_connection_that_has_ended() {
    let cloud = Cloud::start().await;
    let pool = Pool::open(builder(&cloud), 2).await.unwrap();
    within(pool.connections()[0].clone().close()).await.unwrap();
    for number in 0..2 {
        let device = pool.device(identity(&format!("d{number}")), key());
        let client = within(device.connect()).await.unwrap();
        within(client.send(Message::new("x"))).await.unwrap();
    }
    within(pool.connections()[1].clone().close()).await.unwrap();
    let none = within(pool.device(identity("d2"), key()).connect()).await;
    let Err(ConnectError::Ended(Interruption::Stopped)) = none else {
        panic!("{none:?}")
    };
}
