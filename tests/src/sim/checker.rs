//! The invariants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use iothub_amqp::supervisor::backoff::{ATTEMPTS_WINDOW, MAX_ATTEMPTS};
use iothub_amqp::supervisor::{
    Epoch, Input, MAX_BATCH_MESSAGES, Outcome, Settings, SlotSettings, TicketId, TransferId,
};
use iothub_amqp::{Accepted, Interruption, SendError, Statistics};

use super::replay;

/// What a seed came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Everything that was done, as one number.
    pub trace: u64,
    /// Messages that were given to the client.
    pub messages: u64,
    /// Messages that the hub has at least once.
    pub at_hub: u64,
    /// Copies beyond the first.
    pub duplicates: u64,
    /// Connections that were tried.
    pub attempts: u64,
}

pub(super) struct Checker {
    pub(super) seed: u64,
    pub(super) now: Duration,
    settings: Settings,
    slot: SlotSettings,
    given: BTreeSet<TicketId>,
    outcomes: BTreeMap<TicketId, Result<Accepted, SendError>>,
    /// How often the hub has taken each message, and the first times in their order.
    copies: BTreeMap<TicketId, u64>,
    firsts: Vec<TicketId>,
    /// What came back and is to go first again, and what was on its way to the hub by then.
    returned: BTreeMap<TicketId, BTreeSet<TicketId>>,
    /// What was to be transferred, and by which link.
    transfers: BTreeMap<TransferId, (Epoch, Vec<TicketId>)>,
    /// Those whose answer the present link still owes.
    out: BTreeSet<TransferId>,
    /// Messages that an engine is known to have taken, and that no hub has given back since.
    flown: BTreeSet<TicketId>,
    dials: VecDeque<Duration>,
    connection: Option<u32>,
    resent: u64,
    /// Where faults have ended: from then on nothing may be given up for want of time.
    pub(super) calm: bool,
}

impl Checker {
    pub(super) fn new(seed: u64, settings: Settings, slot: SlotSettings) -> Self {
        Self {
            seed,
            now: Duration::ZERO,
            settings,
            slot,
            given: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            copies: BTreeMap::new(),
            firsts: Vec::new(),
            returned: BTreeMap::new(),
            transfers: BTreeMap::new(),
            out: BTreeSet::new(),
            flown: BTreeSet::new(),
            dials: VecDeque::new(),
            connection: None,
            resent: 0,
            calm: false,
        }
    }

    pub(super) fn hold(&self, holds: bool, what: &str) {
        assert!(
            holds,
            "{what}, at {:?} of seed {}; {}",
            self.now,
            self.seed,
            replay(self.seed)
        );
    }

    pub(super) fn given(&mut self, ticket: TicketId) {
        self.given.insert(ticket);
    }

    pub(super) fn at_hub(&mut self, ticket: TicketId) {
        let copies = self.copies.entry(ticket).or_default();
        *copies += 1;
        if *copies == 1 {
            self.firsts.push(ticket);
            let overtakes = |(before, on_its_way): (&TicketId, &BTreeSet<TicketId>)| {
                let waits = !self.copies.contains_key(before) && !self.outcomes.contains_key(before);
                waits && !on_its_way.contains(&ticket)
            };
            self.hold(
                !self.returned.range(..ticket).any(overtakes),
                "a message overtakes one that came back",
            );
        }
    }

    /// The hub has these before it, and takes them or not: no order is owed to them until they are known to come back.
    pub(super) fn before_the_hub(&mut self, tickets: &[TicketId]) {
        self.returned.retain(|ticket, _| !tickets.contains(ticket));
    }

    /// The supervisor knows that they have come back, and has done what it does about that.
    pub(super) fn came_back(&mut self, transfer: TransferId, on_its_way: &BTreeSet<TicketId>) {
        // Without recovery a batch of them goes once more, each alone, and nothing waits for that.
        if !self.settings.recover {
            return;
        }
        for ticket in &self.transfers[&transfer].1 {
            self.returned.insert(*ticket, on_its_way.clone());
        }
    }

    pub(super) fn completed(&mut self, ticket: TicketId, result: &Result<Accepted, SendError>) {
        self.hold(
            self.given.contains(&ticket),
            "a ticket that was never given completes",
        );
        if result.is_ok() {
            self.hold(
                self.copies.contains_key(&ticket),
                "acknowledged, and the hub has it not",
            );
        }
        self.hold(
            !(self.calm && is_stopped(result)),
            "with no more faults a message is given up",
        );
        let again = self.outcomes.insert(ticket, result.clone()).is_some();
        self.hold(!again, "a ticket completes twice");
    }

    /// A link is attached anew: what was out on the one before is not any more.
    pub(super) fn link_opened(&mut self) {
        self.out.clear();
    }

