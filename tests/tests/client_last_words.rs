//! Goal: what passes is not taken for a last word, what is one is not asked about for ever, and nobody waits for what nobody will say.
//! Method: the supervisor itself, told facts in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use iothub_amqp::recovery::{Operation, Recovery};
use iothub_amqp::supervisor::{
    Action, Cause, Epoch, Input, LaneId, LaneKind, Lifetime, Principal, Question, RequestId, SignIn, SlotId,
    Supervisor, TokenLife,
};
use iothub_amqp::{Condition, Interruption, Status};
use iothub_tests::supervised::{
    HOUR, LIMIT, SLOT, actions, answered, done, enqueue, join, joined, lane_up, obey, shared, subscribe,
    supervisor, telemetry, token,
};

const SECOND: Duration = Duration::from_secs(1);

fn refused(name: &str, operation: Operation) -> Cause {
    Cause::ended(Interruption::Refused(Condition::new(name, None)), operation)
}

fn unauthorized(operation: Operation) -> Cause {
    refused("amqp:unauthorized-access", operation)
}

fn ended(actions: &[Action]) -> Option<(SlotId, Interruption)> {
    actions.iter().find_map(|action| match action {
        Action::Report(slot, Status::Ended { why }) => Some((*slot, why.clone())),
        _ => None,
    })
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

/// The credential of the first device gives none until then; all else is done.
fn without_credential(supervisor: &mut Supervisor, until: Instant, mut now: Instant) -> Vec<Action> {
    let mut all = Vec::new();
    while now < until {
        for action in actions(supervisor) {
            let fact = match action {
                Action::FetchToken(SLOT) => {
                    let why = Interruption::NoConnection("the vault is restarted".to_owned());
                    let recovery = Recovery::Reconnect;
                    let result = Err(Cause { why, recovery });
                    Some(Input::Token { slot: SLOT, result })
                }
                _ => done(&action),
            };
            fact.into_iter().for_each(|fact| supervisor.handle(fact, now));
            all.push(action);
        }
        now = supervisor.poll_timeout().map_or(until, |due| due.min(until));
        supervisor.handle_timeout(now);
    }
    all
}

/// Until it is asked for a token.
fn asked_for_a_token(supervisor: &mut Supervisor) -> Instant {
    loop {
        let now = supervisor.poll_timeout().unwrap();
        supervisor.handle_timeout(now);
        if actions(supervisor).contains(&Action::FetchToken(SLOT)) {
            return now;
        }
    }
}

#[test]
fn what_is_said_of_the_old_token_while_the_new_one_is_on_its_way_is_no_last_word() {
    for devices in [1, 2] {
        let start = Instant::now();
        let mut supervisor = shared(devices, start);
        without_credential(&mut supervisor, start + HOUR, start);
        let now = asked_for_a_token(&mut supervisor);
        supervisor.handle(token(SLOT), now);
        let told = actions(&mut supervisor);
        assert!(
            matches!(told[..], [Action::PutToken { slot: SLOT, .. }]),
            "{told:?}"
        );
        // The hub has not seen the new one, and ends what the old one was for.
        let lane = telemetry(0);
        let mut epoch = Epoch {
            conn: 1,
            session: 0,
            lane: 1,
        };
        let cause = unauthorized(Operation::Link);
        let lost = |epoch| Input::LaneLost {
            lane,
            epoch,
            cause: cause.clone(),
        };
        supervisor.handle(lost(epoch), now);
        for action in &told {
            supervisor.handle(done(action).unwrap(), now);
        }
        let mut told = Vec::new();
        let (mut now, until) = (now, now + 60 * SECOND);
        while now < until {
            told.extend(obey(&mut supervisor, now));
            now = supervisor.poll_timeout().map_or(until, |due| due.min(until));
            supervisor.handle_timeout(now);
        }
        assert_eq!(ended(&told), None);
        for action in told {
            if let Action::OpenLane(opened, anew) = action
                && opened == lane
            {
                epoch = anew;
            }
        }
        assert_ne!((epoch.conn, epoch.session), (1, 0), "it is back");
        // Said of the new one it is.
        supervisor.handle(lost(epoch), now);
        assert_eq!(ended(&actions(&mut supervisor)), Some((SLOT, cause.why)));
    }
}

/// Whoever signs in by the connection has a new one for a new token, and leaves the old one when nothing flies any more.
#[test]
fn what_is_said_of_the_old_token_while_the_connection_is_replaced_is_no_last_word() {
    for of_link in [true, false] {
        let start = Instant::now();
        let mut supervisor = joined(SignIn::Plain, Principal::Device, 1, start);
        supervisor.handle(token(SLOT), start);
        supervisor.handle(Input::Up { conn: 1 }, start);
        let epoch = lane_up(&mut supervisor, LaneKind::Telemetry, start);
        without_credential(&mut supervisor, start + HOUR, start);
        let now = asked_for_a_token(&mut supervisor);
        enqueue(&mut supervisor, 0, 1, 10, now);
        supervisor.handle(token(SLOT), now);
        let (lane, conn) = (telemetry(0), 1);
        supervisor.handle(
            if of_link {
                let cause = unauthorized(Operation::Link);
                Input::LaneLost { lane, epoch, cause }
            } else {
                let cause = unauthorized(Operation::Connection);
                Input::Lost { conn, cause }
            },
            now,
        );
        let told = actions(&mut supervisor);
        assert_eq!(ended(&told), None, "of the link: {of_link}");
        let mut told = obey(&mut supervisor, now);
        let (mut now, until) = (now, now + 60 * SECOND);
        while now < until {
            supervisor.handle_timeout(now);
            told.extend(obey(&mut supervisor, now));
            now = supervisor.poll_timeout().map_or(until, |due| due.min(until));
        }
        assert!(told.contains(&Action::Dial { conn: 2 }), "of the link: {of_link}");
    }
}

/// The machine stands still for a while, and afterwards what has come is told before the time.
#[test]
fn a_connection_that_is_lost_when_its_credential_is_too_late_is_made_anew_with_the_next_token() {
    for seed in 0..20 {
        let start = Instant::now();
        let mut supervisor = supervisor(SignIn::Claims, Lifetime::OfItsSlots, seed, start);
        join(&mut supervisor, 0, start);
        obey(&mut supervisor, start);
        let mut now = asked_for_a_token(&mut supervisor) + LIMIT;
        let cause = Cause::ended(Interruption::Closed, Operation::Connection);
        supervisor.handle(Input::Lost { conn: 1, cause }, now);
        let until = now + 60 * SECOND;
        let mut told = obey(&mut supervisor, now);
        while now < until && !told.contains(&Action::Dial { conn: 2 }) {
            now = supervisor.poll_timeout().expect("there is something to wait for");
            supervisor.handle_timeout(now);
            told.extend(obey(&mut supervisor, now));
        }
        assert!(now < until, "seed {seed}: {told:?}");
    }
}

/// A token that the credential gives.
fn token_for(slot: SlotId, left: Duration, renews: bool) -> Input {
    let result = Ok(TokenLife { left, renews });
    Input::Token { slot, result }
}

/// A hub that takes 25 s for each token, thirty at a time, for a while.
#[test]
fn a_token_that_grew_old_in_the_queue_is_replaced_and_not_put() {
    const DEVICES: u32 = 160;
    const LIFE: Duration = Duration::from_secs(100);
    let start = Instant::now();
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, start);
    for slot in 0..DEVICES {
        join(&mut supervisor, slot, start);
    }
    let mut now = start;
    let mut given = BTreeMap::new();
    let mut answers = Vec::new();
    let mut up = BTreeSet::new();
    while now < start + 5 * 60 * SECOND {
        while let Some(action) = supervisor.poll_action() {
            match action {
                Action::FetchToken(slot) => {
                    given.insert(slot, now);
                    supervisor.handle(token_for(slot, LIFE, true), now);
                }
                Action::PutToken { conn, put, slot } => {
                    let age = now - given[&slot];
                    // It has a tenth of its life in any case.
                    assert!(age <= 90 * SECOND, "{age:?}");
                    let slow = now < start + 110 * SECOND;
                    let wait = if slow { 25 * SECOND } else { Duration::ZERO };
                    answers.push((now + wait, conn, put));
                }
                Action::OpenLane(lane, epoch) => {
                    let limit = 0;
                    supervisor.handle(Input::LaneUp { lane, epoch, limit }, now);
                    up.insert(lane.slot);
                }
                Action::Report(slot, Status::Ended { why }) => panic!("{slot:?}: {why:?}"),
                action => done(&action)
                    .into_iter()
                    .for_each(|fact| supervisor.handle(fact, now)),
            }
        }
        answers.sort_unstable();
        if let Some(&(at, conn, put)) = answers.first()
            && at <= now
        {
            answers.remove(0);
            let result = Ok(());
            supervisor.handle(Input::TokenPut { conn, put, result }, now);
            continue;
        }
        let next = answers.first().map_or(now + SECOND, |(at, ..)| *at);
        now = supervisor.poll_timeout().map_or(next, |due| due.min(next));
        supervisor.handle_timeout(now);
    }
    assert_eq!(up.len(), DEVICES as usize);
}

