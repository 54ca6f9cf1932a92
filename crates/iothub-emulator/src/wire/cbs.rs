//! The `$cbs` node: requests with tokens come over one link, answers go over another. Which of the two is attached
//! first, and in which session, is the client's choice; uamqp asks before it can hear.

use fe2o3_amqp::Receiver;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::link::EndSession;
use super::session::Shared;
use super::{MAX_REPLIES, decode, link};
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
                    Ok(outcome) => Ok(outcome.map(|outcome| reply(request, outcome.as_ref()))),
                    Err(HubStopped) => break link::End::Theirs,
                }
            }
            Err(malformed) => Err(link::error("amqp:decode-error", malformed.to_string())),
        };
        shared.intake.taken(weight);
        let settled = match reply {
            Ok(reply) => {
                if reply.is_some_and(|reply| !shared.replies.push(reply)) {
                    let text = format!("{MAX_REPLIES} answers wait for a link to be sent over.");
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
fn reply(request: Option<MessageId>, outcome: Result<&(), &TokenRefusal>) -> Message {
    let (status, description) = match outcome {
        Ok(()) => (200, "OK"),
        Err(refusal) => (refusal.status, refusal.description.as_str()),
    };
    Message {
        properties: Properties {
            correlation_id: request,
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
