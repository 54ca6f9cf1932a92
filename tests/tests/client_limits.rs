//! Goal: what is too large for a link, or waits for its credit, comes to an end that is told; and what waits is bounded.
//! Method: a hub of hand-written frames on loopback that says how much its links take, real time and short limits; and one in
//! virtual time that gives no credit for a while.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::collections::BTreeMap;
use std::time::Duration;

use iothub_address::{DeviceId, HubHost, Identity};
use iothub_amqp::{
    Batching, DeviceClient, Interruption, Key, Message, Recover, Schedule, SendError, SettleError, TwinError,
};
use iothub_emulator::{Fault, FaultKind};
use iothub_sas::SharedKey;
use iothub_tests::cloud::{Cloud, Seen};
use iothub_tests::frames::{NULL, fields};
use iothub_tests::memory::{Memory, identity};
use iothub_tests::sections::{binary, entries, int, long, message, sections, uuid};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

const METHODS: &str = "/methods/devicebound";
const TWIN: &str = "/twin";

async fn connect(cloud: &Cloud) -> DeviceClient {
    let key = Key::new(SharedKey::from_bytes(&[7; 32]).unwrap());
    let device = Identity::Device(DeviceId::parse("dev").unwrap());
    DeviceClient::builder(HubHost::parse("127.0.0.1").unwrap(), device, key)
        .claims_based()
        .port(cloud.address.port())
        .plain_tcp_to_this_machine()
        .operation_timeout(LIMIT)
        .connect()
        .await
        .unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it comes in time")
}

/// The next message on a methods or twin link, by its sections.
async fn sent(cloud: &mut Cloud) -> BTreeMap<u8, Vec<u8>> {
    let bytes = cloud.find(|seen| match seen {
        Seen::Sent(_, bytes) => Some(bytes),
        _ => None,
    });
    sections(&within(bytes).await)
}

