//! What can go wrong, one enum an operation.

mod condition;
mod dispatch;
mod events;
mod feature;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use condition::Condition;
pub use dispatch::{DispatchError, ReportError};
pub use events::EventsError;
pub use feature::{SettleError, SubscribeError, TwinError};

use iothub_frame::{Blown, Violation};
use iothub_sas::{KeyError, TokenError};

use self::condition::OneLine;
use crate::ProxyError;
use crate::credential::CredentialError;

/// A step of a connection's life, as errors and logs name it.
///
/// # Delivery
/// It says what time ran out in, and [`SendError`] what came of it: up to [`Credit`](Self::Credit) a message had not
/// left; while it was to [`Settle`](Self::Settle), the hub may have it.
///
/// # Cancel safety
/// A future may be dropped in any of them. An attempt to connect ends with its own; a connection that is there goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking the host's addresses up.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// Asking an HTTP proxy for a tunnel.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// Upgrading to a WebSocket.
    WebSocket,
    /// The protocol headers, SASL, and AMQP's open.
    Open,
    /// Asking the credential for a token.
    Credential,
    /// Waiting for the answer to a token that was put to the `$cbs` node.
    Token,
    /// Beginning the session.
    Begin,
    /// Attaching the link.
    Attach,
    /// Waiting for the link's credit.
    Credit,
    /// Waiting for the outcome of a message that was handed over.
    Settle,
    /// Waiting for the first time that what comes in on a link can be heard.
    Subscribe,
    /// Waiting for the answer to a request.
    Answer,
    /// Detaching, ending and closing.
    Close,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the host's addresses",
            Self::Connect => "opening the TCP connection",
            Self::Proxy => "asking the proxy for a tunnel",
            Self::Tls => "the TLS handshake",
            Self::WebSocket => "upgrading to a WebSocket",
            Self::Open => "opening the AMQP connection",
            Self::Credential => "asking the credential for a token",
            Self::Token => "putting the token",
            Self::Begin => "beginning the session",
            Self::Attach => "attaching the link",
            Self::Credit => "waiting for credit to send",
            Self::Settle => "waiting for the message's outcome",
            Self::Subscribe => "subscribing",
            Self::Answer => "waiting for the answer",
            Self::Close => "closing",
        })
    }
}

