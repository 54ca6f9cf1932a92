//! A device's twin: what it is to be like, and what it says it is like.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use crate::device::Shared;
use crate::driver::command::{Asking, Command};
use crate::driver::member::Items;
use crate::error::{Interruption, SubscribeError, TwinError};
use crate::listening::Listening;
use crate::supervisor::{LaneKind, Question};

/// The twin of a device or module.
///
/// Its links are attached when it is first used, and stay.
///
/// # Delivery
/// Reading is repeated by itself when a connection is lost. A patch is sent once: when the connection is lost after it
/// was handed over, it is [`TwinError::Unknown`] whether the hub has merged it. A merge patch may be sent again, unless
/// another has followed.
///
/// # Cancel safety
/// Dropping a future stops the waiting only: a patch may be merged all the same.
///
/// # Limits
/// 64 questions may wait for their answers.
#[derive(Clone)]
pub struct Twin {
    shared: Arc<Shared>,
}

impl Twin {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// Reads all of the twin, within the [operation timeout](crate::DeviceClientBuilder::operation_timeout).
    ///
    /// # Errors
    /// See [`TwinError`].
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn get(&self) -> Result<TwinState, TwinError> {
        let answer = self.ask(Question::Get, None).await?;
        TwinState::read(&answer.body)
    }

    /// Merges a patch into the reported properties (RFC 7396: `null` deletes), within the
    /// [operation timeout](crate::DeviceClientBuilder::operation_timeout). The new version of the reported properties,
    /// if the hub says it.
    ///
    /// # Errors
    /// See [`TwinError`]; [`TwinError::TooLarge`] comes at once.
    ///
    /// # Delivery
    /// `Ok` means that the hub has merged it.
    ///
    /// # Cancel safety
    /// The patch may be merged all the same.
    pub async fn report(&self, patch: &Value) -> Result<Option<i64>, TwinError> {
        if !patch.is_object() {
            return Err(TwinError::NotAnObject);
        }
        let patch = patch.to_string().into_bytes();
        let answer = self.ask(Question::Report, Some(patch)).await?;
        Ok(answer.version)
    }

    /// The desired properties: all of them first, then every change.
    ///
    /// # Errors
    /// [`SubscribeError::AlreadyOpen`] while another such stream is; [`SubscribeError::Ended`] if the hub refuses, the
    /// client has ended, or nothing answers within three [operation
    /// timeouts](crate::DeviceClientBuilder::operation_timeout).
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn desired(&self) -> Result<DesiredChanges, SubscribeError> {
        DesiredChanges::open(&self.shared).await
    }

    async fn ask(&self, question: Question, patch: Option<Vec<u8>>) -> Result<Answer, TwinError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Request {
            slot: self.shared.slot,
            request: self.shared.next_request(),
            question,
            limit: self.shared.limit,
            asking: Asking { patch, reply },
        };
        let gone = || TwinError::NotAnswered(self.shared.why_ended());
        self.shared.commands.send(command).map_err(|_| gone())?;
        // The owner answers everything it took by a deadline, unless its task died.
        answer
            .await
            .unwrap_or_else(|_| Err(TwinError::Unknown(self.shared.why_ended())))
    }
}

impl fmt::Debug for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twin").finish_non_exhaustive()
    }
}

/// All of a twin that its device may see.
///
/// # Delivery
/// It is the twin as it was when the hub answered; it may have changed since, and its [versions](Properties::version)
/// tell.
///
/// # Cancel safety
/// Reading takes nothing, and dropping it tells the hub nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TwinState {
    /// What the device is to be like.
    pub desired: Properties,
    /// What it has said it is like.
    pub reported: Properties,
}

impl TwinState {
    fn read(body: &[u8]) -> Result<Self, TwinError> {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| TwinError::BadAnswer(error.to_string()))?;
        let Value::Object(mut twin) = value else {
            return Err(TwinError::BadAnswer("it is not a JSON object".to_owned()));
        };
        let mut part = |name: &str| match twin.remove(name) {
            Some(Value::Object(values)) => Ok(Properties::read(values)),
            None => Ok(Properties::default()),
            Some(_) => Err(TwinError::BadAnswer(format!("its {name} is not a JSON object"))),
        };
        Ok(Self {
            desired: part("desired")?,
            reported: part("reported")?,
        })
    }
}

