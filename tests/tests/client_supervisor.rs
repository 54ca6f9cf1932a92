//! Goal: what takes minutes, or a chance that simulation seldom meets, comes out right too.
//! Method: the supervisor itself, told facts in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, Instant};

use iothub_amqp::recovery::Operation;
use iothub_amqp::supervisor::{
    Action, Cause, Epoch, Input, LaneId, LaneKind, Lifetime, Outcome, Principal, Settings, SignIn, SlotId,
    SlotSettings, Supervisor, TicketId, TokenLife, TransferId,
};
use iothub_amqp::{Batching, Condition, Interruption, Lost, Schedule, SendError};
use iothub_tests::supervised::actions;

const SLOT: SlotId = SlotId(0);
const LANE: LaneId = LaneId {
    slot: SLOT,
    kind: LaneKind::Telemetry,
};

/// A supervisor whose link is up.
fn supervisor_up(now: Instant) -> Supervisor {
    supervisor_with(now, true)
}

/// One whose tokens live for an hour.
fn supervisor_with(now: Instant, renews: bool) -> Supervisor {
    supervisor_of(now, Duration::from_secs(3600), renews)
}

fn supervisor_of(now: Instant, left: Duration, renews: bool) -> Supervisor {
    supervisor_that(now, TokenLife { left, renews }, Batching::Off)
}

fn supervisor_that(now: Instant, life: TokenLife, batching: Batching) -> Supervisor {
    supervisor_to(now, life, batching, true)
}

fn supervisor_to(now: Instant, life: TokenLife, batching: Batching, recover: bool) -> Supervisor {
    let settings = Settings {
        sign_in: SignIn::Plain,
        lifetime: Lifetime::OfItsSlots,
        recover,
        schedule: Schedule::default(),
        operation_timeout: Duration::from_secs(30),
        window_bytes: 1 << 20,
        seed: 1,
    };
    let mut supervisor = Supervisor::new(settings, now);
    let settings = SlotSettings {
        principal: Principal::Device,
        settle_timeout: Duration::from_secs(30),
        window: 16,
        batching,
    };
    supervisor.handle(Input::Join { slot: SLOT, settings }, now);
    supervisor.handle_timeout(now);
    supervisor.handle(
        Input::Token {
            slot: SLOT,
            result: Ok(life),
        },
        now,
    );
    supervisor.handle(Input::Up { conn: 1 }, now);
    let epoch = Epoch {
        conn: 1,
        session: 0,
        lane: 1,
    };
    supervisor.handle(
        Input::LaneUp {
            lane: LANE,
            epoch,
            limit: 0,
        },
        now,
    );
    actions(&mut supervisor);
    supervisor
}

#[test]
fn a_token_that_expires_while_offline_is_replaced_before_the_next_attempt() {
    let now = Instant::now();
    let mut supervisor = supervisor_up(now);
    let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    let next = supervisor.poll_timeout().unwrap();
    assert!(next <= now + Duration::from_secs(10));
    // The machine slept for two hours.
    supervisor.handle_timeout(now + Duration::from_secs(7200));
    let done = actions(&mut supervisor);
    assert!(done.contains(&Action::FetchToken(SLOT)), "{done:?}");
    assert!(
        !done.iter().any(|action| matches!(action, Action::Dial { .. })),
        "{done:?}"
    );
}

const FIRST: Epoch = Epoch {
    conn: 1,
    session: 0,
    lane: 1,
};

fn spoilt() -> Input {
    Input::SessionSpoilt {
        lane: LANE,
        epoch: FIRST,
    }
}

fn enqueued(supervisor: &mut Supervisor, ticket: u64, now: Instant) -> Vec<Action> {
    let limit = Duration::from_secs(60);
    let input = Input::Enqueue {
        slot: SLOT,
        ticket: TicketId(ticket),
        size: 10,
        deadline: now + limit,
        limit,
    };
    supervisor.handle(input, now);
    actions(supervisor)
}

