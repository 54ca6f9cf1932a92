//! A link that the client receives over.

use std::collections::VecDeque;

use bytes::Bytes;
use fe2o3_amqp::Sender;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::{DeliveryFut, Sendable};
use fe2o3_amqp_types::definitions::SenderSettleMode;
use fe2o3_amqp_types::messaging::{Data, Message as WireMessage, Outcome as WireOutcome};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::link::{self, End, EndSession};
use super::outgoing::{Label, OutgoingLink, Settlement};
use super::outward::LABELLED;
use super::session::Shared;
use super::undelivered::Kept;
use super::{MAX_UNSETTLED, encode};
use crate::hub::{LinkId, LockToken, Message, Outcome};
use crate::owner::{Client, HubStopped, LinkOrder};

/// The engine's end of the link, and what is known of it on the wire.
pub(super) struct Outbox {
    sender: Sender,
    link: OutgoingLink,
    mode: SenderSettleMode,
    deliveries: u64,
}

/// A delivery that waits for credit.
struct Waiting {
    encoded: Bytes,
    tag: Option<LockToken>,
    awaits_outcome: bool,
    kept: Kept,
}

/// A delivery that the client has not settled.
struct Unsettled {
    number: u64,
    tag: Option<LockToken>,
    awaits_outcome: bool,
    _kept: Kept,
}

impl Outbox {
    pub(super) const fn new(sender: Sender, mode: SenderSettleMode, link: OutgoingLink) -> Self {
        Self {
            sender,
            link,
            mode,
            deliveries: 0,
        }
    }

    /// Sends what the hub orders until the link, its session or the hub ends. The hub hears of credit, and of the
    /// outcomes that it waits for; of others the client is told at once that they are settled.
    pub(super) async fn serve(
        mut self,
        id: LinkId,
        mut orders: mpsc::Receiver<LinkOrder>,
        shared: &Shared,
        mut over: watch::Receiver<()>,
    ) -> Option<EndSession> {
        let client = &shared.client;
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut unsettled = FuturesUnordered::new();
        let link = self.link.clone();
        let end = loop {
            let may_send = unsettled.len() < MAX_UNSETTLED && self.has_credit();
            let next = waiting.front().filter(|_| may_send);
            tokio::select! {
                biased;
                _ = over.changed() => break End::Theirs,
                // Always, or an order to end would wait for credit too.
                order = orders.recv() => match order {
                    Some(LinkOrder::Send(parcel)) => {
                        let encoded = encode::message(&parcel.message);
                        let kept = shared.undelivered.keep(encoded.len());
                        let Some(kept) = kept.filter(|_| waiting.len() < MAX_WAITING) else {
                            break link::ordered(None);
                        };
                        waiting.push_back(Waiting {
                            encoded,
                            tag: parcel.tag,
                            awaits_outcome: parcel.awaits_outcome,
                            kept,
                        });
                    }
                    last => break link::ordered(last),
                },
                Some((delivery, outcome)) = unsettled.next() => {
                    let Some(outcome) = outcome else { continue };
                    if self.settle(id, &delivery, outcome, client).await.is_err() {
                        break End::Theirs;
                    }
                }
                () = link.changed() => {
                    if client.credit(id, link.credit()).await.is_err() {
                        break End::Theirs;
                    }
                }
                step = self.step(next) => match step {
                    Step::Detached => break End::Theirs,
                    Step::Sent(number, outcome) => {
                        let Some(sent) = waiting.pop_front() else { continue };
                        if let Some(outcome) = outcome {
                            let known = Unsettled {
                                number,
                                tag: sent.tag,
                                awaits_outcome: sent.awaits_outcome,
                                _kept: sent.kept,
                            };
                            unsettled.push(async move { (known, outcome_of(outcome.await)) });
                        }
                    }
                },
            }
        };
        // Nothing more is to be kept for it while it says goodbye.
        drop((orders, waiting, unsettled));
        self.end(end).await
    }

    /// Sends a message, settled unless the client wants to settle it itself: what is given is ready once it has.
    /// `None` when the link is gone.
    ///
    /// Cancel safety: when dropped, nothing was sent.
    pub(super) async fn send(&mut self, message: &Message) -> Option<impl Future<Output = ()> + use<>> {
        let encoded = encode::message(message);
        let (number, outcome) = self.transfer(&encoded, None, self.sends_settled()).await?;
        let link = self.link.clone();
        Some(async move {
            if let Some(outcome) = outcome
                && let Some((_, settlement)) = outcome_of(outcome.await)
            {
                link.answer(number, &settlement);
            }
        })
    }

