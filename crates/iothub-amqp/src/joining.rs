//! How a connection's owner is started, and how a device comes to it.

use std::sync::Arc;
use std::time::Duration;

use iothub_address::{Identity, Resource};
use tokio::sync::{mpsc, oneshot, watch};

use crate::device::{Counters, Parts, Shared};
use crate::driver::command::Command;
use crate::driver::connection::Plan;
use crate::driver::member::{Ended, Joining};
use crate::driver::owner::{self, run};
use crate::driver::place::Place;
use crate::error::{ConnectError, Interruption, Lost, Phase};
use crate::supervisor::{Principal, Settings, SlotId, SlotSettings, Supervisor};
use crate::{Batching, Credential, DeviceClient, Statistics, Status};

/// Starts the task that owns a connection.
pub(crate) fn start(settings: Settings, plan: Plan) -> (mpsc::UnboundedSender<Command>, Arc<Counters>) {
    let (commands_in, commands) = mpsc::unbounded_channel();
    tokio::spawn(run(owner::Parts {
        supervisor: Supervisor::new(settings, tokio::time::Instant::now().into_std()),
        plan: Arc::new(plan),
        commands,
    }));
    (commands_in, Arc::default())
}

/// A device or module that is to come to a connection.
pub(crate) struct Device {
    pub(crate) identity: Identity,
    /// What its tokens are for.
    pub(crate) resource: Resource,
    /// The SASL user.
    pub(crate) user: String,
    pub(crate) credential: Option<Arc<dyn Credential>>,
    pub(crate) model: Option<String>,
    pub(crate) batching: Batching,
    /// 1 to [`MAX_WINDOW`](crate::MAX_WINDOW).
    pub(crate) window: usize,
    pub(crate) operation_timeout: Duration,
    pub(crate) queue_timeout: Duration,
}

impl Device {
    /// Joins, and waits until the telemetry link is attached.
    pub(crate) async fn join(
        self,
        slot: SlotId,
        commands: mpsc::UnboundedSender<Command>,
        counters: Arc<Counters>,
    ) -> Result<DeviceClient, ConnectError> {
        let newcomer = Newcomer {
            place: Place::Device {
                identity: self.identity.clone(),
                model: self.model,
            },
            resource: self.resource,
            user: self.user,
            credential: self.credential,
            settings: SlotSettings {
                principal: Principal::Device,
                settle_timeout: self.operation_timeout,
                window: self.window,
                batching: self.batching,
            },
            operation_timeout: self.operation_timeout,
            queue_timeout: self.queue_timeout,
        };
        let shared = newcomer.join(slot, commands, counters).await?;
        Ok(DeviceClient::new(shared, self.identity))
    }
}

/// A principal that is to come to a connection.
pub(crate) struct Newcomer {
    pub(crate) place: Place,
    /// What its tokens are for.
    pub(crate) resource: Resource,
    /// The SASL user.
    pub(crate) user: String,
    pub(crate) credential: Option<Arc<dyn Credential>>,
    pub(crate) settings: SlotSettings,
    pub(crate) operation_timeout: Duration,
    pub(crate) queue_timeout: Duration,
}

impl Newcomer {
    /// Joins, and waits until it is connected.
    pub(crate) async fn join(
        self,
        slot: SlotId,
        commands: mpsc::UnboundedSender<Command>,
        counters: Arc<Counters>,
    ) -> Result<Arc<Shared>, ConnectError> {
        let (first, connected) = oneshot::channel();
        let (status_in, status) = watch::channel(Status::Connecting);
        let (statistics_in, statistics) = watch::channel(Statistics::default());
        let (token_ends_in, token_ends) = watch::channel(None);
        let ended = Ended::default();
        // From here on whoever drops this has it leave.
        let shared = Arc::new(Shared::new(Parts {
            commands: commands.clone(),
            slot,
            counters,
            ended: Ended::clone(&ended),
            limit: self.operation_timeout,
            queue_timeout: self.queue_timeout,
            status,
            statistics,
            token_ends,
        }));
        let joining = Box::new(Joining {
            place: Arc::new(self.place),
            resource: self.resource,
            user: self.user,
            credential: self.credential,
            first,
            status: status_in,
            statistics: statistics_in,
            token_ends: token_ends_in,
            ended,
        });
        let join = Command::Join {
            slot,
            settings: self.settings,
            joining,
        };
        // The owner goes when the connection is closed.
        commands
            .send(join)
            .map_err(|_| ConnectError::Ended(Interruption::Stopped))?;
        let (phase, why) = (Phase::Open, Lost::Protocol);
        // One that dies takes this with it.
        connected
            .await
            .unwrap_or(Err(ConnectError::Lost { phase, why }))?;
        Ok(shared)
    }
}
