//! A session's task: it attaches the links of one principal, one after the other, and ends with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::engine::{Channel, End, Inlet, Link, LinkPlan, REPLY_TO, Reading};
use super::place::Place;
use super::{Fact, Facts, LaneOrder, inlet, lane, pair, reading, tell};
use crate::error::{ConnectError, Interruption, Lost, Phase};
use crate::recovery::{Operation, Recovery};
use crate::supervisor::{Cause, Epoch, Input, LaneId, LaneKind, SlotId};

/// A lane to be opened, and where its orders come from.
pub(super) struct Opening {
    pub(super) lane: LaneId,
    pub(super) epoch: Epoch,
    /// From where a partition is read.
    pub(super) reading: Option<Reading>,
    pub(super) orders: mpsc::UnboundedReceiver<LaneOrder>,
}

/// A session that has ended without being told to.
pub(super) struct Ended {
    pub(super) how: Over,
    /// The lanes that were up on it, or to be opened, and have not been told of as lost. Of a lane that has, or of one that was not up yet, perhaps
    /// nobody wants to hear any more.
    pub(super) bereft: BTreeMap<LaneId, Epoch>,
}

/// How it has ended.
pub(super) enum Over {
    Ended(End),
    /// A lane could not be opened, probably because the connection is gone; the lane's end was not told.
    Unmade(LaneId, Epoch, ConnectError),
}

/// Runs until nobody asks for lanes any more, or the session or connection ends; then that end is given back.
pub(super) async fn run(
    channel: Channel,
    place: Arc<Place>,
    mut openings: mpsc::UnboundedReceiver<Opening>,
    facts: Facts,
    limit: Duration,
) -> Option<Ended> {
    let mut session = Session {
        lanes: JoinSet::new(),
        running: BTreeMap::new(),
        channel,
        place,
        facts,
        limit,
    };
    loop {
        let over = tokio::select! {
            biased;
            Some(ended) = session.lanes.join_next() => session.lane_ended(ended).map(Over::Ended),
            opening = openings.recv() => match opening {
                Some(opening) => session.open(opening).await,
                None => break,
            },
        };
        if let Some(how) = over {
            return Some(session.over(how, openings).await);
        }
    }
    // Lanes detach by themselves, as nobody gives them orders any more.
    let farewell = async {
        while session.lanes.join_next().await.is_some() {}
        session.channel.end().await;
    };
    match timeout(limit, farewell).await {
        Ok(()) => None,
        // The engine spins until the answer comes or the connection is gone, so the peer gets no more time than this.
        Err(_) => Some(Ended {
            how: Over::Ended(End {
                why: Interruption::TimedOut {
                    phase: Phase::Close,
                    after: limit,
                },
                of: Operation::Connection,
            }),
            bereft: BTreeMap::new(),
        }),
    }
}

/// Tells that the session of a slot which leaves has ended.
pub(super) fn ended(facts: &Facts, slot: SlotId) {
    tell(facts, Input::SessionEnded { slot });
}

struct Session {
    // First, since a link that outlives its session keeps what waits on it.
    lanes: JoinSet<(LaneId, Epoch, Option<End>)>,
    running: BTreeMap<LaneId, Epoch>,
    channel: Channel,
    place: Arc<Place>,
    facts: Facts,
    limit: Duration,
}

