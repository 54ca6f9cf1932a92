//! The `$cbs` node: requests with tokens come over one link, answers go over another. Which of the two is attached
//! first, and in which session, is the client's choice; uamqp asks before it can hear.

use fe2o3_amqp_types::definitions::Error;
use zeroize::Zeroizing;

use super::link::End;
use super::session::Shared;
use super::taking::Take;
use crate::hub::{AuthFailure, Body, Message, MessageId, Properties, TokenRefusal, TokenRequest, Value};
use crate::owner::HubStopped;

/// A request is settled when the hub has decided, and answered.
pub(super) struct Tokens<'a>(pub(super) &'a Shared);

impl Take for Tokens<'_> {
    async fn take(&mut self, mut message: Message) -> Result<Option<Error>, End> {
        let shared = self.0;
        let request = message.properties.message_id.take();
        let outcome = shared.client.put_token(request_of(message)).await;
        let outcome = outcome.map_err(|HubStopped| End::Theirs)?;
        if let Some(outcome) = outcome {
            shared.replies.push(reply(request, outcome.as_ref()))?;
        }
        Ok(None)
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
