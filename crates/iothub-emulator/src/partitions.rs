//! The partitions of the event log, as those see them who read at the event endpoint.
//!
//! The log is one, and its bound is one: [`LogLimits`](crate::LogLimits) holds for all partitions together, so that a busy
//! partition drives out the older events of a quiet one. A partition's reader reads the log by place and passes over what
//! is another partition's; it holds one run of the log at a time and never a copy of more.

use std::sync::Arc;

use iothub_address::EventHubName;
use tokio::sync::watch;

use crate::clock::{SharedClock, Timestamp};
use crate::feed::Feed;
use crate::hub::{Event, Heads, Position, Reached};

/// The event log by partition. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Partitions {
    feed: Feed<Event>,
    heads: Heads,
    entity: EventHubName,
    created: Timestamp,
    clock: SharedClock,
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// The number of the oldest event that is kept; of the next one if none is.
    pub(crate) first: u64,
    pub(crate) reached: Reached,
    pub(crate) is_empty: bool,
}

impl Partitions {
    pub(crate) fn new(feed: Feed<Event>, heads: Heads, entity: EventHubName, clock: SharedClock) -> Self {
        let created = clock.now();
        Self {
            feed,
            heads,
            entity,
            created,
            clock,
        }
    }

    /// The name of the event hub.
    pub(crate) const fn entity(&self) -> &EventHubName {
        &self.entity
    }

    /// When this hub began to run.
    pub(crate) const fn created(&self) -> Timestamp {
        self.created
    }

