//! The built-in event endpoint, frame by frame (protocol §6.3, §6.4, §15 rows 2, 5, 10, 11).

use iothub_emulator::Emulator;
use iothub_sas::{SharedKey, Signer, UnixTime};
use serde_amqp::Value as Wire;

use crate::cbs::{LATER, NODE_TYPE, attach_pair, put};
use crate::common::{DEVICE, KEY, builder, key};
use crate::pairs::{body, correlation, delivered, entry, grant};
use crate::raw::*;

pub(crate) const PARTITION: &str = "amqps://localhost:5671/tcontehub/ConsumerGroups/$Default/Partitions/0";

/// A hub with one partition, so that all events are in it, and with a policy for services.
pub(crate) async fn hub_of_one_partition() -> Emulator {
    builder()
        .partitions(1)
        .policy("service".parse().unwrap(), key(KEY))
        .consumer_group("other".parse().unwrap())
        .start()
        .await
        .unwrap()
}

/// As clients of Event Hubs sign: with the key's text.
pub(crate) fn event_token(resource: &str) -> String {
    let signer = Signer::new(SharedKey::from_text(KEY).unwrap()).policy("service");
    signer
        .sign(resource, UnixTime::from_secs(LATER))
        .expose()
        .to_owned()
}

/// A client without SASL that has put a token for the events; `$cbs` has the handles 0 and 1.
pub(crate) async fn reader(hub: &Emulator) -> Raw {
    let mut raw = Raw::bare(hub).await;
    attach_pair(&mut raw).await;
    let token = event_token("sb://localhost/tcontehub");
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &token).await.0, 200);
    raw
}

/// What a receiver asks for beside the address.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) filter: Option<Vec<u8>>,
    pub(crate) epoch: Option<i64>,
    pub(crate) metric: bool,
    pub(crate) settles: bool,
}

/// A selector under the descriptor that uamqp writes, or the one that the JavaScript SDK does.
pub(crate) fn selector(by_number: bool, text: &str) -> Vec<u8> {
    let name = "apache.org:selector-filter:string";
    let descriptor = if by_number {
        ulong(0x0000_468c_0000_0004)
    } else {
        symbol(name)
    };
    map(&[(symbol(name), [vec![0], descriptor, string(text)].concat())])
}

/// The fields of a receiver's attach.
pub(crate) fn receiver(handle: u32, address: &str, asked: &Asked) -> Vec<Vec<u8>> {
    let mut fields = attach_fields(handle, &format!("reader {handle}"), true, address, "here");
    if asked.settles {
        fields[3] = vec![0x50, 0];
    }
    if let Some(filter) = &asked.filter {
        let nulls = vec![null(); 6];
        let source = [vec![string(address)], nulls, vec![filter.clone()]].concat();
        fields[5] = described(0x28, &list(&source));
    }
    fields.extend([null(), null()]);
    fields.push(match asked.metric {
        true => symbol("com.microsoft:enable-receiver-runtime-metric"),
        false => null(),
    });
    let long = |value: i64| [&[0x81][..], &value.to_be_bytes()].concat();
    fields.push(match asked.epoch {
        Some(epoch) => map(&[(symbol("com.microsoft:epoch"), long(epoch))]),
        None => null(),
    });
    fields
}

pub(crate) async fn attach_reader(raw: &mut Raw, handle: u32, address: &str, asked: &Asked) {
    raw.send(&frame(0, ATTACH, &receiver(handle, address, asked), b""))
        .await;
    raw.expect_past_flows(ATTACH).await;
}

/// Sends so many messages as the device, the bodies their numbers.
pub(crate) async fn send(hub: &Emulator, count: u32) {
    let mut raw = Raw::attached(hub).await;
    for number in 0..count {
        raw.send(&transfer(
            number,
            false,
            false,
            &data(number.to_string().as_bytes()),
        ))
        .await;
        raw.expect_past_flows(DISPOSITION).await;
    }
}

pub(crate) async fn bodies(raw: &mut Raw, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let (_, sections) = delivered(raw).await;
        bodies.push(String::from_utf8(body(&sections)).unwrap());
    }
    bodies
}

