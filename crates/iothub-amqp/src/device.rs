//! The device client: one device or module and its telemetry, over connections that are made anew as need be.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use iothub_address::{AmqpUrl, ConnectionString, HubHost, Identity};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::builder::DeviceClientBuilder;
use crate::config::{QUEUE, QUEUE_BYTES};
use crate::driver::engine::Encoded;
use crate::driver::owner::{Command, Ended, Payload, SendResult};
use crate::error::{Accepted, CloseError, ConnectError, EnqueueError, Interruption, Lost, Phase, SendError};
use crate::supervisor::TicketId;
use crate::{Credential, Message, Statistics, Status};

/// A device's or module's client of its hub, by AMQP 1.0 over TLS.
///
/// Clones share the connection. It lasts until [`close`](Self::close), until the last clone is dropped, or until
/// something happens that trying again can't cure; what can be cured is ([`recovery`](crate::recovery)), unless
/// [`Recover::Never`](crate::Recover::Never) was asked for. [`status`](Self::status) tells how it stands.
///
/// # Delivery
/// A message is acknowledged only when the hub has accepted it, and each gets one outcome. Messages are handed over in
/// order, and the hub gets first copies in order, through cuts too, unless the hub gives some back or rejects them.
/// What was on its way when a link or connection was lost is sent again, first and in order: then, and only then, the
/// hub may get it twice, at the most one [`WINDOW`](crate::WINDOW) of transfers a loss. An outcome that can't be known is
/// [`SendError::Unknown`], never anything else.
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
    commands: mpsc::UnboundedSender<Command>,
    tickets: Arc<AtomicU64>,
    room: Room,
    ended: Ended,
    limit: Duration,
    queue_timeout: Duration,
    status: watch::Receiver<Status>,
    statistics: watch::Receiver<Statistics>,
}

impl DeviceClient {
    /// A client for `host`, as `identity`, with tokens of `credential`, to be signed in by SASL PLAIN.
    #[must_use]
    pub fn builder(host: HubHost, identity: Identity, credential: impl Credential) -> DeviceClientBuilder {
        DeviceClientBuilder::new(host, identity, Arc::new(credential))
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

    /// A client as a connection string says, to be signed in by claims-based security.
    ///
    /// # Errors
    /// [`ConnectError::NotADevicesConnection`] for any but a device's or module's own with a key or token,
    /// [`ConnectError::BadKey`] and [`ConnectError::BadToken`] for one that can't be read.
    pub fn with(connection: &ConnectionString) -> Result<DeviceClientBuilder, ConnectError> {
        DeviceClientBuilder::with(connection)
    }

    pub(crate) fn new(
        commands: mpsc::UnboundedSender<Command>,
        ended: Ended,
        (limit, queue_timeout): (Duration, Duration),
        status: watch::Receiver<Status>,
        statistics: watch::Receiver<Statistics>,
    ) -> Self {
        Self {
            commands,
            tickets: Arc::default(),
            room: Room::new(),
            ended,
            limit,
            queue_timeout,
            status,
            statistics,
        }
    }

    /// Sends a message and waits for its outcome, at most for the
    /// [operation timeout](DeviceClientBuilder::operation_timeout).
    ///
    /// Calls may overlap: up to [`WINDOW`](crate::WINDOW) messages of a client fly at once, handed over in the order of
    /// the calls. While there is no connection the message waits for one.
    ///
    /// # Errors
    /// See [`SendError`]; only [`SendError::Unknown`] leaves open whether the hub has the message.
    ///
    /// # Delivery
    /// `Ok` means that the hub has accepted the message. What [`DeviceClient`] says of copies holds.
    ///
    /// # Cancel safety
    /// A message that was not handed over when the future is dropped is withdrawn; one that was, flies on, and nobody
    /// hears of its outcome.
    pub async fn send(&self, message: Message) -> Result<Accepted, SendError> {
        let deadline = Instant::now() + self.limit;
        let weight = message.weight();
        let Ok(room) = timeout_at(deadline, self.room.wait(weight)).await else {
            return Err(SendError::NotSent(Interruption::TimedOut {
                phase: Phase::Credit,
                after: self.limit,
            }));
        };
        let (ticket, outcome) = self
            .give(message, room, deadline, self.limit)
            .map_err(SendError::NotSent)?;
        let mut withdrawal = Withdrawal {
            ticket: Some(ticket),
            commands: &self.commands,
        };
        // The owner answers everything it took by a deadline, unless its task died.
        let result = outcome.await;
        withdrawal.ticket = None;
        result.unwrap_or_else(|_| Err(SendError::Unknown(self.why_ended())))
    }

    /// Queues a message, behind those queued before, and gives what awaits its outcome.
    ///
    /// # Errors
    /// [`EnqueueError::QueueFull`] if [`QUEUE`] messages or [`QUEUE_BYTES`] have no outcome yet;
    /// [`EnqueueError::Ended`] if the client has ended.
    ///
    /// # Delivery
    /// What is queued stays so through lost connections, until it has an outcome, its
    /// [time](DeviceClientBuilder::queue_timeout) is up, or the client ends. It does not outlive the process.
    ///
    /// # Cancel safety
    /// The message is queued when this returns. Dropping the [`Ticket`] takes nothing back.
    pub fn enqueue(&self, message: Message) -> Result<Ticket, EnqueueError> {
        let weight = message.weight();
        let room = self.room.take(weight).ok_or_else(|| match self.ended.get() {
            Some(why) => EnqueueError::Ended(why.clone()),
            None => EnqueueError::QueueFull,
        })?;
        let deadline = Instant::now() + self.queue_timeout;
        let (_, outcome) = self
            .give(message, room, deadline, self.queue_timeout)
            .map_err(EnqueueError::Ended)?;
        Ok(Ticket {
            outcome,
            ended: Ended::clone(&self.ended),
        })
    }

    /// How the client stands, now and whenever that changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What the client has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        *self.statistics.borrow()
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
        let limit = self.limit;
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
        let (reply, closed) = oneshot::channel();
        if self.commands.send(Command::Close { limit, reply }).is_err() {
            return Err(CloseError::Ended(self.why_ended()));
        }
        closed
            .await
            .unwrap_or_else(|_| Err(CloseError::Ended(self.why_ended())))
    }

