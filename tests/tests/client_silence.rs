//! Goal: a `$cbs` node that answers nobody any more is left with its connection, in good order, before anybody's token ends; and one
//! that answers some, or most of the time, costs those no connection.
//! Method: the supervisor itself, told facts in virtual time; then clients with a hub of hand-written frames, and with the emulator,
//! in virtual time too.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use iothub_address::{DeviceId, HubHost, Identity};
use iothub_amqp::recovery::Recovery;
use iothub_amqp::supervisor::{Action, Cause, Input, Lifetime, SignIn, SlotId, Supervisor, TokenLife};
use iothub_amqp::{Condition, Connection, Interruption, Key, Message, Status};
use iothub_emulator::{Fault, FaultKind};
use iothub_sas::SharedKey;
use iothub_tests::faults::Pipes;
use iothub_tests::memory::{Clockwork, Memory, identity};
use iothub_tests::reactive::{Answer, Hub, Seen};
use iothub_tests::supervised::{HOUR, LIMIT, actions, done, enqueue, join, supervisor};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

/// Devices on one connection, some of which send a message each second, and a hub that may leave tokens without an answer.
struct World {
    supervisor: Supervisor,
    start: Instant,
    now: Instant,
    /// Who joined, and has not ended.
    live: BTreeSet<SlotId>,
    sending: u32,
    ticket: u64,
    /// When each connection was asked for, since the beginning.
    dials: Vec<Duration>,
    blown: usize,
}

impl World {
    /// So many devices that are there, of which so many send.
    fn new(devices: u32, sending: u32) -> Self {
        let start = Instant::now();
        let mut world = Self {
            supervisor: supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, start),
            start,
            now: start,
            live: BTreeSet::new(),
            sending,
            ticket: 0,
            dials: Vec::new(),
            blown: 0,
        };
        for slot in 0..devices {
            world.join(slot);
        }
        world.live_for(SECOND, |_, _| true);
        world
    }

    fn join(&mut self, slot: u32) {
        self.live.insert(SlotId(slot));
        join(&mut self.supervisor, slot, self.now);
    }

    /// Lets time pass. `answers` says whether the node answers this device's token on this connection.
    fn live_for(&mut self, time: Duration, answers: impl Fn(SlotId, u32) -> bool) {
        let end = self.now + time;
        while self.now < end {
            for slot in 0..self.sending {
                enqueue(&mut self.supervisor, slot, self.ticket, 10, self.now);
                self.ticket += 1;
            }
            self.obey(&answers);
            let second = self.now + SECOND;
            self.now = self
                .supervisor
                .poll_timeout()
                .map_or(second, |due| due.min(second));
            self.supervisor.handle_timeout(self.now);
            self.obey(&answers);
        }
    }

    fn obey(&mut self, answers: &impl Fn(SlotId, u32) -> bool) {
        loop {
            let asked = actions(&mut self.supervisor);
            if asked.is_empty() {
                return;
            }
            for action in asked {
                match &action {
                    Action::Dial { .. } => self.dials.push(self.now - self.start),
                    Action::Blow { .. } => self.blown += 1,
                    Action::PutToken { conn, slot, .. } if !answers(*slot, *conn) => continue,
                    Action::Report(slot, Status::Ended { .. }) => drop(self.live.remove(slot)),
                    _ => {}
                }
                if let Some(fact) = done(&action) {
                    self.supervisor.handle(fact, self.now);
                }
            }
        }
    }

    fn hold_that_nothing_was_lost(&self) {
        assert_eq!(self.blown, 0);
        for slot in 0..self.sending {
            let statistics = self.supervisor.statistics(SlotId(slot)).unwrap();
            let lost = statistics.resent + statistics.unknown + statistics.not_sent + statistics.rejected;
            assert_eq!(lost, 0, "{statistics:?}");
        }
    }
}

#[test]
fn a_node_that_falls_silent_for_ever_is_left_with_its_connection_before_any_token_ends() {
    for (devices, sending) in [(1, 1), (2, 1), (2, 2), (3, 1), (50, 50)] {
        let mut world = World::new(devices, sending);
        world.live_for(HOUR, |_, conn| conn > 1);
        let all = format!("{devices} devices of which {sending} send");
        // The first renewal is due after 45 to 51 minutes. It has no answer, nor have others that are asked for.
        let [_, second] = world.dials[..] else {
            panic!("{all}: {:?}", world.dials);
        };
        let found = second.as_secs_f64() / 60.0;
        assert!((45.5..=52.1).contains(&found), "{all}: {found}");
        assert_eq!(world.live.len(), devices as usize, "{all}");
        world.hold_that_nothing_was_lost();
    }
}

/// Nobody's renewal is due when the device comes.
#[test]
fn a_node_that_does_not_answer_who_comes_is_found_out_within_two_operation_timeouts() {
    let mut world = World::new(3, 3);
    world.live_for(60 * SECOND, |_, _| true);
    let silent = world.now - world.start;
    world.join(3);
    world.live_for(2 * LIMIT + SECOND, |_, conn| conn > 1);
    let [_, second] = world.dials[..] else {
        panic!("{:?}", world.dials);
    };
    assert_eq!(second - silent, 2 * LIMIT);
    world.hold_that_nothing_was_lost();
}

#[test]
fn devices_whose_tokens_are_never_answered_cost_the_others_no_connection_however_many_they_are() {
    // Those that send, and those that are idle.
    for sending in [2, 0] {
        let mut world = World::new(2, sending);
        for round in 1..20 {
            world.join(2 * round);
            world.join(2 * round + 1);
            world.live_for(HOUR / 6, |slot, _| slot.0 < 2);
        }
        assert_eq!(world.live.len(), 2, "{sending}");
        assert_eq!(world.dials.len(), 1, "{sending}");
        world.hold_that_nothing_was_lost();
    }
}

