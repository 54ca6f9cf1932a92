//! The one task that owns the hub. Everyone else asks it over one bounded channel.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iothub_address::Identity;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Timestamp};
use crate::feed::Growth;
use crate::hub::{
    Activity, Answer, AuthFailure, Claim, Command, ConnectionId, Effect, Event, Grant, Hub, Message, Refusal,
    Reply, Side,
};

/// Runs the hub until every [`HubHandle`] is gone.
pub(crate) async fn run(
    mut hub: Hub,
    mut requests: mpsc::Receiver<Request>,
    clock: Arc<dyn Clock>,
    events: Growth<Event>,
    activities: Growth<Activity>,
) {
    let mut waiting = Waiting::default();
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let now = clock.now();
        for request in batch.drain(..) {
            waiting.serve(&mut hub, request, now);
            while let Some(effect) = hub.poll_effect() {
                waiting.perform(effect);
            }
        }
        events.publish();
        activities.publish();
    }
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    next_reply: Reply,
    answers: HashMap<Reply, oneshot::Sender<Answer>>,
    orders: HashMap<ConnectionId, oneshot::Sender<Refusal>>,
}

impl Waiting {
    fn serve(&mut self, hub: &mut Hub, request: Request, now: Timestamp) {
        match request {
            Request::Came {
                connection,
                peer,
                orders,
            } => {
                self.orders.insert(connection, orders);
                hub.handle(connection, Command::Came { peer }, now);
            }
            Request::Ask {
                connection,
                ask,
                answer,
            } => {
                self.next_reply += 1;
                let reply = self.next_reply;
                self.answers.insert(reply, answer);
                let command = match ask {
                    Ask::Authenticate(claim) => Command::Authenticate { claim, reply },
                    Ask::OpenLink { address, side } => Command::OpenLink { address, side, reply },
                    Ask::Telemetry { sender, messages } => Command::Telemetry {
                        sender,
                        messages,
                        reply,
                    },
                };
                hub.handle(connection, command, now);
            }
            Request::Gone { connection, why } => {
                self.orders.remove(&connection);
                hub.handle(connection, Command::Gone { why }, now);
            }
            Request::Run(work) => work(hub, now),
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(reply, answer) => {
                if let Some(waiter) = self.answers.remove(&reply) {
                    // Who asked may have gone meanwhile.
                    let _ = waiter.send(answer);
                }
            }
            Effect::Close(connection, refusal) => {
                if let Some(order) = self.orders.remove(&connection) {
                    let _ = order.send(refusal);
                }
            }
        }
    }
}

pub(crate) enum Request {
    Came {
        connection: ConnectionId,
        peer: SocketAddr,
        orders: oneshot::Sender<Refusal>,
    },
    Ask {
        connection: ConnectionId,
        ask: Ask,
        answer: oneshot::Sender<Answer>,
    },
    Gone {
        connection: ConnectionId,
        why: String,
    },
    Run(Work),
}

type Work = Box<dyn FnOnce(&mut Hub, Timestamp) + Send>;

pub(crate) enum Ask {
    Authenticate(Claim),
    OpenLink {
        address: String,
        side: Side,
    },
    Telemetry {
        sender: Identity,
        messages: Vec<Message>,
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
}

impl HubHandle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        (
            Self {
                requests,
                connections: Arc::default(),
            },
            receiver,
        )
    }

    /// A new connection, and where the hub will say that it must close.
    pub(crate) async fn connect(
        &self,
        peer: SocketAddr,
    ) -> Result<(Client, oneshot::Receiver<Refusal>), HubStopped> {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (orders, ordered) = oneshot::channel();
        self.send(Request::Came {
            connection,
            peer,
            orders,
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

    /// Does something with the hub that is not one connection's.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Hub, Timestamp) -> R + Send + 'static,
    ) -> Result<R, HubStopped> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |hub, now| {
            let _ = answer.send(work(hub, now));
        });
        self.send(Request::Run(work)).await?;
        answered.await.map_err(|_| HubStopped)
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

/// One connection's way to the hub. Clones speak for the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    hub: HubHandle,
    connection: ConnectionId,
}

impl Client {
    pub(crate) const fn connection(&self) -> ConnectionId {
        self.connection
    }

    pub(crate) async fn authenticate(&self, claim: Claim) -> Result<Result<(), AuthFailure>, HubStopped> {
        match self.ask(Ask::Authenticate(claim)).await? {
            Answer::Admitted(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    pub(crate) async fn open_link(
        &self,
        address: String,
        side: Side,
    ) -> Result<Result<Grant, Refusal>, HubStopped> {
        match self.ask(Ask::OpenLink { address, side }).await? {
            Answer::Link(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    pub(crate) async fn telemetry(
        &self,
        sender: Identity,
        messages: Vec<Message>,
    ) -> Result<Result<(), Refusal>, HubStopped> {
        match self.ask(Ask::Telemetry { sender, messages }).await? {
            Answer::Took(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    pub(crate) async fn gone(&self, why: String) {
        let gone = Request::Gone {
            connection: self.connection,
            why,
        };
        // A hub that has stopped has nobody connected.
        let _ = self.hub.send(gone).await;
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, HubStopped> {
        let (answer, answered) = oneshot::channel();
        self.hub
            .send(Request::Ask {
                connection: self.connection,
                ask,
                answer,
            })
            .await?;
        answered.await.map_err(|_| HubStopped)
    }
}

/// How many requests may wait for the hub; who asks more waits at the door. A connection has at most one request
/// for each of its links there.
const REQUESTS: usize = 1024;
/// How many requests are served before the readers of the logs are woken.
const BATCH: usize = 64;
