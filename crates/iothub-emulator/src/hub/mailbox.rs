//! The cloud-to-device messages that wait for one device or module.
//!
//! A message is ready, or locked by the link that it went out over. It leaves when it is completed, rejected, too
//! old, delivered too often, or purged; until then a lock's end puts it back in its old place.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::LinkId;
use super::feedback::{Ack, Fate};
use super::message::Message;
use crate::clock::Timestamp;

/// Names one delivery of one message: 16 bytes, as a .NET `Guid` has them in memory. It is the delivery-tag.
pub(crate) type LockToken = [u8; 16];

/// How cloud-to-device messages are kept and delivered (Azure docs, "Cloud-to-device message options").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudToDevice {
    pub(super) time_to_live: Duration,
    pub(super) max_delivery_count: u8,
    pub(super) lock: Duration,
}

impl CloudToDevice {
    /// How long a message waits that says nothing of its own. Default 1 hour; at most 2 days.
    #[must_use]
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = time;
        self
    }

    /// How often a message is delivered before it is given up, 1 to 100. Default 10.
    #[must_use]
    pub fn max_delivery_count(mut self, count: u8) -> Self {
        self.max_delivery_count = count.clamp(1, 100);
        self
    }

    /// How long a device may take to settle a message before it is delivered again. Default 60 s.
    #[must_use]
    pub fn lock(mut self, time: Duration) -> Self {
        self.lock = time;
        self
    }
}

impl Default for CloudToDevice {
    fn default() -> Self {
        Self {
            time_to_live: Duration::from_secs(3600),
            max_delivery_count: 10,
            lock: Duration::from_secs(60),
        }
    }
}

/// The messages of one identity, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: BTreeMap<u64, Waiting>,
    last_sequence_number: u64,
    /// The messages that are not what they were when this was last taken: new, gone, locked, put back.
    touched: Vec<u64>,
}

/// A message in a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Message,
    pub(crate) ack: Ack,
    pub(crate) enqueued: Timestamp,
    pub(crate) expires: Timestamp,
    /// How often it came back.
    pub(crate) delivery_count: u8,
    lock: Option<Lock>,
}

/// What was handed out over a link, until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    pub(super) token: LockToken,
    pub(super) until: Timestamp,
    pub(super) link: LinkId,
}

impl Waiting {
    /// A message that is ready.
    pub(crate) const fn new(message: Message, ack: Ack, enqueued: Timestamp, expires: Timestamp) -> Self {
        Self {
            message,
            ack,
            enqueued,
            expires,
            delivery_count: 0,
            lock: None,
        }
    }

    /// Whether it is out for delivery.
    pub(crate) const fn is_locked(&self) -> bool {
        self.lock.is_some()
    }
}

/// A message that has left, and how.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) sequence_number: u64,
    pub(crate) waiting: Waiting,
    pub(crate) fate: Fate,
}

/// What a device says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `accepted`: done with it.
    Complete,
    /// `released` or `modified`: again, please.
    Abandon,
    /// `rejected`: never again.
    Reject,
}

/// No message is locked by that token any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockLost;

impl Mailbox {
    /// Puts a message at the end; gives its number, or `None` when the mailbox is full.
    pub(crate) fn put(
        &mut self,
        message: Message,
        ack: Ack,
        expires: Timestamp,
        now: Timestamp,
    ) -> Option<u64> {
        if self.waiting.len() >= MAX_WAITING {
            return None;
        }
        self.last_sequence_number += 1;
        let waiting = Waiting::new(message, ack, now, expires);
        self.waiting.insert(self.last_sequence_number, waiting);
        self.touched.push(self.last_sequence_number);
        Some(self.last_sequence_number)
    }

    /// A mailbox as it was kept. No lock outlives the hub that gave it: a message that was out for delivery is to be
    /// [put back](Self::put_back).
    pub(crate) fn restored(last_sequence_number: u64) -> Self {
        Self {
            last_sequence_number,
            ..Self::default()
        }
    }

    /// Puts in a message as it was kept. One that was out for delivery comes back, and counts as delivered; gives it if
    /// it has left with that.
    pub(crate) fn restore(
        &mut self,
        sequence_number: u64,
        waiting: Waiting,
        was_locked: bool,
        max_delivery_count: u8,
    ) -> Option<Left> {
        self.last_sequence_number = self.last_sequence_number.max(sequence_number);
        self.waiting.insert(sequence_number, waiting);
        was_locked
            .then(|| self.put_back(sequence_number, max_delivery_count))
            .flatten()
    }

