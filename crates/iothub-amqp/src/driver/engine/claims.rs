//! Claims-based security: tokens put to the `$cbs` node over one pair of links.

use std::time::Duration;

use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message as WireMessage, MessageId, Properties, Source, Target,
};
use fe2o3_amqp_types::primitives::{OrderedMap, SimpleValue, Value};
use iothub_address::Node;
use iothub_sas::SasToken;
use tokio::time::timeout;

use super::connection::Channel;
use crate::driver::unique_name;
use crate::error::{ConnectError, Phase};
use crate::recovery::token_condition;

/// The one pair of links to `$cbs` that a connection may have, on a session of its own.
pub(crate) struct Claims {
    sender: Sender,
    receiver: Receiver,
    // Last, as a link that outlives its session keeps its deliveries waiting.
    channel: Channel,
}

impl Claims {
    /// Attaches the pair, each link within `limit`.
    pub(crate) async fn attach(mut channel: Channel, limit: Duration) -> Result<Self, ConnectError> {
        let address = Node::Cbs.to_string();
        let late = |_| ConnectError::TimedOut {
            phase: Phase::Token,
            after: limit,
        };
        let fuse = channel.fuse.clone();
        let failed = |error: String| {
            tracing::debug!(error, "no $cbs link");
            ConnectError::interrupted(Phase::Token, super::conditions::lost(&fuse).why)
        };
        let receiving = Receiver::builder()
            .name(unique_name("cbs-receiver"))
            .source(Source::builder().address(address.as_str()).build())
            .target(Target::builder().address(REPLY_TO).build())
            .credit_mode(CreditMode::Auto(CREDIT))
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut channel.session);
        let receiver = timeout(limit, receiving)
            .await
            .map_err(late)?
            .map_err(|error| failed(error.to_string()))?;
        let sending = Sender::builder()
            .name(unique_name("cbs-sender"))
            .source(Source::builder().address(REPLY_TO).build())
            .target(Target::builder().address(address.as_str()).build())
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut channel.session);
        let sender = timeout(limit, sending)
            .await
            .map_err(late)?
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            sender,
            receiver,
            channel,
        })
    }

    /// Puts a token for `audience`, and waits for the answer to this very request; others are passed over.
    pub(crate) async fn put(
        &mut self,
        audience: &str,
        token: &SasToken,
        limit: Duration,
    ) -> Result<(), ConnectError> {
        let id = unique_name("put-token");
        let asked = timeout(limit, async {
            let request = Sendable::builder().message(request(&id, audience, token)).build();
            // Its disposition says only that the node has read it; the answer is a message.
            let taken = self.sender.send_batchable(request).await;
            drop(taken.map_err(|_| self.gone())?);
            loop {
                let answer = self
                    .receiver
                    .recv::<Body<Value>>()
                    .await
                    .map_err(|_| self.gone())?;
                self.receiver.accept(&answer).await.map_err(|_| self.gone())?;
                if let Some(status) = status(answer.message(), &id) {
                    return Ok(status);
                }
            }
        });
        let (status, description) = asked.await.map_err(|_| ConnectError::TimedOut {
            phase: Phase::Token,
            after: limit,
        })??;
        if (200..300).contains(&status) {
            return Ok(());
        }
        let text = description.unwrap_or_default();
        let text = format!("{status} {text}");
        Err(ConnectError::TokenRefused(token_condition(
            status,
            Some(text.trim_end().to_owned()),
        )))
    }

    /// Detaches both links and ends the session, in this order. What has ended before is no matter.
    pub(crate) async fn close(mut self) {
        let _ = self.sender.close().await;
        let _ = self.receiver.close().await;
        let _ = self.channel.session.end().await;
    }

    fn gone(&self) -> ConnectError {
        ConnectError::interrupted(Phase::Token, super::conditions::lost(&self.channel.fuse).why)
    }
}

/// A put-token request as Node's SDK writes it, which every hub knows.
fn request(id: &str, audience: &str, token: &SasToken) -> WireMessage<AmqpValue<Value>> {
    let properties = Properties {
        message_id: Some(MessageId::String(id.to_owned())),
        to: Some(Node::Cbs.to_string()),
        reply_to: Some(REPLY_TO.to_owned()),
        ..Properties::default()
    };
    let application: OrderedMap<String, SimpleValue> = [
        ("operation", "put-token"),
        ("type", "servicebus.windows.net:sastoken"),
        ("name", audience),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), SimpleValue::String(value.to_owned())))
    .collect();
    WireMessage::builder()
        .properties(properties)
        .application_properties(ApplicationProperties(application))
        .value(Value::String(token.expose().to_owned()))
        .build()
}

/// The status code and description of an answer, if it is one to the request of this id.
fn status(answer: &WireMessage<Body<Value>>, id: &str) -> Option<(i32, Option<String>)> {
    let correlation = answer.properties.as_ref()?.correlation_id.as_ref()?;
    if !matches!(correlation, MessageId::String(said) if said == id) {
        return None;
    }
    let properties = &answer.application_properties.as_ref()?.0;
    let status = match properties.get("status-code")? {
        SimpleValue::Int(status) => *status,
        SimpleValue::Long(status) => i32::try_from(*status).unwrap_or(0),
        SimpleValue::Uint(status) => i32::try_from(*status).unwrap_or(0),
        SimpleValue::Ushort(status) => i32::from(*status),
        _ => 0,
    };
    let description = match properties.get("status-description") {
        Some(SimpleValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    Some((status, description))
}

/// The name of this side's end of the pair; a hub ignores it.
const REPLY_TO: &str = "cbs";

/// One answer is awaited at a time; late ones may come too.
const CREDIT: u32 = 10;
