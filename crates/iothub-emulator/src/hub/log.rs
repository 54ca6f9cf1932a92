//! The event log: partitions and the numbers in them.

use std::sync::Arc;

use iothub_address::DeviceId;
use serde::{Deserialize, Serialize};

use super::endpoint::{Head, Heads};
use super::event::{Event, Sender, Source};
use super::message::Message;
use super::ring::SharedRing;
use crate::clock::Timestamp;

/// Gives every message its place and keeps it.
#[derive(Debug)]
pub(crate) struct Log {
    partitions: Vec<Place>,
    ring: SharedRing<Event>,
    heads: Heads,
}

/// What the next event of a partition gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    sequence_number: u64,
    offset: u64,
}

impl Place {
    /// The place behind an event.
    pub(crate) const fn behind(event: &Event) -> Self {
        Self {
            sequence_number: event.sequence_number + 1,
            offset: event.offset + event.message.encoded_size as u64,
        }
    }

    pub(crate) const fn sequence_number(self) -> u64 {
        self.sequence_number
    }

    pub(crate) const fn offset(self) -> u64 {
        self.offset
    }
}

impl Log {
    /// `partitions` are at least one.
    pub(crate) const fn new(partitions: Vec<Place>, ring: SharedRing<Event>, heads: Heads) -> Self {
        Self {
            partitions,
            ring,
            heads,
        }
    }

    /// Keeps the messages as events, and gives each of these to `kept`.
    pub(crate) fn append(
        &mut self,
        sender: Sender,
        source: Source,
        messages: impl IntoIterator<Item = Message>,
        now: Timestamp,
        mut kept: impl FnMut(&Arc<Event>),
    ) {
        let number = self.partition_of(sender.identity.device());
        let partition = &mut self.partitions[usize::from(number)];
        let mut ring = self.ring.lock();
        let mut head = None;
        for message in messages {
            let weight = message.weight;
            let event = Arc::new(Event {
                sender: sender.clone(),
                partition: number,
                sequence_number: partition.sequence_number,
                offset: partition.offset,
                enqueued: now,
                source,
                message,
            });
            *partition = Place::behind(&event);
            kept(&event);
            head = Some(Head::from(&*event));
            ring.push(event, weight, now);
        }
        if let Some(head) = head {
            self.heads.grew(number, head, ring.end());
        }
    }

    /// What the next event of a partition gets.
    pub(crate) fn next(&self, partition: u16) -> Place {
        self.partitions
            .get(usize::from(partition))
            .copied()
            .unwrap_or_default()
    }

    /// When the oldest event that is in memory has to go for its age.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        self.ring.lock().expires()
    }

    /// Drops events that are too old. Returns when the next has to go.
    pub(crate) fn expire(&self, now: Timestamp) -> Option<Timestamp> {
        self.ring.lock().expire(now)
    }

    fn partition_of(&self, device: &DeviceId) -> u16 {
        let count = self.partitions.len() as u64;
        u16::try_from(fnv1a(device.as_str()) % count).unwrap_or(0)
    }
}

/// FNV-1a, 64 bits: small, and the same in every version and on every machine. The real hub's hash is not known.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::event::{AuthMethod, Scope};
    use crate::hub::ring::LogLimits;

    fn append(log: &mut Log, device: &str, size: usize) {
        let sender = Sender::new(
            device.parse::<DeviceId>().unwrap().into(),
            "1".into(),
            AuthMethod::OwnKey(Scope::Device),
        );
        let message = Message {
            encoded_size: size,
            weight: size,
            ..Message::default()
        };
        log.append(
            sender,
            Source::Telemetry,
            vec![message],
            Timestamp::from_seconds(1),
            |_| {},
        );
    }

    #[test]
    fn numbers_and_offsets_run_per_partition_without_gaps() {
        let ring = SharedRing::new(LogLimits::default());
        let partitions = vec![Place::default(); 4];
        let mut log = Log::new(partitions.clone(), ring.clone(), Heads::new(&partitions, []));
        for round in 0..10 {
            append(&mut log, &format!("device{}", round % 3), 100);
        }
        let events = ring.lock().read(0, 100).entries;
        assert_eq!(events.len(), 10);
        for partition in 0..4 {
            let here = events.iter().filter(|event| event.partition == partition);
            for (place, event) in here.enumerate() {
                assert_eq!(event.sequence_number, place as u64);
                assert_eq!(event.offset, place as u64 * 100);
            }
        }
    }

    /// A state directory outlives the program: these never change. Computed by hand from FNV-1a's definition, 64 bits, with
    /// its published basis and prime.
    #[test]
    fn the_partition_of_an_id_is_the_same_in_every_version() {
        for (id, of) in [
            ("a", [0, 0, 0, 4, 12]),
            ("device1", [0, 0, 2, 6, 6]),
            ("sensor-42", [0, 0, 0, 0, 16]),
            ("myFirstDevice", [0, 1, 1, 5, 13]),
        ] {
            for (count, partition) in [1, 2, 4, 8, 32].into_iter().zip(of) {
                let partitions = vec![Place::default(); count];
                let ring = SharedRing::new(LogLimits::default());
                let mut log = Log::new(partitions.clone(), ring.clone(), Heads::new(&partitions, []));
                append(&mut log, id, 1);
                assert_eq!(
                    ring.lock().read(0, 1).entries[0].partition,
                    partition,
                    "{id} of {count}"
                );
            }
        }
    }

    #[test]
    fn a_device_stays_in_its_partition() {
        // From the published test vectors of FNV-1a: fnv1a_64("foobar") = 0x85944171f73967e8.
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
        let ring = SharedRing::new(LogLimits::default());
        let partitions = vec![Place::default(); 4];
        let mut log = Log::new(partitions.clone(), ring.clone(), Heads::new(&partitions, []));
        append(&mut log, "foobar", 1);
        assert_eq!(
            u64::from(ring.lock().read(0, 1).entries[0].partition),
            0x8594_4171_f739_67e8_u64 % 4
        );
    }
}
