//! One link.

use bytes::Bytes;
use fe2o3_amqp::acceptor::LinkEndpoint;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp::link::{DispositionError, RecvError};
use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::definitions::{self, ErrorCondition, Fields};
use fe2o3_amqp_types::messaging::{Batch, Data};
use fe2o3_amqp_types::primitives::{Symbol, Value as WireValue};
use futures_util::FutureExt;
use iothub_address::Identity;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::decode::{self, Malformed};
use super::stream::Intake;
use super::translate::FRAME_WEIGHT;
use super::{ANSWER_TIMEOUT, MAX_TAKEN, MAX_TAKEN_BYTES, MAX_TELEMETRY_SIZE, TELEMETRY_CREDIT};
use crate::hub::{self, Refusal, Rejected, Verdict};
use crate::owner::{Client, HubStopped, LinkOrder};

/// Takes a device's messages to the hub, until the link or the hub ends, or the hub orders it to end.
pub(crate) async fn telemetry(
    mut receiver: Receiver,
    identity: Identity,
    client: Client,
    intake: Intake,
    mut orders: mpsc::Receiver<LinkOrder>,
    mut over: watch::Receiver<()>,
) -> Option<EndSession> {
    let mut before_more = BUSY;
    let end = loop {
        let taken = tokio::select! {
            biased;
            order = orders.recv() => Err(ordered(order)),
            taken = take(&mut receiver) => taken,
        };
        let mut taken = match taken {
            Ok(taken) => taken,
            Err(end) => break end,
        };
        let deliveries = std::mem::take(&mut taken.deliveries);
        let Ok(answer) = client.telemetry(identity.clone(), deliveries).await else {
            break End::Theirs;
        };
        // The hub may take its time with the answer.
        let outcome = tokio::select! {
            biased;
            outcome = answer.wait() => Some(outcome),
            order = orders.recv() => break ordered(order),
            // Nobody hears it any more. What has already come in is still to be taken.
            _ = over.changed() => None,
        };
        // Not before the hub has them, or what waits for the hub would know no bound.
        intake.taken(taken.weight);
        match outcome {
            None => match taken.end {
                Some(end) => break end,
                None => continue,
            },
            Some(Ok(Ok(Verdict::AllBut(rejected)))) => taken.reject(rejected),
            Some(Ok(Ok(Verdict::Withheld))) => taken.withhold(),
            Some(Ok(Err(refusal))) => break End::Ours(refused(&refusal)),
            Some(Err(HubStopped)) => break End::Theirs,
        }
        let (end, count) = (taken.end.take(), taken.count);
        if before_more > 0 {
            before_more = before_more.saturating_sub(count);
            if before_more == 0 {
                // If the link has ended meanwhile, receiving says so.
                let _ = receiver.set_credit(TELEMETRY_CREDIT).await;
            }
        }
        if taken.settle(&receiver).await.is_err() {
            // The link ends; what has already come in over it is still to be taken, and then receiving says so.
            tracing::debug!(
                connection = client.connection(),
                "no answer to a delivery: the link ends"
            );
        }
        if let Some(end) = end {
            break end;
        }
    };
    end.perform(receiver).await
}

