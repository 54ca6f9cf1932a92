//! Cloud-to-device messages: into a mailbox, out over the device's link, and what is said of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use iothub_address::{Identity, Node};

use super::Hub;
use super::agenda::Due;
use super::command::{ConnectionId, Credit, Effect, Grant, LinkId, Parcel};
use super::feedback::{Ack, Feedback};
use super::limits::{Excess, Operation};
use super::mailbox::{CloudToDevice, Left, LockLost, LockToken, MAX_WAITING, Mailbox, Outcome, Waiting};
use super::message::{Message, MessageId};
use super::polling::HandedOut;
use super::presence::RECEIVER_TAKEN;
use super::receiver::Receiver;
use super::record::{KeptMessage, Part};
use super::refusal::{Condition, Refusal, code};
use super::traffic::{self, Passed};
use super::unique::{Unique, guid_text, uuid_text};
use super::value::Value;
use crate::clock::Timestamp;

/// All mailboxes, and who receives from them.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    settings: CloudToDevice,
    mailboxes: BTreeMap<Identity, Mailbox>,
    /// The one link that each device receives over.
    receivers: BTreeMap<Identity, Receiver>,
    tokens: Unique,
}

/// Why a message was not put into a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// There is no such device or module.
    #[error("{0} is not registered")]
    NotFound(Identity),
    /// As many messages wait as may, 50.
    #[error("50 messages wait for {0}, and no more may")]
    Full(Identity),
    /// It is larger than 64 KB: body, system properties and application properties together.
    #[error("the message has {size} bytes; {MAX_SIZE} are allowed")]
    TooLarge {
        /// How large it is, in bytes.
        size: usize,
    },
    /// The application property `iothub-ack` is none of `none`, `positive`, `negative`, `full`.
    #[error("iothub-ack is none of none, positive, negative and full")]
    Ack,
    /// More is sent at once than the hub's tier lets through (429001 `ThrottlingException`).
    #[error("more messages are sent to devices at once than the hub's tier lets through")]
    Throttled,
    /// The day's messages are used up (403002 `IotHubQuotaExceeded`).
    #[error("the hub's messages of the day are used up: its tier has {per_day}")]
    QuotaExceeded {
        /// How many its tier has.
        per_day: u64,
    },
}

impl MailboxError {
    const fn of(excess: Excess) -> Self {
        match excess {
            Excess::Throttled(_) => Self::Throttled,
            Excess::Quota { per_day } => Self::QuotaExceeded { per_day },
        }
    }
}

impl Mailboxes {
    pub(crate) const fn new(settings: CloudToDevice, seed: u64) -> Self {
        Self {
            settings,
            mailboxes: BTreeMap::new(),
            receivers: BTreeMap::new(),
            tokens: Unique::new(seed),
        }
    }
}

impl Hub {
    /// Puts a message into the mailbox of a device or module. Its application property `iothub-ack` says which
    /// feedback is wanted, its `absolute-expiry-time` how long it waits at most.
    pub(crate) fn send_to_device(
        &mut self,
        identity: &Identity,
        mut message: Message,
        now: Timestamp,
    ) -> Result<(), MailboxError> {
        if self.registry.get(identity).is_none() {
            return Err(MailboxError::NotFound(identity.clone()));
        }
        let size = message.metered_size();
        if size > MAX_SIZE {
            return Err(MailboxError::TooLarge { size });
        }
        let ack = match message.property("iothub-ack") {
            None => Ack::None,
            Some(value) => value.as_text().and_then(Ack::parse).ok_or(MailboxError::Ack)?,
        };
        if self.waiting_messages(identity) >= MAX_WAITING {
            return Err(MailboxError::Full(identity.clone()));
        }
        let admitted = self.limits.admit(Operation::CloudToDevice, [size], now);
        admitted.map_err(MailboxError::of)?;
        let latest = now + MAX_TIME_TO_LIVE;
        let expires = message.properties.absolute_expiry_time;
        let expires = expires.unwrap_or_else(|| now + self.cloud_to_device.settings.time_to_live);
        let properties = &mut message.properties;
        properties.to = Some(Node::Commands(identity.clone()).to_string());
        // Devices of some SDKs take strings only.
        for id in [&mut properties.message_id, &mut properties.correlation_id] {
            if let Some(MessageId::Uuid(bytes)) = id {
                *id = Some(MessageId::String(uuid_text(bytes)));
            }
        }
        let message_id = traffic::id_of(&message);
        let mailbox = self
            .cloud_to_device
            .mailboxes
            .entry(identity.clone())
            .or_default();
        if mailbox.put(message, ack, expires.min(latest), now).is_none() {
            return Err(MailboxError::Full(identity.clone()));
        }
        self.changes.touch(|| Part::Mailbox(identity.clone()));
        self.passed(identity, Passed::Queued { message_id, size }, now);
        self.deliver(identity, now);
        Ok(())
    }

