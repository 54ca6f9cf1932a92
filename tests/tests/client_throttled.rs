//! Goal: a hub that gives messages back, or says that it has too much to do, is left alone, by whatever link; what it gave back
//! goes on first, and is known not to be there.
//! Method: the supervisor itself, told facts in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, Instant};

use iothub_amqp::recovery::Operation;
use iothub_amqp::supervisor::{
    Action, Cause, Epoch, Input, LaneKind, NotHanded, Outcome, Principal, SignIn, Supervisor, TicketId,
    TransferId,
};
use iothub_amqp::{Condition, Interruption, Lost, Phase, SendError, Status};
use iothub_tests::supervised::{SLOT, actions, enqueue, joined, lane_up, obey, telemetry, token};

const THROTTLED: &str = "com.microsoft:device-container-throttled";
const SECOND: Duration = Duration::from_secs(1);

/// A device whose link is up.
fn device_up(now: Instant) -> (Supervisor, Epoch) {
    let mut supervisor = joined(SignIn::Plain, Principal::Device, 1, now);
    supervisor.handle(token(SLOT), now);
    supervisor.handle(Input::Up { conn: 1 }, now);
    let epoch = lane_up(&mut supervisor, LaneKind::Telemetry, now);
    actions(&mut supervisor);
    (supervisor, epoch)
}

/// A message is to be sent within this time; by when that is.
fn enqueued(supervisor: &mut Supervisor, limit: Duration, now: Instant) -> Instant {
    let deadline = now + limit;
    let input = Input::Enqueue {
        slot: SLOT,
        ticket: TicketId(0),
        size: 10,
        deadline,
        limit,
    };
    supervisor.handle(input, now);
    deadline
}

fn handed(supervisor: &mut Supervisor, epoch: Epoch, transfer: u64, now: Instant) {
    let input = Input::Handed {
        lane: telemetry(0),
        epoch,
        transfer: TransferId(transfer),
    };
    supervisor.handle(input, now);
}

fn settled(supervisor: &mut Supervisor, epoch: Epoch, transfer: u64, outcome: Outcome, now: Instant) {
    let input = Input::Settled {
        lane: telemetry(0),
        epoch,
        transfer: TransferId(transfer),
        outcome,
    };
    supervisor.handle(input, now);
}

fn withdrawn(supervisor: &mut Supervisor, epoch: Epoch, transfer: u64, now: Instant) {
    let input = Input::NotHanded {
        lane: telemetry(0),
        epoch,
        transfer: TransferId(transfer),
        why: NotHanded::Withdrawn,
    };
    supervisor.handle(input, now);
}

fn link_lost() -> Cause {
    let why = Interruption::Refused(Condition::new("amqp:link:detach-forced", None));
    Cause::ended(why, Operation::Link)
}

fn rejected(name: &str) -> Outcome {
    Outcome::Rejected(Condition::new(name, None))
}

/// The messages that are to be transferred, in order.
fn transferred(told: &[Action]) -> Vec<u64> {
    let tickets = |action: &Action| match action {
        Action::Transfer { tickets, .. } => tickets.iter().map(|ticket| ticket.0).collect(),
        _ => Vec::new(),
    };
    told.iter().flat_map(tickets).collect()
}

fn statuses(told: &[Action]) -> Vec<Status> {
    let status = |action: &Action| match action {
        Action::Report(_, status) => Some(status.clone()),
        _ => None,
    };
    told.iter().filter_map(status).collect()
}

#[test]
fn what_has_not_left_when_a_message_comes_back_waits_behind_it() {
    let now = Instant::now();
    for outcome in [
        rejected(THROTTLED),
        rejected("amqp:internal-error"),
        Outcome::Released,
    ] {
        let (mut supervisor, epoch) = device_up(now);
        (0..5).for_each(|ticket| enqueue(&mut supervisor, 0, ticket, 10, now));
        assert_eq!(transferred(&actions(&mut supervisor)), [0, 1, 2, 3, 4]);
        // The hub's credit is for two.
        handed(&mut supervisor, epoch, 0, now);
        handed(&mut supervisor, epoch, 1, now);
        settled(&mut supervisor, epoch, 0, outcome.clone(), now);
        let (lane, transfer) = (telemetry(0), TransferId(2));
        let back = Action::TakeBack {
            lane,
            epoch,
            transfer,
        };
        let told = actions(&mut supervisor);
        assert!(told.contains(&back), "{outcome:?}: {told:?}");
        // The next one had left by then, and comes back too.
        handed(&mut supervisor, epoch, 2, now);
        (3..5).for_each(|transfer| withdrawn(&mut supervisor, epoch, transfer, now));
        settled(&mut supervisor, epoch, 1, Outcome::Accepted, now);
        settled(&mut supervisor, epoch, 2, outcome.clone(), now);
        let mut told = actions(&mut supervisor);
        let until = supervisor.poll_timeout().unwrap();
        supervisor.handle_timeout(until);
        told.extend(actions(&mut supervisor));
        assert_eq!(transferred(&told), [0, 2, 3, 4], "{outcome:?}");
    }
}

/// What fails in a pause, between the hub and the client.
#[derive(Debug, Clone, Copy)]
enum Fails {
    Link,
    Session,
    Connection,
}