/// Waits for a delivery, and takes what has arrived behind it: that goes to the hub in the same command, and is
/// settled in runs.
async fn take(receiver: &mut Receiver) -> Result<Taken, End> {
    let mut taken = Taken::default();
    match receiver.recv::<Raw>().await {
        Ok(delivery) => taken.add(delivery),
        Err(error) => return Err(ending(&error)),
    }
    while taken.has_room() {
        match receiver.recv::<Raw>().now_or_never() {
            Some(Ok(delivery)) => taken.add(delivery),
            Some(Err(error)) => {
                taken.end = Some(ending(&error));
                break;
            }
            None => break,
        }
    }
    Ok(taken)
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

/// The hub's refusal as an AMQP error.
pub(crate) fn refused(refusal: &Refusal) -> definitions::Error {
    let Some(to) = &refusal.redirect else {
        return error(refusal.condition_name(), refusal.description());
    };
    // In the shape that traces of the real hub show; clients depend on the types.
    let mut info = Fields::new();
    let text = |text: &str| WireValue::String(text.to_owned());
    info.insert(Symbol::from("hostname"), text(&to.host));
    info.insert(Symbol::from("network-host"), text(&to.host));
    info.insert(Symbol::from("port"), WireValue::Int(to.port.into()));
    info.insert(Symbol::from("address"), text(&to.address));
    let condition = ErrorCondition::Custom(Symbol::from(refusal.condition_name()));
    definitions::Error::new(condition, None, Some(info))
}

/// The data sections that `translate` made of a delivery's frames.
pub(super) type Raw = Batch<Data>;

/// What was taken off a link in one go.
#[derive(Default)]
struct Taken {
    count: usize,
    weight: usize,
    /// For the hub, each in the place of its info in `accepted`.
    deliveries: Vec<hub::Delivery>,
    accepted: Vec<DeliveryInfo>,
    rejected: Vec<(DeliveryInfo, definitions::Error)>,
    /// What came behind the last delivery, if it was the link's end.
    end: Option<End>,
}

impl Taken {
    fn has_room(&self) -> bool {
        self.count < MAX_TAKEN && self.weight < MAX_TAKEN_BYTES
    }

    fn add(&mut self, delivery: Delivery<Raw>) {
        let format = delivery.message_format().unwrap_or(0);
        let (info, message) = delivery.into_parts();
        self.count += 1;
        self.weight += weight(&message.body);
        let bytes = join(message.body);
        match read(&bytes, format) {
            Ok(delivery) => {
                self.deliveries.push(delivery);
                self.accepted.push(info);
            }
            Err(why) => {
                let error = error(why.condition(), why.to_string());
                self.rejected.push((info, error));
            }
        }
    }

    /// Nothing is told of what the hub has taken.
    fn withhold(&mut self) {
        self.accepted.clear();
    }

    /// What the hub rejected is not accepted.
    fn reject(&mut self, rejected: Rejected) {
        // From behind, so that the places before stay what they are.
        for (place, refusal) in rejected.into_iter().rev() {
            self.rejected
                .push((self.accepted.remove(place), refused(&refusal)));
        }
    }

    /// Tells the client what became of its deliveries. Those that came settled are left out by the engine, and
    /// counted for the credit.
    async fn settle(self, receiver: &Receiver) -> Result<(), DispositionError> {
        for (delivery, error) in self.rejected {
            receiver.reject(delivery, error).await?;
        }
        receiver.accept_all(self.accepted).await
    }
}

/// What `translate` counted for the frames of a delivery, each of which became a section.
pub(super) fn weight(sections: &Raw) -> usize {
    sections
        .iter()
        .map(|section| section.0.len() + FRAME_WEIGHT)
        .sum()
}

pub(super) fn join(sections: Raw) -> Bytes {
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

fn read(bytes: &Bytes, format: u32) -> Result<hub::Delivery, Rejection> {
    if bytes.len() > MAX_TELEMETRY_SIZE {
        return Err(Rejection::Size(bytes.len()));
    }
    match format {
        BATCH_FORMAT => Ok(hub::Delivery::Batch(decode::batch(bytes)?)),
        _ => Ok(hub::Delivery::Message(decode::message(bytes)?)),
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
pub(super) enum End {
    /// The client, or what is below the link, has ended it.
    Theirs,
    /// We do.
    Ours(definitions::Error),
    /// We do, and there is nothing to say.
    Gently,
    /// We do, and its session with it.
    Session(Option<definitions::Error>),
}

/// The session of a link must end, and why. The link is kept until it has: the engine detaches what is dropped.
pub(super) struct EndSession {
    pub(super) why: Option<definitions::Error>,
    pub(super) link: LinkEndpoint,
}

impl End {
    pub(super) async fn perform(self, receiver: Receiver) -> Option<EndSession> {
        match self {
            Self::Theirs => None,
            Self::Ours(error) => {
                // A client that does not answer is left to its connection.
                let _ = timeout(ANSWER_TIMEOUT, receiver.close_with_error(error)).await;
                None
            }
            Self::Gently => {
                let _ = timeout(ANSWER_TIMEOUT, receiver.close()).await;
                None
            }
            Self::Session(why) => Some(EndSession {
                why,
                link: LinkEndpoint::Receiver(receiver),
            }),
        }
    }

    pub(super) async fn perform_sender(self, sender: Sender) -> Option<EndSession> {
        match self {
            Self::Theirs => None,
            Self::Ours(error) => {
                let _ = timeout(ANSWER_TIMEOUT, sender.close_with_error(error)).await;
                None
            }
            Self::Gently => {
                let _ = timeout(ANSWER_TIMEOUT, sender.close()).await;
                None
            }
            Self::Session(why) => Some(EndSession {
                why,
                link: LinkEndpoint::Sender(sender),
            }),
        }
    }
}

/// The end that the hub orders. Orders end by themselves when too many wait, and with the hub.
pub(super) fn ordered(order: Option<LinkOrder>) -> End {
    match order {
        // Only a link that the client receives over is given such, and looks for them itself.
        Some(LinkOrder::Send(_)) => End::Ours(error("amqp:internal-error", String::new())),
        Some(LinkOrder::Detach(Some(refusal))) => End::Ours(refused(&refusal)),
        Some(LinkOrder::Detach(None)) => End::Gently,
        Some(LinkOrder::EndSession(refusal)) => End::Session(refusal.as_ref().map(refused)),
        None => End::Ours(error(
            "amqp:resource-limit-exceeded",
            "The link is too slow.".to_owned(),
        )),
    }
}

pub(super) fn ending(received: &RecvError) -> End {
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

/// After how many deliveries a link counts as a busy one. It then gets more credit than the engine grants by itself, 200.
const BUSY: usize = 100;

/// The message-format of a batch of messages, each a data section of the outer one.
const BATCH_FORMAT: u32 = 0x8001_3700;
