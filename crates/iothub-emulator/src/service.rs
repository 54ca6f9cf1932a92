//! What a service does with a hub, from within its process.

use iothub_address::{DeviceId, Identity, ModuleId};

use crate::cloud_message::CloudMessage;
use crate::emulator::{Emulator, HubError};
use crate::export::Export;
use crate::feed::Feed;
use crate::hub::{ExportKeys, Feedback, Hub, MethodResponse, Presence, Twin};
use crate::method_call::MethodCall;

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
        let work = move |hub: &mut Hub, now| hub.send_to_device(&identity, message, now);
        Ok(self.handle().run(work).await??)
    }

    /// As [`send_to_device`](Self::send_to_device), for one of a module's inputs: what an Edge hub does with a message that
    /// a route brings there. The module finds the input's name in the annotation `x-opt-input-name`.
    ///
    /// # Errors
    /// As [`send_to_device`](Self::send_to_device).
    ///
    /// # Delivery
    /// As [`send_to_device`](Self::send_to_device): inputs share the module's mailbox.
    ///
    /// # Cancel safety
    /// When dropped, the message may have been put.
    pub async fn send_to_input(
        &self,
        device: DeviceId,
        module: ModuleId,
        input: impl Into<String>,
        message: CloudMessage,
    ) -> Result<(), HubError> {
        self.send_to_device(Identity::Module(device, module), message.for_input(input.into()))
            .await
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

    /// All identities and twins, to be read by [`Builder::seed`](crate::Builder::seed) or a real hub's import job.
    ///
    /// # Errors
    /// Only [`HubError::Stopped`].
    pub async fn export(&self, keys: ExportKeys) -> Result<Export, HubError> {
        let lines = self.handle().run(move |hub, _| hub.export(keys)).await?;
        Ok(Export::of(&lines))
    }

    /// What became of the cloud-to-device messages whose sender asked to know.
    pub fn feedback(&self) -> Feed<Feedback> {
        self.feedback_feed()
    }

    /// Calls a direct method of a device or module, and waits for its answer.
    ///
    /// # Errors
    /// [`MethodError`](crate::MethodError) if it is not online and does not come in time, goes before it answers, or
    /// does not answer in time. A device that answers with an error's status has answered: that is no error here.
    ///
    /// # Delivery
    /// At most once. After [`Gone`](crate::MethodError::Gone) and [`Timeout`](crate::MethodError::Timeout) the device may
    /// have done what was asked.
    ///
    /// # Cancel safety
    /// When dropped, the device may get the call, and nobody its answer.
    pub async fn call_method(
        &self,
        identity: impl Into<Identity>,
        call: MethodCall,
    ) -> Result<MethodResponse, HubError> {
        let answer = self.handle().call_method(identity.into(), call.into_call());
        Ok(answer.await??)
    }

    /// Whether a device or module is there, and since when.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`](crate::RegistryError::NotFound).
    pub async fn presence(&self, identity: impl Into<Identity>) -> Result<Presence, HubError> {
        let identity = identity.into();
        Ok(self.handle().run(move |hub, _| hub.presence(&identity)).await??)
    }

    /// The twin of a device or module.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`](crate::RegistryError::NotFound).
    pub async fn twin(&self, identity: impl Into<Identity>) -> Result<Twin, HubError> {
        let identity = identity.into();
        Ok(self.handle().run(move |hub, _| hub.twin(&identity)).await??)
    }

    /// Merges `patch` into the desired properties of a twin (RFC 7396: `null` deletes). A device that has asked for it is
    /// told. Gives the twin as it is then.
    ///
    /// # Errors
    /// [`TwinError`](crate::TwinError) if no twin may hold that, and then nothing of it is taken; or
    /// [`RegistryError::NotFound`](crate::RegistryError::NotFound).
    pub async fn patch_desired(
        &self,
        identity: impl Into<Identity>,
        patch: serde_json::Value,
    ) -> Result<Twin, HubError> {
        self.patch_twin(identity.into(), None, Some(patch)).await
    }

    /// Merges `patch` into the tags of a twin (RFC 7396: `null` deletes), which no device sees. Gives the twin as it is
    /// then.
    ///
    /// # Errors
    /// As [`patch_desired`](Self::patch_desired).
    pub async fn patch_tags(
        &self,
        identity: impl Into<Identity>,
        patch: serde_json::Value,
    ) -> Result<Twin, HubError> {
        self.patch_twin(identity.into(), Some(patch), None).await
    }

    async fn patch_twin(
        &self,
        identity: Identity,
        tags: Option<serde_json::Value>,
        desired: Option<serde_json::Value>,
    ) -> Result<Twin, HubError> {
        let work =
            move |hub: &mut Hub, now| hub.patch_twin(&identity, tags.as_ref(), desired.as_ref(), None, now);
        Ok(self.handle().run(work).await???)
    }
}
