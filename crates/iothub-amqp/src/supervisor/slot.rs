//! A principal on the connection: its way in, its lanes, and its end, which is nobody else's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::error::{Interruption, Phase, SubscribeError};
use crate::status::{Statistics, Status};

use super::backoff::Backoff;
use super::core::Core;
use super::inbox::{Inbox, Opening};
use super::lane::{Attachments, Lane, LaneState, Watched};
use super::ledger::Certainty;
use super::line::Line;
use super::loss::Theft;
use super::telemetry::Telemetry;
use super::token::Token;
use super::twin::Twin;
use super::{Action, Epoch, LaneId, LaneKind, Principal, SignIn, SlotId, SlotSettings};

#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) settings: SlotSettings,
    pub(super) access: Access,
    pub(super) token: Token,
    pub(super) session: u32,
    attachments: Attachments,
    pub(super) telemetry: Telemetry,
    pub(super) inboxes: BTreeMap<LaneKind, Inbox>,
    pub(super) twin: Option<Twin>,
    /// For what is smaller than the connection.
    pub(super) backoff: Backoff,
    /// It has been there once: from now on losses are recovered from.
    pub(super) ever_up: bool,
    /// The first time has to come by then.
    join_by: Instant,
    pub(super) leaving: Option<Leaving>,
    pub(super) ended: Option<Interruption>,
    /// Within the last minute.
    pub(super) thefts: VecDeque<Theft>,
    /// Why the last connection, session or link ended.
    pub(super) last_loss: Option<Interruption>,
    pub(super) status: Status,
    pub(super) statistics: Statistics,
    /// What the index of timers has of it.
    pub(super) indexed: Option<Instant>,
}

/// Whether links may be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// There is no connection.
    None,
    /// The token is to be put then.
    Down {
        until: Instant,
    },
    /// It is with the hub, or in the queue for it.
    Putting,
    Granted,
}

/// On its way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) drained_by: Instant,
    pub(super) closed_by: Instant,
    pub(super) limit: Duration,
    /// The session is being ended.
    pub(super) ending: bool,
}

impl Slot {
    pub(super) fn new(id: SlotId, settings: SlotSettings, core: &Core, now: Instant) -> Self {
        let seed = core.settings.seed ^ u64::from(id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let telemetry = LaneId {
            slot: id,
            kind: LaneKind::Telemetry,
        };
        Self {
            id,
            settings,
            access: Access::None,
            token: Token::default(),
            session: 0,
            attachments: Attachments::default(),
            telemetry: Telemetry::new(telemetry, settings.principal == Principal::Device),
            inboxes: BTreeMap::new(),
            twin: None,
            backoff: Backoff::new(core.settings.schedule, seed),
            ever_up: false,
            join_by: now + JOIN_STEPS * core.settings.operation_timeout,
            leaving: None,
            ended: None,
            thefts: VecDeque::new(),
            last_loss: None,
            status: Status::Connecting,
            statistics: Statistics::default(),
            indexed: None,
        }
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, core: &mut Core, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        if !self.ever_up && now >= self.join_by {
            let after = JOIN_STEPS * core.settings.operation_timeout;
            let phase = Phase::Open;
            let why = self
                .last_loss
                .clone()
                .unwrap_or(Interruption::TimedOut { phase, after });
            return self.give_up(core, why);
        }
        self.expire(core, now);
        self.advance_token(core, now);
        self.advance_access(core, now);
        if self.ended.is_none() {
            self.advance_lanes(core, now);
        }
    }

    pub(super) fn due(&self, core: &Core) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        let access = match self.access {
            Access::Down { until } if core.is_up() && self.token.is_fresh(until) => Some(until),
            // Then the credential is asked, and its own time-out counts.
            Access::Down { until } if core.is_up() => self.token.fetch_due(until),
            _ => None,
        };
        let lanes_live = self.access == Access::Granted && core.is_up() && !self.is_ending();
        let lanes = lanes_live.then(|| self.lanes_due()).flatten();
        let waiting = [
            self.inboxes
                .values()
                .filter_map(|inbox| inbox.opening)
                .map(|opening| opening.deadline)
                .min(),
            self.twin.as_ref().and_then(Twin::deadline),
        ];
        let join = (!self.ever_up).then_some(self.join_by);
        // Whoever leaves needs one only to be connected, if it has something to send yet.
        let needs_token = self.leaving.is_none() || matches!(core.line, Line::AwaitingToken);
        let token = needs_token
            .then(|| self.token.due(self.access, &core.line))
            .flatten();
        [self.telemetry.ledger.next_deadline(), token, access, lanes, join]
            .into_iter()
            .chain(waiting)
            .flatten()
            .min()
    }

