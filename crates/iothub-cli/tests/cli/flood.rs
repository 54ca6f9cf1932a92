//! Goal: `events watch` shows each of very many events once, through cuts of its connection, tells what the hub has dropped
//! and nothing else, and takes no more memory for many than for few.
//! Method: devices send numbers into a hub in the test's process, by a way that is never cut; the command reads through a
//! proxy that is. Each number must come once and in order, and the command's standard error be free of alarms.
//! `cargo xtask watch` does it with more: WATCH_EVENTS, WATCH_CUTS and WATCH_MANY are its numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use iothub_address::DeviceId;
use iothub_amqp::{Batching, DeviceClient, Message};
use iothub_emulator::{Builder, Emulator, LogLimits};
use iothub_sas::SharedKey;
use iothub_tests::proxy::TestProxy;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::harness::{Cli, Ran, Running, iothub, key};

const DEVICES: usize = 8;
const PARTITIONS: u16 = 4;

/// A hub, devices that are connected to it, and a way to it that can be cut.
struct World {
    runtime: Runtime,
    emulator: Emulator,
    devices: Vec<DeviceClient>,
    proxy: TestProxy,
    scratch: tempfile::TempDir,
}

impl World {
    fn new(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let runtime = Runtime::new().unwrap();
        let policy = SharedKey::from_bytes(&[3; 32]).unwrap();
        let builder = Emulator::builder()
            .hub("myhub".parse().unwrap())
            .amqps_port(0)
            .https_port(None)
            .partitions(PARTITIONS)
            .policy("service".parse().unwrap(), policy);
        let ids: Vec<DeviceId> = (0..DEVICES)
            .map(|number| format!("d{number}").parse().unwrap())
            .collect();
        let builder = ids.iter().fold(settings(builder), |builder, id| {
            builder.device_key(id.clone(), key())
        });
        let emulator = runtime.block_on(builder.start()).unwrap();
        let devices = ids
            .into_iter()
            .map(|id| runtime.block_on(connect(&emulator, id)))
            .collect();
        let proxy = runtime.block_on(TestProxy::start(None));
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("ca.pem"), emulator.root_certificate_pem()).unwrap();
        Self {
            runtime,
            emulator,
            devices,
            proxy,
            scratch,
        }
    }

    fn watch(&self) -> Cli {
        let policy = "service".parse().unwrap();
        let string = self.emulator.policy_connection_string(&policy);
        iothub(["events", "watch", "--since", "start", "-o", "json", "--proxy"])
            .arg(format!("http://{}", self.proxy.address))
            .env(
                "IOTHUB_SERVICE_CONNECTION_STRING",
                self.runtime.block_on(string).unwrap().expose(),
            )
            .env("IOTHUB_CA_FILE", self.scratch.path().join("ca.pem"))
    }

    /// Each device sends so many numbers more. It goes on beside the test.
    fn send(&self, each: u64, sent: &mut u64) -> Vec<tokio::task::JoinHandle<()>> {
        let numbers = *sent..*sent + each;
        *sent += each;
        let devices = self.devices.iter().cloned();
        devices
            .map(|device| self.runtime.spawn(send(device, numbers.clone())))
            .collect()
    }

    fn until_sent(&self, sending: Vec<tokio::task::JoinHandle<()>>) {
        for device in sending {
            self.runtime.block_on(device).unwrap();
        }
    }

    /// The last sequence number of each partition that has any.
    fn ends(&self) -> BTreeMap<u64, i64> {
        let log = self.emulator.journal().snapshot();
        log.iter()
            .map(|event| {
                (
                    u64::from(event.partition),
                    i64::try_from(event.sequence_number).unwrap(),
                )
            })
            .collect()
    }
}

async fn connect(emulator: &Emulator, id: DeviceId) -> DeviceClient {
    let string = emulator.connection_string(&id.into()).await.unwrap();
    DeviceClient::with(&string)
        .unwrap()
        .root_certificate(emulator.root_certificate_der().to_vec().into())
        .batching(Batching::On)
        .connect()
        .await
        .unwrap()
}

async fn send(device: DeviceClient, numbers: std::ops::Range<u64>) {
    let numbers: Vec<_> = numbers.collect();
    for some in numbers.chunks(AT_ONCE) {
        let tickets: Vec<_> = some
            .iter()
            .map(|number| device.enqueue(Message::new(number.to_string())).unwrap())
            .collect();
        for ticket in tickets {
            ticket.await.unwrap();
        }
    }
}

/// What was shown, each line held against what must come next.
#[derive(Default)]
struct Shown {
    count: u64,
    numbers: BTreeMap<String, u64>,
    partitions: BTreeMap<u64, i64>,
}

impl Shown {
    fn take(&mut self, line: &Value) {
        let device = line["device"].as_str().unwrap();
        let number: u64 = match &line["body"] {
            Value::String(text) => text.parse().unwrap(),
            other => panic!("{other}"),
        };
        let next = self.numbers.entry(device.to_owned()).or_default();
        assert_eq!(number, *next, "{line}");
        *next += 1;
        let next = self
            .partitions
            .entry(line["partition"].as_u64().unwrap())
            .or_default();
        assert_eq!(line["seq"].as_i64().unwrap(), *next, "{line}");
        *next += 1;
        self.count += 1;
    }

