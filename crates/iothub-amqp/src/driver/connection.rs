//! A connection's task: it makes the connection and what stands on it, and ends with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::engine::{Claims, Line, Login, Opening, Put, Reading, Sasl, open};
use super::names::Names;
use super::place::Place;
use super::route::Route;
use super::session;
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
    let mut connection = Connection {
        plan,
        conn,
        facts,
        sessions: BTreeMap::new(),
        running: BTreeMap::new(),
        waiting: BTreeMap::new(),
        tasks: JoinSet::new(),
        claims: JoinSet::new(),
        puts: None,
        line: None,
    };
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

struct Connection {
    plan: Arc<Plan>,
    conn: u32,
    facts: Facts,
    /// Where the sessions' orders go, each with its counter. One without is asked for nothing any more, and ends.
    sessions: BTreeMap<SlotId, (u32, mpsc::UnboundedSender<session::Opening>)>,
    /// How many tasks a slot has.
    running: BTreeMap<SlotId, usize>,
    /// Lanes of a session that begins when the one before it has ended: the hub never sees two links to one node.
    waiting: BTreeMap<SlotId, Vec<(session::Opening, Arc<Place>)>>,
    // Dropped in this order: a session that outlives its connection keeps what waits on it.
    tasks: JoinSet<(SlotId, u32, Option<session::Over>)>,
    claims: JoinSet<()>,
    puts: Option<mpsc::UnboundedSender<Put>>,
    line: Option<Line>,
}