impl Session {
    /// Attaches a lane; the end of the session, if it is that which has ended.
    async fn open(&mut self, opening: Opening) -> Option<Over> {
        let (lane, epoch, limit) = (opening.lane, opening.epoch, self.limit);
        let opened = match timeout(limit, self.leave_to_detach(lane)).await {
            // It was closed while it waited its turn.
            Ok(None) if opening.orders.is_closed() => return None,
            Ok(None) if self.channel.holds_back() => {
                self.lost_with_session(lane, epoch);
                return None;
            }
            Ok(None) => self.attach(opening).await,
            Ok(Some(end)) => {
                self.running.insert(lane, epoch); // as good as lost
                return Some(Over::Ended(end));
            }
            Err(_) => Err(ConnectError::TimedOut {
                phase: Phase::Attach,
                after: limit,
            }),
        };
        tracing::debug!(?lane, ?epoch, ?limit, opened = opened.is_ok(), "lane");
        match opened {
            Ok(limit) => {
                tell(&self.facts, Input::LaneUp { lane, epoch, limit });
                None
            }
            Err(error) if error.is_unexplained() && self.channel.is_ended() => {
                Some(Over::Unmade(lane, epoch, error))
            }
            Err(_) if self.channel.holds_back() && !self.channel.is_ended() => {
                self.lost_with_session(lane, epoch);
                None
            }
            Err(error) => {
                let ended = self.channel.is_ended();
                let cause = self.not_attached(&error, ended);
                let why = cause.why.clone();
                let input = Input::LaneLost { lane, epoch, cause };
                let _ = self.facts.send(Fact::Found(input, Some(error)));
                let of = Operation::Session;
                ended.then_some(Over::Ended(End { why, of }))
            }
        }
    }

    /// The largest message of the lane.
    async fn attach(&mut self, opening: Opening) -> Result<u64, ConnectError> {
        let Opening {
            lane,
            epoch,
            reading,
            orders,
        } = opening;
        let (id, facts) = ((lane, epoch), self.facts.clone());
        let limit = match lane.kind {
            LaneKind::Telemetry => {
                let link = self.telemetry().await?;
                let limit = link.limit();
                self.lanes
                    .spawn(async move { (lane, epoch, lane::run(link, id, orders, facts).await) });
                limit
            }
            LaneKind::Partition(_) => {
                let link = self.reader(lane.kind, reading).await?;
                self.lanes
                    .spawn(async move { (lane, epoch, reading::run(link, id, orders, facts).await) });
                0
            }
            LaneKind::Commands
            | LaneKind::Inputs
            | LaneKind::Feedback
            | LaneKind::FileNotifications
            | LaneKind::Redirect => {
                let link = self.inlet(lane.kind).await?;
                self.lanes
                    .spawn(async move { (lane, epoch, inlet::run(link, id, orders, facts).await) });
                0
            }
            LaneKind::Methods | LaneKind::Twin | LaneKind::Management => {
                let links = self.pair(lane.kind).await?;
                let entity = self.place.entity();
                self.lanes
                    .spawn(async move { (lane, epoch, pair::run(links, id, entity, orders, facts).await) });
                0
            }
        };
        self.running.insert(lane, epoch);
        Ok(limit)
    }

    /// Waits for the links that this lane had before: the hub takes a second link to a node for a theft of the first.
    async fn leave_to_detach(&mut self, lane: LaneId) -> Option<End> {
        while self.running.contains_key(&lane) {
            let ended = self.lanes.join_next().await?;
            if let Some(end) = self.lane_ended(ended) {
                return Some(end);
            }
        }
        None
    }

    async fn telemetry(&mut self) -> Result<Link, ConnectError> {
        let plan = LinkPlan {
            model: self.place.model(),
            ..LinkPlan::to("telemetry", self.place.node(LaneKind::Telemetry)?)
        };
        self.channel.sender(&plan, self.limit).await
    }

    async fn inlet(&mut self, kind: LaneKind) -> Result<Inlet, ConnectError> {
        let name = match kind {
            LaneKind::Inputs => "inputs",
            LaneKind::Feedback => "feedback",
            LaneKind::FileNotifications => "file-notifications",
            LaneKind::Redirect => "redirect",
            _ => "commands",
        };
        let plan = LinkPlan::to(name, self.place.node(kind)?);
        self.channel.receiver(&plan, self.limit).await
    }

    /// A link by which a partition is read.
    async fn reader(&mut self, kind: LaneKind, reading: Option<Reading>) -> Result<Inlet, ConnectError> {
        let plan = LinkPlan {
            settled: true,
            reading,
            ..LinkPlan::to("events", self.place.node(kind)?)
        };
        self.channel.receiver(&plan, self.limit).await
    }

