//! What to do about a condition: one pure table.
//!
//! The oracle is what Microsoft's C# SDK does (`AmqpIotErrorAdapter`, `AmqpErrorMapper` and the `IsTransient` of what
//! they give, in azure-iot-sdk-csharp). Where a row differs, its reason stands beside it. "Node" and "Java" are
//! azure-iot-sdk-node (`amqp_common_errors`, `retry_error_filter`) and azure-iot-sdk-java (its `exceptions` packages).

use crate::error::{
    Condition, ConnectError, Interruption, Phase, ProxyFailure, TlsFailure, WebSocketFailure,
};

/// What is to be done after something went wrong.
///
/// # Delivery
/// All but [`GiveUp`](Self::GiveUp) have a client send again what was on its way, so that the hub may get it twice;
/// with that one each message ends with what is known of it.
///
/// # Cancel safety
/// It is advice by a pure table: a client follows it whoever waits, and asking for it starts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// Try the same message or request again on the same link.
    Retry,
    /// The hub has too much to do: try again, on the slower schedule for this case.
    Throttled,
    /// Attach the link anew on the same session.
    Relink,
    /// Begin a new session on the same connection.
    Resession,
    /// Make a new connection.
    Reconnect,
    /// Trying again can't help: tell the application.
    GiveUp,
}

/// What a condition ended or refused.
///
/// # Delivery
/// A condition of [`Send`](Self::Send) is the hub's word on one message, which it has not got. One of the others says
/// nothing of the messages that were on their way.
///
/// # Cancel safety
/// It only names what a condition met: asking the table starts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A message or request: a `rejected` outcome.
    Send,
    /// A link: a detach.
    Link,
    /// A session: an end.
    Session,
    /// The connection: a close, or its refusal.
    Connection,
    /// A token that was put: see [`token_condition`].
    PutToken,
}

/// What to do about `condition`, met in `operation`.
///
/// A condition that no table knows is final for the one message that it rejects, and otherwise answered by a new
/// connection. C# takes every unknown condition as final, Java none: a device that stops for good at a word it does
/// not know needs a person to come to it, and the back-off bounds what trying costs; but a message that is rejected
/// over and over would hold up all those behind it.
///
/// # Examples
/// ```
/// use iothub_amqp::Condition;
/// use iothub_amqp::recovery::{Operation, Recovery, classify};
///
/// let busy = Condition::new("amqp:link:detach-forced", None);
/// assert_eq!(classify(&busy, Operation::Link), Recovery::Relink);
/// let gone = Condition::new("amqp:not-found", None);
/// assert_eq!(classify(&gone, Operation::Link), Recovery::GiveUp);
/// ```
#[must_use]
pub fn classify(condition: &Condition, operation: Operation) -> Recovery {
    let known = TABLE.iter().find(|(name, _)| *name == condition.name);
    let nature = known.map_or(Nature::Unknown, |(_, nature)| *nature);
    match (nature, operation) {
        (Nature::Final, _) | (Nature::Unknown, Operation::Send) => Recovery::GiveUp,
        (Nature::Throttling, _) => Recovery::Throttled,
        (Nature::Unknown | Nature::OfConnection, _) => Recovery::Reconnect,
        // A fault outlives what it is told by only upwards: never less than what has ended is made anew.
        (_, Operation::Connection | Operation::PutToken) => Recovery::Reconnect,
        (_, Operation::Session) | (Nature::OfSession, _) => Recovery::Resession,
        (_, Operation::Link) | (Nature::OfLink, _) => Recovery::Relink,
        (Nature::Passing, Operation::Send) => Recovery::Retry,
    }
}

/// What to do when a connection, session or link ended for this reason.
#[must_use]
pub fn classify_end(why: &Interruption, operation: Operation) -> Recovery {
    match why {
        Interruption::Refused(condition) => classify(condition, operation),
        Interruption::Stopped | Interruption::Stolen | Interruption::TokenExpired => Recovery::GiveUp,
        Interruption::Closed => match operation {
            Operation::Send | Operation::Link => Recovery::Relink,
            Operation::Session => Recovery::Resession,
            Operation::Connection | Operation::PutToken => Recovery::Reconnect,
        },
        Interruption::TimedOut { .. } | Interruption::Lost(_) | Interruption::NoConnection(_) => {
            Recovery::Reconnect
        }
    }
}

