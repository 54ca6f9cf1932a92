//! Goal: readers of the built-in event endpoint get every event once and in order, from wherever they begin, while memory
//! and disk stay within the hub's bound.
//!
//! Method: a device a partition sends its share over AMQP, each body its number; then, for each partition, three readers on
//! the engine's own client read at once, from the start, from a sequence number and from a time. `cargo xtask events` runs
//! it with a million events, as release; by itself it has fewer.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::path::Path;
use std::time::{Duration, Instant};

use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::{Connection, Receiver, Session};
use fe2o3_amqp_types::messaging::{Body, Source};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use iothub_address::DeviceId;
use iothub_amqp::{Batching, DeviceClient, EnqueueError, Message};
use iothub_emulator::{Emulator, LogLimits, STATE_FILE};
use iothub_sas::SharedKey;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use tokio::task::JoinSet;

const PARTITIONS: u16 = 4;
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The bound of the log, in bytes of the file: what `iothub emulator run` has when it is told nothing.
const BOUND: usize = 256 * 1024 * 1024;
/// What a hub, twelve readers and their client may have in memory together, in bytes, however long the log is.
const MEMORY: u64 = 512 * 1024 * 1024;

fn events() -> u64 {
    match std::env::var("EVENTS") {
        Ok(text) => text.parse().expect("EVENTS is a number"),
        Err(_) => 20_000,
    }
}

/// Where the hub puts a device's events, by its documentation: FNV-1a, 64 bits.
fn partition_of(id: &str) -> u64 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash % u64::from(PARTITIONS)
}

