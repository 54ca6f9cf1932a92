//! The one task that owns the hub. Everyone else asks it over one bounded channel.

mod client;
mod clock;
mod turn;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iothub_address::{Identity, Secret};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::client::{Client, Opened};
use self::clock::sleep_until;
pub(crate) use self::turn::NotDone;
use self::turn::{Deed, Unsaved};

use crate::clock::{SharedClock, Timestamp};
use crate::feed::Growth;
use crate::hub::{
    Activity, Answer, Call, Claim, ClientCertificate, Command, ConnectionId, Credit, Cut, Delivery, Effect,
    Event, Feedback, Heads, Hub, LinkId, LockToken, Message, MethodError, MethodResponse, Outcome, Parcel,
    Refusal, Reply, Side, Terms, TokenRequest, Traffic,
};
use crate::impairment::Impairment;
use crate::keeper::Keeper;
use crate::store::Writer;

/// Runs the hub until every [`HubHandle`] is gone. With a writer, nothing that the hub does is seen before the disk has
/// what it follows from.
pub(crate) async fn run(
    mut hub: Hub,
    mut requests: mpsc::Receiver<Request>,
    clock: SharedClock,
    logs: Logs,
    writer: Option<Writer>,
) {
    let mut waiting = Waiting::new(writer);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let deadline = waiting.deadline(&hub);
        let has_room = waiting.has_room();
        tokio::select! {
            biased;
            outcome = turn::report(&mut waiting.keeper) => waiting.reported(outcome, &mut hub, &logs, clock.now()),
            count = requests.recv_many(&mut batch, BATCH), if has_room => if count == 0 { break },
            () = sleep_until(deadline, &clock) => {}
        }
        let mut now = clock.now();
        let changes = hub.changes_made();
        for request in batch.drain(..) {
            if let Request::TurnClock { by, turned } = request {
                clock.turn(by);
                now = clock.now();
                hub.handle_timeout(now);
                waiting.perform_all(&mut hub, &logs);
                waiting.answer(&logs, move |_| {
                    let _ = turned.send(now);
                });
                continue;
            }
            waiting.serve(&mut hub, request, &logs, now);
            waiting.perform_all(&mut hub, &logs);
        }
        hub.handle_timeout(now);
        waiting.perform_all(&mut hub, &logs);
        waiting.end_turn(&mut hub, changes, &logs, now);
        // Before the readers are woken: some of them look here.
        logs.heads.show(logs.events.shown());
        logs.events.publish();
        logs.activities.publish();
        logs.traffic.publish();
        logs.feedback.publish();
    }
    if let Some(keeper) = waiting.keeper {
        keeper.close().await;
    }
}

/// What readers read.
pub(crate) struct Logs {
    pub(crate) events: Growth<Event>,
    pub(crate) heads: Heads,
    pub(crate) activities: Growth<Activity>,
    pub(crate) traffic: Growth<Traffic>,
    pub(crate) feedback: Growth<Feedback>,
}

/// What a connection must do. It is its last order.
#[derive(Debug)]
pub(crate) enum ConnectionOrder {
    /// Close, and say why unless there is nothing to say.
    Close(Option<Refusal>),
    /// Break off without a word of AMQP.
    Blow(Cut),
}

/// What a link must do.
#[derive(Debug)]
pub(crate) enum LinkOrder {
    /// Send this.
    Send(Box<Parcel>),
    /// Detach, and say why unless there is nothing to say. It is the last order.
    Detach(Option<Refusal>),
    /// End the session with all its links, and say why. It is the last order.
    EndSession(Option<Refusal>),
}

/// Who waits for what.
struct Waiting {
    keeper: Option<Keeper<Deed>>,
    /// With a keeper: what is to be done at the end of the turn.
    turn: Vec<Deed>,
    next_reply: Reply,
    answers: HashMap<Reply, Waiter>,
    orders: HashMap<ConnectionId, oneshot::Sender<ConnectionOrder>>,
    link_orders: HashMap<LinkId, mpsc::Sender<LinkOrder>>,
    impairments: HashMap<ConnectionId, Impairment>,
}

struct Waiter {
    answer: oneshot::Sender<Answer>,
    /// Of a link that is to be opened: where its orders go.
    link: Option<(LinkId, mpsc::Sender<LinkOrder>)>,
}

impl Waiting {
    fn new(writer: Option<Writer>) -> Self {
        Self {
            keeper: writer.map(Keeper::new),
            turn: Vec::new(),
            next_reply: 0,
            answers: HashMap::new(),
            orders: HashMap::new(),
            link_orders: HashMap::new(),
            impairments: HashMap::new(),
        }
    }

