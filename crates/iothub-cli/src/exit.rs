//! The one table from what went wrong to what the process exits with.

use std::process::ExitCode;

use iothub_amqp::{
    Blown, CloseError, Condition, ConnectError, DispatchError, EventsError, Interruption, Lost, ProxyFailure,
    SendError, SubscribeError, TlsFailure, TwinError,
};
use iothub_registry::{NotSent, RegistryError};

/// What the process exits with. The numbers are a contract: scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Exit {
    /// All that was asked for is done.
    Done = 0,
    /// A full disk, a bug: nothing that the command line explains.
    Unexpected = 1,
    /// A bad flag, a malformed URL or connection string, no credential.
    Usage = 2,
    /// The hub cannot be reached: DNS, a closed port, TLS, a peer that speaks no AMQP.
    Unreachable = 3,
    /// The credentials are refused, or a token does not hold.
    Unauthorised = 4,
    /// The device is not there, where the hub says so.
    NotFound = 5,
    /// Throttled or over quota.
    Throttled = 6,
    /// The peer rejected what was asked.
    Rejected = 7,
    /// The peer fell silent.
    TimedOut = 8,
    /// A part of it was done: some messages were not accepted.
    Partial = 9,
    /// Ctrl-C before the work was done.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word for it in errors that are written as JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Unauthorised => "unauthorised",
            Self::NotFound => "not-found",
            Self::Throttled => "throttled",
            Self::Rejected => "rejected",
            Self::TimedOut => "time-out",
            Self::Partial => "partial",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the same may come to a better end when it is tried again.
    pub(crate) const fn is_retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::Throttled | Self::TimedOut)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<&ConnectError> for Exit {
    fn from(error: &ConnectError) -> Self {
        match error {
            // Nothing was contacted: what was given cannot work.
            ConnectError::NoToken
            | ConnectError::BadToken(_)
            | ConnectError::NoHubName(_)
            | ConnectError::NotADevice(_)
            | ConnectError::TokenTooLong { .. }
            | ConnectError::NotLoopback(_)
            | ConnectError::BadRoot(_)
            | ConnectError::NotADevicesConnection
            | ConnectError::BadKey(_)
            | ConnectError::BadProxy(_)
            | ConnectError::NoCertificate => Self::Usage,
            ConnectError::Resolve { .. }
            | ConnectError::Connect { .. }
            | ConnectError::PlainNotOffered
            | ConnectError::AnonymousNotOffered
            | ConnectError::WrongHeader(_)
            | ConnectError::PeerMisbehaved(_) => Self::Unreachable,
            ConnectError::Refused { .. }
            | ConnectError::Tls {
                why: TlsFailure::ClientCertificate(_),
                ..
            }
            | ConnectError::Proxy {
                why: ProxyFailure::Unauthorized,
                ..
            } => Self::Unauthorised,
            ConnectError::Tls { .. } | ConnectError::Proxy { .. } | ConnectError::WebSocket { .. } => {
                Self::Unreachable
            }
            ConnectError::RefusedWith { condition, .. } | ConnectError::TokenRefused(condition) => {
                condition.into()
            }
            ConnectError::Lost { why, .. } => (*why).into(),
            ConnectError::Ended(why) => why.into(),
            ConnectError::TimedOut { .. } => Self::TimedOut,
            _ => Self::Unexpected,
        }
    }
}

impl From<&SendError> for Exit {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::Rejected(condition) => condition.into(),
            SendError::Released | SendError::TooLarge { .. } => Self::Rejected,
            SendError::NotSent(why) | SendError::Unknown(why) => why.into(),
            _ => Self::Unexpected,
        }
    }
}

impl From<&EventsError> for Exit {
    fn from(error: &EventsError) -> Self {
        match error {
            EventsError::Connect(error) => error.into(),
            EventsError::NoRedirect(why)
            | EventsError::NotAnswered(why)
            | EventsError::Stolen { why, .. }
            | EventsError::Ended { why, .. } => why.into(),
            EventsError::BadRedirect(_) | EventsError::BadAnswer(_) => Self::Unreachable,
            EventsError::Management { status, .. } => match status {
                401 | 403 => Self::Unauthorised,
                404 => Self::NotFound,
                429 => Self::Throttled,
                _ => Self::Rejected,
            },
            EventsError::NoSuchPartition(_) => Self::Usage,
            _ => Self::Unexpected,
        }
    }
}

