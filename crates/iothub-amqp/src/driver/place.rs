//! Where the links of a principal are.

use std::fmt;

use iothub_address::{ConsumerGroup, EventHubName, Identity, Node};

use crate::error::{ConnectError, Lost, Phase};
use crate::supervisor::LaneKind;

/// Whose links they are, and with it where.
pub(crate) enum Place {
    Device {
        identity: Identity,
        /// The id of its digital-twin model, if it has one.
        model: Option<String>,
    },
    /// A hub's, as services see it.
    Service,
    /// A hub's event endpoint.
    EventHub {
        name: EventHubName,
        group: ConsumerGroup,
    },
}

impl Place {
    pub(super) fn model(&self) -> Option<&str> {
        match self {
            Self::Device { model, .. } => model.as_deref(),
            Self::Service | Self::EventHub { .. } => None,
        }
    }

    /// The event hub's name, if it is one.
    pub(super) fn entity(&self) -> Option<String> {
        match self {
            Self::EventHub { name, .. } => Some(name.to_string()),
            Self::Device { .. } | Self::Service => None,
        }
    }

    /// The address of a lane's link or links.
    pub(super) fn node(&self, kind: LaneKind) -> Result<Node, ConnectError> {
        Ok(match (self, kind) {
            (Self::Device { identity, .. }, kind) => match kind {
                LaneKind::Telemetry | LaneKind::Inputs => Node::Events(identity.clone()),
                LaneKind::Commands => Node::Commands(identity.clone()),
                LaneKind::Methods => Node::Methods(identity.clone()),
                LaneKind::Twin => Node::Twin(identity.clone()),
                _ => return Err(nowhere()),
            },
            (Self::Service, LaneKind::Telemetry) => Node::ServiceCommands,
            (Self::Service, LaneKind::Feedback) => Node::Feedback,
            (Self::Service, LaneKind::FileNotifications) => Node::FileNotifications,
            (Self::Service, LaneKind::Redirect) => Node::HubEventsManagement,
            (Self::EventHub { name, group }, LaneKind::Partition(partition)) => Node::EventHub {
                name: name.clone(),
                group: group.clone(),
                partition,
            },
            (Self::EventHub { .. }, LaneKind::Management) => Node::Management,
            _ => return Err(nowhere()),
        })
    }
}

/// There is no such lane; nothing of the public interface asks for it.
fn nowhere() -> ConnectError {
    ConnectError::Lost {
        phase: Phase::Attach,
        why: Lost::Protocol,
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { identity, .. } => identity.fmt(f),
            Self::Service => f.write_str("service"),
            Self::EventHub { name, .. } => name.fmt(f),
        }
    }
}
