//! What the owner holds of each principal on its connection.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use iothub_address::Resource;
use iothub_sas::{SasToken, UnixTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::engine::Reading;
use super::place::Place;
use super::tray::Tray;
use super::{Carried, LaneOrder};
use crate::Credential;
use crate::error::{CloseError, ConnectError, Interruption, Phase, SubscribeError};
use crate::event::Event;
use crate::received::ReceivedMessage;
use crate::status::{Statistics, Status};
use crate::supervisor::{DeliveryId, Epoch, LaneId, LaneKind};
use crate::twin::DesiredChange;

/// Why a client has ended; set before whoever waits for it is told.
pub(crate) type Ended = Arc<OnceLock<Interruption>>;

/// A principal that comes to a connection.
pub(crate) struct Joining {
    pub(crate) place: Arc<Place>,
    /// What its tokens are for.
    pub(crate) resource: Resource,
    /// The SASL user.
    pub(crate) user: String,
    pub(crate) credential: Option<Arc<dyn Credential>>,
    /// Told once: that it is connected, or why that will never be.
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
    /// What the credential is asked; dropped with what it is dropped from.
    pub(super) fetching: Option<Fetching>,
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
            fetching: None,
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
        tracing::debug!(who = %self.place, ?status, "status");
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
                self.fetching = None;
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

    /// From where the link of a lane that opens is to read, if it reads events; it is told how many it may bring.
    pub(super) fn reading(&self, lane: LaneId, epoch: Epoch) -> Option<Reading> {
        let Items::Events(tray) = &self.streams.get(&lane.kind)?.items else {
            return None;
        };
        self.order(lane, epoch, LaneOrder::Room(tray.free()));
        Some(tray.reading())
    }

    /// Gives events to who reads them.
    pub(super) fn put(&mut self, lane: LaneId, events: Vec<Event>) {
        if let Some(stream) = self.streams.get_mut(&lane.kind)
            && let Items::Events(tray) = &mut stream.items
        {
            tray.put(events);
        }
    }

    /// The reader has taken so many.
    pub(super) fn took(&mut self, lane: LaneId, events: u32) {
        if let Some(stream) = self.streams.get_mut(&lane.kind)
            && let Items::Events(tray) = &mut stream.items
        {
            tray.took(events);
            if let Some((epoch, _)) = self.lanes.get(&lane.kind) {
                self.order(lane, *epoch, LaneOrder::Room(events));
            }
        }
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

/// A question to a credential, which ends with this.
pub(super) struct Fetching(pub(super) AbortHandle);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
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

impl Subscription {
    /// Nothing comes any more, for this reason.
    pub(super) fn end(&self, why: Interruption) {
        let _ = self.ended.set(why.clone());
        if let Items::Events(tray) = &self.items {
            tray.end(why);
        }
    }
}

/// Where the items go. Their number is bounded by the lane's places.
pub(crate) enum Items {
    Messages(mpsc::UnboundedSender<Delivered<ReceivedMessage>>),
    Calls(mpsc::UnboundedSender<Delivered<(String, Vec<u8>)>>),
    Changes(mpsc::UnboundedSender<DesiredChange>),
    Events(Tray),
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
