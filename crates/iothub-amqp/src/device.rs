//! The device client: one device or module, over connections that are made anew as need be.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use iothub_address::{AmqpUrl, ConnectionString, HubHost, Identity};
use iothub_sas::UnixTime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::builder::DeviceClientBuilder;
use crate::config::MAX_DEVICES;
use crate::driver::command::{Command, Payload, SendResult};
use crate::driver::engine::Encoded;
use crate::driver::member::Ended;
use crate::error::{
    Accepted, CloseError, ConnectError, EnqueueError, Interruption, Lost, Phase, SendError, SubscribeError,
};
use crate::room::{Place, Room};
use crate::supervisor::{LaneKind, RequestId, SignIn, SlotId, TicketId};
use crate::{ClientCertificate, Commands, Credential, Message, Methods, Statistics, Status, Twin};

/// A device's or module's client of its hub, by AMQP 1.0 over TLS.
///
/// Clones share what there is. It lasts until [`close`](Self::close), until the last clone
/// and the last of its streams is dropped, or until
/// something happens that trying again can't cure; what can be cured is ([`recovery`](crate::recovery)), unless
/// [`Recover::Never`](crate::Recover::Never) was asked for. [`status`](Self::status) tells how it stands.
///
/// # Delivery
/// A message is acknowledged only when the hub has accepted it, and each gets one outcome. Messages are handed over in
/// order, and the hub gets first copies in order, through cuts too, unless the hub gives some back or rejects them.
/// What was on its way when a link or connection was lost is sent again, first and in order: then, and only then, the
/// hub may get it twice, at the most one [window](crate::DeviceClientBuilder::window) of transfers a loss. An outcome that
/// can't be known is [`SendError::Unknown`], never anything else.
///
/// # Cancel safety
/// Any future of a client, its streams and what comes of them may be dropped at any point. Nothing that was accepted is
/// lost by it, nothing is sent twice, and what it held on to is free; what may have happened then stands at each.
///
/// # Examples
/// ```no_run
/// use iothub_address::AmqpUrl;
/// use iothub_amqp::{DeviceClient, Message};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = std::env::var("DEVICE_URL")?; // amqps://DEVICE@sas.HUB:TOKEN@HUB.azure-devices.net/devices/DEVICE/messages/events
/// let client = DeviceClient::at(&AmqpUrl::parse(&url)?)?.connect().await?;
/// client.send(Message::new("Hello World!")).await?;
/// client.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeviceClient {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
}

/// What the clones of a client and its streams share. When the last is gone, so is the client.
pub(crate) struct Shared {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) slot: SlotId,
    counters: Arc<Counters>,
    room: Room,
    pub(crate) ended: Ended,
    pub(crate) limit: Duration,
    queue_timeout: Duration,
    status: watch::Receiver<Status>,
    statistics: watch::Receiver<Statistics>,
    token_ends: watch::Receiver<Option<UnixTime>>,
}

/// What tickets, requests and slots of a connection are numbered by.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    tickets: AtomicU64,
    requests: AtomicU64,
    slots: AtomicU32,
    /// Devices that have joined, or are about to, and have not gone.
    members: AtomicUsize,
}