/// What to do when a connection could not be made.
///
/// What the network may cure by itself is tried again. A certificate that does not hold is final, as in C#
/// (`TlsAuthenticationError`): to go on asking would make a device hammer whoever stands in the middle.
#[must_use]
pub fn classify_connect(error: &ConnectError) -> Recovery {
    match error {
        ConnectError::RefusedWith { phase, condition } => {
            let operation = match phase {
                Phase::Attach => Operation::Link,
                Phase::Begin => Operation::Session,
                Phase::Token => Operation::PutToken,
                _ => Operation::Connection,
            };
            classify(condition, operation)
        }
        ConnectError::TokenRefused(condition) => classify(condition, Operation::PutToken),
        ConnectError::Credential(error) if error.is_passing() => Recovery::Reconnect,
        ConnectError::Tls { why, .. } => match why {
            TlsFailure::UnknownIssuer
            | TlsFailure::NameMismatch
            | TlsFailure::NotNow
            | TlsFailure::ClientCertificate(_)
            | TlsFailure::BadName => Recovery::GiveUp,
            // A captive portal, a proxy or a restart: seen to pass.
            TlsFailure::NotTls | TlsFailure::Ended(_) | TlsFailure::Other(_) => Recovery::Reconnect,
        },
        // Credentials do not become right by themselves. All else of a proxy may pass: what it can't reach (502 to
        // 504), and a rule (403) that a person takes back without coming to the device.
        ConnectError::Proxy { why, .. } => match why {
            ProxyFailure::Unauthorized => Recovery::GiveUp,
            ProxyFailure::Unreachable(_)
            | ProxyFailure::Refused { .. }
            | ProxyFailure::NotHttp
            | ProxyFailure::Ended(_) => Recovery::Reconnect,
        },
        // As with TLS: who answers with something else than a hub's WebSocket is a captive portal, a proxy or a hub
        // that restarts.
        ConnectError::WebSocket { why, .. } => match why {
            WebSocketFailure::Refused { status: 429 } => Recovery::Throttled,
            WebSocketFailure::Refused { .. }
            | WebSocketFailure::SubProtocol
            | WebSocketFailure::NotWebSocket(_)
            | WebSocketFailure::Ended(_) => Recovery::Reconnect,
        },
        // The code is sys (2) for a wrong key; sys-temp (4) is the one that AMQP 1.0 §5.3.3.6 calls passing.
        ConnectError::Refused { code: 4 } => Recovery::Reconnect,
        // What the network says is transient to C# too (`ErrorDelegatingHandler`: exceptions of I/O, sockets and time). Who breaks
        // the protocol may be a box in between, which goes.
        ConnectError::Resolve { .. }
        | ConnectError::Connect { .. }
        | ConnectError::PeerMisbehaved(_)
        | ConnectError::WrongHeader(_)
        | ConnectError::Lost { .. }
        | ConnectError::TimedOut { .. } => Recovery::Reconnect,
        ConnectError::Ended(why) => classify_end(why, Operation::Connection),
        // Found out before anybody was asked, or said of what was given.
        ConnectError::NoToken
        | ConnectError::BadToken(_)
        | ConnectError::NoHubName(_)
        | ConnectError::ConnectionFull
        | ConnectError::OneDeviceOnly
        | ConnectError::NotADevice(_)
        | ConnectError::NotADevicesConnection
        | ConnectError::NotAServicesConnection
        | ConnectError::BadKey(_)
        | ConnectError::TokenTooLong { .. }
        | ConnectError::NotLoopback(_)
        | ConnectError::BadRoot(_)
        | ConnectError::BadProxy(_)
        | ConnectError::NoCertificate
        | ConnectError::Refused { .. }
        | ConnectError::Credential(_)
        | ConnectError::AnonymousNotOffered
        | ConnectError::PlainNotOffered => Recovery::GiveUp,
    }
}

/// The condition that a put-token's status code stands for.
///
/// As the AMQP library under the C# SDK maps them (400, 401, 404, anything else), but for two: its 403 is a condition
/// that is tried again, while every 403 of a hub that is known lasts (suspended, quota, disabled, 999 tokens a
/// connection); and its 429 is an internal error, while it says throttling.
#[must_use]
pub fn token_condition(status: i32, description: Option<String>) -> Condition {
    let name = match status {
        400 => "amqp:invalid-field",
        401 => UNAUTHORIZED,
        403 => "amqp:resource-limit-exceeded",
        404 => "amqp:not-found",
        429 => "com.microsoft:device-container-throttled",
        _ => "amqp:internal-error",
    };
    Condition::new(name, description)
}

