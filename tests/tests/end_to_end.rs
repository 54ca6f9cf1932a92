//! Goal: the main job works from end to end, for every legal id and every spelling, and what must be refused is.
//! Method: the client against the emulator over TLS on loopback. They share no code but the frame guard; that both
//! misread the hub in the same way is for software that we did not write to find (`cargo xtask interop`).
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::Duration;

use iothub_address::{
    AmqpUrl, DeviceId, HubHost, HubName, Identity, ModuleId, Node, PolicyName, Secret, User,
};
use iothub_amqp::{
    ConnectError, DeviceClient, DeviceClientBuilder, Interruption, Message, Recover, SendError,
};
use iothub_emulator::{Body, Emulator, Event, Keys, MessageId, Notice, Status, Timestamp, Value};
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime};

/// The keys of bytes 00..1f and 20..3f.
fn keys() -> Keys {
    let bytes = |from: u8| (from..from + 32).collect::<Vec<_>>();
    Keys::new(
        SharedKey::from_bytes(&bytes(0)).unwrap(),
        SharedKey::from_bytes(&bytes(32)).unwrap(),
    )
}

fn policy_key() -> SharedKey {
    SharedKey::from_bytes(&[3; 32]).unwrap()
}

fn soon() -> UnixTime {
    UnixTime::from(std::time::SystemTime::now()) + Duration::from_secs(600)
}

fn device(id: &str) -> Identity {
    Identity::Device(DeviceId::parse(id).unwrap())
}

async fn hub() -> Emulator {
    Emulator::builder()
        .hub(HubName::parse("tcontehub").unwrap())
        .amqps_port(0)
        .device(DeviceId::parse("myFirstDevice").unwrap(), keys())
        .policy(PolicyName::parse("device").unwrap(), policy_key())
        .start()
        .await
        .unwrap()
}

/// A connection by the double-"@" address, as the post describes it, but for the place.
fn at(hub: &Emulator, identity: &Identity, token: &SasToken) -> DeviceClientBuilder {
    let user = User::for_identity(identity.clone(), HubName::parse("tcontehub").unwrap());
    let url = AmqpUrl::new(
        HubHost::parse("localhost").unwrap(),
        Node::Events(identity.clone()),
    )
    .with_port(hub.amqps_address().port())
    .with_credentials(user, Secret::new(token.expose()));
    // Through the text, since that is what people have.
    let url = AmqpUrl::parse(&url.expose()).unwrap();
    let root = hub.root_certificate_der().to_vec().into();
    DeviceClient::at(&url)
        .unwrap()
        .root_certificate(root)
        .operation_timeout(Duration::from_secs(20))
}

fn token(key: &SharedKey, resource: &str, expires: UnixTime) -> SasToken {
    Signer::new(key.clone()).sign(resource, expires)
}

fn own_token(identity: &Identity) -> SasToken {
    token(
        keys().primary(),
        &format!("tcontehub.azure-devices.net/devices/{identity}"),
        soon(),
    )
}

fn events(hub: &Emulator) -> Vec<Event> {
    hub.journal()
        .snapshot()
        .iter()
        .map(|event| Event::clone(event))
        .collect()
}

