//! Goal: what many devices and long times bring comes out right: the queue for `$cbs`, a day of renewals, a hub that
//! restarts under a thousand clients, messages of one device that crowd the connection.
//! Method: supervisors in virtual time, with a driver and a hub of a few lines that do what they are asked.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use iothub_amqp::recovery::{Operation, Recovery};
use iothub_amqp::supervisor::{
    Action, Cause, Epoch, Input, LaneId, LaneKind, Lifetime, MAX_PUTS, Question, RequestId, SignIn, SlotId,
    Supervisor, TicketId,
};
use iothub_amqp::{Condition, Interruption, Lost, Phase, SendError, Status};
use iothub_tests::supervised::{
    HOUR, LIMIT, actions, done, enqueue, join, obey, shared, supervisor, telemetry,
};

#[test]
fn no_more_than_30_tokens_wait_for_the_hub_and_each_answer_makes_room_for_one() {
    let now = Instant::now();
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, now);
    for slot in 0..100 {
        join(&mut supervisor, slot, now);
    }
    let mut put = Vec::new();
    for action in actions(&mut supervisor) {
        supervisor.handle(done(&action).unwrap(), now);
    }
    for action in actions(&mut supervisor) {
        match action {
            Action::Dial { .. } => supervisor.handle(done(&action).unwrap(), now),
            other => panic!("{other:?}"),
        }
    }
    let mut lanes = 0;
    for round in 0.. {
        for action in actions(&mut supervisor) {
            match action {
                Action::PutToken { .. } => put.push(action),
                Action::OpenLane(..) => lanes += 1,
                _ => {}
            }
        }
        assert!(put.len() - round <= MAX_PUTS && supervisor.puts_in_flight() <= MAX_PUTS);
        let Some(next) = put.get(round) else { break };
        supervisor.handle(done(next).unwrap(), now);
    }
    let slots: BTreeSet<_> = put
        .iter()
        .map(|action| match action {
            Action::PutToken { slot, .. } => *slot,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((put.len(), slots.len(), lanes), (100, 100, 100));
}

#[test]
fn a_day_with_tokens_of_an_hour_costs_no_message_no_connection_and_at_most_31_tokens() {
    let start = Instant::now();
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::OfItsSlots, 7, start);
    join(&mut supervisor, 0, start);
    let mut seen = obey(&mut supervisor, start);
    let (mut now, mut ticket) = (start, 0);
    while now < start + 24 * HOUR {
        let message = now + Duration::from_secs(10);
        now = supervisor.poll_timeout().map_or(message, |due| due.min(message));
        if now == message {
            enqueue(&mut supervisor, 0, ticket, 100, now);
            ticket += 1;
        }
        supervisor.handle_timeout(now);
        seen.extend(obey(&mut supervisor, now));
    }
    let statistics = supervisor.statistics(SlotId(0)).unwrap_or_default();
    assert_eq!((statistics.accepted, statistics.waiting), (ticket, 0));
    assert!(ticket > 8_000, "{ticket}");
    assert_eq!(
        (statistics.attempts, statistics.links, statistics.resent),
        (1, 1, 0)
    );
    assert!(
        (25..=31).contains(&statistics.tokens_put),
        "{}",
        statistics.tokens_put
    );
    assert!(!seen.iter().any(|action| matches!(action, Action::Blow { .. })));
}

/// A thousand clients whose hub is gone for so long: the most attempts within any second, and when the last is back.
fn restart(down: Duration) -> (usize, Duration) {
    const CLIENTS: u64 = 1000;
    let start = Instant::now();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let mut client = supervisor(SignIn::Claims, Lifetime::OfItsSlots, seed, start);
            join(&mut client, 0, start);
            obey(&mut client, start);
            client
        })
        .collect();
    // They have been well for a long time.
    let cut = start + 600 * Duration::from_secs(1);
    let mut agenda = BTreeMap::new();
    for (number, client) in clients.iter_mut().enumerate() {
        client.handle_timeout(cut);
        let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
        client.handle(Input::Lost { conn: 1, cause }, cut);
        agenda.insert((client.poll_timeout().unwrap(), number), ());
    }
    let mut attempts: Vec<Duration> = Vec::new();
    let mut last = Duration::ZERO;
    while let Some(((at, number), ())) = agenda.pop_first() {
        let client = &mut clients[number];
        client.handle_timeout(at);
        let mut back = false;
        let refused = at < cut + down;
        for action in actions(client) {
            match action {
                Action::Dial { conn } => {
                    attempts.push(at - cut);
                    let cause = Cause {
                        why: Interruption::NoConnection("refused".to_owned()),
                        recovery: Recovery::Reconnect,
                    };
                    if refused {
                        client.handle(Input::Lost { conn, cause }, at);
                    } else {
                        client.handle(Input::Up { conn }, at);
                        back = true;
                    }
                }
                action => drop(done(&action).map(|fact| client.handle(fact, at))),
            }
        }
        if back {
            last = at - cut;
        } else {
            agenda.insert((client.poll_timeout().unwrap(), number), ());
        }
    }
    attempts.sort_unstable();
    let second = Duration::from_secs(1);
    let peak = (0..attempts.len())
        .map(|from| attempts[from..].partition_point(|at| *at < attempts[from] + second))
        .max()
        .unwrap();
    (peak, last)
}