/// Whether another client has come by the same identity: it has the link now, or the connection, which IoT Hub closes with
/// 400027 (`ConnectionForcefullyClosedOnNewConnection`) and the condition of any other forced close.
pub(crate) fn is_theft(condition: &Condition) -> bool {
    const CLOSED: (u32, &str) = (400_027, "ConnectionForcefullyClosedOnNewConnection");
    let text = condition.description.as_deref().unwrap_or_default();
    condition.name == STOLEN || condition.error_code() == Some(CLOSED.0) || text.contains(CLOSED.1)
}

/// The condition of a link that another client took over (AMQP 1.0 §2.8.17).
pub(crate) const STOLEN: &str = "amqp:link:stolen";

/// The condition of a link that is to be had elsewhere (AMQP 1.0 §2.8.17).
pub(crate) const REDIRECT: &str = "amqp:link:redirect";

/// The condition of who is not let in, or not any more.
pub(crate) const UNAUTHORIZED: &str = "amqp:unauthorized-access";

#[derive(Clone, Copy)]
enum Nature {
    /// Lasts.
    Final,
    /// Passes by itself; what ended has to be made anew.
    Passing,
    /// Passes, slowly.
    Throttling,
    /// Passes; the link at least has to be made anew.
    OfLink,
    /// Passes; the session at least has to be made anew.
    OfSession,
    /// Passes; the whole connection has to be made anew.
    OfConnection,
    /// Nobody's table has it.
    Unknown,
}

/// Every condition that an SDK knows. Unmarked rows are C#'s.
const TABLE: [(&str, Nature); 39] = [
    // AMQP 1.0 §2.8.14, amqp-error.
    (UNAUTHORIZED, Nature::Final),
    ("amqp:not-found", Nature::Final),
    ("amqp:not-allowed", Nature::Final),
    ("amqp:not-implemented", Nature::Final),
    ("amqp:decode-error", Nature::Final),
    ("amqp:invalid-field", Nature::Final),
    ("amqp:illegal-state", Nature::Final),
    ("amqp:frame-size-too-small", Nature::Final),
    ("amqp:precondition-failed", Nature::Final),
    ("amqp:resource-deleted", Nature::Final),
    ("amqp:resource-locked", Nature::Passing),
    // The day's quota, a full queue, the 1,000th token of a connection: none passes soon.
    ("amqp:resource-limit-exceeded", Nature::Final),
    ("amqp:internal-error", Nature::Passing),
    // §2.8.15, connection-error. C# retries them; since they speak of the connection, that is what is made anew.
    ("amqp:connection:forced", Nature::OfConnection),
    ("amqp:connection:framing-error", Nature::OfConnection),
    // IoT Hub sends no redirect to a device. C# and Java try the same place again.
    ("amqp:connection:redirect", Nature::OfConnection),
    // §2.8.17, link-error.
    ("amqp:link:detach-forced", Nature::OfLink),
    (REDIRECT, Nature::OfLink),
    // C# and Java go on for ever, two clients of one id taking the link from each other. The caller of this table has
    // to count: three times within a minute is final.
    (STOLEN, Nature::OfLink),
    ("amqp:link:transfer-limit-exceeded", Nature::OfLink),
    ("amqp:link:message-size-exceeded", Nature::Final),
    // §2.8.16, session-error. They speak of the session, so that is what is made anew.
    ("amqp:session:errant-link", Nature::OfSession),
    ("amqp:session:handle-in-use", Nature::OfSession),
    ("amqp:session:unattached-handle", Nature::OfSession),
    ("amqp:session:window-violation", Nature::OfSession),
    // §4.5.8; IoT Hub has no transactions.
    ("amqp:transaction:rollback", Nature::Passing),
    ("amqp:transaction:timeout", Nature::Passing),
    // C# has it final, Java retries: it never comes off the wire, it is Proton's name for a transport that failed.
    ("proton:io", Nature::OfConnection),
    ("com.microsoft:device-container-throttled", Nature::Throttling),
    ("com.microsoft:timeout", Nature::Passing),
    ("com.microsoft:message-lock-lost", Nature::Final),
    ("com.microsoft:iot-hub-suspended", Nature::Final),
    ("com.microsoft:iot-hub-not-found-error", Nature::Final),
    ("com.microsoft:precondition-failed", Nature::Final),
    ("com.microsoft:argument-error", Nature::Final),
    ("com.microsoft:argument-out-of-range", Nature::Final),
    // C# does not know the next two: Node has them, as final.
    ("com.microsoft:device-already-exists", Nature::Final),
    ("com.microsoft:quota-exceeded", Nature::Final),
    // C# does not know it, Java retries: the hub still holds the link of before (409002), and lets go of it.
    ("com.microsoft:link-creation-conflict", Nature::OfLink),
];

#[cfg(test)]
mod tests;