    /// Takes all messages out of a mailbox; gives how many there were.
    pub(crate) fn purge(&mut self, identity: &Identity, now: Timestamp) -> Result<usize, MailboxError> {
        if self.registry.get(identity).is_none() {
            return Err(MailboxError::NotFound(identity.clone()));
        }
        let mailbox = self.cloud_to_device.mailboxes.get_mut(identity);
        let left = mailbox.map(Mailbox::purge).unwrap_or_default();
        let count = left.len();
        self.tell_fates(identity, left, now);
        self.schedule_mailbox(identity);
        Ok(count)
    }

    /// How many messages wait for a device or module, locked ones too.
    pub(crate) fn waiting_messages(&self, identity: &Identity) -> usize {
        let mailbox = self.cloud_to_device.mailboxes.get(identity);
        mailbox.map_or(0, Mailbox::len)
    }

    /// The identity is gone, and its messages with it. Nobody is told of them: the real hub says nothing of such.
    pub(super) fn drop_mailbox(&mut self, identity: &Identity) {
        let Some(mut dropped) = self.cloud_to_device.mailboxes.remove(identity) else {
            return;
        };
        dropped.purge();
        self.changes.touch(|| Part::Mailbox(identity.clone()));
        self.touch_messages(identity, &dropped.take_touched());
        self.schedule_mailbox(identity);
    }

    /// Puts in the mailboxes as an earlier run has kept them.
    pub(super) fn restore_mailboxes(
        &mut self,
        mailboxes: Vec<(Identity, u64)>,
        messages: Vec<(Identity, KeptMessage)>,
        now: Timestamp,
    ) {
        for (identity, last) in mailboxes {
            let mailbox = Mailbox::restored(last);
            self.cloud_to_device.mailboxes.insert(identity, mailbox);
        }
        let most = self.cloud_to_device.settings.max_delivery_count;
        for (identity, kept) in messages {
            let mailbox = self.cloud_to_device.mailboxes.entry(identity.clone());
            let left = mailbox
                .or_default()
                .restore(kept.number, kept.waiting, kept.was_locked, most);
            self.tell_fates(&identity, left, now);
            self.schedule_mailbox(&identity);
        }
    }

    pub(super) fn mailbox(&self, identity: &Identity) -> Option<&Mailbox> {
        self.cloud_to_device.mailboxes.get(identity)
    }

    /// One link receives for a device or module; a newer one takes the older one's place.
    pub(super) fn open_receiver(
        &mut self,
        identity: &Identity,
        link: LinkId,
        presettled: bool,
        now: Timestamp,
    ) {
        let receiver = Receiver::new(link, presettled);
        let before = self.cloud_to_device.receivers.insert(identity.clone(), receiver);
        if let Some(before) = before {
            let text = RECEIVER_TAKEN.to_owned();
            let refusal =
                self.refusals
                    .refuse(Condition::LinkStolen, code::CLOSED_ON_NEW_CONNECTION, text, now);
            self.effects.push_back(Effect::Detach(before.link, refusal));
            self.put_back_of(identity, before.link, now);
        }
    }

    pub(super) fn receiver_gone(&mut self, identity: &Identity, link: LinkId, now: Timestamp) {
        if let Some(receiver) = self.cloud_to_device.receivers.get(identity)
            && receiver.link == link
        {
            self.cloud_to_device.receivers.remove(identity);
        }
        self.put_back_of(identity, link, now);
        self.deliver(identity, now);
    }

