//! The truth about each message: where it is, and what it came to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::batch::{self, Batching};
use super::ordered::Ordered;
use super::{Epoch, TicketId, TransferId};

/// How much may fly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Transfers.
    pub(super) transfers: usize,
    /// Bytes of their messages.
    pub(super) bytes: usize,
    /// Bytes of one transfer of several messages.
    pub(super) batch: usize,
}

/// Whether all that a lane had to say has been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// It ended by itself and said so last.
    AllIsHeard,
    /// It is ended from here: what it handed over a moment ago may not be known yet.
    FactsMayFollow,
}

/// All messages that have no outcome yet, in the order of their tickets.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    tickets: Ordered<TicketId, Ticket>,
    /// Those of them that wait to be transferred; the first is the next.
    queued: Ordered<TicketId, ()>,
    deadlines: Ordered<(Instant, TicketId), ()>,
    /// On the present lane, which hands them over in this order.
    out: Ordered<TransferId, Transfer>,
    /// On lanes of before: only an acceptance still counts. At most [`MAX_STALE`].
    stale: BTreeMap<TransferId, Vec<TicketId>>,
    out_bytes: usize,
    next_transfer: u64,
}

#[derive(Debug, Clone)]
struct Ticket {
    size: usize,
    /// Until it has passed.
    deadline: Option<Instant>,
    /// How long the deadline was away when it was set.
    limit: Duration,
    /// A link that is gone had it, and nobody said what came of it: the hub may have it, whatever another link brings.
    maybe: bool,
    /// Its batch was rejected: it goes alone from now on.
    single: bool,
    out: Option<TransferId>,
}

#[derive(Debug, Clone)]
struct Transfer {
    epoch: Epoch,
    tickets: Vec<TicketId>,
    bytes: usize,
    /// When the engine took it.
    handed: Option<Instant>,
}

/// What is known of a ticket whose time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It was never handed to an engine.
    NeverHanded,
    /// It was.
    Maybe,
    /// It is with the lane, which has to say whether it handed it over.
    Offered(TransferId),
}

impl Ledger {
    pub(super) fn enter(&mut self, id: TicketId, size: usize, deadline: Instant, limit: Duration) {
        let ticket = Ticket {
            size,
            deadline: Some(deadline),
            limit,
            maybe: false,
            single: false,
            out: None,
        };
        if self.tickets.insert(id, ticket) {
            self.queued.insert(id, ());
            self.deadlines.insert((deadline, id), ());
        }
    }

    /// Takes the next tickets that go into one transfer, if the window has room.
    pub(super) fn take(
        &mut self,
        epoch: Epoch,
        window: Window,
        limit: u64,
        batching: Batching,
    ) -> Option<(TransferId, Vec<TicketId>)> {
        let first = self.tickets.get(self.queued.first()?.0)?;
        let free = window.bytes.saturating_sub(self.out_bytes);
        // One message over the whole budget still goes, alone.
        if self.out.len() >= window.transfers || (first.size > free && !self.out.is_empty()) {
            return None;
        }
        let count = if batching == Batching::Off || first.single {
            1
        } else {
            // What the hub may have already is not mixed with what it can't have.
            let alike = self
                .queued
                .iter()
                .map_while(|(id, ())| self.tickets.get(id))
                .take_while(|ticket| ticket.maybe == first.maybe && !ticket.single);
            batch::fitting(alike.map(|ticket| ticket.size), limit, free.min(window.batch))
        };
        let id = TransferId(self.next_transfer);
        self.next_transfer += 1;
        let mut bytes = 0;
        let mut tickets = Vec::with_capacity(count);
        for _ in 0..count {
            let Some((ticket, ())) = self.queued.pop_first() else {
                break;
            };
            if let Some(entry) = self.tickets.get_mut(ticket) {
                entry.out = Some(id);
                bytes += entry.size;
                tickets.push(ticket);
            }
        }
        self.out_bytes += bytes;
        let transfer = Transfer {
            epoch,
            tickets: tickets.clone(),
            bytes,
            handed: None,
        };
        self.out.insert(id, transfer);
        Some((id, tickets))
    }