    fn serve(&mut self, hub: &mut Hub, request: Request, logs: &Logs, now: Timestamp) {
        match request {
            Request::Came {
                connection,
                peer,
                orders,
                impairment,
            } => {
                self.orders.insert(connection, orders);
                self.impairments.insert(connection, impairment);
                hub.handle(connection, Command::Came { peer }, now);
            }
            Request::Ask {
                connection,
                ask,
                answer,
            } => {
                self.next_reply += 1;
                let reply = self.next_reply;
                let mut link_orders = None;
                let command = match ask {
                    Ask::Authenticate { claim, certificate } => Command::Authenticate {
                        claim,
                        certificate,
                        reply,
                    },
                    Ask::PutToken(request) => Command::PutToken { request, reply },
                    Ask::OpenLink {
                        link,
                        orders,
                        address,
                        side,
                        terms,
                    } => {
                        link_orders = Some((link, orders));
                        Command::OpenLink {
                            link,
                            address,
                            side,
                            terms,
                            reply,
                        }
                    }
                    Ask::Send { message } => Command::Send { message, reply },
                    Ask::Manage { token } => Command::Manage { token, reply },
                    Ask::Request { link, message } => Command::Request { link, message, reply },
                    Ask::Settle { link, tag, outcome } => Command::Settle {
                        link,
                        tag,
                        outcome,
                        reply,
                    },
                    Ask::Telemetry { sender, deliveries } => Command::Telemetry {
                        sender,
                        deliveries,
                        reply,
                    },
                };
                let waiter = Waiter {
                    answer,
                    link: link_orders,
                };
                self.answers.insert(reply, waiter);
                hub.handle(connection, command, now);
            }
            Request::Call {
                identity,
                call,
                answer,
            } => {
                self.next_reply += 1;
                let waiter = Waiter { answer, link: None };
                self.answers.insert(self.next_reply, waiter);
                hub.call_method(&identity, call, self.next_reply, now);
            }
            Request::Credit {
                connection,
                link,
                credit,
            } => hub.handle(connection, Command::Credit { link, credit }, now),
            Request::LinkGone { connection, link } => {
                self.link_orders.remove(&link);
                hub.handle(connection, Command::LinkGone { link }, now);
            }
            Request::Gone { connection, why } => {
                self.orders.remove(&connection);
                self.impairments.remove(&connection);
                hub.handle(connection, Command::Gone { why }, now);
            }
            // The clock is not ours.
            Request::TurnClock { .. } => {}
            Request::Run(work) => {
                let answer = work(hub, now);
                while let Some(effect) = hub.poll_effect() {
                    self.perform_or_keep(Deed::Effect(effect), logs);
                }
                self.answer(logs, answer);
            }
        }
    }

    fn perform_all(&mut self, hub: &mut Hub, logs: &Logs) {
        while let Some(effect) = hub.poll_effect() {
            self.perform_or_keep(Deed::Effect(effect), logs);
        }
    }

    fn perform(&mut self, deed: Deed, logs: &Logs) {
        let effect = match deed {
            Deed::Effect(effect) => effect,
            Deed::Answer(answer) => return answer(Ok(())),
            Deed::Show(until) => return logs.show(until),
        };
        match effect {
            Effect::Answer(reply, answer) => {
                if let Some(waiter) = self.answers.remove(&reply) {
                    if matches!(answer, Answer::Link(Ok(_))) {
                        self.link_orders.extend(waiter.link);
                    }
                    // Who asked may have gone meanwhile.
                    let _ = waiter.answer.send(answer);
                }
            }
            Effect::Send(link, delivery) => {
                if let Some(orders) = self.link_orders.get(&link)
                    && orders.try_send(LinkOrder::Send(delivery)).is_err()
                {
                    // The link finds the end of its orders, and ends.
                    self.link_orders.remove(&link);
                }
            }
            Effect::Detach(link, refusal) => self.order_last(link, LinkOrder::Detach(Some(refusal))),
            Effect::DetachGently(link) => self.order_last(link, LinkOrder::Detach(None)),
            Effect::End(link, refusal) => self.order_last(link, LinkOrder::EndSession(Some(refusal))),
            Effect::EndGently(link) => self.order_last(link, LinkOrder::EndSession(None)),
            Effect::Close(connection, refusal) => {
                self.order_connection(connection, ConnectionOrder::Close(Some(refusal)));
            }
            Effect::CloseGently(connection) => {
                self.order_connection(connection, ConnectionOrder::Close(None));
            }
            Effect::Blow(connection, cut) => self.order_connection(connection, ConnectionOrder::Blow(cut)),
            Effect::Impair(connection, impairments) => {
                if let Some(impairment) = self.impairments.get(&connection) {
                    impairment.set(impairments);
                }
            }
        }
    }

