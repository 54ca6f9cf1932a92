//! The twin: questions with answers, and desired changes of which none is missed unseen.
//!
//! The hub numbers the versions of the desired properties. A number that is left out, a link that was gone, a reader
//! that fell behind: each leaves a gap, and all of the twin is read again to close it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::error::{Interruption, Phase, SubscribeError, TwinError};
use crate::recovery::token_condition;

use super::backoff::Backoff;
use super::core::Core;
use super::inbox::Opening;
use super::lane::Lane;
use super::{Action, Epoch, LaneId, Question, RequestId, SlotId};

#[derive(Debug, Clone)]
pub(super) struct Twin {
    slot: SlotId,
    pub(super) lane: Lane,
    requests: BTreeMap<RequestId, Request>,
    deadlines: BTreeSet<(Instant, RequestId)>,
    pub(super) desired: Option<Desired>,
    /// Counts the questions of its own; the application's have even numbers.
    own: u64,
}

#[derive(Debug, Clone)]
struct Request {
    question: Question,
    deadline: Instant,
    limit: Duration,
    /// With the lane of this epoch.
    out: Option<Epoch>,
    /// The hub may have it.
    maybe: bool,
}

/// The desired changes that the application wants to hear of.
#[derive(Debug, Clone)]
pub(super) struct Desired {
    pub(super) opening: Option<Opening>,
    /// What the application has.
    version: Option<i64>,
    /// The latest that the hub has told of.
    told: i64,
    step: Step,
    /// Changes that the application has not taken.
    untaken: usize,
    tries: u32,
    /// The hub said that it has too much to do, and has answered well to nothing since.
    throttled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// To be subscribed from then on.
    Unsubscribed {
        from: Instant,
    },
    Subscribing(RequestId),
    /// There may be a gap, to be closed from then on.
    Gap {
        from: Instant,
    },
    Reading(RequestId),
    Live,
}

impl Twin {
    pub(super) fn new(id: LaneId, now: Instant) -> Self {
        let mut lane = Lane::new(id);
        lane.state = super::lane::LaneState::Down { until: now };
        Self {
            slot: id.slot,
            lane,
            requests: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            desired: None,
            own: 0,
        }
    }

    pub(super) fn subscribe(&mut self, opening: Opening, now: Instant) {
        self.desired = Some(Desired {
            opening: Some(opening),
            version: None,
            told: 0,
            step: Step::Unsubscribed { from: now },
            untaken: 0,
            tries: 0,
            throttled: false,
        });
    }

    pub(super) fn unsubscribe(&mut self) {
        if let Some(desired) = self.desired.take()
            && let Step::Subscribing(request) | Step::Reading(request) = desired.step
        {
            self.remove(request);
        }
    }

    /// Takes a question of the application's.
    pub(super) fn ask(
        &mut self,
        core: &mut Core,
        request: RequestId,
        question: Question,
        deadline: Instant,
        limit: Duration,
    ) {
        if self.requests.len() >= MAX_REQUESTS {
            return core.act(Action::CompleteRequest(request, Err(TwinError::TooMany)));
        }
        self.insert(request, question, deadline, limit);
    }

    fn insert(&mut self, request: RequestId, question: Question, deadline: Instant, limit: Duration) {
        self.deadlines.insert((deadline, request));
        self.requests.insert(
            request,
            Request {
                question,
                deadline,
                limit,
                out: None,
                maybe: false,
            },
        );
    }

    fn remove(&mut self, request: RequestId) -> Option<Request> {
        let removed = self.requests.remove(&request)?;
        self.deadlines.remove(&(removed.deadline, request));
        Some(removed)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let request = self.deadlines.first().map(|(deadline, _)| *deadline);
        let desired = self.desired.as_ref().and_then(|desired| {
            let step = match desired.step {
                Step::Unsubscribed { from } if self.lane.is_up() => Some(from),
                Step::Gap { from } if self.lane.is_up() && desired.has_room() => Some(from),
                _ => None,
            };
            let opening = desired.opening.map(|opening| opening.deadline);
            step.into_iter().chain(opening).min()
        });
        [request, desired, self.lane.due()].into_iter().flatten().min()
    }