impl Connection {
    async fn serve(&mut self, login: Option<Login>, mut orders: mpsc::UnboundedReceiver<Order>) -> Finish {
        match make(&self.plan, self.conn, login).await {
            Ok(line) => self.line = Some(line),
            Err(error) => return Finish::Failed(error),
        }
        tell(&self.facts, Input::Up { conn: self.conn });
        loop {
            let Some(line) = &mut self.line else {
                return Finish::Stopped;
            };
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => if let Some(finish) = self.session_ended(ended).await {
                    return finish;
                },
                why = line.ended() => return Finish::Ended(why),
                order = orders.recv() => match order {
                    None => return Finish::Stopped,
                    Some(Order::Close(limit)) => return Finish::Close(limit),
                    Some(Order::OpenLane { lane, epoch, place, reading, orders }) => {
                        let opening = session::Opening { lane, epoch, reading, orders };
                        if let Some(finish) = self.open_lane(opening, place).await {
                            return finish;
                        }
                    }
                    Some(Order::EndSession(slot)) => {
                        self.waiting.remove(&slot);
                        if self.sessions.remove(&slot).is_none() {
                            session::ended(&self.facts, slot);
                        }
                    }
                    Some(Order::PutToken(put)) => if let Some(finish) = self.put_token(put).await {
                        return finish;
                    },
                },
            }
        }
    }

    /// Passes the order on to the slot's session, which is begun if there is none by this counter.
    async fn open_lane(&mut self, mut opening: session::Opening, place: Arc<Place>) -> Option<Finish> {
        let (lane, epoch) = (opening.lane, opening.epoch);
        let present = self
            .sessions
            .get(&lane.slot)
            .filter(|(number, _)| *number == epoch.session);
        if let Some((_, session)) = present {
            match session.send(opening) {
                Ok(()) => return None,
                Err(mpsc::error::SendError(unsent)) => opening = unsent, // it has ended
            }
        }
        self.sessions.remove(&lane.slot);
        if self.running.contains_key(&lane.slot) {
            self.waiting.entry(lane.slot).or_default().push((opening, place));
            return None;
        }
        let line = self.line.as_mut()?;
        match line.begin(self.plan.limit).await {
            Ok(channel) => {
                let (openings, queue) = mpsc::unbounded_channel();
                let _ = openings.send(opening);
                self.sessions.insert(lane.slot, (epoch.session, openings));
                *self.running.entry(lane.slot).or_default() += 1;
                let (facts, limit) = (self.facts.clone(), self.plan.limit);
                self.tasks.spawn(async move {
                    let end = session::run(channel, place, queue, facts, limit).await;
                    (lane.slot, epoch.session, end)
                });
            }
            Err(error) => {
                if let Some(error) = self.why_lost(&error).await {
                    return Some(Finish::Failed(error));
                }
                self.lane_not_opened(lane, epoch, error);
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
        let ended = timeout(REASON_TIMEOUT, self.line.as_mut()?.ended()).await;
        Some(ConnectError::interrupted(*phase, ended.ok()?))
    }

    /// A session has ended: by itself, as it was told, or with the connection.
    async fn session_ended(
        &mut self,
        ended: Result<(SlotId, u32, Option<session::Over>), JoinError>,
    ) -> Option<Finish> {
        let Ok((slot, number, end)) = ended else {
            return Some(Finish::Ended(Interruption::Lost(Lost::Protocol)));
        };
        let present = self
            .sessions
            .get(&slot)
            .is_some_and(|(present, _)| *present == number);
        match end {
            None if !self.sessions.contains_key(&slot) && !self.waiting.contains_key(&slot) => {
                session::ended(&self.facts, slot);
            }
            None => {}
            Some(session::Over::Ended(end)) if end.of == Operation::Connection => {
                // The connection itself knows best why.
                let line = self.line.as_mut()?;
                let why = timeout(REASON_TIMEOUT, line.ended()).await.unwrap_or(end.why);
                return Some(Finish::Ended(why));
            }
            Some(session::Over::Unmade(lane, epoch, error)) => {
                if let Some(error) = self.why_lost(&error).await {
                    return Some(Finish::Failed(error));
                }
                self.lane_not_opened(lane, epoch, error);
                if present {
                    self.sessions.remove(&slot);
                }
            }
            Some(_) if present => drop(self.sessions.remove(&slot)),
            Some(_) => {}
        }
        self.session_gone(slot).await
    }

    /// What has waited for the end of the slot's session begins.
    async fn session_gone(&mut self, slot: SlotId) -> Option<Finish> {
        if let Some(running) = self.running.get_mut(&slot) {
            *running -= 1;
            if *running > 0 {
                return None;
            }
        }
        self.running.remove(&slot);
        for (opening, place) in self.waiting.remove(&slot).unwrap_or_default() {
            // Nobody gives orders to one that was closed meanwhile.
            if !opening.orders.is_closed()
                && let Some(finish) = self.open_lane(opening, place).await
            {
                return Some(finish);
            }
        }
        None
    }

    async fn put_token(&mut self, put: Put) -> Option<Finish> {
        if self.puts.as_ref().is_none_or(mpsc::UnboundedSender::is_closed) {
            let limit = self.plan.limit;
            let pair = match self.line.as_mut()?.begin(limit).await {
                Ok(channel) => Claims::attach(channel, limit).await,
                Err(error) => Err(error),
            };
            match pair {
                Ok(claims) => {
                    let (puts, queue) = mpsc::unbounded_channel();
                    self.puts = Some(puts);
                    let (conn, facts) = (self.conn, self.facts.clone());
                    self.claims.spawn(claims.serve(queue, move |put, result| {
                        answer(&facts, conn, put, result);
                    }));
                }
                Err(error) => {
                    if let Some(error) = self.why_lost(&error).await {
                        return Some(Finish::Failed(error));
                    }
                    answer(&self.facts, self.conn, put.number, Err(error));
                    return None;
                }
            }
        }
        if let Some(puts) = &self.puts
            && let Err(mpsc::error::SendError(put)) = puts.send(put)
        {
            let phase = Phase::Token;
            let error = ConnectError::interrupted(phase, Interruption::Closed);
            answer(&self.facts, self.conn, put.number, Err(error));
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
        if let Some(line) = &self.line {
            line.blow();
        }
        // Each passes on what it has heard before the end.
        let _ = timeout(REASON_TIMEOUT, async {
            while let Some(ended) = self.tasks.join_next().await {
                // And what was being made says what the end came between.
                if let Ok((_, _, Some(session::Over::Unmade(_, _, ConnectError::Lost { phase, .. })))) = ended
                    && let Finish::Ended(why) = &finish
                {
                    finish = Finish::Failed(ConnectError::interrupted(phase, why.clone()));
                }
            }
        })
        .await;
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
        self.puts = None;
        while self.tasks.join_next().await.is_some() {}
        while self.claims.join_next().await.is_some() {}
        match self.line.take() {
            Some(line) => line.close(limit).await,
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

fn answer(facts: &Facts, conn: u32, put: u32, result: Result<(), ConnectError>) {
    let (result, error) = match result {
        Ok(()) => (Ok(()), None),
        Err(error) => (Err(Cause::not_made(&error)), Some(error)),
    };
    let input = Input::TokenPut { conn, put, result };
    let _ = facts.send(Fact::Found(input, error));
}
