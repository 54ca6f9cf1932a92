//! A connection's task: it makes the connection and what stands on it, and ends with it.

use std::sync::Arc;
use std::time::Duration;

use iothub_address::{Identity, Node, Resource};
use iothub_sas::SasToken;
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dial::{Endpoint, dial};
use super::engine::{Channel, Claims, End, Line, Login, Opening, Sasl, open};
use super::lane::{self, LaneOrder};
use super::tls::shake_hands;
use super::{Fact, Facts, REASON_TIMEOUT, tell, unique_name};
use crate::error::{ConnectError, Interruption, Lost, Phase};
use crate::recovery::Operation;
use crate::supervisor::{Cause, Epoch, Input, SignIn};

/// What every connection of a client is made by.
pub(crate) struct Plan {
    pub(crate) endpoint: Endpoint,
    /// The hub, as AMQP's open names it.
    pub(crate) hostname: String,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) identity: Identity,
    /// The SASL user.
    pub(crate) user: String,
    pub(crate) sign_in: SignIn,
    /// What tokens are for.
    pub(crate) resource: Resource,
    /// Bounds each step.
    pub(crate) limit: Duration,
    pub(crate) idle_timeout: Duration,
}

/// What the owner asks of a connection.
pub(crate) enum Order {
    OpenLane(Epoch, mpsc::UnboundedReceiver<LaneOrder>),
    PutToken {
        put: u32,
        token: SasToken,
    },
    /// Close in good order, within this time.
    Close(Duration),
}

/// Makes a connection, serves it until it ends, and tells of its end; or until `stop` resolves.
pub(crate) async fn run(
    plan: Arc<Plan>,
    conn: u32,
    token: Option<SasToken>,
    orders: mpsc::UnboundedReceiver<Order>,
    stop: oneshot::Receiver<()>,
    facts: Facts,
) {
    let mut connection = Connection {
        plan,
        conn,
        facts,
        lanes: JoinSet::new(),
        claims: JoinSet::new(),
        puts: None,
        channel: None,
        line: None,
    };
    let finish = tokio::select! {
        biased;
        _ = stop => Finish::Stopped,
        finish = connection.serve(token, orders) => finish,
    };
    connection.finish(finish).await;
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
    // Dropped in this order: a link that outlives its session, or a session its connection, keeps what waits on it.
    lanes: JoinSet<(Epoch, Option<End>)>,
    claims: JoinSet<()>,
    puts: Option<mpsc::UnboundedSender<(u32, SasToken)>>,
    /// The session of the lanes, by its counter.
    channel: Option<(u32, Channel)>,
    line: Option<Line>,
}