impl From<&DispatchError> for Exit {
    fn from(error: &DispatchError) -> Self {
        match error {
            DispatchError::NotFound(_) => Self::NotFound,
            DispatchError::QueueFull(_) => Self::Throttled,
            DispatchError::NoRights(_) => Self::Unauthorised,
            DispatchError::Rejected(condition) => condition.into(),
            DispatchError::TooLarge { .. } | DispatchError::Released => Self::Rejected,
            DispatchError::NotSent(why) | DispatchError::Unknown(why) => why.into(),
            _ => Self::Unexpected,
        }
    }
}

impl From<&CloseError> for Exit {
    fn from(error: &CloseError) -> Self {
        match error {
            CloseError::TimedOut { .. } => Self::TimedOut,
            CloseError::Ended(why) => why.into(),
            _ => Self::Unexpected,
        }
    }
}

impl From<&SubscribeError> for Exit {
    fn from(error: &SubscribeError) -> Self {
        match error {
            SubscribeError::Ended(why) => why.into(),
            _ => Self::Unexpected,
        }
    }
}

impl From<&TwinError> for Exit {
    fn from(error: &TwinError) -> Self {
        match error {
            TwinError::Refused { status, .. } => match status {
                401 | 403 => Self::Unauthorised,
                404 => Self::NotFound,
                408 | 504 => Self::TimedOut,
                429 => Self::Throttled,
                _ => Self::Rejected,
            },
            TwinError::NotAnswered(why) | TwinError::Unknown(why) => why.into(),
            TwinError::TooLarge { .. } => Self::Rejected,
            TwinError::NotAnObject => Self::Usage,
            _ => Self::Unexpected,
        }
    }
}

impl From<&RegistryError> for Exit {
    fn from(error: &RegistryError) -> Self {
        match error {
            RegistryError::Refused(refusal) => match (refusal.status, refusal.code.number()) {
                (401, _) => Self::Unauthorised,
                // Quotas: messages, jobs, what waits for a device.
                (403, Some(403_002..=403_004)) | (429, _) => Self::Throttled,
                (403, _) => Self::Unauthorised,
                (404, _) => Self::NotFound,
                (408 | 504, _) => Self::TimedOut,
                _ => Self::Rejected,
            },
            RegistryError::Credential(_) => Self::Unauthorised,
            RegistryError::NotSent(NotSent::ProxyUnauthorized { .. }) => Self::Unauthorised,
            RegistryError::NotSent(NotSent::TimedOut { .. })
            | RegistryError::Unknown(iothub_registry::Interruption::TimedOut { .. }) => Self::TimedOut,
            RegistryError::NotSent(_) | RegistryError::Unknown(_) | RegistryError::BadReply(_) => {
                Self::Unreachable
            }
            RegistryError::Unfit(_) => Self::Usage,
            _ => Self::Unexpected,
        }
    }
}

impl From<&Interruption> for Exit {
    fn from(why: &Interruption) -> Self {
        match why {
            Interruption::TimedOut { .. } => Self::TimedOut,
            Interruption::Refused(condition) => condition.into(),
            Interruption::Closed => Self::Unreachable,
            Interruption::Lost(why) => (*why).into(),
            Interruption::TokenExpired => Self::Unauthorised,
            _ => Self::Unexpected,
        }
    }
}

impl From<Lost> for Exit {
    fn from(why: Lost) -> Self {
        match why {
            Lost::Idle | Lost::Stream(Blown::Stalled) => Self::TimedOut,
            _ => Self::Unreachable,
        }
    }
}

/// By AMQP's own conditions (§2.8.15 to §2.8.18) and the hub's, as Azure's SDKs know them.
impl From<&Condition> for Exit {
    fn from(condition: &Condition) -> Self {
        match condition.name.as_str() {
            "amqp:unauthorized-access" => Self::Unauthorised,
            "amqp:not-found" => Self::NotFound,
            "amqp:resource-limit-exceeded"
            | "com.microsoft:device-container-throttled"
            | "com.microsoft:quota-exceeded" => Self::Throttled,
            "com.microsoft:timeout" => Self::TimedOut,
            _ => Self::Rejected,
        }
    }
}

#[cfg(test)]
mod tests;
