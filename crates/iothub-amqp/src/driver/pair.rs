//! The task of a pair of links, one each way: method calls and their answers, questions to the twin and the hub's.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::engine::events;
use super::engine::incoming::{self, Correlation, FromTwin};
use super::engine::{Encoded, End, HandError, Inlet, Link, Outgoing};
use super::inlet::Places;
use super::{Carried, Fact, Facts, LaneOrder, MethodAnswer, REASON_TIMEOUT, tell};
use crate::recovery::Operation;
use crate::supervisor::{DeliveryId, Epoch, Input, LaneId, LaneKind, MAX_REQUESTS, RequestId, Verdict};
use crate::twin;

/// Runs until a link of the two ends (then the end is given back) or nobody can give it orders any more.
pub(super) async fn run(
    (mut outlet, mut inlet): (Link, Inlet),
    (lane, epoch): (LaneId, Epoch),
    entity: Option<String>,
    mut orders: mpsc::UnboundedReceiver<LaneOrder>,
    facts: Facts,
) -> Option<End> {
    let mut pair = Pair {
        lane,
        epoch,
        entity,
        facts,
        queue: VecDeque::new(),
        calls: BTreeMap::new(),
        last: 0,
    };
    let mut places = Places::new(PAIR_PLACES);
    let end = loop {
        if let Some(credit) = places.grant(pair.taken()) {
            // A link that is gone says so when it is asked for more.
            let _ = inlet.grant(credit).await;
        }
        let handing = async {
            match pair.queue.front() {
                // Its outcome says nothing: it is settled when it is sent.
                Some((_, outgoing)) => outlet.hand(outgoing).await.map(drop),
                None => Err(HandError::Ended(outlet.detached().await)),
            }
        };
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => break None,
                Some(LaneOrder::Quiet) => {
                    places.close();
                    let _ = inlet.grant(0).await;
                }
                Some(order) => pair.take(order),
            },
            arrival = inlet.next() => {
                places.used();
                match arrival {
                    Err(end) => break Some(end),
                    Ok(None) => {}
                    Ok(Some(arrival)) => {
                        // It is read; what comes of it is told by an answer.
                        let _ = inlet.settle(arrival.key, Verdict::Complete).await;
                        pair.arrived(arrival.message);
                    }
                }
            }
            handed = handing => match handed {
                Ok(()) => pair.handed(),
                Err(HandError::Ended(end)) => break Some(end),
                Err(HandError::TooLarge { size, limit }) => pair.too_large(size, limit),
            },
        }
    };
    let farewell = async { tokio::join!(outlet.close(), inlet.close()) };
    match &end {
        None => drop(farewell.await),
        // The other one lives, and what crosses its detach is to find it.
        Some(end) if end.of == Operation::Link => drop(timeout(REASON_TIMEOUT, farewell).await),
        Some(_) => {}
    }
    end
}

struct Pair {
    lane: LaneId,
    epoch: Epoch,
    /// The event hub that is asked about, if it is one.
    entity: Option<String>,
    facts: Facts,
    /// To be sent, in order; bounded by the places for calls, or by [`MAX_WAITING`].
    queue: VecDeque<(Sent, Outgoing)>,
    /// Calls that have no answer: by what it is to be known.
    calls: BTreeMap<DeliveryId, Correlation>,
    last: u64,
}

enum Sent {
    Answer(DeliveryId, Correlation),
    /// In place of an answer that was too large: this size, over this limit.
    Apology(DeliveryId, u64, u64),
    Question(RequestId),
}

impl Pair {
    /// How many places calls take. One takes its place until its answer is handed over.
    fn taken(&self) -> usize {
        let is_question = |sent: &Sent| matches!(sent, Sent::Question(_));
        let answers = self.queue.iter().filter(|(sent, _)| !is_question(sent));
        self.calls.len() + answers.count()
    }

    fn take(&mut self, order: LaneOrder) {
        match order {
            LaneOrder::Dispose(delivery, Verdict::Respond, Some(answer)) => {
                if let Some(correlation) = self.calls.remove(&delivery) {
                    let message = incoming::method_answer(&correlation, answer.status, answer.payload);
                    self.send(Sent::Answer(delivery, correlation), message);
                }
            }
            LaneOrder::Dispose(delivery, ..) => {
                self.calls.remove(&delivery);
            }
            LaneOrder::Ask(request, question, patch) => {
                let of = self.epoch.lane;
                let message = match &self.entity {
                    Some(entity) => {
                        let partition = patch.as_deref().and_then(|text| std::str::from_utf8(text).ok());
                        events::question(request, of, entity, partition)
                    }
                    None => incoming::twin_question(request, of, question, patch),
                };
                self.send(Sent::Question(request), message);
                while self.queue.len() > MAX_WAITING {
                    self.queue.pop_front(); // nobody waits for it any longer
                }
            }
            LaneOrder::Transfer(..) | LaneOrder::TakeBack(_) | LaneOrder::Room(_) | LaneOrder::Quiet => {}
        }
    }

