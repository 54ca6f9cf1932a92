//! The file: what is written is there after it is opened again, the log is bounded, and a disk that takes nothing for
//! a while loses nothing and doubles nothing. The disk is a file under the library's own backend, with a switch.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iothub_address::Identity;
use redb::StorageBackend;
use redb::backends::FileBackend;

use super::file::{File, open_database};
use super::restore::open_on;
use super::*;
use crate::clock::Timestamp;
use crate::feed::Older;
use crate::hub::{
    AuthMethod, Authentication, Body, Details, Entry, Event, Keys, LogLimits, Message, Place, Policy, Record,
    Rights, Scope, Sender, Source, Status,
};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn event(number: u64, now: Timestamp) -> Record {
    let device: iothub_address::DeviceId = "dev".parse().unwrap();
    let message = Message {
        body: Body::Data(number.to_string().into()),
        encoded_size: 100,
        ..Message::default()
    };
    Record::Event(Arc::new(Event {
        sender: Sender::new(device.into(), "7".into(), AuthMethod::OwnKey(Scope::Device)),
        partition: 1,
        sequence_number: number,
        offset: number * 100,
        enqueued: now,
        source: Source::Telemetry,
        message,
    }))
}

fn entry() -> Entry {
    // Made-up keys.
    let key = |byte| iothub_sas::SharedKey::from_bytes(&[byte; 32]).unwrap();
    Entry {
        authentication: Authentication::Sas(Keys::new(key(1), key(2))),
        status: Status::Disabled,
        status_updated: None,
        generation_id: "12".into(),
        etag: "MQ==".into(),
        details: Details::default(),
        model_id: None,
    }
}

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn usual(directory: &Path, limits: LogLimits) -> Opened {
    open(directory, None, 4, limits).unwrap()
}

async fn write(opened: &mut Opened, number: u64, now: Timestamp, records: Vec<Record>) -> Report {
    opened.writer.write(Batch { number, now, records });
    opened.writer.report().await.unwrap()
}

fn numbers(opened: &Opened) -> Vec<u64> {
    let (_, events) = opened.archive.read(opened.archive.first(), usize::MAX);
    events.iter().map(|event| event.sequence_number).collect()
}

#[tokio::test]
async fn what_is_written_is_there_when_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = usual(directory.path(), LogLimits::default());
    assert_eq!(opened.log.partitions, [Place::default(); 4]);
    let records = vec![
        event(0, NOW),
        Record::Identity(identity("dev/modules/m"), Some(Box::new(entry()))),
        Record::Identity(identity("dev"), Some(Box::new(entry()))),
        Record::Identity(identity("gone"), Some(Box::new(entry()))),
        event(1, NOW),
    ];
    write(&mut opened, 1, NOW, records).await;
    let policy = Policy {
        keys: Keys::new(
            iothub_sas::SharedKey::from_bytes(&[3; 32]).unwrap(),
            iothub_sas::SharedKey::from_bytes(&[4; 64]).unwrap(),
        ),
        rights: Rights::of_built_in("registryRead").unwrap(),
    };
    let records = vec![
        Record::Identity(identity("gone"), None),
        event(2, NOW),
        Record::Policy("registryRead".parse().unwrap(), Some(Box::new(policy))),
    ];
    write(&mut opened, 2, NOW, records).await;
    opened.writer.close().await;

    let opened = usual(directory.path(), LogLimits::default());
    assert_eq!(numbers(&opened), [0, 1, 2]);
    assert_eq!(
        opened.archive.read(1, 1).1[0].message.body,
        Body::Data("1".into())
    );
    let names: Vec<String> = opened
        .kept
        .identities
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(names, ["dev", "dev/modules/m"]);
    let (_, kept) = &opened.kept.identities[1];
    assert_eq!((kept.status, &*kept.generation_id), (Status::Disabled, "12"));
    let keys = kept.authentication.keys().unwrap();
    assert_eq!(keys.secondary().to_base64().expose(), &*key_text(&[2; 32]));
    let (name, policy) = &opened.kept.policies[0];
    assert_eq!(
        (name.as_str(), policy.rights),
        ("registryRead", Rights::of_built_in("registryRead").unwrap())
    );
    assert_eq!(policy.keys.secondary().to_base64().expose(), &*key_text(&[4; 64]));
    assert_eq!((opened.log.first, opened.log.next), (0, 3));
    let Record::Event(last) = event(2, NOW) else {
        unreachable!()
    };
    assert_eq!(opened.log.partitions[1], Place::behind(&last));
    opened.writer.close().await;
}

fn key_text(bytes: &[u8]) -> String {
    iothub_sas::SharedKey::from_bytes(bytes)
        .unwrap()
        .to_base64()
        .expose()
        .to_owned()
}