/// Why a connection could not be made.
///
/// # Delivery
/// No message was sent: there was no client yet to send one.
///
/// # Cancel safety
/// The attempt that ended so has left neither a connection nor a task; and a future that is dropped before it could
/// tell leaves none either.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL holds no token. Sign one, or take an address that has one.
    #[error("the address holds no token")]
    NoToken,
    /// The URL's password is no token.
    #[error("the address's password is not a token")]
    BadToken(#[source] TokenError),
    /// The host is an IP address, which does not tell the hub's name. Say it with
    /// [`DeviceClientBuilder::hub`](crate::DeviceClientBuilder::hub).
    #[error("the hub's name does not follow from the host {0}")]
    NoHubName(String),
    /// The connection string is not one of a device or module with its key or token.
    #[error("the connection string is not one of a device or module with a key or a token")]
    NotADevicesConnection,
    /// The connection string is not one of a service, with a policy and its key or token, or of an event hub
    /// (`Endpoint=sb://…`) with its `EntityPath`.
    #[error(
        "the connection string is not one of a service, or of an event hub, with a policy and its key or token"
    )]
    NotAServicesConnection,
    /// The connection string's key is no base64 of a key.
    #[error("the connection string's key can't be read")]
    BadKey(#[source] KeyError),
    /// The URL names something that a device does not send to.
    #[error("the address is not a device's or module's own: {0}")]
    NotADevice(String),
    /// The user and the token make a SASL frame of more than 512 bytes, which AMQP forbids (§5.3.1). Long ids, escaped
    /// in the token, come to that. Such a device signs in by claims-based security (CBS) in place of SASL PLAIN.
    #[error(
        "user and token make a SASL frame of {size} bytes, over AMQP's limit of {limit}: too long for SASL PLAIN, use CBS"
    )]
    TokenTooLong {
        /// The frame's size, in bytes.
        size: usize,
        /// AMQP's limit, in bytes.
        limit: usize,
    },
    /// Plain TCP was asked for towards a host that is not this machine. Use TLS.
    #[error("plain TCP is for this machine only, and {0} is not")]
    NotLoopback(String),
    /// A root certificate that was added is not one.
    #[error("a root certificate can't be read: {0}")]
    BadRoot(String),
    /// The connection has as many devices as a hub takes on one, 999, or the peer allows fewer sessions. Take another connection, or a
    /// [`Pool`](crate::Pool).
    #[error("the connection takes no more devices: it has 999, or as many sessions as the peer allows")]
    ConnectionFull,
    /// A connection of many devices is signed in by claims-based security, and this device is not.
    #[error("a device that signs in by SASL PLAIN or a certificate needs a connection of its own")]
    OneDeviceOnly,
    /// The host has no address. Check its name and the network.
    #[error("can't resolve {host}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// No address of the host took the TCP connection: nobody listens there, or a firewall is between.
    #[error("can't connect to {endpoint}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// What the last address said.
        source: Arc<io::Error>,
    },
    /// The TLS handshake failed.
    #[error("TLS with {endpoint} failed: {why}")]
    Tls {
        /// Host and port.
        endpoint: String,
        /// What is wrong.
        why: TlsFailure,
    },
    /// The environment's proxy can't be used: see [`Proxies::from_environment`](crate::Proxies::from_environment).
    #[error("the proxy of the environment can't be used")]
    BadProxy(#[source] ProxyError),
    /// The HTTP proxy opened no tunnel.
    #[error("the proxy {proxy} opened no tunnel: {why}")]
    Proxy {
        /// The proxy, without its credentials.
        proxy: String,
        /// What it said.
        why: ProxyFailure,
    },
    /// The server did not upgrade the connection to a WebSocket of IoT Hub's.
    #[error("no WebSocket with {endpoint}: {why}")]
    WebSocket {
        /// Host and port.
        endpoint: String,
        /// What it said.
        why: WebSocketFailure,
    },
    /// A device that signs in by a certificate was given none. Say it with
    /// [`DeviceClientBuilder::certificate`](crate::DeviceClientBuilder::certificate).
    #[error("the device signs in by a certificate, and there is none")]
    NoCertificate,
    /// The hub refused user and token. It tells a wrong key, an expired token and an unknown device alike.
    #[error("the hub refused the credentials (SASL outcome {code})")]
    Refused {
        /// The code of the SASL outcome; IoT Hub says 2 (sys).
        code: u8,
    },
    /// The peer offers no SASL PLAIN.
    #[error("the peer does not offer SASL PLAIN")]
    PlainNotOffered,
    /// The peer offers no SASL ANONYMOUS, which comes before claims-based security.
    #[error("the peer does not offer SASL ANONYMOUS")]
    AnonymousNotOffered,
    /// The hub refused the token that was put to its `$cbs` node. Its status code stands in the description.
    #[error("the hub refused the token: {0}")]
    TokenRefused(Condition),
    /// It ended before it was connected: the connection that it was to share was closed, its one token has had its time, or
    /// another client has its identity.
    #[error("ended before it was connected: {0}")]
    Ended(Interruption),
    /// The credential gave no token.
    #[error("the credential gave no token")]
    Credential(#[source] CredentialError),
    /// The peer speaks AMQP, but not version 1.0 with SASL.
    #[error("the peer speaks another AMQP: it answered with the header {0:02x?}")]
    WrongHeader(Vec<u8>),
    /// The peer sent what no sound AMQP peer sends, or it speaks another protocol.
    #[error("{0}")]
    PeerMisbehaved(Violation),
    /// The peer closed the connection, the session or the link, and said why.
    #[error("the peer refused {phase}: {condition}")]
    RefusedWith {
        /// What was going on.
        phase: Phase,
        /// The peer's reason.
        condition: Condition,
    },
    /// The connection was lost.
    #[error("the connection was lost while {phase}: {why}")]
    Lost {
        /// What was going on.
        phase: Phase,
        /// What is known of it.
        why: Lost,
    },
    /// The peer did not answer in time.
    #[error("no answer within {} while {phase}", seconds(.after))]
    TimedOut {
        /// What was going on.
        phase: Phase,
        /// How long it was waited for.
        after: Duration,
    },
}

impl ConnectError {
    /// All that is known is that this side has given up on the connection.
    pub(crate) fn is_unexplained(&self) -> bool {
        matches!(
            self,
            Self::Lost {
                why: Lost::Protocol | Lost::Stream(Blown::Stopped),
                ..
            }
        )
    }

    /// What an end in the middle of connecting comes to.
    pub(crate) fn interrupted(phase: Phase, why: Interruption) -> Self {
        match why {
            Interruption::Refused(condition) => Self::RefusedWith { phase, condition },
            Interruption::Lost(Lost::Stream(Blown::Misbehaved(violation))) => Self::PeerMisbehaved(violation),
            Interruption::Lost(why) => Self::Lost { phase, why },
            Interruption::TimedOut { phase, after } => Self::TimedOut { phase, after },
            Interruption::Closed | Interruption::NoConnection(_) => Self::Lost {
                phase,
                why: Lost::Stream(Blown::PeerClosed),
            },
            why @ (Interruption::Stopped | Interruption::Stolen | Interruption::TokenExpired) => {
                Self::Ended(why)
            }
        }
    }
}

/// What is wrong with the TLS handshake.
///
/// # Delivery
/// No message was sent: none leaves before the hub has let the client in, and where TLS 1.3 refuses a certificate late,
/// that is before.
///
/// # Cancel safety
/// The stream ended with the attempt; the next attempt begins with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The certificate's issuer is not among the trusted roots. For a private CA, add its certificate.
    UnknownIssuer,
    /// The certificate is for other names.
    NameMismatch,
    /// The certificate is not valid at this time: it has expired, or the clock is wrong.
    NotNow,
    /// The server refuses the client's certificate, or asks for one that was not given. In TLS 1.3 it says so only
    /// after the client's side of the handshake is over. The text is TLS's own word.
    ClientCertificate(String),
    /// The peer speaks no TLS on this port.
    NotTls,
    /// The peer ended the connection, with the reason if there is one.
    Ended(String),
    /// The host is no name that a certificate could hold.
    BadName,
    /// Something else, in the TLS library's words.
    Other(String),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str("the server's certificate was issued by an unknown CA"),
            Self::NameMismatch => f.write_str("the server's certificate is for another name"),
            Self::NotNow => f.write_str("the server's certificate is not valid now"),
            Self::ClientCertificate(alert) => {
                write!(f, "the server refused the client's certificate ({alert})")
            }
            Self::NotTls => f.write_str("the server speaks no TLS on this port"),
            Self::Ended(reason) => write!(f, "the server ended the connection ({reason})"),
            Self::BadName => f.write_str("the host is not a valid server name"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Why an HTTP proxy opened no tunnel.
///
/// # Delivery
/// The hub was not reached, and nothing was sent to it.
///
/// # Cancel safety
/// The stream to the proxy ended with the attempt, and nothing goes to the hub past the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// It has no address or takes no connection, for this reason. Check its host and port.
    Unreachable(String),
    /// It asks for credentials, or for others (status 407).
    Unauthorized,
    /// It refused: with 403 it forbids this host or port, with 502 to 504 it does not reach the host.
    Refused {
        /// HTTP's status code.
        status: u16,
    },
    /// It answered, but not as an HTTP proxy does. Check its host and port.
    NotHttp,
    /// It ended the connection, for this reason.
    Ended(String),
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "it can't be reached ({reason})"),
            Self::Unauthorized => f.write_str("it asks for other credentials (status 407)"),
            Self::Refused { status } => write!(f, "it answered with the status {status}"),
            Self::NotHttp => f.write_str("it does not answer as an HTTP proxy does"),
            Self::Ended(reason) => write!(f, "it ended the connection ({reason})"),
        }
    }
}