    fn send(&mut self, what: Sent, message: Encoded) {
        self.queue.push_back((what, Outgoing::One(message)));
    }

    fn handed(&mut self) {
        let (lane, epoch) = (self.lane, self.epoch);
        match self.queue.pop_front() {
            Some((Sent::Answer(delivery, _), _)) => tell(
                &self.facts,
                Input::Disposed {
                    lane,
                    epoch,
                    delivery,
                },
            ),
            Some((Sent::Apology(delivery, size, limit), _)) => self.apologized(delivery, size, limit),
            Some((Sent::Question(request), _)) => tell(&self.facts, Input::Asked { lane, epoch, request }),
            None => {}
        }
    }

    /// The link does not take what is first. A caller is told so in place of its answer.
    fn too_large(&mut self, size: u64, limit: u64) {
        let (lane, epoch) = (self.lane, self.epoch);
        match self.queue.pop_front() {
            Some((Sent::Answer(delivery, correlation), _)) => {
                let MethodAnswer { status, payload } = MethodAnswer::too_large(size, limit);
                let apology = incoming::method_answer(&correlation, status, payload);
                let what = Sent::Apology(delivery, size, limit);
                self.queue.push_front((what, Outgoing::One(apology)));
            }
            // Not even that.
            Some((Sent::Apology(delivery, size, limit), _)) => self.apologized(delivery, size, limit),
            Some((Sent::Question(request), _)) => tell(
                &self.facts,
                Input::NotAsked {
                    lane,
                    epoch,
                    request,
                    size,
                    limit,
                },
            ),
            None => {}
        }
    }

    fn apologized(&self, delivery: DeliveryId, size: u64, limit: u64) {
        let (lane, epoch) = (self.lane, self.epoch);
        let input = Input::Disposed {
            lane,
            epoch,
            delivery,
        };
        let _ = self
            .facts
            .send(Fact::Carrying(input, Carried::TooLarge { size, limit }));
    }

    fn arrived(&mut self, message: incoming::Incoming) {
        let (lane, epoch) = (self.lane, self.epoch);
        let (input, carried) = if lane.kind == LaneKind::Methods {
            let Some(call) = incoming::call(message) else {
                tracing::debug!("a call without a name or a correlation id");
                return;
            };
            self.last += 1;
            let delivery = DeliveryId(self.last);
            self.calls.insert(delivery, call.correlation);
            let (name, payload) = (call.name, call.payload);
            (
                Input::Arrived {
                    lane,
                    epoch,
                    delivery,
                },
                Carried::Call { name, payload },
            )
        } else if self.entity.is_some() {
            let Some((request, status, body)) = events::answer(message, epoch.lane) else {
                return;
            };
            let input = Input::Answered {
                lane,
                epoch,
                request,
                status,
                desired: None,
            };
            (input, Carried::Answer { version: None, body })
        } else {
            match incoming::from_twin(message, epoch.lane) {
                None => return,
                Some(FromTwin::Answer {
                    request,
                    status,
                    version,
                    body,
                }) => {
                    let desired = twin::desired_version(&body);
                    let input = Input::Answered {
                        lane,
                        epoch,
                        request,
                        status,
                        desired,
                    };
                    (input, Carried::Answer { version, body })
                }
                Some(FromTwin::Change { version, body }) => {
                    (Input::Changed { lane, epoch, version }, Carried::Change(body))
                }
            }
        };
        let _ = self.facts.send(Fact::Carrying(input, carried));
    }
}

/// How many questions may wait for credit; those beyond are the oldest, and their time is up.
const MAX_WAITING: usize = 2 * MAX_REQUESTS;

/// How many calls a client holds that have no answer which is handed over, and how many answers of the twin may come at once.
pub(crate) const PAIR_PLACES: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{Question, SlotId};

    fn pair(kind: LaneKind) -> (Pair, mpsc::UnboundedReceiver<Fact>) {
        let (facts, heard) = mpsc::unbounded_channel();
        let pair = Pair {
            lane: LaneId {
                slot: SlotId(0),
                kind,
            },
            epoch: Epoch {
                conn: 1,
                session: 0,
                lane: 1,
            },
            entity: None,
            facts,
            queue: VecDeque::new(),
            calls: BTreeMap::new(),
            last: 0,
        };
        (pair, heard)
    }

    #[test]
    fn questions_that_wait_for_credit_are_bounded_and_those_go_that_nobody_waits_for() {
        let (mut pair, _heard) = pair(LaneKind::Twin);
        // A client has 64 that wait for an answer, so that all but the last 64 have had their time.
        for number in 0..1_000 {
            pair.take(LaneOrder::Ask(RequestId(number), Question::Get, None));
        }
        let kept: Vec<u64> = pair
            .queue
            .iter()
            .map(|(sent, _)| match sent {
                Sent::Question(RequestId(number)) => *number,
                _ => panic!("no question"),
            })
            .collect();
        assert_eq!(kept, (872..1_000).collect::<Vec<_>>());
    }
}
