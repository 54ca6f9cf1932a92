//! What tests of the supervisor itself share: one to begin with, what it asks for, and a driver and a hub of a quiet day.

use std::time::{Duration, Instant};

use iothub_amqp::supervisor::{
    Action, DeliveryId, Epoch, Input, LaneId, LaneKind, Lifetime, Outcome, Principal, RequestId, Settings,
    SignIn, SlotId, SlotSettings, Supervisor, TicketId, TokenLife, Verdict,
};
use iothub_amqp::{Batching, Schedule};

/// Of each step, in the settings.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How long a token lives, and a message waits.
pub const HOUR: Duration = Duration::from_secs(3600);

/// The one slot of a supervisor that has one.
pub const SLOT: SlotId = SlotId(0);

/// One that is to recover, with nobody on it.
#[must_use]
pub fn supervisor(sign_in: SignIn, lifetime: Lifetime, seed: u64, now: Instant) -> Supervisor {
    let settings = Settings {
        sign_in,
        lifetime,
        recover: true,
        schedule: Schedule::default(),
        operation_timeout: LIMIT,
        window_bytes: 1 << 20,
        seed,
    };
    Supervisor::new(settings, now)
}

/// A device's, with a window of 16 and no batches.
pub const SLOT_SETTINGS: SlotSettings = SlotSettings {
    principal: Principal::Device,
    settle_timeout: LIMIT,
    window: 16,
    batching: Batching::Off,
};

/// A device comes.
pub fn join(supervisor: &mut Supervisor, slot: u32, now: Instant) {
    let settings = SLOT_SETTINGS;
    let slot = SlotId(slot);
    supervisor.handle(Input::Join { slot, settings }, now);
}

/// A supervisor with one slot that has asked for its connection, or for its token.
#[must_use]
pub fn joined(sign_in: SignIn, principal: Principal, seed: u64, now: Instant) -> Supervisor {
    let mut supervisor = supervisor(sign_in, Lifetime::OfItsSlots, seed, now);
    let settings = SlotSettings {
        principal,
        ..SLOT_SETTINGS
    };
    supervisor.handle(Input::Join { slot: SLOT, settings }, now);
    supervisor.handle_timeout(now);
    supervisor
}

/// The lane that the supervisor asks for just now.
///
/// # Panics
/// When it asks for none of the kind.
pub fn lane_opens(supervisor: &mut Supervisor, kind: LaneKind, now: Instant) -> Epoch {
    supervisor.handle_timeout(now);
    let told = actions(supervisor);
    let found = told.iter().find_map(|action| match action {
        Action::OpenLane(lane, epoch) if lane.kind == kind => Some(*epoch),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{told:?}"))
}

/// It is attached.
///
/// # Panics
/// As [`lane_opens`].
pub fn lane_up(supervisor: &mut Supervisor, kind: LaneKind, now: Instant) -> Epoch {
    let epoch = lane_opens(supervisor, kind, now);
    let lane = LaneId { slot: SLOT, kind };
    let limit = 0;
    supervisor.handle(Input::LaneUp { lane, epoch, limit }, now);
    epoch
}

/// A stream is asked for.
pub fn subscribe(supervisor: &mut Supervisor, kind: LaneKind, now: Instant) -> LaneId {
    let lane = LaneId { slot: SLOT, kind };
    let (deadline, limit) = (now + LIMIT, LIMIT);
    let input = Input::Subscribe {
        lane,
        deadline,
        limit,
    };
    supervisor.handle(input, now);
    lane
}

/// Something comes in on a link.
pub fn arrives(supervisor: &mut Supervisor, (lane, epoch): (LaneId, Epoch), number: u64, now: Instant) {
    let input = Input::Arrived {
        lane,
        epoch,
        delivery: DeliveryId(number),
    };
    supervisor.handle(input, now);
}

/// The application says so of it.
#[must_use]
pub fn word((lane, epoch): (LaneId, Epoch), number: u64, verdict: Verdict) -> Input {
    Input::Answer {
        lane,
        epoch,
        delivery: DeliveryId(number),
        verdict,
    }
}

/// A slot's telemetry.
#[must_use]
pub const fn telemetry(slot: u32) -> LaneId {
    LaneId {
        slot: SlotId(slot),
        kind: LaneKind::Telemetry,
    }
}

/// What it asks for just now.
pub fn actions(supervisor: &mut Supervisor) -> Vec<Action> {
    std::iter::from_fn(|| supervisor.poll_action()).collect()
}

/// The driver and the hub of a quiet day: everything that is asked for happens, at once.
pub fn obey(supervisor: &mut Supervisor, now: Instant) -> Vec<Action> {
    let mut all = Vec::new();
    loop {
        let asked = actions(supervisor);
        if asked.is_empty() {
            return all;
        }
        for action in asked {
            if let Some(fact) = done(&action) {
                supervisor.handle(fact, now);
            }
            all.push(action);
        }
    }
}

/// What comes of it on a quiet day.
#[must_use]
pub fn done(action: &Action) -> Option<Input> {
    Some(match *action {
        Action::FetchToken(slot) => token(slot),
        Action::Dial { conn } => Input::Up { conn },
        Action::PutToken { conn, put, .. } => Input::TokenPut {
            conn,
            put,
            result: Ok(()),
        },
        Action::OpenLane(lane, epoch) => Input::LaneUp {
            lane,
            epoch,
            limit: 0,
        },
        Action::CloseGently { conn, .. } => Input::Closed { conn, result: Ok(()) },
        Action::Transfer {
            lane,
            epoch,
            transfer,
            ..
        } => Input::Settled {
            lane,
            epoch,
            transfer,
            outcome: Outcome::Accepted,
        },
        Action::EndSession { slot } => Input::SessionEnded { slot },
        _ => return None,
    })
}

/// A message of so many bytes is to be sent.
pub fn enqueue(supervisor: &mut Supervisor, slot: u32, ticket: u64, size: usize, now: Instant) {
    supervisor.handle(
        Input::Enqueue {
            slot: SlotId(slot),
            ticket: TicketId(ticket),
            size,
            deadline: now + HOUR,
            limit: HOUR,
        },
        now,
    );
}

/// The slot's credential gives a token, and will give others.
#[must_use]
pub fn token(slot: SlotId) -> Input {
    let life = TokenLife {
        left: HOUR,
        renews: true,
    };
    let result = Ok(life);
    Input::Token { slot, result }
}

/// A connection of so many devices, all of whose links are up.
#[must_use]
pub fn shared(devices: u32, now: Instant) -> Supervisor {
    let mut supervisor = supervisor(SignIn::Claims, Lifetime::UntilClosed, 1, now);
    for slot in 0..devices {
        join(&mut supervisor, slot, now);
    }
    obey(&mut supervisor, now);
    supervisor
}

/// The hub's answer to a question of the twin's, and what version of the desired properties that has.
pub fn answered(
    supervisor: &mut Supervisor,
    (lane, epoch): (LaneId, Epoch),
    request: RequestId,
    (status, desired): (i32, Option<i64>),
    now: Instant,
) {
    let input = Input::Answered {
        lane,
        epoch,
        request,
        status,
        desired,
    };
    supervisor.handle(input, now);
}
