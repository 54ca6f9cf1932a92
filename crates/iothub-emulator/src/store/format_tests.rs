//! What stands in the file, byte by byte: what an earlier program wrote must be read, and what is written must be what
//! an earlier program reads. The JSON is written by hand; the rest was put together by hand from postcard's wire format
//! (<https://postcard.jamesmunns.com/wire-format>), not taken from what this program wrote.

use std::path::Path;
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::file::{self, ABOUT, CHUNKS, FEEDBACK, IDENTITIES, LOG, MAILBOXES, MESSAGES, POLICIES, TWINS};
use super::*;
use crate::clock::Timestamp;
use crate::feed::Older;
use crate::hub::{
    Ack, AuthMethod, Authentication, Body, Event, Fate, Feedback, LogLimits, Message, MessageId, Record,
    Rights, Scope, Sender, Source, Status, Value, Waiting,
};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// By its name, its bytes.
const ABOUT_ROWS: [(&str, &str); 2] = [("version", "02000000"), ("log", "07086202000008e012")];
const ENTRIES: [(&str, &str); 4] = [
    (
        "ca",
        r#"{"authentication":{"type":"certificateAuthority"},"status":"enabled","generationId":"1","etag":"MQ==","statusReason":"new","iotEdge":true,"deviceScope":"ms-azure-iot-edge://ca-1","parentScopes":["ms-azure-iot-edge://up-2"]}"#,
    ),
    (
        "dev",
        r#"{"authentication":{"type":"sas","primary":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","secondary":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="},"status":"disabled","generationId":"12","etag":"NTY3NzA5OTQz"}"#,
    ),
    (
        "dev/modules/m",
        r#"{"authentication":{"type":"none"},"status":"enabled","generationId":"13","etag":"NTY3NzA5OTQz"}"#,
    ),
    (
        "x509",
        r#"{"authentication":{"type":"selfSigned","primary":"FE05BCDCDC4928012781A5F1A2A77CBB5398E106","secondary":null},"status":"enabled","generationId":"14","etag":"NTY3NzA5OTQz"}"#,
    ),
];
const POLICY: &str = r#"{"keys":{"primary":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","secondary":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="},"registryRead":false,"registryWrite":false,"serviceConnect":true,"deviceConnect":false}"#;
const TWIN: &str = r#"{"tags":{"floor":3},"desired":{"values":{"b":1,"a":{"x":null}},"metadata":{"$lastUpdated":"2023-11-14T22:13:20.0000000Z","$lastUpdatedVersion":2},"version":2},"reported":{"values":{},"metadata":{},"version":1},"version":4,"etag":3}"#;
const EVENT: &str = "0364657602313200000107b41080a0abfef962000103026d310001212f646576696365732f6465762f6d657373616765732f646576696365626f756e6400000000000000000000010a696f746875622d61636b130466756c6c0001026869ac02bc05";
const MESSAGE: &str = "0380a0abfef96280dae281fa6202010103026d310001212f646576696365732f6465762f6d657373616765732f646576696365626f756e6400000000000000000000010a696f746875622d61636b130466756c6c0001026869ac02bc05";
const FATE: &str = "026d3180a0abfef962030d6465762f6d6f64756c65732f6d023132";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn message() -> Message {
    let mut message = Message {
        application_properties: vec![("iothub-ack".to_owned(), Value::from("full"))],
        body: Body::Data("hi".into()),
        encoded_size: 300,
        weight: 700,
        ..Message::default()
    };
    message.properties.message_id = Some(MessageId::String("m1".to_owned()));
    message.properties.to = Some("/devices/dev/messages/devicebound".to_owned());
    message
}

fn event() -> Event {
    let device: iothub_address::DeviceId = "dev".parse().unwrap();
    Event {
        sender: Sender::new(device.into(), "12".into(), AuthMethod::OwnKey(Scope::Device)),
        partition: 1,
        sequence_number: 7,
        offset: 2100,
        enqueued: NOW,
        source: Source::Telemetry,
        message: message(),
    }
}

fn feedback() -> Feedback {
    Feedback {
        original_message_id: "m1".to_owned(),
        time: NOW,
        fate: Fate::Rejected,
        identity: "dev/modules/m".parse().unwrap(),
        generation_id: "12".into(),
    }
}

