//! The telemetry link's task: it hands transfers over in order, and passes outcomes on.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::unconstrained;

use super::engine::{Delivery, End, HandError, Link, Outgoing};
use super::{Facts, LaneOrder, tell};
use crate::supervisor::{Epoch, Input, LaneId, NotHanded, Outcome, TransferId};

/// Runs until the link ends (then the end is given back) or nobody can give it orders any more.
pub(super) async fn run(
    mut link: Link,
    (id, epoch): (LaneId, Epoch),
    mut orders: mpsc::UnboundedReceiver<LaneOrder>,
    facts: Facts,
) -> Option<End> {
    let mut lane = Lane {
        id,
        epoch,
        facts,
        offered: VecDeque::new(),
        flying: FuturesUnordered::new(),
    };
    let end = lane.serve(&mut link, &mut orders).await;
    // What came before the end still counts, however much it is, and whichever of those on their way the end has already.
    while let Some(Some((transfer, landed))) = unconstrained(lane.flying.next()).now_or_never() {
        if let Ok(outcome) = landed {
            lane.settled(transfer, outcome);
        }
    }
    drop(lane);
    match end {
        Some(end) => Some(end),
        None => {
            link.close().await;
            None
        }
    }
}

/// A transfer on its way to its outcome.
struct Flight {
    transfer: TransferId,
    delivery: Delivery,
}

type Landing = (TransferId, Result<Outcome, End>);

impl Future for Flight {
    type Output = Landing;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Landing> {
        let outcome = ready!(Pin::new(&mut self.delivery).poll(cx));
        Poll::Ready((self.transfer, outcome))
    }
}

struct Lane {
    id: LaneId,
    epoch: Epoch,
    facts: Facts,
    /// To be handed over, in order; at most a window.
    offered: VecDeque<(TransferId, Outgoing)>,
    flying: FuturesUnordered<Flight>,
}

impl Lane {
    async fn serve(
        &mut self,
        link: &mut Link,
        orders: &mut mpsc::UnboundedReceiver<LaneOrder>,
    ) -> Option<End> {
        loop {
            while let Some((transfer, outgoing)) = self.offered.pop_front() {
                if let Step::End(end) = self.hand(link, orders, transfer, outgoing).await {
                    return end;
                }
            }
            tokio::select! {
                biased;
                Some(landing) = self.flying.next() => if let Some(end) = self.land(landing) {
                    return Some(end);
                },
                order = orders.recv() => match order {
                    None => return None,
                    Some(order) => self.take(order),
                },
                end = link.detached() => return Some(end),
            }
        }
    }

    /// Hands one transfer over, which waits for credit; meanwhile outcomes land and orders are taken.
    async fn hand(
        &mut self,
        link: &mut Link,
        orders: &mut mpsc::UnboundedReceiver<LaneOrder>,
        transfer: TransferId,
        outgoing: Outgoing,
    ) -> Step {
        let handed = {
            let mut handing = pin!(link.hand(&outgoing));
            loop {
                tokio::select! {
                    biased;
                    // With credit it is ready at once, and no more than a window waits for it.
                    handed = &mut handing => break handed,
                    Some(landing) = self.flying.next() => if let Some(end) = self.land(landing) {
                        return Step::End(Some(end));
                    },
                    order = orders.recv() => match order {
                        None => return Step::End(None),
                        Some(LaneOrder::TakeBack(first)) if first <= transfer => {
                            // Not handed over, since its future is dropped before it was ready.
                            self.not_handed(transfer, NotHanded::Withdrawn);
                            self.give_back(0);
                            return Step::Next;
                        }
                        Some(order) => self.take(order),
                    },
                }
            }
        };
        let (lane, epoch) = (self.id, self.epoch);
        match handed {
            Ok(delivery) => {
                tell(
                    &self.facts,
                    Input::Handed {
                        lane,
                        epoch,
                        transfer,
                    },
                );
                self.flying.push(Flight { transfer, delivery });
                Step::Next
            }
            Err(HandError::TooLarge { size, limit }) => {
                self.not_handed(transfer, NotHanded::TooLarge { size, limit });
                Step::Next
            }
            Err(HandError::Ended(end)) => Step::End(Some(end)),
        }
    }

    fn take(&mut self, order: LaneOrder) {
        match order {
            LaneOrder::Transfer(transfer, outgoing) => self.offered.push_back((transfer, outgoing)),
            LaneOrder::TakeBack(first) => {
                if let Some(at) = self.offered.iter().position(|(transfer, _)| *transfer >= first) {
                    self.give_back(at);
                }
            }
            _ => {} // nothing comes in here
        }
    }

    fn give_back(&mut self, from: usize) {
        for (transfer, _) in self.offered.split_off(from) {
            self.not_handed(transfer, NotHanded::Withdrawn);
        }
    }

    fn land(&self, (transfer, outcome): Landing) -> Option<End> {
        match outcome {
            Ok(outcome) => {
                self.settled(transfer, outcome);
                None
            }
            Err(end) => Some(end),
        }
    }

    fn settled(&self, transfer: TransferId, outcome: Outcome) {
        let (lane, epoch) = (self.id, self.epoch);
        tell(
            &self.facts,
            Input::Settled {
                lane,
                epoch,
                transfer,
                outcome,
            },
        );
    }

    fn not_handed(&self, transfer: TransferId, why: NotHanded) {
        let (lane, epoch) = (self.id, self.epoch);
        tell(
            &self.facts,
            Input::NotHanded {
                lane,
                epoch,
                transfer,
                why,
            },
        );
    }
}

enum Step {
    Next,
    End(Option<End>),
}
