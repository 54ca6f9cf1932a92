//! The `$cbs` node: requests with tokens come over one link, answers go over another. Which of the two is attached
//! first, and in which session, is the client's choice; uamqp asks before it can hear.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use fe2o3_amqp::Receiver;
use tokio::sync::{Notify, mpsc, watch};
use zeroize::Zeroizing;

use super::link::EndSession;
use super::outbox::Outbox;
use super::session::Shared;
use super::{MAX_TOKEN_REPLIES, decode, link};
use crate::hub::{AuthFailure, Body, Message, MessageId, Properties, TokenRefusal, TokenRequest, Value};
use crate::owner::{HubStopped, LinkOrder};

/// Takes requests until the link or the hub ends. Each is settled when the hub has decided, and answered.
pub(super) async fn take_requests(
    mut receiver: Receiver,
    shared: &Shared,
    mut orders: mpsc::Receiver<LinkOrder>,
) -> Option<EndSession> {
    let end = loop {
        let received = tokio::select! {
            biased;
            order = orders.recv() => break link::ordered(order),
            received = receiver.recv::<link::Raw>() => received,
        };
        let delivery = match received {
            Ok(delivery) => delivery,
            Err(error) => break link::ending(&error),
        };
        let (info, message) = delivery.into_parts();
        let weight = link::weight(&message.body);
        let read = decode::message(&link::join(message.body));
        let reply = match read {
            Ok(mut message) => {
                let request = message.properties.message_id.take();
                match shared.client.put_token(request_of(message)).await {
                    Ok(outcome) => Ok(outcome.map(|outcome| Reply { request, outcome })),
                    Err(HubStopped) => break link::End::Theirs,
                }
            }
            Err(malformed) => Err(link::error("amqp:decode-error", malformed.to_string())),
        };
        shared.intake.taken(weight);
        let settled = match reply {
            Ok(reply) => {
                if reply.is_some_and(|reply| !shared.replies.push(reply)) {
                    let text = format!("{MAX_TOKEN_REPLIES} answers wait for a link to be sent over.");
                    break link::End::Ours(link::error("amqp:resource-limit-exceeded", text));
                }
                receiver.accept_all(vec![info]).await
            }
            Err(error) => receiver.reject(info, error).await,
        };
        if settled.is_err() {
            break link::End::Theirs;
        }
    };
    end.perform(receiver).await
}

/// Sends answers until the link or its session ends.
///
/// They go out settled unless the client asked for the contrary, when the next one waits for its settlement.
pub(super) async fn send_replies(
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
        let message = message(&reply);
        let sent = tokio::select! {
            biased;
            _ = over.changed() => None,
            sent = outbox.send(&message) => sent,
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

/// The answer to one request.
#[derive(Debug)]
struct Reply {
    /// The request's message-id.
    request: Option<MessageId>,
    outcome: Result<(), TokenRefusal>,
}

/// The answers of one connection that were not sent yet, at most [`MAX_TOKEN_REPLIES`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<VecDeque<Reply>>,
    grown: Notify,
}

impl Replies {
    /// `false` when there are too many.
    fn push(&self, reply: Reply) -> bool {
        let mut queue = self.queue();
        if queue.len() >= MAX_TOKEN_REPLIES {
            return false;
        }
        queue.push_back(reply);
        self.0.grown.notify_one();
        true
    }

    /// Before all others.
    fn put_back(&self, reply: Reply) {
        self.queue().push_front(reply);
        self.0.grown.notify_one();
    }

    /// The oldest, once there is one.
    ///
    /// Cancel safety: none is lost, since none is taken before it is given.
    async fn next(&self) -> Reply {
        loop {
            if let Some(reply) = self.queue().pop_front() {
                return reply;
            }
            self.0.grown.notified().await;
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Reply>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the message asks for.
fn request_of(message: Message) -> TokenRequest {
    let broken = |why| TokenRequest::Broken(AuthFailure::Request(why));
    let property = |wanted: &str| {
        let found = message
            .application_properties
            .iter()
            .find(|(name, _)| name == wanted);
        match found {
            Some((_, Value::String(text) | Value::Symbol(text))) => Some(text.clone()),
            _ => None,
        }
    };
    match property("operation").as_deref() {
        Some("put-token") => {}
        Some(_) => return broken("has an operation that is not put-token"),
        None => return broken("has no operation"),
    }
    let Some(kind) = property("type") else {
        return broken("has no type");
    };
    let audience = property("name").unwrap_or_default();
    let Body::Value(Value::String(token)) = message.body else {
        return broken("has no string for its body");
    };
    TokenRequest::Put {
        kind,
        audience,
        token: Zeroizing::new(token),
    }
}

/// The answer as a message: `correlation-id` is the request's `message-id` in its own type, which SDKs compare;
/// `status-code` is an int, which the C SDK insists on.
fn message(reply: &Reply) -> Message {
    let (status, description) = match &reply.outcome {
        Ok(()) => (200, "OK"),
        Err(refusal) => (refusal.status, refusal.description.as_str()),
    };
    Message {
        properties: Properties {
            correlation_id: reply.request.clone(),
            ..Properties::default()
        },
        application_properties: vec![
            ("status-code".to_owned(), Value::Int(status)),
            ("status-description".to_owned(), description.into()),
        ],
        body: Body::Value(Value::Null),
        ..Message::default()
    }
}