#[test]
fn a_device_whose_renewals_are_never_answered_costs_the_others_no_connection() {
    for sending in [3, 0] {
        let mut world = World::new(3, sending);
        world.live_for(5 * HOUR, |slot, _| slot.0 > 0);
        assert_eq!(world.dials.len(), 1, "{sending}");
        world.hold_that_nothing_was_lost();
    }
}

#[test]
fn where_each_device_has_one_answer_a_connection_a_renewal_costs_one_connection_at_the_most() {
    for devices in [1, 2, 3] {
        let mut world = World::new(devices, devices);
        let asked = RefCell::new(
            (0..devices)
                .map(|slot| (SlotId(slot), 1))
                .collect::<BTreeSet<_>>(),
        );
        world.live_for(10 * HOUR, |slot, conn| asked.borrow_mut().insert((slot, conn)));
        // Each is due after 45 to 51 minutes.
        let renewals = devices as usize * 10 * 60 / 45;
        let more = world.dials.len() - 1;
        assert!((10..=renewals).contains(&more), "{devices}: {more}");
        assert_eq!(world.live.len(), devices as usize);
        world.hold_that_nothing_was_lost();
    }
}

/// Each connection of this hub answers the first three tokens, and no more.
#[tokio::test(start_paused = true)]
async fn three_devices_send_on_through_connections_whose_node_falls_silent() {
    let judge = |seen: &Seen, number| match seen {
        Seen::Token(_) if number >= 3 => Answer::Nothing,
        _ => Answer::Accept,
    };
    let (mut hub, door) = Hub::in_memory("ANONYMOUS", judge);
    let clock = Clockwork::new();
    let connection = Connection::builder(HubHost::parse("127.0.0.1").unwrap())
        .plain_tcp_to_this_machine()
        .network(Pipes::to(door, []))
        .clock(clock)
        .operation_timeout(2 * SECOND)
        .seed(1)
        .open()
        .await
        .unwrap();
    let devices = join_all(["a", "b", "c"].map(|device| {
        let device = Identity::Device(DeviceId::parse(device).unwrap());
        let key = Key::new(SharedKey::from_bytes(&[7; 32]).unwrap()).life(60 * SECOND);
        connection.device(device, key).connect()
    }));
    let devices: Vec<_> = devices.await.into_iter().map(Result::unwrap).collect();
    for _ in 0..600 {
        let tickets: Vec<_> = devices
            .iter()
            .map(|device| device.enqueue(Message::new("x")).unwrap())
            .collect();
        for outcome in join_all(tickets).await {
            outcome.unwrap();
        }
        sleep(SECOND).await;
    }
    for device in devices {
        let statistics = device.statistics();
        assert_eq!(
            (statistics.accepted, statistics.resent),
            (600, 0),
            "{statistics:?}"
        );
    }
    connection.close().await.unwrap();
    let mut connections = 0;
    while let Ok(seen) = hub.seen.try_recv() {
        connections += usize::from(matches!(seen, Seen::Connection(_)));
    }
    // A token is renewed between the 45th and the 51st second, and two operation timeouts later there is another connection.
    assert!(
        connections as u64 >= clock.elapsed().as_secs() / 60,
        "{connections}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_tokens_are_taken_and_not_answered_leaves_idle_ones_in_peace() {
    let memory = Memory::start(3).await;
    let connection = memory.connection().await;
    let device = |device| connection.device(identity(device), memory.credential()).connect();
    let (unheard, first, second) = (
        device(0).await.unwrap(),
        device(1).await.unwrap(),
        device(2).await.unwrap(),
    );
    let fault = Fault::new(FaultKind::SwallowPutToken).of(identity(0));
    memory.inject(fault.duration(5 * HOUR)).await;
    sleep(4 * HOUR).await;
    for device in [unheard, first, second] {
        device.send(Message::new("x")).await.unwrap();
        let statistics = device.statistics();
        assert_eq!((statistics.attempts, statistics.links), (1, 1), "{statistics:?}");
    }
    connection.close().await.unwrap();
}

/// One device has a token of its application's, which is not renewed; another's is, and has no answer.
#[test]
fn a_token_that_is_not_renewed_and_was_put_once_more_in_vain_is_due_at_no_time() {
    let start = Instant::now();
    let (fixed, other) = (SlotId(0), SlotId(1));
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, start);
    for slot in [fixed, other] {
        join(&mut supervisor, slot.0, start);
    }
    let (mut now, mut at_once, mut puts) = (start, 0, 0);
    while now < start + HOUR {
        let told = actions(&mut supervisor);
        let nothing_told = told.is_empty();
        for action in told {
            let fact = match action {
                Action::FetchToken(slot) if slot == fixed => {
                    let (left, renews) = (2 * HOUR, false);
                    let result = Ok(TokenLife { left, renews });
                    Some(Input::Token { slot, result })
                }
                Action::PutToken { slot, .. } if slot == other && now > start => None,
                Action::PutToken { conn, put, slot } if slot == fixed && now > start => {
                    puts += 1;
                    let why = Interruption::Refused(Condition::new("amqp:internal-error", None));
                    let recovery = Recovery::Retry;
                    let result = Err(Cause { why, recovery });
                    Some(Input::TokenPut { conn, put, result })
                }
                action => done(&action),
            };
            if let Some(fact) = fact {
                supervisor.handle(fact, now);
            }
        }
        if !nothing_told {
            continue;
        }
        let due = supervisor.poll_timeout().unwrap();
        at_once = if due <= now { at_once + 1 } else { 0 };
        assert!(at_once < 20, "it spins at {:?}", now - start);
        now = now.max(due);
        supervisor.handle_timeout(now);
    }
    assert!(puts > 0);
}
