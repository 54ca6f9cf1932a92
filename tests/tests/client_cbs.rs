//! Goal: claims-based security as hubs have it: the token is put before anything else, renewed in place, and each way
//! in which the `$cbs` node can fail to take it comes to the right end.
//! Method: a hub of hand-written frames on loopback, and the supervisor itself where an hour has to pass.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use iothub_address::{ConnectionString, DeviceId, HubHost, Identity, Resource};
use iothub_amqp::supervisor::{Action, Epoch, Input, LaneId, LaneKind, Lifetime, SignIn, SlotId};
use iothub_amqp::{
    ConnectError, Credential, CredentialError, DeviceClient, DeviceClientBuilder, Interruption, Key, Message,
    Phase, Recover, Schedule, Status, TokenFuture,
};
use iothub_sas::{SharedKey, UnixTime};
use iothub_tests::cloud::Cloud;
use iothub_tests::reactive::{Answer, Hub, Seen};
use iothub_tests::supervised::{actions, join, supervisor, token};

const LIMIT: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(20);
const SLOT: SlotId = SlotId(0);
const LANE: LaneId = LaneId {
    slot: SLOT,
    kind: LaneKind::Telemetry,
};

fn builder(hub: SocketAddr, credential: impl Credential) -> DeviceClientBuilder {
    let identity = Identity::Device(DeviceId::parse("a#b").unwrap());
    DeviceClient::builder(HubHost::parse("127.0.0.1").unwrap(), identity, credential)
        .claims_based()
        .port(hub.port())
        .plain_tcp_to_this_machine()
        .operation_timeout(LIMIT)
}

/// Comes back at once.
fn quick() -> Recover {
    let pause = Duration::from_millis(20);
    Recover::On(Schedule::default().spread(pause).first(pause))
}

fn key() -> Key {
    Key::new(SharedKey::from_bytes(&[7; 32]).unwrap())
}