    /// Locks the oldest message that is ready; gives its number and the message.
    pub(crate) fn lock(
        &mut self,
        token: LockToken,
        until: Timestamp,
        link: LinkId,
        now: Timestamp,
    ) -> Option<(u64, &Waiting)> {
        let ready = |waiting: &&mut Waiting| waiting.lock.is_none() && waiting.expires > now;
        let (number, waiting) = self
            .waiting
            .iter_mut()
            .map(|(number, waiting)| (*number, waiting))
            .find(|(_, waiting)| ready(waiting))?;
        waiting.lock = Some(Lock { token, until, link });
        self.touched.push(number);
        Some((number, waiting))
    }

    /// Does what the device says of the message that `link` has under `token`; gives it if it has left with that.
    pub(crate) fn settle(
        &mut self,
        token: &LockToken,
        link: LinkId,
        outcome: Outcome,
        max_delivery_count: u8,
    ) -> Result<Option<Left>, LockLost> {
        let held = |waiting: &Waiting| {
            waiting
                .lock
                .is_some_and(|lock| lock.token == *token && lock.link == link)
        };
        let found = self.waiting.iter().find(|(_, waiting)| held(waiting));
        let number = *found.ok_or(LockLost)?.0;
        Ok(match outcome {
            Outcome::Complete => self.leave(number, Fate::Success),
            Outcome::Reject => self.leave(number, Fate::Rejected),
            Outcome::Abandon => self.put_back(number, max_delivery_count),
        })
    }

    /// Puts back what `link` has locked, for it is gone; gives what has left with that.
    pub(crate) fn link_gone(&mut self, link: LinkId, max_delivery_count: u8) -> Vec<Left> {
        self.put_back_where(max_delivery_count, |waiting| {
            waiting.lock.is_some_and(|lock| lock.link == link)
        })
    }

    /// Puts back what was locked too long, and gives what has left with that or is too old.
    pub(crate) fn expire(&mut self, max_delivery_count: u8, now: Timestamp) -> Vec<Left> {
        let mut left = self.put_back_where(max_delivery_count, |waiting| {
            waiting.lock.is_some_and(|lock| lock.until <= now)
        });
        let old = |waiting: &Waiting| waiting.lock.is_none() && waiting.expires <= now;
        left.extend(
            self.numbers_where(old)
                .into_iter()
                .filter_map(|number| self.leave(number, Fate::Expired)),
        );
        left
    }

    /// Takes all messages out, locked or not.
    pub(crate) fn purge(&mut self) -> Vec<Left> {
        let purged = std::mem::take(&mut self.waiting);
        self.touched.extend(purged.keys());
        purged
            .into_iter()
            .map(|(sequence_number, waiting)| Left {
                sequence_number,
                waiting,
                fate: Fate::Purged,
            })
            .collect()
    }

    /// The messages that are not what they were when this was last called.
    pub(crate) fn take_touched(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.touched)
    }

    /// The number of the message that came last.
    pub(crate) const fn last_sequence_number(&self) -> u64 {
        self.last_sequence_number
    }

    /// The message of that number.
    pub(crate) fn get(&self, sequence_number: u64) -> Option<&Waiting> {
        self.waiting.get(&sequence_number)
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let ends = |waiting: &Waiting| waiting.lock.map_or(waiting.expires, |lock| lock.until);
        self.waiting.values().map(ends).min()
    }

    /// How many messages wait, locked or not.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn put_back_where(&mut self, max_delivery_count: u8, which: impl Fn(&Waiting) -> bool) -> Vec<Left> {
        self.numbers_where(which)
            .into_iter()
            .filter_map(|number| self.put_back(number, max_delivery_count))
            .collect()
    }

    fn numbers_where(&self, which: impl Fn(&Waiting) -> bool) -> Vec<u64> {
        let chosen = self.waiting.iter().filter(|(_, waiting)| which(waiting));
        chosen.map(|(number, _)| *number).collect()
    }

    fn put_back(&mut self, number: u64, max_delivery_count: u8) -> Option<Left> {
        let waiting = self.waiting.get_mut(&number)?;
        waiting.lock = None;
        waiting.delivery_count = waiting.delivery_count.saturating_add(1);
        self.touched.push(number);
        if waiting.delivery_count < max_delivery_count {
            return None;
        }
        self.leave(number, Fate::DeliveryCountExceeded)
    }

    fn leave(&mut self, sequence_number: u64, fate: Fate) -> Option<Left> {
        let waiting = self.waiting.remove(&sequence_number)?;
        self.touched.push(sequence_number);
        Some(Left {
            sequence_number,
            waiting,
            fate,
        })
    }
}

/// The most messages that wait for one device or module, locked ones too (Azure docs, "IoT Hub quotas and
/// throttling": 50).
pub(crate) const MAX_WAITING: usize = 50;

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