#[tokio::test]
async fn the_log_is_bounded_by_number_and_goes_on_counting() {
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits::new(160, usize::MAX);
    let mut opened = usual(directory.path(), limits);
    for batch in 0..50 {
        let events = (batch * 20..(batch + 1) * 20)
            .map(|number| event(number, NOW))
            .collect();
        write(&mut opened, batch + 1, NOW, events).await;
        let kept = numbers(&opened);
        assert_eq!(kept.last(), Some(&((batch + 1) * 20 - 1)));
        assert!(
            kept.len() <= 160 && kept.len() as u64 >= 144.min((batch + 1) * 20),
            "{}",
            kept.len()
        );
        assert!(kept.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }
    opened.writer.close().await;
    let opened = usual(directory.path(), limits);
    assert_eq!(opened.log.next, 1000);
    assert_eq!(opened.log.first, *numbers(&opened).first().unwrap());
    opened.writer.close().await;
}

#[tokio::test]
async fn the_log_is_bounded_in_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = usual(directory.path(), LogLimits::new(usize::MAX, 10_000));
    for number in 0..1000 {
        write(&mut opened, number + 1, NOW, vec![event(number, NOW)]).await;
    }
    opened.writer.close().await;
    let opened = usual(directory.path(), LogLimits::new(usize::MAX, 10_000));
    assert!(
        opened.log.bytes <= 10_000 && opened.log.bytes > 9_000,
        "{}",
        opened.log.bytes
    );
    let size = std::fs::metadata(directory.path().join(STATE_FILE))
        .unwrap()
        .len();
    assert!(size < 4_000_000, "{size}");
    opened.writer.close().await;
}

#[tokio::test]
async fn events_go_for_their_age_and_the_writer_says_when() {
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits::default().with_age(Duration::from_secs(60));
    let mut opened = usual(directory.path(), limits);
    let later = NOW + Duration::from_secs(30);
    write(&mut opened, 1, NOW, vec![event(0, NOW)]).await;
    let report = write(&mut opened, 2, later, vec![event(1, later)]).await;
    let goes = NOW + Duration::from_millis(60_001);
    assert_eq!(
        report,
        Report::Durable {
            through: 2,
            trim_at: Some(goes)
        }
    );
    let report = write(&mut opened, 3, goes, Vec::new()).await;
    assert_eq!(numbers(&opened), [1]);
    let goes = later + Duration::from_millis(60_001);
    assert_eq!(
        report,
        Report::Durable {
            through: 3,
            trim_at: Some(goes)
        }
    );
    // The last one too.
    let report = write(&mut opened, 4, goes, Vec::new()).await;
    assert_eq!(
        report,
        Report::Durable {
            through: 4,
            trim_at: None
        }
    );
    assert_eq!((numbers(&opened), opened.archive.first()), (vec![], 2));
    opened.writer.close().await;
}

/// A file whose writes fail while the switch is on.
#[derive(Debug)]
struct Switched(FileBackend, Arc<AtomicBool>);

impl Switched {
    fn check(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Switched {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.check()?;
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.check()?;
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.check()?;
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.0.close()
    }
}

#[tokio::test]
async fn a_disk_that_was_full_for_a_while_has_each_event_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(STATE_FILE);
    let full = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&full);
    let disk = move || {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let backend = FileBackend::new(file)?;
        open_database(Switched(backend, Arc::clone(&switch)))
    };
    let mut opened = open_on(File::on(disk).unwrap(), None, 4, LogLimits::default()).unwrap();
    write(&mut opened, 1, NOW, vec![event(0, NOW)]).await;
    full.store(true, Ordering::SeqCst);
    let report = write(&mut opened, 2, NOW, vec![event(1, NOW)]).await;
    assert_eq!(report, Report::Failed { through: 2 });
    opened.writer.write(Batch {
        number: 3,
        now: NOW,
        records: vec![event(2, NOW)],
    });
    assert_eq!(opened.writer.report().await, Some(Report::Failed { through: 3 }));
    full.store(false, Ordering::SeqCst);
    // It may have tried once more meanwhile.
    loop {
        match opened.writer.report().await.unwrap() {
            Report::Failed { through: 3 } => {}
            report => {
                assert_eq!(
                    report,
                    Report::Durable {
                        through: 3,
                        trim_at: None
                    }
                );
                break;
            }
        }
    }
    assert_eq!(numbers(&opened), [0, 1, 2]);
    write(&mut opened, 4, NOW, vec![event(3, NOW)]).await;
    opened.writer.close().await;
    let opened = usual(directory.path(), LogLimits::default());
    assert_eq!(numbers(&opened), [0, 1, 2, 3]);
    assert_eq!(opened.log.next, 4);
    opened.writer.close().await;
}

#[tokio::test]
async fn a_state_that_is_in_use_newer_or_of_other_partitions_is_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let opened = usual(directory.path(), LogLimits::default());
    let refused = |partitions| open(directory.path(), partitions, 4, LogLimits::default()).unwrap_err();
    assert!(matches!(refused(None), StateError::InUse(_)));
    opened.writer.close().await;
    let error = refused(Some(8)).to_string();
    assert!(
        error.ends_with(
            "is a hub of 4 partitions, and 8 are asked for: ask for 4, or take another state directory"
        ),
        "{error}"
    );

    let file = directory.path().join(STATE_FILE);
    let database = redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(file::ABOUT)
        .unwrap()
        .insert("version", &3_u32.to_le_bytes()[..])
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refused(None);
    assert!(matches!(error, StateError::Newer { found: 3, .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn a_damaged_file_is_an_error_that_says_what_to_do() {
    for (what, bytes) in [
        ("text", b"Hello World!".repeat(10_000)),
        ("a few bytes", b"redb".to_vec()),
        ("zeros", vec![0; 100_000]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(STATE_FILE);
        std::fs::write(&file, &bytes).unwrap();
        let error = open(directory.path(), None, 4, LogLimits::default()).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{what}: {error:?}");
        assert!(
            error
                .to_string()
                .contains("move it away to begin with an empty hub")
        );
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "{what} was touched");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_state_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("new");
    let opened = usual(&inner, LogLimits::default());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&inner), mode(&inner.join(STATE_FILE))), (0o700, 0o600));
    opened.writer.close().await;
}
