//! The engine's errors, as facts of ours.

use fe2o3_amqp::connection::ConnectionStopReason;
use fe2o3_amqp::link::{
    DetachError, IllegalLinkStateError, LinkStateError, ReceiverAttachError, RecvError, SendError,
    SenderAttachError, SessionStopReason,
};
use fe2o3_amqp_types::definitions::{self, ErrorCondition};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use iothub_frame::Fuse;

use crate::error::{Condition, Interruption, Lost};
use crate::recovery::Operation;

/// Why something ended, and what the reason speaks of: a link tells of the end of its session and connection too.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) why: Interruption,
    pub(crate) of: Operation,
}

/// The symbol and text of an AMQP error.
pub(super) fn condition(error: definitions::Error) -> Condition {
    let name: Symbol = match &error.condition {
        ErrorCondition::AmqpError(condition) => condition.into(),
        ErrorCondition::ConnectionError(condition) => condition.into(),
        ErrorCondition::SessionError(condition) => condition.into(),
        ErrorCondition::LinkError(condition) => condition.into(),
        ErrorCondition::Custom(symbol) => symbol.clone(),
    };
    let address = error.info.as_ref().and_then(|info| info.get("address"));
    Condition {
        redirect: match address {
            Some(Value::String(address)) => Some(address.clone()),
            _ => None,
        },
        ..Condition::new(name.as_str(), error.description)
    }
}

/// Why the connection ended. The engine flattens what the stream knows, so the fuse has the first word.
pub(super) fn connection_ended(error: Option<fe2o3_amqp::connection::Error>, fuse: &Fuse) -> Interruption {
    use fe2o3_amqp::connection::Error;
    match error {
        Some(Error::RemoteClosedWithError(error)) => Interruption::Refused(condition(error)),
        Some(Error::RemoteClosed) | None => Interruption::Closed,
        Some(Error::TransportError(fe2o3_amqp::transport::Error::IdleTimeoutElapsed)) => {
            Interruption::Lost(Lost::Idle)
        }
        Some(_) => lost(fuse).why,
    }
}

pub(super) fn lost(fuse: &Fuse) -> End {
    let why = Interruption::Lost(fuse.why().map_or(Lost::Protocol, Lost::Stream));
    let of = Operation::Connection;
    End { why, of }
}

pub(super) fn link_state(error: LinkStateError, fuse: &Fuse) -> End {
    match error {
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
            refused(error, Operation::Link)
        }
        LinkStateError::RemoteDetached | LinkStateError::RemoteClosed => closed(Operation::Link),
        LinkStateError::SessionStopped(reason) => session_stopped(reason, fuse),
        LinkStateError::IllegalState | LinkStateError::ExpectImmediateDetach => lost(fuse),
    }
}

pub(super) fn detached(error: DetachError, fuse: &Fuse) -> End {
    match error {
        DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error) => {
            refused(error, Operation::Link)
        }
        DetachError::SessionStopped(reason) => session_stopped(reason, fuse),
        DetachError::IllegalState => lost(fuse),
        _ => closed(Operation::Link),
    }
}

pub(super) fn session_stopped(reason: SessionStopReason, fuse: &Fuse) -> End {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => refused(error, Operation::Session),
        SessionStopReason::RemoteEnded => closed(Operation::Session),
        SessionStopReason::ConnectionStopped(reason) => connection_stopped(reason, fuse),
        // The engine ends a session for what crosses the detach of a link; the connection is none the worse for it.
        SessionStopReason::Ended | SessionStopReason::EndedWithError(_) if fuse.why().is_none() => {
            closed(Operation::Session)
        }
        SessionStopReason::Ended | SessionStopReason::EndedWithError(_) => lost(fuse),
    }
}

pub(super) fn connection_stopped(reason: ConnectionStopReason, fuse: &Fuse) -> End {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error) => refused(error, Operation::Connection),
        ConnectionStopReason::RemoteClosed => closed(Operation::Connection),
        ConnectionStopReason::Closed | ConnectionStopReason::ClosedWithError(_) => lost(fuse),
    }
}

pub(super) fn sender_not_attached(error: SenderAttachError, fuse: &Fuse) -> End {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => refused(error, Operation::Link),
        SenderAttachError::SessionStopped(reason) => session_stopped(reason, fuse),
        SenderAttachError::IncomingTargetIsNone | SenderAttachError::ExpectImmediateDetach => {
            closed(Operation::Link)
        }
        _ => unattached(fuse),
    }
}

pub(super) fn receiver_not_attached(error: ReceiverAttachError, fuse: &Fuse) -> End {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => refused(error, Operation::Link),
        ReceiverAttachError::SessionStopped(reason) => session_stopped(reason, fuse),
        ReceiverAttachError::IncomingSourceIsNone | ReceiverAttachError::ExpectImmediateDetach => {
            closed(Operation::Link)
        }
        _ => unattached(fuse),
    }
}

/// The engine does not say what has ended with it.
fn unattached(fuse: &Fuse) -> End {
    End {
        of: Operation::Link,
        ..lost(fuse)
    }
}

/// Why nothing can be received any more.
pub(super) fn receiving(error: RecvError, fuse: &Fuse) -> End {
    match error {
        RecvError::LinkStateError(error) => link_state(error, fuse),
        // The peer broke the link's rules, and the engine is done with it.
        _ if fuse.why().is_none() => broken(),
        _ => lost(fuse),
    }
}

/// Why nothing can be sent any more.
pub(super) fn sending(error: SendError, fuse: &Fuse) -> End {
    match error {
        SendError::LinkStateError(error) => link_state(error, fuse),
        SendError::Detached(error) => detached(error, fuse),
        _ if fuse.why().is_none() => broken(),
        _ => lost(fuse),
    }
}

/// What a flow or a disposition could not be said to. Which of link and session has ended is told by receiving.
pub(super) fn not_said(error: IllegalLinkStateError, fuse: &Fuse) -> End {
    match error {
        IllegalLinkStateError::SessionStopped(reason) => session_stopped(reason, fuse),
        _ => closed(Operation::Link),
    }
}

/// The peer broke the rules of a link, and only of that.
fn broken() -> End {
    let why = Interruption::Lost(Lost::Protocol);
    let of = Operation::Link;
    End { why, of }
}

fn refused(error: definitions::Error, of: Operation) -> End {
    let why = Interruption::Refused(condition(error));
    End { why, of }
}

fn closed(of: Operation) -> End {
    let why = Interruption::Closed;
    End { why, of }
}

#[cfg(test)]
mod tests {
    use iothub_frame::{Blown, Guarded, Limits};

    use super::*;

    /// It does so for a transfer that crosses the detach of its link (`unattached-handle`).
    #[tokio::test]
    async fn a_session_that_the_engine_ends_by_itself_is_the_session_s_matter_while_the_connection_lives() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let (_stream, fuse) = Guarded::new(ours, Limits::default());
        let alive = session_stopped(SessionStopReason::Ended, &fuse);
        assert_eq!((alive.why, alive.of), (Interruption::Closed, Operation::Session));
        fuse.blow(Blown::PeerClosed);
        let gone = session_stopped(SessionStopReason::Ended, &fuse);
        assert_eq!(gone.of, Operation::Connection);
    }
}