/// The engine holds back what a link of before was given, while the telemetry link lives and goes on.
#[test]
fn a_spoilt_session_is_replaced_with_its_living_link_detached_and_what_that_was_given_in_doubt() {
    let now = Instant::now();
    let mut supervisor = supervisor_up(now);
    for ticket in 0..2 {
        assert_eq!(enqueued(&mut supervisor, ticket, now).len(), 1);
    }
    supervisor.handle(spoilt(), now);
    let next = Epoch {
        session: 1,
        lane: 2,
        ..FIRST
    };
    let lanes = |told: &[Action]| -> Vec<Action> {
        let is_lane = |action: &&Action| matches!(action, Action::OpenLane(..) | Action::CloseLane(..));
        told.iter().filter(is_lane).cloned().collect()
    };
    let told = actions(&mut supervisor);
    assert_eq!(
        lanes(&told),
        [Action::CloseLane(LANE, FIRST), Action::OpenLane(LANE, next)]
    );
    // Until it has heard of that the link goes on, so neither is known not to have left.
    let (slot, ticket) = (SLOT, TicketId(0));
    supervisor.handle(Input::Withdraw { slot, ticket }, now);
    // Another lane of the session may tell the same.
    supervisor.handle(spoilt(), now);
    assert_eq!(actions(&mut supervisor), []);
    let later = now + Duration::from_secs(60);
    supervisor.handle_timeout(later);
    let unknown = |action: &&Action| matches!(action, Action::Complete(_, Err(SendError::Unknown(_))));
    assert_eq!(actions(&mut supervisor).iter().filter(unknown).count(), 2);
}

/// Only a subscription has gone, of the application's own will.
#[test]
fn without_recovery_a_client_whose_session_is_spoilt_goes_on() {
    let now = Instant::now();
    let life = TokenLife {
        left: Duration::from_secs(3600),
        renews: true,
    };
    let mut supervisor = supervisor_to(now, life, Batching::Off, false);
    supervisor.handle(spoilt(), now);
    assert_eq!(actions(&mut supervisor), []);
    let told = enqueued(&mut supervisor, 0, now);
    assert!(
        matches!(told[..], [Action::Transfer { epoch: FIRST, .. }]),
        "{told:?}"
    );
}

/// Tokens of an hour that can't be had again, on a connection that has lived for `age`.
fn with_one_token(age: Duration) -> (Supervisor, Instant) {
    let now = Instant::now();
    let mut supervisor = supervisor_with(now, false);
    supervisor.handle_timeout(now + age);
    (supervisor, now + age)
}

#[test]
fn the_one_token_of_a_client_is_used_until_its_end_and_not_after_it() {
    let (mut supervisor, now) = with_one_token(Duration::from_secs(3500));
    let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    let next = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(next);
    assert!(actions(&mut supervisor).contains(&Action::Dial { conn: 2 }));

    let (mut supervisor, now) = with_one_token(Duration::from_secs(3700));
    let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    let next = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(next);
    let done = actions(&mut supervisor);
    let ended = Action::Finished(Err(Interruption::TokenExpired));
    assert!(done.contains(&ended), "{done:?}");
    assert!(
        !done.iter().any(|action| matches!(action, Action::Dial { .. })),
        "{done:?}"
    );
}

#[test]
fn what_a_hub_says_to_the_one_token_after_its_end_is_told_as_its_end() {
    for (age, expected) in [
        (
            3500,
            Interruption::Refused(Condition::new("amqp:unauthorized-access", None)),
        ),
        (3700, Interruption::TokenExpired),
    ] {
        let (mut supervisor, now) = with_one_token(Duration::from_secs(age));
        let refused = Interruption::Refused(Condition::new("amqp:unauthorized-access", None));
        let cause = Cause::ended(refused, Operation::Connection);
        supervisor.handle(Input::Lost { conn: 1, cause }, now);
        let done = actions(&mut supervisor);
        assert!(done.contains(&Action::Finished(Err(expected))), "{done:?}");
    }
}

#[test]
fn a_token_that_a_clock_gone_wrong_takes_for_ended_is_left_to_the_hub() {
    let now = Instant::now();
    let mut supervisor = supervisor_of(now, Duration::ZERO, false);
    let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    let next = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(next);
    assert!(actions(&mut supervisor).contains(&Action::Dial { conn: 2 }));
}

#[test]
fn a_token_that_nears_its_end_is_replaced_with_its_connection_and_nothing_is_lost() {
    let now = Instant::now();
    let mut supervisor = supervisor_up(now);
    let due = supervisor.poll_timeout().unwrap();
    let share = (due - now).as_secs_f64() / 3600.0;
    assert!((0.75..=0.85).contains(&share), "{share}");
    supervisor.handle_timeout(due);
    assert_eq!(actions(&mut supervisor), [Action::FetchToken(SLOT)]);
    let life = TokenLife {
        left: Duration::from_secs(3600),
        renews: true,
    };
    supervisor.handle(
        Input::Token {
            slot: SLOT,
            result: Ok(life),
        },
        due,
    );
    let done = actions(&mut supervisor);
    assert!(
        done.iter()
            .any(|action| matches!(action, Action::CloseGently { conn: 1, .. })),
        "{done:?}"
    );
    let result = Ok(());
    supervisor.handle(Input::Closed { conn: 1, result }, due);
    assert_eq!(actions(&mut supervisor), [Action::Dial { conn: 2 }]);
    assert_eq!(supervisor.statistics(SLOT).unwrap_or_default().resent, 0);
}

