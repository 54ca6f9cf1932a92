//! What the streams of a client have in common: how they are opened, and how they end.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::device::Shared;
use crate::driver::MethodAnswer;
use crate::driver::command::{Answering, Command};
use crate::driver::member::{Ended, Items, Subscription};
use crate::error::{Interruption, SettleError, SubscribeError};
use crate::supervisor::{DeliveryId, Epoch, LaneId, LaneKind, Verdict};

/// A lane that is listened to. Dropping this ends that, once what has come has a word on it.
pub(crate) struct Listening {
    shared: Arc<Shared>,
    lane: LaneId,
    ended: Ended,
    /// There is nothing to be undone.
    refused: bool,
}

impl Listening {
    /// Subscribes, and waits until something can come.
    pub(crate) async fn to(
        shared: &Arc<Shared>,
        kind: LaneKind,
        items: Items,
    ) -> Result<Self, SubscribeError> {
        let lane = LaneId {
            slot: shared.slot,
            kind,
        };
        let ended = Ended::default();
        let (reply, answer) = oneshot::channel();
        let subscription = Subscription {
            items,
            reply: Some(reply),
            ended: Ended::clone(&ended),
        };
        let command = Command::Subscribe {
            lane,
            limit: SUBSCRIBE_STEPS * shared.limit,
            subscription,
        };
        let gone = || SubscribeError::Ended(shared.why_ended());
        shared.commands.send(command).map_err(|_| gone())?;
        // From here on whoever drops the future has the subscription undone.
        let mut listening = Self {
            shared: Arc::clone(shared),
            lane,
            ended,
            refused: false,
        };
        let result = answer.await.unwrap_or_else(|_| Err(gone()));
        listening.refused = result.is_err();
        result.map(|()| listening)
    }

    /// Why nothing comes any more, if that is so.
    pub(crate) fn ended(&self) -> Option<Interruption> {
        self.ended
            .get()
            .cloned()
            .or_else(|| self.shared.ended.get().cloned())
    }

    /// Says what became of something that came, and waits until the link has taken that, or for the operation timeout.
    pub(crate) async fn answer(
        &self,
        (epoch, delivery): (Epoch, DeliveryId),
        verdict: Verdict,
        answer: Option<MethodAnswer>,
    ) -> Result<(), SettleError> {
        let (reply, taken) = oneshot::channel();
        let reply = Some(reply);
        let command = Command::Answer {
            lane: self.lane,
            epoch,
            delivery,
            verdict,
            answering: Answering { answer, reply },
        };
        if self.shared.commands.send(command).is_err() {
            return Err(SettleError::LockLost);
        }
        let after = self.shared.limit;
        match timeout(after, taken).await {
            Ok(told) => told.unwrap_or(Err(SettleError::LockLost)),
            Err(_) => Err(SettleError::TimedOut { after }),
        }
    }

    /// Says what becomes of something that nobody answers.
    pub(crate) fn leave(&self, (epoch, delivery): (Epoch, DeliveryId), verdict: Verdict) {
        let _ = self.shared.commands.send(Command::Answer {
            lane: self.lane,
            epoch,
            delivery,
            verdict,
            answering: Answering::default(),
        });
    }

    /// The application has taken a change.
    pub(crate) fn taken(&self) {
        let _ = self.shared.commands.send(Command::Taken(self.lane.slot));
    }

    /// The application has taken so many events.
    pub(crate) fn took(&self, events: u32) {
        let _ = self.shared.commands.send(Command::Took(self.lane, events));
    }

    /// Nothing more is wanted of this stream.
    pub(crate) fn stop(&self) {
        let _ = self
            .shared
            .commands
            .send(Command::Unsubscribe(self.lane, Ended::clone(&self.ended)));
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if !self.refused {
            self.stop();
        }
    }
}

/// Attaching takes a connection that is up, a session, and two links.
const SUBSCRIBE_STEPS: u32 = 3;
