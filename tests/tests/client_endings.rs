//! Goal: ends that come in each other's way come out right: a closing while the connection is replaced, a link that is lost at once
//! and not the connection, a call that is given back.
//! Method: the supervisor itself, told facts in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, Instant};

use iothub_amqp::recovery::{Operation, Recovery};
use iothub_amqp::supervisor::{
    Action, Cause, DeliveryId, Epoch, Input, LaneId, LaneKind, Lifetime, NotHanded, Outcome, Principal,
    Question, RequestId, SignIn, SlotId, Supervisor, TicketId, TransferId, Verdict, Word,
};
use iothub_amqp::{Accepted, Condition, Interruption, Lost, SendError};
use iothub_tests::supervised::{
    SLOT, actions, answered, arrives, enqueue, join, joined, lane_opens, lane_up, obey, subscribe,
    supervisor, token, word,
};

const TELEMETRY: LaneId = LaneId {
    slot: SLOT,
    kind: LaneKind::Telemetry,
};
const SECOND: Duration = Duration::from_secs(1);

/// The hub takes the token that the supervisor puts just now.
fn token_put(supervisor: &mut Supervisor, conn: u32, now: Instant) {
    let told = actions(supervisor);
    let put = told.iter().find_map(|action| match action {
        Action::PutToken { put, .. } => Some(*put),
        _ => None,
    });
    let (put, result) = (put.unwrap_or_else(|| panic!("{told:?}")), Ok(()));
    supervisor.handle(Input::TokenPut { conn, put, result }, now);
}

fn settled(supervisor: &mut Supervisor, (epoch, transfer): (Epoch, TransferId), now: Instant) {
    let input = Input::Settled {
        lane: TELEMETRY,
        epoch,
        transfer,
        outcome: Outcome::Accepted,
    };
    supervisor.handle(input, now);
}