#[tokio::test]
async fn hello_world_reaches_the_hub_with_everything_that_was_said() {
    let hub = hub().await;
    let mut journal = hub.journal().subscribe();
    let identity = device("myFirstDevice");
    let token = own_token(&identity);
    let client = at(&hub, &identity, &token).connect().await.unwrap();
    assert_eq!(client.token_expires_at(), Some(token.expires_at()));
    let message = Message::new("Hello World!")
        .message_id("m-1")
        .correlation_id("c-1")
        .user_id("someone")
        .content_type("text/plain")
        .content_encoding("utf-8")
        .expires_at(std::time::UNIX_EPOCH + Duration::from_millis(2_000_000_000_123))
        .property("k", "v")
        .property("ключ", "значение")
        .property("k", "w");
    client.send(message).await.unwrap();
    client.close().await.unwrap();

    let Some(Notice::Entry(event)) = journal.next().await else {
        panic!("nothing arrived")
    };
    assert_eq!(event.message.body, Body::Data("Hello World!".into()));
    let said = &event.message.properties;
    assert_eq!(said.message_id, Some(MessageId::String("m-1".into())));
    assert_eq!(said.correlation_id, Some(MessageId::String("c-1".into())));
    assert_eq!(said.user_id.as_deref(), Some(&b"someone"[..]));
    assert_eq!(said.content_type.as_deref(), Some("text/plain"));
    assert_eq!(said.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(
        said.absolute_expiry_time,
        Some(Timestamp::from_millis(2_000_000_000_123))
    );
    let application = &event.message.application_properties;
    assert_eq!(
        application,
        &[
            ("k".into(), Value::from("w")),
            ("ключ".into(), Value::from("значение"))
        ]
    );

    assert_eq!(event.device().as_str(), "myFirstDevice");
    assert_eq!((event.sequence_number, event.offset_text().as_str()), (0, "0"));
    let stamped = event.annotations();
    let stamp = |name: &str| {
        stamped
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(
        stamp("iothub-connection-device-id"),
        Some(Value::from("myFirstDevice"))
    );
    assert_eq!(stamp("iothub-message-source"), Some(Value::from("Telemetry")));
    let method = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;
    assert_eq!(stamp("iothub-connection-auth-method"), Some(Value::from(method)));
    assert_eq!(
        stamp("iothub-enqueuedtime"),
        Some(Value::Timestamp(event.enqueued))
    );
    assert!(stamp("iothub-connection-auth-generation-id").is_some());
    hub.stop().await;
}

#[tokio::test]
async fn every_legal_character_of_an_id_gets_there() {
    let hub = hub().await;
    let id = "A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p:q;r"; // every special character that an id may hold
    let identity = device(id);
    hub.register_device(DeviceId::parse(id).unwrap(), keys())
        .await
        .unwrap();
    let client = at(&hub, &identity, &own_token(&identity))
        .connect()
        .await
        .unwrap();
    client.send(Message::new("x")).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(events(&hub)[0].device().as_str(), id);
    // No connection string can hold a ";": asking for one is an error, not a panic.
    assert!(hub.connection_string(&identity).await.is_err());
}

#[tokio::test]
async fn a_module_and_a_policy_s_holder_may_send_and_are_told_apart() {
    let hub = hub().await;
    let module = Identity::Module(
        DeviceId::parse("myFirstDevice").unwrap(),
        ModuleId::parse("sensor").unwrap(),
    );
    hub.register_module(
        module.device().clone(),
        ModuleId::parse("sensor").unwrap(),
        keys(),
    )
    .await
    .unwrap();
    let client = at(&hub, &module, &own_token(&module)).connect().await.unwrap();
    client.send(Message::new("from the module")).await.unwrap();

    let by_policy = Signer::new(policy_key())
        .policy("device")
        .sign("tcontehub.azure-devices.net", soon());
    let identity = device("myFirstDevice");
    let client = at(&hub, &identity, &by_policy).connect().await.unwrap();
    client.send(Message::new("by policy")).await.unwrap();

    let seen = events(&hub);
    assert_eq!(seen[0].module().map(ModuleId::as_str), Some("sensor"));
    assert_eq!(seen[1].module(), None);
    assert!(
        seen[1]
            .sender
            .auth_method
            .to_string()
            .contains(r#""scope":"hub""#)
    );
}

#[tokio::test]
async fn the_secondary_key_and_each_of_the_hub_s_names_let_in() {
    let hub = hub().await;
    let identity = device("myFirstDevice");
    for host in [
        "tcontehub.azure-devices.net",
        "TConteHub.azure-devices.net",
        "localhost",
        "127.0.0.1",
    ] {
        let token = token(
            keys().secondary(),
            &format!("{host}/devices/myFirstDevice"),
            soon(),
        );
        at(&hub, &identity, &token)
            .connect()
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_wrong_key_an_expired_token_an_unknown_device_and_another_s_token_are_refused_alike() {
    let hub = hub().await;
    hub.register_device(DeviceId::parse("other").unwrap(), None)
        .await
        .unwrap();
    hub.register_device(DeviceId::parse("off").unwrap(), keys())
        .await
        .unwrap();
    hub.set_status(&DeviceId::parse("off").unwrap(), Status::Disabled)
        .await
        .unwrap();
    let (mine, own) = (device("myFirstDevice"), keys());
    let resource = "tcontehub.azure-devices.net/devices/myFirstDevice";
    let stranger = SharedKey::from_bytes(&[9; 32]).unwrap();
    let long_ago = UnixTime::from_secs(1_463_330_495);
    let attempts = [
        ("wrong key", mine.clone(), token(&stranger, resource, soon())),
        ("expired", mine.clone(), token(own.primary(), resource, long_ago)),
        ("unknown device", device("nobody"), own_token(&device("nobody"))),
        ("another device's token", device("other"), own_token(&mine)),
        (
            "another hub's token",
            mine.clone(),
            token(own.primary(), "elsewhere.azure-devices.net", soon()),
        ),
        ("disabled", device("off"), own_token(&device("off"))),
    ];
    for (what, identity, token) in attempts {
        let error = at(&hub, &identity, &token).connect().await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Refused { code: 2 }),
            "{what}: {error:?}"
        );
    }
    assert!(events(&hub).is_empty());
}

#[tokio::test]
async fn a_body_over_256_kib_is_rejected_by_the_hub_and_over_the_link_s_limit_by_the_client() {
    let hub = hub().await;
    let identity = device("myFirstDevice");
    let client = at(&hub, &identity, &own_token(&identity))
        .connect()
        .await
        .unwrap();
    let error = client
        .send(Message::new(vec![b'x'; 256 * 1024]))
        .await
        .unwrap_err();
    let SendError::Rejected(condition) = error else {
        panic!("{error:?}")
    };
    assert_eq!(condition.name, "amqp:link:message-size-exceeded");
    let error = client
        .send(Message::new(vec![b'x'; 2 * 1024 * 1024]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SendError::TooLarge { limit: 1_048_576, .. }),
        "{error:?}"
    );
    // The link lives on, up to the limit.
    client.send(Message::new(vec![b'x'; 255 * 1024])).await.unwrap();
    assert_eq!(events(&hub).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_messages_of_ten_tasks_arrive_once_each_and_in_each_task_s_order() {
    let hub = hub().await;
    let identity = device("myFirstDevice");
    let client = at(&hub, &identity, &own_token(&identity))
        .connect()
        .await
        .unwrap();
    let tasks = (0..10).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 0..500 {
                client
                    .send(Message::new(format!("{task}:{number}")))
                    .await
                    .unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    client.close().await.unwrap();
    let mut next = [0; 10];
    let seen = events(&hub);
    assert_eq!(seen.len(), 5000);
    for event in seen {
        let Body::Data(body) = &event.message.body else {
            panic!("{:?}", event.message.body)
        };
        let text = std::str::from_utf8(body).unwrap();
        let (task, number) = text.split_once(':').unwrap();
        let expected = &mut next[task.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<usize>().unwrap(), *expected);
        *expected += 1;
    }
}

#[tokio::test]
async fn a_device_that_is_disabled_or_a_hub_that_stops_ends_the_connection_with_a_reason() {
    let hub = hub().await;
    let identity = device("myFirstDevice");
    let client = at(&hub, &identity, &own_token(&identity))
        .recovery(Recover::Never)
        .connect()
        .await
        .unwrap();
    client.send(Message::new("one")).await.unwrap();
    hub.set_status(&DeviceId::parse("myFirstDevice").unwrap(), Status::Disabled)
        .await
        .unwrap();
    let error = client.send(Message::new("two")).await.unwrap_err();
    let (SendError::NotSent(why) | SendError::Unknown(why)) = error else {
        panic!("{error:?}")
    };
    assert!(matches!(why, Interruption::Refused(_)), "{why:?}");

    hub.set_status(&DeviceId::parse("myFirstDevice").unwrap(), Status::Enabled)
        .await
        .unwrap();
    let client = at(&hub, &identity, &own_token(&identity))
        .recovery(Recover::Never)
        .connect()
        .await
        .unwrap();
    hub.stop().await;
    let error = client.send(Message::new("three")).await.unwrap_err();
    assert!(
        matches!(error, SendError::NotSent(_) | SendError::Unknown(_)),
        "{error:?}"
    );
}
