//! What became of cloud-to-device messages.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use futures_util::Stream;
use serde_json::Value;

use crate::device::Shared;
use crate::error::{Interruption, ReportError, SettleError, SubscribeError};
use crate::held::{Held, Inflow};
use crate::received::ReceivedMessage;
use crate::report::{field, text, time};
use crate::supervisor::{LaneKind, Verdict};

/// The stream of feedback on messages that services of this hub have sent with an [`Ack`](crate::Ack):
/// [`ServiceClient::feedback`](crate::ServiceClient::feedback).
///
/// A hub has one such stream for all its services, and gives each batch to one of those that read.
///
/// # Delivery
/// A hub delivers a batch until it is completed or rejected: at least once. It is given again after its link was lost,
/// after it was abandoned, and when its lock, of a minute by default, has run out unanswered.
///
/// # Cancel safety
/// No batch is lost with a future of [`next`](Self::next) that is dropped. Dropping the stream gives the hub back what has
/// not been taken from it; what has been taken can still be answered.
///
/// # Limits
/// Eight batches at the most are here that have no answer; more come as they are answered.
pub struct FeedbackBatches {
    inflow: Inflow,
}

impl FeedbackBatches {
    pub(crate) async fn open(shared: &Arc<Shared>) -> Result<Self, SubscribeError> {
        let inflow = Inflow::open(shared, LaneKind::Feedback).await?;
        Ok(Self { inflow })
    }

    /// The next batch; `None` when no more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<FeedbackBatch> {
        let (message, held) = self.inflow.next().await?;
        Some(FeedbackBatch::new(&message, held))
    }

    /// Why no more comes, after the stream has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Interruption> {
        self.inflow.ended()
    }
}

impl Stream for FeedbackBatches {
    type Item = FeedbackBatch;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FeedbackBatch>> {
        let next = ready!(self.inflow.poll_next(cx));
        Poll::Ready(next.map(|(message, held)| FeedbackBatch::new(&message, held)))
    }
}

impl fmt::Debug for FeedbackBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedbackBatches").finish_non_exhaustive()
    }
}

/// Records that came together, to be settled together.
///
/// # Delivery
/// AMQP confirms no answer, so a connection that is cut right after one may bring the batch again.
///
/// # Cancel safety
/// Dropped unanswered it is abandoned: the hub delivers it again.
#[must_use = "dropping a batch abandons it: the hub delivers it again"]
pub struct FeedbackBatch {
    records: Result<Vec<FeedbackRecord>, ReportError>,
    enqueued_at: Option<SystemTime>,
    held: Held,
}

impl FeedbackBatch {
    fn new(message: &ReceivedMessage, held: Held) -> Self {
        Self {
            records: records(message),
            enqueued_at: message.enqueued_at,
            held,
        }
    }

    /// The records, up to 64.
    ///
    /// # Errors
    /// [`ReportError`] for what is no feedback. [`reject`](Self::reject) has the hub forget it.
    pub fn records(&self) -> Result<&[FeedbackRecord], ReportError> {
        self.records.as_deref().map_err(Clone::clone)
    }

    /// When the hub put the batch together.
    #[must_use]
    pub fn enqueued_at(&self) -> Option<SystemTime> {
        self.enqueued_at
    }

    /// It is done: the hub deletes it.
    ///
    /// # Errors
    /// [`SettleError::LockLost`] if the link is gone on which it came; [`SettleError::TimedOut`] if the link has not taken the
    /// answer by the operation timeout.
    ///
    /// # Cancel safety
    /// A future that was polled once and is dropped has said it all the same.
    pub async fn complete(self) -> Result<(), SettleError> {
        self.held.answer(Verdict::Complete).await
    }

    /// The hub is to deliver it again.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    ///
    /// # Cancel safety
    /// As [`complete`](Self::complete).
    pub async fn abandon(self) -> Result<(), SettleError> {
        self.held.answer(Verdict::Abandon).await
    }

    /// Nobody can do anything with it: the hub deletes it.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    ///
    /// # Cancel safety
    /// As [`complete`](Self::complete).
    pub async fn reject(self) -> Result<(), SettleError> {
        self.held.answer(Verdict::Reject).await
    }
}

impl fmt::Debug for FeedbackBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedbackBatch")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

