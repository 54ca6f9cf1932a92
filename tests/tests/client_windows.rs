//! Goal: what the engine holds back while a session's window is closed is never sent by another link than its own, nor after
//! the end of its session.
//! Method: a hub of hand-written frames that closes the window and opens it when it does most harm; and the emulator's
//! closed window, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use iothub_address::{DeviceId, HubHost, HubName, Identity};
use iothub_amqp::{
    Batching, DeviceClient, DeviceClientBuilder, Interruption, Message, Recover, Schedule, Status, TwinError,
};
use iothub_emulator::{Fault, FaultKind, MethodCall};
use iothub_sas::{SharedKey, Signer, UnixTime};
use iothub_tests::faults::Pipes;
use iothub_tests::frames::data_sections;
use iothub_tests::memory::{Memory, identity};
use iothub_tests::reactive::{Answer, Hub, Narrow, Seen};
use serde_json::json;
use tokio::time::{sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);

fn builder(hub: SocketAddr) -> DeviceClientBuilder {
    device().port(hub.port())
}

fn device() -> DeviceClientBuilder {
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
        .plain_tcp_to_this_machine()
        .batching(Batching::Off)
        .operation_timeout(Duration::from_secs(2))
        .recovery(Recover::On(quick))
}

/// What a hub gets on each telemetry link of a client that sends three messages, of which the first goes through its window;
/// and what goes astray. It does `first` to that one.
async fn sends_three(opens_with: u8, first: Answer) -> (Vec<Vec<String>>, Vec<String>) {
    let narrow = Narrow {
        transfers: 1,
        opens_with,
        displaced_by: None,
    };
    let judge = move |_: &Seen, number| if number == 0 { first } else { Answer::Accept };
    let mut hub = Hub::narrow("PLAIN", narrow, judge).await;
    let client = builder(hub.address).connect().await.unwrap();
    let tickets: Vec<_> = ["one", "two", "three"]
        .map(|body| client.enqueue(Message::new(body)).unwrap())
        .into();
    for outcome in timeout(MINUTE, join_all(tickets)).await.unwrap() {
        outcome.unwrap();
    }
    client.close().await.unwrap();
    let (mut links, mut strays) = (Vec::new(), Vec::new());
    let text = |message: &[u8]| String::from_utf8(message[5..].to_vec()).unwrap();
    loop {
        match hub.next().await {
            Seen::Attach(_) => links.push(Vec::new()),
            Seen::Telemetry(message) => links.last_mut().unwrap().push(text(&message)),
            Seen::Stray(message) => strays.push(text(&message)),
            Seen::Close => return (links, strays),
            _ => {}
        }
    }
}

/// The first goes through, and then all of them on a last link. A link of before from which nothing was held back may be
/// followed by another of its session, whose window is closed to it.
fn is_clean(opens_with: u8, links: &[Vec<String>], strays: &[String]) {
    let (Some(first), Some(last)) = (links.first(), links.last()) else {
        panic!("{opens_with:#x}: no link");
    };
    assert_eq!(first, &["one"], "{opens_with:#x}: {links:?}");
    assert_eq!(last, &["one", "two", "three"], "{opens_with:#x}: {links:?}");
    assert!(
        links[1..links.len() - 1].iter().all(Vec::is_empty),
        "{opens_with:#x}: {links:?}"
    );
    assert_eq!(strays, [""; 0], "{opens_with:#x}");
}