/// Why there is no WebSocket.
///
/// # Delivery
/// AMQP had not begun: nothing was sent.
///
/// # Cancel safety
/// The stream ended with the attempt. An answer that does not come ends in [`ConnectError::TimedOut`] and not here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketFailure {
    /// The server answered with another status than 101.
    Refused {
        /// HTTP's status code.
        status: u16,
    },
    /// The server does not confirm IoT Hub's sub-protocol, `AMQPWSB10`: it is another kind of server.
    SubProtocol,
    /// The server's answer is no WebSocket's, in the library's words.
    NotWebSocket(String),
    /// The server ended the connection, for this reason.
    Ended(String),
}

impl fmt::Display for WebSocketFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status } => write!(f, "the server answered with the status {status}"),
            Self::SubProtocol => f.write_str("the server does not confirm the sub-protocol AMQPWSB10"),
            Self::NotWebSocket(why) => {
                write!(f, "the server's answer is no WebSocket's: {}", OneLine(why))
            }
            Self::Ended(reason) => write!(f, "the server ended the connection ({reason})"),
        }
    }
}

/// What is known of a connection that was lost.
///
/// # Delivery
/// What had been handed over may have arrived or not. A client that recovers sends it again; otherwise it is
/// [`SendError::Unknown`].
///
/// # Cancel safety
/// It is told of a connection that is gone, and holds nothing of it: keeping or dropping it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// The stream ended for this reason.
    Stream(Blown),
    /// The peer sent nothing, not even a heartbeat, for the idle timeout.
    Idle,
    /// The engine gave up on a frame that the peer sent out of turn.
    Protocol,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(why) => why.fmt(f),
            Self::Idle => f.write_str("the peer fell silent"),
            Self::Protocol => f.write_str("the peer sent a frame out of turn"),
        }
    }
}

