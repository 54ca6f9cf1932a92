//! The task that owns a client: it carries the supervisor's word to the connection, and what is found out to the
//! supervisor. It decides nothing, and waits for nothing but its three branches.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use iothub_sas::UnixTime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{self, Order, Plan};
use super::engine::{Encoded, Outgoing};
use super::lane::LaneOrder;
use super::{Fact, Facts};
use crate::credential::{Credential, CredentialError};
use crate::error::{Accepted, CloseError, ConnectError, Interruption, Phase, SendError};
use crate::status::{Statistics, Status};
use crate::supervisor::{Action, Cause, Epoch, Input, Supervisor, TicketId, TokenLife};

pub(crate) type SendResult = Result<Accepted, SendError>;

/// What a handle asks of the owner.
pub(crate) enum Command {
    /// Send this by then, and tell the outcome.
    Send {
        ticket: TicketId,
        payload: Payload,
        deadline: Instant,
        limit: Duration,
    },
    /// Nobody waits for this one any more.
    Withdraw(TicketId),
    /// Send what waits, then close, all within this time.
    Close {
        limit: Duration,
        reply: oneshot::Sender<Result<(), CloseError>>,
    },
}

/// A message while it has no outcome.
pub(crate) struct Payload {
    pub(crate) message: Encoded,
    pub(crate) reply: oneshot::Sender<SendResult>,
    /// Its room in the queue, given back when this is dropped.
    pub(crate) _room: Vec<OwnedSemaphorePermit>,
}

/// Why the owner has ended; set before its command channel closes.
pub(crate) type Ended = Arc<OnceLock<Interruption>>;

/// The parts that an owner is made of.
pub(crate) struct Parts {
    pub(crate) supervisor: Supervisor,
    pub(crate) plan: Arc<Plan>,
    pub(crate) credential: Arc<dyn Credential>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    /// Told once: that the first link is attached, or why the client has ended before.
    pub(crate) first: oneshot::Sender<Result<(), ConnectError>>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) statistics: watch::Sender<Statistics>,
    pub(crate) ended: Ended,
}

/// Runs until the supervisor has finished.
pub(crate) async fn run(parts: Parts) {
    let Parts {
        supervisor,
        plan,
        credential,
        mut commands,
        first,
        status,
        statistics,
        ended,
    } = parts;
    let (facts_in, mut facts) = mpsc::unbounded_channel();
    let mut owner = Owner {
        supervisor,
        plan,
        credential,
        facts: facts_in,
        tasks: JoinSet::new(),
        payloads: BTreeMap::new(),
        connection: None,
        lane: None,
        token: None,
        first: Some(first),
        error: None,
        closers: Vec::new(),
        close_limit: Duration::ZERO,
        status,
    };
    owner.supervisor.handle_timeout(Instant::now().into_std());
    let mut orphaned = false;
    let result = loop {
        // Before the outcomes, so that who hears of one finds it counted.
        statistics.send_replace(owner.supervisor.statistics());
        if let Some(result) = owner.act() {
            break result;
        }
        let due = owner.supervisor.poll_timeout();
        let due_at = due.map_or_else(Instant::now, Instant::from_std);
        tokio::select! {
            biased;
            Some(fact) = facts.recv() => owner.hear(fact),
            command = commands.recv(), if !orphaned => match command {
                Some(command) => owner.obey(command),
                None => {
                    orphaned = true;
                    owner.close(owner.plan.limit);
                }
            },
            () = sleep_until(due_at), if due.is_some() => {
                owner.supervisor.handle_timeout(Instant::now().into_std());
            }
        }
        while owner.tasks.try_join_next().is_some() {}
    };
    owner.end(result, &mut commands, &ended).await;
}

struct Owner {
    supervisor: Supervisor,
    plan: Arc<Plan>,
    credential: Arc<dyn Credential>,
    facts: Facts,
    /// Connections, and questions to the credential.
    tasks: JoinSet<()>,
    payloads: BTreeMap<TicketId, Payload>,
    connection: Option<Present>,
    lane: Option<(Epoch, mpsc::UnboundedSender<LaneOrder>)>,
    token: Option<iothub_sas::SasToken>,
    first: Option<oneshot::Sender<Result<(), ConnectError>>>,
    /// Why the last thing could not be made.
    error: Option<ConnectError>,
    closers: Vec<oneshot::Sender<Result<(), CloseError>>>,
    close_limit: Duration,
    status: watch::Sender<Status>,
}

/// The present connection. Dropping it stops its task.
struct Present {
    conn: u32,
    orders: mpsc::UnboundedSender<Order>,
    _stop: oneshot::Sender<()>,
}

impl Owner {
    fn hear(&mut self, fact: Fact) {
        let now = Instant::now().into_std();
        let input = match fact {
            Fact::Found(input, error) => {
                if error.is_some() {
                    self.error = error;
                }
                input
            }
            Fact::Token(Ok(token)) => {
                let left = token
                    .expires_at()
                    .saturating_duration_since(UnixTime::from(SystemTime::now()));
                let renews = self.credential.renews();
                self.token = Some(token);
                Input::Token(Ok(TokenLife { left, renews }))
            }
            Fact::Token(Err(error)) => {
                let error = ConnectError::Credential(error);
                let cause = Cause::not_made(&error);
                self.error = Some(error);
                Input::Token(Err(cause))
            }
        };
        self.supervisor.handle(input, now);
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now().into_std();
        match command {
            Command::Send {
                ticket,
                payload,
                deadline,
                limit,
            } => {
                let size = payload.message.size();
                let deadline = deadline.into_std();
                self.payloads.insert(ticket, payload);
                let input = Input::Enqueue {
                    ticket,
                    size,
                    deadline,
                    limit,
                };
                self.supervisor.handle(input, now);
            }
            Command::Withdraw(ticket) => self.supervisor.handle(Input::Withdraw(ticket), now),
            Command::Close { limit, reply } => {
                self.closers.push(reply);
                self.close(limit);
            }
        }
    }

