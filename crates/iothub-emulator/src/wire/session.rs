//! One session: takes links.

use fe2o3_amqp::acceptor::error::AcceptorAttachError;
use fe2o3_amqp::acceptor::{LinkAcceptor, LinkEndpoint, ListenerSessionHandle};
use fe2o3_amqp::acceptor::{SupportedReceiverSettleModes, SupportedSenderSettleModes};
use fe2o3_amqp_types::definitions::{self, ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Source, Target, TargetArchetype};
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::{Symbol, Value as WireValue};
use futures_util::FutureExt;
use serde_amqp::descriptor::Descriptor;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::cbs::Tokens;
use super::commands::Commands;
use super::link::EndSession;
use super::management::Management;
use super::outbox::Outbox;
use super::outgoing::{Outgoing, OutgoingLink};
use super::replies::{self, Replies};
use super::requests::Requests;
use super::stream::Intake;
use super::undelivered::Undelivered;
use super::{ANSWER_TIMEOUT, LAST_WORDS, MAX_MESSAGE_SIZE, MAX_REDIRECTED_SIZE, link, reading, taking};
use crate::hub::{Filter, Grant, Side, Terms, Value};
use crate::owner::{Client, HubStopped, Opened};
use crate::partitions::Partitions;

/// What the links of all sessions of a connection share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) intake: Intake,
    pub(crate) outgoing: Outgoing,
    pub(crate) replies: Replies,
    pub(crate) undelivered: Undelivered,
    pub(crate) partitions: Partitions,
    /// Of one session, not of the connection: so that answers stay where they were asked for.
    pub(crate) management: Replies,
}

/// Serves a session to its end.
pub(crate) async fn serve(mut session: ListenerSessionHandle, channel: u16, mut shared: Shared) {
    shared.management = Replies::default();
    let mut links = JoinSet::new();
    let (alive, over) = watch::channel(());
    let mut ending = None;
    loop {
        let next = tokio::select! {
            Some(ended) = links.join_next() => match ended {
                Ok(Some(EndSession { why, link })) => {
                    // What its links have said goes out before.
                    sleep(LAST_WORDS).await;
                    ending = Some(link);
                    Err(Over::Ours(why))
                }
                _ => continue,
            },
            attach = session.next_incoming_attach() => attach.ok_or(Over::Stopped),
        };
        let accepted = match next {
            Ok(attach) => accept(attach, &mut session, channel, &mut links, &shared, &over).await,
            Err(over) => Err(over),
        };
        match accepted {
            Ok(()) => {}
            Err(Over::Stopped) => break,
            Err(Over::Ours(error)) => {
                let _ = match error {
                    Some(error) => timeout(ANSWER_TIMEOUT, session.end_with_error(error)).await,
                    None => timeout(ANSWER_TIMEOUT, session.end()).await,
                };
                break;
            }
        }
    }
    // Attaches that came too late are not to count for ever.
    while let Some(Some(attach)) = session.next_incoming_attach().now_or_never() {
        shared.intake.taken(weight(&attach));
    }
    drop((session, alive, ending));
    // The links' channels are closed: each ends by itself.
    while links.join_next().await.is_some() {}
}

/// Why there will be no more links.
enum Over {
    Stopped,
    /// We end the session.
    Ours(Option<definitions::Error>),
}

impl From<HubStopped> for Over {
    fn from(HubStopped: HubStopped) -> Self {
        Self::Stopped
    }
}

async fn accept(
    mut attach: Attach,
    session: &mut ListenerSessionHandle,
    channel: u16,
    links: &mut JoinSet<Option<EndSession>>,
    shared: &Shared,
    over: &watch::Receiver<()>,
) -> Result<(), Over> {
    let weight = weight(&attach);
    let (side, address) = node_of(&attach);
    let terms = Terms {
        presettled: attach.snd_settle_mode == SenderSettleMode::Settled,
        pair: pair_of(&attach),
        model: text_of(&attach, MODEL),
        dialled: shared.outgoing.dialled(),
        filter: filter_of(&attach),
        epoch: property(&attach, EPOCH).map(number),
        runtime_metric: desires(&attach, RUNTIME_METRIC),
    };
    let opened = shared.client.open_link(address, side, terms).await?;
    // Not before the hub has decided, or what waits for it would know no bound.
    shared.intake.taken(weight);
    settle_terms(&mut attach);
    let mode = attach.snd_settle_mode.clone();
    if let Ok(opened) = &opened
        && matches!(opened.grant, Grant::Events(_))
    {
        // What a reader asks to settle, and does not, comes settled in the end.
        attach.snd_settle_mode = SenderSettleMode::Mixed;
    }
    let outgoing = shared.outgoing.link(channel, attach.handle.0);

    // The engine's future is a large one.
    let redirected = matches!(&opened, Err(refusal) if refusal.redirect.is_some());
    let most = if redirected {
        MAX_REDIRECTED_SIZE
    } else {
        MAX_MESSAGE_SIZE
    };
    let endpoint = match Box::pin(acceptor(most).accept_incoming_attach(attach, session)).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            if let Ok(opened) = opened {
                shared.client.link_gone(opened.link).await;
            }
            return refused(&error);
        }
    };
    match opened {
        Ok(opened) => links.spawn(serve_link(
            endpoint,
            opened,
            Way { mode, outgoing },
            shared.clone(),
            over.clone(),
        )),
        Err(refusal) => links.spawn(async move {
            link::refuse(endpoint, link::refused(&refusal)).await;
            None
        }),
    };
    Ok(())
}

