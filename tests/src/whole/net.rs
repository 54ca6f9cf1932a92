//! The way from the clients to the hub.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iothub_amqp::{ByteStream, Connecting, Network, Resolving};
use iothub_emulator::Emulator;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::impatience;
use super::links::Observer;
use super::plan::Plan;
use super::sends::Sends;
use super::trace::Trace;
use super::wire::{Wire, Wires, connect, lock};
use crate::memory::Clockwork;
use crate::sim::dice::Dice;

/// What all clients of a world share.
pub(super) struct Shared {
    pub(super) hub: Emulator,
    pub(super) plan: Plan,
    pub(super) clock: Clockwork,
    pub(super) trace: Arc<Mutex<Trace>>,
    pub(super) ways: Mutex<Ways>,
    pub(super) sends: Arc<Mutex<Sends>>,
    pub(super) wires: Wires,
    pub(super) spins: Arc<Notify>,
}

pub(super) struct Ways {
    pub(super) dice: Dice,
    /// Whether things go wrong.
    pub(super) bad: bool,
    /// Nobody comes in before.
    pub(super) down_until: Option<Instant>,
    pub(super) connections: u64,
    pub(super) attempts: u64,
    pub(super) cuts: u64,
    pub(super) wrong: Vec<String>,
}

/// The way of one client. A new client has a new one.
pub(super) struct Way {
    shared: Arc<Shared>,
    mine: Mutex<Mine>,
}

#[derive(Default)]
struct Mine {
    /// When this client set out.
    attempts: Vec<Duration>,
    wires: Vec<Arc<Mutex<Wire>>>,
}

impl Way {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            mine: Mutex::default(),
        }
    }

    /// An attempt begins: what becomes of it before there is a connection.
    fn set_out(&self) -> Option<Miss> {
        let now = self.shared.clock.elapsed();
        let mut ways = lock(&self.shared.ways);
        let mut mine = lock(&self.mine);
        mine.attempts.push(now);
        ways.attempts += 1;
        // Beside a spin the clock is moved by hand, between the client's decision and this too.
        let minute = Duration::from_secs(60).saturating_sub(impatience::STEP);
        let recent = mine.attempts.iter().filter(|at| now - **at < minute).count();
        if recent > MOST_ATTEMPTS {
            ways.wrong.push(format!(
                "{recent} attempts within a minute at {now:?}: {:?}",
                mine.attempts
            ));
        }
        let plan = &self.shared.plan;
        let (fails, hangs) = (
            ways.dice.permille(plan.dial_fails),
            ways.dice.permille(plan.dial_hangs),
        );
        match (ways.bad, fails, hangs) {
            (true, true, _) => Some(Miss::Fails),
            (true, false, true) => Some(Miss::Hangs),
            _ => None,
        }
    }

    fn is_refused(&self) -> bool {
        let mut ways = lock(&self.shared.ways);
        let by_chance = ways.dice.permille(self.shared.plan.dial_refused);
        let is_down = ways.down_until.is_some_and(|until| Instant::now() < until);
        ways.bad && (by_chance || is_down)
    }

    fn come_to_the_hub(&self) -> Box<dyn ByteStream> {
        let shared = &self.shared;
        let mut ways = lock(&shared.ways);
        let mut mine = lock(&self.mine);
        ways.connections += 1;
        let plan = if ways.bad {
            shared.plan.wire(&mut ways.dice)
        } else {
            shared.plan.sound()
        };
        let observer = Observer::new(
            shared.clock,
            shared.plan.token_life,
            Arc::clone(&shared.sends),
            ways.connections,
        );
        let trace = Arc::clone(&shared.trace);
        let (ours, theirs, wire) =
            connect(plan, observer, trace, ways.connections, Arc::clone(&shared.spins));
        shared.wires.add(&wire);
        mine.wires.push(wire);
        shared.hub.serve(theirs);
        Box::new(ours)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let mut ways = lock(&self.shared.ways);
        let mine = lock(&self.mine);
        for wire in &mine.wires {
            let mut wire = lock(wire);
            ways.cuts += u64::from(wire.was_struck());
            ways.wrong.extend(wire.wrong());
        }
        for two in mine.wires.windows(2) {
            let (one, next) = (lock(&two[0]), lock(&two[1]));
            if one.is_held_beside(&next) {
                ways.wrong.push(format!("{one:?} is held beside {next:?}"));
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Miss {
    Fails,
    Hangs,
}

impl Network for Way {
    fn resolve<'a>(&'a self, _host: &'a str, port: u16) -> Resolving<'a> {
        let miss = self.set_out();
        Box::pin(async move {
            match miss {
                Some(Miss::Fails) => Err(io::ErrorKind::NotFound.into()),
                Some(Miss::Hangs) => std::future::pending().await,
                None => Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]),
            }
        })
    }

    fn connect(&self, _address: SocketAddr) -> Connecting<'_> {
        Box::pin(async move {
            if self.is_refused() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(self.come_to_the_hub())
        })
    }
}

/// Within a minute.
const MOST_ATTEMPTS: usize = 6;
