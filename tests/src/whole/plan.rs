//! What a seed's world is like. Each kind of fault is on in about half of the worlds: together they hide each other.

use std::time::Duration;

use iothub_emulator::FaultKind;

use super::wire::WirePlan;
use crate::faults::{Fault, Place, Side};
use crate::sim::dice::Dice;

/// How devices sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A device with a connection of its own, by SASL PLAIN.
    Plain,
    /// The same, by claims.
    Claims,
    /// Devices that share a connection.
    Shared(u64),
}

/// When applications part from their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// They close them when all is done.
    Done,
    /// They close them while messages are under way.
    Early,
    /// They drop them and all that they wait for.
    Dropped,
}

/// What goes wrong at the hub's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// What the hub does.
    Fault(FaultKind),
    /// All connections are gone at once, and for so long nobody comes in.
    Restart(Duration),
}

/// Rates are a thousandth of the chances.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) clients: u64,
    pub(super) shape: Shape,
    pub(super) parting: Parting,
    /// How often each device comes, has its say, and goes.
    pub(super) rounds: u64,
    /// In each round, of each device.
    pub(super) messages: u64,
    pub(super) commands: u64,
    pub(super) calls: u64,
    pub(super) changes: u64,
    pub(super) largest: u64,
    /// Messages are sent and tickets dropped, too; otherwise all are queued.
    pub(super) by_all_means: bool,
    pub(super) batches: bool,
    pub(super) window: usize,
    /// The application is busy, and faults happen, for this long.
    pub(super) horizon: Duration,
    pub(super) queue_timeout: Duration,
    pub(super) token_life: Duration,
    /// Of connections that break.
    pub(super) cuts: u64,
    /// Of attempts that come to nothing.
    pub(super) dial_fails: u64,
    pub(super) dial_hangs: u64,
    pub(super) dial_refused: u64,
    /// Of a connection's ways, by the side that sends.
    pub(super) delays: [Duration; 2],
    pub(super) slice: usize,
    pub(super) room: usize,
    pub(super) troubles: Vec<Trouble>,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let mut rate = |most: u64| if dice.coin() { 0 } else { 1 + dice.below(most) };
        let cuts = rate(900);
        let (dial_fails, dial_hangs, dial_refused) = (rate(300), rate(100), rate(300));
        let shape = match dice.below(4) {
            0 => Shape::Plain,
            1 => Shape::Claims,
            _ => Shape::Shared(1 + dice.below(5)),
        };
        let room = dice.pick(&[300, 5_000, 1 << 20]);
        let delays = if room < 5_000 { &DELAYS[..2] } else { &DELAYS[..] };
        Self {
            cuts,
            dial_fails,
            dial_hangs,
            dial_refused,
            troubles: troubles(dice),
            clients: dice.pick(&[1, 1, 2]),
            shape,
            rounds: dice.pick(&[1, 1, 2]),
            messages: dice.pick(&[0, 1, 10, 30]),
            commands: dice.pick(&[0, 0, 3]),
            calls: dice.pick(&[0, 0, 3]),
            changes: dice.pick(&[0, 0, 3]),
            largest: dice.pick(&[10, 10, 3_000]),
            by_all_means: dice.coin(),
            batches: dice.coin(),
            window: dice.pick(&[1, 2, 7, 100]),
            horizon: dice.pick(&[20, 300, 2400].map(Duration::from_secs)),
            queue_timeout: dice.pick(&[40, 24 * 3600, 24 * 3600].map(Duration::from_secs)),
            token_life: dice.pick(&[1800, 3600].map(Duration::from_secs)),
            delays: [dice.pick(delays), dice.pick(delays)].map(Duration::from_millis),
            slice: dice.pick(&[1, 7, 100, 1 << 20]),
            room,
            parting: dice.pick(&[Parting::Done, Parting::Done, Parting::Early, Parting::Dropped]),
        }
    }

    /// Nothing happens, and nothing goes wrong.
    pub(super) fn quiet() -> Self {
        Self {
            clients: 1,
            shape: Shape::Plain,
            parting: Parting::Done,
            rounds: 1,
            messages: 0,
            commands: 0,
            calls: 0,
            changes: 0,
            largest: 10,
            by_all_means: false,
            batches: false,
            window: 100,
            horizon: Duration::from_secs(20),
            queue_timeout: Duration::from_secs(24 * 3600),
            token_life: Duration::from_secs(3600),
            cuts: 0,
            dial_fails: 0,
            dial_hangs: 0,
            dial_refused: 0,
            delays: [Duration::from_millis(1); 2],
            slice: 1 << 20,
            room: 1 << 20,
            troubles: Vec::new(),
        }
    }

    /// Of the next connection, while faults happen.
    pub(super) fn wire(&self, dice: &mut Dice) -> WirePlan {
        let place = match dice.below(3) {
            0 => Place::Byte(dice.below(400)),
            1 => Place::Byte(dice.below(10_000)),
            _ => {
                let side = dice.pick(&[Side::Client, Side::Hub]);
                let nth = usize::try_from(dice.below(4)).unwrap_or(0);
                Place::Frame(side, dice.pick(&FRAMES), nth)
            }
        };
        let fault = dice.pick(&[Fault::Reset, Fault::Fin, Fault::HalfOpen, Fault::Stall]);
        let fault = dice.permille(self.cuts).then_some((place, fault));
        WirePlan {
            fault,
            ..self.sound()
        }
    }

    /// Of a connection that lasts.
    pub(super) fn sound(&self) -> WirePlan {
        WirePlan {
            fault: None,
            delay: self.delays,
            slice: self.slice,
            room: self.room,
        }
    }

    /// Nothing ends a link before its time.
    pub(super) fn is_uncut(&self) -> bool {
        let rates = [self.cuts, self.dial_fails, self.dial_hangs, self.dial_refused];
        rates == [0; 4] && self.troubles.is_empty()
    }

    /// Messages may be given back one by one, which no order survives.
    pub(super) fn keeps_order(&self) -> bool {
        !self
            .troubles
            .contains(&Trouble::Fault(FaultKind::InvokeThrottling))
    }

    /// No queued message's time is up before all is well again.
    pub(super) fn is_patient(&self) -> bool {
        self.parting == Parting::Done && self.queue_timeout > self.horizon + super::app::RECOVERY
    }

    /// Of each client.
    pub(super) fn devices(&self) -> u64 {
        match self.shape {
            Shape::Plain | Shape::Claims => 1,
            Shape::Shared(devices) => devices,
        }
    }

    /// The most messages that may be on their way at once.
    pub(super) fn most_in_window(&self) -> u64 {
        let most = if self.batches { self.messages } else { 1 };
        (self.window as u64).saturating_mul(most)
    }

    /// By PLAIN each token is a connection of its own.
    pub(super) fn renewals(&self) -> u64 {
        let lasted = self.horizon + super::app::RECOVERY;
        match self.shape {
            Shape::Plain => lasted.as_secs() / (self.token_life.as_secs() / 2),
            _ => 0,
        }
    }
}

