//! A link, or a pair of them: when it is attached, and what its loss means.

use std::time::{Duration, Instant};

use crate::recovery::Recovery;

use super::core::Core;
use super::{Action, Epoch, LaneId};

/// Where a lane stands.
#[derive(Debug, Clone)]
pub(super) enum LaneState {
    /// There is no connection for one.
    Absent,
    /// It is to be attached then.
    Down { until: Instant },
    /// It is being attached.
    Opening { deadline: Instant },
    /// It takes messages of up to `limit` bytes (0: any).
    Up { limit: u64 },
}

#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) state: LaneState,
    /// Of the last attachment.
    pub(super) epoch: Epoch,
    /// Losses in a row, and the last of them.
    losses: u32,
    last_loss: Option<Instant>,
}

/// How often a slot has attached something on the present connection. Not each lane for itself, since one that is opened anew
/// must not take what is said of the one before for its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attachments {
    conn: u32,
    last: u32,
}

impl Attachments {
    fn next(&mut self, conn: u32) -> u32 {
        if self.conn != conn {
            *self = Self { conn, last: 0 };
        }
        self.last += 1;
        self.last
    }
}

/// What came of looking after a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Fine,
    /// The peer has not answered the attach.
    TimedOut {
        since: Instant,
        after: Duration,
    },
}

impl Lane {
    pub(super) fn new(id: LaneId) -> Self {
        Self {
            id,
            state: LaneState::Absent,
            epoch: Epoch::default(),
            losses: 0,
            last_loss: None,
        }
    }

    /// Attaches it if it is due.
    pub(super) fn advance(
        &mut self,
        core: &mut Core,
        session: u32,
        attachments: &mut Attachments,
        now: Instant,
    ) -> Watched {
        let after = OPENING_STEPS * core.settings.operation_timeout;
        match self.state {
            LaneState::Down { until } if now >= until => {
                self.epoch = Epoch {
                    conn: core.conn,
                    session,
                    lane: attachments.next(core.conn),
                };
                self.state = LaneState::Opening {
                    deadline: now + after,
                };
                core.act(Action::OpenLane(self.id, self.epoch));
            }
            LaneState::Opening { deadline } if now >= deadline => {
                return Watched::TimedOut {
                    since: deadline - after,
                    after,
                };
            }
            _ => {}
        }
        Watched::Fine
    }

    /// A fact of this epoch is of what is there now.
    pub(super) fn is_present(&self, epoch: Epoch) -> bool {
        self.epoch == epoch && matches!(self.state, LaneState::Opening { .. } | LaneState::Up { .. })
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, LaneState::Up { .. })
    }

    /// It is to be attached, or is being attached.
    pub(super) fn is_coming(&self) -> bool {
        matches!(self.state, LaneState::Down { .. } | LaneState::Opening { .. })
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            LaneState::Down { until } | LaneState::Opening { deadline: until } => Some(until),
            LaneState::Absent | LaneState::Up { .. } => None,
        }
    }

    /// Detaches it, to be attached again then.
    pub(super) fn reopen(&mut self, core: &mut Core, until: Instant) {
        self.close(core);
        self.state = LaneState::Down { until };
    }

    pub(super) fn close(&mut self, core: &mut Core) {
        if matches!(self.state, LaneState::Opening { .. } | LaneState::Up { .. }) {
            core.act(Action::CloseLane(self.id, self.epoch));
        }
        self.state = LaneState::Absent;
    }

    /// How many losses there were before this one, without a time of health between them.
    pub(super) fn count_loss(&mut self, healthy: Duration, now: Instant) -> u32 {
        let last = self.last_loss.replace(now);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= healthy) {
            self.losses = 0;
        }
        self.losses += 1;
        self.losses - 1
    }

    /// A new connection has no past.
    pub(super) fn forget_losses(&mut self) {
        self.losses = 0;
        self.last_loss = None;
    }
}

/// Whether attaching the same lane again, or its session, may still be the cure.
pub(super) fn may_relink(recovery: Recovery, losses: u32) -> bool {
    matches!(recovery, Recovery::Retry | Recovery::Relink | Recovery::Resession) && losses < MAX_RELINKS
}

/// Beginning the session and attaching the link are bounded one by one; together by this many such bounds.
pub(super) const OPENING_STEPS: u32 = 3;

/// How often a link that goes is attached anew before its connection is suspected.
const MAX_RELINKS: u32 = 3;