#[test]
fn a_link_that_is_stolen_three_times_within_a_minute_is_left_to_the_thief() {
    let mut now = Instant::now();
    let mut supervisor = supervisor_up(now);
    let ticket = TicketId(1);
    let (limit, size) = (Duration::from_secs(3600), 1);
    let deadline = now + limit;
    supervisor.handle(
        Input::Enqueue {
            slot: SLOT,
            ticket,
            size,
            deadline,
            limit,
        },
        now,
    );
    let stolen = Interruption::Refused(Condition::new("amqp:link:stolen", None));
    for lane in 1..=3 {
        let epoch = Epoch {
            conn: 1,
            session: 0,
            lane,
        };
        let cause = Cause::ended(stolen.clone(), Operation::Link);
        supervisor.handle(
            Input::LaneLost {
                lane: LANE,
                epoch,
                cause,
            },
            now,
        );
        now = supervisor
            .poll_timeout()
            .map_or(now, |at| at.min(now + Duration::from_secs(2)));
        supervisor.handle_timeout(now);
        let epoch = Epoch {
            lane: lane + 1,
            ..epoch
        };
        supervisor.handle(
            Input::LaneUp {
                lane: LANE,
                epoch,
                limit: 0,
            },
            now,
        );
    }
    let done = actions(&mut supervisor);
    let told = Action::Complete(ticket, Err(SendError::NotSent(Interruption::Stolen)));
    assert!(done.contains(&told), "{done:?}");
    assert!(
        done.contains(&Action::Finished(Err(Interruption::Stolen))),
        "{done:?}"
    );
}

fn message(ticket: u64, limit: Duration, now: Instant) -> Input {
    Input::Enqueue {
        slot: SLOT,
        ticket: TicketId(ticket),
        size: 1,
        deadline: now + limit,
        limit,
    }
}

fn enqueue(supervisor: &mut Supervisor, ticket: u64, limit: Duration, now: Instant) {
    supervisor.handle(message(ticket, limit, now), now);
}