    /// A link whose orders nobody takes finds their end when it comes for them, which ends it too.
    fn order_last(&mut self, link: LinkId, order: LinkOrder) {
        if let Some(orders) = self.link_orders.remove(&link) {
            let _ = orders.try_send(order);
        }
    }

    fn order_connection(&mut self, connection: ConnectionId, order: ConnectionOrder) {
        if let Some(orders) = self.orders.remove(&connection) {
            let _ = orders.send(order);
        }
    }
}

pub(crate) enum Request {
    Came {
        connection: ConnectionId,
        peer: SocketAddr,
        orders: oneshot::Sender<ConnectionOrder>,
        impairment: Impairment,
    },
    Ask {
        connection: ConnectionId,
        ask: Ask,
        answer: oneshot::Sender<Answer>,
    },
    Call {
        identity: Identity,
        call: Call,
        answer: oneshot::Sender<Answer>,
    },
    Credit {
        connection: ConnectionId,
        link: LinkId,
        credit: Credit,
    },
    LinkGone {
        connection: ConnectionId,
        link: LinkId,
    },
    Gone {
        connection: ConnectionId,
        why: String,
    },
    Run(Work),
    TurnClock {
        by: Duration,
        turned: oneshot::Sender<Timestamp>,
    },
}

/// Gives what is to be done once the effects of the work are.
type Work = Box<dyn FnOnce(&mut Hub, Timestamp) -> Box<dyn FnOnce(Result<(), Unsaved>) + Send> + Send>;

pub(crate) enum Ask {
    Authenticate {
        claim: Claim,
        certificate: Option<ClientCertificate>,
    },
    PutToken(TokenRequest),
    OpenLink {
        link: LinkId,
        orders: mpsc::Sender<LinkOrder>,
        address: String,
        side: Side,
        terms: Terms,
    },
    Send {
        message: Box<Message>,
    },
    Manage {
        token: Option<Secret>,
    },
    Request {
        link: LinkId,
        message: Box<Message>,
    },
    Settle {
        link: LinkId,
        tag: LockToken,
        outcome: Outcome,
    },
    Telemetry {
        sender: Identity,
        deliveries: Vec<Delivery>,
    },
}

/// The hub has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HubStopped;

/// How everyone but its owner reaches the hub.
#[derive(Clone)]
pub(crate) struct HubHandle {
    requests: mpsc::Sender<Request>,
    connections: Arc<AtomicU64>,
    links: Arc<AtomicU64>,
}

impl HubHandle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        (
            Self {
                requests,
                connections: Arc::default(),
                links: Arc::default(),
            },
            receiver,
        )
    }

    /// A new connection, and where the hub will say that it must close.
    pub(crate) async fn connect(
        &self,
        peer: SocketAddr,
        impairment: Impairment,
    ) -> Result<(Client, oneshot::Receiver<ConnectionOrder>), HubStopped> {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (orders, ordered) = oneshot::channel();
        self.send(Request::Came {
            connection,
            peer,
            orders,
            impairment,
        })
        .await?;
        Ok((
            Client {
                hub: self.clone(),
                connection,
            },
            ordered,
        ))
    }

    /// Does something with the hub that is not one connection's. Returns when its effects are done, and what it changed
    /// is on disk, if the hub has one.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Hub, Timestamp) -> R + Send + 'static,
    ) -> Result<R, NotDone> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |hub, now| {
            let result = work(hub, now);
            Box::new(move |saved: Result<(), Unsaved>| {
                let _ = answer.send(saved.map(|()| result));
            })
        });
        self.send(Request::Run(work)).await?;
        Ok(answered.await.map_err(|_| HubStopped)??)
    }

    /// Turns the hub's clock on; returns what it then shows, when what falls due by that is done.
    pub(crate) async fn turn_clock(&self, by: Duration) -> Result<Timestamp, NotDone> {
        let (turned, done) = oneshot::channel();
        self.send(Request::TurnClock { by, turned }).await?;
        done.await.map_err(|_| NotDone::Stopped)
    }

    /// Calls a method; returns when there is an answer, or will be none.
    pub(crate) async fn call_method(
        &self,
        identity: Identity,
        call: Call,
    ) -> Result<Result<MethodResponse, MethodError>, NotDone> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Call {
            identity,
            call,
            answer,
        })
        .await?;
        match answered.await {
            Ok(Answer::Method(outcome)) => Ok(outcome),
            _ => Err(NotDone::Stopped),
        }
    }

    async fn send(&self, request: Request) -> Result<(), HubStopped> {
        self.requests.send(request).await.map_err(|_| HubStopped)
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubHandle").finish_non_exhaustive()
    }
}

/// How many requests may wait for the hub; who asks more waits at the door. A connection has at most one request
/// for each of its links there.
const REQUESTS: usize = 1024;
/// How many requests are served before the readers of the logs are woken.
const BATCH: usize = 64;
