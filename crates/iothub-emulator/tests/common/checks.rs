//! What holds for any bytes whatever that a client sends: shared by the corpus and the fuzz target.
//!
//! The first byte of an input says how the client comes and goes, see [`Manner`]; all others are what it says once it is
//! as far as that.
#![allow(dead_code, unreachable_pub, reason = "each user takes what it needs")]
#![allow(clippy::unwrap_used, reason = "what is not to be had fails the check")]

#[path = "checks/frames.rs"]
mod frames;

use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use iothub_emulator::{CloudMessage, Emulator, Keys, ManualClock, MethodCall, Notice, Timestamp, What};
use iothub_sas::{SharedKey, Signer, UnixTime};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// The hub ends the connection, lets go of all that it held, and serves another client; nothing panics, nothing waits
/// for ever, and no more memory is used than so few bytes may cost.
pub fn connection(bytes: &[u8]) {
    count_panics();
    let before = PANICS.load(Ordering::SeqCst);
    let Some((&first, said)) = bytes.split_first() else {
        return;
    };
    let manner = Manner::of(first);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let clock = ManualClock::new(Timestamp::from_seconds(NOW));
    let hub = Arc::new(runtime.block_on(hub(clock)));
    let used = allocation_counter::measure(|| {
        runtime.block_on(async {
            let meeting = timeout(LONGEST, meet(&hub, manner, said));
            meeting.await.expect("the hub does not let go of the connection");
            let serving = timeout(LONGEST, serve_witness(&hub));
            serving.await.expect("the hub does not serve another client");
        });
    });
    let hub = Arc::into_inner(hub).unwrap();
    runtime
        .block_on(async { timeout(LONGEST, hub.stop()).await })
        .expect("the hub does not stop");
    assert!(used.bytes_max < MOST_MEMORY, "{} bytes of memory", used.bytes_max);
    assert_eq!(PANICS.load(Ordering::SeqCst), before, "a task panicked");
}

/// How a client comes and goes.
#[derive(Clone, Copy)]
struct Manner {
    /// What it has done before it says the input, from nothing to all links.
    depth: u8,
    /// The input is a run of bodies, each behind its channel (1 byte) and length (2 bytes), and becomes frames; else it
    /// is said as it is.
    framed: bool,
    /// At its end it is silent, and does not end the stream.
    stays: bool,
    /// It reads nothing.
    is_deaf: bool,
    /// It says 7 bytes at a time.
    halting: bool,
    /// An hour passes when all is said: tokens end, locks too.
    late: bool,
}

impl Manner {
    const fn of(byte: u8) -> Self {
        Self {
            depth: byte & 7,
            framed: byte & 8 != 0,
            stays: byte & 16 != 0,
            is_deaf: byte & 32 != 0,
            halting: byte & 64 != 0,
            late: byte & 128 != 0,
        }
    }
}

async fn hub(clock: ManualClock) -> Emulator {
    let keys = || Keys::new(key(), key());
    let hub = Emulator::builder()
        .hub("hub".parse().unwrap())
        .clock(clock)
        .device("d".parse().unwrap(), keys())
        .device("w".parse().unwrap(), keys())
        .start()
        .await
        .unwrap();
    hub.register_module("d".parse().unwrap(), "m".parse().unwrap(), keys())
        .await
        .unwrap();
    for body in ["one", "two", "three"] {
        let device: iothub_address::DeviceId = "d".parse().unwrap();
        hub.send_to_device(device, CloudMessage::new(body)).await.unwrap();
    }
    hub
}

/// The connection from its first byte to its last.
async fn meet(hub: &Arc<Emulator>, manner: Manner, said: &[u8]) {
    let mut activity = hub.activity().subscribe_from_start();
    let calling = tokio::spawn(call(Arc::clone(hub)));
    let (client, theirs) = tokio::io::duplex(64 * 1024);
    hub.serve(theirs);
    let (mut reading, mut writing) = tokio::io::split(client);
    let reader = tokio::spawn(async move {
        if manner.is_deaf {
            std::future::pending::<()>().await;
        }
        let _ = tokio::io::copy(&mut reading, &mut tokio::io::sink()).await;
    });
    let token = sign("d", u64::try_from(NOW).unwrap());
    let _ = writing
        .write_all(&frames::prefix(manner.depth, "d", &token))
        .await;
    settled().await;
    let said = match manner.framed {
        true => frames::framed(said),
        false => said.to_vec(),
    };
    let step = if manner.halting { 7 } else { said.len().max(1) };
    for piece in said.chunks(step) {
        // The hub may have ended it.
        if writing.write_all(piece).await.is_err() {
            break;
        }
    }
    if manner.late {
        hub.turn_clock(Duration::from_secs(3600)).await.unwrap();
    }
    if !manner.stays {
        let _ = writing.shutdown().await;
    }
    loop {
        match activity.next().await {
            Some(Notice::Entry(entry)) if matches!(entry.what, What::Gone { .. }) => break,
            Some(_) => {}
            None => panic!("the hub has stopped"),
        }
    }
    calling.abort();
    reader.abort();
    let _ = (calling.await, reader.await);
}

/// Until nobody has anything to do: the clock goes on then.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A method call for the device, which may take it.
async fn call(hub: Arc<Emulator>) {
    let device: iothub_address::DeviceId = "d".parse().unwrap();
    let call = MethodCall::new("reboot").connect_timeout(Duration::from_secs(300));
    let _ = hub.call_method(device, call).await;
}

/// Another device, which does all right.
async fn serve_witness(hub: &Emulator) {
    let (mut client, theirs) = tokio::io::duplex(64 * 1024);
    hub.serve(theirs);
    let token = sign("w", hub.now().await.unwrap().as_unix_seconds());
    client.write_all(&frames::prefix(5, "w", &token)).await.unwrap();
    while frames::next(&mut client).await != Some(frames::FLOW) {}
    client.write_all(&frames::telemetry(0, b"witness")).await.unwrap();
    while frames::next(&mut client).await != Some(frames::DISPOSITION) {}
    let events = hub.journal().snapshot();
    assert!(
        events
            .iter()
            .any(|event| format!("{:?}", event.message.body).contains("witness")),
        "the witness's message is not there"
    );
    drop(client);
}

/// For a device, and for half an hour.
fn sign(device: &str, now: u64) -> String {
    let resource = format!("hub.azure-devices.net/devices/{device}");
    let signer = Signer::new(key());
    signer
        .sign(resource, UnixTime::from_secs(now + 1800))
        .expose()
        .to_owned()
}

fn key() -> SharedKey {
    SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

/// A panic in a task ends the task alone.
fn count_panics() {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(panic);
        }));
    });
}

static PANICS: AtomicUsize = AtomicUsize::new(0);
const NOW: i64 = 1_700_000_000;
/// More than all time-outs of the hub together, of a time that does not pass by itself.
const LONGEST: Duration = Duration::from_secs(3600);
/// What 4 KiB may cost, and what the hub takes for a connection at all.
const MOST_MEMORY: u64 = 16 * 1024 * 1024;
