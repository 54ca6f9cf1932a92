//! Answers that go out over whichever link the client has for them: those of `$cbs` and of `$management`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};

use super::MAX_REPLIES;
use super::link::{self, End, EndSession};
use super::outbox::Outbox;
use crate::hub::Message;
use crate::owner::LinkOrder;

/// The answers that were not sent yet, at most [`MAX_REPLIES`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<VecDeque<Message>>,
    grown: Notify,
}

impl Replies {
    /// When there are too many, how the link of the requests ends.
    pub(super) fn push(&self, reply: Message) -> Result<(), End> {
        let mut queue = self.queue();
        if queue.len() >= MAX_REPLIES {
            let text = format!("{MAX_REPLIES} answers wait for a link to be sent over.");
            return Err(End::Ours(link::error("amqp:resource-limit-exceeded", text)));
        }
        queue.push_back(reply);
        self.0.grown.notify_one();
        Ok(())
    }

    /// Before all others.
    fn put_back(&self, reply: Message) {
        self.queue().push_front(reply);
        self.0.grown.notify_one();
    }

    /// The oldest, once there is one.
    ///
    /// Cancel safety: none is lost, since none is taken before it is given.
    async fn next(&self) -> Message {
        loop {
            if let Some(reply) = self.queue().pop_front() {
                return reply;
            }
            self.0.grown.notified().await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends answers until the link or its session ends.
///
/// They go out settled unless the client asked for the contrary, when the next one waits for its settlement.
pub(super) async fn send(
    mut outbox: Outbox,
    replies: &Replies,
    mut orders: mpsc::Receiver<LinkOrder>,
    mut over: watch::Receiver<()>,
) -> Option<EndSession> {
    loop {
        let reply = tokio::select! {
            biased;
            _ = over.changed() => return None,
            order = orders.recv() => return outbox.end(link::ordered(order)).await,
            _ = outbox.detached() => return None,
            reply = replies.next() => reply,
        };
        let sent = tokio::select! {
            biased;
            _ = over.changed() => None,
            sent = outbox.send(&reply) => sent,
        };
        let Some(outcome) = sent else {
            // There may come another link.
            replies.put_back(reply);
            return None;
        };
        // A send that waits for its outcome does not learn that its link is gone.
        tokio::select! {
            biased;
            _ = over.changed() => return None,
            order = orders.recv() => return outbox.end(link::ordered(order)).await,
            _ = outbox.detached() => return None,
            () = outcome => {}
        }
    }
}