    fn take_until(&mut self, count: u64, watching: &mut Running) {
        while self.count < count {
            self.take(&watching.json_within(WITHIN));
        }
    }
}

/// Ends the watch, which must not have shown anything more.
fn end(watching: Running) -> Ran {
    watching.signal("INT");
    let ran = watching.end().expect_code(130);
    assert_eq!(ran.stdout, "");
    ran
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn cuts_of_its_connection_lose_no_event_and_show_none_twice() {
    let (events, cuts) = (number("WATCH_EVENTS", 6_000), number("WATCH_CUTS", 3));
    let world = World::new(|builder| builder.journal_limits(LogLimits::new(usize::MAX, LOG)));
    let mut watching = world.watch().start();
    let (mut shown, mut sent) = (Shown::default(), 0);
    let devices = DEVICES as u64;
    let each = events / cuts / devices;
    // Before the first cut it has connected once.
    world.until_sent(world.send(1, &mut sent));
    shown.take_until(devices, &mut watching);
    for cut in 1..=cuts {
        // Somewhere among what these make it send, or in the handshakes before.
        let bytes = 10_007 * cut % (each * devices * BYTES);
        world.proxy.cut_after(usize::try_from(bytes).unwrap());
        let sending = world.send(each, &mut sent);
        let cut = async { tokio::time::timeout(WITHIN, world.proxy.until_cut(cut)).await };
        world
            .runtime
            .block_on(cut)
            .expect("it connects, and reads until it is cut");
        world.until_sent(sending);
    }
    // What came late or again would come before these.
    world.until_sent(world.send(1, &mut sent));
    shown.take_until(sent * devices, &mut watching);
    let ran = end(watching);
    assert_eq!(world.ends().len(), usize::from(PARTITIONS));
    let told = |what: &str| ran.stderr.lines().filter(|line| line.contains(what)).count() as u64;
    assert!(told("connection lost") > 0, "{}", ran.stderr);
    // Neither missing nor again.
    assert_eq!(told("warning"), 0, "{}", ran.stderr);
    println!("{} events were each shown once, through {cuts} cuts", shown.count);
}

#[test]
fn what_the_hub_has_dropped_meanwhile_is_told_to_the_number() {
    let world = World::new(|builder| builder.journal_limits(LogLimits::new(2_000, LOG)));
    let mut watching = world.watch().start();
    let (mut shown, mut sent) = (Shown::default(), 0);
    world.until_sent(world.send(20, &mut sent));
    shown.take_until(sent * DEVICES as u64, &mut watching);
    world.proxy.down();
    world.until_sent(world.send(1_000, &mut sent));
    world.proxy.up();
    let ends = world.ends();
    let mut next = shown.partitions;
    // By the partition: what was not shown, up to and without the second number.
    let mut holes = Vec::new();
    while ends
        .iter()
        .any(|(partition, last)| next.get(partition).is_none_or(|next| next <= last))
    {
        let line = watching.json_within(WITHIN);
        let partition = line["partition"].as_u64().unwrap();
        let seq = line["seq"].as_i64().unwrap();
        let expected = next.insert(partition, seq + 1).unwrap_or_default();
        if seq != expected {
            holes.push((partition, expected, seq));
        }
    }
    let ran = end(watching);
    holes.sort_unstable();
    let mut told: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning: "))
        .map(|line| {
            let numbers: Vec<i64> = line
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect();
            let [count, partition, first, last] = numbers[..] else {
                panic!("{line}");
            };
            assert_eq!(count, last - first + 1, "{line}");
            (u64::try_from(partition).unwrap(), first, last + 1)
        })
        .collect();
    told.sort_unstable();
    assert!(!holes.is_empty(), "the hub has dropped nothing");
    assert_eq!(told, holes, "{}", ran.stderr);
}

#[test]
fn many_events_take_no_more_memory_than_few() {
    let many = number("WATCH_MANY", 20_000);
    let world = World::new(|builder| builder);
    let mut watching = world.watch().start();
    let (mut shown, mut sent) = (Shown::default(), 0);
    let devices = DEVICES as u64;
    let mut peaks = Vec::new();
    for part in [many / 10, many] {
        while sent * devices < part {
            // The hub's log is bounded too.
            let sending = world.send((part / 10).min(10_000) / devices + 1, &mut sent);
            world.until_sent(sending);
            shown.take_until(sent * devices, &mut watching);
        }
        peaks.push(watching.peak_memory());
    }
    end(watching);
    println!(
        "{} events: {} KiB at most, of which {} after a tenth of them",
        shown.count, peaks[1], peaks[0]
    );
    assert!(peaks[1] < peaks[0] + GROWTH, "{peaks:?} KiB");
}

/// In bytes: all that is sent.
const LOG: usize = 1 << 30;

/// Who is cut again and again waits for up to a minute before it tries again.
const WITHIN: Duration = Duration::from_secs(3 * 60);

/// An event has more of them on the wire.
const BYTES: u64 = 200;

/// How many messages of a device are on their way at a time.
const AT_ONCE: usize = 500;

/// Of the process, in KiB: what an allocator may have come to.
const GROWTH: u64 = 8 * 1024;