/// The hub throttles one message again and again: how long it is to be left alone then.
fn throttled(supervisor: &mut Supervisor, epoch: Epoch, mut now: Instant) -> (Instant, Instant) {
    enqueue(supervisor, 0, 0, 10, now);
    for transfer in 0..5 {
        handed(supervisor, epoch, transfer, now);
        settled(supervisor, epoch, transfer, rejected(THROTTLED), now);
        let said = statuses(&actions(supervisor));
        let Some(Status::Throttled { until, .. }) = said.last() else {
            panic!("{said:?}")
        };
        if transfer == 4 {
            return (now, *until);
        }
        now = *until;
        supervisor.handle_timeout(now);
    }
    unreachable!()
}

#[test]
fn a_hub_that_throttles_is_left_alone_by_the_next_link_too() {
    for fails in [Fails::Link, Fails::Session, Fails::Connection] {
        let (mut supervisor, epoch) = device_up(Instant::now());
        let (now, until) = throttled(&mut supervisor, epoch, Instant::now());
        assert!(until > now + 60 * SECOND, "longer than any other pause");
        let lane = telemetry(0);
        let spoilt = Interruption::Refused(Condition::new("amqp:session:window-violation", None));
        supervisor.handle(
            match fails {
                Fails::Link => Input::LaneLost {
                    lane,
                    epoch,
                    cause: link_lost(),
                },
                Fails::Session => Input::LaneLost {
                    lane,
                    epoch,
                    cause: Cause::ended(spoilt, Operation::Session),
                },
                Fails::Connection => Input::Lost {
                    conn: 1,
                    cause: Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection),
                },
            },
            now,
        );
        let mut told = obey(&mut supervisor, now);
        while supervisor.poll_timeout().unwrap() < until {
            let at = supervisor.poll_timeout().unwrap();
            supervisor.handle_timeout(at);
            told.extend(obey(&mut supervisor, at));
        }
        let opened = told.iter().any(|action| matches!(action, Action::OpenLane(..)));
        assert!(opened, "{fails:?}: {told:?}");
        assert!(transferred(&told).is_empty(), "{fails:?}");
        let said = statuses(&told);
        assert!(
            matches!(
                said[..],
                [Status::Recovering { .. }, Status::Throttled { until: then, .. }] if then == until
            ),
            "{fails:?}: {said:?}"
        );
        supervisor.handle_timeout(until);
        let told = obey(&mut supervisor, until);
        assert_eq!(transferred(&told), [0], "{fails:?}");
        let said = statuses(&told);
        assert!(matches!(said[..], [Status::Connected { .. }]), "{said:?}");
    }
}

/// The hub was busy and has it not, whatever its link did; only of a link of before nobody knows that.
#[test]
fn a_message_that_the_hub_gave_back_was_not_sent() {
    let now = Instant::now();
    let (slot, ticket, limit) = (SLOT, TicketId(0), 3 * SECOND);
    for (lost_before, withdrawn) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut supervisor, mut epoch) = device_up(now);
        let deadline = enqueued(&mut supervisor, limit, now);
        handed(&mut supervisor, epoch, 0, now);
        if lost_before {
            let (lane, cause) = (telemetry(0), link_lost());
            supervisor.handle(Input::LaneLost { lane, epoch, cause }, now);
            epoch = lane_up(&mut supervisor, LaneKind::Telemetry, now);
            handed(&mut supervisor, epoch, 1, now);
        }
        settled(
            &mut supervisor,
            epoch,
            lost_before.into(),
            rejected(THROTTLED),
            now,
        );
        if withdrawn {
            supervisor.handle(Input::Withdraw { slot, ticket }, now);
        }
        supervisor.handle_timeout(deadline);
        let told = actions(&mut supervisor);
        let completed = told.iter().find_map(|action| match action {
            Action::Complete(_, result) => Some(result.clone()),
            _ => None,
        });
        let phase = Phase::Credit;
        let timed_out = Interruption::TimedOut { phase, after: limit };
        match completed {
            Some(Err(SendError::Unknown(_))) if lost_before => {}
            Some(Err(SendError::NotSent(Interruption::Stopped))) if !lost_before && withdrawn => {}
            Some(Err(SendError::NotSent(why))) if !lost_before && why == timed_out => {}
            other => panic!("lost before: {lost_before}, withdrawn: {withdrawn}: {other:?}"),
        }
    }
}

/// Credit came just when the lane was asked to give it back.
#[test]
fn a_message_whose_time_was_up_when_the_hub_gave_it_back_does_not_go_again() {
    let now = Instant::now();
    let limit = 3 * SECOND;
    let (mut supervisor, epoch) = device_up(now);
    let deadline = enqueued(&mut supervisor, limit, now);
    supervisor.handle_timeout(deadline);
    let told = actions(&mut supervisor);
    let is_taken_back = |action: &Action| matches!(action, Action::TakeBack { .. });
    assert!(told.iter().any(is_taken_back), "{told:?}");
    handed(&mut supervisor, epoch, 0, deadline);
    settled(&mut supervisor, epoch, 0, Outcome::Released, deadline);
    supervisor.handle_timeout(deadline);
    let told = actions(&mut supervisor);
    let goes_again = |action: &Action| matches!(action, Action::Transfer { .. });
    assert!(!told.iter().any(goes_again), "{told:?}");
    let not_sent = |action: &Action| matches!(action, Action::Complete(_, Err(SendError::NotSent(_))));
    assert!(told.iter().any(not_sent), "{told:?}");
}
