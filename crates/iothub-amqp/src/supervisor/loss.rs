//! What a slot does when a link, its session or the connection is gone.

use std::time::{Duration, Instant};

use crate::error::Interruption;
use crate::recovery::{Recovery, is_theft};
use crate::status::Status;

use super::core::Core;
use super::lane::{LaneState, may_relink};
use super::ledger::Certainty;
use super::slot::{Access, Slot};
use super::{Cause, Epoch, LaneKind};

impl Slot {
    /// The connection is gone; `certainty` is what is known of what was on its links.
    pub(super) fn line_lost(
        &mut self,
        core: &mut Core,
        why: &Interruption,
        certainty: Certainty,
        now: Instant,
    ) {
        self.lanes_lost(core, why, certainty, now);
        for lane in self.lanes_mut() {
            lane.state = LaneState::Absent;
            lane.forget_losses();
        }
        self.access = Access::None;
        self.session = 0;
        self.token.forget_put();
        // Its session has ended with the connection, and nobody tells so any more.
        if let Some(leaving) = &mut self.leaving {
            leaving.ending = false;
        }
    }

    /// What was on the lanes goes back to where it waits.
    fn lanes_lost(&mut self, core: &mut Core, why: &Interruption, certainty: Certainty, now: Instant) {
        self.requeue_all(core, certainty);
        for inbox in self.inboxes.values_mut() {
            inbox.lost(core, certainty);
        }
        if let Some(twin) = &mut self.twin {
            twin.lost(core, why, now);
        }
    }

    pub(super) fn lane_lost(
        &mut self,
        core: &mut Core,
        kind: LaneKind,
        epoch: Epoch,
        cause: Cause,
        now: Instant,
    ) {
        let Some(lane) = self.lane_mut(kind) else { return };
        if !lane.is_present(epoch) {
            return;
        }
        lane.state = LaneState::Absent;
        match kind {
            LaneKind::Telemetry => self.requeue_all(core, Certainty::AllIsHeard),
            LaneKind::Twin | LaneKind::Management => {
                if let Some(twin) = &mut self.twin {
                    twin.lost(core, &cause.why, now);
                }
            }
            _ => {
                if let Some(inbox) = self.inboxes.get_mut(&kind) {
                    inbox.lost(core, Certainty::AllIsHeard);
                    if inbox.is_stopping() {
                        self.inboxes.remove(&kind);
                        return;
                    }
                }
            }
        }
        let retiring = core.line.is_retiring();
        if !core.is_up() && !retiring || self.is_ending() {
            return; // it goes with its connection, or session
        }
        let Cause { why, recovery } = self.mend(core, cause, now);
        if self.is_last_word(&why) {
            return self.end_stream(core, kind, why);
        }
        if self.stolen_too_often(&why, epoch, now) {
            return self.give_up(core, Interruption::Stolen);
        }
        if recovery == Recovery::GiveUp || !core.settings.recover || !self.ever_up {
            return match kind {
                LaneKind::Telemetry if self.is_service() => self.refuse_sending(core, &why),
                LaneKind::Telemetry => self.give_up(core, why),
                _ => self.end_stream(core, kind, why),
            };
        }
        if retiring {
            return; // a new connection comes anyway
        }
        self.recover(core, kind, why, recovery, now);
    }

    /// Nothing can be attached on the session any more. What lives on it has all to say yet, and without recovery it goes on.
    pub(super) fn session_spoilt(&mut self, core: &mut Core, kind: LaneKind, epoch: Epoch, now: Instant) {
        let present = (epoch.conn, epoch.session) == (core.conn, self.session);
        let leaves = core.line.is_retiring() || self.is_ending();
        if present && core.is_up() && !leaves && core.settings.recover && self.ever_up {
            self.recover(core, kind, Interruption::Closed, Recovery::Resession, now);
        }
    }

