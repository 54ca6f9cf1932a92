//! Goal: what comes to a device reaches the application, its word reaches the hub, and both go on through lost links
//! and connections.
//! Method: a hub of hand-written frames on loopback, as the SDKs know the protocol; real time and short limits.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, SystemTime};

use iothub_address::{DeviceId, HubHost, Identity, ModuleId};
use iothub_amqp::{
    DeviceClient, DeviceClientBuilder, Interruption, Key, Message, Recover, Schedule, SettleError, Status,
    SubscribeError, TwinError,
};
use iothub_sas::SharedKey;
use iothub_tests::cloud::{Cloud, Seen};
use iothub_tests::frames::{NULL, fields, string, text};
use iothub_tests::sections::{binary, entries, int, long, message, sections, uuid};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);

const COMMANDS: &str = "/messages/devicebound";
const METHODS: &str = "/methods/devicebound";
const TWIN: &str = "/twin";

/// A client with a made-up key.
fn builder(cloud: &Cloud, identity: Identity) -> DeviceClientBuilder {
    let quick = Schedule::default()
        .spread(Duration::from_millis(20))
        .first(Duration::from_millis(20));
    let key = Key::new(SharedKey::from_bytes(&[7; 32]).unwrap());
    DeviceClient::builder(HubHost::parse("127.0.0.1").unwrap(), identity, key)
        .claims_based()
        .port(cloud.address.port())
        .plain_tcp_to_this_machine()
        .operation_timeout(Duration::from_secs(2))
        .recovery(Recover::On(quick))
}

fn device() -> Identity {
    Identity::Device(DeviceId::parse("dev").unwrap())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it comes in time")
}

fn command(body: &str) -> Vec<u8> {
    message(
        &[
            &string("id-1"),
            NULL,
            &string("/devices/dev/messages/devicebound"),
        ],
        &[
            (
                "x-opt-sequence-number",
                [&[0x80][..], &7_u64.to_be_bytes()].concat(),
            ),
            ("iothub-deliverycount", vec![0x50, 1]),
            (
                "iothub-enqueuedtime",
                [&[0x83][..], &1_700_000_000_123_i64.to_be_bytes()].concat(),
            ),
        ],
        &[("unit", "C"), ("iothub-ack", "full")],
        body.as_bytes(),
    )
}

async fn settled(cloud: &mut Cloud) -> u8 {
    within(cloud.find(|seen| match seen {
        Seen::Settled(code) => Some(code),
        _ => None,
    }))
    .await
}