    /// The engine has it: from now on the hub may. Whether it is a transfer that is remembered.
    pub(super) fn handed(&mut self, id: TransferId, now: Instant) -> bool {
        if let Some(transfer) = self.out.get_mut(id) {
            transfer.handed.get_or_insert(now);
            return true;
        }
        let Some(tickets) = self.stale.get(&id) else {
            return false;
        };
        // Of a lane of before it is as true.
        for ticket in tickets {
            if let Some(ticket) = self.tickets.get_mut(*ticket) {
                ticket.maybe = true;
            }
        }
        true
    }

    /// Accepted, whatever lane says so: the tickets that this completes, and how many had completed before.
    pub(super) fn accepted(&mut self, id: TransferId) -> (Vec<TicketId>, usize) {
        let tickets = match self.leave(id) {
            Some(transfer) => transfer.tickets,
            None => self.stale.remove(&id).unwrap_or_default(),
        };
        let count = tickets.len();
        let done: Vec<TicketId> = tickets
            .into_iter()
            .filter(|ticket| self.complete(*ticket))
            .collect();
        let before = count - done.len();
        (done, before)
    }

    /// Takes a transfer of this epoch off the lane: its tickets that have no outcome yet, and whether it was a batch.
    pub(super) fn land(&mut self, id: TransferId, epoch: Epoch) -> Option<(Vec<TicketId>, bool)> {
        if self.out.get(id)?.epoch != epoch {
            return None;
        }
        let mut tickets = self.leave(id)?.tickets;
        let is_batch = tickets.len() > 1;
        tickets.retain(|ticket| self.tickets.contains(*ticket));
        for ticket in &tickets {
            if let Some(ticket) = self.tickets.get_mut(*ticket) {
                ticket.out = None;
            }
        }
        Some((tickets, is_batch))
    }

    /// Puts tickets that [`land`](Self::land) gave back to the front; ordered by ticket, as all are.
    pub(super) fn requeue(&mut self, tickets: &[TicketId], single: bool) {
        for id in tickets {
            if let Some(ticket) = self.tickets.get_mut(*id) {
                ticket.single |= single;
                self.queued.insert(*id, ());
            }
        }
    }

    /// The lane is gone: all that was on it is queued again, in order. How many tickets the hub may have.
    pub(super) fn lost(&mut self, certainty: Certainty) -> usize {
        let mut maybe = 0;
        for (id, transfer) in std::mem::take(&mut self.out) {
            for ticket_id in &transfer.tickets {
                if let Some(ticket) = self.tickets.get_mut(*ticket_id) {
                    ticket.out = None;
                    ticket.maybe |= transfer.handed.is_some() || certainty == Certainty::FactsMayFollow;
                    maybe += usize::from(ticket.maybe);
                    self.queued.insert(*ticket_id, ());
                }
            }
            self.stale.insert(id, transfer.tickets);
        }
        self.out_bytes = 0;
        while self.stale.len() > MAX_STALE {
            self.stale.pop_first();
        }
        maybe
    }

    /// Ends a ticket; false if it had ended before.
    pub(super) fn complete(&mut self, id: TicketId) -> bool {
        let Some(ticket) = self.tickets.remove(id) else {
            return false;
        };
        self.queued.remove(id);
        if let Some(deadline) = ticket.deadline {
            self.deadlines.remove((deadline, id));
        }
        true
    }

    /// Ends a ticket that waits and was never handed over.
    pub(super) fn withdraw(&mut self, id: TicketId) -> bool {
        let waits = self
            .tickets
            .get(id)
            .is_some_and(|ticket| ticket.out.is_none() && !ticket.maybe);
        waits && self.complete(id)
    }

    /// Ends all but what the lane has and may not have handed over; each with whether the hub may have it.
    pub(super) fn drain_known(&mut self) -> Vec<(TicketId, bool)> {
        let known: Vec<_> = self
            .tickets
            .iter()
            .map(|(id, ticket)| (id, ticket.out, self.has_left(ticket)))
            .filter(|(_, out, maybe)| *maybe || out.is_none())
            .map(|(id, _, maybe)| (id, maybe))
            .collect();
        for (id, _) in &known {
            self.complete(*id);
        }
        self.out_bytes = 0;
        for (id, transfer) in std::mem::take(&mut self.out) {
            if transfer.handed.is_none() {
                self.out_bytes += transfer.bytes;
                self.out.insert(id, transfer);
            }
        }
        known
    }

