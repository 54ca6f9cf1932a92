//! What a service does with a hub, from within its process.

use iothub_address::Identity;

use crate::cloud_message::CloudMessage;
use crate::emulator::{Emulator, HubError};
use crate::feed::Feed;
use crate::hub::Feedback;

impl Emulator {
    /// Puts a message into the mailbox of a device or module, which gets it when it receives.
    ///
    /// # Errors
    /// [`MailboxError`](crate::MailboxError) if nobody has that name, if 50 messages wait already, or if the message
    /// is larger than 64 KB.
    ///
    /// # Delivery
    /// At least once, in order, until the device completes or rejects it; it goes when its time to live ends or it
    /// was delivered too often. [`feedback`](Self::feedback) tells, if the message asks for it.
    ///
    /// # Cancel safety
    /// When dropped, the message may have been put.
    pub async fn send_to_device(
        &self,
        identity: impl Into<Identity>,
        message: CloudMessage,
    ) -> Result<(), HubError> {
        let identity = identity.into();
        let message = message.into_message();
        let work = move |hub: &mut crate::hub::Hub, now| hub.send_to_device(&identity, message, now);
        Ok(self.handle().run(work).await??)
    }

    /// Takes all messages out of the mailbox of a device or module, also those that it has and has not settled.
    /// Gives how many there were.
    ///
    /// # Errors
    /// [`MailboxError::NotFound`](crate::MailboxError::NotFound).
    pub async fn purge_messages(&self, identity: impl Into<Identity>) -> Result<usize, HubError> {
        let identity = identity.into();
        Ok(self
            .handle()
            .run(move |hub, now| hub.purge(&identity, now))
            .await??)
    }

    /// How many messages wait for a device or module, also those that it has and has not settled.
    ///
    /// # Errors
    /// Only [`HubError::Stopped`]; nothing waits for who is not registered.
    pub async fn waiting_messages(&self, identity: impl Into<Identity>) -> Result<usize, HubError> {
        let identity = identity.into();
        Ok(self
            .handle()
            .run(move |hub, _| hub.waiting_messages(&identity))
            .await?)
    }

    /// What became of the cloud-to-device messages whose sender asked to know.
    pub fn feedback(&self) -> Feed<Feedback> {
        self.feedback_feed()
    }
}
