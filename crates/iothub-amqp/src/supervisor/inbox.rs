//! What comes in: cloud-to-device messages, module inputs and method calls, and the application's word on each.
//!
//! Only the link on which something came can take the word on it (AMQP 1.0 §2.6.12): when that link is gone, the hub
//! has its message back, and the word counts for nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::error::{Interruption, SubscribeError};

use super::core::Core;
use super::lane::Lane;
use super::ledger::Certainty;
use super::{Action, DeliveryId, Epoch, LaneId, LaneKind, Verdict, Word};

#[derive(Debug, Clone)]
pub(super) struct Inbox {
    pub(super) lane: Lane,
    pub(super) opening: Option<Opening>,
    /// What came on the present link and has no word on it.
    held: BTreeSet<DeliveryId>,
    /// What the lane has the word on.
    disposing: BTreeSet<DeliveryId>,
    /// Nothing more is wanted; the link stays until all that came has a word on it.
    stopping: bool,
    /// Nothing more comes on the present link.
    quiet: bool,
}

/// The application waits for the first attachment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) deadline: Instant,
    pub(super) limit: Duration,
}

impl Inbox {
    pub(super) fn new(id: LaneId, opening: Opening) -> Self {
        Self {
            lane: Lane::new(id),
            opening: Some(opening),
            held: BTreeSet::new(),
            disposing: BTreeSet::new(),
            stopping: false,
            quiet: false,
        }
    }

    pub(super) fn up(&mut self, core: &mut Core) {
        if self.opening.take().is_some() {
            core.act(Action::Subscribed(self.lane.id, Ok(())));
        }
    }

    pub(super) fn arrived(&mut self, core: &mut Core, epoch: Epoch, delivery: DeliveryId) {
        let lane = self.lane.id;
        let holds = !lane.kind.reads_a_log();
        if !self.lane.is_present(epoch) || holds && !self.held.insert(delivery) {
            return;
        }
        if self.stopping {
            self.answer(core, epoch, delivery, Verdict::Abandon);
        } else {
            core.act(Action::Deliver {
                lane,
                epoch,
                delivery,
            });
        }
    }

    /// Nothing more is wanted. True if the link is not needed any more.
    pub(super) fn stop(&mut self, core: &mut Core) -> bool {
        if self.lane.is_up() && !self.is_empty() {
            self.stopping = true;
            self.silence(core);
            return false;
        }
        self.lost(core, Certainty::FactsMayFollow);
        self.lane.close(core);
        true
    }

    /// The link is to go: a message that came yet would be locked for nothing, and be counted as delivered. A call finds no better
    /// link for a while, and events want no word.
    pub(super) fn quieten(&mut self, core: &mut Core) {
        let kind = self.lane.id.kind;
        if self.lane.is_up() && kind != LaneKind::Methods && !kind.reads_a_log() {
            self.silence(core);
        }
    }

    fn silence(&mut self, core: &mut Core) {
        if !std::mem::replace(&mut self.quiet, true) {
            core.act(Action::Quiet(self.lane.id, self.lane.epoch));
        }
    }

    /// Whether a word is on its way.
    pub(super) fn is_disposing(&self) -> bool {
        !self.disposing.is_empty()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The link was only kept for what had come, and that is done. Closes it then.
    pub(super) fn is_done(&mut self, core: &mut Core) -> bool {
        let done = self.stopping && self.is_empty();
        if done {
            self.lane.close(core);
        }
        done
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.disposing.is_empty()
    }

    pub(super) fn answer(&mut self, core: &mut Core, epoch: Epoch, delivery: DeliveryId, verdict: Verdict) {
        let lane = self.lane.id;
        let verdict = match verdict {
            // A call can't be given back: who has called hears nothing.
            Verdict::Abandon if lane.kind == LaneKind::Methods => Verdict::Forget,
            verdict => verdict,
        };
        if self.lane.is_present(epoch) && self.held.remove(&delivery) {
            if verdict != Verdict::Forget {
                self.disposing.insert(delivery);
            }
            core.act(Action::Dispose {
                lane,
                epoch,
                delivery,
                verdict,
            });
        } else {
            core.act(too_late(lane, epoch, delivery));
        }
    }

    pub(super) fn disposed(&mut self, core: &mut Core, epoch: Epoch, delivery: DeliveryId) {
        if self.lane.epoch == epoch && self.disposing.remove(&delivery) {
            let lane = self.lane.id;
            core.act(Action::Disposed {
                lane,
                epoch,
                delivery,
                word: Word::Taken,
            });
        }
    }

    /// The link is gone or given up, and what came on it is the hub's again.
    pub(super) fn lost(&mut self, core: &mut Core, certainty: Certainty) {
        self.held.clear();
        self.quiet = false;
        let (lane, epoch) = (self.lane.id, self.lane.epoch);
        let word = match certainty {
            Certainty::AllIsHeard => Word::TooLate,
            Certainty::FactsMayFollow => Word::Unknown,
        };
        for delivery in std::mem::take(&mut self.disposing) {
            core.act(Action::Disposed {
                lane,
                epoch,
                delivery,
                word,
            });
        }
    }

    /// Nothing comes any more.
    pub(super) fn end(mut self, core: &mut Core, why: Interruption) {
        self.lost(core, Certainty::FactsMayFollow);
        self.lane.close(core);
        let lane = self.lane.id;
        core.act(match self.opening {
            Some(_) => Action::Subscribed(lane, Err(SubscribeError::Ended(why))),
            None if self.stopping => return,
            None => Action::StreamEnded(lane, why),
        });
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let opening = self.opening.map(|opening| opening.deadline);
        self.lane.due().into_iter().chain(opening).min()
    }
}

pub(super) fn too_late(lane: LaneId, epoch: Epoch, delivery: DeliveryId) -> Action {
    Action::Disposed {
        lane,
        epoch,
        delivery,
        word: Word::TooLate,
    }
}
