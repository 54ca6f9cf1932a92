//! Goal: whatever clients do, the hub's memory stays under a bound that is stated, it gives up who takes without end,
//! and its other clients are served.
//! Method: hub and clients in one thread over streams in memory, on a clock that goes on only when all of them wait, and
//! an allocator that counts. The bounds are those of the README's "Limits".
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[allow(dead_code, reason = "shared with the tests over sockets")]
#[path = "../wire/common.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests over sockets")]
#[path = "../wire/raw.rs"]
mod raw;

mod attaches;
mod crowd;
mod http;
mod silence;

use std::future::Future;

use iothub_emulator::{Emulator, Notice, What};
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};

use crate::raw::*;

/// What one connection may cost, in bytes.
pub(crate) const CONNECTION: u64 = 96 * MIB;
/// What one connection may cost that has shown no credentials.
pub(crate) const STRANGER: u64 = 64 * 1024;
pub(crate) const MIB: u64 = 1024 * 1024;

/// Runs a hub, and what is done to it; gives how many bytes were in use at once beside those of the hub at rest.
pub(crate) fn measure<F: Future<Output = ()>>(attack: impl FnOnce(std::rc::Rc<Emulator>) -> F) -> u64 {
    let runtime = runtime();
    let hub = std::rc::Rc::new(runtime.block_on(common::hub()));
    let attack = attack(std::rc::Rc::clone(&hub));
    let measured = allocation_counter::measure(|| {
        let ended = runtime.block_on(async { tokio::time::timeout(LONGEST, attack).await });
        ended.expect("something is waited for that never comes");
    });
    // All of it has to end too.
    let hub = std::rc::Rc::into_inner(hub).unwrap();
    runtime.block_on(hub.stop());
    measured.bytes_max
}

const WITNESS: &str = "witness";
/// More than anything here takes, of a time that does not pass by itself.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(3600);

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

/// A new client's end of a stream in memory.
pub(crate) fn stream(hub: &Emulator) -> DuplexStream {
    let (theirs, ours) = tokio::io::duplex(64 * 1024);
    hub.serve(ours);
    theirs
}

/// Another device, that has attached a sender with handle 0 and is to be served whatever the first one does.
pub(crate) async fn witness(hub: &Emulator) -> Raw {
    let keys = iothub_emulator::Keys::new(common::key(common::KEY), common::key(common::OTHER_KEY));
    hub.register_device(WITNESS.parse().unwrap(), keys).await.unwrap();
    let mut raw = Raw::on(stream(hub));
    let token = common::token(&format!("tcontehub.azure-devices.net/devices/{WITNESS}"));
    assert_eq!(raw.plain(&format!("{WITNESS}@sas.tcontehub"), &token).await, 0);
    raw.start().await;
    raw.attach(0, "telemetry", &format!("/devices/{WITNESS}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    raw
}

/// A client that was let in, and has attached a sender with handle 0.
pub(crate) async fn attached(hub: &Emulator) -> Raw {
    let mut raw = begun(hub).await;
    raw.attach(0, "telemetry", &events_address()).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    raw
}

/// A client that was let in, and has begun a session.
pub(crate) async fn begun(hub: &Emulator) -> Raw {
    let mut raw = Raw::on(stream(hub));
    let user = format!("{}@sas.tcontehub", common::DEVICE);
    assert_eq!(raw.plain(&user, &common::device_token()).await, 0);
    raw.start().await;
    raw
}

pub(crate) fn events_address() -> String {
    format!("/devices/{}/messages/events", common::DEVICE)
}

/// The client's message with this delivery-id is taken.
pub(crate) async fn assert_served(witness: &mut Raw, id: u32) {
    witness.send(&transfer(id, false, false, &data(b"witness"))).await;
    witness.expect_past_flows(DISPOSITION).await;
}

/// How the hub says that its `nth` connection ended.
pub(crate) async fn gone(hub: &Emulator, nth: u64) -> String {
    let mut activity = hub.activity().subscribe_from_start();
    loop {
        match activity.next().await {
            Some(Notice::Entry(entry)) if entry.connection == nth => {
                if let What::Gone { why } = &entry.what {
                    return why.clone();
                }
            }
            Some(_) => {}
            None => panic!("connection {nth} did not end"),
        }
    }
}