#[test]
fn a_thousand_clients_come_back_to_a_hub_that_restarts_without_a_rush() {
    let (peak, last) = restart(Duration::ZERO);
    assert!(peak <= 150, "{peak} attempts within a second");
    assert!(
        last <= Duration::from_secs(180),
        "the last is back after {last:?}"
    );
    // Gone for long enough that every first attempt fails.
    let (_, last) = restart(Duration::from_secs(45));
    assert!(
        last <= Duration::from_secs(180),
        "the last is back after {last:?}"
    );
}

fn transfers(actions: &[Action], slot: u32) -> usize {
    let of = |action: &&Action| matches!(action, Action::Transfer { lane, .. } if lane.slot == SlotId(slot));
    actions.iter().filter(of).count()
}

#[test]
fn a_device_that_floods_the_connection_leaves_each_other_one_a_message_on_its_way() {
    let now = Instant::now();
    let mut supervisor = shared(3, now);
    // Six of 200 KB are over the budget of 1 MiB.
    for ticket in 0..10 {
        enqueue(&mut supervisor, 0, ticket, 200_000, now);
    }
    enqueue(&mut supervisor, 1, 100, 200_000, now);
    enqueue(&mut supervisor, 1, 101, 200_000, now);
    let out = actions(&mut supervisor);
    assert_eq!((transfers(&out, 0), transfers(&out, 1)), (5, 1));
    // What comes to its end makes room for who has waited longer.
    let mut more = Vec::new();
    for transfer in &out[..3] {
        supervisor.handle(done(transfer).unwrap(), now);
        more.extend(actions(&mut supervisor));
    }
    assert_eq!((transfers(&more, 0), transfers(&more, 1)), (1, 1), "{more:?}");
}

#[test]
fn a_silent_link_is_its_own_device_s_matter_while_others_are_heard_and_the_connection_s_when_none_is() {
    for others_live in [true, false] {
        let now = Instant::now();
        let mut supervisor = shared(2, now);
        enqueue(&mut supervisor, 0, 1, 10, now);
        let mut at = now;
        let mut blown = false;
        let mut restarted = false;
        for _ in 0..8 {
            for action in actions(&mut supervisor) {
                match action {
                    Action::Blow { .. } => blown = true,
                    Action::OpenLane(lane, epoch) => {
                        // The session is begun anew first in any case; what is looked for is the device that goes on alone.
                        restarted |= epoch.session > 1 && lane == telemetry(0);
                        supervisor.handle(
                            Input::LaneUp {
                                lane,
                                epoch,
                                limit: 0,
                            },
                            at,
                        );
                    }
                    Action::Transfer {
                        lane,
                        epoch,
                        transfer,
                        ..
                    } => {
                        supervisor.handle(
                            Input::Handed {
                                lane,
                                epoch,
                                transfer,
                            },
                            at,
                        );
                        if lane.slot == SlotId(1) {
                            supervisor.handle(done(&action).unwrap(), at);
                        }
                    }
                    _ => {}
                }
            }
            at += Duration::from_secs(16);
            if others_live {
                enqueue(&mut supervisor, 1, 100 + (at - now).as_secs(), 10, at);
            }
            supervisor.handle_timeout(at);
        }
        assert_eq!(
            (blown, restarted),
            (!others_live, others_live),
            "others live: {others_live}"
        );
    }
}