/// Serves a link that was granted, to its end.
async fn serve_link(
    endpoint: LinkEndpoint,
    opened: Opened,
    way: Way,
    shared: Shared,
    over: watch::Receiver<()>,
) -> Option<EndSession> {
    let endpoint = match (endpoint, way.outgoing) {
        (LinkEndpoint::Sender(sender), Some(outgoing)) => {
            Endpoint::Outbox(Outbox::new(sender, way.mode, outgoing))
        }
        (endpoint, _) => Endpoint::Engine(endpoint),
    };
    let ended = match (endpoint, opened.grant) {
        (Endpoint::Engine(LinkEndpoint::Receiver(receiver)), Grant::Telemetry(identity)) => {
            let client = shared.client.clone();
            link::telemetry(receiver, identity, client, shared.intake, opened.orders, over).await
        }
        (Endpoint::Engine(LinkEndpoint::Receiver(receiver)), Grant::TokenRequests) => {
            taking::each(receiver, &shared, opened.orders, Tokens(&shared)).await
        }
        (Endpoint::Outbox(outbox), Grant::TokenReplies) => {
            replies::send(outbox, &shared.replies, opened.orders, over).await
        }
        (Endpoint::Engine(LinkEndpoint::Receiver(receiver)), Grant::ManagementRequests) => {
            taking::each(receiver, &shared, opened.orders, Management(&shared)).await
        }
        (Endpoint::Outbox(outbox), Grant::ManagementReplies) => {
            replies::send(outbox, &shared.management, opened.orders, over).await
        }
        (Endpoint::Engine(LinkEndpoint::Receiver(receiver)), Grant::ServiceCommands) => {
            taking::each(receiver, &shared, opened.orders, Commands(shared.client.clone())).await
        }
        (Endpoint::Outbox(outbox), Grant::Events(reader)) => {
            reading::serve(outbox, &reader, opened.orders, &shared, over).await
        }
        (
            Endpoint::Engine(LinkEndpoint::Receiver(receiver)),
            Grant::TwinRequests(_) | Grant::MethodReplies(_),
        ) => {
            let requests = Requests {
                link: opened.link,
                client: shared.client.clone(),
            };
            taking::each(receiver, &shared, opened.orders, requests).await
        }
        (
            Endpoint::Outbox(outbox),
            Grant::CloudToDevice(_)
            | Grant::TwinReplies(_)
            | Grant::MethodCalls(_)
            | Grant::Feedback
            | Grant::FileNotifications,
        ) => outbox.serve(opened.link, opened.orders, &shared, over).await,
        // The hub grants each of them to one side only.
        (Endpoint::Outbox(outbox), _) => {
            let error = link::error("amqp:internal-error", String::new());
            outbox.end(link::End::Ours(error)).await
        }
        (Endpoint::Engine(endpoint), _) => {
            link::refuse(endpoint, link::error("amqp:internal-error", String::new())).await;
            None
        }
    };
    shared.client.link_gone(opened.link).await;
    ended
}

/// One end of a link that was granted.
enum Endpoint {
    Outbox(Outbox),
    Engine(LinkEndpoint),
}

/// How the hub's messages go to a client that receives.
struct Way {
    mode: SenderSettleMode,
    /// There is one for each link that the client receives over.
    outgoing: Option<OutgoingLink>,
}

/// What the engine could not accept. It has answered most such attaches with a detach by itself.
fn refused(error: &AcceptorAttachError) -> Result<(), Over> {
    use fe2o3_amqp::link::{ReceiverAttachError, SenderAttachError};
    match error {
        AcceptorAttachError::SessionStopped(_) => Err(Over::Stopped),
        // The engine says nothing to the client here, which would wait for ever.
        AcceptorAttachError::LocalReceiver(ReceiverAttachError::DuplicatedLinkName)
        | AcceptorAttachError::LocalSender(SenderAttachError::DuplicatedLinkName) => {
            Err(Over::Ours(Some(link::error(
                "amqp:session:handle-in-use",
                "A link of this name is attached already.".to_owned(),
            ))))
        }
        _ => Ok(()),
    }
}