impl Connection {
    async fn serve(&mut self, token: Option<SasToken>, mut orders: mpsc::UnboundedReceiver<Order>) -> Finish {
        match make(&self.plan, token).await {
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
                Some(ended) = self.lanes.join_next() => if let Some(finish) = self.lane_ended(ended).await {
                    return finish;
                },
                why = line.ended() => return Finish::Ended(why),
                order = orders.recv() => match order {
                    None => return Finish::Stopped,
                    Some(Order::Close(limit)) => return Finish::Close(limit),
                    Some(Order::OpenLane(epoch, lane_orders)) => self.open_lane(epoch, lane_orders).await,
                    Some(Order::PutToken { put, token }) => self.put_token(put, token).await,
                },
            }
        }
    }

    async fn open_lane(&mut self, epoch: Epoch, orders: mpsc::UnboundedReceiver<LaneOrder>) {
        match self.attach(epoch.session).await {
            Ok(link) => {
                let limit = link.limit();
                tell(&self.facts, Input::LaneUp { epoch, limit });
                let facts = self.facts.clone();
                self.lanes
                    .spawn(async move { (epoch, lane::run(link, epoch, orders, facts).await) });
            }
            Err(error) => {
                let cause = Cause::not_made(&error);
                let input = Input::LaneLost { epoch, cause };
                let _ = self.facts.send(Fact::Found(input, Some(error)));
            }
        }
    }

    async fn attach(&mut self, session: u32) -> Result<super::engine::Link, ConnectError> {
        let limit = self.plan.limit;
        if self
            .channel
            .as_ref()
            .is_none_or(|(present, _)| *present != session)
        {
            self.channel = None;
            let Some(line) = &mut self.line else {
                return Err(no_connection());
            };
            self.channel = Some((session, line.begin(limit).await?));
        }
        let Some((_, channel)) = &mut self.channel else {
            return Err(no_connection());
        };
        let target = Node::Events(self.plan.identity.clone()).to_string();
        let attached = channel.attach(unique_name("telemetry"), &target, limit).await;
        if attached.is_err() {
            self.channel = None; // it may be the session that has ended
        }
        attached
    }

    /// A lane has ended: by itself, with its session, or with the connection.
    async fn lane_ended(
        &mut self,
        ended: Result<(Epoch, Option<End>), tokio::task::JoinError>,
    ) -> Option<Finish> {
        let (epoch, end) = match ended {
            Ok((epoch, Some(end))) => (epoch, end),
            Ok((_, None)) => return None, // as it was told
            Err(_) => return Some(Finish::Ended(Interruption::Lost(Lost::Protocol))),
        };
        match end.of {
            Operation::Connection => {
                // The connection itself knows best why.
                let line = self.line.as_mut()?;
                let why = timeout(REASON_TIMEOUT, line.ended()).await.unwrap_or(end.why);
                return Some(Finish::Ended(why));
            }
            Operation::Session => self.channel = None,
            _ => {}
        }
        let cause = Cause::ended(end.why, end.of);
        tell(&self.facts, Input::LaneLost { epoch, cause });
        None
    }

    async fn put_token(&mut self, put: u32, token: SasToken) {
        if self.puts.as_ref().is_none_or(mpsc::UnboundedSender::is_closed) {
            let limit = self.plan.limit;
            let Some(line) = &mut self.line else { return };
            let pair = match line.begin(limit).await {
                Ok(channel) => Claims::attach(channel, limit).await,
                Err(error) => Err(error),
            };
            match pair {
                Ok(claims) => {
                    let (puts, queue) = mpsc::unbounded_channel();
                    self.puts = Some(puts);
                    let (plan, facts) = (Arc::clone(&self.plan), self.facts.clone());
                    self.claims
                        .spawn(put_tokens(claims, self.conn, plan, queue, facts));
                }
                Err(error) => return answer(&self.facts, self.conn, put, Err(error)),
            }
        }
        if let Some(puts) = &self.puts {
            let _ = puts.send((put, token)); // its task answers, or has answered with its end
        }
    }

    async fn finish(mut self, finish: Finish) {
        let (conn, facts) = (self.conn, self.facts.clone());
        if let Finish::Close(limit) = finish {
            let result = timeout(limit, self.close(limit)).await.unwrap_or({
                Err(Interruption::TimedOut {
                    phase: Phase::Close,
                    after: limit,
                })
            });
            return tell(&facts, Input::Closed { conn, result });
        }
        if let Some(line) = &self.line {
            line.blow();
        }
        // Each passes on what it has heard before the end.
        let _ = timeout(REASON_TIMEOUT, async {
            while self.lanes.join_next().await.is_some() {}
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

    /// Lanes detach by themselves, as nobody gives them orders any more; then session and connection.
    async fn close(mut self, limit: Duration) -> Result<(), Interruption> {
        while self.lanes.join_next().await.is_some() {}
        self.puts = None;
        while self.claims.join_next().await.is_some() {}
        match self.line.take() {
            Some(line) => {
                line.close(self.channel.take().map(|(_, channel)| channel), limit)
                    .await
            }
            None => Ok(()),
        }
    }
}

/// Dials, shakes hands and opens.
async fn make(plan: &Plan, token: Option<SasToken>) -> Result<Line, ConnectError> {
    let sasl = match (plan.sign_in, token) {
        (SignIn::Plain, Some(token)) => {
            let user = plan.user.clone();
            let login = Login { user, token };
            login.check_size()?;
            Sasl::Plain(login)
        }
        (SignIn::Plain, None) => return Err(ConnectError::NoToken),
        (SignIn::Claims, _) => Sasl::Anonymous,
    };
    let opening = Opening {
        hostname: &plan.hostname,
        container_id: unique_name(plan.identity.device().as_str()),
        sasl,
        limit: plan.limit,
        idle_timeout: plan.idle_timeout,
    };
    let stream = dial(&plan.endpoint, plan.limit).await?;
    match &plan.tls {
        None => open(stream, opening).await,
        Some(config) => {
            let config = Arc::clone(config);
            let stream = shake_hands(stream, &plan.endpoint, config, plan.limit).await?;
            open(stream, opening).await
        }
    }
}

/// Puts one token after the other, each with an answer or a time-out, until nobody asks any more.
async fn put_tokens(
    mut claims: Claims,
    conn: u32,
    plan: Arc<Plan>,
    mut queue: mpsc::UnboundedReceiver<(u32, SasToken)>,
    facts: Facts,
) {
    while let Some((put, token)) = queue.recv().await {
        let result = claims.put(plan.resource.as_str(), &token, plan.limit).await;
        answer(&facts, conn, put, result);
    }
    claims.close().await;
}

fn answer(facts: &Facts, conn: u32, put: u32, result: Result<(), ConnectError>) {
    let (result, error) = match result {
        Ok(()) => (Ok(()), None),
        Err(error) => (Err(Cause::not_made(&error)), Some(error)),
    };
    let input = Input::TokenPut { conn, put, result };
    let _ = facts.send(Fact::Found(input, error));
}

fn no_connection() -> ConnectError {
    ConnectError::Lost {
        phase: Phase::Attach,
        why: Lost::Protocol,
    }
}
