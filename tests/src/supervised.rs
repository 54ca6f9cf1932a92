//! What tests of the supervisor itself share: one to begin with, what it asks for, and a driver and a hub of a quiet day.

use std::time::{Duration, Instant};

use iothub_amqp::supervisor::{
    Action, Input, LaneId, LaneKind, Lifetime, Outcome, Principal, Settings, SignIn, SlotId, SlotSettings,
    Supervisor, TicketId, TokenLife,
};
use iothub_amqp::{Batching, Schedule};

/// Of each step, in the settings.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How long a token lives, and a message waits.
pub const HOUR: Duration = Duration::from_secs(3600);

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
