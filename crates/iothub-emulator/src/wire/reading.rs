//! A link over which a client reads a partition.
//!
//! It reads the log at the client's pace. Of a delivery that the client wants settled, as most do, the engine tells nothing
//! once it has it, and would take any number; so no more is handed to it than a little, until that has gone to the stream.
//!
//! A client that asks to settle may never do it: Microsoft's Event Hubs SDK for Python does not, and reads on all the same. The
//! log needs nobody's word, so what is more than is kept for such a client comes settled.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp_types::messaging::Outcome as WireOutcome;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::link::{self, End, EndSession};
use super::outbox::{Outbox, outcome_of};
use super::session::Shared;
use super::undelivered::Kept;
use super::{MAX_HANDED, MAX_UNSETTLED, encode};
use crate::hub::{Event, Reader};
use crate::owner::LinkOrder;
use crate::partitions::Partitions;

/// Sends what the reader wants until the link, its session or the hub ends, or the hub orders it to end.
pub(super) async fn serve(
    mut outbox: Outbox,
    reader: &Reader,
    mut orders: mpsc::Receiver<LinkOrder>,
    shared: &Shared,
    mut over: watch::Receiver<()>,
) -> Option<EndSession> {
    let link = outbox.link();
    let settled = outbox.sends_settled();
    let mut pages = Pages::new(shared.partitions.clone(), reader.clone());
    let mut next: Option<Delivery> = None;
    // In order; what the engine has and the stream has not.
    let mut handed: VecDeque<(u64, Kept)> = VecDeque::new();
    let mut unsettled = FuturesUnordered::new();
    let end = loop {
        let sent = link.sent();
        while handed.front().is_some_and(|(number, _)| *number < sent) {
            handed.pop_front();
        }
        // Made before the look, so that no room is made unseen between the two.
        let room = shared.undelivered.room();
        if next.is_none() && handed.len() < MAX_HANDED {
            next = pages.next_delivery(shared);
        }
        let may_send = next.is_some() && outbox.has_credit();
        let settled = settled || unsettled.len() >= MAX_UNSETTLED || shared.undelivered.is_half_full();
        tokio::select! {
            biased;
            _ = over.changed() => break End::Theirs,
            order = orders.recv() => break link::ordered(order),
            Some((number, kept, outcome)) = unsettled.next() => {
                drop::<Kept>(kept);
                // Whatever it is: a log forgets nothing for it.
                if let Some((_, settlement)) = outcome {
                    link.answer(number, &settlement);
                }
            }
            () = link.changed() => {}
            () = link.passed(), if !handed.is_empty() => {}
            () = room, if pages.waits_for_room() => {}
            () = pages.turn(), if pages.is_read() => {}
            step = step(&mut outbox, next.as_ref().filter(|_| may_send), settled) => match step {
                None => break End::Theirs,
                Some((number, outcome)) => {
                    let Some(sent) = next.take() else { continue };
                    match outcome {
                        None => handed.push_back((number, sent.kept)),
                        Some(outcome) => unsettled.push(async move {
                            (number, sent.kept, outcome_of(outcome.await))
                        }),
                    }
                }
            },
        }
    };
    // Nothing more is to be kept for it while it says goodbye.
    drop((orders, next, handed, unsettled));
    outbox.end(end).await
}

type Sent = (u64, Option<DeliveryFut<Result<WireOutcome, SendError>>>);

/// Sends what is next, or waits for the client's detach when nothing is; `None` when the link is gone.
async fn step(outbox: &mut Outbox, next: Option<&Delivery>, settled: bool) -> Option<Sent> {
    match next {
        Some(delivery) => outbox.transfer(&delivery.encoded, None, settled).await,
        None => {
            outbox.detached().await;
            None
        }
    }
}

/// A delivery that can go when there is credit.
struct Delivery {
    encoded: Bytes,
    kept: Kept,
}

/// The reader's part of the log, a run at a time.
struct Pages {
    partitions: Partitions,
    reader: Reader,
    growth: watch::Receiver<u64>,
    /// Where the log is to be read next, once it is known.
    place: Option<u64>,
    /// An event was found that the reader wants: it wants all behind it.
    begun: bool,
    page: VecDeque<Arc<Event>>,
    /// The next event, encoded, for which the connection has no room.
    waiting: Option<Bytes>,
}

impl Pages {
    fn new(partitions: Partitions, reader: Reader) -> Self {
        let growth = partitions.growth();
        Self {
            partitions,
            reader,
            growth,
            place: None,
            begun: false,
            page: VecDeque::new(),
            waiting: None,
        }
    }

    /// Whether there is nothing at hand, and [`turn`](Self::turn) is to be called.
    fn is_read(&self) -> bool {
        self.page.is_empty() && self.waiting.is_none()
    }

    const fn waits_for_room(&self) -> bool {
        self.waiting.is_some()
    }

    fn next_delivery(&mut self, shared: &Shared) -> Option<Delivery> {
        let encoded = match self.waiting.take() {
            Some(encoded) => encoded,
            None => {
                let event = self.page.pop_front()?;
                self.encode(&event)
            }
        };
        match shared.undelivered.keep(encoded.len()) {
            Some(kept) => Some(Delivery { encoded, kept }),
            None => {
                self.waiting = Some(encoded);
                None
            }
        }
    }

    fn encode(&self, event: &Event) -> Bytes {
        let metric = self.reader.runtime_metric.then(|| {
            let reached = self.partitions.reached(event.partition);
            (reached, self.partitions.now())
        });
        encode::event(event, metric)
    }

    /// Reads on, or waits until the log has grown. Returns when the page may have something on it.
    ///
    /// Cancel safe.
    async fn turn(&mut self) {
        let place = match self.place {
            Some(place) => place,
            None => {
                let partition = self.reader.partition;
                *self
                    .place
                    .insert(self.partitions.find(partition, self.reader.position).await)
            }
        };
        // Marked as seen before the look, so that nothing is written unseen between the two.
        let open = self.growth.has_changed().is_ok();
        self.growth.borrow_and_update();
        let (events, next) = self.partitions.run_at(self.reader.partition, place).await;
        if next == place {
            if open && self.growth.changed().await.is_ok() {
                return;
            }
            // The hub has stopped: its order to the link is on its way.
            return std::future::pending().await;
        }
        self.place = Some(next);
        let (begun, position) = (self.begun, self.reader.position);
        self.page = events
            .into_iter()
            .skip_while(|event| !begun && !position.admits(event))
            .collect();
        self.begun |= !self.page.is_empty();
    }
}
