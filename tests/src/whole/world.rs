//! A world: it is made, goes wrong for a while, comes to rest, and is looked at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use iothub_address::DeviceId;
use iothub_emulator::{Emulator, Fault};
use iothub_sas::SharedKey;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Tally;
use super::app::{self, Devices, RECOVERY};
use super::impatience::Impatience;
use super::net::{Shared, Ways};
use super::plan::{Plan, Trouble};
use super::record::Record;
use super::sends::Sends;
use super::trace::Trace;
use super::wire::{Wires, lock};
use crate::memory::Clockwork;
use crate::sim::dice::Dice;

pub(super) struct World;

/// How a world has ended.
pub(super) struct Done {
    pub(super) tally: Tally,
    pub(super) trace: u64,
    pub(super) wrong: Vec<String>,
}

impl World {
    pub(super) async fn run(plan: Plan, mut dice: Dice, impatience: Impatience) -> Done {
        let clock = Clockwork::new();
        let wires = Wires::default();
        let ticking = tokio::spawn(impatience.clone().run(wires.clone()));
        let hub = hub(&plan, clock, dice.throw()).await;
        let shared = Arc::new(Shared {
            hub,
            clock,
            trace: Arc::new(Mutex::new(Trace::new(clock))),
            ways: Mutex::new(Ways {
                dice: Dice::new(dice.throw()),
                bad: true,
                down_until: None,
                connections: 0,
                attempts: 0,
                cuts: 0,
                wrong: Vec::new(),
            }),
            sends: Arc::new(Mutex::new(Sends::new(&plan))),
            plan,
            wires,
            spins: impatience.bell(),
        });
        let record = Arc::new(Mutex::new(Record::new(&shared.hub, &shared.plan, clock)));
        let mut clients = JoinSet::new();
        for client in 0..shared.plan.clients {
            let devices = Devices::of(&shared.plan, client);
            clients.spawn(app::run(
                Arc::clone(&shared),
                Arc::clone(&record),
                devices,
                dice.throw(),
            ));
        }
        go_wrong(&shared, &mut dice).await;
        lock(&shared.ways).bad = false;
        let drained = timeout(RECOVERY + shared.plan.queue_timeout.min(RECOVERY), async {
            while clients.join_next().await.is_some() {}
        });
        let mut wrong = Vec::new();
        if drained.await.is_err() {
            wrong.push("something waits although all is well again".to_owned());
            clients.shutdown().await;
        }
        sleep(IDLE).await;
        let mut tally = {
            let (mut record, mut sends) = (lock(&record), lock(&shared.sends));
            let tally = record.check(&shared.plan, &sends);
            wrong.append(&mut record.wrong);
            wrong.append(&mut sends.wrong());
            tally
        };
        ticking.abort();
        let _ = ticking.await;
        let Some(shared) = Arc::into_inner(shared) else {
            wrong.push("a connection's way is still held after its client has gone".to_owned());
            let trace = 0;
            return Done { tally, trace, wrong };
        };
        shared.hub.stop().await;
        let mut ways = lock(&shared.ways);
        tally.attempts = ways.attempts;
        tally.cuts = ways.cuts;
        tally.busiest = impatience.busiest();
        wrong.append(&mut ways.wrong);
        let trace = lock(&shared.trace).finish();
        Done { tally, trace, wrong }
    }
}

async fn hub(plan: &Plan, clock: Clockwork, seed: u64) -> Emulator {
    let mut builder = Emulator::builder().clock(clock).randomness(seed).https_port(None);
    for device in 0..plan.clients * plan.devices() {
        builder = builder.device_key(device_id(device), key());
    }
    builder.start().await.expect("a free port")
}

/// Lets the hub go wrong, until the horizon.
async fn go_wrong(shared: &Shared, dice: &mut Dice) {
    let mut times: Vec<_> = shared
        .plan
        .troubles
        .iter()
        .map(|trouble| (dice.up_to(shared.plan.horizon), *trouble))
        .collect();
    times.sort_by_key(|(at, _)| *at);
    for (at, trouble) in times {
        sleep(at.saturating_sub(shared.clock.elapsed())).await;
        match trouble {
            Trouble::Fault(kind) => {
                let most = (shared.plan.horizon - at).min(Duration::from_secs(60));
                let mut fault = Fault::new(kind).condition("amqp:link:detach-forced");
                if dice.coin() {
                    fault = fault.duration(dice.up_to(most));
                }
                let injected = shared.hub.inject(fault).await;
                lock(&shared.trace).note(format_args!("{kind:?} {}", injected.is_ok()));
            }
            Trouble::Restart(outage) => {
                lock(&shared.trace).note(format_args!("restart, down for {outage:?}"));
                lock(&shared.ways).down_until = Some(Instant::now() + outage);
                shared.wires.reset();
            }
        }
    }
    sleep(shared.plan.horizon.saturating_sub(shared.clock.elapsed())).await;
}

pub(super) fn device_id(device: u64) -> DeviceId {
    DeviceId::parse(&format!("d{device}")).expect("letters and digits are an id")
}

/// Made up.
pub(super) fn key() -> SharedKey {
    SharedKey::from_bytes(&[7; 32]).expect("32 bytes are a key")
}

/// How long nothing happens after all is done: what is left by then is left for good.
const IDLE: Duration = Duration::from_secs(60);