    pub(crate) fn count(&self) -> u16 {
        self.heads.partitions()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How far a partition has come.
    pub(crate) fn reached(&self, partition: u16) -> Reached {
        self.heads.of(partition).unwrap_or_default()
    }

    /// `None` where there is no such partition.
    pub(crate) async fn about(&self, partition: u16) -> Option<About> {
        let reached = self.heads.of(partition)?;
        let places = self.feed.places();
        let oldest = match reached.head {
            Some(_) => self.first_in(partition, places.start, places.end).await,
            None => None,
        };
        Some(About {
            first: oldest
                .as_ref()
                .map_or(reached.next, |(_, event)| event.sequence_number),
            reached,
            is_empty: oldest.is_none(),
        })
    }

    /// The place in the log from which on a reader finds what it wants: it may have to pass over some more.
    ///
    /// Cancel safe.
    pub(crate) async fn find(&self, partition: u16, position: Position) -> u64 {
        let places = self.feed.places();
        match position {
            Position::Start => return places.start,
            Position::Latest => return places.end,
            _ => {}
        }
        // Before `low` nothing is wanted; from `high` on all is, as far as it is there.
        let (mut low, mut high) = (places.start, places.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_in(partition, middle, high).await {
                Some((place, event)) if !position.admits(&event) => low = place + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// The partition's events in the run of the log that begins at `from`, and where to read on. None of both when there
    /// is nothing more; a run may be without one.
    ///
    /// Cancel safe.
    pub(crate) async fn run_at(&self, partition: u16, from: u64) -> (Vec<Arc<Event>>, u64) {
        let read = self.feed.run_at(from).await;
        let mut events = read.entries;
        events.retain(|event| event.partition == partition);
        (events, read.next)
    }

    /// Changes when the log has grown; it fails once the hub has stopped.
    pub(crate) fn growth(&self) -> watch::Receiver<u64> {
        self.feed.growth()
    }

    /// The partition's first event from place `from` on and before `end`, with its place.
    async fn first_in(&self, partition: u16, from: u64, end: u64) -> Option<(u64, Arc<Event>)> {
        let mut from = from;
        while from < end {
            let read = self.feed.run_at(from).await;
            let begin = read.next - read.entries.len() as u64;
            let found = (begin..end)
                .zip(read.entries)
                .find(|(_, event)| event.partition == partition);
            if found.is_some() {
                return found;
            }
            if read.next == from {
                return None;
            }
            from = read.next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::feed::Growth;
    use crate::hub::{AuthMethod, Bound, LogLimits, Message, Place, Scope, Sender, SharedRing, Source};

    /// A log of `count` events, `1/width` of them in each partition in turn, a second and 100 bytes apart.
    fn log(limits: LogLimits, count: u64, width: u64) -> (Partitions, Growth<Event>) {
        let ring = SharedRing::new(limits);
        let (feed, growth) = Feed::new(ring.clone(), None);
        let heads = Heads::new(&vec![Place::default(); usize::try_from(width).unwrap()], []);
        for number in 0..count {
            let sender = Sender::new(
                "dev".parse::<iothub_address::DeviceId>().unwrap().into(),
                "1".into(),
                AuthMethod::OwnKey(Scope::Device),
            );
            let event = Event {
                sender,
                partition: u16::try_from(number % width).unwrap(),
                sequence_number: number / width,
                offset: 100 * (number / width),
                enqueued: Timestamp::from_seconds(i64::try_from(number).unwrap()),
                source: Source::Telemetry,
                message: Message::default(),
            };
            heads.grew(event.partition, (&event).into(), number + 1);
            ring.lock().push(Arc::new(event), 0, Timestamp::default());
        }
        heads.show(count);
        growth.publish();
        let clock = SharedClock::new(Arc::new(ManualClock::new(Timestamp::default())));
        let entity = "hub".parse().unwrap();
        (Partitions::new(feed, heads, entity, clock), growth)
    }

    /// All that a reader at this position gets: their numbers.
    async fn read(partitions: &Partitions, partition: u16, position: Position) -> Vec<u64> {
        let mut place = partitions.find(partition, position).await;
        let mut numbers = Vec::new();
        loop {
            let (events, next) = partitions.run_at(partition, place).await;
            if next == place {
                return numbers;
            }
            place = next;
            let wanted = events.iter().filter(|event| position.admits(event));
            numbers.extend(wanted.map(|event| event.sequence_number));
        }
    }

    #[tokio::test]
    async fn a_reader_begins_where_its_position_says() {
        let (partitions, _growth) = log(LogLimits::default(), 4000, 4);
        let time = |seconds| Timestamp::from_seconds(seconds);
        for (position, first) in [
            (Position::Start, 0),
            (Position::SequenceNumber(Bound::Behind(-1)), 0),
            (Position::SequenceNumber(Bound::Behind(500)), 501),
            (Position::SequenceNumber(Bound::From(500)), 500),
            (Position::SequenceNumber(Bound::From(999)), 999),
            (Position::SequenceNumber(Bound::Behind(999)), 1000),
            (Position::Offset(Bound::Behind(7000)), 71),
            (Position::Offset(Bound::From(7000)), 70),
            (Position::Offset(Bound::From(7001)), 71),
            // The events of partition 1 came at 1, 5, 9, … seconds.
            (Position::Enqueued(Bound::Behind(time(401))), 101),
            (Position::Enqueued(Bound::From(time(401))), 100),
            (Position::Enqueued(Bound::From(time(402))), 101),
            (Position::Enqueued(Bound::From(time(4000))), 1000),
            (Position::Latest, 1000),
        ] {
            let numbers = read(&partitions, 1, position).await;
            assert_eq!(numbers, (first..1000).collect::<Vec<_>>(), "{position:?}");
        }
    }

    #[tokio::test]
    async fn what_has_fallen_off_the_log_is_passed_over() {
        let (partitions, _growth) = log(LogLimits::new(1000, usize::MAX), 4000, 4);
        let numbers = read(&partitions, 2, Position::SequenceNumber(Bound::From(10))).await;
        assert_eq!(numbers, (750..1000).collect::<Vec<_>>());
        let about = partitions.about(2).await.unwrap();
        assert_eq!(
            (about.first, about.reached.next, about.is_empty),
            (750, 1000, false)
        );
        assert_eq!(about.reached.head.unwrap().offset, 99_900);
        assert_eq!(partitions.about(4).await, None);
    }

    #[tokio::test]
    async fn a_quiet_partition_is_found_and_an_empty_one_said_to_be_so() {
        // One event of partition 0, then many of partition 1 alone.
        let (partitions, _growth) = log(LogLimits::default(), 1, 3);
        let about = partitions.about(1).await.unwrap();
        assert_eq!(
            (about.first, about.reached, about.is_empty),
            (0, Reached::default(), true)
        );
        assert_eq!(read(&partitions, 0, Position::Start).await, [0]);
        assert_eq!(read(&partitions, 1, Position::Start).await, [0_u64; 0]);
    }
}