/// A collection of properties, with its version.
///
/// # Delivery
/// Of two copies of the same collection the one with the higher [`version`](Self::version) is the newer.
///
/// # Cancel safety
/// Dropping it tells the hub nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Properties {
    /// Rises by one with each change.
    pub version: i64,
    /// The properties, without the hub's own `$version` and `$metadata`.
    pub values: Map<String, Value>,
}

impl Properties {
    fn read(mut values: Map<String, Value>) -> Self {
        let version = values.remove(VERSION).and_then(|version| version.as_i64());
        values.remove("$metadata");
        Self {
            version: version.unwrap_or(0),
            values,
        }
    }
}

/// The stream of a twin's desired properties.
///
/// # Delivery
/// What is given leads from any version to the newest: a change when the hub has told of it in its turn, or all of the
/// desired properties ([`whole`](DesiredChange::whole)) where versions were missed: at first, after a lost connection
/// in which something changed, and when changes come faster than they are taken. Versions may be left out, but none
/// comes twice, and the last is never missed.
///
/// # Cancel safety
/// No change is lost with a future of [`next`](Self::next) that is dropped.
///
/// # Limits
/// 16 changes wait to be taken; what comes beyond them comes as one whole.
pub struct DesiredChanges {
    items: mpsc::UnboundedReceiver<DesiredChange>,
    listening: Listening,
}

impl DesiredChanges {
    async fn open(shared: &Arc<Shared>) -> Result<Self, SubscribeError> {
        let (sender, items) = mpsc::unbounded_channel();
        let listening = Listening::to(shared, LaneKind::Twin, Items::Changes(sender)).await?;
        Ok(Self { items, listening })
    }

    /// The next change; `None` when no more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<DesiredChange> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Why no more comes, after the stream has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Interruption> {
        self.listening.ended()
    }
}

impl Stream for DesiredChanges {
    type Item = DesiredChange;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DesiredChange>> {
        let next = ready!(self.items.poll_recv(cx));
        if next.is_some() {
            self.listening.taken();
        }
        Poll::Ready(next)
    }
}

impl fmt::Debug for DesiredChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DesiredChanges").finish_non_exhaustive()
    }
}

/// A change of the desired properties.
///
/// # Delivery
/// It leads from the version before to its own, or stands for itself if it is [`whole`](Self::whole). The same version
/// does not come twice.
///
/// # Cancel safety
/// The hub waits for no answer: dropping it tells nobody anything, and the stream goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DesiredChange {
    /// The version that the desired properties have with it.
    pub version: i64,
    /// Whether these are all desired properties, in place of a patch to those of before.
    pub whole: bool,
    /// The patch (RFC 7396: `null` deletes), or all of the properties.
    pub values: Map<String, Value>,
}

impl DesiredChange {
    pub(crate) fn read(version: i64, whole: bool, body: &[u8]) -> Self {
        let values = match serde_json::from_slice(body) {
            Ok(Value::Object(mut object)) if whole => match object.remove("desired") {
                Some(Value::Object(desired)) => desired,
                _ => Map::new(),
            },
            Ok(Value::Object(patch)) => patch,
            // A hub sends JSON objects; of what is none nothing follows.
            _ => Map::new(),
        };
        Self {
            version,
            whole,
            values: Properties::read(values).values,
        }
    }
}

/// What the hub has answered.
pub(crate) struct Answer {
    pub(crate) version: Option<i64>,
    pub(crate) body: Vec<u8>,
}

/// The version of the desired properties in a whole twin.
pub(crate) fn desired_version(body: &[u8]) -> Option<i64> {
    let twin: Value = serde_json::from_slice(body).ok()?;
    twin.get("desired")?.get(VERSION)?.as_i64()
}

/// The version that a patch says it is.
pub(crate) fn version_of(patch: &[u8]) -> Option<i64> {
    let patch: Value = serde_json::from_slice(patch).ok()?;
    patch.get(VERSION)?.as_i64()
}

const VERSION: &str = "$version";
