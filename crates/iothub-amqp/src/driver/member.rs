//! What the owner holds of each device or module on its connection.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use iothub_address::{Identity, Resource};
use iothub_sas::{SasToken, UnixTime};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Carried, LaneOrder};
use crate::Credential;
use crate::error::{CloseError, ConnectError, Interruption, Phase, SubscribeError};
use crate::received::ReceivedMessage;
use crate::status::{Statistics, Status};
use crate::supervisor::{DeliveryId, Epoch, LaneId, LaneKind};
use crate::twin::DesiredChange;

/// Where its links are.
pub(crate) struct Place {
    pub(crate) identity: Identity,
    /// The id of its digital-twin model, if it has one.
    pub(crate) model: Option<String>,
}

/// Why a client has ended; set before whoever waits for it is told.
pub(crate) type Ended = Arc<OnceLock<Interruption>>;

/// A device or module that comes to a connection.
pub(crate) struct Joining {
    pub(crate) place: Arc<Place>,
    /// What its tokens are for.
    pub(crate) resource: Resource,
    /// The SASL user.
    pub(crate) user: String,
    pub(crate) credential: Option<Arc<dyn Credential>>,
    /// Told once: that the telemetry link is attached, or why that will never be.
    pub(crate) first: oneshot::Sender<Result<(), ConnectError>>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) statistics: watch::Sender<Statistics>,
    pub(crate) token_ends: watch::Sender<Option<UnixTime>>,
    pub(crate) ended: Ended,
}

pub(super) struct Member {
    pub(super) place: Arc<Place>,
    pub(super) resource: Resource,
    pub(super) user: String,
    pub(super) credential: Option<Arc<dyn Credential>>,
    pub(super) token: Option<SasToken>,
    pub(super) first: Option<oneshot::Sender<Result<(), ConnectError>>>,
    /// Why the last thing of its own could not be made.
    pub(super) error: Option<ConnectError>,
    pub(super) status: watch::Sender<Status>,
    statistics: watch::Sender<Statistics>,
    /// When the last token that the credential gave comes to its end.
    pub(super) token_ends: watch::Sender<Option<UnixTime>>,
    ended: Ended,
    pub(super) lanes: BTreeMap<LaneKind, (Epoch, mpsc::UnboundedSender<LaneOrder>)>,
    pub(super) streams: BTreeMap<LaneKind, Subscription>,
    pub(super) closers: Vec<oneshot::Sender<Result<(), CloseError>>>,
    pub(super) close_limit: Duration,
}

impl Member {
    pub(super) fn new(joining: Joining) -> Self {
        Self {
            place: joining.place,
            resource: joining.resource,
            user: joining.user,
            credential: joining.credential,
            token: None,
            first: Some(joining.first),
            error: None,
            status: joining.status,
            statistics: joining.statistics,
            token_ends: joining.token_ends,
            ended: joining.ended,
            lanes: BTreeMap::new(),
            streams: BTreeMap::new(),
            closers: Vec::new(),
            close_limit: Duration::ZERO,
        }
    }

    /// Shows what has been done, when it has changed.
    pub(super) fn show(&self, now: Statistics) {
        self.statistics.send_if_modified(|shown| {
            let changed = *shown != now;
            *shown = now;
            changed
        });
    }

    /// How it stands now. `error` is why the connection could not be made.
    pub(super) fn report(&mut self, status: Status, error: Option<&ConnectError>) {
        tracing::debug!(identity = %self.place.identity, ?status, "status");
        // Before who waits is told, so that they find it so.
        self.status.send_replace(status.clone());
        match &status {
            Status::Connected { .. } => {
                if let Some(first) = self.first.take() {
                    let _ = first.send(Ok(()));
                }
            }
            Status::Ended { why } => {
                let _ = self.ended.set(why.clone());
                self.lanes.clear();
                if let Some(first) = self.first.take() {
                    // With no error of something that could not be made, what was made has ended before it was of use.
                    let error = self.error.take().or_else(|| error.cloned());
                    let ended = || ConnectError::interrupted(Phase::Begin, why.clone());
                    let _ = first.send(Err(error.unwrap_or_else(ended)));
                }
            }
            _ => {}
        }
    }

    /// Answers who waits for its end.
    pub(super) fn left(&mut self, result: &Result<(), Interruption>) {
        answer_closers(&mut self.closers, result, self.close_limit);
    }

    pub(super) fn order(&self, lane: LaneId, epoch: Epoch, order: LaneOrder) {
        if let Some((_, orders)) = self
            .lanes
            .get(&lane.kind)
            .filter(|(present, _)| *present == epoch)
        {
            let _ = orders.send(order);
        }
    }
}

/// Tells who waits for an end how it went.
pub(super) fn answer_closers(
    closers: &mut Vec<oneshot::Sender<Result<(), CloseError>>>,
    result: &Result<(), Interruption>,
    limit: Duration,
) {
    let closed = match result {
        Ok(()) => Ok(()),
        Err(Interruption::TimedOut {
            phase: Phase::Close, ..
        }) => Err(CloseError::TimedOut { after: limit }),
        Err(why) => Err(CloseError::Ended(why.clone())),
    };
    for closer in closers.drain(..) {
        let _ = closer.send(closed.clone());
    }
}

/// A stream of what comes in on a lane.
pub(crate) struct Subscription {
    pub(crate) items: Items,
    /// Told once: whether something can come.
    pub(crate) reply: Option<oneshot::Sender<Result<(), SubscribeError>>>,
    /// Why nothing comes any more.
    pub(crate) ended: Ended,
}

/// Where the items go. Their number is bounded by the lane's places.
pub(crate) enum Items {
    Messages(mpsc::UnboundedSender<Delivered<ReceivedMessage>>),
    Calls(mpsc::UnboundedSender<Delivered<(String, Vec<u8>)>>),
    Changes(mpsc::UnboundedSender<DesiredChange>),
}

/// Something that came in, and by what the word on it is known.
pub(crate) struct Delivered<T> {
    pub(crate) epoch: Epoch,
    pub(crate) delivery: DeliveryId,
    pub(crate) item: T,
}

impl Items {
    /// Gives it to the application; false if nobody is there to take it.
    pub(super) fn deliver(&self, epoch: Epoch, delivery: DeliveryId, carried: Carried) -> bool {
        match (self, carried) {
            (Self::Messages(items), Carried::Message(message)) => {
                let item = *message;
                items
                    .send(Delivered {
                        epoch,
                        delivery,
                        item,
                    })
                    .is_ok()
            }
            (Self::Calls(items), Carried::Call { name, payload }) => {
                let item = (name, payload);
                items
                    .send(Delivered {
                        epoch,
                        delivery,
                        item,
                    })
                    .is_ok()
            }
            _ => false,
        }
    }
}
