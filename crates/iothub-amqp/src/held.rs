//! What comes in for a service, each with the word that it wants.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use crate::device::Shared;
use crate::driver::member::{Delivered, Items};
use crate::error::{Interruption, SettleError, SubscribeError};
use crate::listening::Listening;
use crate::received::ReceivedMessage;
use crate::supervisor::{DeliveryId, Epoch, LaneKind, Verdict};

/// A lane's messages. Dropping it gives the hub back what was not taken from it.
pub(crate) struct Inflow {
    items: mpsc::UnboundedReceiver<Delivered<ReceivedMessage>>,
    listening: Arc<Listening>,
}

impl Inflow {
    pub(crate) async fn open(shared: &Arc<Shared>, kind: LaneKind) -> Result<Self, SubscribeError> {
        let (sender, items) = mpsc::unbounded_channel();
        let listening = Arc::new(Listening::to(shared, kind, Items::Messages(sender)).await?);
        Ok(Self { items, listening })
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(ReceivedMessage, Held)>> {
        let next = ready!(self.items.poll_recv(cx));
        Poll::Ready(next.map(
            |Delivered {
                 epoch,
                 delivery,
                 item,
             }| {
                let held = Held {
                    key: Some((epoch, delivery)),
                    listening: Arc::clone(&self.listening),
                };
                (item, held)
            },
        ))
    }

    pub(crate) async fn next(&mut self) -> Option<(ReceivedMessage, Held)> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn ended(&self) -> Option<Interruption> {
        self.listening.ended()
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        self.items.close();
        while let Ok(Delivered { epoch, delivery, .. }) = self.items.try_recv() {
            self.listening.leave((epoch, delivery), Verdict::Abandon);
        }
        self.listening.stop();
    }
}

/// The hub waits for a word on it. Dropped without one, the hub has it back.
pub(crate) struct Held {
    /// Until it is answered.
    key: Option<(Epoch, DeliveryId)>,
    listening: Arc<Listening>,
}

impl Held {
    pub(crate) async fn answer(mut self, verdict: Verdict) -> Result<(), SettleError> {
        match self.key.take() {
            Some(key) => self.listening.answer(key, verdict, None).await,
            None => Err(SettleError::LockLost),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.listening.leave(key, Verdict::Abandon);
        }
    }
}
