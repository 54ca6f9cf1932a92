//! A connection's task: it makes the connection and what stands on it, and ends with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::engine::{Channel, Claims, Gone, Line, Login, Opening, Put, Reading, Sasl, open};
use super::names::Names;
use super::place::Place;
use super::route::Route;
use super::session;
use super::trunk::Trunk;
use super::{Fact, Facts, LaneOrder, REASON_TIMEOUT, tell};
use crate::Clock;
use crate::error::{ConnectError, Interruption, Lost, Phase};
use crate::recovery::Operation;
use crate::supervisor::{Cause, Epoch, Input, LaneId, SignIn, SlotId};

/// What every connection to a hub is made by.
pub(crate) struct Plan {
    pub(crate) route: Route,
    /// The hub, or the gateway in its place, as AMQP's open names it.
    pub(crate) hostname: String,
    /// What the container's id begins with.
    pub(crate) container: String,
    pub(crate) sign_in: SignIn,
    /// Bounds each step.
    pub(crate) limit: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) names: Names,
}

/// What the owner asks of a connection.
pub(crate) enum Order {
    OpenLane {
        lane: LaneId,
        epoch: Epoch,
        place: Arc<Place>,
        reading: Option<Reading>,
        orders: mpsc::UnboundedReceiver<LaneOrder>,
    },
    /// Let the slot's lanes end, and then its session.
    EndSession(SlotId),
    PutToken(Put),
    /// Close in good order, within this time.
    Close(Duration),
}

/// Makes a connection, serves it until it ends, and tells of its end; or until `stop` resolves.
pub(crate) async fn run(
    plan: Arc<Plan>,
    conn: u32,
    login: Option<Login>,
    orders: mpsc::UnboundedReceiver<Order>,
    mut stop: oneshot::Receiver<()>,
    facts: Facts,
) {
    let mut connection = Connection::new(plan, conn, facts);
    let finish = tokio::select! {
        biased;
        _ = &mut stop => Finish::Stopped,
        finish = connection.serve(login, orders) => finish,
    };
    match finish {
        Finish::Close(limit) => connection.farewell(limit, stop).await,
        finish => connection.finish(finish).await,
    }
}

/// How serving ends.
enum Finish {
    /// The owner has no use for it any more.
    Stopped,
    /// It was never made.
    Failed(ConnectError),
    Ended(Interruption),
    /// To be closed in good order, within this time.
    Close(Duration),
}

/// For whom a session is to be begun.
enum Wish {
    Slot {
        slot: SlotId,
        number: u32,
        place: Arc<Place>,
        openings: mpsc::UnboundedReceiver<session::Opening>,
    },
    /// The pair of links to `$cbs`.
    Claims(mpsc::UnboundedReceiver<Put>),
}

type Begun = (Wish, Result<Channel, ConnectError>);

/// It waits for nothing but what it serves: a peer that does not answer a `begin`, or what is asked on a session, keeps
/// nobody waiting but those who want a session too.
struct Connection {
    plan: Arc<Plan>,
    conn: u32,
    facts: Facts,
    /// Where the sessions' orders go, each with its counter. One without is asked for nothing any more, and ends.
    sessions: BTreeMap<SlotId, (u32, mpsc::UnboundedSender<session::Opening>)>,
    /// The slots whose session is wished for, begun, or still ends.
    running: BTreeSet<SlotId>,
    /// Lanes of a session that begins when the one before it has ended: the hub never sees two links to one node.
    waiting: BTreeMap<SlotId, Vec<(session::Opening, Arc<Place>)>>,
    /// The slots that leave, and are told when their session has ended.
    leaving: BTreeSet<SlotId>,
    /// Sessions that are to be begun, one after the other; at most one a slot, and one for `$cbs`.
    wishes: VecDeque<Wish>,
    begun: mpsc::UnboundedReceiver<Begun>,
    telling: mpsc::UnboundedSender<Begun>,
    // Dropped in this order: a session that outlives its connection keeps what waits on it.
    tasks: JoinSet<(SlotId, u32, Option<session::Ended>)>,
    claims: JoinSet<Option<Gone>>,
    puts: Option<mpsc::UnboundedSender<Put>>,
    trunk: Option<Trunk>,
}

impl Connection {
    fn new(plan: Arc<Plan>, conn: u32, facts: Facts) -> Self {
        let (telling, begun) = mpsc::unbounded_channel();
        Self {
            plan,
            conn,
            facts,
            sessions: BTreeMap::new(),
            running: BTreeSet::new(),
            waiting: BTreeMap::new(),
            leaving: BTreeSet::new(),
            wishes: VecDeque::new(),
            begun,
            telling,
            tasks: JoinSet::new(),
            claims: JoinSet::new(),
            puts: None,
            trunk: None,
        }
    }