    fn close(&mut self, limit: Duration) {
        if self.close_limit.is_zero() {
            self.close_limit = limit;
        }
        let now = Instant::now().into_std();
        let deadline = now + limit;
        self.supervisor.handle(Input::Close { deadline }, now);
    }

    /// Does all that the supervisor asks for; `Some` when it has finished.
    fn act(&mut self) -> Option<Result<(), Interruption>> {
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::FetchToken => self.fetch_token(),
                Action::Dial { conn } => self.dial(conn),
                Action::Blow { conn } => {
                    self.lane = None;
                    self.connection.take_if(|present| present.conn == conn);
                }
                Action::CloseGently { deadline, .. } => {
                    self.lane = None;
                    let limit = deadline.saturating_duration_since(Instant::now().into_std());
                    self.order(Order::Close(limit));
                }
                Action::PutToken { put, .. } => {
                    if let Some(token) = self.token.clone() {
                        self.order(Order::PutToken { put, token });
                    }
                }
                Action::OpenLane(epoch) => {
                    let (orders, queue) = mpsc::unbounded_channel();
                    self.lane = Some((epoch, orders));
                    self.order(Order::OpenLane(epoch, queue));
                }
                Action::CloseLane(epoch) => drop(self.lane.take_if(|(present, _)| *present == epoch)),
                Action::Transfer {
                    epoch,
                    transfer,
                    tickets,
                } => {
                    let messages = tickets
                        .iter()
                        .filter_map(|ticket| self.payloads.get(ticket))
                        .map(|payload| payload.message.clone())
                        .collect();
                    if let Some(outgoing) = Outgoing::of(messages) {
                        self.lane_order(epoch, LaneOrder::Transfer(transfer, outgoing));
                    }
                }
                Action::TakeBack { epoch, transfer } => {
                    self.lane_order(epoch, LaneOrder::TakeBack(transfer));
                }
                Action::Complete(ticket, result) => {
                    if let Some(payload) = self.payloads.remove(&ticket) {
                        let _ = payload.reply.send(result); // whoever asked may have gone
                    }
                }
                Action::Report(status) => self.report(status),
                Action::Finished(result) => return Some(result),
            }
        }
        None
    }

    fn fetch_token(&mut self) {
        let (credential, facts) = (Arc::clone(&self.credential), self.facts.clone());
        let (resource, limit) = (self.plan.resource.clone(), self.plan.limit);
        self.tasks.spawn(async move {
            let now = UnixTime::from(SystemTime::now());
            // The supervisor counts the same time, and goes on without the answer.
            let answer = timeout(limit, credential.token(&resource, now)).await;
            let answer =
                answer.unwrap_or_else(|_| Err(CredentialError::passing("the credential does not answer")));
            let _ = facts.send(Fact::Token(answer));
        });
    }

    fn dial(&mut self, conn: u32) {
        let (orders, queue) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (plan, token, facts) = (Arc::clone(&self.plan), self.token.clone(), self.facts.clone());
        self.tasks
            .spawn(connection::run(plan, conn, token, queue, stopped, facts));
        self.lane = None;
        self.connection = Some(Present {
            conn,
            orders,
            _stop: stop,
        });
    }

    /// What a task that has ended does not hear, it has answered with its end.
    fn order(&self, order: Order) {
        if let Some(present) = &self.connection {
            let _ = present.orders.send(order);
        }
    }

    fn lane_order(&self, epoch: Epoch, order: LaneOrder) {
        if let Some((_, lane)) = self.lane.as_ref().filter(|(present, _)| *present == epoch) {
            let _ = lane.send(order);
        }
    }

    fn report(&mut self, status: Status) {
        tracing::debug!(?status, "status");
        if status == Status::Connected
            && let Some(first) = self.first.take()
        {
            let _ = first.send(Ok(()));
        }
        self.status.send_replace(status);
    }

    /// Ends what is left, and answers who still asks.
    async fn end(
        mut self,
        result: Result<(), Interruption>,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        ended: &Ended,
    ) {
        let why = match &*self.status.borrow() {
            Status::Ended { why } => why.clone(),
            _ => Interruption::Stopped,
        };
        let _ = ended.set(why.clone());
        commands.close();
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::Send { payload, .. } => {
                    let _ = payload.reply.send(Err(SendError::NotSent(why.clone())));
                }
                Command::Withdraw(_) => {}
                Command::Close { reply, .. } => self.closers.push(reply),
            }
        }
        self.lane = None;
        self.connection = None;
        if let Some(first) = self.first.take() {
            // With no error of something that could not be made, what was made has ended before it was of use.
            let ended = || ConnectError::interrupted(Phase::Begin, why.clone());
            let _ = first.send(Err(self.error.take().unwrap_or_else(ended)));
        }
        // Their fuses are blown: they have nothing to wait for.
        let _ = timeout(super::REASON_TIMEOUT, async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
        let closed = match result {
            Ok(()) => Ok(()),
            Err(Interruption::TimedOut {
                phase: Phase::Close, ..
            }) => Err(CloseError::TimedOut {
                after: self.close_limit,
            }),
            Err(why) => Err(CloseError::Ended(why)),
        };
        for reply in self.closers {
            let _ = reply.send(closed.clone());
        }
    }
}