    fn give(
        &self,
        message: Message,
        room: Vec<OwnedSemaphorePermit>,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(TicketId, oneshot::Receiver<SendResult>), Interruption> {
        let (reply, outcome) = oneshot::channel();
        let ticket = TicketId(self.tickets.fetch_add(1, Ordering::Relaxed));
        let command = Command::Send {
            ticket,
            payload: Payload {
                message: Encoded::from(message),
                reply,
                _room: room,
            },
            deadline,
            limit,
        };
        match self.commands.send(command) {
            Ok(()) => Ok((ticket, outcome)),
            Err(_) => Err(self.why_ended()),
        }
    }

    fn why_ended(&self) -> Interruption {
        why_ended(&self.ended)
    }
}

fn why_ended(ended: &Ended) -> Interruption {
    ended.get().cloned().unwrap_or(Interruption::Lost(Lost::Protocol))
}

impl fmt::Debug for DeviceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceClient")
            .field("ended", &self.ended.get())
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
    commands: &'a mpsc::UnboundedSender<Command>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let _ = self.commands.send(Command::Withdraw(ticket));
        }
    }
}

/// The room for messages that have no outcome yet, by count and bytes.
#[derive(Clone)]
struct Room {
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Room {
    fn new() -> Self {
        Self {
            count: Arc::new(Semaphore::new(QUEUE)),
            bytes: Arc::new(Semaphore::new(QUEUE_BYTES)),
        }
    }

    async fn wait(&self, weight: usize) -> Vec<OwnedSemaphorePermit> {
        let count = Arc::clone(&self.count).acquire_owned().await;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(clamp(weight)).await;
        // Nobody closes the semaphores.
        count.into_iter().chain(bytes).collect()
    }

    fn take(&self, weight: usize) -> Option<Vec<OwnedSemaphorePermit>> {
        let count = Arc::clone(&self.count).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes)
            .try_acquire_many_owned(clamp(weight))
            .ok()?;
        Some(vec![count, bytes])
    }
}

/// A message that is larger than all the room takes all of it: its link will refuse it.
fn clamp(weight: usize) -> u32 {
    u32::try_from(weight.min(QUEUE_BYTES)).unwrap_or(u32::MAX)
}