fn troubles(dice: &mut Dice) -> Vec<Trouble> {
    let faults = if dice.coin() { 0 } else { 1 + dice.below(4) };
    let restarts = dice.pick(&[0, 0, 1, 2]);
    let mut troubles = Vec::new();
    for _ in 0..faults {
        troubles.push(Trouble::Fault(dice.pick(&HUB_FAULTS)));
    }
    for _ in 0..restarts {
        troubles.push(Trouble::Restart(dice.up_to(LONGEST_OUTAGE)));
    }
    troubles
}

/// In milliseconds.
const DELAYS: [u64; 4] = [0, 1, 50, 1_500];

/// Of a hub that restarts.
const LONGEST_OUTAGE: Duration = Duration::from_secs(120);

/// Protocol headers, SASL, all performatives, heartbeats.
const FRAMES: [u8; 14] = [
    0, 0x40, 0x41, 0x44, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0xff,
];

/// What a client lives through.
const HUB_FAULTS: [FaultKind; 20] = [
    FaultKind::KillTcp,
    FaultKind::KillAmqpConnection,
    FaultKind::KillAmqpSession,
    FaultKind::KillAmqpCbsLinkReq,
    FaultKind::KillAmqpCbsLinkResp,
    FaultKind::KillAmqpD2cLink,
    FaultKind::KillAmqpC2dLink,
    FaultKind::KillAmqpTwinLinkReq,
    FaultKind::KillAmqpTwinLinkResp,
    FaultKind::KillAmqpMethodReqLink,
    FaultKind::KillAmqpMethodRespLink,
    FaultKind::ShutDownAmqp,
    FaultKind::InvokeThrottling,
    FaultKind::RefusePutToken { status: 500 },
    FaultKind::SwallowPutToken,
    FaultKind::WithholdCredit,
    FaultKind::CloseWindow,
    FaultKind::WithholdSettlement,
    FaultKind::StopReading,
    FaultKind::StopWriting,
];