    /// The client has said how many deliveries it takes over a link.
    pub(super) fn credit(&mut self, from: ConnectionId, link: LinkId, credit: Credit, now: Timestamp) {
        let grant = self.connections.get(&from).and_then(|known| known.grant(link));
        let identity = match grant.cloned() {
            Some(Grant::CloudToDevice(identity)) => identity,
            Some(Grant::Feedback) => return self.credit_feedback(link, credit, now),
            _ => return,
        };
        match self.cloud_to_device.receivers.get_mut(&identity) {
            Some(receiver) if receiver.link == link => receiver.credit = credit,
            _ => return,
        }
        self.deliver(&identity, now);
    }

    /// The device, or a service of feedback, has said what is to become of a message.
    pub(super) fn settle(
        &mut self,
        from: ConnectionId,
        link: LinkId,
        token: &LockToken,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let grant = self.connections.get(&from).and_then(|known| known.grant(link));
        let identity = match grant.cloned() {
            Some(Grant::CloudToDevice(identity)) => identity,
            Some(Grant::Feedback) => return self.settle_feedback(link, token, outcome, now),
            _ => return Err(self.lock_lost(now)),
        };
        let settled = self.settle_of(&identity, link, token, outcome, now);
        settled.map_err(|LockLost| self.lock_lost(now))
    }