impl Counters {
    /// One device more, if there is room for it.
    pub(crate) fn join(&self) -> Option<SlotId> {
        self.members
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |members| {
                (members < MAX_DEVICES).then_some(members + 1)
            })
            .ok()?;
        Some(SlotId(self.slots.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }
}

/// What a client is made of.
pub(crate) struct Parts {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) slot: SlotId,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ended: Ended,
    pub(crate) limit: Duration,
    pub(crate) queue_timeout: Duration,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) statistics: watch::Receiver<Statistics>,
    pub(crate) token_ends: watch::Receiver<Option<UnixTime>>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            commands: parts.commands,
            slot: parts.slot,
            counters: parts.counters,
            room: Room::new(),
            ended: parts.ended,
            limit: parts.limit,
            queue_timeout: parts.queue_timeout,
            status: parts.status,
            statistics: parts.statistics,
            token_ends: parts.token_ends,
        }
    }

    /// Sends a message and waits for its outcome.
    pub(crate) async fn send(&self, message: Message) -> SendResult {
        let shared = self;
        let deadline = Instant::now() + shared.limit;
        let weight = message.weight();
        let Ok(place) = timeout_at(deadline, shared.room.wait(weight)).await else {
            return Err(SendError::NotSent(Interruption::TimedOut {
                phase: Phase::Credit,
                after: shared.limit,
            }));
        };
        let (ticket, outcome) = shared
            .give(message, place, deadline, shared.limit)
            .map_err(SendError::NotSent)?;
        let mut withdrawal = Withdrawal {
            ticket: Some(ticket),
            shared,
        };
        // The owner answers everything it took by a deadline, unless its task died.
        let result = outcome.await;
        withdrawal.ticket = None;
        result.unwrap_or_else(|_| Err(SendError::Unknown(shared.why_ended())))
    }

    fn give(
        &self,
        message: Message,
        place: Place,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(TicketId, oneshot::Receiver<SendResult>), Interruption> {
        let (reply, outcome) = oneshot::channel();
        let shared = self;
        let ticket = TicketId(shared.counters.tickets.fetch_add(1, Ordering::Relaxed));
        let command = Command::Send {
            slot: shared.slot,
            ticket,
            payload: Payload {
                message: Encoded::from(message),
                reply,
                _place: place,
            },
            deadline,
            limit,
        };
        match shared.commands.send(command) {
            Ok(()) => Ok((ticket, outcome)),
            Err(_) => Err(shared.why_ended()),
        }
    }

    pub(crate) fn statistics(&self) -> Statistics {
        *self.statistics.borrow()
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Sends what waits, then ends, all within this time.
    pub(crate) async fn leave(&self, limit: Duration) -> Result<(), CloseError> {
        let (reply, closed) = oneshot::channel();
        let leave = Command::Leave {
            slot: self.slot,
            limit,
            reply: Some(reply),
        };
        if self.commands.send(leave).is_err() {
            return Err(CloseError::Ended(self.why_ended()));
        }
        closed
            .await
            .unwrap_or_else(|_| Err(CloseError::Ended(self.why_ended())))
    }

    pub(crate) fn why_ended(&self) -> Interruption {
        why_ended(&self.ended)
    }

    /// Even numbers: the odd ones are the supervisor's own.
    pub(crate) fn next_request(&self) -> RequestId {
        RequestId(self.counters.requests.fetch_add(2, Ordering::Relaxed))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.counters.members.fetch_sub(1, Ordering::Relaxed);
        let _ = self.commands.send(Command::Leave {
            slot: self.slot,
            limit: self.limit,
            reply: None,
        });
    }
}

impl DeviceClient {
    /// A client for `host`, as `identity`, with tokens of `credential`, to be signed in by SASL PLAIN.
    #[must_use]
    pub fn builder(host: HubHost, identity: Identity, credential: impl Credential) -> DeviceClientBuilder {
        DeviceClientBuilder::new(host, identity, Some(Arc::new(credential)), SignIn::Plain)
    }

    /// A client for `host`, as `identity`, signed in by its own certificate.
    #[must_use]
    pub fn by_certificate(
        host: HubHost,
        identity: Identity,
        certificate: ClientCertificate,
    ) -> DeviceClientBuilder {
        DeviceClientBuilder::new(host, identity, None, SignIn::Certificate).certificate(certificate)
    }

    /// A client as a double-"@" address says: host, port, hub, identity and token.
    ///
    /// An `amqp` address asks for [plain TCP](DeviceClientBuilder::plain_tcp_to_this_machine).
    ///
    /// # Errors
    /// [`ConnectError::NoToken`] without a password that is a token, [`ConnectError::NotADevice`] for a policy's user or
    /// another node than the identity's own telemetry.
    pub fn at(url: &AmqpUrl) -> Result<DeviceClientBuilder, ConnectError> {
        DeviceClientBuilder::at(url)
    }

    /// A client as a connection string says, to be signed in by claims-based security; or, if it says `x509=true`, by a
    /// [certificate](DeviceClientBuilder::certificate) that is still to be given.
    ///
    /// # Errors
    /// [`ConnectError::NotADevicesConnection`] for any but a device's or module's own with a key, a token or `x509=true`,
    /// [`ConnectError::BadKey`] and [`ConnectError::BadToken`] for one that can't be read.
    pub fn with(connection: &ConnectionString) -> Result<DeviceClientBuilder, ConnectError> {
        DeviceClientBuilder::with(connection)
    }

    pub(crate) fn new(shared: Arc<Shared>, identity: Identity) -> Self {
        let identity = Arc::new(identity);
        Self { shared, identity }
    }

    /// Whose client this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Listens to cloud-to-device messages, and returns when the first can come.
    ///
    /// # Errors
    /// [`SubscribeError::AlreadyOpen`] while another such stream is; [`SubscribeError::Ended`] if the hub refuses the
    /// link, the client has ended, or nothing answers within three [operation
    /// timeouts](DeviceClientBuilder::operation_timeout).
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn commands(&self) -> Result<Commands, SubscribeError> {
        Commands::open(&self.shared, LaneKind::Commands).await
    }

    /// Listens to what an Edge hub routes to this module's inputs, and returns when the first can come.
    ///
    /// # Errors
    /// As [`commands`](Self::commands).
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn inputs(&self) -> Result<Commands, SubscribeError> {
        Commands::open(&self.shared, LaneKind::Inputs).await
    }

    /// Listens to direct methods, and returns when they can be called.
    ///
    /// # Errors
    /// As [`commands`](Self::commands).
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn methods(&self) -> Result<Methods, SubscribeError> {
        Methods::open(&self.shared).await
    }

    /// The twin. Its links are attached when it is first used.
    #[must_use]
    pub fn twin(&self) -> Twin {
        Twin::new(&self.shared)
    }

    /// Sends a message and waits for its outcome, for the [operation timeout](DeviceClientBuilder::operation_timeout).
    ///
    /// It may take a second more to learn of a message that was offered to its link whether that has handed it over, and
    /// five more while a connection by SASL PLAIN is replaced before its token ends.
    ///
    /// Calls may overlap: up to a [window](crate::DeviceClientBuilder::window) of a client's messages fly at once, handed
    /// over in the order of the calls. While there is no connection the message waits for one.
    ///
    /// # Errors
    /// See [`SendError`]; only [`SendError::Unknown`] leaves open whether the hub has the message.
    ///
    /// # Delivery
    /// `Ok` means that the hub has accepted the message. What [`DeviceClient`] says of copies holds.
    ///
    /// # Cancel safety
    /// A message that still waits in this client when the future is dropped is withdrawn. One that was offered to its link
    /// is not, handed over or not: it leaves as soon as the link has credit, and nobody hears of its outcome.
    pub async fn send(&self, message: Message) -> Result<Accepted, SendError> {
        self.shared.send(message).await
    }

    /// Queues a message, behind those queued before, and gives what awaits its outcome.
    ///
    /// # Errors
    /// [`EnqueueError::QueueFull`] if [`QUEUE`](crate::QUEUE) messages or [`QUEUE_BYTES`](crate::QUEUE_BYTES) have no outcome
    /// yet, or who [sends](Self::send) waits for room; [`EnqueueError::Ended`] if the client has ended.
    ///
    /// # Delivery
    /// What is queued stays so through lost connections, until it has an outcome, its
    /// [time](DeviceClientBuilder::queue_timeout) is up, or the client ends. It does not outlive the process.
    ///
    /// # Cancel safety
    /// The message is queued when this returns. Dropping the [`Ticket`] takes nothing back.
    pub fn enqueue(&self, message: Message) -> Result<Ticket, EnqueueError> {
        let weight = message.weight();
        let shared = &self.shared;
        if let Some(why) = shared.ended.get() {
            return Err(EnqueueError::Ended(why.clone()));
        }
        let place = shared.room.take(weight).ok_or_else(|| match shared.ended.get() {
            Some(why) => EnqueueError::Ended(why.clone()),
            None => EnqueueError::QueueFull,
        })?;
        let deadline = Instant::now() + shared.queue_timeout;
        let (_, outcome) = shared
            .give(message, place, deadline, shared.queue_timeout)
            .map_err(EnqueueError::Ended)?;
        Ok(Ticket {
            outcome,
            ended: Ended::clone(&shared.ended),
        })
    }

    /// How the client stands, now and whenever that changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status()
    }

    /// What the client has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics()
    }

    /// When the token in use comes to its end; `None` for a device that signs in by a certificate.
    ///
    /// A credential that renews gives another one in time, and this moves on. The one token of an address, or a
    /// [`SasToken`](iothub_sas::SasToken) as a credential, is good until then: the hub ends the connection some minutes
    /// later, and the client ends with [`Interruption::TokenExpired`] instead of connecting again.
    #[must_use]
    pub fn token_expires_at(&self) -> Option<UnixTime> {
        *self.shared.token_ends.borrow()
    }

    /// Waits for the outcome of everything that was sent and queued, then detaches, ends and closes; all within the
    /// [operation timeout](DeviceClientBuilder::operation_timeout).
    ///
    /// # Errors
    /// [`CloseError`] if the farewell did not go as it should. The connection is gone in any case.
    ///
    /// # Delivery
    /// What has no outcome in time gets [`SendError::NotSent`] or [`SendError::Unknown`], whichever is true.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing, only the waiting for it.
    pub async fn close(self) -> Result<(), CloseError> {
        let limit = self.shared.limit;
        self.close_within(limit).await
    }

    /// Like [`close`](Self::close), within a time of one's own.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    ///
    /// # Cancel safety
    /// As [`close`](Self::close).
    pub async fn close_within(self, limit: Duration) -> Result<(), CloseError> {
        self.shared.leave(limit).await
    }
}