/// Puts a file there with these bytes in it.
fn put(directory: &Path) {
    let database = redb::Database::create(directory.join(STATE_FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    let rows = |table: TableDefinition<'_, &'static str, &'static [u8]>, rows: &[(&'static str, Vec<u8>)]| {
        let mut table = transaction.open_table(table).unwrap();
        for (key, value) in rows {
            table.insert(*key, &value[..]).unwrap();
        }
    };
    rows(ABOUT, &ABOUT_ROWS.map(|(key, hex)| (key, bytes(hex))));
    rows(IDENTITIES, &ENTRIES.map(|(key, json)| (key, json.into())));
    rows(POLICIES, &[("service", POLICY.into())]);
    rows(TWINS, &[("dev", TWIN.into())]);
    let mut log = transaction.open_table(LOG).unwrap();
    log.insert(7, &bytes(EVENT)[..]).unwrap();
    let mut chunks = transaction.open_table(CHUNKS).unwrap();
    chunks.insert(7, (1, 98, NOW.as_millis())).unwrap();
    let mut mailboxes = transaction.open_table(MAILBOXES).unwrap();
    mailboxes.insert("dev", 41).unwrap();
    let mut messages = transaction.open_table(MESSAGES).unwrap();
    messages.insert(("dev", 41), &bytes(MESSAGE)[..]).unwrap();
    let mut fates = transaction.open_table(FEEDBACK).unwrap();
    fates.insert(5, &bytes(FATE)[..]).unwrap();
    drop((log, chunks, mailboxes, messages, fates));
    transaction.commit().unwrap();
}

#[tokio::test]
async fn what_an_earlier_program_wrote_is_read() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path());
    let opened = open(directory.path(), None, 4, LogLimits::default()).unwrap();
    assert_eq!(opened.log.partitions.len(), 2);
    assert_eq!((opened.log.first, opened.log.next, opened.log.bytes), (7, 8, 98));
    assert_eq!(opened.log.partitions[1], crate::hub::Place::behind(&event()));
    assert_eq!(opened.archive.read(7, 10), (7, vec![Arc::new(event())]));

    let kept = &opened.kept;
    let identities: Vec<_> = kept
        .identities
        .iter()
        .map(|(name, entry)| {
            let type_name = entry.authentication.type_name();
            (name.to_string(), type_name, entry.status, &*entry.generation_id)
        })
        .collect();
    let expected = [
        ("ca", "certificateAuthority", Status::Enabled, "1"),
        ("dev", "sas", Status::Disabled, "12"),
        ("dev/modules/m", "none", Status::Enabled, "13"),
        ("x509", "selfSigned", Status::Enabled, "14"),
    ];
    assert_eq!(
        identities,
        expected.map(|(name, kind, status, generation)| (name.to_owned(), kind, status, generation))
    );
    let details = &kept.identities[0].1.details;
    assert_eq!(details.status_reason.as_deref(), Some("new"));
    assert!(details.iot_edge && !kept.identities[1].1.details.iot_edge);
    assert_eq!(details.device_scope.as_deref(), Some("ms-azure-iot-edge://ca-1"));
    assert_eq!(details.parent_scopes, ["ms-azure-iot-edge://up-2".into()]);
    let Authentication::SelfSigned(thumbprints) = &kept.identities[3].1.authentication else {
        panic!("no thumbprints")
    };
    assert_eq!(
        thumbprints.primary().to_string(),
        "FE05BCDCDC4928012781A5F1A2A77CBB5398E106"
    );
    assert_eq!(kept.policies[0].1.rights, Rights::of_built_in("service").unwrap());
    let (name, twin) = &kept.twins[0];
    assert_eq!(name.to_string(), "dev");
    assert_eq!(
        twin.to_json(),
        serde_json::json!({
            "etag": "AAAAAAAAAAM=",
            "version": 4,
            "tags": {"floor": 3},
            "properties": {
                "desired": {
                    "b": 1,
                    "a": {"x": null},
                    "$metadata": {"$lastUpdated": "2023-11-14T22:13:20.0000000Z", "$lastUpdatedVersion": 2},
                    "$version": 2,
                },
                "reported": {"$metadata": {}, "$version": 1},
            },
        })
    );
    assert_eq!(kept.mailboxes, [("dev".parse().unwrap(), 41)]);
    let (name, waiting) = &kept.messages[0];
    assert_eq!((name.to_string(), waiting.number), ("dev".to_owned(), 41));
    assert!(waiting.was_locked);
    let waiting = &waiting.waiting;
    assert_eq!(
        (
            &waiting.message,
            waiting.ack,
            waiting.enqueued,
            waiting.expires,
            waiting.delivery_count
        ),
        (
            &message(),
            Ack::Full,
            NOW,
            Timestamp::from_seconds(1_700_003_600),
            2
        )
    );
    assert_eq!(opened.feedback, [(5, Arc::new(feedback()))]);
    opened.writer.close().await;
}