    /// Notes when it is to be looked after.
    pub(super) fn index(&mut self, index: &mut BTreeSet<(Instant, SlotId)>, due: Option<Instant>) {
        if self.indexed == due {
            return;
        }
        if let Some(at) = self.indexed {
            index.remove(&(at, self.id));
        }
        if let Some(at) = due {
            index.insert((at, self.id));
        }
        self.indexed = due;
    }

    fn lanes_due(&self) -> Option<Instant> {
        let telemetry = self.telemetry.due(self.settings.settle_timeout);
        if !self.is_there() {
            return telemetry; // the others come after it
        }
        let inboxes = self.inboxes.values().filter_map(Inbox::due);
        let twin = self.twin.as_ref().and_then(Twin::due);
        telemetry.into_iter().chain(inboxes).chain(twin).min()
    }

    fn advance_lanes(&mut self, core: &mut Core, now: Instant) {
        self.give_up_waiting(core, now);
        self.inboxes.retain(|_, inbox| !inbox.is_done(core));
        if let Some(twin) = &mut self.twin {
            twin.expire(core, self.last_loss.as_ref(), now);
        }
        if self.access != Access::Granted || !core.is_up() || core.fault.is_some() || self.is_ending() {
            return;
        }
        if self.settle_overdue(now) {
            return self.settle_timed_out(core, now);
        }
        let (session, attachments) = (self.session, &mut self.attachments);
        let mut watched = self.telemetry.lane.advance(core, session, attachments, now);
        self.advance_feed(core, now);
        if self.is_there() {
            for inbox in self.inboxes.values_mut() {
                let seen = inbox.lane.advance(core, self.session, &mut self.attachments, now);
                watched = worse(watched, seen);
            }
            if let Some(twin) = &mut self.twin {
                let seen = twin.lane.advance(core, self.session, &mut self.attachments, now);
                watched = worse(watched, seen);
            }
        }
        if let Some(twin) = &mut self.twin {
            twin.advance(core, now);
        }
        // What was to come back may be there now, or not wanted any more.
        if self.is_service() && matches!(self.status, Status::Recovering { .. } | Status::Throttled { .. }) {
            self.report_connected(core);
        }
        if let Watched::TimedOut { since, after } = watched {
            let phase = Phase::Attach;
            self.suspect(core, Interruption::TimedOut { phase, after }, Some(since), now);
        }
    }

    /// Subscriptions that nobody waits for any longer.
    fn give_up_waiting(&mut self, core: &mut Core, now: Instant) {
        let overdue = |inbox: &Inbox| inbox.opening.filter(|opening| opening.deadline <= now);
        let late: Vec<_> = self
            .inboxes
            .iter()
            .filter_map(|(kind, inbox)| overdue(inbox).map(|opening| (*kind, opening.limit)))
            .collect();
        for (kind, after) in late {
            let phase = Phase::Subscribe;
            if let Some(inbox) = self.inboxes.remove(&kind) {
                inbox.end(core, Interruption::TimedOut { phase, after });
            }
        }
    }

    /// The connection is open.
    pub(super) fn line_up(&mut self, core: &mut Core, now: Instant) {
        match core.settings.sign_in {
            SignIn::Plain | SignIn::Certificate => self.granted(core, now),
            SignIn::Claims => self.access = Access::Down { until: now },
        }
    }

