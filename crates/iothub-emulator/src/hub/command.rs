//! What is asked of the hub, and what it wants done.

use std::net::SocketAddr;

use iothub_address::{Identity, Secret};
use zeroize::Zeroizing;

use super::authentication::AuthFailure;
use super::cbs::{TokenRefusal, TokenRequest};
use super::certificate::ClientCertificate;
use super::endpoint::Reader;
use super::faults::{Cut, Impairments};
use super::mailbox::{LockToken, Outcome};
use super::message::Message;
use super::methods::{MethodError, MethodResponse};
use super::refusal::Refusal;
use super::value::Value;

/// A connection's number, from 1, never used twice.
pub(crate) type ConnectionId = u64;
/// A link's number, from 1, never used twice.
pub(crate) type LinkId = u64;
/// Ties an answer to the command that asked.
pub(crate) type Reply = u64;

/// What a connection asks of the hub.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client is there.
    Came { peer: SocketAddr },
    /// It shows who it is, or that it shows nothing. Answered by [`Answer::Admitted`].
    Authenticate {
        claim: Claim,
        /// What it showed in its TLS handshake, whatever it claims now.
        certificate: Option<ClientCertificate>,
        reply: Reply,
    },
    /// It puts a token. Answered by [`Answer::Token`].
    PutToken { request: TokenRequest, reply: Reply },
    /// It wants a link. Answered by [`Answer::Link`].
    OpenLink {
        link: LinkId,
        address: String,
        side: Side,
        terms: Terms,
        reply: Reply,
    },
    /// It sends telemetry over a link that it was granted. Answered by [`Answer::Took`], perhaps later.
    Telemetry {
        sender: Identity,
        deliveries: Vec<Delivery>,
        reply: Reply,
    },
    /// It sends what is to be answered over the other link of a pair, or is such an answer. Answered by
    /// [`Answer::Taken`].
    Request {
        link: LinkId,
        message: Box<Message>,
        reply: Reply,
    },
    /// It sends a message to a device over a link for services. Answered by [`Answer::Took`].
    Send { message: Box<Message>, reply: Reply },
    /// It asks the management node of the event endpoint, with this token. Answered by [`Answer::Taken`].
    Manage { token: Option<Secret>, reply: Reply },
    /// How much it takes over a link that it receives from.
    Credit { link: LinkId, credit: Credit },
    /// What is to become of a delivery that awaited it. Answered by [`Answer::Settled`].
    Settle {
        link: LinkId,
        tag: LockToken,
        outcome: Outcome,
        reply: Reply,
    },
    /// A link that it was granted has ended.
    LinkGone { link: LinkId },
    /// It is gone.
    Gone { why: String },
}

/// What came in one delivery.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are the large one, which would cost each an allocation"
)]
pub(crate) enum Delivery {
    Message(Message),
    Batch(Batch),
}

/// Several messages with one outcome.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// The application properties of the message that they came in.
    pub(crate) properties: Vec<(String, Value)>,
    pub(crate) messages: Vec<Message>,
}

impl Delivery {
    pub(crate) fn messages(&self) -> &[Message] {
        match self {
            Self::Message(message) => std::slice::from_ref(message),
            Self::Batch(batch) => &batch.messages,
        }
    }

    /// The application properties of what came: of a batch, not those of the messages in it.
    pub(crate) fn properties(&self) -> &[(String, Value)] {
        match self {
            Self::Message(message) => &message.application_properties,
            Self::Batch(batch) => &batch.properties,
        }
    }

    pub(crate) fn into_messages(self) -> impl Iterator<Item = Message> {
        let (one, many) = match self {
            Self::Message(message) => (Some(message), Vec::new()),
            Self::Batch(batch) => (None, batch.messages),
        };
        one.into_iter().chain(many)
    }
}

/// What a client shows for itself.
pub(crate) enum Claim {
    /// No SASL at all.
    Nothing,
    /// SASL PLAIN.
    Plain {
        user: String,
        password: Zeroizing<String>,
    },
    /// SASL EXTERNAL: its certificate says it.
    External,
    /// SASL that went wrong before it came to a name.
    Broken(AuthFailure),
}

/// Which end of a link the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

/// On which terms a client wants a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// It takes every delivery for settled as it comes.
    pub(crate) presettled: bool,
    /// What ties it to another link, as the client has it; empty if it has nothing.
    pub(crate) pair: String,
    /// `com.microsoft:model-id`
    pub(crate) model: Option<String>,
    /// The host name by which the client came, as it says.
    pub(crate) dialled: Option<String>,
    /// What of the source it wants.
    pub(crate) filter: Filter,
    /// `com.microsoft:epoch`
    pub(crate) epoch: Option<Value>,
    /// `com.microsoft:enable-receiver-runtime-metric`
    pub(crate) runtime_metric: bool,
}

