//! One link.

use bytes::Bytes;
use fe2o3_amqp::Receiver;
use fe2o3_amqp::acceptor::LinkEndpoint;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp_types::definitions::{self, ErrorCondition};
use fe2o3_amqp_types::messaging::{Batch, Data};
use fe2o3_amqp_types::primitives::Symbol;
use futures_util::FutureExt;
use iothub_address::Identity;
use tokio::time::timeout;

use super::decode::{self, Malformed};
use super::stream::Intake;
use super::{ANSWER_TIMEOUT, MAX_TAKEN, MAX_TELEMETRY_SIZE};
use crate::hub::Message;
use crate::owner::Client;

/// Takes a device's messages to the hub, until the link or the hub ends.
pub(crate) async fn telemetry(mut receiver: Receiver, identity: Identity, client: Client, intake: Intake) {
    let why = loop {
        let first = match receiver.recv::<Raw>().await {
            Ok(delivery) => delivery,
            Err(error) => break ending(&error),
        };
        let mut taken = Taken::default();
        taken.add(first, &intake);
        // What has arrived meanwhile goes to the hub in the same command, and is settled in runs.
        let mut end = None;
        while taken.deliveries < MAX_TAKEN {
            match receiver.recv::<Raw>().now_or_never() {
                Some(Ok(delivery)) => taken.add(delivery, &intake),
                Some(Err(error)) => {
                    end = Some(ending(&error));
                    break;
                }
                None => break,
            }
        }
        match client.telemetry(identity.clone(), taken.messages).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => break End::Ours(error(refusal.condition.as_str(), refusal.description())),
            Err(_) => break End::Theirs,
        }
        for (delivery, why) in taken.rejected {
            if receiver
                .reject(delivery, error(why.condition(), why.to_string()))
                .await
                .is_err()
            {
                return;
            }
        }
        // Deliveries that came settled are left out of the answer by the engine, and counted for the credit.
        if receiver.accept_all(taken.accepted).await.is_err() {
            return;
        }
        if let Some(end) = end {
            break end;
        }
    };
    if let End::Ours(error) = why {
        let _ = timeout(ANSWER_TIMEOUT, receiver.close_with_error(error)).await;
    }
}

/// Answers an attach that was not granted: the link is there, and ends with the reason.
pub(crate) async fn refuse(endpoint: LinkEndpoint, error: definitions::Error) {
    // A client that does not answer is left to its connection.
    let _ = match endpoint {
        LinkEndpoint::Sender(sender) => timeout(ANSWER_TIMEOUT, sender.close_with_error(error)).await,
        LinkEndpoint::Receiver(receiver) => timeout(ANSWER_TIMEOUT, receiver.close_with_error(error)).await,
    };
}

/// An AMQP error; the engine's own conditions and ours are the same symbols on the wire.
pub(crate) fn error(condition: &str, description: String) -> definitions::Error {
    definitions::Error::new(
        ErrorCondition::Custom(Symbol::from(condition)),
        Some(description),
        None,
    )
}

/// The data sections that `translate` made of a delivery's frames.
type Raw = Batch<Data>;

/// What was taken off a link in one go.
#[derive(Default)]
struct Taken {
    deliveries: usize,
    messages: Vec<Message>,
    accepted: Vec<DeliveryInfo>,
    rejected: Vec<(DeliveryInfo, Rejection)>,
}

impl Taken {
    fn add(&mut self, delivery: Delivery<Raw>, intake: &Intake) {
        let format = delivery.message_format().unwrap_or(0);
        let (info, message) = delivery.into_parts();
        let bytes = join(message.body);
        intake.taken(bytes.len());
        self.deliveries += 1;
        match read(&bytes, format) {
            Ok(mut messages) => {
                self.messages.append(&mut messages);
                self.accepted.push(info);
            }
            Err(why) => self.rejected.push((info, why)),
        }
    }
}

fn join(sections: Raw) -> Bytes {
    let mut sections = sections.into_inner();
    if sections.len() == 1 {
        return sections.swap_remove(0).0.into_vec().into();
    }
    let mut whole = Vec::with_capacity(sections.iter().map(|section| section.0.len()).sum());
    sections
        .iter()
        .for_each(|section| whole.extend_from_slice(&section.0));
    whole.into()
}

fn read(bytes: &Bytes, format: u32) -> Result<Vec<Message>, Rejection> {
    if bytes.len() > MAX_TELEMETRY_SIZE {
        return Err(Rejection::Size(bytes.len()));
    }
    match format {
        BATCH_FORMAT => Ok(decode::batch(bytes)?),
        _ => Ok(vec![decode::message(bytes)?]),
    }
}

/// Why a message is not taken; the link goes on.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("The message is {0} bytes long; {MAX_TELEMETRY_SIZE} are allowed.")]
    Size(usize),
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl Rejection {
    const fn condition(&self) -> &'static str {
        match self {
            Self::Size(_) => "amqp:link:message-size-exceeded",
            Self::Malformed(_) => "amqp:decode-error",
        }
    }
}

/// How a link ends.
enum End {
    /// The client, or what is below the link, has ended it.
    Theirs,
    /// We do.
    Ours(definitions::Error),
}

fn ending(received: &RecvError) -> End {
    match received {
        // The engine has detached it by itself.
        RecvError::LinkStateError(_) | RecvError::MessageSizeExceeded(_) => End::Theirs,
        RecvError::TransferLimitExceeded => End::Ours(error(
            "amqp:link:transfer-limit-exceeded",
            "More was sent than credit was given for.".to_owned(),
        )),
        other => End::Ours(error("amqp:not-allowed", other.to_string())),
    }
}

/// The message-format of a batch of messages, each a data section of the outer one.
const BATCH_FORMAT: u32 = 0x8001_3700;