    pub(super) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        let wanted = self.telemetry.wanted;
        let telemetry = std::iter::once(&mut self.telemetry.lane).filter(move |_| wanted);
        let inboxes = self.inboxes.values_mut().map(|inbox| &mut inbox.lane);
        let twin = self.twin.iter_mut().map(|twin| &mut twin.lane);
        telemetry.chain(inboxes).chain(twin)
    }

    pub(super) fn lane_mut(&mut self, kind: LaneKind) -> Option<&mut Lane> {
        self.lanes_mut().find(|lane| lane.id.kind == kind)
    }

    pub(super) fn lane_up(
        &mut self,
        core: &mut Core,
        kind: LaneKind,
        epoch: Epoch,
        limit: u64,
        now: Instant,
    ) {
        let Some(lane) = self.lane_mut(kind) else { return };
        if lane.epoch != epoch || !matches!(lane.state, LaneState::Opening { .. }) {
            return;
        }
        lane.state = LaneState::Up { limit };
        match kind {
            LaneKind::Telemetry => self.telemetry_up(core, now),
            LaneKind::Twin | LaneKind::Management => {}
            _ => {
                if let Some(inbox) = self.inboxes.get_mut(&kind) {
                    inbox.up(core);
                }
            }
        }
    }

    pub(super) fn subscribe(&mut self, core: &mut Core, lane: LaneId, opening: Opening, now: Instant) {
        if let Some(why) = &self.ended {
            let why = why.clone();
            return core.act(Action::Subscribed(lane, Err(SubscribeError::Ended(why))));
        }
        let granted = self.access == Access::Granted;
        let kind = lane.kind;
        if kind.asks() {
            self.twin(now).subscribe(opening, now);
        } else {
            let mut inbox = Inbox::new(lane, opening);
            if granted {
                inbox.lane.state = LaneState::Down { until: now };
            }
            if let Some(mut before) = self.inboxes.insert(kind, inbox) {
                before.lost(core, Certainty::FactsMayFollow);
                before.lane.close(core);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, core: &mut Core, kind: LaneKind) {
        if kind.asks() {
            if let Some(twin) = &mut self.twin {
                twin.unsubscribe();
            }
        } else if let Some(inbox) = self.inboxes.get_mut(&kind)
            && inbox.stop(core)
        {
            self.inboxes.remove(&kind);
        }
    }

    /// What answers questions: the twin, or an event hub's management. Its links are attached when they are first needed,
    /// and stay.
    pub(super) fn twin(&mut self, now: Instant) -> &mut Twin {
        let (id, granted) = (self.id, self.access == Access::Granted);
        let service = self.is_service();
        self.twin.get_or_insert_with(|| {
            let kind = if service {
                LaneKind::Management
            } else {
                LaneKind::Twin
            };
            let mut twin = Twin::new(LaneId { slot: id, kind }, now);
            if !granted {
                twin.lane.state = LaneState::Absent;
            }
            twin
        })
    }

    /// Nothing more comes of this lane; the others go on.
    pub(super) fn end_stream(&mut self, core: &mut Core, kind: LaneKind, why: Interruption) {
        if kind.asks() {
            if let Some(twin) = self.twin.take() {
                twin.end(core, &why);
            }
        } else if let Some(inbox) = self.inboxes.remove(&kind) {
            inbox.end(core, why);
        }
    }

    /// Trying again can't help this one.
    pub(super) fn give_up(&mut self, core: &mut Core, why: Interruption) {
        if self.ended.is_some() {
            return;
        }
        self.requeue_all(core, Certainty::FactsMayFollow);
        self.end(core, why);
    }

    /// Ends it, and all that waits.
    pub(super) fn end(&mut self, core: &mut Core, why: Interruption) {
        if self.ended.is_some() {
            return;
        }
        self.fail_all(core, &why);
        for (_, inbox) in std::mem::take(&mut self.inboxes) {
            inbox.end(core, why.clone());
        }
        if let Some(twin) = self.twin.take() {
            twin.end(core, &why);
        }
        core.puts.forget(self.id);
        core.members -= 1;
        if core.is_up() && core.members > 0 && self.access == Access::Granted {
            core.act(Action::EndSession { slot: self.id });
        }
        self.access = Access::None;
        self.telemetry.lane.state = LaneState::Absent;
        self.ended = Some(why.clone());
        self.report(core, Status::Ended { why });
    }

    pub(super) fn is_drained(&self) -> bool {
        self.telemetry.ledger.is_empty() && self.twin.as_ref().is_none_or(|twin| !twin.is_asked())
    }

    /// Whether something is on its way of which a moment's patience will tell what came of it: a message, a word, a question.
    pub(super) fn flies(&self) -> bool {
        !self.telemetry.ledger.nothing_out()
            || self.inboxes.values().any(Inbox::is_disposing)
            || self.twin.as_ref().is_some_and(Twin::is_answering)
    }

    /// Lets nothing more come that would have to be told again by the next connection.
    pub(super) fn quieten(&mut self, core: &mut Core) {
        for inbox in self.inboxes.values_mut() {
            inbox.quieten(core);
        }
    }

    /// Its session is being ended, on which nothing is attached any more.
    pub(super) fn is_ending(&self) -> bool {
        self.leaving.is_some_and(|leaving| leaving.ending)
    }

    /// All is well again, but where the hub is to be left alone yet. A loss may be over before anyone has looked, so what it
    /// was stays in sight.
    pub(super) fn report_connected(&mut self, core: &mut Core) {
        // A service is told of each of its links, and a device of the one for what it sends.
        if self.is_service() && self.lanes_mut().any(|lane| lane.is_coming()) {
            return;
        }
        if let Some(status) = self.telemetry.throttling() {
            return self.report(core, status);
        }
        let after = match &self.status {
            Status::Recovering { why, .. } | Status::Throttled { why, .. } => Some(why.clone()),
            Status::Connected { after } => after.clone(),
            _ => None,
        };
        self.report(core, Status::Connected { after });
    }

    pub(super) fn report(&mut self, core: &mut Core, status: Status) {
        // Whoever closes a client is told no more than that it does, and that it has.
        let heard = self.leaving.is_none() || matches!(status, Status::Closing | Status::Ended { .. });
        if heard && self.status != status {
            self.status = status.clone();
            core.act(Action::Report(self.id, status));
        }
    }
}

fn worse(one: Watched, other: Watched) -> Watched {
    if one == Watched::Fine { other } else { one }
}

/// Joining takes a connection, a token, a session and a link, each bounded; and others may come first.
const JOIN_STEPS: u32 = 12;