const ATTACH: u8 = 0x12;
const DETACH: u8 = 0x16;
const END: u8 = 0x17;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_link_that_the_hub_detaches_was_not_let_send_is_not_sent_twice_by_the_next() {
    let detach = Answer::Detach("amqp:link:detach-forced");
    for opens_with in [ATTACH, DETACH, END] {
        let (links, strays) = sends_three(opens_with, detach).await;
        is_clean(opens_with, &links, &strays);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_silent_hub_did_not_let_go_is_not_sent_on_a_link_or_session_that_has_ended() {
    for opens_with in [DETACH, END] {
        let (links, strays) = sends_three(opens_with, Answer::Nothing).await;
        is_clean(opens_with, &links, &strays);
    }
}

/// An answer to a method has no outcome that would tell whether it is out.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_let_go_when_its_links_went_is_not_sent_by_those_that_come() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    memory
        .inject(Fault::new(FaultKind::CloseWindow).duration(5 * MINUTE))
        .await;
    // What sessions have from before they keep.
    let again = Fault::new(FaultKind::KillAmqpSession).condition("amqp:internal-error");
    let mut status = client.status();
    status.mark_unchanged();
    memory.inject(again).await;
    status.changed().await.unwrap();
    status
        .wait_for(|status| matches!(status, Status::Connected { .. }))
        .await
        .unwrap();
    let mut methods = client.methods().await.unwrap();
    let calling = memory.hub().call_method(identity(0), MethodCall::new("m"));
    let answering = async {
        let call = methods.next().await.unwrap();
        call.respond(200, "null").await.unwrap();
        drop(methods);
        client.commands().await.unwrap()
    };
    let (_, commands) = tokio::join!(calling, answering);
    sleep(6 * MINUTE).await;
    client.send(Message::new("well")).await.unwrap();
    let statistics = client.statistics();
    assert_eq!(
        (statistics.attempts, statistics.accepted),
        (1, 1),
        "{statistics:?}"
    );
    drop(commands);
    client.close().await.unwrap();
}

/// A client, in virtual time, whose first session lets one transfer go, and its hub, which accepts all.
async fn in_a_narrow_session(narrow: Narrow) -> (DeviceClient, Hub) {
    let (hub, door) = Hub::narrow_in_memory("PLAIN", narrow, |_, _| Answer::Accept);
    let client = device().network(Pipes::to(door, [])).connect().await.unwrap();
    client.send(Message::new("one")).await.unwrap();
    (client, hub)
}

/// What a hub has seen until its client closed: of each session the links that were attached and the bodies that came.
async fn sessions(mut hub: Hub) -> Vec<(Vec<String>, Vec<String>)> {
    let mut sessions = Vec::new();
    while let Ok(Some(seen)) = timeout(MINUTE, hub.seen.recv()).await {
        match seen {
            Seen::Begin => sessions.push((Vec::new(), Vec::new())),
            Seen::Attach(address) => sessions.last_mut().unwrap().0.push(address),
            Seen::Telemetry(message) => {
                let body = String::from_utf8(data_sections(&message).concat()).unwrap();
                sessions.last_mut().unwrap().1.push(body);
            }
            Seen::Connection(1) => {}
            Seen::Close => return sessions,
            other => panic!("{other:?}"),
        }
    }
    panic!("{sessions:?}, and no end");
}

const EVENTS: &str = "/devices/dev/messages/events";
const METHODS: &str = "/devices/dev/methods/devicebound";
const TWIN: &str = "/devices/dev/twin";

/// A handle may be given anew once it is detached (§2.6.2, §2.6.6), and what was held back of the link that had it would go
/// with it. And both ends count the transfers of a session (§2.5.6): behind one that was left out all others are out of step.
#[tokio::test(start_paused = true)]
async fn nothing_follows_on_a_session_on_which_something_was_left_behind_while_a_link_was_attached() {
    // The links of the pair, one after the other.
    for (displaced_by, attached) in [
        ("from /devices/dev/twin", &[EVENTS, TWIN][..]),
        ("/devices/dev/twin", &[EVENTS, TWIN, TWIN]),
    ] {
        let narrow = Narrow {
            transfers: 1,
            opens_with: END,
            displaced_by: Some(displaced_by),
        };
        let (client, hub) = in_a_narrow_session(narrow).await;
        let held_back = client.enqueue(Message::new("two")).unwrap();
        sleep(SOON).await; // the engine has it
        let twin = client.twin();
        let reporting = tokio::spawn(async move { twin.report(&json!({ "a": 1 })).await });
        held_back.await.unwrap();
        // Nothing was put to those links; by the next ones it comes, and this hub has no answer.
        let reported = reporting.await.unwrap();
        assert!(
            matches!(&reported, Err(TwinError::Unknown(Interruption::TimedOut { .. }))),
            "{reported:?}"
        );
        client.close().await.unwrap();
        let of = |links: &[&str], bodies: &[&str]| {
            let owned = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            (owned(links), owned(bodies))
        };
        let second = of(&[EVENTS, TWIN, TWIN], &["two", r#"{"a":1}"#]);
        assert_eq!(sessions(hub).await, [of(attached, &["one"]), second]);
    }
}

/// Both ends count the transfers of a session (§2.5.6), and one that was left out only one of them has counted: whatever
/// came behind it would be out of step.
#[tokio::test(start_paused = true)]
async fn a_session_on_which_a_link_left_something_behind_is_replaced_although_another_lives() {
    let narrow = Narrow {
        transfers: 1,
        opens_with: DETACH,
        displaced_by: None,
    };
    let (client, hub) = in_a_narrow_session(narrow).await;
    let mut methods = client.methods().await.unwrap();
    let call = methods.next().await.unwrap();
    call.respond(200, "null").await.unwrap();
    drop(methods);
    sleep(SOON).await; // its links are detached, and nothing else happens on the session
    client.send(Message::new("two")).await.unwrap();
    client.close().await.unwrap();
    let both = [EVENTS, METHODS, METHODS].map(String::from).to_vec();
    let expected = [
        (both, vec!["one".to_owned()]),
        (vec![EVENTS.to_owned()], vec!["two".to_owned()]),
    ];
    assert_eq!(sessions(hub).await, expected);
}

/// What has been on its way through the memory is there.
const SOON: Duration = Duration::from_millis(10);
