//! Goal: what a client says of itself is so: how it stands, and what it has done.
//! Method: the supervisor itself, told facts in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, Instant};

use iothub_amqp::recovery::Operation;
use iothub_amqp::supervisor::{
    Action, Cause, Epoch, Input, LaneId, LaneKind, NotHanded, Outcome, Principal, SignIn, Supervisor,
    TransferId,
};
use iothub_amqp::{Condition, Interruption, Statistics, Status};
use iothub_tests::supervised::{
    SLOT, actions, enqueue, joined, lane_opens, lane_up, subscribe, telemetry, token,
};

const SECOND: Duration = Duration::from_secs(1);

fn statistics(supervisor: &Supervisor) -> Statistics {
    supervisor.statistics(SLOT).unwrap()
}

fn lost(supervisor: &mut Supervisor, (lane, epoch): (LaneId, Epoch), name: &str, now: Instant) {
    let why = Interruption::Refused(Condition::new(name, None));
    let cause = Cause::ended(why, Operation::Link);
    supervisor.handle(Input::LaneLost { lane, epoch, cause }, now);
}

/// A device whose token and link are up, and where that link is.
fn device_up(now: Instant) -> (Supervisor, Epoch) {
    let mut supervisor = joined(SignIn::Plain, Principal::Device, 1, now);
    supervisor.handle(token(SLOT), now);
    supervisor.handle(Input::Up { conn: 1 }, now);
    let epoch = lane_up(&mut supervisor, LaneKind::Telemetry, now);
    (supervisor, epoch)
}

#[test]
fn nothing_waits_in_a_client_that_has_ended() {
    let now = Instant::now();
    let (mut supervisor, epoch) = device_up(now);
    (0..5).for_each(|ticket| enqueue(&mut supervisor, 0, ticket, 10, now));
    supervisor.handle_timeout(now);
    assert_eq!(statistics(&supervisor).waiting, 5);
    lost(&mut supervisor, (telemetry(0), epoch), "amqp:not-found", now);
    let done = statistics(&supervisor);
    assert_eq!((done.waiting, done.not_sent + done.unknown), (0, 5));

    // And it leaves with as little.
    let (slot, deadline) = (SLOT, now + SECOND);
    supervisor.handle(Input::Leave { slot, deadline }, now);
    let left = actions(&mut supervisor)
        .into_iter()
        .find_map(|action| match action {
            Action::Left(_, done, _) => Some(done.waiting),
            _ => None,
        });
    assert_eq!(left, Some(0));
}

#[test]
fn a_transfer_is_counted_when_it_leaves_and_a_link_when_it_is_attached() {
    let now = Instant::now();
    let (mut supervisor, epoch) = device_up(now);
    let lane = telemetry(0);
    (0..3).for_each(|ticket| enqueue(&mut supervisor, 0, ticket, 10, now));
    actions(&mut supervisor);
    let handed = |supervisor: &mut Supervisor, epoch, transfer| {
        let transfer = TransferId(transfer);
        let input = Input::Handed {
            lane,
            epoch,
            transfer,
        };
        supervisor.handle(input, now);
    };
    handed(&mut supervisor, epoch, 0);
    let settled = Input::Settled {
        lane,
        epoch,
        transfer: TransferId(0),
        outcome: Outcome::Rejected(Condition::new("com.microsoft:device-container-throttled", None)),
    };
    supervisor.handle(settled, now);
    for transfer in [1, 2] {
        let (transfer, why) = (TransferId(transfer), NotHanded::Withdrawn);
        let input = Input::NotHanded {
            lane,
            epoch,
            transfer,
            why,
        };
        supervisor.handle(input, now);
    }
    let done = statistics(&supervisor);
    assert_eq!((done.transfers, done.links), (1, 1));
    let later = supervisor.poll_timeout().unwrap();
    supervisor.handle_timeout(later);
    (3..6).for_each(|transfer| handed(&mut supervisor, epoch, transfer));
    assert_eq!(statistics(&supervisor).transfers, 4);
    // Of two attempts at another link one comes to something.
    lost(&mut supervisor, (lane, epoch), "amqp:link:detach-forced", later);
    let epoch = lane_opens(&mut supervisor, LaneKind::Telemetry, later);
    lost(&mut supervisor, (lane, epoch), "amqp:link:detach-forced", later);
    let later = supervisor.poll_timeout().unwrap();
    lane_up(&mut supervisor, LaneKind::Telemetry, later);
    assert_eq!(statistics(&supervisor).links, 2);
}