#[test]
fn what_follows_from_what_is_noted_is_due_at_once_and_decided_for_all_of_it() {
    let now = Instant::now();
    let mut supervisor = supervisor_up(now);
    for ticket in 1..=3 {
        supervisor.note(message(ticket, Duration::from_secs(3600), now), now);
        assert_eq!(supervisor.poll_timeout(), Some(now));
    }
    assert_eq!(actions(&mut supervisor), []);
    supervisor.handle_timeout(now);
    let handed = actions(&mut supervisor);
    let transfers = handed.iter().map(|action| match action {
        Action::Transfer { tickets, .. } => tickets.as_slice(),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        transfers.collect::<Vec<_>>(),
        [[TicketId(1)], [TicketId(2)], [TicketId(3)]]
    );
    assert!(supervisor.poll_timeout().unwrap() > now);
}

const FIRST_LINK: Epoch = Epoch {
    conn: 1,
    session: 0,
    lane: 1,
};

#[test]
fn what_a_link_may_have_handed_over_unheard_is_never_said_to_be_not_sent() {
    let now = Instant::now();
    let mut supervisor = supervisor_up(now);
    enqueue(&mut supervisor, 1, Duration::from_secs(3600), now);
    enqueue(&mut supervisor, 2, Duration::from_secs(31), now);
    let epoch = FIRST_LINK;
    let transfer = TransferId(0);
    supervisor.handle(
        Input::Handed {
            lane: LANE,
            epoch,
            transfer,
        },
        now,
    );
    // The first message's settlement never comes, so the link is given up; that it took the second is not heard yet.
    supervisor.handle_timeout(now + Duration::from_secs(30));
    supervisor.handle_timeout(now + Duration::from_secs(31));
    let done = actions(&mut supervisor);
    let second = done.iter().find_map(|action| match action {
        Action::Complete(TicketId(2), result) => Some(result.clone()),
        _ => None,
    });
    assert!(matches!(second, Some(Err(SendError::Unknown(_)))), "{done:?}");
}

#[test]
fn of_a_link_of_before_an_acceptance_counts_and_nothing_else() {
    let now = Instant::now();
    let mut supervisor = supervisor_up(now);
    enqueue(&mut supervisor, 1, Duration::from_secs(3600), now);
    let transfer = TransferId(0);
    let epoch = FIRST_LINK;
    supervisor.handle(
        Input::Handed {
            lane: LANE,
            epoch,
            transfer,
        },
        now,
    );
    let later = now + Duration::from_secs(30);
    supervisor.handle_timeout(later);
    assert_eq!(supervisor.poll_timeout(), Some(later));
    supervisor.handle_timeout(later);
    // By a session of its own: on that of before the engine may still hold the transfer, and send it by the new link.
    let second = Epoch {
        session: 1,
        lane: 2,
        ..FIRST_LINK
    };
    supervisor.handle(
        Input::LaneUp {
            lane: LANE,
            epoch: second,
            limit: 0,
        },
        later,
    );
    let again = actions(&mut supervisor);
    assert!(again.contains(&Action::OpenLane(LANE, second)), "{again:?}");
    assert!(
        again
            .iter()
            .any(|action| matches!(action, Action::Transfer { .. })),
        "{again:?}"
    );

    let rejected = Outcome::Rejected(Condition::new("amqp:not-allowed", None));
    for outcome in [rejected, Outcome::Released] {
        supervisor.handle(
            Input::Settled {
                lane: LANE,
                epoch,
                transfer,
                outcome,
            },
            later,
        );
        assert_eq!(actions(&mut supervisor), []);
    }
    let outcome = Outcome::Accepted;
    supervisor.handle(
        Input::Settled {
            lane: LANE,
            epoch,
            transfer,
            outcome,
        },
        later,
    );
    let done = actions(&mut supervisor);
    assert!(
        matches!(done[..], [Action::Complete(TicketId(1), Ok(_))]),
        "{done:?}"
    );
    // The copy on the present link is the hub's duplicate: counted, told to nobody.
    let (epoch, transfer) = (second, TransferId(1));
    let outcome = Outcome::Accepted;
    supervisor.handle(
        Input::Settled {
            lane: LANE,
            epoch,
            transfer,
            outcome,
        },
        later,
    );
    assert_eq!(actions(&mut supervisor), []);
    assert_eq!(supervisor.statistics(SLOT).unwrap_or_default().duplicates, 1);
}

#[test]
fn a_line_too_slow_for_the_outcome_of_the_largest_batch_gets_smaller_ones() {
    const MESSAGES: u64 = 300;
    const SIZE: usize = 1_000;
    // What such a line carries within the settle time-out.
    const CARRIED: usize = 8_000;
    let now = Instant::now();
    let life = TokenLife {
        left: Duration::from_secs(24 * 3600),
        renews: true,
    };
    let mut supervisor = supervisor_that(now, life, Batching::On);
    for ticket in 0..MESSAGES {
        let input = Input::Enqueue {
            slot: SLOT,
            ticket: TicketId(ticket),
            size: SIZE,
            deadline: now + Duration::from_secs(24 * 3600),
            limit: Duration::from_secs(24 * 3600),
        };
        supervisor.handle(input, now);
    }
    let (mut at, mut accepted, mut most) = (now, 0, 0);
    while accepted < MESSAGES {
        while let Some(action) = supervisor.poll_action() {
            let fact = match action {
                Action::Transfer {
                    lane,
                    epoch,
                    transfer,
                    tickets,
                } => {
                    most = most.max(tickets.len());
                    let is_carried = tickets.len() * SIZE <= CARRIED;
                    let outcome = Outcome::Accepted;
                    supervisor.handle(
                        Input::Handed {
                            lane,
                            epoch,
                            transfer,
                        },
                        at,
                    );
                    is_carried.then_some(Input::Settled {
                        lane,
                        epoch,
                        transfer,
                        outcome,
                    })
                }
                Action::FetchToken(slot) => Some(Input::Token {
                    slot,
                    result: Ok(life),
                }),
                Action::Dial { conn } => Some(Input::Up { conn }),
                Action::OpenLane(lane, epoch) => Some(Input::LaneUp {
                    lane,
                    epoch,
                    limit: 0,
                }),
                Action::Complete(_, result) => {
                    assert!(result.is_ok(), "{result:?}");
                    accepted += 1;
                    None
                }
                _ => None,
            };
            if let Some(fact) = fact {
                supervisor.handle(fact, at);
            }
        }
        assert!(
            at < now + Duration::from_secs(3600),
            "{accepted} of {MESSAGES} came through in an hour"
        );
        if accepted < MESSAGES {
            at = at.max(supervisor.poll_timeout().unwrap());
            supervisor.handle_timeout(at);
        }
    }
    assert!(most > 200, "the first is as large as can be: {most} messages");
}