fn call(name: &str, id: [u8; 16]) -> Vec<u8> {
    let id = uuid(id);
    let properties = [NULL, NULL, NULL, NULL, NULL, &id];
    message(&properties, &[], &[("IoThub-methodname", name)], b"null")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_larger_than_the_link_takes_is_told_to_the_application_and_to_the_caller() {
    let mut cloud = Cloud::start().await;
    cloud.largest(METHODS, 1_000);
    let client = connect(&cloud).await;
    let mut methods = client.methods().await.unwrap();
    for size in [2_000, 200_000] {
        cloud.send(METHODS, call("much", [1; 16]));
        let much = within(methods.next()).await.unwrap();
        let error = within(much.respond(200, vec![b' '; size])).await.unwrap_err();
        let limit = if size > 131_072 { 131_072 } else { 1_000 };
        assert!(
            matches!(error, SettleError::TooLarge { size: said, limit: of } if said >= size && of == limit),
            "{error:?}"
        );
        let told = sent(&mut cloud).await;
        let (properties, _) = fields(&told[&0x73]);
        assert_eq!(properties[5], uuid([1; 16]));
        assert_eq!(entries(&told[&0x74])["IoThub-status"], int(500));
        let body: serde_json::Value = serde_json::from_slice(binary(&told[&0x75])).unwrap();
        assert!(
            body["message"].as_str().unwrap().contains(&limit.to_string()),
            "{body}"
        );
    }
    cloud.send(METHODS, call("next", [2; 16]));
    within(methods.next())
        .await
        .unwrap()
        .respond(200, "null")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_too_when_the_link_does_not_even_take_the_word_that_it_is_too_large() {
    let mut cloud = Cloud::start().await;
    cloud.largest(METHODS, 10);
    let client = connect(&cloud).await;
    let mut methods = client.methods().await.unwrap();
    cloud.send(METHODS, call("m", [1; 16]));
    let error = within(within(methods.next()).await.unwrap().respond(200, "null")).await;
    assert!(
        matches!(error, Err(SettleError::TooLarge { limit: 10, .. })),
        "{error:?}"
    );
    client.close().await.unwrap();
    assert!(!cloud.rest().iter().any(|seen| matches!(seen, Seen::Sent(..))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_its_link_does_not_take_ends_by_a_deadline_and_holds_its_place() {
    let cloud = Cloud::start().await;
    cloud.credit(METHODS, 0);
    let client = connect(&cloud).await;
    let mut methods = client.methods().await.unwrap();
    for _ in 0..40 {
        cloud.send(METHODS, call("m", [1; 16]));
    }
    let mut answers = Vec::new();
    for _ in 0..32 {
        answers.push(
            within(methods.next())
                .await
                .unwrap()
                .respond(200, vec![b' '; 1_000]),
        );
    }
    let after = LIMIT;
    for answer in within(futures_util::future::join_all(answers)).await {
        assert_eq!(answer, Err(SettleError::TimedOut { after }));
    }
    let early = tokio::time::timeout(Duration::from_millis(100), methods.next()).await;
    assert!(early.is_err(), "a call came while 32 answers wait for credit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_larger_than_the_link_takes_is_an_error_of_its_own_at_once() {
    let mut cloud = Cloud::start().await;
    cloud.largest(TWIN, 1_000);
    let client = connect(&cloud).await;
    let twin = client.twin();
    let error = within(twin.report(&json!({"text": "x".repeat(2_000)})))
        .await
        .unwrap_err();
    assert!(
        matches!(error, TwinError::TooLarge { size, limit: 1_000 } if size > 2_000),
        "{error:?}"
    );
    let patch = json!({"text": "x"});
    let (reported, ()) = tokio::join!(twin.report(&patch), async {
        let request = sent(&mut cloud).await;
        assert_eq!(binary(&request[&0x75]), br#"{"text":"x"}"#);
        let (properties, _) = fields(&request[&0x73]);
        let properties = [NULL, NULL, NULL, NULL, NULL, properties[5]];
        let annotations = [("status", int(200)), ("version", long(2))];
        cloud.send(TWIN, message(&properties, &annotations, &[], b""));
    });
    assert_eq!(reported, Ok(Some(2)));
}

/// The link has all three, and the first of them waits for credit: what the hub gets keeps its order.
#[tokio::test(start_paused = true)]
async fn a_message_whose_time_is_up_is_taken_back_from_between_those_that_wait_for_credit() {
    let memory = Memory::start(1).await;
    let drought = Duration::from_secs(120);
    memory
        .inject(Fault::new(FaultKind::WithholdCredit).duration(drought))
        .await;
    let client = memory
        .device_by_plain(0)
        .batching(Batching::Off)
        .connect()
        .await
        .unwrap();
    let queued = |body: &str| client.enqueue(Message::new(body)).unwrap();
    let first = queued("first");
    let second = async {
        let outcome = client.send(Message::new("second")).await;
        (outcome, memory.elapsed())
    };
    let ((second, told), third) = tokio::join!(second, async { queued("third").await });
    assert!(
        matches!(second, Err(SendError::NotSent(Interruption::TimedOut { .. }))),
        "{second:?}"
    );
    assert!(told < drought);
    first.await.unwrap();
    third.unwrap();
    assert_eq!(memory.bodies(), ["first", "third"]);
    let statistics = client.statistics();
    assert_eq!((statistics.links, statistics.resent), (1, 0), "{statistics:?}");
    client.close().await.unwrap();
}

/// As who means for ever may say it.
#[tokio::test(start_paused = true)]
async fn a_time_that_no_clock_can_count_to_is_long_and_breaks_nothing() {
    let ever = Duration::MAX;
    let memory = Memory::start(2).await;
    let schedule = Schedule::default().spread(Duration::ZERO).longest(ever);
    let connection = memory
        .connection_builder()
        .operation_timeout(ever)
        .recovery(Recover::On(schedule))
        .open()
        .await
        .unwrap();
    let device = async |number| {
        let connecting = connection
            .device(identity(number), memory.credential())
            .queue_timeout(ever);
        connecting.connect().await.unwrap()
    };
    let (client, other) = (device(0).await, device(1).await);
    client.enqueue(Message::new("queued")).unwrap().await.unwrap();
    client.send(Message::new("sent")).await.unwrap();
    client.close_within(ever).await.unwrap();
    other.send(Message::new("beside it")).await.unwrap();
    connection.close_within(ever).await.unwrap();
}