fn why_ended(ended: &Ended) -> Interruption {
    ended.get().cloned().unwrap_or(Interruption::Lost(Lost::Protocol))
}

impl fmt::Debug for DeviceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceClient")
            .field("identity", &self.identity)
            .field("ended", &self.shared.ended.get())
            .finish_non_exhaustive()
    }
}

/// Awaits the outcome of a message that was [enqueued](DeviceClient::enqueue).
///
/// # Delivery
/// Every ticket completes, by the message's deadline at the latest, or with the client's end.
///
/// # Cancel safety
/// Dropping it takes nothing back: the message is sent all the same.
#[derive(Debug)]
#[must_use = "whether the hub took the message is told here alone"]
pub struct Ticket {
    outcome: oneshot::Receiver<SendResult>,
    ended: Ended,
}

impl Future for Ticket {
    type Output = SendResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SendResult> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        Poll::Ready(outcome.unwrap_or_else(|_| Err(SendError::Unknown(why_ended(&self.ended)))))
    }
}

/// Takes a message back whose sender has lost interest.
struct Withdrawal<'a> {
    ticket: Option<TicketId>,
    shared: &'a Shared,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let slot = self.shared.slot;
            let _ = self.shared.commands.send(Command::Withdraw { slot, ticket });
        }
    }
}
