//! The client of a service, or of an operator: what it sends to devices.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iothub_address::{ConnectionString, ConnectionStringKind, HubHost, Identity, Resource};
use tokio::sync::watch;

use crate::access::{Access, service_settings};
use crate::device::Shared;
use crate::driver::place::Place;
use crate::error::{Accepted, CloseError, ConnectError, DispatchError, SubscribeError};
use crate::feedback::FeedbackBatches;
use crate::files::FileNotifications;
use crate::{Credential, Message, Statistics, Status};

/// A service's client of its hub, by AMQP 1.0 over TLS.
///
/// It signs in by claims-based security with tokens that it renews, or by SASL PLAIN. Clones share the connection, which is
/// made anew as need be, as that of a [`DeviceClient`](crate::DeviceClient) is; it lasts until [`close`](Self::close) or
/// until the last clone is dropped. Links are attached when they are first needed.
///
/// # Delivery
/// A message is acknowledged only when the hub has accepted it into the device's queue; whether the device takes it is told
/// by feedback, if [`Ack`] asks for it. What was on its way when a link or connection was lost is sent again: then, and
/// only then, the device may get it twice, with one [message id](Message::message_id). An outcome that can't be known is
/// [`DispatchError::Unknown`], never anything else.
///
/// # Cancel safety
/// Any future of a client may be dropped at any point; what may have happened then stands at each.
///
/// # Examples
/// ```no_run
/// use iothub_address::{ConnectionString, Identity};
/// use iothub_amqp::{Ack, Message, ServiceClient};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let text = std::env::var("SERVICE_CONNECTION_STRING")?; // HostName=…;SharedAccessKeyName=service;SharedAccessKey=…
/// let client = ServiceClient::with(&ConnectionString::parse(&text)?)?.connect().await?;
/// let message = Message::new(r#"{"fan": "on"}"#).message_id("m1");
/// client.send(&Identity::parse("myFirstDevice")?, message, Ack::Full).await?;
/// client.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServiceClient {
    shared: Arc<Shared>,
}

/// Of which ends of a cloud-to-device message the hub tells its sender by feedback.
///
/// # Delivery
/// It says what the hub tells afterwards, and changes nothing of the delivery: that the message is in its device's
/// queue says [`ServiceClient::send`] in any case.
///
/// # Cancel safety
/// It goes with its message, and can't be changed or taken back alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ack {
    /// Of none.
    #[default]
    None,
    /// That the device has completed it.
    Positive,
    /// That it has expired, was rejected, was delivered too often or was purged.
    Negative,
    /// Of each.
    Full,
}

impl Ack {
    /// As it stands in the message's property `iothub-ack`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }
}

impl ServiceClient {
    /// A client for `host`, with tokens of `credential` for the whole hub.
    #[must_use]
    pub fn builder(host: HubHost, credential: impl Credential) -> ServiceClientBuilder {
        ServiceClientBuilder {
            access: Access::new(host, Arc::new(credential)),
        }
    }

    /// A client as a service's connection string says: with a policy and its key, or a token.
    ///
    /// # Errors
    /// [`ConnectError::NotAServicesConnection`] for any other; [`ConnectError::BadKey`] and [`ConnectError::BadToken`] for
    /// one that can't be read.
    pub fn with(connection: &ConnectionString) -> Result<ServiceClientBuilder, ConnectError> {
        if connection.kind() != ConnectionStringKind::Service {
            return Err(ConnectError::NotAServicesConnection);
        }
        let access = Access::with(connection)?;
        Ok(ServiceClientBuilder { access })
    }

    /// Sends a message to a device or module, and waits for the hub's word on it, for the
    /// [operation timeout](ServiceClientBuilder::operation_timeout); and up to five seconds more, as
    /// [`DeviceClient::send`](crate::DeviceClient::send) says.
    ///
    /// Calls may overlap, and are handed over in their order. While there is no connection the message waits for one. A
    /// [message id](Message::message_id) is what feedback names the message by; [`expires_at`](Message::expires_at) is
    /// until when the hub keeps it, at most 48 hours, by default 1 hour.
    ///
    /// # Errors
    /// See [`DispatchError`]; only [`DispatchError::Unknown`] leaves open whether the hub has the message.
    ///
    /// # Delivery
    /// `Ok` means that the hub has put the message into the device's queue.
    ///
    /// # Cancel safety
    /// A message that still waits in this client when the future is dropped is withdrawn. One that was offered to its link
    /// is not, handed over or not: it leaves as soon as the link has credit, and nobody hears of its outcome.
    ///
    /// # Limits
    /// A hub takes 64 KiB a message, properties included, and keeps 50 messages for a device.
    pub async fn send(&self, to: &Identity, message: Message, ack: Ack) -> Result<Accepted, DispatchError> {
        let message = message.for_device(to, ack.as_str());
        Ok(self.shared.send(message).await?)
    }

    /// Listens to what becomes of messages that were sent with an [`Ack`], and returns when the first can come.
    ///
    /// # Errors
    /// [`SubscribeError::AlreadyOpen`] while another such stream of this client is; [`SubscribeError::Ended`] if the hub
    /// refuses the link, the client has ended, or nothing answers within three operation timeouts.
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn feedback(&self) -> Result<FeedbackBatches, SubscribeError> {
        FeedbackBatches::open(&self.shared).await
    }

    /// Listens to news of files that devices have uploaded, and returns when the first can come.
    ///
    /// # Errors
    /// As [`feedback`](Self::feedback).
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn file_notifications(&self) -> Result<FileNotifications, SubscribeError> {
        FileNotifications::open(&self.shared).await
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

    /// Waits for the outcome of everything that was sent, then closes; all within the
    /// [operation timeout](ServiceClientBuilder::operation_timeout).
    ///
    /// # Errors
    /// [`CloseError`] if the farewell did not go as it should. The connection is gone in any case.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing, only the waiting for it.
    pub async fn close(self) -> Result<(), CloseError> {
        self.shared.leave(self.shared.limit).await
    }

    /// As [`close`](Self::close), within a time of one's own.
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

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceClient")
            .field("ended", &self.shared.ended.get())
            .finish_non_exhaustive()
    }
}

/// How a [`ServiceClient`] is to connect.
///
/// # Delivery
/// Nobody is contacted before [`connect`](Self::connect), and no message leaves by it.
///
/// # Cancel safety
/// Dropping it tells nobody anything. Dropping a future of [`connect`](Self::connect) leaves neither a connection nor a
/// task.
#[derive(Clone)]
pub struct ServiceClientBuilder {
    access: Access,
}

impl ServiceClientBuilder {
    service_settings!();

    /// Connects and signs in, in one attempt. Each step has the [operation timeout](Self::operation_timeout), and all of
    /// them together have twelve.
    ///
    /// # Errors
    /// See [`ConnectError`]; [`recovery::classify_connect`](crate::recovery::classify_connect) says whether another
    /// attempt may help.
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(self) -> Result<ServiceClient, ConnectError> {
        let resource = Resource::hub(&self.access.way.host);
        let shared = self.access.join(Place::Service, resource).await?;
        Ok(ServiceClient { shared })
    }
}

impl fmt::Debug for ServiceClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceClientBuilder")
            .field("host", &self.access.way.host)
            .finish_non_exhaustive()
    }
}