    async fn serve(&mut self, login: Option<Login>, mut orders: mpsc::UnboundedReceiver<Order>) -> Finish {
        match make(&self.plan, self.conn, login).await {
            Ok(line) => self.trunk = Some(Trunk::new(line)),
            Err(error) => return Finish::Failed(error),
        }
        tell(&self.facts, Input::Up { conn: self.conn });
        loop {
            self.begin_next();
            let Some(trunk) = &mut self.trunk else {
                return Finish::Stopped;
            };
            let finish = tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => self.session_ended(ended).await,
                Some(gone) = self.claims.join_next() => self.claims_gone(gone).await,
                Some((wish, result)) = self.begun.recv() => self.session_begun(wish, result).await,
                why = trunk.ended() => return Finish::Ended(why),
                order = orders.recv() => match order {
                    None => return Finish::Stopped,
                    Some(Order::Close(limit)) => return Finish::Close(limit),
                    Some(order) => {
                        self.obey(order);
                        None
                    }
                },
            };
            if let Some(finish) = finish {
                return finish;
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::OpenLane {
                lane,
                epoch,
                place,
                reading,
                orders,
            } => {
                let opening = session::Opening {
                    lane,
                    epoch,
                    reading,
                    orders,
                };
                self.open_lane(opening, place);
            }
            Order::EndSession(slot) => self.end_session(slot),
            Order::PutToken(put) => self.put_token(put),
            Order::Close(_) => {} // ends the serving
        }
    }

    /// Passes the order on to the slot's session, which is to be begun if there is none by this counter.
    fn open_lane(&mut self, mut opening: session::Opening, place: Arc<Place>) {
        let (slot, number) = (opening.lane.slot, opening.epoch.session);
        let present = self.sessions.get(&slot).filter(|(present, _)| *present == number);
        if let Some((_, session)) = present {
            match session.send(opening) {
                Ok(()) => return,
                Err(mpsc::error::SendError(unsent)) => opening = unsent, // it has ended
            }
        }
        self.sessions.remove(&slot);
        if !self.running.insert(slot) {
            return self.waiting.entry(slot).or_default().push((opening, place));
        }
        let (session, openings) = mpsc::unbounded_channel();
        let _ = session.send(opening);
        self.sessions.insert(slot, (number, session));
        self.wishes.push_back(Wish::Slot {
            slot,
            number,
            place,
            openings,
        });
    }

    fn end_session(&mut self, slot: SlotId) {
        self.waiting.remove(&slot);
        self.sessions.remove(&slot);
        // One that is only wished for is not waited for: others may have the line for long.
        let waits = |wish: &Wish| matches!(wish, Wish::Slot { slot: of, .. } if *of == slot);
        if let Some(at) = self.wishes.iter().position(waits) {
            self.wishes.remove(at);
            self.running.remove(&slot);
        }
        if self.running.contains(&slot) {
            self.leaving.insert(slot);
        } else {
            session::ended(&self.facts, slot);
        }
    }

    fn begin_next(&mut self) {
        while self.trunk.as_ref().is_some_and(Trunk::is_free)
            && let Some(wish) = self.wishes.pop_front()
        {
            if let Wish::Slot { slot, openings, .. } = &wish
                && openings.is_closed()
            {
                self.session_gone(*slot); // nobody wants it any more
                continue;
            }
            let begun = self.telling.clone();
            if let Some(trunk) = &mut self.trunk {
                trunk.begin(self.plan.limit, move |result| {
                    let _ = begun.send((wish, result));
                });
            }
        }
    }