#[test]
fn a_token_that_had_its_time_when_the_hub_looked_at_it_is_replaced() {
    for devices in [1, 2] {
        let start = Instant::now();
        let mut supervisor = shared(devices, start);
        let cause = Cause::ended(Interruption::Closed, Operation::Connection);
        // By then no token is new.
        let now = start + HOUR;
        supervisor.handle(Input::Lost { conn: 1, cause }, now);
        let now = asked_for_a_token(&mut supervisor);
        supervisor.handle(token_for(SLOT, 20 * SECOND, true), now);
        supervisor.handle(Input::Up { conn: 2 }, now);
        let told = actions(&mut supervisor);
        let put = told.iter().find_map(|action| match action {
            Action::PutToken { put, slot: SLOT, .. } => Some(*put),
            _ => None,
        });
        let (conn, put) = (2, put.unwrap());
        let mut now = now + 18 * SECOND;
        let result = Err(unauthorized(Operation::PutToken));
        supervisor.handle(Input::TokenPut { conn, put, result }, now);
        let mut told = obey(&mut supervisor, now);
        assert_eq!(ended(&told), None);
        let until = now + 60 * SECOND;
        while now < until {
            now = supervisor.poll_timeout().map_or(until, |due| due.min(until));
            supervisor.handle_timeout(now);
            told.extend(obey(&mut supervisor, now));
        }
        let opened = |action: &Action| matches!(action, Action::OpenLane(lane, _) if *lane == telemetry(0));
        assert!(told.iter().any(opened), "{told:?}");
        assert!(told.contains(&Action::FetchToken(SLOT)));
    }
}