    /// Ready when the client has detached.
    ///
    /// Cancel safety: nothing is lost.
    pub(super) async fn detached(&mut self) {
        let _ = self.sender.on_detach().await;
    }

    /// What is known of the link on the wire.
    pub(super) fn link(&self) -> OutgoingLink {
        self.link.clone()
    }

    /// Whether what awaits no outcome goes out settled: unless the client asked for the contrary.
    pub(super) fn sends_settled(&self) -> bool {
        self.mode != SenderSettleMode::Unsettled
    }

    pub(super) async fn end(self, end: End) -> Option<EndSession> {
        end.perform_sender(self.sender).await
    }

    pub(super) fn has_credit(&self) -> bool {
        let credit = self.link.credit();
        u64::from(credit.granted) > self.deliveries.saturating_sub(credit.seen)
    }

    /// Sends what is next, or waits for the client's detach when nothing is.
    async fn step(&mut self, next: Option<&Waiting>) -> Step {
        let Some(delivery) = next else {
            self.detached().await;
            return Step::Detached;
        };
        let settled = match self.mode {
            SenderSettleMode::Unsettled => false,
            SenderSettleMode::Settled => true,
            SenderSettleMode::Mixed => !delivery.awaits_outcome,
        };
        match self.transfer(&delivery.encoded, delivery.tag, settled).await {
            Some((number, outcome)) => Step::Sent(number, outcome),
            None => Step::Detached,
        }
    }

    /// Sends what is encoded; gives its number, and its outcome unless it is settled. `None` when the link is gone.
    ///
    /// Cancel safety: when dropped, nothing was sent.
    pub(super) async fn transfer(
        &mut self,
        encoded: &[u8],
        tag: Option<LockToken>,
        settled: bool,
    ) -> Option<(u64, Option<DeliveryFut<Result<WireOutcome, SendError>>>)> {
        let number = self.deliveries;
        let mut labelled = Vec::with_capacity(Label::LEN + encoded.len());
        self.link.label(number, tag).put(&mut labelled);
        labelled.extend_from_slice(encoded);
        let sendable = Sendable::builder()
            .message(WireMessage::builder().data(Data::from(labelled)).build())
            .message_format(LABELLED)
            .settled(settled)
            .build();
        let outcome = self.sender.send_batchable(sendable).await.ok()?;
        self.deliveries += 1;
        Some((number, (!settled).then_some(outcome)))
    }

    async fn settle(
        &self,
        id: LinkId,
        delivery: &Unsettled,
        (outcome, settlement): (Outcome, Settlement),
        client: &Client,
    ) -> Result<(), HubStopped> {
        let refused = match (delivery.awaits_outcome, delivery.tag) {
            (true, Some(tag)) => client.settle(id, tag, outcome).await?.err(),
            _ => None,
        };
        let settlement = refused.map_or(settlement, |refusal| Settlement::Refused {
            condition: refusal.condition.as_str(),
            description: refusal.description(),
        });
        self.link.answer(delivery.number, &settlement);
        Ok(())
    }
}

enum Step {
    Detached,
    Sent(u64, Option<DeliveryFut<Result<WireOutcome, SendError>>>),
}

/// What the client said of a delivery; `None` when the link went before it could.
pub(super) fn outcome_of(outcome: Result<WireOutcome, SendError>) -> Option<(Outcome, Settlement)> {
    Some(match outcome {
        Ok(WireOutcome::Accepted(_)) => (Outcome::Complete, Settlement::Accepted),
        Ok(WireOutcome::Rejected(_)) => (Outcome::Reject, Settlement::Rejected),
        Ok(WireOutcome::Released(_)) => (Outcome::Abandon, Settlement::Released),
        Ok(WireOutcome::Modified(_)) => (Outcome::Abandon, Settlement::Modified),
        // It was settled, but nothing was said of it: it goes back, so that it is not lost.
        Err(SendError::IllegalDeliveryState | SendError::NonTerminalDeliveryState) => {
            (Outcome::Abandon, Settlement::Released)
        }
        Err(_) => return None,
    })
}

/// The most deliveries of a link that wait for credit; one more ends it.
const MAX_WAITING: usize = 256;