/// What of a source a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Filter {
    #[default]
    None,
    /// `apache.org:selector-filter:string`
    Selector(String),
    /// The same, and it is no text.
    NoText,
}

/// How many deliveries a client takes over a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    /// How many deliveries had gone out over the link when this was counted.
    pub(crate) seen: u64,
    /// How many more it takes after those.
    pub(crate) granted: u32,
}

/// A message that goes out over a link.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// Its delivery-tag, if it must be a certain one.
    pub(crate) tag: Option<LockToken>,
    /// What the client says of it is to be told to the hub.
    pub(crate) awaits_outcome: bool,
    pub(crate) message: Message,
    /// What goes out in its place if it tells of a change that the disk did not take.
    pub(crate) if_unsaved: Option<Box<Message>>,
}

impl Parcel {
    /// What goes out when the disk did not take what was changed.
    pub(crate) fn unsaved(mut self: Box<Self>) -> Box<Self> {
        if let Some(message) = self.if_unsaved.take() {
            self.message = *message;
        }
        self
    }
}

/// What the hub wants done. In order: what stands before an answer is done before the answer is given.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Give an answer to who waits for it.
    Answer(Reply, Answer),
    /// Hand a delivery to a link.
    Send(LinkId, Box<Parcel>),
    /// Detach a link and say why.
    Detach(LinkId, Refusal),
    /// Detach a link, without an error.
    DetachGently(LinkId),
    /// End the session of a link and say why.
    End(LinkId, Refusal),
    /// Close a connection and say why.
    Close(ConnectionId, Refusal),
    /// End the session of a link, without an error.
    EndGently(LinkId),
    /// Close a connection, without an error.
    CloseGently(ConnectionId),
    /// Break a connection off without a word of AMQP.
    Blow(ConnectionId, Cut),
    /// From now on this is wrong with the connection, and nothing else.
    Impair(ConnectionId, Impairments),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Admitted(Result<(), AuthFailure>),
    Token(Result<(), TokenRefusal>),
    /// To a token that was put: nothing at all.
    Silence,
    Link(Result<Grant, Refusal>),
    /// What of the deliveries was not taken, or that the link must end.
    Took(Result<Verdict, Refusal>),
    Settled(Result<(), Refusal>),
    /// What is answered to it, if anything, is a message.
    Taken(Result<(), Refusal>),
    Method(Result<MethodResponse, MethodError>),
}

/// What the client is told of the deliveries of a command.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// All others were accepted.
    AllBut(Rejected),
    /// Nothing.
    Withheld,
}

/// The deliveries of a command that are rejected, by their place in it, in order.
pub(crate) type Rejected = Vec<(usize, Refusal)>;

impl Answer {
    /// The answer to what changed something, when the disk did not take the change; other answers stay as they are.
    pub(crate) fn unsaved(self, refusal: impl FnOnce() -> Refusal) -> Self {
        match self {
            Self::Took(Ok(_)) => Self::Took(Err(refusal())),
            Self::Settled(Ok(())) => Self::Settled(Err(refusal())),
            other => other,
        }
    }
}

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Telemetry of this device or module.
    Telemetry(Identity),
    /// Cloud-to-device messages for this device or module.
    CloudToDevice(Identity),
    /// What the device asks of its twin.
    TwinRequests(Identity),
    /// What it is answered, and changes of desired properties.
    TwinReplies(Identity),
    /// Method calls.
    MethodCalls(Identity),
    /// What the device answers to them.
    MethodReplies(Identity),
    /// Requests to `$cbs`.
    TokenRequests,
    /// Its answers.
    TokenReplies,
    /// Events of a partition.
    Events(Box<Reader>),
    /// Requests to `$management`.
    ManagementRequests,
    /// Its answers.
    ManagementReplies,
    /// Messages of a service to devices.
    ServiceCommands,
    /// What became of them.
    Feedback,
    /// News of uploaded files, of which there are none.
    FileNotifications,
}

impl Grant {
    /// Whose link it is; `$cbs` is everyone's, and those of services are no device's.
    pub(crate) const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Telemetry(identity)
            | Self::CloudToDevice(identity)
            | Self::TwinRequests(identity)
            | Self::TwinReplies(identity)
            | Self::MethodCalls(identity)
            | Self::MethodReplies(identity) => Some(identity),
            Self::TokenRequests
            | Self::TokenReplies
            | Self::Events(_)
            | Self::ManagementRequests
            | Self::ManagementReplies
            | Self::ServiceCommands
            | Self::Feedback
            | Self::FileNotifications => None,
        }
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::External => f.write_str("External"),
            Self::Plain { user, .. } => f
                .debug_struct("Plain")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Broken(failure) => f.debug_tuple("Broken").field(failure).finish(),
        }
    }
}