/// Rule 10: a good answer to the attach, then the detach with the redirect in it. Every field stands in §6.3.
#[tokio::test]
async fn a_reader_at_the_hub_is_redirected_in_the_exact_shape() {
    let hub = hub_of_one_partition().await;
    let port = hub.amqps_address().port();
    let mut raw = Raw::silent(&hub).await;
    let token = Signer::new(key(KEY))
        .policy("service")
        .sign("tcontehub.azure-devices.net", UnixTime::from_secs(LATER));
    let outcome = raw.plain("service@sas.root.tcontehub", token.expose()).await;
    assert_eq!(outcome, 0);
    raw.exchange_open().await;
    raw.begin(0).await;
    for (handle, tail) in [
        (0, "$management"),
        (1, "ConsumerGroups/$Default/Partitions/3"),
        (2, "ConsumerGroups/other/Partitions/0"),
    ] {
        let address = format!("amqps://tcontehub.azure-devices.net/messages/events/{tail}");
        let fields = attach_fields(handle, tail, true, &address, "here");
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        let attach = raw.expect(ATTACH).await;
        assert!(
            matches!(attach.field(5), Wire::Described(_)),
            "the source is there: {attach:?}"
        );
        assert_eq!(attach.field(10), &Wire::Ulong(262_144), "max-message-size");
        let detach = raw.expect(DETACH).await;
        assert_eq!(detach.field(0), attach.field(1), "the handle");
        assert_eq!(detach.field(1), &Wire::Bool(true), "closed");
        let Wire::Described(error) = detach.field(2) else {
            panic!("no error: {detach:?}")
        };
        let Wire::List(error) = &error.value else {
            panic!("no list: {detach:?}")
        };
        assert_eq!(error[0], Wire::Symbol("amqp:link:redirect".into()));
        assert_eq!(error[1], Wire::Null, "description");
        let Wire::Map(info) = &error[2] else {
            panic!("no info: {detach:?}")
        };
        let info: Vec<_> = info
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let text = |text: &str| Wire::String(text.to_owned());
        let named = |key: &str| Wire::Symbol(key.into());
        assert_eq!(
            info,
            [
                (named("hostname"), text("localhost")),
                (named("network-host"), text("localhost")),
                (named("port"), Wire::Int(port.into())),
                (
                    named("address"),
                    text(&format!("amqps://localhost:{port}/tcontehub/{tail}"))
                ),
            ]
        );
        raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
            .await;
    }
}

/// Sends a request to `$management` over handle 2; the answer comes over handle 3.
async fn asked(raw: &mut Raw, number: u32, properties: &[(&str, Vec<u8>)]) -> Vec<(u64, Wire)> {
    let properties: Vec<_> = properties
        .iter()
        .map(|(name, value)| (string(name), value.clone()))
        .collect();
    let message = [
        section(0x73, &list(&[ulong(number.into())])),
        section(0x74, &map(&properties)),
        section(0x77, &null()),
    ]
    .concat();
    let tag = binary(&number.to_be_bytes());
    let fields = [
        uint(2),
        uint(number),
        tag,
        uint(0),
        boolean(false),
        boolean(false),
    ];
    raw.send(&frame(0, TRANSFER, &fields, &message)).await;
    let (_, sections) = delivered(raw).await;
    assert_eq!(correlation(&sections), Wire::Ulong(number.into()));
    sections
}

pub(crate) async fn attach_management(raw: &mut Raw) {
    let fields = attach_fields(2, "management", false, "$management", "$management");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect_past_flows(ATTACH).await;
    let fields = attach_fields(3, "management", true, "$management", "$management");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect_past_flows(ATTACH).await;
    grant(raw, 3, 100).await;
}

