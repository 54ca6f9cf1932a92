//! What back ends do over AMQP: they send to devices, and hear what became of it.

use bytes::Bytes;
use iothub_address::Node;

use super::Hub;
use super::agenda::Due;
use super::cloud_to_device::MailboxError;
use super::command::{ConnectionId, Credit, Effect, Grant, LinkId, Parcel, Verdict};
use super::connection::Use;
use super::endpoint::Reach;
use super::feedback::Feedback;
use super::mailbox::{LockToken, Outcome};
use super::message::{Body, Message, Properties};
use super::receiver::Receiver;
use super::refusal::{Condition, Refusal, code};
use super::value::Value;
use crate::clock::Timestamp;

impl Hub {
    /// A link for services alone.
    pub(super) fn grant_service(
        &mut self,
        from: ConnectionId,
        grant: Grant,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        self.authorize_service(from, &Reach::Hub, Use::Open, now)?;
        Ok(grant)
    }

    /// A service sends a message to a device or module, which its `to` names. An error ends the link.
    pub(super) fn send_from_service(
        &mut self,
        from: ConnectionId,
        message: Message,
        now: Timestamp,
    ) -> Result<Verdict, Refusal> {
        self.authorize_service(from, &Reach::Hub, Use::Keep(self.token_grace), now)?;
        self.may_keep(now)?;
        let rejected = self.try_send_from_service(message, now).err();
        Ok(Verdict::AllBut(
            rejected.into_iter().map(|refusal| (0, refusal)).collect(),
        ))
    }

    fn try_send_from_service(&mut self, message: Message, now: Timestamp) -> Result<(), Refusal> {
        let Some(to) = message.properties.to.clone() else {
            let text = "The message has no property `to`.".to_owned();
            return Err(self
                .refusals
                .refuse(Condition::InvalidArgument, code::INVALID_ARGUMENT, text, now));
        };
        // How an id was escaped cannot be seen in the address; only the registry knows which reading is one.
        let mut named = Node::readings(&to).into_iter().filter_map(|node| match node {
            Node::Commands(identity) => Some(identity),
            _ => None,
        });
        let likeliest = named.next();
        let registered = likeliest
            .iter()
            .cloned()
            .chain(named)
            .find(|identity| self.registry.get(identity).is_some());
        let Some(identity) = registered.or(likeliest) else {
            let text = format!("The address '{to}' is not that of a device.");
            return Err(self
                .refusals
                .refuse(Condition::NotFound, code::ADDRESS_NOT_FOUND, text, now));
        };
        self.send_to_device(&identity, message, now)
            .map_err(|error| self.unsendable(&error, now))
    }

    fn unsendable(&mut self, error: &MailboxError, now: Timestamp) -> Refusal {
        let (condition, code) = match error {
            MailboxError::NotFound(_) => (Condition::NotFound, code::DEVICE_NOT_FOUND),
            MailboxError::Full(_) => (Condition::ResourceLimitExceeded, code::QUEUE_DEPTH_EXCEEDED),
            MailboxError::TooLarge { .. } => (Condition::MessageSizeExceeded, code::MESSAGE_TOO_LARGE),
            MailboxError::Ack => (Condition::InvalidArgument, code::INVALID_ARGUMENT),
            MailboxError::Throttled => (Condition::Throttled, code::THROTTLING),
            MailboxError::QuotaExceeded { .. } => (Condition::ResourceLimitExceeded, code::QUOTA_EXCEEDED),
        };
        let mut text = error.to_string();
        text.push('.');
        self.refusals.refuse(condition, code, text, now)
    }

    pub(super) fn open_feedback(&mut self, link: LinkId, presettled: bool) {
        self.feedback.receivers.push(Receiver::new(link, presettled));
    }

    pub(super) fn feedback_gone(&mut self, link: LinkId, now: Timestamp) {
        self.feedback.receivers.retain(|receiver| receiver.link != link);
        self.feedback.batches.link_gone(link);
        self.deliver_feedback(now);
    }

    pub(super) fn credit_feedback(&mut self, link: LinkId, credit: Credit, now: Timestamp) {
        let receivers = self.feedback.receivers.iter_mut();
        for receiver in receivers.filter(|receiver| receiver.link == link) {
            receiver.credit = credit;
        }
        self.deliver_feedback(now);
    }

    pub(super) fn settle_feedback(
        &mut self,
        link: LinkId,
        token: &LockToken,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let settled = self.feedback.batches.settle(token, link, outcome);
        self.deliver_feedback(now);
        settled.map_err(|_| self.lock_lost(now))
    }

    /// There is feedback up to place `end` of its log, which begins at `first`.
    pub(super) fn feedback_grew(&mut self, first: u64, end: u64, now: Timestamp) {
        self.feedback.batches.dropped(first);
        self.feedback.batches.grew(end, now);
        self.deliver_feedback(now);
    }

    pub(super) fn expire_feedback(&mut self, now: Timestamp) {
        self.feedback.batches.expire(now);
        self.deliver_feedback(now);
    }

    /// Hands out what is ready, to whoever has asked for it first.
    fn deliver_feedback(&mut self, now: Timestamp) {
        let state = &mut self.feedback;
        for receiver in &mut state.receivers {
            while receiver.room() > 0 {
                let token = state.tokens.next();
                let Some(places) = state.batches.lock(token, receiver.link, now) else {
                    break;
                };
                let log = state.log.lock();
                let records: Vec<_> = places.filter_map(|place| log.get(place)).collect();
                drop(log);
                receiver.sent += 1;
                let parcel = Parcel {
                    tag: Some(token),
                    awaits_outcome: !receiver.presettled,
                    message: message(self.name.as_str(), records.iter().map(|record| &**record), now),
                    if_unsaved: None,
                };
                self.effects
                    .push_back(Effect::Send(receiver.link, Box::new(parcel)));
                if receiver.presettled {
                    // At most once: with that it is done.
                    let _ = state.batches.settle(&token, receiver.link, Outcome::Complete);
                }
            }
        }
        if let Some(done) = state.batches.take_done() {
            self.changes.feedback_done(done);
        }
        let deadline = self.feedback.batches.deadline();
        self.agenda.set(Due::Feedback, deadline);
    }
}

/// A batch as services get it (Azure docs, "Send cloud-to-device messages": message feedback).
fn message<'a>(hub: &str, records: impl Iterator<Item = &'a Feedback>, now: Timestamp) -> Message {
    let records: Vec<_> = records
        .map(|record| {
            serde_json::json!({
                "originalMessageId": record.original_message_id,
                "enqueuedTimeUtc": record.time.to_string(),
                "statusCode": record.fate.as_str(),
                "description": record.fate.as_str(),
                "deviceId": record.device().as_str(),
                "deviceGenerationId": &*record.generation_id,
            })
        })
        .collect();
    Message {
        properties: Properties {
            user_id: Some(Bytes::copy_from_slice(hub.as_bytes())),
            content_type: Some("application/vnd.microsoft.iothub.feedback.json".to_owned()),
            ..Properties::default()
        },
        annotations: vec![("iothub-enqueuedtime".to_owned(), Value::Timestamp(now))],
        body: Body::Data(serde_json::Value::from(records).to_string().into()),
        ..Message::default()
    }
}