    async fn session_begun(&mut self, wish: Wish, result: Result<Channel, ConnectError>) -> Option<Finish> {
        let (facts, limit) = (self.facts.clone(), self.plan.limit);
        match (wish, result) {
            (
                Wish::Slot {
                    slot,
                    number,
                    place,
                    openings,
                },
                Ok(channel),
            ) => {
                self.tasks.spawn(async move {
                    let end = session::run(channel, place, openings, facts, limit).await;
                    (slot, number, end)
                });
            }
            (
                Wish::Slot {
                    slot,
                    number,
                    mut openings,
                    ..
                },
                Err(error),
            ) => {
                if let Some(error) = self.why_lost(&error).await {
                    return Some(Finish::Failed(error));
                }
                openings.close();
                while let Ok(session::Opening { lane, epoch, .. }) = openings.try_recv() {
                    self.lane_not_opened(lane, epoch, error.clone());
                }
                self.forget_session(slot, number);
                self.session_gone(slot);
            }
            (Wish::Claims(asked), Ok(channel)) => {
                let conn = self.conn;
                self.claims
                    .spawn(Claims::run(channel, limit, asked, move |put, result| {
                        let result = result.map_err(|error| (Cause::not_made(&error), error));
                        answer(&facts, conn, put, result);
                    }));
            }
            (Wish::Claims(asked), Err(error)) => {
                return self.claims_gone(Ok(Some(Gone::never_made(error, asked)))).await;
            }
        }
        None
    }

    fn lane_not_opened(&self, lane: LaneId, epoch: Epoch, error: ConnectError) {
        let cause = Cause::not_made(&error);
        let input = Input::LaneLost { lane, epoch, cause };
        let _ = self.facts.send(Fact::Found(input, Some(error)));
    }

    /// Of something that could not be made because the connection is gone, the error with the connection's own reason:
    /// it knows best. `None` if the connection is there.
    async fn why_lost(&mut self, error: &ConnectError) -> Option<ConnectError> {
        let ConnectError::Lost { phase, .. } = error else {
            return None;
        };
        if !error.is_unexplained() {
            return None; // the stream has said why, or the peer has
        }
        Some(ConnectError::interrupted(*phase, self.why_ended().await?))
    }

    /// The connection itself knows best why it has ended, if it has.
    async fn why_ended(&mut self) -> Option<Interruption> {
        timeout(REASON_TIMEOUT, self.trunk.as_mut()?.ended()).await.ok()
    }

    /// A session has ended: by itself, as it was told, or with the connection.
    async fn session_ended(
        &mut self,
        ended: Result<(SlotId, u32, Option<session::Ended>), JoinError>,
    ) -> Option<Finish> {
        let Ok((slot, number, end)) = ended else {
            return Some(Finish::Ended(Interruption::Lost(Lost::Protocol)));
        };
        if let Some(session::Ended { how, bereft }) = end {
            let why = match how {
                session::Over::Ended(end) if end.of == Operation::Connection => {
                    return Some(Finish::Ended(self.why_ended().await.unwrap_or(end.why)));
                }
                session::Over::Unmade(lane, epoch, error) => {
                    if let Some(error) = self.why_lost(&error).await {
                        return Some(Finish::Failed(error));
                    }
                    self.lane_not_opened(lane, epoch, error);
                    Interruption::Closed
                }
                session::Over::Ended(end) => end.why,
            };
            for (lane, epoch) in bereft {
                let cause = Cause::ended(why.clone(), Operation::Session);
                tell(&self.facts, Input::LaneLost { lane, epoch, cause });
            }
        }
        self.forget_session(slot, number);
        self.session_gone(slot);
        None
    }

    /// Nothing is asked any more of this session, unless it is another by now.
    fn forget_session(&mut self, slot: SlotId, number: u32) {
        if self
            .sessions
            .get(&slot)
            .is_some_and(|(present, _)| *present == number)
        {
            self.sessions.remove(&slot);
        }
    }

    /// What has waited for the end of the slot's session begins.
    fn session_gone(&mut self, slot: SlotId) {
        self.running.remove(&slot);
        if self.leaving.remove(&slot) {
            self.waiting.remove(&slot);
            return session::ended(&self.facts, slot);
        }
        for (opening, place) in self.waiting.remove(&slot).unwrap_or_default() {
            // Nobody gives orders to one that was closed meanwhile.
            if !opening.orders.is_closed() {
                self.open_lane(opening, place);
            }
        }
    }

    /// Gives the token to the pair of links, which is to be made if there is none; it waits there.
    fn put_token(&mut self, mut put: Put) {
        if let Some(puts) = &self.puts {
            match puts.send(put) {
                Ok(()) => return,
                Err(mpsc::error::SendError(unsent)) => put = unsent, // the pair is gone
            }
        }
        let (puts, asked) = mpsc::unbounded_channel();
        let _ = puts.send(put);
        self.puts = Some(puts);
        // Before those that need it.
        self.wishes.push_front(Wish::Claims(asked));
    }