#[test]
fn a_device_that_has_ended_does_not_vouch_for_the_others_with_its_token() {
    const OTHER: SlotId = SlotId(1);
    let start = Instant::now();
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, start);
    join(&mut supervisor, OTHER.0, start);
    supervisor.handle_timeout(start);
    actions(&mut supervisor);
    supervisor.handle(token_for(OTHER, 24 * HOUR, false), start);
    obey(&mut supervisor, start);
    join(&mut supervisor, SLOT.0, start);
    obey(&mut supervisor, start);
    let epoch = Epoch {
        conn: 1,
        session: 0,
        lane: 1,
    };
    let (lane, cause) = (telemetry(OTHER.0), refused("amqp:not-found", Operation::Link));
    supervisor.handle(Input::LaneLost { lane, epoch, cause }, start);
    let told = actions(&mut supervisor);
    assert!(matches!(ended(&told), Some((OTHER, _))), "{told:?}");
    let now = start + 2 * HOUR;
    let cause = Cause::ended(Interruption::Closed, Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    let told = without_credential(&mut supervisor, now + 300 * SECOND, now);
    assert!(told.contains(&Action::FetchToken(SLOT)), "{told:?}");
    let dials = |action: &Action| matches!(action, Action::Dial { .. });
    assert!(!told.iter().any(dials), "nobody has a token: {told:?}");
    let (mut now, mut told) = (now + 300 * SECOND, Vec::new());
    while !told.contains(&Action::Dial { conn: 2 }) {
        told.extend(obey(&mut supervisor, now));
        now = supervisor.poll_timeout().unwrap();
        supervisor.handle_timeout(now);
    }
}