#[tokio::test]
async fn what_is_read_is_written_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path());
    let opened = open(directory.path(), None, 4, LogLimits::default()).unwrap();
    let kept = opened.kept;
    let mut records = Vec::new();
    for (name, entry) in kept.identities {
        records.push(Record::Identity(name, Some(Box::new(entry))));
    }
    for (name, policy) in kept.policies {
        records.push(Record::Policy(name, Some(Box::new(policy))));
    }
    for (name, twin) in kept.twins {
        records.push(Record::Twin(name, Some(Box::new(twin))));
    }
    for (name, last) in kept.mailboxes {
        records.push(Record::Mailbox(name, Some(last)));
    }
    for (name, message) in kept.messages {
        records.push(Record::Message(
            name,
            message.number,
            Some(Box::new(message.waiting)),
        ));
    }
    for (place, feedback) in opened.feedback {
        let first = place;
        records.push(Record::Feedback {
            place,
            feedback,
            first,
        });
    }
    records.push(Record::Event(Arc::new(event())));
    let mut writer = opened.writer;
    writer.write(Batch {
        number: 1,
        now: NOW,
        records,
    });
    writer.report().await.unwrap();
    writer.close().await;

    let database = redb::Database::open(directory.path().join(STATE_FILE)).unwrap();
    let transaction = database.begin_read().unwrap();
    let rows = |table| {
        let table: redb::ReadOnlyTable<&str, &[u8]> = transaction.open_table(table).unwrap();
        let rows: Vec<(String, Vec<u8>)> = table
            .iter()
            .unwrap()
            .map(|row| row.unwrap())
            .map(|(key, value)| (key.value().to_owned(), value.value().to_owned()))
            .collect();
        rows
    };
    let expected = |rows: &[(&str, &str)]| -> Vec<(String, Vec<u8>)> {
        rows.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect()
    };
    assert_eq!(rows(IDENTITIES), expected(&ENTRIES));
    assert_eq!(rows(POLICIES), expected(&[("service", POLICY)]));
    assert_eq!(rows(TWINS), expected(&[("dev", TWIN)]));
    let messages = transaction.open_table(MESSAGES).unwrap();
    // No lock outlives the hub that gave it.
    let mut ready = bytes(MESSAGE);
    assert_eq!(std::mem::replace(&mut ready[14], 0), 1);
    assert_eq!(messages.get(("dev", 41)).unwrap().unwrap().value(), ready);
    let fates = transaction.open_table(FEEDBACK).unwrap();
    assert_eq!(fates.get(5).unwrap().unwrap().value(), bytes(FATE));
    let log = transaction.open_table(LOG).unwrap();
    assert_eq!(log.get(8).unwrap().unwrap().value(), bytes(EVENT));
    let mailboxes = transaction.open_table(MAILBOXES).unwrap();
    assert_eq!(mailboxes.get("dev").unwrap().unwrap().value(), 41);
}

#[test]
fn a_lock_is_written_down() {
    let mut mailbox = crate::hub::Mailbox::default();
    let expires = Timestamp::from_seconds(1_700_003_600);
    mailbox.put(message(), Ack::Full, expires, NOW).unwrap();
    mailbox.lock([0; 16], expires, 1, NOW).unwrap();
    let mut locked: Waiting = mailbox.get(1).unwrap().clone();
    locked.delivery_count = 2;
    assert_eq!(form::write_message(&locked).unwrap(), bytes(MESSAGE));
}

/// Before an identity had an ETag and what goes with it.
#[test]
fn an_identity_of_an_older_program_is_read() {
    let old = br#"{"authentication":{"type":"none"},"status":"enabled","generationId":"13"}"#;
    let entry = form::read_entry(old).unwrap();
    // A 0, in base64.
    assert_eq!(&*entry.etag, "MA==");
    assert_eq!(entry.details, crate::hub::Details::default());
}

/// Version 1 had the first five tables.
#[tokio::test]
async fn a_file_of_version_1_is_made_one_of_this_version() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path());
    let file = directory.path().join(STATE_FILE);
    let database = redb::Database::open(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.delete_table(TWINS).unwrap();
    transaction.delete_table(MAILBOXES).unwrap();
    transaction.delete_table(MESSAGES).unwrap();
    transaction.delete_table(FEEDBACK).unwrap();
    let one = 1_u32.to_le_bytes();
    transaction
        .open_table(ABOUT)
        .unwrap()
        .insert("version", &one[..])
        .unwrap();
    transaction.commit().unwrap();
    drop(database);

    let opened = open(directory.path(), None, 4, LogLimits::default()).unwrap();
    assert_eq!(opened.kept.identities.len(), 4);
    assert_eq!(opened.log.next, 8);
    assert_eq!((opened.kept.twins.len(), opened.kept.messages.len()), (0, 0));
    opened.writer.close().await;
    let database = file::open_database(
        redb::backends::FileBackend::new(
            std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&file)
                .unwrap(),
        )
        .unwrap(),
    )
    .unwrap();
    let about = database.begin_read().unwrap().open_table(ABOUT).unwrap();
    assert_eq!(about.get("version").unwrap().unwrap().value(), [2, 0, 0, 0]);
}
