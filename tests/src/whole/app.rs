//! The applications: they connect, have their say, and close; so often as the plan says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use iothub_address::{HubHost, HubName, Identity};
use iothub_amqp::{
    Batching, ConnectError, Connection, DeviceClient, DeviceClientBuilder, Key, OPERATION_TIMEOUT, Status,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::net::{Shared, Way};
use super::plan::{Parting, Plan, Shape};
use super::record::{Record, SLACK};
use super::wire::lock;
use super::world::{device_id, key};
use super::{commands, methods, parting, telemetry, twin};
use crate::sim::dice::Dice;

/// How long after the last fault everything has to be well.
pub(super) const RECOVERY: Duration = Duration::from_secs(20 * 60);

/// The devices of a client, by number.
pub(super) struct Devices(std::ops::Range<u64>);

impl Devices {
    pub(super) fn of(plan: &Plan, client: u64) -> Self {
        Self(client * plan.devices()..(client + 1) * plan.devices())
    }
}

/// What a device's tasks share.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) shared: Arc<Shared>,
    record: Arc<Mutex<Record>>,
    pub(super) number: u64,
    /// From 0 on.
    pub(super) round: u64,
}

impl Device {
    pub(super) fn identity(&self) -> Identity {
        Identity::Device(device_id(self.number))
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    pub(super) fn record<T>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        look(&mut lock(&self.record))
    }

    pub(super) fn wrong(&self, what: impl Into<String>) {
        let what = format!("device {}: {}", self.number, what.into());
        self.record(|record| record.wrong.push(what));
    }

    /// Whatever the client is asked for ends within its time.
    pub(super) async fn within<T>(&self, limit: Duration, what: &str, doing: impl Future<Output = T>) -> T {
        let began = self.shared.clock.elapsed();
        let done = doing.await;
        let took = self.shared.clock.elapsed() - began;
        if took > limit + SLACK {
            self.wrong(format!("{what} took {took:?}"));
        }
        done
    }

    pub(super) fn note(&self, what: std::fmt::Arguments<'_>) {
        lock(&self.shared.trace).note(format_args!("device {} {what}", self.number));
    }

    /// Waits for a while, `times` of which fill the horizon, and not beyond it.
    pub(super) async fn pause(&self, dice: &mut Dice, times: u64) {
        let horizon = self.plan().horizon;
        let gap = horizon / u32::try_from(times.max(1)).unwrap_or(1);
        let left = horizon.saturating_sub(self.shared.clock.elapsed());
        sleep(dice.up_to(2 * gap).min(left)).await;
    }
}

/// One client's application, from its first connection to its last close.
pub(super) async fn run(shared: Arc<Shared>, record: Arc<Mutex<Record>>, devices: Devices, seed: u64) {
    let mut dice = Dice::new(seed);
    let connection = match shared.plan.shape {
        Shape::Plain | Shape::Claims => None,
        Shape::Shared(_) => Some(open(&shared, dice.throw()).await),
    };
    let mut working = JoinSet::new();
    for number in devices.0 {
        let (device, connection, seed) = (
            Device {
                shared: Arc::clone(&shared),
                record: Arc::clone(&record),
                number,
                round: 0,
            },
            connection.clone(),
            dice.throw(),
        );
        working.spawn(live(device, connection, seed));
    }
    while working.join_next().await.is_some() {}
    if let Some(connection) = connection {
        // A connection that breaks at its farewell ends all the same.
        let _ = connection.close().await;
    }
}

async fn open(shared: &Arc<Shared>, seed: u64) -> Connection {
    Connection::builder(host())
        .plain_tcp_to_this_machine()
        .network(Way::new(Arc::clone(shared)))
        .clock(shared.clock)
        .seed(seed)
        .open()
        .await
        .expect("nothing is contacted")
}

