//! Worlds in which a defect was found once, by their plans: what a seed's plan is changes with what plans there are.

use std::time::Duration;

use iothub_emulator::FaultKind;

use super::plan::{Plan, Shape, Trouble};

/// By what is wrong in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Known {
    /// The hub takes the telemetry links away as often as they come, until the devices begin their sessions anew.
    LinksTaken,
    /// A hub whose answers come late, and a device that goes while its connection is being made, and comes again.
    Gone,
}

impl Known {
    pub(super) fn plan(self) -> Plan {
        let plan = Plan::quiet();
        let fault = Trouble::Fault;
        match self {
            Self::LinksTaken => Plan {
                shape: Shape::Shared(3),
                messages: 10,
                commands: 3,
                calls: 3,
                changes: 3,
                window: 7,
                horizon: Duration::from_secs(300),
                troubles: vec![fault(FaultKind::KillAmqpD2cLink); 3],
                ..plan
            },
            Self::Gone => Plan {
                shape: Shape::Shared(1),
                rounds: 2,
                messages: 10,
                calls: 3,
                batches: true,
                window: 7,
                horizon: Duration::from_secs(300),
                delays: [Duration::ZERO, Duration::from_millis(1_500)],
                troubles: vec![Trouble::Restart(Duration::from_secs(95))],
                ..plan
            },
        }
    }
}