/// A service with these streams, and where they are.
fn service_with(kinds: [LaneKind; 2], now: Instant) -> (Supervisor, [(LaneId, Epoch); 2]) {
    let mut supervisor = joined(SignIn::Certificate, Principal::Service, 1, now);
    supervisor.handle(Input::Up { conn: 1 }, now);
    let links = kinds.map(|kind| {
        let lane = subscribe(&mut supervisor, kind, now);
        (lane, lane_up(&mut supervisor, kind, now))
    });
    actions(&mut supervisor);
    (supervisor, links)
}

/// The last of what a service has said of itself just now.
fn says(supervisor: &mut Supervisor) -> Option<Status> {
    let told = actions(supervisor).into_iter().rev();
    let mut said = told.filter_map(|action| match action {
        Action::Report(_, status) => Some(status),
        _ => None,
    });
    said.next()
}

/// How a stream that was lost comes to its end, or back.
#[derive(Debug, Clone, Copy)]
enum Then {
    Back,
    Dropped,
    RefusedForGood,
}

#[test]
fn a_service_is_connected_again_when_the_last_stream_that_it_lost_is_there_or_given_up() {
    const FORCED: &str = "amqp:link:detach-forced";
    let now = Instant::now();
    for then in [Then::Back, Then::Dropped, Then::RefusedForGood] {
        let kinds = [LaneKind::Feedback, LaneKind::FileNotifications];
        let (mut supervisor, [first, second]) = service_with(kinds, now);
        let limit = 0;
        lost(&mut supervisor, first, FORCED, now);
        let lane = first.0;
        let epoch = lane_opens(&mut supervisor, lane.kind, now);
        lost(&mut supervisor, second, FORCED, now);
        lane_up(&mut supervisor, second.0.kind, now);
        // The first of them is not there yet.
        assert_eq!(says(&mut supervisor), None, "{then:?}");
        match then {
            Then::Back => supervisor.handle(Input::LaneUp { lane, epoch, limit }, now),
            Then::Dropped => supervisor.handle(Input::Unsubscribe(lane), now),
            Then::RefusedForGood => lost(&mut supervisor, (lane, epoch), "amqp:not-found", now),
        }
        let said = says(&mut supervisor);
        assert!(
            matches!(said, Some(Status::Connected { .. })),
            "{then:?}: {said:?}"
        );
    }
}

#[test]
fn a_service_is_connected_when_what_it_sent_by_is_refused_for_good_or_nobody_waits_for_a_stream_any_more() {
    let now = Instant::now();
    let kinds = [LaneKind::Feedback, LaneKind::FileNotifications];
    let connected = |said: &Option<Status>| matches!(said, Some(Status::Connected { .. }));

    let (mut supervisor, _) = service_with(kinds, now);
    enqueue(&mut supervisor, 0, 1, 10, now);
    let sends = |epoch| (telemetry(0), epoch);
    let epoch = lane_up(&mut supervisor, LaneKind::Telemetry, now);
    lost(&mut supervisor, sends(epoch), "amqp:link:detach-forced", now);
    let epoch = lane_opens(&mut supervisor, LaneKind::Telemetry, now);
    lost(&mut supervisor, sends(epoch), "amqp:not-found", now);
    let said = says(&mut supervisor);
    assert!(connected(&said), "{said:?}");

    let (mut supervisor, _) = service_with(kinds, now);
    let lane = subscribe(&mut supervisor, LaneKind::Partition(0), now);
    let epoch = lane_opens(&mut supervisor, lane.kind, now);
    lost(&mut supervisor, (lane, epoch), "amqp:link:detach-forced", now);
    lane_opens(&mut supervisor, lane.kind, now);
    let deadline = now + 30 * SECOND;
    supervisor.handle_timeout(deadline);
    let said = says(&mut supervisor);
    assert!(connected(&said), "{said:?}");
}