    /// Two links that the hub knows for a pair by one id.
    async fn pair(&mut self, kind: LaneKind) -> Result<(Link, Inlet), ConnectError> {
        let name = match kind {
            LaneKind::Methods => "methods",
            LaneKind::Management => "management",
            _ => "twin",
        };
        let id = self.channel.names.unique(name);
        let node = self.place.node(kind)?;
        let plan = |side: &str| LinkPlan {
            settled: true,
            correlation: (kind != LaneKind::Management).then(|| id.replacen('-', ":", 1)),
            reply_to: (kind == LaneKind::Management).then_some(REPLY_TO),
            ..LinkPlan::to(&format!("{name}-{side}"), node.clone())
        };
        let inlet = self.channel.receiver(&plan("receiver"), self.limit).await?;
        let outlet = self.channel.sender(&plan("sender"), self.limit).await?;
        Ok((outlet, inlet))
    }

    /// A lane has ended: by itself, which the supervisor is told, or with its session or connection.
    fn lane_ended(&mut self, ended: Result<(LaneId, Epoch, Option<End>), JoinError>) -> Option<End> {
        if let Ok((lane, ..)) = &ended {
            self.running.remove(lane);
        }
        let (lane, epoch, end) = match ended {
            Ok((lane, epoch, Some(end))) => (lane, epoch, end),
            Ok((_, _, None)) => {
                // As it was told. What it has left behind in the engine is not to go where the others are.
                if self.channel.holds_back()
                    && let Some((&lane, &epoch)) = self.running.first_key_value()
                {
                    tell(&self.facts, Input::SessionSpoilt { lane, epoch });
                }
                return None;
            }
            Err(_) => {
                return Some(End {
                    why: Interruption::Lost(Lost::Protocol),
                    of: Operation::Connection,
                });
            }
        };
        if end.of == Operation::Connection {
            return Some(end); // the connection itself knows best why
        }
        let mut cause = Cause::ended(end.why.clone(), end.of);
        if self.channel.holds_back() && cause.recovery == Recovery::Relink {
            cause.recovery = Recovery::Resession;
        }
        tell(&self.facts, Input::LaneLost { lane, epoch, cause });
        (end.of == Operation::Session).then_some(end)
    }

    /// Why a lane could not be attached. On a session that has ended nothing can be any more.
    fn not_attached(&self, error: &ConnectError, ended: bool) -> Cause {
        let mut cause = Cause::not_made(error);
        if self.channel.has_ended_alone() {
            let why = match cause.why {
                Interruption::Lost(_) => Interruption::Closed, // the peer has not said why
                why => why,
            };
            return Cause::ended(why, Operation::Session);
        }
        if ended && cause.recovery == Recovery::Relink {
            cause.recovery = Recovery::Resession;
        }
        cause
    }

    /// The lane could not be attached, since the session is of no use any more: which is true of all on it.
    fn lost_with_session(&self, lane: LaneId, epoch: Epoch) {
        let cause = Cause::ended(Interruption::Closed, Operation::Session);
        tell(&self.facts, Input::LaneLost { lane, epoch, cause });
    }

    /// Each passes on what it has heard before the end. What was to be opened meanwhile is not.
    async fn over(mut self, how: Over, mut openings: mpsc::UnboundedReceiver<Opening>) -> Ended {
        let _ = timeout(super::REASON_TIMEOUT, async {
            while let Some(ended) = self.lanes.join_next().await {
                // Which of them is heard first is chance. One that has a reason of its own had it before.
                if matches!(&ended, Ok((_, _, Some(end))) if end.of == Operation::Link) {
                    self.lane_ended(ended);
                }
            }
        })
        .await;
        let mut bereft = self.running;
        openings.close();
        while let Ok(Opening { lane, epoch, .. }) = openings.try_recv() {
            bereft.insert(lane, epoch);
        }
        Ended { how, bereft }
    }
}