    /// The pair of links to `$cbs` is gone, or was never made.
    async fn claims_gone(&mut self, gone: Result<Option<Gone>, JoinError>) -> Option<Finish> {
        let Ok(gone) = gone else {
            return Some(Finish::Ended(Interruption::Lost(Lost::Protocol)));
        };
        let Gone {
            error,
            cause,
            of,
            puts,
        } = gone?;
        if puts.is_empty() {
            return None; // nobody hears of it, unless it was the connection that has ended
        }
        if of == Operation::Connection {
            let why = self.why_ended().await;
            let error = why.map_or(error, |why| ConnectError::interrupted(Phase::Token, why));
            return Some(Finish::Failed(error));
        }
        if let Some(error) = self.why_lost(&error).await {
            return Some(Finish::Failed(error));
        }
        for put in puts {
            answer(&self.facts, self.conn, put, Err((cause.clone(), error.clone())));
        }
        None
    }

    /// Closes in good order, unless the owner has no patience with it any more: its time runs from when the order was given,
    /// which may have waited.
    async fn farewell(self, limit: Duration, stop: oneshot::Receiver<()>) {
        let (conn, facts) = (self.conn, self.facts.clone());
        let result = tokio::select! {
            biased;
            _ = stop => return,
            result = timeout(limit, self.close(limit)) => result,
        };
        let result = result.unwrap_or({
            Err(Interruption::TimedOut {
                phase: Phase::Close,
                after: limit,
            })
        });
        tell(&facts, Input::Closed { conn, result });
    }

    async fn finish(mut self, mut finish: Finish) {
        let (conn, facts) = (self.conn, self.facts.clone());
        if let Some(trunk) = &mut self.trunk {
            trunk.blow();
        }
        // Each passes on what it has heard before the end, and what was being made says what the end came between.
        let mut between = None;
        let _ = timeout(REASON_TIMEOUT, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok((_, _, Some(session::Ended { how, .. }))) = ended
                    && let session::Over::Unmade(_, _, ConnectError::Lost { phase, .. }) = how
                {
                    between = Some(phase);
                }
            }
            while let Some(gone) = self.claims.join_next().await {
                if gone.is_ok_and(|gone| gone.is_some_and(|gone| !gone.puts.is_empty())) {
                    between.get_or_insert(Phase::Token);
                }
            }
        })
        .await;
        if let (Some(phase), Finish::Ended(why)) = (between, &finish) {
            finish = Finish::Failed(ConnectError::interrupted(phase, why.clone()));
        }
        drop(self);
        let (cause, error) = match finish {
            Finish::Failed(error) => (Cause::not_made(&error), Some(error)),
            Finish::Ended(why) => (Cause::ended(why, Operation::Connection), None),
            Finish::Stopped | Finish::Close(_) => return,
        };
        let _ = facts.send(Fact::Found(Input::Lost { conn, cause }, error));
    }

    /// Lanes detach by themselves, as nobody gives them orders any more; then sessions, then the connection.
    async fn close(mut self, limit: Duration) -> Result<(), Interruption> {
        self.sessions.clear();
        self.wishes.clear();
        self.puts = None;
        while self.tasks.join_next().await.is_some() {}
        while self.claims.join_next().await.is_some() {}
        match self.trunk.take() {
            Some(trunk) => trunk.close(limit).await,
            None => Ok(()),
        }
    }
}

/// Goes the way to the hub, and opens.
async fn make(plan: &Plan, conn: u32, login: Option<Login>) -> Result<Line, ConnectError> {
    let sasl = match (plan.sign_in, login) {
        (SignIn::Plain, Some(login)) => {
            login.check_size()?;
            Sasl::Plain(login)
        }
        (SignIn::Plain, None) => return Err(ConnectError::NoToken),
        (SignIn::Claims, _) => Sasl::Anonymous,
        (SignIn::Certificate, _) => Sasl::None,
    };
    let names = plan.names.of_connection(conn);
    let opening = Opening {
        hostname: &plan.hostname,
        container_id: names.unique(&plan.container),
        names,
        sasl,
        limit: plan.limit,
        idle_timeout: plan.idle_timeout,
    };
    let (stream, refusal) = plan.route.open(plan.limit).await?;
    let opened = open(stream, opening).await;
    opened.map_err(|error| refusal.explain(&plan.route.endpoint, error))
}

fn answer(facts: &Facts, conn: u32, put: u32, result: Result<(), (Cause, ConnectError)>) {
    let (result, error) = match result {
        Ok(()) => (Ok(()), None),
        Err((cause, error)) => (Err(cause), Some(error)),
    };
    let input = Input::TokenPut { conn, put, result };
    let _ = facts.send(Fact::Found(input, error));
}

#[cfg(test)]
mod tests;