fn answer(sections: &[(u64, Wire)]) -> Vec<(String, Wire)> {
    match sections.last() {
        Some((0x77, Wire::Map(pairs))) => pairs
            .iter()
            .map(|(key, value)| match key {
                Wire::String(key) => (key.clone(), value.clone()),
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn management_says_what_the_event_hub_is_and_how_far_its_partitions_are() {
    let hub = hub_of_one_partition().await;
    let mut raw = reader(&hub).await;
    attach_management(&mut raw).await;
    let hub_type = string("com.microsoft:eventhub");
    let partition_type = binary(b"com.microsoft:partition");
    let read = string("READ");
    let name = string("tcontehub");
    let said = asked(
        &mut raw,
        1,
        &[
            ("operation", read.clone()),
            ("type", hub_type),
            ("name", name.clone()),
        ],
    )
    .await;
    assert_eq!(entry(&said, 0x74, "status-code"), Some(Wire::Int(200)));
    assert!(matches!(
        entry(&said, 0x74, "status-description"),
        Some(Wire::String(_))
    ));
    let fields = answer(&said);
    let keys: Vec<_> = fields.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        ["name", "type", "created_at", "partition_count", "partition_ids"]
    );
    assert_eq!(fields[0].1, Wire::String("tcontehub".into()));
    assert!(matches!(fields[2].1, Wire::Timestamp(_)));
    assert_eq!(fields[3].1, Wire::Int(1));
    let Wire::Array(ids) = &fields[4].1 else {
        panic!("no array: {fields:?}")
    };
    assert_eq!(ids.iter().collect::<Vec<_>>(), [&Wire::String("0".into())]);

    // As the Python SDK asks: some of the text as bytes.
    let of = |partition: &str| {
        [
            ("operation", binary(b"READ")),
            ("type", partition_type.clone()),
            ("name", name.clone()),
            ("partition", string(partition)),
        ]
    };
    for (number, empty) in [(2, true), (3, false)] {
        if !empty {
            send(&hub, 3).await;
        }
        let fields = answer(&asked(&mut raw, number, &of("0")).await);
        let value = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.clone();
        let (last, offset) = if empty { (-1, "-1") } else { (2, "18") };
        assert_eq!(value("partition"), Wire::String("0".into()));
        assert_eq!(value("begin_sequence_number"), Wire::Long(0));
        assert_eq!(value("last_enqueued_sequence_number"), Wire::Long(last));
        // Each message is a data section of 9 bytes.
        assert_eq!(value("last_enqueued_offset"), Wire::String(offset.into()));
        assert!(matches!(value("last_enqueued_time_utc"), Wire::Timestamp(_)));
        assert_eq!(value("is_partition_empty"), Wire::Bool(empty));
    }
    let refusals = [
        (4, of("1").to_vec(), 400, "com.microsoft:argument-out-of-range"),
        (
            5,
            of("-0")[..].to_vec(),
            400,
            "com.microsoft:argument-out-of-range",
        ),
        (
            6,
            vec![
                ("operation", read.clone()),
                ("type", string("com.microsoft:eventhub")),
                ("name", string("x")),
            ],
            404,
            "amqp:not-found",
        ),
        (
            7,
            vec![("operation", read), ("type", string("x")), ("name", name.clone())],
            400,
            "amqp:not-implemented",
        ),
        (
            8,
            vec![("operation", string("DELETE")), ("name", name.clone())],
            400,
            "amqp:not-implemented",
        ),
    ];
    for (number, properties, status, condition) in refusals {
        let said = asked(&mut raw, number, &properties).await;
        assert_eq!(
            entry(&said, 0x74, "status-code"),
            Some(Wire::Int(status)),
            "{number}"
        );
        assert_eq!(
            entry(&said, 0x74, "error-condition"),
            Some(Wire::Symbol(condition.into())),
            "{number}"
        );
    }
}

#[tokio::test]
async fn an_event_is_what_the_device_sent_with_the_hubs_annotations() {
    let hub = hub_of_one_partition().await;
    let mut device = Raw::attached(&hub).await;
    let own = [
        (symbol("dt-subject"), string("thermostat1")),
        (symbol("x-opt-partition-key"), string("key")),
        // What is the hub's to say.
        (symbol("iothub-connection-device-id"), string("another")),
        (symbol("x-opt-sequence-number"), ulong(99)),
    ];
    let properties = list(&[
        uuid(&[7; 16]),
        binary(b"user"),
        string("to"),
        null(),
        null(),
        ulong(5),
        symbol("text/plain"),
    ]);
    let message = [
        section(0x72, &map(&own)),
        section(0x73, &properties),
        section(0x74, &map(&[(string("n"), uint(7))])),
        section(0x77, &string("a text")),
    ]
    .concat();
    device.send(&transfer(0, false, false, &message)).await;
    device.expect_past_flows(DISPOSITION).await;
    let mut raw = reader(&hub).await;
    attach_reader(&mut raw, 2, PARTITION, &Asked::default()).await;
    grant(&mut raw, 2, 10).await;
    let (transfer, sections) = delivered(&mut raw).await;
    assert_eq!(
        transfer.field(4),
        &Wire::Bool(true),
        "settled, as nothing comes of it"
    );
    let codes: Vec<_> = sections.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0x72, 0x73, 0x74, 0x77]);
    let annotation = |name: &str| entry(&sections, 0x72, name);
    let text = |text: &str| Some(Wire::String(text.into()));
    assert_eq!(annotation("iothub-connection-device-id"), text(DEVICE));
    assert_eq!(annotation("iothub-connection-module-id"), None);
    let method = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;
    assert_eq!(annotation("iothub-connection-auth-method"), text(method));
    assert!(matches!(
        annotation("iothub-connection-auth-generation-id"),
        Some(Wire::String(_))
    ));
    assert!(matches!(
        annotation("iothub-enqueuedtime"),
        Some(Wire::Timestamp(_))
    ));
    assert_eq!(annotation("iothub-message-source"), text("Telemetry"));
    assert_eq!(annotation("x-opt-sequence-number"), Some(Wire::Long(0)));
    assert_eq!(annotation("x-opt-offset"), text("0"));
    assert_eq!(
        annotation("x-opt-enqueued-time"),
        annotation("iothub-enqueuedtime")
    );
    assert_eq!(annotation("x-opt-partition-key"), text("key"));
    assert_eq!(annotation("dt-subject"), text("thermostat1"));
    let Wire::List(properties) = &sections[1].1 else {
        panic!("no properties")
    };
    assert!(matches!(properties[0], Wire::Uuid(_)));
    assert_eq!(properties[5], Wire::Ulong(5));
    assert_eq!(entry(&sections, 0x74, "n"), Some(Wire::Uint(7)));
    assert_eq!(sections[3].1, Wire::String("a text".into()));
    drop(device);
}

/// As Proton comes to Event Hubs: the policy's name and its key.
#[tokio::test]
async fn a_policys_name_and_key_are_enough_by_plain() {
    let hub = hub_of_one_partition().await;
    send(&hub, 1).await;
    let mut raw = Raw::silent(&hub).await;
    assert_eq!(raw.plain("service", KEY).await, 0);
    raw.exchange_open().await;
    raw.begin(0).await;
    attach_reader(&mut raw, 2, PARTITION, &Asked::default()).await;
    grant(&mut raw, 2, 1).await;
    assert_eq!(bodies(&mut raw, 1).await, ["0"]);
    let mut raw = Raw::silent(&hub).await;
    assert_eq!(raw.plain("service", crate::common::OTHER_KEY).await, 2);
}
