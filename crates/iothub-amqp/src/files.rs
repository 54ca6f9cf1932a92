//! News of files that devices have uploaded.

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

/// The stream of news of uploaded files, of a hub that has these switched on:
/// [`ServiceClient::file_notifications`](crate::ServiceClient::file_notifications).
///
/// # Delivery
/// As with [`FeedbackBatches`](crate::FeedbackBatches): at least once, to one of those that read.
///
/// # Cancel safety
/// No notification is lost with a future of [`next`](Self::next) that is dropped. Dropping the stream gives the hub back
/// what has not been taken from it.
///
/// # Limits
/// Eight at the most are here that have no answer; more come as they are answered.
pub struct FileNotifications {
    inflow: Inflow,
}

impl FileNotifications {
    pub(crate) async fn open(shared: &Arc<Shared>) -> Result<Self, SubscribeError> {
        let inflow = Inflow::open(shared, LaneKind::FileNotifications).await?;
        Ok(Self { inflow })
    }

    /// The next one; `None` when no more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<FileNotification> {
        let (message, held) = self.inflow.next().await?;
        Some(FileNotification::new(&message, held))
    }

    /// Why no more comes, after the stream has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Interruption> {
        self.inflow.ended()
    }
}

impl Stream for FileNotifications {
    type Item = FileNotification;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FileNotification>> {
        let next = ready!(self.inflow.poll_next(cx));
        Poll::Ready(next.map(|(message, held)| FileNotification::new(&message, held)))
    }
}

impl fmt::Debug for FileNotifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileNotifications").finish_non_exhaustive()
    }
}

/// News of one file, to be settled.
///
/// # Delivery
/// AMQP confirms no answer, so a connection that is cut right after one may bring it again.
///
/// # Cancel safety
/// Dropped unanswered it is abandoned: the hub delivers it again.
#[must_use = "dropping a notification abandons it: the hub delivers it again"]
pub struct FileNotification {
    file: Result<UploadedFile, ReportError>,
    held: Held,
}

impl FileNotification {
    fn new(message: &ReceivedMessage, held: Held) -> Self {
        let file = file(message);
        Self { file, held }
    }

    /// The file.
    ///
    /// # Errors
    /// [`ReportError`] for what is no such news. [`reject`](Self::reject) has the hub forget it.
    pub fn file(&self) -> Result<&UploadedFile, ReportError> {
        self.file.as_ref().map_err(Clone::clone)
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

impl fmt::Debug for FileNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileNotification")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// A file that a device has uploaded to its hub's storage.
///
/// # Delivery
/// It is what a [`FileNotification`] tells, which comes again until it is completed or rejected; the file stays where
/// it is.
///
/// # Cancel safety
/// Dropping it, or a clone of it, settles nothing.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadedFile {
    /// The device.
    pub device: String,
    /// Where the file is. It may hold a signature: treat it as a secret.
    pub blob_uri: String,
    /// What it is called there.
    pub blob_name: String,
    /// Its size, in bytes.
    pub size: u64,
    /// When it was last changed.
    pub last_updated_at: Option<SystemTime>,
    /// When the hub wrote this.
    pub enqueued_at: Option<SystemTime>,
}

impl fmt::Debug for UploadedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadedFile")
            .field("device", &self.device)
            .field("blob_name", &self.blob_name)
            .field("size", &self.size)
            .field("last_updated_at", &self.last_updated_at)
            .field("enqueued_at", &self.enqueued_at)
            .finish_non_exhaustive()
    }
}

fn file(message: &ReceivedMessage) -> Result<UploadedFile, ReportError> {
    let body = crate::report::body(message, CONTENT_TYPE)?;
    let at = |name| text(&body, name).and_then(|text| time(&text));
    Ok(UploadedFile {
        device: field(&body, "deviceId")?,
        blob_uri: field(&body, "blobUri")?,
        blob_name: field(&body, "blobName")?,
        size: body
            .get("blobSizeInBytes")
            .and_then(Value::as_u64)
            .unwrap_or_default(),
        last_updated_at: at("lastUpdatedTime"),
        enqueued_at: at("enqueuedTimeUtc"),
    })
}

const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.filenotification.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_read_as_the_hub_s_documentation_has_it() {
        let body = r#"{"deviceId":"mydevice","blobUri":"https://account.blob.core.windows.net/container/mydevice/myfile.jpg",
            "blobName":"mydevice/myfile.jpg","lastUpdatedTime":"2016-06-01T21:22:41+00:00","blobSizeInBytes":1234,
            "enqueuedTimeUtc":"2016-06-01T21:22:43.7996883Z"}"#;
        let message = |content_type: &str, body: &str| ReceivedMessage {
            body: body.as_bytes().to_vec(),
            content_type: Some(content_type.to_owned()),
            ..ReceivedMessage::default()
        };
        let file = file(&message(CONTENT_TYPE, body)).unwrap();
        assert_eq!(
            (file.device.as_str(), file.blob_name.as_str(), file.size),
            ("mydevice", "mydevice/myfile.jpg", 1234)
        );
        // By `date -u -d 2016-06-01T21:22:41Z +%s`.
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_464_816_161);
        assert_eq!(file.last_updated_at, Some(at));
        assert!(file.enqueued_at > file.last_updated_at);
        // Where it is may be signed.
        let debug = format!("{file:?}");
        assert!(
            debug.contains("myfile.jpg") && !debug.contains("core.windows.net"),
            "{debug}"
        );
        assert!(super::file(&message(CONTENT_TYPE, "{}")).is_err());
    }
}
