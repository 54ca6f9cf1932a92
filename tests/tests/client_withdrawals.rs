//! Goal: dropping a `send` takes its message back while it waits, and never what the hub may have.
//! Method: the supervisor itself, told facts in virtual time. `client_dropped` and the simulations do it to the whole client.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, Instant};

use iothub_amqp::recovery::Operation;
use iothub_amqp::supervisor::{
    Action, Cause, Epoch, Input, LaneId, LaneKind, Lifetime, Outcome, Principal, Settings, SignIn, SlotId,
    SlotSettings, Supervisor, TicketId, TokenLife, TransferId,
};
use iothub_amqp::{Batching, Interruption, Lost, Schedule, SendError};
use iothub_tests::supervised::actions;

const SLOT: SlotId = SlotId(0);
const LANE: LaneId = LaneId {
    slot: SLOT,
    kind: LaneKind::Telemetry,
};
const FIRST: Epoch = Epoch {
    conn: 1,
    session: 0,
    lane: 1,
};
const WINDOW_BYTES: usize = 1000;
const LIMIT: Duration = Duration::from_secs(60);

/// A supervisor whose link is up.
fn supervisor_up(now: Instant) -> Supervisor {
    let settings = Settings {
        sign_in: SignIn::Plain,
        lifetime: Lifetime::OfItsSlots,
        recover: true,
        schedule: Schedule::default(),
        operation_timeout: LIMIT,
        window_bytes: WINDOW_BYTES,
        seed: 1,
    };
    let mut supervisor = Supervisor::new(settings, now);
    let settings = SlotSettings {
        principal: Principal::Device,
        settle_timeout: LIMIT,
        window: 16,
        batching: Batching::Off,
    };
    supervisor.handle(Input::Join { slot: SLOT, settings }, now);
    let life = TokenLife {
        left: Duration::from_secs(3600),
        renews: true,
    };
    let (slot, result) = (SLOT, Ok(life));
    supervisor.handle(Input::Token { slot, result }, now);
    link_up(&mut supervisor, FIRST, now);
    supervisor
}

/// The connection and its link, and what follows.
fn link_up(supervisor: &mut Supervisor, epoch: Epoch, now: Instant) -> Vec<Action> {
    supervisor.handle(Input::Up { conn: epoch.conn }, now);
    let (lane, limit) = (LANE, 0);
    supervisor.handle(Input::LaneUp { lane, epoch, limit }, now);
    actions(supervisor)
}

fn enqueued(supervisor: &mut Supervisor, ticket: u64, size: usize, now: Instant) -> usize {
    let input = Input::Enqueue {
        slot: SLOT,
        ticket: TicketId(ticket),
        size,
        deadline: now + LIMIT,
        limit: LIMIT,
    };
    supervisor.handle(input, now);
    actions(supervisor).len()
}

fn withdrawn(supervisor: &mut Supervisor, ticket: u64, now: Instant) -> Vec<Action> {
    let (slot, ticket) = (SLOT, TicketId(ticket));
    supervisor.handle(Input::Withdraw { slot, ticket }, now);
    actions(supervisor)
}

/// Whoever drops `send` takes back what waits. Of what the link has the hub may have some, so it is only not listened to.
#[test]
fn a_withdrawal_ends_what_waits_and_what_flies_is_sent_again_after_a_cut() {
    let now = Instant::now();
    let mut supervisor = supervisor_up(now);
    for ticket in 0..2 {
        assert_eq!(enqueued(&mut supervisor, ticket, 10, now), 1);
    }
    let handed = |transfer, epoch| Input::Handed {
        lane: LANE,
        epoch,
        transfer: TransferId(transfer),
    };
    supervisor.handle(handed(0, FIRST), now);
    assert_eq!(enqueued(&mut supervisor, 2, WINDOW_BYTES, now), 0);
    // One is known to fly, one is offered to the link, and one waits.
    assert_eq!(withdrawn(&mut supervisor, 0, now), []);
    assert_eq!(withdrawn(&mut supervisor, 1, now), []);
    let stopped = Err(SendError::NotSent(Interruption::Stopped));
    let told = withdrawn(&mut supervisor, 2, now);
    assert_eq!(told, [Action::Complete(TicketId(2), stopped)]);

    // The link took the second too, which is heard with the end.
    supervisor.handle(handed(1, FIRST), now);
    let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    actions(&mut supervisor);
    for ticket in 0..2 {
        assert_eq!(withdrawn(&mut supervisor, ticket, now), []);
    }
    let now = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(now);
    let second = Epoch { conn: 2, ..FIRST };
    let sent: Vec<_> = link_up(&mut supervisor, second, now)
        .into_iter()
        .filter_map(|action| match action {
            Action::Transfer {
                epoch,
                transfer,
                tickets,
                ..
            } => Some((epoch, transfer, tickets)),
            _ => None,
        })
        .collect();
    let again = |transfer, ticket| (second, TransferId(transfer), vec![TicketId(ticket)]);
    assert_eq!(sent, [again(2, 0), again(3, 1)]);
    for transfer in 2..4 {
        supervisor.handle(handed(transfer, second), now);
        let accepted = Input::Settled {
            lane: LANE,
            epoch: second,
            transfer: TransferId(transfer),
            outcome: Outcome::Accepted,
        };
        supervisor.handle(accepted, now);
    }
    let statistics = supervisor.statistics(SLOT).unwrap();
    assert_eq!((statistics.accepted, statistics.not_sent), (2, 1));
}