/// That the hub has the message.
///
/// # Delivery
/// The hub has the message: once, or more often where it was sent again after a loss, which
/// [`Statistics::resent`](crate::Statistics::resent) counts.
///
/// # Cancel safety
/// It is news and no receipt that would be needed: a message may be accepted though the future that was to give this
/// was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {}

/// Why a message is not known to be accepted.
///
/// # Delivery
/// With [`Unknown`](Self::Unknown) the hub may have the message. With all others it certainly has not; it may be sent again
/// without fear of a duplicate, if that is of any use.
///
/// # Cancel safety
/// Who drops the future that waits for it is told nothing. A message that can be taken back then is; one that can't
/// goes its way like any other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The hub refused the message for good; the same message would be refused again.
    #[error("the hub rejected the message: {0}")]
    Rejected(Condition),
    /// The hub gave the message back untouched: it may be sent again.
    #[error("the hub released the message")]
    Released,
    /// The message is larger than the link takes; it never left.
    #[error("the message has {size} bytes, the link takes {limit}")]
    TooLarge {
        /// The encoded message's size, in bytes.
        size: u64,
        /// The link's limit, in bytes.
        limit: u64,
    },
    /// The message never left this machine, or the hub gave it back: it may be sent again without fear of a duplicate.
    #[error("the message was not sent: {0}")]
    NotSent(Interruption),
    /// The message was handed over and its outcome is not known: the hub may have it. Sending it again may make a
    /// duplicate.
    #[error("the message's outcome is unknown: {0}")]
    Unknown(Interruption),
}

/// What came between a message and its outcome.
///
/// # Delivery
/// It says what came between, and not where the message was by then: that says the error which holds it, such as
/// [`SendError::NotSent`] and [`SendError::Unknown`].
///
/// # Cancel safety
/// It is news and no command: the client goes on, or has ended, as its [status](crate::Status) says, whether this is
/// kept or dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interruption {
    /// The deadline passed.
    TimedOut {
        /// What was going on.
        phase: Phase,
        /// How long it was waited for.
        after: Duration,
    },
    /// The peer closed the link, the session or the connection, and said why.
    Refused(Condition),
    /// The peer closed the link, the session or the connection without a reason.
    Closed,
    /// The connection was lost.
    Lost(Lost),
    /// This client was closed.
    Stopped,
    /// No connection could be made; the text says why.
    NoConnection(String),
    /// Another client took the link three times within a minute: two clients use the same identity. Stop one of them.
    Stolen,
    /// The one token that there is has come to its end, which
    /// [`DeviceClient::token_expires_at`](crate::DeviceClient::token_expires_at) told before. Make a client with a new
    /// one, or give it a [`Credential`](crate::Credential) that renews.
    TokenExpired,
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { phase, after } => write!(f, "no answer within {} while {phase}", seconds(after)),
            Self::Refused(condition) => condition.fmt(f),
            Self::Closed => f.write_str("the peer closed the link"),
            Self::Lost(why) => why.fmt(f),
            Self::Stopped => f.write_str("the client was closed"),
            Self::NoConnection(why) => f.write_str(why),
            Self::Stolen => f.write_str("another client with the same identity keeps taking the link"),
            Self::TokenExpired => f.write_str("the token has come to its end, and there is no other"),
        }
    }
}

/// That a message was not queued: the queue holds as much as it may.
///
/// # Delivery
/// The message was not queued, the hub does not get it, and it is gone with the call: keep a clone to try again.
///
/// # Cancel safety
/// It comes at once, since [`DeviceClient::enqueue`](crate::DeviceClient::enqueue) waits for nothing; what had been
/// queued before stays so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The queue holds as many messages or bytes as it may. Wait for outcomes, then try again.
    #[error("the queue is full")]
    QueueFull,
    /// The client has ended.
    #[error("the client has ended: {0}")]
    Ended(Interruption),
}

/// Why a connection did not end cleanly. It has ended all the same.
///
/// # Delivery
/// It is about the farewell alone: each message has had an outcome of its own by then.
///
/// # Cancel safety
/// The connection is gone with this error too, and it goes all the same if the future that was to give it is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The peer did not answer in time.
    #[error("no answer within {} while closing", seconds(.after))]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection was gone already.
    #[error("the connection had ended before: {0}")]
    Ended(Interruption),
}

/// A duration as people read it: whole seconds, or a fraction.
fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