/// What the hub is asked of the twin just now.
fn asked(told: &[Action]) -> Option<(RequestId, Question)> {
    told.iter().find_map(|action| match action {
        Action::Ask {
            request, question, ..
        } => Some((*request, *question)),
        _ => None,
    })
}

/// A device with its twin's links up, and these.
fn with_twin(now: Instant) -> (Supervisor, LaneId, Epoch) {
    let mut supervisor = shared(1, now);
    let lane = subscribe(&mut supervisor, LaneKind::Twin, now);
    let epoch = lane_up(&mut supervisor, lane.kind, now);
    (supervisor, lane, epoch)
}

/// When the next question is put, and what it is.
fn next_question(supervisor: &mut Supervisor, until: Instant) -> Option<(Instant, RequestId, Question)> {
    let mut now = supervisor.poll_timeout()?;
    while now <= until {
        supervisor.handle_timeout(now);
        if let Some((request, question)) = asked(&actions(supervisor)) {
            return Some((now, request, question));
        }
        now = supervisor.poll_timeout()?;
    }
    None
}

#[test]
fn a_twin_that_lags_behind_what_was_told_of_it_is_read_again_more_and_more_slowly() {
    let start = Instant::now();
    let (mut supervisor, lane, epoch) = with_twin(start);
    let answer = |supervisor: &mut Supervisor, request, status, desired, now| {
        answered(supervisor, (lane, epoch), request, (status, desired), now);
    };
    let (request, question) = asked(&actions(&mut supervisor)).unwrap();
    assert_eq!(question, Question::Subscribe);
    answer(&mut supervisor, request, 204, None, start);
    let version = 5;
    supervisor.handle(Input::Changed { lane, epoch, version }, start);
    // What is new may be followed by what is newer: once more at once, and then in full jitter on 1, 2, 4, … 60 s.
    let (first, _) = asked(&actions(&mut supervisor)).unwrap();
    answer(&mut supervisor, first, 200, Some(4), start);
    let (mut request, _) = asked(&actions(&mut supervisor)).unwrap();
    let mut now = start;
    for step in [1, 2, 4, 8, 16, 32, 60, 60] {
        answer(&mut supervisor, request, 200, Some(4), now);
        assert_eq!(asked(&actions(&mut supervisor)), None, "not without a pause");
        let (at, next, _) = next_question(&mut supervisor, now + step * SECOND).unwrap();
        (now, request) = (at, next);
    }
    answer(&mut supervisor, request, 200, Some(5), now);
    let (slot, whole) = (SLOT, true);
    let told = actions(&mut supervisor);
    assert!(
        told.contains(&Action::DeliverDesired { slot, version, whole }),
        "{told:?}"
    );
    assert_eq!(next_question(&mut supervisor, now + 60 * SECOND), None);
}

#[test]
fn a_hub_that_throttles_a_twin_s_question_is_asked_on_the_slower_schedule_and_one_that_refuses_no_more() {
    for of in [Question::Subscribe, Question::Get] {
        for status in [429, 404] {
            let now = Instant::now();
            let (mut supervisor, lane, epoch) = with_twin(now);
            let mut answer = |status, now| {
                let (request, question) = asked(&actions(&mut supervisor)).unwrap();
                answered(&mut supervisor, (lane, epoch), request, (status, None), now);
                question
            };
            if of == Question::Get {
                answer(204, now);
            }
            assert_eq!(answer(status, now), of);
            let told = actions(&mut supervisor);
            let ends = told.iter().any(|action| {
                matches!(
                    action,
                    Action::Subscribed(_, Err(_)) | Action::StreamEnded(_, Interruption::Refused(_))
                )
            });
            assert_eq!(ends, status == 404, "{of:?}: {told:?}");
            let next = next_question(&mut supervisor, now + 60 * SECOND);
            if ends {
                assert_eq!(next, None);
            } else {
                // Between half of the first step of 10 s and all of it.
                let (at, _, question) = next.unwrap();
                assert!((5 * SECOND..=10 * SECOND).contains(&(at - now)), "{:?}", at - now);
                assert_eq!(question, of);
            }
        }
    }
}