#[test]
fn throttling_and_a_stolen_link_end_or_slow_one_device_only() {
    let now = Instant::now();
    let mut supervisor = shared(2, now);
    let lost = |supervisor: &mut Supervisor, name: &str, epoch: Epoch, at: Instant| {
        let why = Interruption::Refused(Condition::new(name, None));
        let cause = Cause::ended(why, Operation::Link);
        let lane = telemetry(0);
        supervisor.handle(Input::LaneLost { lane, epoch, cause }, at);
    };
    let mut epoch = Epoch {
        conn: 1,
        session: 0,
        lane: 1,
    };
    lost(
        &mut supervisor,
        "com.microsoft:device-container-throttled",
        epoch,
        now,
    );
    let told = actions(&mut supervisor);
    let Some(Action::Report(SlotId(0), Status::Throttled { until, .. })) = told.first() else {
        panic!("{told:?}")
    };
    assert!(
        *until >= now + Duration::from_secs(1),
        "slower than a plain retry"
    );
    let mut at = *until;
    supervisor.handle_timeout(at);
    for _ in 0..3 {
        obey(&mut supervisor, at);
        epoch.lane += 1;
        lost(&mut supervisor, "amqp:link:stolen", epoch, at);
        at = supervisor.poll_timeout().unwrap().max(at);
        supervisor.handle_timeout(at);
    }
    let told = actions(&mut supervisor);
    let stolen = Action::Report(
        SlotId(0),
        Status::Ended {
            why: Interruption::Stolen,
        },
    );
    assert!(told.contains(&stolen), "{told:?}");
    assert!(told.contains(&Action::EndSession { slot: SlotId(0) }), "{told:?}");
    // The other goes on.
    enqueue(&mut supervisor, 1, 1, 10, at);
    let out = obey(&mut supervisor, at);
    assert!(
        out.iter()
            .any(|action| matches!(action, Action::Complete(TicketId(1), Ok(_)))),
        "{out:?}"
    );
    enqueue(&mut supervisor, 0, 2, 10, at);
    let told = actions(&mut supervisor);
    assert_eq!(
        told,
        [Action::Complete(
            TicketId(2),
            Err(SendError::NotSent(Interruption::Stolen))
        )]
    );
}

#[test]
fn what_the_hub_says_to_a_token_that_has_had_its_time_is_no_last_word() {
    let now = Instant::now();
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::OfItsSlots, 1, now);
    join(&mut supervisor, 0, now);
    obey(&mut supervisor, now);
    // The machine slept for two hours, and finds the hub's word for that in its socket.
    let later = now + 2 * HOUR;
    let why = Interruption::Refused(Condition::new(
        "amqp:unauthorized-access",
        Some("token expired".into()),
    ));
    let cause = Cause::ended(why, Operation::Connection);
    supervisor.handle(
        Input::Lost {
            conn: 1,
            cause: cause.clone(),
        },
        later,
    );
    let told = actions(&mut supervisor);
    assert!(
        matches!(told[..], [Action::Report(_, Status::Recovering { .. })]),
        "{told:?}"
    );
    let next = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(next);
    let done = obey(&mut supervisor, next);
    let fetched = done
        .iter()
        .position(|action| matches!(action, Action::FetchToken(_)))
        .unwrap();
    let dialled = done
        .iter()
        .position(|action| matches!(action, Action::Dial { .. }))
        .unwrap();
    assert!(fetched < dialled, "a new token comes first: {done:?}");
    // Said of a token in its prime, it is the last word.
    supervisor.handle(Input::Lost { conn: 2, cause }, next);
    let told = actions(&mut supervisor);
    assert!(
        told.iter()
            .any(|action| matches!(action, Action::Finished(Err(_)))),
        "{told:?}"
    );
}

#[test]
fn a_twin_s_patch_that_was_never_offered_is_not_said_to_be_unknown() {
    let now = Instant::now();
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::OfItsSlots, 1, now);
    join(&mut supervisor, 0, now);
    obey(&mut supervisor, now);
    // The twin's links are asked for, and nobody attaches them.
    let ask = |supervisor: &mut Supervisor, request, at: Instant| {
        supervisor.handle(
            Input::Request {
                slot: SlotId(0),
                request: RequestId(request),
                question: Question::Report,
                deadline: at + LIMIT,
                limit: LIMIT,
            },
            at,
        );
    };
    ask(&mut supervisor, 0, now);
    supervisor.handle_timeout(now + LIMIT);
    let told = actions(&mut supervisor);
    let error = told.iter().find_map(|action| match action {
        Action::CompleteRequest(RequestId(0), Err(error)) => Some(error),
        _ => None,
    });
    assert!(
        matches!(error, Some(iothub_amqp::TwinError::NotAnswered(_))),
        "{told:?}"
    );
    // Sixty-four may wait, and no more.
    for request in 1..=65 {
        ask(&mut supervisor, 2 * request, now + LIMIT);
    }
    let told = actions(&mut supervisor);
    let too_many = Action::CompleteRequest(RequestId(130), Err(iothub_amqp::TwinError::TooMany));
    assert_eq!(
        told.iter()
            .filter(|action| matches!(action, Action::CompleteRequest(..)))
            .collect::<Vec<_>>(),
        [&too_many]
    );
}