async fn live(mut device: Device, connection: Option<Connection>, seed: u64) {
    let mut dice = Dice::new(seed);
    while device.round < device.plan().rounds {
        let client = loop {
            let connecting = async {
                match &connection {
                    Some(connection) => on(&device, connection).await,
                    None => alone(&device, dice.throw()).await,
                }
            };
            let connected = device.within(CONNECTING, "connecting", connecting).await;
            match connected {
                Ok(client) => break client,
                Err(_) => sleep(Duration::from_secs(10)).await,
            }
        };
        match device.plan().parting {
            Parting::Done => work(&device, client, &mut dice).await,
            parting => parting::before_all_is_done(&device, client, parting, &mut dice).await,
        }
        device.round += 1;
    }
}

async fn alone(device: &Device, seed: u64) -> Result<DeviceClient, ConnectError> {
    let (shared, plan) = (&device.shared, device.plan());
    let credential = Key::new(key()).life(plan.token_life);
    let builder: DeviceClientBuilder = DeviceClient::builder(host(), device.identity(), credential)
        .hub(HubName::parse("emulator").expect("a name"))
        .plain_tcp_to_this_machine()
        .network(Way::new(Arc::clone(shared)))
        .clock(shared.clock)
        .seed(seed)
        .batching(batching(plan))
        .window(plan.window)
        .queue_timeout(plan.queue_timeout);
    match plan.shape {
        Shape::Plain => builder.connect().await,
        _ => builder.claims_based().connect().await,
    }
}

async fn on(device: &Device, connection: &Connection) -> Result<DeviceClient, ConnectError> {
    let plan = device.plan();
    let credential = Key::new(key()).life(plan.token_life);
    connection
        .device(device.identity(), credential)
        .batching(batching(plan))
        .window(plan.window)
        .queue_timeout(plan.queue_timeout)
        .connect()
        .await
}

fn batching(plan: &Plan) -> Batching {
    if plan.batches { Batching::On } else { Batching::Off }
}

/// One round: everything at once, until all of it is done; then the client is closed.
async fn work(device: &Device, client: DeviceClient, dice: &mut Dice) {
    let plan = device.plan();
    let mut doing = JoinSet::new();
    if plan.commands > 0 {
        doing.spawn(commands::take(device.clone(), client.clone(), dice.throw()));
    }
    if plan.calls > 0 {
        doing.spawn(methods::answer(device.clone(), client.clone(), dice.throw()));
    }
    if plan.changes > 0 {
        doing.spawn(twin::keep(device.clone(), client.clone(), dice.throw()));
    }
    let mut looking = JoinSet::new();
    looking.spawn(telemetry::look_at_queue(device.clone(), client.clone()));
    telemetry::send(device, &client, dice).await;
    while doing.join_next().await.is_some() {}
    looking.shutdown().await;
    let status = client.status().borrow().clone();
    if let Status::Ended { why } = status {
        device.wrong(format!("its client has ended: {why}"));
    }
    let statistics = client.statistics();
    let closed = device.within(OPERATION_TIMEOUT, "closing", client.close()).await;
    device.note(format_args!("closed: {closed:?}"));
    if plan.is_uncut() && (closed.is_err() || statistics.attempts > plan.rounds + plan.renewals()) {
        device.wrong(format!("{closed:?}, {statistics:?}"));
    }
    device.record(|record| record.client_done(device.number, statistics));
}

pub(super) fn has_ended(client: &DeviceClient) -> bool {
    matches!(*client.status().borrow(), Status::Ended { .. })
}

fn host() -> HubHost {
    HubHost::parse("localhost").expect("a host")
}

/// Each step of a connection has its operation time-out: looking the host up and reaching it, header and SASL, open,
/// the token, begin, attach. Whoever comes to a connection that is lost waits for the next attempt first.
const CONNECTING: Duration = Duration::from_secs(8 * 30 + 60);

/// Three operation time-outs.
pub(super) const SUBSCRIBING: Duration = Duration::from_secs(90);
