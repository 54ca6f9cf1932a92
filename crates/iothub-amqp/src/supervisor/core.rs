//! What the slots of a connection share.

use std::collections::VecDeque;
use std::time::Instant;

use crate::error::Interruption;

use super::backoff::Backoff;
use super::line::Line;
use super::puts::Puts;
use super::{Action, Cause, Settings, SlotId};

#[derive(Debug, Clone)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) backoff: Backoff,
    pub(super) line: Line,
    /// The present connection, or the last.
    pub(super) conn: u32,
    pub(super) attempts: u64,
    pub(super) puts: Puts,
    /// Slots that have not ended.
    pub(super) members: usize,
    /// Bytes of messages that are out, of all slots but the one that is looked after.
    pub(super) others_out: usize,
    /// Slots that have messages, and wait for others' to come to their end; each takes its turn.
    pub(super) hungry: VecDeque<SlotId>,
    /// Whose turn it is just now, for one transfer.
    pub(super) turn: Option<SlotId>,
    /// When the peer last gave a sign of life.
    pub(super) heard: Instant,
    /// What a slot has found out to be the connection's fault.
    pub(super) fault: Option<Cause>,
    /// Why the last connection was lost, or could not be made, if there has been none since.
    pub(super) last_loss: Option<Interruption>,
    pub(super) actions: VecDeque<Action>,
}

impl Core {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.line, Line::Up)
    }

    /// Whether what one slot meets need not be the connection's fault: others are on it, and the peer has given a sign
    /// of life since then (or just now, if what was met is an answer).
    pub(super) fn others_fare_well(&self, since: Option<Instant>) -> bool {
        self.members > 1 && since.is_none_or(|since| self.heard > since)
    }

    /// How many more bytes may be out, when `mine` are.
    pub(super) fn room(&self, mine: usize) -> usize {
        self.settings.window_bytes.saturating_sub(self.others_out + mine)
    }
}
