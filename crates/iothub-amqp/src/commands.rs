//! Cloud-to-device messages, and the messages that an Edge hub routes to a module.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::device::Shared;
use crate::driver::member::{Delivered, Items};
use crate::error::{Interruption, SettleError, SubscribeError};
use crate::listening::Listening;
use crate::received::ReceivedMessage;
use crate::supervisor::{DeliveryId, Epoch, LaneKind, Verdict};

/// The stream of messages that come to a device or module: cloud-to-device messages
/// ([`DeviceClient::commands`](crate::DeviceClient::commands)) or a module's inputs
/// ([`DeviceClient::inputs`](crate::DeviceClient::inputs)).
///
/// It goes on through lost links and connections, and ends with the client, or when the hub refuses the link for good;
/// [`ended`](Self::ended) then says why.
///
/// # Delivery
/// A hub delivers a message until it is completed or rejected: at least once. It is given again after its link was
/// lost, after it was abandoned, and when its lock, of a minute, has run out unanswered; so it may come more than once,
/// with a higher [`delivery_count`](ReceivedMessage::delivery_count). Nothing is held back and nothing sorted out here:
/// what comes twice is given twice.
///
/// # Cancel safety
/// No message is lost with a future of [`next`](Self::next) that is dropped. Dropping the stream gives the hub back
/// what has not been taken from it; what has been taken can still be answered.
///
/// # Limits
/// Eight messages at the most are here that have no answer; more come as they are answered.
pub struct Commands {
    items: mpsc::UnboundedReceiver<Delivered<ReceivedMessage>>,
    listening: Arc<Listening>,
}

impl Commands {
    pub(crate) async fn open(shared: &Arc<Shared>, kind: LaneKind) -> Result<Self, SubscribeError> {
        let (sender, items) = mpsc::unbounded_channel();
        let listening = Arc::new(Listening::to(shared, kind, Items::Messages(sender)).await?);
        Ok(Self { items, listening })
    }

    /// The next message; `None` when no more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Command> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Why no more comes, after the stream has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Interruption> {
        self.listening.ended()
    }
}

impl Stream for Commands {
    type Item = Command;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        let next = ready!(self.items.poll_recv(cx));
        Poll::Ready(next.map(
            |Delivered {
                 epoch,
                 delivery,
                 item,
             }| Command {
                message: item,
                key: Some((epoch, delivery)),
                listening: Arc::clone(&self.listening),
            },
        ))
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.items.close();
        while let Ok(Delivered { epoch, delivery, .. }) = self.items.try_recv() {
            self.listening.leave((epoch, delivery), Verdict::Abandon);
        }
        self.listening.stop();
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}

/// A message that came, to be answered.
///
/// # Delivery
/// [`complete`](Self::complete), [`abandon`](Self::abandon) and [`reject`](Self::reject) return when the link on which
/// the message came has taken the answer, and wait for that no longer than the
/// [operation timeout](crate::DeviceClientBuilder::operation_timeout). AMQP confirms no such answer, so a connection that is cut right after may
/// bring a completed message again. When the link is gone before, the hub has the message back:
/// [`SettleError::LockLost`].
///
/// # Cancel safety
/// Dropped unanswered it is abandoned: the hub delivers it again. An answer whose future was polled once and is dropped has
/// been said all the same.
#[must_use = "dropping a message abandons it: the hub delivers it again"]
pub struct Command {
    message: ReceivedMessage,
    /// Until it is answered.
    key: Option<(Epoch, DeliveryId)>,
    listening: Arc<Listening>,
}

impl Command {
    /// The message.
    #[must_use]
    pub fn message(&self) -> &ReceivedMessage {
        &self.message
    }

    /// It is done: the hub deletes it, and tells its sender so if that one has asked.
    ///
    /// # Errors
    /// [`SettleError::LockLost`] if the link is gone on which it came; [`SettleError::TimedOut`] if the link has not taken the
    /// answer by the operation timeout.
    ///
    /// # Cancel safety
    /// A future that was polled once and is dropped has said it all the same.
    pub async fn complete(self) -> Result<(), SettleError> {
        self.answer(Verdict::Complete).await
    }

    /// The hub is to deliver it again, up to its limit (10 times by default).
    ///
    /// # Errors
    /// [`SettleError::LockLost`] if the link is gone on which it came; [`SettleError::TimedOut`] if the link has not taken the
    /// answer by the operation timeout.
    ///
    /// # Cancel safety
    /// A future that was polled once and is dropped has said it all the same.
    pub async fn abandon(self) -> Result<(), SettleError> {
        self.answer(Verdict::Abandon).await
    }

    /// It can't be done: the hub deletes it, and tells its sender so if that one has asked.
    ///
    /// # Errors
    /// [`SettleError::LockLost`] if the link is gone on which it came; [`SettleError::TimedOut`] if the link has not taken the
    /// answer by the operation timeout.
    ///
    /// # Cancel safety
    /// A future that was polled once and is dropped has said it all the same.
    pub async fn reject(self) -> Result<(), SettleError> {
        self.answer(Verdict::Reject).await
    }

    async fn answer(mut self, verdict: Verdict) -> Result<(), SettleError> {
        match self.key.take() {
            Some(key) => self.listening.answer(key, verdict, None).await,
            None => Err(SettleError::LockLost),
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.listening.leave(key, Verdict::Abandon);
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