/// What became of one message.
///
/// # Delivery
/// It is a copy out of its [batch](FeedbackBatch), which is settled as a whole; it comes again if the batch does.
///
/// # Cancel safety
/// Dropping it, or a clone of it, settles nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedbackRecord {
    /// The [message id](crate::Message::message_id) that its sender gave it; empty if it gave none.
    pub original_message_id: String,
    /// What became of it.
    pub status: FeedbackStatus,
    /// The same in the hub's own words.
    pub description: Option<String>,
    /// The device that it was for; `DEVICE/MODULE` if a hub writes a module so.
    pub device: String,
    /// The device's generation: another one of the same id has another.
    pub generation: Option<String>,
    /// When it was decided; `None` if the hub's time can't be read.
    pub at: Option<SystemTime>,
}

/// What became of a message.
///
/// # Delivery
/// It is the hub's last word on a message. With [`Success`](Self::Success) the device has completed it; with any other
/// the hub delivers it no more, though the device may have seen it.
///
/// # Cancel safety
/// Dropping it settles nothing: its [batch](FeedbackBatch) is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedbackStatus {
    /// The device completed it.
    Success,
    /// Its time was over before the device completed it.
    Expired,
    /// It was delivered as often as a message may be.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// The device's messages were purged.
    Purged,
    /// A word that is not known here.
    Other(String),
}

impl FeedbackStatus {
    /// The hub's own word, `statusCode`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
            Self::Other(word) => word,
        }
    }

    fn of(word: &str) -> Self {
        let known = [
            Self::Success,
            Self::Expired,
            Self::DeliveryCountExceeded,
            Self::Rejected,
            Self::Purged,
        ];
        let found = known.into_iter().find(|status| status.as_str() == word);
        found.unwrap_or_else(|| Self::Other(word.to_owned()))
    }
}

fn records(message: &ReceivedMessage) -> Result<Vec<FeedbackRecord>, ReportError> {
    let body = crate::report::body(message, CONTENT_TYPE)?;
    let Value::Array(items) = body else {
        return Err(ReportError::Body("it is no list".to_owned()));
    };
    items.iter().map(record).collect()
}

fn record(item: &Value) -> Result<FeedbackRecord, ReportError> {
    Ok(FeedbackRecord {
        original_message_id: text(item, "originalMessageId").unwrap_or_default(),
        status: FeedbackStatus::of(&field(item, "statusCode")?),
        description: text(item, "description"),
        device: field(item, "deviceId")?,
        generation: text(item, "deviceGenerationId"),
        at: text(item, "enqueuedTimeUtc").and_then(|text| time(&text)),
    })
}

/// Case as hubs write it; C#'s SDK insists on it.
const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn message(content_type: &str, body: &str) -> ReceivedMessage {
        ReceivedMessage {
            body: body.as_bytes().to_vec(),
            content_type: Some(content_type.to_owned()),
            ..ReceivedMessage::default()
        }
    }

    #[test]
    fn a_batch_is_read_as_the_hub_s_documentation_has_it() {
        let body = r#"[{"originalMessageId":"0987654321","enqueuedTimeUtc":"2015-07-28T16:24:48.789Z",
            "statusCode":"Success","description":"Success","deviceId":"123","deviceGenerationId":"abcdefghijklmnopqrstuvwxyz"},
            {"originalMessageId":"2","enqueuedTimeUtc":"2015-07-28T16:24:48.7890000Z","statusCode":"Lost","deviceId":"4"}]"#;
        let records = records(&message(CONTENT_TYPE, body)).unwrap();
        // By `date -d 2015-07-28T16:24:48.789Z +%s`.
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_438_100_688_789);
        assert_eq!(
            records[0],
            FeedbackRecord {
                original_message_id: "0987654321".to_owned(),
                status: FeedbackStatus::Success,
                description: Some("Success".to_owned()),
                device: "123".to_owned(),
                generation: Some("abcdefghijklmnopqrstuvwxyz".to_owned()),
                at: Some(at),
            }
        );
        assert_eq!(records[1].status, FeedbackStatus::Other("Lost".to_owned()));
        assert_eq!(records[1].at, Some(at));
    }

    #[test]
    fn what_is_no_feedback_is_an_error() {
        for body in [
            "",
            "{}",
            "[1]",
            r#"[{"deviceId":"d"}]"#,
            r#"[{"statusCode":"Success"}]"#,
        ] {
            let result = records(&message(CONTENT_TYPE, body));
            assert!(matches!(result, Err(ReportError::Body(_))), "{body}: {result:?}");
        }
        let other = records(&message("application/json", "[]"));
        assert_eq!(
            other,
            Err(ReportError::ContentType("application/json".to_owned()))
        );
    }
}