    /// Makes anew what was lost with a lane.
    fn recover(
        &mut self,
        core: &mut Core,
        kind: LaneKind,
        why: Interruption,
        recovery: Recovery,
        now: Instant,
    ) {
        let healthy = core.settings.schedule.healthy;
        // A session's end is told by whichever of its lanes hears of it first.
        let lost = if recovery == Recovery::Resession && !self.is_service() {
            LaneKind::Telemetry
        } else {
            kind
        };
        let Some(lane) = self.lane_mut(lost) else { return };
        let losses = lane.count_loss(healthy, now);
        let wait = match recovery {
            Recovery::Throttled => self.backoff.throttled(now),
            _ if may_relink(recovery, losses) => self.backoff.pause(losses),
            _ => return self.suspect(core, why, None, now),
        };
        let until = now + wait;
        if recovery == Recovery::Resession {
            self.resession(core, &why, until, now);
        } else if let Some(lane) = self.lane_mut(kind) {
            lane.state = LaneState::Down { until };
        }
        if kind == LaneKind::Telemetry || recovery == Recovery::Resession || self.is_service() {
            self.relinking(core, why, recovery, until);
        }
    }

    pub(super) fn resession(&mut self, core: &mut Core, why: &Interruption, until: Instant, now: Instant) {
        self.session += 1;
        self.lanes_lost(core, why, Certainty::FactsMayFollow, now);
        for lane in self.lanes_mut() {
            lane.reopen(core, until); // those that are up on a session that lives detach before the next begins
        }
    }

    pub(super) fn relinking(
        &mut self,
        core: &mut Core,
        why: Interruption,
        recovery: Recovery,
        until: Instant,
    ) {
        self.last_loss = Some(why.clone());
        self.report(
            core,
            match recovery {
                Recovery::Throttled => Status::Throttled { why, until },
                _ => Status::Recovering {
                    why,
                    next_attempt: until,
                },
            },
        );
    }

    /// What would be cured by a new connection: if others fare well on this one, this slot alone starts over, and
    /// waits longer each time.
    pub(super) fn suspect(
        &mut self,
        core: &mut Core,
        why: Interruption,
        since: Option<Instant>,
        now: Instant,
    ) {
        if !core.others_fare_well(since) {
            let recovery = Recovery::Reconnect;
            core.fault = Some(Cause { why, recovery });
            return;
        }
        if !self.ever_up {
            return self.give_up(core, why);
        }
        let healthy = core.settings.schedule.healthy;
        let losses = self.telemetry.lane.count_loss(healthy, now);
        let until = now + self.backoff.pause(losses + 1);
        self.resession(core, &why, until, now);
        self.relinking(core, why, Recovery::Reconnect, until);
    }

    /// Another client took this or, where that is the way in, the connection; not for the first time.
    ///
    /// Whoever takes one link takes all, and each tells so by itself: what was there already when the last theft counted went with
    /// it. So two clients are found out at the third visit, however many links they have, and whichever of them tell.
    pub(super) fn stolen_too_often(&mut self, why: &Interruption, taken: Epoch, now: Instant) -> bool {
        if !matches!(why, Interruption::Refused(condition) if is_theft(condition)) {
            return false;
        }
        if self.thefts.back().is_none_or(|last| taken > last.newest) {
            let newest = self.lanes_mut().map(|lane| lane.epoch).fold(taken, Epoch::max);
            self.thefts.push_back(Theft { at: now, newest });
        }
        while self
            .thefts
            .front()
            .is_some_and(|theft| now.saturating_duration_since(theft.at) > THEFTS_WINDOW)
        {
            self.thefts.pop_front();
        }
        self.thefts.len() >= MAX_THEFTS
    }

    /// What is taken with its connection.
    pub(super) fn all_of(&mut self, conn: u32) -> Epoch {
        let none = Epoch {
            conn,
            ..Epoch::default()
        };
        let up = self.lanes_mut().filter(|lane| lane.is_up());
        up.map(|lane| lane.epoch).fold(none, Epoch::max)
    }
}

/// Another client took what this one had.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theft {
    at: Instant,
    /// The newest link that was there, or was asked for.
    newest: Epoch,
}

/// Two clients that share an identity take the link from each other, each as often as it comes back.
const MAX_THEFTS: usize = 3;
const THEFTS_WINDOW: Duration = Duration::from_secs(60);