const fn twin(slot: u32) -> LaneId {
    LaneId {
        slot: SlotId(slot),
        kind: LaneKind::Twin,
    }
}

/// Two devices, of which the first has its twin's links too; the epochs of its two lanes.
fn with_twin(now: Instant) -> (Supervisor, [(LaneId, Epoch); 2]) {
    let mut supervisor = shared(2, now);
    let request = Input::Request {
        slot: SlotId(0),
        request: RequestId(0),
        question: Question::Get,
        deadline: now + HOUR,
        limit: HOUR,
    };
    supervisor.handle(request, now);
    let opened = obey(&mut supervisor, now);
    let epoch = opened.iter().find_map(|action| match action {
        Action::OpenLane(lane, epoch) if *lane == twin(0) => Some(*epoch),
        _ => None,
    });
    let first = Epoch {
        conn: 1,
        session: 0,
        lane: 1,
    };
    let epoch = epoch.expect("the twin's links are asked for");
    (supervisor, [(telemetry(0), first), (twin(0), epoch)])
}

#[test]
fn sessions_that_end_in_a_row_are_begun_more_slowly_whichever_link_tells_of_it() {
    for tellers in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        let now = Instant::now();
        let (mut supervisor, mut lanes) = with_twin(now);
        let mut waits = Vec::new();
        for teller in tellers {
            let (lane, epoch) = lanes[teller];
            let why = Interruption::Refused(Condition::new("amqp:internal-error", None));
            let cause = Cause::ended(why, Operation::Session);
            assert_eq!(cause.recovery, Recovery::Resession);
            supervisor.handle(Input::LaneLost { lane, epoch, cause }, now);
            let begun = obey(&mut supervisor, now);
            for action in &begun {
                if let Action::OpenLane(lane, epoch) = action {
                    lanes[usize::from(*lane != telemetry(0))].1 = *epoch;
                }
            }
            waits.push(begun.iter().any(|action| matches!(action, Action::OpenLane(..))));
        }
        assert_eq!(waits, [true, false], "told by {tellers:?}");
    }
}

/// A hub takes so many tokens at a time, and here it answers one device alone: those who wait for their turn are not kept for ever.
#[test]
fn whoever_joins_behind_too_many_is_told_after_twelve_time_outs() {
    const JOINING: u32 = 400;
    let start = Instant::now();
    let mut supervisor = shared(1, start);
    for slot in 1..=JOINING {
        join(&mut supervisor, slot, start);
    }
    let mut ended = BTreeMap::new();
    let mut now = start;
    while now <= start + 13 * LIMIT {
        while let Some(action) = supervisor.poll_action() {
            match action {
                Action::Report(slot, Status::Ended { why }) => {
                    assert_eq!(ended.insert(slot, (now - start, why)), None);
                }
                Action::PutToken { slot, .. } if slot != SlotId(0) => {}
                action => drop(done(&action).map(|fact| supervisor.handle(fact, now))),
            }
        }
        now += Duration::from_secs(1);
        supervisor.handle_timeout(now);
        enqueue(&mut supervisor, 0, (now - start).as_secs(), 10, now);
    }
    let after = 12 * LIMIT;
    let all = |phase, after| Interruption::TimedOut { phase, after };
    let (asked, bound): (Vec<_>, Vec<_>) = ended
        .values()
        .partition(|(at, why)| *at < after && *why == all(Phase::Token, LIMIT));
    // Thirty at a time, each for one time-out; the twelfth thirty would have theirs just then.
    assert_eq!((asked.len(), bound.len()), (11 * 30, 70));
    assert!(
        bound
            .iter()
            .all(|(at, why)| (*at, why) == (after, &all(Phase::Open, after))),
        "{bound:?}"
    );
    assert_eq!(supervisor.statistics(SlotId(0)).unwrap().attempts, 1);
}