/// The transfer that the supervisor asks for just now, of one message.
fn transfer_of(ticket: u64, supervisor: &mut Supervisor) -> TransferId {
    let told = actions(supervisor);
    let found = told.iter().find_map(|action| match action {
        Action::Transfer {
            transfer, tickets, ..
        } if tickets.as_slice() == [TicketId(ticket)] => Some(*transfer),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{told:?}"))
}

#[test]
fn a_closing_while_the_connection_is_replaced_sends_what_waits_by_the_next_one() {
    let start = Instant::now();
    let mut supervisor = joined(SignIn::Plain, Principal::Device, 1, start);
    supervisor.handle(token(SLOT), start);
    supervisor.handle(Input::Up { conn: 1 }, start);
    let first = lane_up(&mut supervisor, LaneKind::Telemetry, start);
    let now = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(now);
    assert!(actions(&mut supervisor).contains(&Action::FetchToken(SLOT)));
    // One flies when the new token comes, and one waits for the connection that it is for.
    enqueue(&mut supervisor, 0, 1, 10, now);
    let flying = transfer_of(1, &mut supervisor);
    supervisor.handle(token(SLOT), now);
    enqueue(&mut supervisor, 0, 2, 10, now);
    settled(&mut supervisor, (first, flying), now);
    let told = actions(&mut supervisor);
    assert!(
        matches!(told.last(), Some(Action::CloseGently { conn: 1, .. })),
        "{told:?}"
    );
    let deadline = now + 60 * SECOND;
    supervisor.handle(Input::Close { deadline }, now);
    let (conn, result) = (1, Ok(()));
    supervisor.handle(Input::Closed { conn, result }, now);
    assert!(actions(&mut supervisor).contains(&Action::Dial { conn: 2 }));
    supervisor.handle(Input::Up { conn: 2 }, now);
    let second = lane_up(&mut supervisor, LaneKind::Telemetry, now);
    let last = transfer_of(2, &mut supervisor);
    settled(&mut supervisor, (second, last), now);
    let told = actions(&mut supervisor);
    assert!(
        matches!(
            told[..],
            [
                Action::Complete(TicketId(2), Ok(_)),
                Action::CloseGently { conn: 2, .. }
            ]
        ),
        "{told:?}"
    );
    let (conn, result) = (2, Ok(()));
    supervisor.handle(Input::Closed { conn, result }, now);
    assert!(actions(&mut supervisor).contains(&Action::Finished(Ok(()))));
}

/// When the supervisor dials next.
fn dials(supervisor: &mut Supervisor) -> Instant {
    loop {
        let now = supervisor.poll_timeout().unwrap();
        supervisor.handle_timeout(now);
        for action in actions(supervisor) {
            match action {
                Action::FetchToken(_) => supervisor.handle(token(SLOT), now),
                Action::Dial { .. } => return now,
                _ => {}
            }
        }
    }
}

/// How long the next attempt waits after four connections that were well for ten minutes each; on each but the first of them the
/// first link was lost before it was up, as by a hub that has just started.
fn wait_after_health(principal: Principal, kind: LaneKind, seed: u64) -> Duration {
    let mut now = Instant::now();
    let mut supervisor = joined(SignIn::Claims, principal, seed, now);
    supervisor.handle(token(SLOT), now);
    let lane = LaneId { slot: SLOT, kind };
    let mut wait = Duration::ZERO;
    for conn in 1..=4 {
        supervisor.handle(Input::Up { conn }, now);
        token_put(&mut supervisor, conn, now);
        if conn == 1 && principal == Principal::Service {
            subscribe(&mut supervisor, kind, now);
        }
        let mut epoch = lane_opens(&mut supervisor, kind, now);
        if conn > 1 {
            let detached = Interruption::Refused(Condition::new("amqp:link:detach-forced", None));
            let cause = Cause::ended(detached, Operation::Link);
            supervisor.handle(Input::LaneLost { lane, epoch, cause }, now);
            epoch = lane_opens(&mut supervisor, kind, now);
        }
        supervisor.handle(
            Input::LaneUp {
                lane,
                epoch,
                limit: 0,
            },
            now,
        );
        now += 600 * SECOND;
        let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
        supervisor.handle(Input::Lost { conn, cause }, now);
        let next = dials(&mut supervisor);
        (wait, now) = (next - now, next);
    }
    wait
}

/// The schedule: the first attempt after a loss within 10 s, evenly; after losses in a row, the second within 1 s.
#[test]
fn a_connection_that_was_well_is_made_anew_by_an_even_chance_of_ten_seconds_whatever_came_first_on_it() {
    for (principal, kind) in [
        (Principal::Device, LaneKind::Telemetry),
        (Principal::Service, LaneKind::Feedback),
    ] {
        let waits: Vec<_> = (1..=40)
            .map(|seed| wait_after_health(principal, kind, seed))
            .collect();
        assert!(waits.iter().all(|wait| *wait <= 10 * SECOND), "{waits:?}");
        let late = waits.iter().filter(|wait| **wait > 5 * SECOND).count();
        assert!((10..=30).contains(&late), "{late} of 40 within the second half");
    }
}

/// A call whose caller is not there any more has no word that the hub could be told; so there is nothing to wait for.
#[test]
fn a_call_that_comes_when_nobody_wants_any_keeps_no_link() {
    let now = Instant::now();
    let mut supervisor = joined(SignIn::Claims, Principal::Device, 1, now);
    supervisor.handle(token(SLOT), now);
    supervisor.handle(Input::Up { conn: 1 }, now);
    token_put(&mut supervisor, 1, now);
    lane_up(&mut supervisor, LaneKind::Telemetry, now);
    let lane = subscribe(&mut supervisor, LaneKind::Methods, now);
    let epoch = lane_up(&mut supervisor, lane.kind, now);
    let link = (lane, epoch);
    // One is given back, since the stream was dropped with it; one is kept for an answer; and one comes meanwhile.
    arrives(&mut supervisor, link, 1, now);
    supervisor.handle(word(link, 1, Verdict::Abandon), now);
    arrives(&mut supervisor, link, 2, now);
    supervisor.handle(Input::Unsubscribe(lane), now);
    arrives(&mut supervisor, link, 3, now);
    actions(&mut supervisor);
    supervisor.handle(word(link, 2, Verdict::Respond), now);
    let disposed = Input::Disposed {
        lane,
        epoch,
        delivery: DeliveryId(2),
    };
    supervisor.handle(disposed, now);
    let told = actions(&mut supervisor);
    assert!(told.contains(&Action::CloseLane(lane, epoch)), "{told:?}");
}

/// A supervisor that has offered two messages to its link, the first of which the link has handed over, and whose time to close
/// has come.
fn closed_with_one_offered(now: Instant) -> (Supervisor, Instant, (Epoch, TransferId), Vec<Action>) {
    let mut supervisor = joined(SignIn::Plain, Principal::Device, 1, now);
    supervisor.handle(token(SLOT), now);
    supervisor.handle(Input::Up { conn: 1 }, now);
    let epoch = lane_up(&mut supervisor, LaneKind::Telemetry, now);
    enqueue(&mut supervisor, 0, 1, 10, now);
    let handed = Input::Handed {
        lane: TELEMETRY,
        epoch,
        transfer: transfer_of(1, &mut supervisor),
    };
    supervisor.handle(handed, now);
    enqueue(&mut supervisor, 0, 2, 10, now);
    let offered = transfer_of(2, &mut supervisor);
    let deadline = now + 10 * SECOND;
    supervisor.handle(Input::Close { deadline }, now);
    actions(&mut supervisor);
    let late = supervisor.poll_timeout().unwrap();
    assert!(late < deadline);
    supervisor.handle_timeout(late);
    let told = actions(&mut supervisor);
    (supervisor, late, (epoch, offered), told)
}

fn completes(told: &[Action]) -> Vec<(TicketId, Result<Accepted, SendError>)> {
    let done = told.iter().filter_map(|action| match action {
        Action::Complete(ticket, result) => Some((*ticket, result.clone())),
        _ => None,
    });
    done.collect()
}

/// Of a message that a link has, and may hand over until it is detached, nobody knows that it is not sent.
#[test]
fn what_a_link_was_offered_when_the_time_to_close_is_over_is_told_as_the_link_tells_it() {
    let unknown = Err(SendError::Unknown(Interruption::Stopped));
    let not_sent = Err(SendError::NotSent(Interruption::Stopped));
    for handed in [false, true] {
        let (mut supervisor, now, (epoch, offered), told) = closed_with_one_offered(Instant::now());
        assert_eq!(completes(&told), [(TicketId(1), unknown.clone())]);
        let asked = Action::TakeBack {
            lane: TELEMETRY,
            epoch,
            transfer: offered,
        };
        assert!(told.contains(&asked), "{told:?}");
        assert!(
            matches!(told.last(), Some(Action::CloseGently { conn: 1, .. })),
            "{told:?}"
        );
        let (lane, transfer) = (TELEMETRY, offered);
        supervisor.handle(
            match handed {
                true => Input::Handed {
                    lane,
                    epoch,
                    transfer,
                },
                false => Input::NotHanded {
                    lane,
                    epoch,
                    transfer,
                    why: NotHanded::Withdrawn,
                },
            },
            now,
        );
        let (conn, result) = (1, Ok(()));
        supervisor.handle(Input::Closed { conn, result }, now);
        let outcome = if handed { &unknown } else { &not_sent };
        assert_eq!(
            completes(&actions(&mut supervisor)),
            [(TicketId(2), outcome.clone())]
        );
    }
}

const OTHER: SlotId = SlotId(1);

/// Two devices on one connection, both with their links up.
fn shared(now: Instant) -> (Supervisor, Epoch) {
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, now);
    join(&mut supervisor, 0, now);
    join(&mut supervisor, 1, now);
    let told = obey(&mut supervisor, now);
    let epoch = told.iter().find_map(|action| match action {
        Action::OpenLane(TELEMETRY, epoch) => Some(*epoch),
        _ => None,
    });
    (supervisor, epoch.unwrap())
}

fn opens(told: &[Action]) -> bool {
    told.iter()
        .any(|action| matches!(action, Action::OpenLane(lane, _) if lane.slot == SLOT))
}

#[test]
fn a_device_whose_session_is_being_ended_attaches_nothing_any_more() {
    let now = Instant::now();
    let (mut supervisor, epoch) = shared(now);
    let (slot, deadline) = (SLOT, now + 60 * SECOND);
    supervisor.handle(Input::Leave { slot, deadline }, now);
    assert!(actions(&mut supervisor).contains(&Action::EndSession { slot }));
    // Its link was detached by the hub at that moment.
    let detached = Interruption::Refused(Condition::new("amqp:link:detach-forced", None));
    let (lane, cause) = (TELEMETRY, Cause::ended(detached, Operation::Link));
    supervisor.handle(Input::LaneLost { lane, epoch, cause }, now);
    let later = now + 5 * SECOND;
    supervisor.handle_timeout(later);
    assert!(!opens(&actions(&mut supervisor)));
    assert!(supervisor.poll_timeout().is_none_or(|due| due > later));
    supervisor.handle(Input::SessionEnded { slot }, later);
    let told = actions(&mut supervisor);
    assert!(
        matches!(told.last(), Some(Action::Left(SLOT, _, Ok(())))),
        "{told:?}"
    );
}

#[test]
fn a_device_whose_session_was_being_ended_when_the_connection_was_lost_has_left() {
    let now = Instant::now();
    let (mut supervisor, _) = shared(now);
    let (slot, deadline) = (SLOT, now + 60 * SECOND);
    supervisor.handle(Input::Leave { slot, deadline }, now);
    assert!(actions(&mut supervisor).contains(&Action::EndSession { slot }));
    let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    let told = actions(&mut supervisor);
    let left = |action: &Action| matches!(action, Action::Left(SLOT, _, Ok(())));
    assert!(told.iter().any(left), "{told:?}");
    // The other one comes back, and that one does not.
    let back = now + 10 * SECOND;
    supervisor.handle_timeout(back);
    let told = obey(&mut supervisor, back);
    assert!(told.contains(&Action::Dial { conn: 2 }), "{told:?}");
    assert!(!opens(&told), "{told:?}");
}

#[test]
fn a_closing_that_meets_a_farewell_gives_that_no_more_time_than_it_has_itself() {
    let now = Instant::now();
    let (mut supervisor, _) = shared(now);
    for slot in [SLOT, OTHER] {
        let deadline = now + 60 * SECOND;
        supervisor.handle(Input::Leave { slot, deadline }, now);
        supervisor.handle(Input::SessionEnded { slot }, now);
    }
    let told = actions(&mut supervisor);
    assert!(
        matches!(told.last(), Some(Action::CloseGently { conn: 1, .. })),
        "{told:?}"
    );
    let deadline = now + SECOND;
    supervisor.handle(Input::Close { deadline }, now);
    assert_eq!(supervisor.poll_timeout(), Some(deadline));
    supervisor.handle_timeout(deadline);
    assert!(
        actions(&mut supervisor)
            .iter()
            .any(|action| matches!(action, Action::Finished(Err(_))))
    );
    assert_eq!(supervisor.poll_timeout(), None);
}

#[test]
fn a_device_whose_session_is_being_ended_when_all_is_closed_has_left_with_its_session() {
    let now = Instant::now();
    let (mut supervisor, _) = shared(now);
    enqueue(&mut supervisor, OTHER.0, 1, 10, now);
    let (slot, deadline) = (SLOT, now + 60 * SECOND);
    supervisor.handle(Input::Leave { slot, deadline }, now);
    supervisor.handle(Input::Close { deadline }, now);
    actions(&mut supervisor);
    // The other's message has no outcome yet.
    supervisor.handle(Input::SessionEnded { slot }, now + SECOND);
    let told = actions(&mut supervisor);
    assert!(
        matches!(told[..], [Action::Report(SLOT, _), Action::Left(SLOT, _, Ok(()))]),
        "{told:?}"
    );
}

/// Two devices whose connection was lost while the machine slept, and with that their tokens had their time: they ask for others
/// before it is made anew.
fn awaiting_tokens(start: Instant) -> (Supervisor, Instant) {
    let (mut supervisor, _) = shared(start);
    let now = start + 7200 * SECOND;
    let cause = Cause::ended(Interruption::Lost(Lost::Idle), Operation::Connection);
    supervisor.handle(Input::Lost { conn: 1, cause }, now);
    let now = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(now);
    let told = actions(&mut supervisor);
    for slot in [SLOT, OTHER] {
        assert!(told.contains(&Action::FetchToken(slot)), "{told:?}");
    }
    (supervisor, now)
}

#[test]
fn a_device_that_comes_when_all_who_wait_for_a_token_leave_asks_for_its_own() {
    const NEXT: SlotId = SlotId(2);
    for have_gone in [true, false] {
        let (mut supervisor, now) = awaiting_tokens(Instant::now());
        for slot in [SLOT, OTHER] {
            if !have_gone {
                enqueue(&mut supervisor, slot.0, slot.0.into(), 10, now);
            }
            let deadline = now + 60 * SECOND;
            supervisor.handle(Input::Leave { slot, deadline }, now);
        }
        let left = |action: &&Action| matches!(action, Action::Left(..));
        let left = actions(&mut supervisor).iter().filter(left).count();
        assert_eq!(left, if have_gone { 2 } else { 0 });
        join(&mut supervisor, NEXT.0, now);
        let soon = supervisor.poll_timeout().unwrap().max(now);
        assert!(soon < now + 60 * SECOND);
        supervisor.handle_timeout(soon);
        let told = actions(&mut supervisor);
        assert!(told.contains(&Action::FetchToken(NEXT)), "{told:?}");
    }
}

/// Of several devices none can have the connection's back-off for its own.
#[test]
fn devices_that_leave_while_the_connection_waits_for_a_token_ask_again_for_one_to_send_what_waits() {
    for everybody in [false, true] {
        let (mut supervisor, mut now) = awaiting_tokens(Instant::now());
        let deadline = now + 60 * SECOND;
        for slot in [SLOT, OTHER] {
            enqueue(&mut supervisor, slot.0, slot.0.into(), 10, now);
            let passing = Interruption::NoConnection("the vault is restarted".to_owned());
            let result = Err(Cause {
                why: passing,
                recovery: Recovery::Reconnect,
            });
            supervisor.handle(Input::Token { slot, result }, now);
            if !everybody {
                supervisor.handle(Input::Leave { slot, deadline }, now);
            }
        }
        if everybody {
            supervisor.handle(Input::Close { deadline }, now);
        }
        let mut outcomes = completes(&actions(&mut supervisor));
        for _ in 0..20 {
            if outcomes.len() == 2 {
                break;
            }
            now = supervisor.poll_timeout().unwrap();
            supervisor.handle_timeout(now);
            outcomes.extend(completes(&obey(&mut supervisor, now)));
        }
        assert!(
            outcomes.len() == 2 && outcomes.iter().all(|(_, outcome)| outcome.is_ok()),
            "{outcomes:?}"
        );
        assert!(now < deadline - 30 * SECOND);
    }
}

/// What a link has to pass on when it is given up it may have passed on.
#[test]
fn a_word_is_too_late_only_where_the_link_never_had_it() {
    let now = Instant::now();
    for given_up in [true, false] {
        let (mut supervisor, _) = shared(now);
        let lane = subscribe(&mut supervisor, LaneKind::Commands, now);
        let epoch = lane_up(&mut supervisor, lane.kind, now);
        let link = (lane, epoch);
        arrives(&mut supervisor, link, 1, now);
        arrives(&mut supervisor, link, 2, now);
        supervisor.handle(word(link, 1, Verdict::Complete), now);
        actions(&mut supervisor);
        if given_up {
            supervisor.handle(Input::Unsubscribe(lane), now);
            subscribe(&mut supervisor, lane.kind, now);
        } else {
            // The link has said all that it had to say, and this it had not.
            let detached = Interruption::Refused(Condition::new("amqp:link:detach-forced", None));
            let cause = Cause::ended(detached, Operation::Link);
            supervisor.handle(Input::LaneLost { lane, epoch, cause }, now);
        }
        supervisor.handle(word(link, 2, Verdict::Complete), now);
        let disposed = |action: &Action| match action {
            Action::Disposed { delivery, word, .. } => Some((delivery.0, *word)),
            _ => None,
        };
        let first = if given_up { Word::Unknown } else { Word::TooLate };
        let told: Vec<_> = actions(&mut supervisor).iter().filter_map(disposed).collect();
        assert_eq!(told, [(1, first), (2, Word::TooLate)]);
    }
}

/// Only an application is told what a twin says, and this one has said that it has no use for more.
#[test]
fn a_closing_waits_for_what_the_application_asks_the_twin_and_not_for_what_the_client_asks() {
    let now = Instant::now();
    let closed = |supervisor: &mut Supervisor| {
        let deadline = now + 60 * SECOND;
        supervisor.handle(Input::Close { deadline }, now);
        let told = actions(supervisor);
        told.iter()
            .any(|action| matches!(action, Action::CloseGently { .. }))
    };
    let asked = |supervisor: &mut Supervisor| {
        let told = actions(supervisor);
        let found = told.iter().find_map(|action| match action {
            Action::Ask {
                request, question, ..
            } => Some((*request, *question)),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{told:?}"))
    };
    for own in [Question::Subscribe, Question::Get] {
        let (mut supervisor, _) = shared(now);
        let lane = subscribe(&mut supervisor, LaneKind::Twin, now);
        let epoch = lane_up(&mut supervisor, lane.kind, now);
        let (request, question) = asked(&mut supervisor);
        assert_eq!(question, Question::Subscribe);
        if own == Question::Get {
            // What has changed before is read; later, whatever leaves a gap.
            answered(&mut supervisor, (lane, epoch), request, (204, None), now);
            assert_eq!(asked(&mut supervisor).1, own);
        }
        assert!(closed(&mut supervisor), "{own:?} has no answer");
    }
    let (mut supervisor, _) = shared(now);
    let (slot, limit) = (SLOT, 60 * SECOND);
    let request = Input::Request {
        slot,
        request: RequestId(2),
        question: Question::Get,
        deadline: now + limit,
        limit,
    };
    supervisor.handle(request, now);
    lane_up(&mut supervisor, LaneKind::Twin, now);
    assert!(!closed(&mut supervisor));
}

#[test]
fn who_closes_again_with_less_patience_waits_no_longer_than_that() {
    let start = Instant::now();
    let mut supervisor = joined(SignIn::Plain, Principal::Device, 1, start);
    supervisor.handle(token(SLOT), start);
    supervisor.handle(Input::Up { conn: 1 }, start);
    lane_up(&mut supervisor, LaneKind::Telemetry, start);
    enqueue(&mut supervisor, 0, 1, 10, start);
    for patience in [3600, 2, 60] {
        let deadline = start + patience * SECOND;
        supervisor.handle(Input::Close { deadline }, start);
    }
    // The message has no outcome, and the hub says nothing to the farewell either.
    loop {
        let now = supervisor.poll_timeout().expect("it closes");
        assert!(now <= start + 2 * SECOND, "{:?}", now - start);
        supervisor.handle_timeout(now);
        if actions(&mut supervisor)
            .iter()
            .any(|action| matches!(action, Action::Finished(_)))
        {
            return;
        }
    }
}
