//! Claims-based security: tokens put to the `$cbs` node over one pair of links.

use std::collections::{BTreeMap, VecDeque};
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
use tokio::sync::mpsc;

use super::conditions::{End, detached, receiver_not_attached, receiving, sender_not_attached, sending};
use super::connection::Channel;
use super::rumour::made;
use crate::driver::names::Names;
use crate::error::{ConnectError, Phase};
use crate::recovery::{Operation, token_condition};
use crate::supervisor::{Cause, MAX_PUTS};

/// The one pair of links to `$cbs` that a connection may have, on a session of its own.
pub(crate) struct Claims {
    sender: Sender,
    receiver: Receiver,
    // Last, as a link that outlives its session keeps its deliveries waiting.
    channel: Channel,
}

impl Claims {
    /// Attaches the pair, each link within `limit`, and then puts the tokens that are asked for, each without waiting for the
    /// answers of those before it, until nobody asks any more or the pair is gone; whose tokens have no answer then is given
    /// back. Each gets one, or none at all if the hub gives none.
    pub(crate) async fn run(
        channel: Channel,
        limit: Duration,
        asked: mpsc::UnboundedReceiver<Put>,
        answer: impl Fn(u32, Result<(), ConnectError>),
    ) -> Option<Gone> {
        match Self::attach(channel, limit).await {
            Ok(claims) => claims.serve(asked, answer).await,
            Err(error) => Some(Gone::never_made(error, asked)),
        }
    }

    async fn attach(mut channel: Channel, limit: Duration) -> Result<Self, ConnectError> {
        let address = Node::Cbs.to_string();
        let step = (Phase::Token, limit);
        let fuse = channel.fuse.clone();
        let failed = |why| ConnectError::interrupted(Phase::Token, why);
        let receiving = Receiver::builder()
            .name(channel.names.unique("cbs-receiver"))
            .source(Source::builder().address(address.as_str()).build())
            .target(Target::builder().address(REPLY_TO).build())
            .credit_mode(CreditMode::Auto(CREDIT))
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut channel.session);
        let receiver = made(receiving, step, &fuse)
            .await?
            .map_err(|error| failed(receiver_not_attached(error, &fuse).why))?;
        let attaching = Sender::builder()
            .name(channel.names.unique("cbs-sender"))
            .source(Source::builder().address(REPLY_TO).build())
            .target(Target::builder().address(address.as_str()).build())
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut channel.session);
        let sender = made(attaching, step, &fuse)
            .await?
            .map_err(|error| failed(sender_not_attached(error, &fuse).why))?;
        Ok(Self {
            sender,
            receiver,
            channel,
        })
    }

    async fn serve(
        mut self,
        mut asked: mpsc::UnboundedReceiver<Put>,
        answer: impl Fn(u32, Result<(), ConnectError>),
    ) -> Option<Gone> {
        let fuse = self.channel.fuse.clone();
        let mut queue = VecDeque::new();
        let mut waiting = BTreeMap::new();
        let end = loop {
            let next = async {
                match queue.front() {
                    Some((_, _, request)) => {
                        let sent = self.sender.send_batchable_ref(request).await;
                        sent.map(drop).map_err(|error| sending(error, &fuse))
                    }
                    None => Err(detached(self.sender.on_detach().await, &fuse)),
                }
            };
            tokio::select! {
                biased;
                put = asked.recv() => match put {
                    None => break None,
                    Some(put) => queue.push_back(put.request(&self.channel.names)),
                },
                answered = self.receiver.recv::<Body<Value>>() => match answered {
                    Err(error) => break Some(receiving(error, &fuse)),
                    Ok(reply) => {
                        // That it was read is of no news to the hub if the link is gone.
                        let _ = self.receiver.accept(&reply).await;
                        if let Some((number, result)) = result(reply.message(), &mut waiting) {
                            answer(number, result);
                        }
                    }
                },
                // Its disposition says only that the node has read it; the answer is a message.
                sent = next => match sent {
                    Err(end) => break Some(end),
                    Ok(()) => {
                        waiting.extend(queue.pop_front().map(|(number, id, _)| (number, id)));
                        while waiting.len() > MAX_WAITING {
                            waiting.pop_first(); // nobody waits for it any longer
                        }
                    }
                },
            }
        };
        let Some(End { why, of }) = end else {
            self.close().await;
            return None;
        };
        let unsent = queue.into_iter().map(|(number, ..)| number);
        let puts: Vec<u32> = waiting.into_keys().chain(unsent).chain(late(asked)).collect();
        let error = ConnectError::interrupted(Phase::Token, why.clone());
        let cause = match puts.len() {
            1 => Cause::ended(why, Operation::PutToken),
            // By whose token, the hub does not say.
            _ => Cause::of_one_of_many(why, Operation::PutToken),
        };
        Some(Gone {
            error,
            cause,
            of,
            puts,
        })
    }

    /// Detaches both links and ends the session, in this order. What has ended before is no matter.
    async fn close(self) {
        let _ = self.sender.close().await;
        let _ = self.receiver.close().await;
        self.channel.end().await;
    }
}

/// What a pair leaves that is gone or was never made; its connection need not be.
pub(crate) struct Gone {
    pub(crate) error: ConnectError,
    pub(crate) cause: Cause,
    /// What has ended.
    pub(crate) of: Operation,
    /// Those without an answer.
    pub(crate) puts: Vec<u32>,
}

impl Gone {
    pub(crate) fn never_made(error: ConnectError, asked: mpsc::UnboundedReceiver<Put>) -> Self {
        Self {
            cause: Cause::not_made(&error),
            error,
            of: Operation::Link,
            puts: late(asked).collect(),
        }
    }
}

/// What was asked, and nobody hears any more.
fn late(mut asked: mpsc::UnboundedReceiver<Put>) -> impl Iterator<Item = u32> {
    asked.close();
    std::iter::from_fn(move || asked.try_recv().ok()).map(|put| put.number)
}

/// A token to be put.
pub(crate) struct Put {
    pub(crate) number: u32,
    pub(crate) audience: String,
    pub(crate) token: SasToken,
}

type Request = Sendable<AmqpValue<Value>>;

impl Put {
    fn request(self, names: &Names) -> (u32, String, Request) {
        let id = names.unique("put-token");
        let message = request(&id, &self.audience, &self.token);
        (self.number, id, Sendable::builder().message(message).build())
    }
}

/// What an answer says to the put that it belongs to.
fn result(
    answer: &WireMessage<Body<Value>>,
    waiting: &mut BTreeMap<u32, String>,
) -> Option<(u32, Result<(), ConnectError>)> {
    let correlation = answer.properties.as_ref()?.correlation_id.as_ref()?;
    let MessageId::String(said) = correlation else {
        return None;
    };
    let number = waiting
        .iter()
        .find(|(_, id)| *id == said)
        .map(|(number, _)| *number)?;
    let (status, description) = status(answer)?;
    waiting.remove(&number);
    if (200..300).contains(&status) {
        return Some((number, Ok(())));
    }
    let text = format!("{status} {}", description.unwrap_or_default());
    let condition = token_condition(status, Some(text.trim_end().to_owned()));
    Some((number, Err(ConnectError::TokenRefused(condition))))
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

/// The status code and description of an answer.
fn status(answer: &WireMessage<Body<Value>>) -> Option<(i32, Option<String>)> {
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

/// More than are awaited at once, since late ones may come too.
const CREDIT: u32 = 2 * MAX_PUTS as u32;

/// How many puts may be without an answer; those beyond are the oldest, and their time is up.
const MAX_WAITING: usize = 2 * MAX_PUTS;
