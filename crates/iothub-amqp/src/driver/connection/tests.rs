use std::sync::Arc;
use std::time::Duration;

use super::super::dial::Endpoint;
use super::super::engine::End;
use super::*;
use crate::Transport;
use crate::machine::SystemClock;
use crate::network::SystemNetwork;
use crate::recovery::Recovery;
use crate::supervisor::LaneKind;

const SLOT: SlotId = SlotId(7);

/// A connection that was never made: what is looked at is what it keeps of its sessions.
fn connection() -> (Connection, mpsc::UnboundedReceiver<Fact>) {
    let endpoint = Endpoint {
        host: "hub.invalid".to_owned(),
        port: 5671,
    };
    let route = Route {
        network: Arc::new(SystemNetwork),
        endpoint,
        proxy: None,
        tls: None,
        transport: Transport::Amqp,
    };
    let plan = Plan {
        route,
        hostname: "hub.invalid".to_owned(),
        container: "test".to_owned(),
        sign_in: SignIn::Claims,
        limit: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(60),
        clock: Arc::new(SystemClock),
        names: Names::new(1),
    };
    let (facts, heard) = mpsc::unbounded_channel();
    (Connection::new(Arc::new(plan), 1, facts), heard)
}

/// Asks for a lane on the session of this number. The other end gives its orders.
fn open(connection: &mut Connection, session: u32) -> mpsc::UnboundedSender<LaneOrder> {
    let (orders, queue) = mpsc::unbounded_channel();
    let opening = session::Opening {
        lane: LaneId {
            slot: SLOT,
            kind: LaneKind::Telemetry,
        },
        epoch: Epoch {
            conn: 1,
            session,
            lane: session,
        },
        reading: None,
        orders: queue,
    };
    connection.open_lane(opening, Arc::new(Place::Service));
    orders
}

fn told(heard: &mut mpsc::UnboundedReceiver<Fact>) -> Vec<Input> {
    std::iter::from_fn(|| heard.try_recv().ok())
        .map(|fact| match fact {
            Fact::Found(input, _) => input,
            _ => panic!("another fact"),
        })
        .collect()
}

/// A session that has ended by itself, with these lanes.
fn by_itself(bereft: BTreeMap<LaneId, Epoch>) -> Option<session::Ended> {
    let how = session::Over::Ended(End {
        why: Interruption::Closed,
        of: Operation::Session,
    });
    Some(session::Ended { how, bereft })
}

#[tokio::test]
async fn a_slot_that_leaves_is_told_of_its_session_s_end_whoever_ended_it() {
    for end in [None, by_itself(BTreeMap::new())] {
        let (mut connection, mut heard) = connection();
        let _orders = open(&mut connection, 0);
        let _begun = connection.wishes.pop_front().unwrap();
        connection.end_session(SLOT);
        assert_eq!(told(&mut heard), [], "the session is still there");
        assert!(connection.session_ended(Ok((SLOT, 0, end))).await.is_none());
        assert_eq!(told(&mut heard), [Input::SessionEnded { slot: SLOT }]);
    }
    // One that has none has none to end.
    let (mut connection, mut heard) = connection();
    connection.end_session(SLOT);
    assert_eq!(told(&mut heard), [Input::SessionEnded { slot: SLOT }]);
}

/// That of which it was told first may be nobody's any more: a subscription that was dropped.
#[tokio::test]
async fn each_lane_of_a_session_that_has_ended_is_told_of_its_end() {
    let kind = LaneKind::Telemetry;
    let lane = LaneId { slot: SLOT, kind };
    let epoch = Epoch::default();
    let methods = LaneId {
        slot: SLOT,
        kind: LaneKind::Methods,
    };
    let (phase, after) = (Phase::Attach, Duration::from_secs(1));
    let unmade = session::Ended {
        how: session::Over::Unmade(methods, epoch, ConnectError::TimedOut { phase, after }),
        bereft: BTreeMap::from([(lane, epoch)]),
    };
    for end in [by_itself(BTreeMap::from([(lane, epoch)])), Some(unmade)] {
        let (mut connection, mut heard) = connection();
        let _orders = open(&mut connection, 0);
        assert!(connection.session_ended(Ok((SLOT, 0, end))).await.is_none());
        let cause = Cause {
            why: Interruption::Closed,
            recovery: Recovery::Resession,
        };
        assert_eq!(
            told(&mut heard).last(),
            Some(&Input::LaneLost { lane, epoch, cause })
        );
    }
}

#[tokio::test]
async fn the_next_session_of_a_slot_begins_when_the_one_before_has_ended() {
    let (mut connection, mut heard) = connection();
    let _first = open(&mut connection, 0);
    let _begun = connection.wishes.pop_front().unwrap();
    let _second = open(&mut connection, 1);
    assert!(connection.wishes.is_empty(), "the first has not ended");
    assert!(connection.session_ended(Ok((SLOT, 0, None))).await.is_none());
    assert!(matches!(
        connection.wishes.pop_front(),
        Some(Wish::Slot { number: 1, .. })
    ));
    assert_eq!(told(&mut heard), []);
}

/// Others may have the line for as long as a silent peer keeps it.
#[tokio::test]
async fn a_slot_that_leaves_takes_back_the_session_that_it_waits_for() {
    let (mut connection, mut heard) = connection();
    let _orders = open(&mut connection, 0);
    connection.end_session(SLOT);
    assert_eq!(told(&mut heard), [Input::SessionEnded { slot: SLOT }]);
    assert!(connection.wishes.is_empty());
    // It may come back.
    let _again = open(&mut connection, 1);
    assert!(matches!(
        connection.wishes.pop_front(),
        Some(Wish::Slot { number: 1, .. })
    ));
}
