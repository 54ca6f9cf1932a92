//! The engine's errors, as facts of ours.

use fe2o3_amqp::connection::ConnectionStopReason;
use fe2o3_amqp::link::{DetachError, LinkStateError, SessionStopReason};
use fe2o3_amqp_types::definitions::{self, ErrorCondition};
use fe2o3_amqp_types::primitives::Symbol;
use iothub_frame::Fuse;

use crate::error::{Condition, Interruption, Lost};

/// The symbol and text of an AMQP error.
pub(super) fn condition(error: definitions::Error) -> Condition {
    let name: Symbol = match &error.condition {
        ErrorCondition::AmqpError(condition) => condition.into(),
        ErrorCondition::ConnectionError(condition) => condition.into(),
        ErrorCondition::SessionError(condition) => condition.into(),
        ErrorCondition::LinkError(condition) => condition.into(),
        ErrorCondition::Custom(symbol) => symbol.clone(),
    };
    Condition::new(name.as_str(), error.description)
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
        Some(_) => lost(fuse),
    }
}

pub(super) fn lost(fuse: &Fuse) -> Interruption {
    Interruption::Lost(fuse.why().map_or(Lost::Protocol, Lost::Stream))
}

pub(super) fn link_state(error: LinkStateError, fuse: &Fuse) -> Interruption {
    match error {
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
            Interruption::Refused(condition(error))
        }
        LinkStateError::RemoteDetached | LinkStateError::RemoteClosed => Interruption::Closed,
        LinkStateError::SessionStopped(reason) => session_stopped(reason, fuse),
        LinkStateError::IllegalState | LinkStateError::ExpectImmediateDetach => lost(fuse),
    }
}

pub(super) fn detached(error: DetachError, fuse: &Fuse) -> Interruption {
    match error {
        DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error) => {
            Interruption::Refused(condition(error))
        }
        DetachError::SessionStopped(reason) => session_stopped(reason, fuse),
        DetachError::IllegalState => lost(fuse),
        _ => Interruption::Closed,
    }
}

pub(super) fn session_stopped(reason: SessionStopReason, fuse: &Fuse) -> Interruption {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => Interruption::Refused(condition(error)),
        SessionStopReason::RemoteEnded => Interruption::Closed,
        SessionStopReason::ConnectionStopped(reason) => connection_stopped(reason, fuse),
        SessionStopReason::Ended | SessionStopReason::EndedWithError(_) => lost(fuse),
    }
}

pub(super) fn connection_stopped(reason: ConnectionStopReason, fuse: &Fuse) -> Interruption {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error) => Interruption::Refused(condition(error)),
        ConnectionStopReason::RemoteClosed => Interruption::Closed,
        ConnectionStopReason::Closed | ConnectionStopReason::ClosedWithError(_) => lost(fuse),
    }
}
