//! Goal: what passes is not taken for a last word, what is one is not asked about for ever, and nobody waits for what nobody will say.
//! Method: the supervisor itself, told facts in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iothub_amqp::recovery::Operation;
use iothub_amqp::supervisor::{
    Action, Cause, Epoch, Input, LaneId, LaneKind, Lifetime, SignIn, SlotId, Supervisor,
};
use iothub_amqp::{Condition, Interruption, Status};
use iothub_tests::supervised::{SLOT, join, obey, subscribe, supervisor};

const SECOND: Duration = Duration::from_secs(1);

fn refused(name: &str, operation: Operation) -> Cause {
    Cause::ended(Interruption::Refused(Condition::new(name, None)), operation)
}

fn ended(actions: &[Action]) -> Option<(SlotId, Interruption)> {
    actions.iter().find_map(|action| match action {
        Action::Report(slot, Status::Ended { why }) => Some((*slot, why.clone())),
        _ => None,
    })
}

/// A connection of so many devices, all of whose links are up.
fn shared(devices: u32, now: Instant) -> Supervisor {
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, now);
    for slot in 0..devices {
        join(&mut supervisor, slot, now);
    }
    obey(&mut supervisor, now);
    supervisor
}

/// Links of the first device.
type Links = BTreeMap<LaneKind, Epoch>;

fn note(links: &mut Links, told: &[Action]) {
    for action in told {
        if let Action::OpenLane(lane, epoch) = action
            && lane.slot == SLOT
        {
            links.insert(lane.kind, *epoch);
        }
    }
}

/// Whether another client's third visit, and none before it, ends the first of so many devices, that has these streams. The hub tells
/// of each link that it takes, and what is lost is back before it tells of the next; or of all at once, and of the connection.
fn is_left_to_the_thief_at_the_third_visit(
    (devices, streams): (u32, &[LaneKind]),
    (backwards, connection): (bool, bool),
) {
    let mut now = Instant::now();
    let mut supervisor = shared(devices, now);
    // The first of its links on its session.
    let first = Epoch {
        conn: 1,
        session: 0,
        lane: 1,
    };
    let mut links = Links::from([(LaneKind::Telemetry, first)]);
    for kind in streams {
        subscribe(&mut supervisor, *kind, now);
    }
    note(&mut links, &obey(&mut supervisor, now));
    assert_eq!(links.len(), 1 + streams.len());
    for visit in 1..=3 {
        let mut taken: Vec<_> = links.clone().into_iter().collect();
        if backwards {
            taken.reverse();
        }
        let mut told = Vec::new();
        let conn = taken[0].1.conn;
        for (kind, epoch) in taken {
            let lane = LaneId { slot: SLOT, kind };
            let cause = refused("amqp:link:stolen", Operation::Link);
            supervisor.handle(Input::LaneLost { lane, epoch, cause }, now);
            if !connection {
                told.extend(obey(&mut supervisor, now));
            }
        }
        if connection {
            let cause = refused("amqp:link:stolen", Operation::Connection);
            supervisor.handle(Input::Lost { conn, cause }, now);
        }
        let next = now + 15 * SECOND;
        while now < next {
            told.extend(obey(&mut supervisor, now));
            now = supervisor.poll_timeout().map_or(next, |due| due.min(next));
            supervisor.handle_timeout(now);
        }
        note(&mut links, &told);
        let expected = (visit == 3).then_some((SLOT, Interruption::Stolen));
        assert_eq!(
            ended(&told),
            expected,
            "visit {visit} to {streams:?} of {devices}, backwards: {backwards}, connection: {connection}"
        );
    }
}

#[test]
fn a_client_that_takes_all_links_at_once_has_come_once() {
    let all = [LaneKind::Commands, LaneKind::Methods, LaneKind::Twin];
    for streams in 0..=all.len() {
        for backwards in [false, true] {
            for (devices, connection) in [(1, false), (1, true), (2, false)] {
                let device = (devices, &all[..streams]);
                is_left_to_the_thief_at_the_third_visit(device, (backwards, connection));
            }
        }
    }
}