/// Which end the client is, and the node it wants: where it sends to or receives from. `$cbs` counts at either end
/// of the link; clients name it at one or at both.
fn node_of(attach: &Attach) -> (Side, String) {
    let source = attach.source.as_deref().and_then(|source| source.address.clone());
    let target = attach.target.as_deref();
    let target = target.and_then(|TargetArchetype::Target(target)| target.address.clone());
    let (side, near, far) = match attach.role {
        Role::Sender => (Side::Sender, target, source),
        Role::Receiver => (Side::Receiver, source, target),
    };
    let address = match far {
        Some(far) if far == CBS => far,
        _ => near.unwrap_or_default(),
    };
    (side, address)
}

/// What ties the link to another one.
fn pair_of(attach: &Attach) -> String {
    text_of(attach, PAIR).unwrap_or_default()
}

/// A property of the link. SDKs send strings; of anything else its text is as good.
fn text_of(attach: &Attach, name: &str) -> Option<String> {
    Some(match property(attach, name)? {
        WireValue::String(text) => text.clone(),
        WireValue::Symbol(symbol) => symbol.to_string(),
        other => format!("{other:?}"),
    })
}

fn property<'a>(attach: &'a Attach, name: &str) -> Option<&'a WireValue> {
    attach.properties.as_ref()?.get(&Symbol::from(name))
}

/// The numbers among AMQP's values; what is none is refused as the text that it is not.
fn number(value: &WireValue) -> Value {
    match value {
        WireValue::Null => Value::Null,
        WireValue::Long(number) => Value::Long(*number),
        WireValue::Int(number) => Value::Int(*number),
        WireValue::Ulong(number) => Value::Ulong(*number),
        WireValue::Uint(number) => Value::Uint(*number),
        other => Value::String(format!("{other:?}")),
    }
}

/// The selector among the source's filters, by its descriptor: clients are free in how they key it. Filters that the
/// endpoint does not know select nothing away.
fn filter_of(attach: &Attach) -> Filter {
    let filters = attach.source.as_deref().and_then(|source| source.filter.as_ref());
    let Some(filters) = filters else {
        return Filter::None;
    };
    for (key, value) in filters.iter() {
        match value {
            WireValue::Described(described) => {
                let is_selector = match &described.descriptor {
                    Descriptor::Name(name) => name.as_str() == SELECTOR,
                    Descriptor::Code(code) => *code == SELECTOR_CODE,
                };
                match &described.value {
                    WireValue::String(text) if is_selector => return Filter::Selector(text.clone()),
                    _ if is_selector => return Filter::NoText,
                    _ => {}
                }
            }
            _ if key.as_str() == SELECTOR => return Filter::NoText,
            _ => {}
        }
    }
    Filter::None
}

fn desires(attach: &Attach, capability: &str) -> bool {
    let desired = attach.desired_capabilities.as_ref();
    desired.is_some_and(|desired| desired.0.iter().any(|known| known.as_str() == capability))
}

/// What `translate` counted for the attach, and put where the client says how large a message may be.
fn weight(attach: &Attach) -> usize {
    attach
        .max_message_size
        .and_then(|weight| usize::try_from(weight).ok())
        .unwrap_or_default()
}

/// The client's source and target go back to it as they came; SDKs compare them. What it left out and the engine
/// insists on is filled in.
fn settle_terms(attach: &mut Attach) {
    attach.source.get_or_insert_with(|| Box::new(Source::default()));
    attach
        .target
        .get_or_insert_with(|| Box::new(Target::default().into()));
    if attach.role == Role::Sender {
        attach.initial_delivery_count.get_or_insert(0);
    }
    // Ours counts, not the smaller of the two: SDKs send 0 or all ones here, or what they can receive.
    attach.max_message_size = None;
    // No delivery outlives its link at this hub.
    attach.unsettled = None;
    // The engine would answer an outcome before the hub has decided on it; `outgoing` answers in its place, and tells
    // the client that it has its way.
    attach.rcv_settle_mode = ReceiverSettleMode::First;
    attach.incomplete_unsettled = false;
}

type Acceptor = LinkAcceptor<fn(Source) -> Option<Source>, fn(Target) -> Option<Target>>;

/// Settles at once, and with an outcome: the Node SDK stops when dispositions stay unsettled.
fn acceptor(max_message_size: u64) -> Acceptor {
    LinkAcceptor::builder()
        .max_message_size(max_message_size)
        .supported_sender_settle_modes(SupportedSenderSettleModes::All)
        .supported_receiver_settle_modes(SupportedReceiverSettleModes::First)
        .fallback_receiver_settle_mode(ReceiverSettleMode::First)
        .build()
}

/// The filter for events, by its name and by its number.
const SELECTOR: &str = "apache.org:selector-filter:string";
const SELECTOR_CODE: u64 = 0x0000_468c_0000_0004;
/// The link property of a reader that reads alone.
const EPOCH: &str = "com.microsoft:epoch";
/// The capability that asks for how far the partition has come, with each event.
const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";
/// The link property that names the model that a device speaks.
const MODEL: &str = "com.microsoft:model-id";
/// The link property that ties two links to a pair.
const PAIR: &str = "com.microsoft:channel-correlation-id";
/// The node for claims-based security.
const CBS: &str = "$cbs";