    /// When something that the application waits for is overdue, link or none.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let request = self.deadlines.first().map(|(deadline, _)| *deadline);
        let opening = self.desired.as_ref().and_then(|desired| desired.opening);
        request
            .into_iter()
            .chain(opening.map(|opening| opening.deadline))
            .min()
    }

    /// Gives up what is overdue.
    pub(super) fn expire(&mut self, core: &mut Core, loss: Option<&Interruption>, now: Instant) {
        while let Some(&(deadline, request)) = self.deadlines.first()
            && deadline <= now
        {
            let Some(overdue) = self.remove(request) else {
                continue;
            };
            if self.is_own(request) {
                self.retry(core, now);
            } else {
                let timed_out = Interruption::TimedOut {
                    phase: Phase::Answer,
                    after: overdue.limit,
                };
                let why = loss.filter(|_| !self.lane.is_up()).cloned().unwrap_or(timed_out);
                core.act(Action::CompleteRequest(request, Err(overdue.error(why))));
            }
        }
        if let Some(desired) = &mut self.desired
            && let Some(opening) = desired.opening.filter(|opening| opening.deadline <= now)
        {
            let why = Interruption::TimedOut {
                phase: Phase::Subscribe,
                after: opening.limit,
            };
            self.unsubscribe();
            core.act(Action::Subscribed(self.lane.id, Err(SubscribeError::Ended(why))));
        }
    }

    /// Puts what waits to the lane.
    pub(super) fn advance(&mut self, core: &mut Core, now: Instant) {
        if self.lane.is_up() {
            self.advance_desired(core, now);
            self.feed(core);
        }
    }

    fn advance_desired(&mut self, core: &Core, now: Instant) {
        let Some(desired) = &mut self.desired else { return };
        let question = match desired.step {
            Step::Unsubscribed { from } if now >= from => Question::Subscribe,
            Step::Gap { from } if now >= from && desired.has_room() => Question::Get,
            _ => return,
        };
        self.own += 1;
        let request = RequestId(self.own * 2 - 1);
        desired.step = match question {
            Question::Subscribe => Step::Subscribing(request),
            _ => Step::Reading(request),
        };
        let limit = core.settings.operation_timeout;
        self.insert(request, question, now + limit, limit);
    }

    fn feed(&mut self, core: &mut Core) {
        let (lane, epoch) = (self.lane.id, self.lane.epoch);
        for (&request, waiting) in self
            .requests
            .iter_mut()
            .filter(|(_, request)| request.out.is_none())
        {
            waiting.out = Some(epoch);
            core.act(Action::Ask {
                lane,
                epoch,
                request,
                question: waiting.question,
            });
        }
    }

    pub(super) fn asked(&mut self, epoch: Epoch, request: RequestId) {
        if let Some(asked) = self.requests.get_mut(&request)
            && asked.out == Some(epoch)
        {
            asked.maybe = true;
        }
    }

    /// The link does not take a question: it never left.
    pub(super) fn not_asked(
        &mut self,
        core: &mut Core,
        epoch: Epoch,
        request: RequestId,
        (size, limit): (u64, u64),
        now: Instant,
    ) {
        if self
            .requests
            .get(&request)
            .is_none_or(|asked| asked.out != Some(epoch))
        {
            return;
        }
        self.remove(request);
        if self.is_own(request) {
            return self.retry(core, now);
        }
        let error = TwinError::TooLarge { size, limit };
        core.act(Action::CompleteRequest(request, Err(error)));
    }

    /// An answer: the application's own, or one to a question of ours.
    pub(super) fn answered(
        &mut self,
        core: &mut Core,
        backoff: &mut Backoff,
        epoch: Epoch,
        request: RequestId,
        (status, version): (i32, Option<i64>),
        now: Instant,
    ) {
        if self
            .requests
            .get(&request)
            .is_none_or(|asked| asked.out != Some(epoch))
        {
            return; // of a link of before, or nobody waits for it any more
        }
        self.remove(request);
        let good = (200..300).contains(&status);
        if !self.is_own(request) {
            let result = if good {
                Ok(())
            } else {
                Err(TwinError::refused(status))
            };
            return core.act(Action::CompleteRequest(request, result));
        }
        let Some(desired) = &mut self.desired else { return };
        if good && std::mem::take(&mut desired.throttled) {
            backoff.unthrottled();
        }
        match desired.step {
            Step::Subscribing(asked) if asked == request && good => {
                desired.tries = 0;
                // What changed before the subscription is known only by reading.
                desired.step = Step::Gap { from: now };
                if desired.opening.take().is_some() {
                    core.act(Action::Subscribed(self.lane.id, Ok(())));
                }
            }
            Step::Subscribing(asked) | Step::Reading(asked)
                if asked == request && (400..500).contains(&status) && !PASSING.contains(&status) =>
            {
                let opening = desired.opening.is_some();
                self.desired = None;
                let why = Interruption::Refused(token_condition(status, None));
                core.act(if opening {
                    Action::Subscribed(self.lane.id, Err(SubscribeError::Ended(why)))
                } else {
                    Action::StreamEnded(self.lane.id, why)
                });
            }
            Step::Reading(asked) if asked == request && good => self.read(core, version, now),
            _ if status == THROTTLED => {
                desired.throttled = true;
                desired.again(now + backoff.throttled(now));
            }
            _ => self.retry(core, now),
        }
    }

    /// All of the twin was read, for the application and for the gap.
    fn read(&mut self, core: &mut Core, version: Option<i64>, now: Instant) {
        let slot = self.slot;
        let Some(desired) = &mut self.desired else { return };
        let Some(version) = version else {
            return self.retry(core, now); // no twin without a version
        };
        let is_news = desired.version != Some(version);
        if is_news {
            desired.version = Some(version);
            desired.untaken += 1;
            core.act(Action::DeliverDesired {
                slot,
                version,
                whole: true,
            });
        }
        // What the hub told of meanwhile may be newer than what was read, and a while in coming to where it reads.
        if desired.told > version && !is_news {
            return self.retry(core, now);
        }
        desired.tries = 0;
        desired.step = if desired.told > version {
            Step::Gap { from: now }
        } else {
            Step::Live
        };
    }

    /// The hub tells of a change.
    pub(super) fn changed(&mut self, core: &mut Core, epoch: Epoch, version: i64, now: Instant) {
        let is_present = self.lane.is_present(epoch);
        let slot = self.slot;
        let Some(desired) = self.desired.as_mut().filter(|_| is_present) else {
            return;
        };
        desired.told = desired.told.max(version);
        if desired.step != Step::Live || desired.version.is_some_and(|known| version <= known) {
            return;
        }
        if desired.version == Some(version - 1) && desired.has_room() {
            desired.version = Some(version);
            desired.untaken += 1;
            core.act(Action::DeliverDesired {
                slot,
                version,
                whole: false,
            });
        } else {
            desired.step = Step::Gap { from: now };
        }
    }

    pub(super) fn taken(&mut self) {
        if let Some(desired) = &mut self.desired {
            desired.untaken = desired.untaken.saturating_sub(1);
        }
    }

    /// A question of our own came to nothing: again, after a while.
    fn retry(&mut self, core: &mut Core, now: Instant) {
        let Some(desired) = &mut self.desired else { return };
        desired.tries = desired.tries.saturating_add(1);
        desired.again(now + core.backoff.pause(desired.tries));
    }

    /// The link is gone: what only reads is asked again, what changes something may have done so.
    pub(super) fn lost(&mut self, core: &mut Core, why: &Interruption, now: Instant) {
        let own: Vec<_> = self
            .requests
            .keys()
            .copied()
            .filter(|id| self.is_own(*id))
            .collect();
        for request in own {
            self.remove(request);
        }
        if let Some(desired) = &mut self.desired {
            desired.told = 0; // the twin may be a new one, that counts anew
            desired.step = Step::Unsubscribed { from: now };
        }
        let mut gone = Vec::new();
        for (&id, request) in &mut self.requests {
            let was_out = request.out.take().is_some();
            // What was put to the lane may have been handed over unheard.
            if was_out && request.question != Question::Get {
                gone.push(id);
            }
        }
        for id in gone {
            self.remove(id);
            core.act(Action::CompleteRequest(id, Err(TwinError::Unknown(why.clone()))));
        }
    }

    /// Nothing is asked or told any more.
    pub(super) fn end(mut self, core: &mut Core, why: &Interruption) {
        self.lane.close(core);
        let requests = std::mem::take(&mut self.requests);
        for (id, request) in requests {
            if !self.is_own(id) {
                core.act(Action::CompleteRequest(id, Err(request.error(why.clone()))));
            }
        }
        if let Some(desired) = self.desired {
            core.act(match desired.opening {
                Some(_) => Action::Subscribed(self.lane.id, Err(SubscribeError::Ended(why.clone()))),
                None => Action::StreamEnded(self.lane.id, why.clone()),
            });
        }
    }

    /// Whether the application waits for an answer.
    pub(super) fn is_asked(&self) -> bool {
        self.requests.keys().any(|request| !self.is_own(*request))
    }

    /// Whether an answer is on its way that the application waits for. What it asks of itself it asks again.
    pub(super) fn is_answering(&self) -> bool {
        let mut requests = self.requests.iter();
        requests.any(|(id, request)| !self.is_own(*id) && request.out.is_some())
    }

    fn is_own(&self, request: RequestId) -> bool {
        request.0 % 2 == 1
    }
}

impl Desired {
    fn has_room(&self) -> bool {
        self.untaken < MAX_UNTAKEN
    }

    /// The last question is put once more, from then on.
    fn again(&mut self, from: Instant) {
        self.step = match self.step {
            Step::Unsubscribed { .. } | Step::Subscribing(_) => Step::Unsubscribed { from },
            _ => Step::Gap { from },
        };
    }
}

impl Request {
    fn error(&self, why: Interruption) -> TwinError {
        if self.question != Question::Get && (self.maybe || self.out.is_some()) {
            TwinError::Unknown(why)
        } else {
            TwinError::NotAnswered(why)
        }
    }
}

/// Statuses under 500 that pass: a time-out and throttling.
const PASSING: [i32; 2] = [408, THROTTLED];
const THROTTLED: i32 = 429;

/// The most questions of one device that have no answer.
pub const MAX_REQUESTS: usize = 64;

/// The most desired changes that wait for the application; what changes beyond them it gets as one whole.
pub const MAX_UNTAKEN: usize = 16;