/// The next message on a methods or twin link, by its sections.
async fn sent(cloud: &mut Cloud) -> std::collections::BTreeMap<u8, Vec<u8>> {
    let bytes = cloud.find(|seen| match seen {
        Seen::Sent(_, bytes) => Some(bytes),
        _ => None,
    });
    sections(&within(bytes).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_comes_with_its_properties_and_its_word_reaches_the_hub() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let mut commands = client.commands().await.unwrap();
    cloud.send(COMMANDS, command("21.5"));
    let received = within(commands.next()).await.unwrap();
    let message = received.message();
    assert_eq!(message.body, b"21.5");
    assert_eq!(message.message_id.as_deref(), Some("id-1"));
    assert_eq!(message.to.as_deref(), Some("/devices/dev/messages/devicebound"));
    assert_eq!(message.property("unit"), Some("C"));
    assert_eq!(message.property("iothub-ack"), Some("full"));
    assert_eq!(
        (message.sequence_number, message.delivery_count),
        (Some(7), Some(1))
    );
    let enqueued = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    assert_eq!(message.enqueued_at, Some(enqueued));

    // The outcomes' descriptors: AMQP 1.0 §3.4.2 to §3.4.4.
    received.complete().await.unwrap();
    assert_eq!(settled(&mut cloud).await, 0x24);
    cloud.send(COMMANDS, command("b"));
    within(commands.next()).await.unwrap().reject().await.unwrap();
    assert_eq!(settled(&mut cloud).await, 0x25);
    cloud.send(COMMANDS, command("c"));
    within(commands.next()).await.unwrap().abandon().await.unwrap();
    assert_eq!(settled(&mut cloud).await, 0x26);
    cloud.send(COMMANDS, command("d"));
    drop(within(commands.next()).await.unwrap());
    assert_eq!(settled(&mut cloud).await, 0x26, "dropped unanswered is abandoned");
    client.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_commands_come_than_there_are_places() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let mut commands = client.commands().await.unwrap();
    for number in 0..20 {
        cloud.send(COMMANDS, command(&number.to_string()));
    }
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(within(commands.next()).await.unwrap());
    }
    // The hub has sent what it has credit for; a message that went over would have come before this answer.
    client.send(Message::new("x")).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), commands.next()).await;
    assert!(early.is_err(), "a ninth command came");
    for command in held {
        command.complete().await.unwrap();
    }
    for number in 8..20 {
        let command = within(commands.next()).await.unwrap();
        assert_eq!(command.message().body, number.to_string().as_bytes());
        command.complete().await.unwrap();
    }
    let codes: Vec<u8> = cloud
        .rest()
        .into_iter()
        .filter_map(|seen| {
            if let Seen::Settled(code) = seen {
                Some(code)
            } else {
                None
            }
        })
        .collect();
    assert!(codes.iter().all(|code| *code == 0x24), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_link_is_gone_says_that_the_lock_is_lost_and_the_stream_goes_on() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let mut commands = client.commands().await.unwrap();
    for end in ["link", "connection"] {
        cloud.send(COMMANDS, command("old"));
        let old = within(commands.next()).await.unwrap();
        cloud.rest();
        if end == "link" {
            cloud.detach(COMMANDS, "amqp:link:detach-forced");
        } else {
            cloud.cut();
        }
        let again = cloud.find(|seen| {
            matches!(seen, Seen::Attach(address, true) if address.ends_with(COMMANDS)).then_some(())
        });
        within(again).await;
        assert_eq!(
            old.complete().await,
            Err(SettleError::LockLost),
            "after a lost {end}"
        );
        cloud.send(COMMANDS, command("new"));
        let new = within(commands.next()).await.unwrap();
        assert_eq!(new.message().body, b"new");
        new.complete().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_gives_back_what_was_not_taken_and_keeps_what_was() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let mut commands = client.commands().await.unwrap();
    cloud.send(COMMANDS, command("one"));
    let taken = within(commands.next()).await.unwrap();
    assert_eq!(
        client.commands().await.unwrap_err(),
        SubscribeError::AlreadyOpen,
        "two streams would share the messages"
    );
    drop(commands);
    taken.complete().await.unwrap();
    assert_eq!(settled(&mut cloud).await, 0x24);
    // The link goes once nothing waits for a word.
    within(
        cloud.find(|seen| matches!(seen, Seen::Detach(address) if address.ends_with(COMMANDS)).then_some(())),
    )
    .await;
    let mut again = client.commands().await.unwrap();
    cloud.send(COMMANDS, command("two"));
    assert_eq!(within(again.next()).await.unwrap().message().body, b"two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_of_a_stream_of_before_says_nothing_of_what_comes_on_the_next_one() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let mut before = client.commands().await.unwrap();
    cloud.send(COMMANDS, command("one"));
    cloud.send(COMMANDS, command("two"));
    within(before.next()).await.unwrap().complete().await.unwrap();
    let kept = within(before.next()).await.unwrap();
    drop(before);
    let mut now = client.commands().await.unwrap();
    for body in ["three", "four"] {
        cloud.send(COMMANDS, command(body));
    }
    let third = within(now.next()).await.unwrap();
    let fourth = within(now.next()).await.unwrap();
    cloud.rest();
    assert_eq!(kept.complete().await, Err(SettleError::LockLost));
    third.complete().await.unwrap();
    fourth.abandon().await.unwrap();
    // Accepted and released, one each and in this order.
    assert_eq!(
        (settled(&mut cloud).await, settled(&mut cloud).await),
        (0x24, 0x26)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_the_hub_refuses_ends_its_stream_and_nothing_else() {
    let cloud = Cloud::start().await;
    cloud.refuse(COMMANDS, "amqp:not-allowed");
    let client = builder(&cloud, device()).connect().await.unwrap();
    // The real hub too attaches first and refuses then, so it may be heard of as an error or as an end.
    let why = match client.commands().await {
        Ok(mut commands) => {
            assert!(within(commands.next()).await.is_none());
            commands.ended().unwrap()
        }
        Err(SubscribeError::Ended(why)) => why,
        Err(error) => panic!("{error:?}"),
    };
    assert!(
        matches!(&why, Interruption::Refused(condition) if condition.name == "amqp:not-allowed"),
        "{why:?}"
    );
    client.send(Message::new("still here")).await.unwrap();
    assert_eq!(*client.status().borrow(), Status::Connected { after: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_hears_its_inputs() {
    let cloud = Cloud::start().await;
    let module = Identity::Module(DeviceId::parse("dev").unwrap(), ModuleId::parse("mod").unwrap());
    let client = builder(&cloud, module).connect().await.unwrap();
    let mut inputs = client.inputs().await.unwrap();
    let sections = message(&[], &[("x-opt-input-name", string("temperature"))], &[], b"21.5");
    cloud.send("/devices/dev/modules/mod/messages/events", sections);
    let input = within(inputs.next()).await.unwrap();
    assert_eq!(input.message().input_name.as_deref(), Some("temperature"));
    input.complete().await.unwrap();
}

fn call(name: &str, id: [u8; 16], payload: &str) -> Vec<u8> {
    let id = uuid(id);
    message(
        &[NULL, NULL, NULL, NULL, NULL, &id],
        &[],
        &[("IoThub-methodname", name)],
        payload.as_bytes(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_answered_with_its_uuid_and_an_int_for_a_status() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let mut methods = client.methods().await.unwrap();
    cloud.send(METHODS, call("reboot", [9; 16], r#"{"in":5}"#));
    let called = within(methods.next()).await.unwrap();
    assert_eq!((called.name(), called.payload()), ("reboot", &br#"{"in":5}"#[..]));
    called.respond(-7, r#"{"ok":true}"#).await.unwrap();
    let answer = sent(&mut cloud).await;
    let (properties, _) = fields(&answer[&0x73]);
    assert_eq!(properties[5], uuid([9; 16]), "the correlation id, in its type");
    let status = &entries(&answer[&0x74])["IoThub-status"];
    assert!(
        *status == int(-7) || *status == [0x54, 0xf9],
        "an int: {status:x?}"
    );
    assert_eq!(binary(&answer[&0x75]), br#"{"ok":true}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_in_any_order_or_not_at_all_and_go_on_after_a_cut() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let mut methods = client.methods().await.unwrap();
    for id in 1..=3 {
        cloud.send(METHODS, call(&format!("m{id}"), [id; 16], "null"));
    }
    let first = within(methods.next()).await.unwrap();
    drop(within(methods.next()).await.unwrap());
    let third = within(methods.next()).await.unwrap();
    third.respond(3, "null").await.unwrap();
    first.respond(1, "null").await.unwrap();
    for id in [3, 1] {
        let answer = sent(&mut cloud).await;
        let (properties, _) = fields(&answer[&0x73]);
        assert_eq!(properties[5], uuid([id; 16]));
    }
    cloud.send(METHODS, call("late", [4; 16], "null"));
    let late = within(methods.next()).await.unwrap();
    cloud.rest();
    cloud.cut();
    within(cloud.find(|seen| {
        matches!(seen, Seen::Attach(address, false) if address.ends_with(METHODS)).then_some(())
    }))
    .await;
    assert_eq!(late.respond(200, "null").await, Err(SettleError::LockLost));
    cloud.send(METHODS, call("again", [5; 16], "null"));
    assert_eq!(within(methods.next()).await.unwrap().name(), "again");
    let huge = within(async {
        cloud.send(METHODS, call("huge", [6; 16], "null"));
        methods.next().await.unwrap()
    })
    .await;
    let error = huge.respond(200, vec![b' '; 200_000]).await.unwrap_err();
    assert_eq!(
        error,
        SettleError::TooLarge {
            size: 200_000,
            limit: 131_072
        }
    );
}

/// What a request to the twin asks, and how its answer is known.
struct Asked {
    operation: String,
    resource: Option<String>,
    id: Vec<u8>,
    body: Vec<u8>,
}

async fn asked(cloud: &mut Cloud) -> Asked {
    let request = sent(cloud).await;
    let annotations = entries(&request[&0x72]);
    let (properties, _) = fields(&request[&0x73]);
    Asked {
        operation: text(&annotations["operation"]),
        resource: annotations.get("resource").map(|value| text(value)),
        id: properties[5].to_vec(),
        body: binary(&request[&0x75]).to_vec(),
    }
}

fn answer(asked: &Asked, status: i32, version: Option<i64>, body: &str) -> Vec<u8> {
    let mut annotations = vec![("status", int(status))];
    annotations.extend(version.map(|version| ("version", long(version))));
    message(
        &[NULL, NULL, NULL, NULL, NULL, &asked.id],
        &annotations,
        &[],
        body.as_bytes(),
    )
}

fn change(version: i64, patch: &str) -> Vec<u8> {
    message(
        &[],
        &[
            ("resource", string("/properties/desired")),
            ("version", long(version)),
        ],
        &[],
        patch.as_bytes(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_twin_is_read_and_reported_as_the_hub_expects() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let twin = client.twin();
    let (state, ()) = tokio::join!(twin.get(), async {
        let asked = asked(&mut cloud).await;
        assert_eq!(
            (asked.operation.as_str(), asked.resource.as_deref()),
            ("GET", None)
        );
        let body = r#"{"desired":{"interval":5,"$version":4},"reported":{"fan":"off","$version":9}}"#;
        cloud.send(TWIN, answer(&asked, 200, None, body));
    });
    let state = state.unwrap();
    assert_eq!((state.desired.version, state.reported.version), (4, 9));
    assert_eq!(json!(state.desired.values), json!({"interval": 5}));
    assert_eq!(json!(state.reported.values), json!({"fan": "off"}));

    // Any 2xx is success: 204 is what MQTT's documentation says.
    for status in [200, 204] {
        let patch = json!({"fan": "on", "old": null});
        let (version, ()) = tokio::join!(twin.report(&patch), async {
            let asked = asked(&mut cloud).await;
            assert_eq!(asked.operation, "PATCH");
            assert_eq!(asked.resource.as_deref(), Some("/properties/reported"));
            assert_eq!(asked.body, br#"{"fan":"on","old":null}"#);
            cloud.send(TWIN, answer(&asked, status, Some(10), ""));
        });
        assert_eq!(version, Ok(Some(10)));
    }
    let (refused, ()) = tokio::join!(twin.get(), async {
        let asked = asked(&mut cloud).await;
        cloud.send(TWIN, answer(&asked, 429, None, "too many"));
    });
    assert_eq!(
        refused.unwrap_err(),
        TwinError::Refused {
            status: 429,
            message: Some("too many".into())
        }
    );
    assert_eq!(
        twin.report(&json!(["no", "object"])).await,
        Err(TwinError::NotAnObject)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_s_question_ends_by_its_deadline_and_a_patch_that_may_have_arrived_is_unknown() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device())
        .operation_timeout(Duration::from_millis(300))
        .connect()
        .await
        .unwrap();
    let twin = client.twin();
    assert!(matches!(
        within(twin.get()).await,
        Err(TwinError::NotAnswered(Interruption::TimedOut { .. }))
    ));
    let patch = json!({});
    assert!(matches!(
        within(twin.report(&patch)).await,
        Err(TwinError::Unknown(_))
    ));
    cloud.rest();
    let (reported, ()) = tokio::join!(twin.report(&patch), async {
        asked(&mut cloud).await;
        cloud.cut();
    });
    assert!(matches!(reported, Err(TwinError::Unknown(_))), "{reported:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_twin_survives_a_lost_connection() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let twin = client.twin();
    let (state, ()) = tokio::join!(twin.get(), async {
        asked(&mut cloud).await;
        cloud.cut();
        let again = asked(&mut cloud).await;
        cloud.send(
            TWIN,
            answer(
                &again,
                200,
                None,
                r#"{"desired":{"$version":1},"reported":{"$version":1}}"#,
            ),
        );
    });
    assert_eq!(state.unwrap().desired.version, 1);
}

/// Answers a subscription and the reading that follows it.
async fn subscribe(cloud: &mut Cloud, version: i64, desired: &str) {
    let put = asked(cloud).await;
    assert_eq!(
        (put.operation.as_str(), put.resource.as_deref()),
        ("PUT", Some("/notifications/twin/properties/desired"))
    );
    cloud.send(TWIN, answer(&put, 200, None, ""));
    read(cloud, version, desired).await;
}

async fn read(cloud: &mut Cloud, version: i64, desired: &str) {
    let get = asked(cloud).await;
    assert_eq!(get.operation, "GET");
    let body = format!(r#"{{"desired":{{{desired},"$version":{version}}},"reported":{{"$version":1}}}}"#);
    cloud.send(TWIN, answer(&get, 200, None, &body));
}

#[tokio::test(flavor = "multi_thread")]
async fn desired_changes_come_in_turn_and_a_gap_is_closed_by_reading_all() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let twin = client.twin();
    let (changes, ()) = tokio::join!(twin.desired(), subscribe(&mut cloud, 3, r#""a":1"#));
    let mut changes = changes.unwrap();
    let first = within(changes.next()).await.unwrap();
    assert_eq!((first.version, first.whole), (3, true));
    assert_eq!(json!(first.values), json!({"a": 1}));

    cloud.send(TWIN, change(4, r#"{"a":2,"$version":4}"#));
    let next = within(changes.next()).await.unwrap();
    assert_eq!(
        (next.version, next.whole, json!(next.values)),
        (4, false, json!({"a": 2}))
    );
    // The same once more, and an older one, say nothing new.
    cloud.send(TWIN, change(4, r#"{"a":2,"$version":4}"#));
    cloud.send(TWIN, change(2, r#"{"a":0,"$version":2}"#));
    // 5 is left out.
    cloud.send(TWIN, change(6, r#"{"b":3,"$version":6}"#));
    read(&mut cloud, 6, r#""a":5,"b":3"#).await;
    let whole = within(changes.next()).await.unwrap();
    assert_eq!(
        (whole.version, whole.whole, json!(whole.values)),
        (6, true, json!({"a": 5, "b": 3}))
    );
    cloud.send(TWIN, change(7, r#"{"a":null,"$version":7}"#));
    let next = within(changes.next()).await.unwrap();
    assert_eq!(
        (next.version, next.whole, json!(next.values)),
        (7, false, json!({"a": null}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_the_twin_is_subscribed_anew_and_what_was_missed_comes() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let twin = client.twin();
    let (changes, ()) = tokio::join!(twin.desired(), subscribe(&mut cloud, 3, r#""a":1"#));
    let mut changes = changes.unwrap();
    within(changes.next()).await.unwrap();
    cloud.cut();
    subscribe(&mut cloud, 5, r#""a":9"#).await;
    let missed = within(changes.next()).await.unwrap();
    assert_eq!((missed.version, missed.whole), (5, true));
    cloud.cut();
    // Nothing has changed this time, so nothing is said.
    subscribe(&mut cloud, 5, r#""a":9"#).await;
    cloud.send(TWIN, change(6, r#"{"a":10,"$version":6}"#));
    let next = within(changes.next()).await.unwrap();
    assert_eq!((next.version, next.whole), (6, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_falls_behind_gets_the_last_version_all_the_same() {
    let mut cloud = Cloud::start().await;
    let client = builder(&cloud, device()).connect().await.unwrap();
    let twin = client.twin();
    let (changes, ()) = tokio::join!(twin.desired(), subscribe(&mut cloud, 1, r#""a":1"#));
    let mut changes = changes.unwrap();
    for version in 2..=40 {
        cloud.send(TWIN, change(version, &format!(r#"{{"a":{version}}}"#)));
    }
    // What is asked by the same links is answered behind them: by then all of them are here.
    let (asked, ()) = tokio::join!(twin.get(), read(&mut cloud, 40, r#""a":40"#));
    asked.unwrap();
    // Sixteen wait; the rest is read as one when there is room.
    let reading = tokio::spawn(async move {
        read(&mut cloud, 40, r#""a":40"#).await;
        cloud
    });
    let mut last = within(changes.next()).await.unwrap();
    while last.version < 40 {
        let next = within(changes.next()).await.unwrap();
        assert!(next.version > last.version && (next.whole || next.version == last.version + 1));
        last = next;
    }
    assert_eq!((last.whole, json!(last.values)), (true, json!({"a": 40})));
    within(reading).await.unwrap();
}