    /// The tickets that the lane has and may not have handed over, and the first transfer of them.
    pub(super) fn offered(&self) -> Option<(TransferId, Vec<TicketId>)> {
        let mut offered = self
            .out
            .iter()
            .filter(|(_, transfer)| transfer.handed.is_none())
            .peekable();
        let (first, _) = *offered.peek()?;
        Some((
            first,
            offered
                .flat_map(|(_, transfer)| transfer.tickets.iter().copied())
                .collect(),
        ))
    }

    /// Ends all; each with whether the hub may have it, which may get yet what is on the lane.
    pub(super) fn drain(&mut self) -> Vec<(TicketId, bool)> {
        let all: Vec<_> = self
            .tickets
            .iter()
            .map(|(id, ticket)| (id, ticket.maybe || ticket.out.is_some()))
            .collect();
        *self = Self {
            next_transfer: self.next_transfer,
            ..Self::default()
        };
        all
    }

    /// The next ticket whose deadline is not after `now`. Its deadline is forgotten.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(TicketId, Duration, Overdue)> {
        let ((deadline, id), ()) = self
            .deadlines
            .first()
            .filter(|((deadline, _), ())| *deadline <= now)?;
        self.deadlines.remove((deadline, id));
        self.tickets.get_mut(id)?.deadline = None;
        let ticket = self.tickets.get(id)?;
        let known = match ticket.out {
            _ if self.has_left(ticket) => Overdue::Maybe,
            Some(transfer) => Overdue::Offered(transfer),
            None => Overdue::NeverHanded,
        };
        Some((id, ticket.limit, known))
    }

    /// Sets a new deadline for a ticket that has none.
    pub(super) fn extend(&mut self, id: TicketId, deadline: Instant) {
        if let Some(ticket) = self.tickets.get_mut(id) {
            ticket.deadline = Some(deadline);
            self.deadlines.insert((deadline, id), ());
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|((deadline, _), ())| deadline)
    }

    /// When the engine took the oldest transfer that has no outcome. Those behind one that it has not, it has not either.
    pub(super) fn oldest_flying(&self) -> Option<Instant> {
        self.out.first().and_then(|(_, transfer)| transfer.handed)
    }

    /// Whether the lane still has this transfer, or one behind it, and may not have handed it over.
    pub(super) fn has_unhanded_from(&self, first: TransferId) -> bool {
        self.out
            .from(first)
            .any(|(_, transfer)| transfer.handed.is_none())
    }

    /// The hub may have it.
    pub(super) fn is_maybe(&self, id: TicketId) -> bool {
        self.tickets.get(id).is_some_and(|ticket| self.has_left(ticket))
    }

    /// How much time it was given.
    pub(super) fn limit(&self, id: TicketId) -> Duration {
        self.tickets.get(id).map_or(Duration::ZERO, |ticket| ticket.limit)
    }

    /// The next ticket in the queue and its size.
    pub(super) fn front(&self) -> Option<(TicketId, usize)> {
        let (id, ()) = self.queued.first()?;
        Some((id, self.tickets.get(id)?.size))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Messages wait to be transferred.
    pub(super) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    pub(super) fn nothing_out(&self) -> bool {
        self.out.is_empty()
    }

    pub(super) fn out(&self) -> (usize, usize) {
        (self.out.len(), self.out_bytes)
    }

    /// By the present link, or by one before: what the present one brought the hub can still give back.
    fn has_left(&self, ticket: &Ticket) -> bool {
        let out = ticket.out.and_then(|out| self.out.get(out));
        ticket.maybe || out.is_some_and(|transfer| transfer.handed.is_some())
    }

    fn leave(&mut self, id: TransferId) -> Option<Transfer> {
        let transfer = self.out.remove(id)?;
        self.out_bytes -= transfer.bytes;
        Some(transfer)
    }
}

/// How many transfers of lanes of before are remembered, so that a late acceptance still counts. What is forgotten is
/// sent again, as it would be without the news.
const MAX_STALE: usize = 4096;