    pub(super) fn settle_of(
        &mut self,
        identity: &Identity,
        link: LinkId,
        token: &LockToken,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(), LockLost> {
        let most = self.cloud_to_device.settings.max_delivery_count;
        let mailbox = self.cloud_to_device.mailboxes.get_mut(identity);
        let left = mailbox.ok_or(LockLost)?.settle(token, link, outcome, most)?;
        self.active(identity, now);
        self.tell_fates(identity, left, now);
        self.deliver(identity, now);
        Ok(())
    }

    /// Locks the oldest message that is ready, for a device that asks for one.
    pub(super) fn lock_for(
        &mut self,
        identity: &Identity,
        link: LinkId,
        now: Timestamp,
    ) -> Option<HandedOut> {
        let state = &mut self.cloud_to_device;
        let token = state.tokens.next();
        let until = now + state.settings.lock;
        let mailbox = state.mailboxes.get_mut(identity)?;
        let (sequence_number, waiting) = mailbox.lock(token, until, link, now)?;
        let waiting = waiting.clone();
        self.passed(identity, delivered(&waiting), now);
        self.schedule_mailbox(identity);
        Some(HandedOut {
            sequence_number,
            token,
            waiting,
        })
    }

    /// A lock of the mailbox has ended, or a message is too old.
    pub(super) fn expire_mailbox(&mut self, identity: &Identity, now: Timestamp) {
        let most = self.cloud_to_device.settings.max_delivery_count;
        let mailbox = self.cloud_to_device.mailboxes.get_mut(identity);
        let left = mailbox.map(|mailbox| mailbox.expire(most, now));
        self.tell_fates(identity, left.unwrap_or_default(), now);
        self.deliver(identity, now);
    }

    /// Hands out what is ready, as much as the client has asked for: a message is locked, and counted, only when it
    /// can go.
    fn deliver(&mut self, identity: &Identity, now: Timestamp) {
        let mut done = Vec::new();
        let mut sent = Vec::new();
        let state = &mut self.cloud_to_device;
        let settings = state.settings;
        if let Some(receiver) = state.receivers.get_mut(identity)
            && let Some(mailbox) = state.mailboxes.get_mut(identity)
        {
            while receiver.room() > 0 {
                let token = state.tokens.next();
                let until = now + settings.lock;
                let Some((number, waiting)) = mailbox.lock(token, until, receiver.link, now) else {
                    break;
                };
                receiver.sent += 1;
                sent.push(delivered(waiting));
                let delivery = Parcel {
                    tag: Some(token),
                    awaits_outcome: !receiver.presettled,
                    message: outgoing(number, &token, waiting),
                    if_unsaved: None,
                };
                let effect = Effect::Send(receiver.link, Box::new(delivery));
                self.effects.push_back(effect);
                if receiver.presettled {
                    // At most once: with that it is done.
                    let settled = mailbox.settle(
                        &token,
                        receiver.link,
                        Outcome::Complete,
                        settings.max_delivery_count,
                    );
                    done.extend(settled.ok().flatten());
                }
            }
        }
        if !sent.is_empty() {
            self.active(identity, now);
        }
        for passed in sent {
            self.passed(identity, passed, now);
        }
        self.tell_fates(identity, done, now);
        self.schedule_mailbox(identity);
    }

    fn put_back_of(&mut self, identity: &Identity, link: LinkId, now: Timestamp) {
        let most = self.cloud_to_device.settings.max_delivery_count;
        let mailbox = self.cloud_to_device.mailboxes.get_mut(identity);
        let left = mailbox.map(|mailbox| mailbox.link_gone(link, most));
        self.tell_fates(identity, left.unwrap_or_default(), now);
        self.schedule_mailbox(identity);
    }

    /// Behind whatever was done to a mailbox: when it is to be looked at, and what of it is to be kept anew.
    fn schedule_mailbox(&mut self, identity: &Identity) {
        let mailbox = self.cloud_to_device.mailboxes.get_mut(identity);
        let (deadline, touched) = mailbox
            .map(|mailbox| (mailbox.deadline(), mailbox.take_touched()))
            .unwrap_or_default();
        self.agenda.set(Due::Mailbox(identity.clone()), deadline);
        self.touch_messages(identity, &touched);
    }

    fn touch_messages(&mut self, identity: &Identity, numbers: &[u64]) {
        for number in numbers {
            self.changes.touch(|| Part::Message(identity.clone(), *number));
        }
    }

    fn tell_fates(&mut self, identity: &Identity, left: impl IntoIterator<Item = Left>, now: Timestamp) {
        for left in left {
            tracing::debug!(%identity, number = left.sequence_number, "a message has left: {}", left.fate);
            let waiting = left.waiting;
            let (message_id, fate) = (traffic::id_of(&waiting.message), left.fate);
            self.passed(identity, Passed::Left { message_id, fate }, now);
            if !waiting.ack.wants(left.fate) {
                continue;
            }
            let Some(entry) = self.registry.get(identity) else {
                continue;
            };
            let id = waiting.message.properties.message_id.as_ref();
            let feedback = Feedback {
                original_message_id: id.map(ToString::to_string).unwrap_or_default(),
                time: now,
                fate: left.fate,
                identity: identity.clone(),
                generation_id: entry.generation_id.clone(),
            };
            let weight = feedback.original_message_id.len();
            let feedback = Arc::new(feedback);
            let mut ring = self.feedback.log.lock();
            let place = ring.end();
            ring.push(Arc::clone(&feedback), weight, now);
            let (first, end) = (ring.first(), ring.end());
            drop(ring);
            self.changes.feedback(place, feedback, first);
            self.feedback_grew(first, end, now);
        }
    }

    pub(super) fn lock_lost(&mut self, now: Timestamp) -> Refusal {
        let text = "The lock of the message was lost.".to_owned();
        self.refusals
            .refuse(Condition::NotFound, code::MESSAGE_LOCK_LOST, text, now)
    }
}

fn delivered(waiting: &Waiting) -> Passed {
    Passed::Delivered {
        message_id: traffic::id_of(&waiting.message),
        before: waiting.delivery_count,
    }
}

/// The message as the device gets it.
fn outgoing(number: u64, token: &LockToken, waiting: &Waiting) -> Message {
    let mut message = waiting.message.clone();
    let named = std::mem::take(&mut message.annotations).into_iter();
    message.annotations = vec![
        ("x-opt-lock-token".to_owned(), Value::String(guid_text(token))),
        ("x-opt-sequence-number".to_owned(), Value::Ulong(number)),
        (
            "iothub-enqueuedtime".to_owned(),
            Value::Timestamp(waiting.enqueued),
        ),
        (
            "iothub-deliverycount".to_owned(),
            Value::Ubyte(waiting.delivery_count),
        ),
    ];
    message
        .annotations
        .extend(named.filter(|(name, _)| name == INPUT_NAME));
    message
}

/// The annotation that says for which of a module's inputs a message is.
pub(crate) const INPUT_NAME: &str = "x-opt-input-name";
/// The largest message, in bytes (Azure docs, "IoT Hub quotas and throttling": 64 KB).
const MAX_SIZE: usize = 64 * 1024;
/// The longest time that a message may wait (Azure docs, "Send cloud-to-device messages": two days).
const MAX_TIME_TO_LIVE: std::time::Duration = std::time::Duration::from_secs(2 * 24 * 3600);