/// A hub that answers the first tokens so, and accepts all else.
async fn hub(answers: &'static [Answer]) -> Hub {
    Hub::start("ANONYMOUS", move |seen, number| match seen {
        Seen::Token(_) => answers.get(number).copied().unwrap_or(Answer::Accept),
        _ => Answer::Accept,
    })
    .await
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_put_before_the_link_is_attached_and_then_messages_flow() {
    let mut hub = hub(&[]).await;
    let client = builder(hub.address, key()).connect().await.unwrap();
    client.send(Message::new("x")).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(hub.next().await, Seen::Connection(1));
    assert_eq!(hub.next().await, Seen::Attach("$cbs".into()));
    assert_eq!(hub.next().await, Seen::Attach("$cbs".into()));
    let Seen::Token(request) = hub.next().await else {
        panic!("no token")
    };
    // As Azure's text on CBS and the SDKs have it: operation, type, name; the token is the body, an AMQP string.
    for said in [
        "put-token",
        "servicebus.windows.net:sastoken",
        "127.0.0.1/devices/a#b",
        "SharedAccessSignature sr=127.0.0.1%2Fdevices%2Fa%23b&sig=",
    ] {
        assert!(holds(&request, said), "{said}: {}", request.escape_ascii());
    }
    assert_eq!(
        hub.next().await,
        Seen::Attach("/devices/a#b/messages/events".into())
    );
    assert!(matches!(hub.next().await, Seen::Telemetry(_)));
    assert_eq!(hub.next().await, Seen::Close);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_status_from_200_to_299_is_good() {
    for answer in [&[Answer::Status(202)][..], &[Answer::Status(299)]] {
        let hub = hub(answer).await;
        builder(hub.address, key()).connect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_told_with_its_status_in_one_attempt() {
    let cases = [
        (&[Answer::Status(401)], "amqp:unauthorized-access", "401"),
        (&[Answer::Status(404)], "amqp:not-found", "404"),
        (&[Answer::Status(500)], "amqp:internal-error", "500"),
    ];
    for (answers, name, status) in cases {
        let mut hub = hub(answers).await;
        let error = builder(hub.address, key()).connect().await.unwrap_err();
        let ConnectError::TokenRefused(condition) = error else {
            panic!("{error:?}")
        };
        assert_eq!(condition.name, name);
        assert!(condition.description.unwrap().starts_with(status));
        assert_eq!(hub.next().await, Seen::Connection(1));
        for _ in 0..3 {
            hub.next().await;
        }
        // Neither a link nor another connection came of it.
        assert!(hub.seen.try_recv().is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_links_that_the_hub_takes_away_tells_why_in_one_attempt() {
    let cases = [
        (
            Answer::Detach("amqp:unauthorized-access"),
            "amqp:unauthorized-access",
        ),
        (Answer::Detach("amqp:not-allowed"), "amqp:not-allowed"),
        (Answer::End("amqp:not-allowed"), "amqp:not-allowed"),
    ];
    for (answer, name) in cases {
        let mut hub = Hub::start("ANONYMOUS", move |seen, _| match seen {
            Seen::Token(_) => answer,
            _ => Answer::Accept,
        })
        .await;
        let error = builder(hub.address, key()).connect().await.unwrap_err();
        let ConnectError::RefusedWith {
            phase: Phase::Token,
            condition,
        } = error
        else {
            panic!("{answer:?}: {error:?}")
        };
        assert_eq!(condition.name, name);
        let attempts = std::iter::from_fn(|| hub.seen.try_recv().ok())
            .filter(|seen| matches!(seen, Seen::Connection(_)))
            .count();
        assert_eq!(attempts, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_links_that_the_hub_refuses_tells_why_and_what_is_fatal_ends_a_client_at_once() {
    let cloud = Cloud::start().await;
    cloud.refuse("$cbs", "amqp:not-allowed");
    let error = builder(cloud.address, key()).connect().await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::RefusedWith { phase: Phase::Token, condition }
            if condition.name == "amqp:not-allowed"),
        "{error:?}"
    );
    // A client that has been there comes back to it.
    cloud.refuse("$cbs", "");
    let client = builder(cloud.address, key())
        .recovery(quick())
        .connect()
        .await
        .unwrap();
    cloud.refuse("$cbs", "amqp:not-allowed");
    cloud.cut();
    let mut status = client.status();
    let ended = status.wait_for(|status| matches!(status, Status::Ended { .. }));
    let ended = tokio::time::timeout(PATIENCE, ended)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert!(
        matches!(&ended, Status::Ended { why: Interruption::Refused(condition) }
            if condition.name == "amqp:not-allowed"),
        "{ended:?}"
    );
    assert_eq!(client.statistics().attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_throttles_the_pair_of_links_is_waited_for_as_one_that_throttles() {
    let cloud = Cloud::start().await;
    let client = builder(cloud.address, key())
        .recovery(quick())
        .connect()
        .await
        .unwrap();
    cloud.refuse("$cbs", "com.microsoft:device-container-throttled");
    cloud.cut();
    let mut status = client.status();
    let throttled = status.wait_for(|status| matches!(status, Status::Throttled { .. }));
    let throttled = tokio::time::timeout(PATIENCE, throttled)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert!(
        matches!(
            &throttled,
            Status::Throttled {
                why: Interruption::Refused(_),
                ..
            }
        ),
        "{throttled:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_a_time_out_of_its_own_phase() {
    let hub = hub(&[Answer::Nothing]).await;
    let error = builder(hub.address, key()).connect().await.unwrap_err();
    assert!(
        matches!(error, ConnectError::TimedOut { phase: Phase::Token, after } if after == LIMIT),
        "{error:?}"
    );
}

/// Gives tokens that live so short that each is renewed after a few seconds, the least that there is.
struct Hurried(Arc<AtomicU32>);

impl Credential for Hurried {
    fn token<'a>(&'a self, resource: &'a Resource, now: UnixTime) -> TokenFuture<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { key().life(Duration::from_secs(1)).token(resource, now).await })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_in_place_and_messages_flow_on() {
    let hub = hub(&[]).await;
    let asked = Arc::new(AtomicU32::new(0));
    let client = builder(hub.address, Hurried(Arc::clone(&asked)))
        .connect()
        .await
        .unwrap();
    let begun = Instant::now();
    let mut sent = 0;
    while client.statistics().tokens_put < 2 && begun.elapsed() < PATIENCE {
        client.send(Message::new("x")).await.unwrap();
        sent += 1;
        // The hub grants so much credit and no more.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let statistics = client.statistics();
    assert_eq!(
        (statistics.tokens_put, statistics.attempts, statistics.links),
        (2, 1, 1)
    );
    assert_eq!((statistics.accepted, statistics.resent), (sent, 0));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    client.close().await.unwrap();
}

/// Never answers.
struct Mute;

impl Credential for Mute {
    fn token<'a>(&'a self, _: &'a Resource, _: UnixTime) -> TokenFuture<'a> {
        Box::pin(std::future::pending())
    }
}

/// Says no.
struct Sealed;

impl Credential for Sealed {
    fn token<'a>(&'a self, _: &'a Resource, _: UnixTime) -> TokenFuture<'a> {
        Box::pin(std::future::ready(Err(CredentialError::lasting(
            "the vault is sealed",
        ))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_gives_none_is_a_typed_error_in_time() {
    let hub = hub(&[]).await;
    let error = builder(hub.address, Sealed).connect().await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Credential(why) if why.to_string() == "the vault is sealed"),
        "{error:?}"
    );
    let waiting = builder(hub.address, Mute).connect();
    let error = tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Credential(_)
                | ConnectError::TimedOut {
                    phase: Phase::Credential,
                    ..
                }
        ),
        "{error:?}"
    );
}

#[test]
fn a_connection_string_needs_a_device_and_a_key() {
    let with = |text: &str| DeviceClient::with(&ConnectionString::parse(text).unwrap());
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    assert!(
        with(&format!(
            "HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey={key}"
        ))
        .is_ok()
    );
    let policy = format!("HostName=h.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey={key}");
    assert!(matches!(with(&policy), Err(ConnectError::NotADevicesConnection)));
}

#[tokio::test]
async fn a_connection_string_of_a_device_with_a_certificate_needs_it() {
    let x509 = ConnectionString::parse("HostName=h.azure-devices.net;DeviceId=d;x509=true").unwrap();
    let error = DeviceClient::with(&x509).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::NoCertificate));
}

#[test]
fn an_answer_to_a_token_of_before_is_not_taken_for_the_present_one_s() {
    let now = Instant::now();
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::OfItsSlots, 1, now);
    join(&mut supervisor, 0, now);
    supervisor.handle_timeout(now);
    supervisor.handle(token(SLOT), now);
    supervisor.handle(Input::Up { conn: 1 }, now);
    let first = Input::TokenPut {
        conn: 1,
        put: 1,
        result: Ok(()),
    };
    supervisor.handle(first.clone(), now);
    let epoch = Epoch {
        conn: 1,
        session: 0,
        lane: 1,
    };
    supervisor.handle(
        Input::LaneUp {
            lane: LANE,
            epoch,
            limit: 0,
        },
        now,
    );
    actions(&mut supervisor);

    // The renewal's answer never comes; that of the first token comes once more.
    let due = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(due);
    supervisor.handle(token(SLOT), due);
    supervisor.handle(first, due);
    assert_eq!(
        actions(&mut supervisor),
        [
            Action::FetchToken(SLOT),
            Action::PutToken {
                conn: 1,
                put: 2,
                slot: SLOT
            }
        ]
    );
    assert_eq!(supervisor.poll_timeout(), Some(due + Duration::from_secs(30)));
    supervisor.handle_timeout(due + Duration::from_secs(30));
    assert_eq!(supervisor.poll_action(), Some(Action::Blow { conn: 1 }));
    // The next connection goes by the new token.
    let next = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(next);
    let done: Vec<_> = std::iter::from_fn(|| supervisor.poll_action()).collect();
    assert!(
        done.contains(&Action::Dial { conn: 2 }) && !done.contains(&Action::FetchToken(SLOT)),
        "{done:?}"
    );
}
