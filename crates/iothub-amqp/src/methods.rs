//! Direct methods: calls that wait for an answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::device::Shared;
use crate::driver::MethodAnswer;
use crate::driver::member::{Delivered, Items};
use crate::error::{Interruption, SettleError, SubscribeError};
use crate::listening::Listening;
use crate::supervisor::{DeliveryId, Epoch, LaneKind, Verdict};

/// The stream of direct methods that are called on a device or module.
///
/// It goes on through lost links and connections, and ends with the client, or when the hub refuses the links for good;
/// [`ended`](Self::ended) then says why.
///
/// # Delivery
/// A call comes at most once: the hub neither keeps nor repeats it. While the links are down, callers are told that
/// the device is not online.
///
/// # Cancel safety
/// No call is lost with a future of [`next`](Self::next) that is dropped. Dropping the stream leaves those calls
/// unanswered that have not been taken from it; what has been taken can still be answered.
///
/// # Limits
/// 32 calls at the most are here that have no answer which the link has taken.
pub struct Methods {
    items: mpsc::UnboundedReceiver<Delivered<(String, Vec<u8>)>>,
    listening: Arc<Listening>,
}

impl Methods {
    pub(crate) async fn open(shared: &Arc<Shared>) -> Result<Self, SubscribeError> {
        let (sender, items) = mpsc::unbounded_channel();
        let listening = Listening::to(shared, LaneKind::Methods, Items::Calls(sender)).await?;
        Ok(Self {
            items,
            listening: Arc::new(listening),
        })
    }

    /// The next call; `None` when no more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<MethodCall> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Why no more comes, after the stream has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Interruption> {
        self.listening.ended()
    }
}

impl Stream for Methods {
    type Item = MethodCall;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<MethodCall>> {
        let next = ready!(self.items.poll_recv(cx));
        Poll::Ready(next.map(
            |Delivered {
                 epoch,
                 delivery,
                 item,
             }| MethodCall {
                name: item.0,
                payload: item.1,
                key: Some((epoch, delivery)),
                listening: Arc::clone(&self.listening),
            },
        ))
    }
}

impl Drop for Methods {
    fn drop(&mut self) {
        self.items.close();
        while let Ok(Delivered { epoch, delivery, .. }) = self.items.try_recv() {
            self.listening.leave((epoch, delivery), Verdict::Forget);
        }
        self.listening.stop();
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods").finish_non_exhaustive()
    }
}

/// A direct method that was called.
///
/// # Delivery
/// [`respond`](Self::respond) returns when the link on which the call came has taken the answer, and waits for that no
/// longer than the [operation timeout](crate::DeviceClientBuilder::operation_timeout); whether its caller still waits, the hub
/// does not say. An answer that is too large is not sent: its caller gets the status 500 in its place, with
/// `{"message": …}` for a body.
///
/// # Cancel safety
/// Dropped unanswered, nothing is said: its caller's own time-out tells it. A future of
/// [`respond`](Self::respond) that was polled once and is dropped has answered all the same.
#[must_use = "a call that is dropped has its caller wait for its time-out"]
pub struct MethodCall {
    name: String,
    payload: Vec<u8>,
    /// Until it is answered.
    key: Option<(Epoch, DeliveryId)>,
    listening: Arc<Listening>,
}

impl MethodCall {
    /// The method's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The payload: JSON, as the hub has checked.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Answers with a status of one's own, such as 200, and JSON.
    ///
    /// # Errors
    /// [`SettleError::TooLarge`] over [`METHOD_LIMIT`], or over what the link takes: its caller is told so, by the status 500.
    /// [`SettleError::LockLost`] if the link is gone on which the call came: the hub tells its caller that there was no
    /// answer. [`SettleError::TimedOut`] if the link has not taken the answer by the
    /// [operation timeout](crate::DeviceClientBuilder::operation_timeout).
    ///
    /// # Delivery
    /// The hub may get an answer yet that has timed out, when it gives the link credit while that lives.
    ///
    /// # Cancel safety
    /// A future that was polled once and is dropped has said it all the same.
    pub async fn respond(mut self, status: i32, body: impl Into<Vec<u8>>) -> Result<(), SettleError> {
        let payload = body.into();
        let Some(key) = self.key.take() else {
            return Err(SettleError::LockLost);
        };
        let (size, limit) = (payload.len() as u64, METHOD_LIMIT as u64);
        let is_too_large = payload.len() > METHOD_LIMIT;
        let answer = match is_too_large {
            false => MethodAnswer { status, payload },
            true => MethodAnswer::too_large(size, limit),
        };
        let told = self.listening.answer(key, Verdict::Respond, Some(answer)).await;
        match is_too_large {
            false => told,
            true => Err(SettleError::too_large(size, limit)),
        }
    }
}

impl Drop for MethodCall {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.listening.leave(key, Verdict::Forget);
        }
    }
}

impl fmt::Debug for MethodCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodCall")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The most bytes that a method's answer may have: 128 KiB.
pub const METHOD_LIMIT: usize = 128 * 1024;