    pub(super) fn transferred(&mut self, epoch: Epoch, transfer: TransferId, tickets: &[TicketId]) {
        let is_out = |ticket| self.out.iter().any(|id| self.transfers[id].1.contains(ticket));
        self.hold(
            !tickets.iter().any(is_out),
            "a message is sent again on a live link",
        );
        self.transfers.insert(transfer, (epoch, tickets.to_vec()));
        self.out.insert(transfer);
    }

    /// What the supervisor is about to be told.
    pub(super) fn tell(&mut self, input: &Input) {
        match input {
            Input::NotHanded { transfer, .. } => {
                self.out.remove(transfer);
            }
            Input::Handed { transfer, .. } => self.flown.extend(&self.transfers[transfer].1),
            Input::Settled {
                transfer, outcome, ..
            } => {
                self.out.remove(transfer);
                if *outcome != Outcome::Accepted {
                    let back = &self.transfers[transfer].1;
                    self.flown.retain(|ticket| !back.contains(ticket));
                }
            }
            // What it took is known by then.
            Input::LaneLost { epoch, .. } => self.out.retain(|id| self.transfers[id].0 != *epoch),
            Input::Lost { conn, .. } => self.out.retain(|id| self.transfers[id].0.conn != *conn),
            _ => {}
        }
    }

    /// What it has been told, and has acted on.
    pub(super) fn told(&self, input: &Input) {
        if let Input::Withdraw { ticket, .. } = input {
            let is_out = self.out.iter().any(|id| self.transfers[id].1.contains(ticket));
            let stopped = self.outcomes.get(ticket).is_some_and(is_stopped);
            self.hold(
                !(stopped && (is_out || self.flown.contains(ticket))),
                "what the hub may have is taken back",
            );
        }
        if let Input::Settled {
            transfer,
            outcome: Outcome::Accepted,
            ..
        } = input
        {
            let (_, tickets) = &self.transfers[transfer];
            let done = tickets.iter().all(|ticket| self.outcomes.contains_key(ticket));
            self.hold(done, "an acceptance counts for nothing");
        }
    }

    pub(super) fn dialled(&mut self, conn: u32) {
        self.hold(self.connection.is_none(), "two connections at once");
        self.connection = Some(conn);
        self.dials.push_back(self.now);
        if self.dials.len() > MAX_ATTEMPTS {
            let before = self.dials.pop_front().unwrap_or_default();
            self.hold(
                self.now - before >= ATTEMPTS_WINDOW,
                "more than six attempts within a minute",
            );
        }
    }

    pub(super) fn gone(&mut self, conn: u32) {
        if self.connection == Some(conn) {
            self.connection = None;
        }
    }

    pub(super) fn step(&mut self, (transfers, bytes): (usize, usize), statistics: Statistics) {
        self.hold(transfers <= self.slot.window, "more flies than the window holds");
        let most = self.settings.window_bytes.max(super::world::LARGEST);
        self.hold(bytes <= most, "more bytes fly than the window holds");
        let batch = if self.slot.batching == iothub_amqp::Batching::Off {
            1
        } else {
            MAX_BATCH_MESSAGES
        };
        let again = statistics.resent - self.resent;
        self.hold(
            again <= (self.slot.window * batch) as u64,
            "a cut costs more than a window",
        );
        self.resent = statistics.resent;
    }

    /// At the end: `uncut` if nothing ended a link, `ordered` if the hub took messages as they came.
    pub(super) fn end(&self, statistics: Statistics, uncut: bool, ordered: bool, trace: u64) -> Tally {
        for ticket in &self.given {
            self.hold(
                self.outcomes.contains_key(ticket),
                "a message never got an outcome",
            );
        }
        for (ticket, result) in &self.outcomes {
            let copies = self.copies.get(ticket).copied().unwrap_or(0);
            let certain = matches!(result, Err(SendError::NotSent(_) | SendError::TooLarge { .. }));
            self.hold(!certain || copies == 0, "the hub has what was certainly not sent");
        }
        let duplicates = self.copies.values().map(|copies| copies - 1).sum();
        self.hold(
            duplicates <= statistics.resent,
            "more duplicates than messages were sent again",
        );
        self.hold(!uncut || duplicates == 0, "a duplicate without a cut");
        let in_order = self.firsts.is_sorted();
        self.hold(!ordered || in_order, "first copies out of order");
        Tally {
            trace,
            messages: self.given.len() as u64,
            at_hub: self.copies.len() as u64,
            duplicates,
            attempts: statistics.attempts,
        }
    }
}

/// Given up, or taken back.
fn is_stopped(result: &Result<Accepted, SendError>) -> bool {
    matches!(
        result,
        Err(SendError::NotSent(Interruption::Stopped) | SendError::Unknown(Interruption::Stopped))
    )
}