/// A device for each partition, by the partition.
fn devices() -> Vec<DeviceId> {
    (0..u64::from(PARTITIONS))
        .map(|partition| {
            let mut ids = (0..).map(|number| format!("sensor-{number}"));
            ids.find(|id| partition_of(id) == partition)
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

async fn hub(directory: &Path, limits: LogLimits) -> Emulator {
    let mut builder = Emulator::builder()
        .hub("tcontehub".parse().unwrap())
        .amqp_port(0)
        .state_dir(directory)
        .partitions(PARTITIONS)
        .journal_limits(limits)
        .policy("service".parse().unwrap(), SharedKey::from_base64(KEY).unwrap());
    for device in devices() {
        builder = builder.device(device, None);
    }
    builder.start().await.unwrap()
}

/// The device sends the numbers of this range, each as a body of ten digits.
async fn send(hub: &Emulator, device: DeviceId, numbers: std::ops::Range<u64>) {
    let string = hub.connection_string(&device.into()).await.unwrap();
    let client = DeviceClient::with(&string)
        .unwrap()
        .root_certificate(hub.root_certificate_der().to_vec().into())
        .batching(Batching::On)
        .connect()
        .await
        .unwrap();
    let mut waiting = std::collections::VecDeque::new();
    for number in numbers {
        let body = format!("{number:010}");
        loop {
            match client.enqueue(Message::new(body.clone())) {
                Ok(ticket) => break waiting.push_back(ticket),
                Err(EnqueueError::QueueFull) => {
                    let oldest: iothub_amqp::Ticket = waiting.pop_front().unwrap();
                    oldest.await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    for ticket in waiting {
        ticket.await.unwrap();
    }
    client.close().await.unwrap();
}

/// Reads a partition behind this selector, and sees that each number comes once and in order, from `first` to the end.
async fn read(address: String, partition: u16, selector: String, first: u64, end: u64) {
    let mut connection = Connection::builder()
        .container_id("reader")
        .hostname("localhost")
        .sasl_profile(SaslProfile::Plain {
            username: "service".to_owned(),
            password: KEY.to_owned(),
        })
        .open(&address[..])
        .await
        .unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let filter = "apache.org:selector-filter:string";
    let described = Described {
        descriptor: Descriptor::Name(Symbol::from(filter)),
        value: Value::String(selector.clone()),
    };
    let source = Source::builder()
        .address(format!(
            "tcontehub/ConsumerGroups/$Default/Partitions/{partition}"
        ))
        .add_to_filter(Symbol::from(filter), described)
        .build();
    let mut receiver = Receiver::builder()
        .name(format!("reader {partition} {selector}"))
        .source(source)
        .credit_mode(CreditMode::Manual)
        .attach(&mut session)
        .await
        .unwrap();
    let mut credit = 0;
    for number in first..end {
        if credit == 0 {
            receiver.set_credit(CREDIT).await.unwrap();
            credit = CREDIT;
        }
        let received = receiver.recv::<Body<Value>>();
        // Only so that a test that fails ends.
        let delivery = tokio::time::timeout(Duration::from_secs(60), received).await;
        let delivery = delivery.expect("no event comes").unwrap();
        credit -= 1;
        let annotations = delivery.message().message_annotations.as_ref().unwrap();
        let stamped = annotations.iter().find_map(|(key, value)| match value {
            Value::Long(number) if format!("{key:?}").contains("x-opt-sequence-number") => Some(*number),
            _ => None,
        });
        assert_eq!(
            stamped,
            Some(i64::try_from(number).unwrap()),
            "{partition} {selector}"
        );
        let body = format!("{:?}", delivery.body());
        let digits = body_digits(delivery.body()).unwrap_or_else(|| panic!("{body}"));
        assert_eq!(digits, format!("{number:010}"), "{partition} {selector}");
    }
    // Nothing comes behind the last.
    receiver.set_credit(1).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(200), receiver.recv::<Body<Value>>()).await;
    assert!(
        more.is_err(),
        "{partition} {selector}: something comes behind the last"
    );
    drop((receiver, session, connection));
}

fn body_digits(body: &Body<Value>) -> Option<String> {
    match body {
        Body::Data(batch) => {
            let bytes: Vec<u8> = batch.iter().flat_map(|data| data.0.iter().copied()).collect();
            String::from_utf8(bytes).ok()
        }
        _ => None,
    }
}

/// What the process has had in memory at most, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_at_three_positions_get_every_event_once_and_in_order() {
    let each = events() / u64::from(PARTITIONS);
    let directory = tempfile::tempdir().unwrap();
    let hub = hub(directory.path(), LogLimits::new(usize::MAX, BOUND)).await;
    let began = Instant::now();
    // Two halves, a second of the hub's clock between them.
    let mut times = Vec::new();
    for half in [0..each / 2, each / 2..each] {
        let sending = devices()
            .into_iter()
            .map(|device| send(&hub, device, half.clone()));
        futures_util::future::join_all(sending).await;
        times.push(hub.now().await.unwrap().as_millis());
        hub.turn_clock(Duration::from_secs(1)).await.unwrap();
    }
    let (time, written) = (times[0], began.elapsed());

    let began = Instant::now();
    let address = format!("amqp://{}", hub.amqp_address().unwrap());
    let three_quarters = each * 3 / 4;
    let mut readers = JoinSet::new();
    for partition in 0..PARTITIONS {
        for (selector, first) in [
            ("amqp.annotation.x-opt-offset > '-1'".to_owned(), 0),
            (
                format!("amqp.annotation.x-opt-sequence-number >= '{three_quarters}'"),
                three_quarters,
            ),
            (
                format!("amqp.annotation.x-opt-enqueued-time > '{time}'"),
                each / 2,
            ),
        ] {
            readers.spawn(read(address.clone(), partition, selector, first, each));
        }
    }
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    let deliveries = u64::from(PARTITIONS) * (each + (each - three_quarters) + (each - each / 2));
    let read = began.elapsed();
    let file = std::fs::metadata(directory.path().join(STATE_FILE))
        .unwrap()
        .len();
    println!(
        "{} events written in {written:.1?}; {deliveries} delivered to 12 readers in {read:.1?}; the file has {} MiB, the \
         process had {} MiB",
        each * u64::from(PARTITIONS),
        file / 1024 / 1024,
        peak_memory() / 1024 / 1024,
    );
    assert!(peak_memory() < MEMORY, "{} bytes", peak_memory());
    // The database has pages of its own beside the log, and frees none to the system.
    assert!(file < 2 * BOUND as u64, "{file} bytes");
    hub.stop().await;
}

/// A log that holds a part of what was written: readers get that part, from its first event on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bound_has_driven_out_is_gone_and_all_else_is_read() {
    let each = 5_000;
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits::new(8_000, BOUND);
    let hub = hub(directory.path(), limits).await;
    let sending = devices().into_iter().map(|device| send(&hub, device, 0..each));
    futures_util::future::join_all(sending).await;
    let kept = hub.journal().snapshot();
    // A chunk at most is dropped too many, a chunk at most is kept too many.
    assert!((7_000..=9_000).contains(&kept.len()), "{}", kept.len());
    let address = format!("amqp://{}", hub.amqp_address().unwrap());
    for partition in 0..PARTITIONS {
        // One bound for all: of a partition that was quiet at the end there may be nothing.
        let first = kept.iter().find(|event| event.partition == partition);
        let first = first.map_or(each, |event| event.sequence_number);
        let start = "amqp.annotation.x-opt-offset > '-1'".to_owned();
        read(address.clone(), partition, start, first, each).await;
    }
    hub.stop().await;
}

const CREDIT: u32 = 1_000;
