//! The events as they are given to the application.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::PartitionState;
use crate::cursor::Position;
use crate::driver::tray::{Item, Parcel};
use crate::error::EventsError;
use crate::event::Event;
use crate::lag::Progress;
use crate::listening::Listening;

/// A stream of events, of one or several partitions: opened by [`Reading::open`](crate::Reading::open).
///
/// It goes on through lost links and connections, and ends when all its partitions have: each says so by
/// [`Read::Ended`].
///
/// # Delivery
/// Of each partition every event comes once and in order, from its position on; between partitions there is no order.
/// After a loss the endpoint is asked for what is behind the last event that came. Sequence numbers have no gaps, so what
/// is left out is noticed and told before the next event ([`Read::Gap`]), and what comes again is told in place of being
/// given ([`Read::Duplicate`]). A log that was cut off before the first event of [`Position::Earliest`], an offset or a
/// time can't be told from one that begins there.
///
/// # Cancel safety
/// No event is lost with a future of [`next`](Self::next) that is dropped. Dropping the stream detaches its links.
///
/// # Limits
/// Of each partition as many events wait here as the [buffer](crate::Reading::buffer) is; who does not read stops the
/// endpoint.
pub struct Events {
    parcels: mpsc::UnboundedReceiver<Parcel>,
    partition: u32,
    /// The rest of the last parcel.
    items: std::vec::IntoIter<Item>,
    readers: BTreeMap<u32, Reader>,
}

/// What a stream of events gives.
///
/// # Delivery
/// Each event comes once. What is not given is told in its place: what is missing before the next event, and what came
/// again instead of it.
///
/// # Cancel safety
/// It is taken when [`next`](crate::Events::next) has given it: the stream goes on behind it, whether it is kept or
/// dropped.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Read {
    /// An event.
    Event(Box<Event>),
    /// Events are missing.
    Gap(Gap),
    /// An event came again, and is not given again.
    Duplicate(Duplicate),
    /// A partition can't be read any more; the others go on.
    Ended(Ended),
}

/// Events that were there, or should have been, and did not come: mostly the hub has dropped them, being older than it
/// keeps them.
///
/// # Delivery
/// The stream is behind these events, and will not give them.
///
/// # Cancel safety
/// It is told once, before the event that follows; dropping it brings nothing back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The partition, from 0.
    pub partition: u32,
    /// The first sequence number that is missing.
    pub first: i64,
    /// The last that is.
    pub last: i64,
}

/// An event that came again.
///
/// # Delivery
/// The event was given before, and is not given twice.
///
/// # Cancel safety
/// There is nothing to be done about it: dropping it leaves the stream where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Duplicate {
    /// The partition, from 0.
    pub partition: u32,
    /// The event's sequence number.
    pub sequence_number: i64,
}

/// Why a partition can't be read any more.
///
/// # Delivery
/// What had come of the partition was given before; nothing more of it comes by this stream.
///
/// # Cancel safety
/// Its link is gone. The other partitions go on, whether this is kept or dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The partition, from 0.
    pub partition: u32,
    /// Why.
    pub why: EventsError,
}

/// A partition that is read.
pub(super) struct Reader {
    listening: Listening,
    /// How many events were taken since that was told.
    untold: u32,
    /// With how many it is worth telling.
    worth: u32,
    progress: Progress,
}

impl Reader {
    pub(super) fn new(listening: Listening, state: &PartitionState, from: &Position, buffer: u32) -> Self {
        Self {
            listening,
            untold: 0,
            worth: (buffer / 4).max(1),
            progress: Progress {
                partition: state.partition,
                sequence_number: None,
                enqueued_at: None,
                last_enqueued: state.last,
                first: match from {
                    Position::Earliest => Some(state.first),
                    Position::Sequence(first) => Some(*first),
                    Position::AfterSequence(last) => Some(last.saturating_add(1)),
                    _ => None,
                },
            },
        }
    }

    fn took(&mut self, event: &Event) {
        self.progress.sequence_number = Some(event.sequence_number);
        self.progress.enqueued_at = Some(event.enqueued_at);
        let known = event.last_enqueued.unwrap_or(event.sequence_number);
        self.progress.last_enqueued = self.progress.last_enqueued.max(Some(known));
        self.left_a_place();
    }

    /// What was taken leaves room for another.
    fn left_a_place(&mut self) {
        self.untold += 1;
        if self.untold >= self.worth {
            self.listening.took(std::mem::take(&mut self.untold));
        }
    }
}

impl Events {
    pub(super) fn new(parcels: mpsc::UnboundedReceiver<Parcel>, readers: BTreeMap<u32, Reader>) -> Self {
        Self {
            parcels,
            partition: 0,
            items: Vec::new().into_iter(),
            readers,
        }
    }

    /// The next of them; `None` when no partition is read any more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Read> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// How far each partition is read, by the partition.
    pub fn progress(&self) -> impl Iterator<Item = Progress> + '_ {
        self.readers.values().map(|reader| reader.progress)
    }

    fn read(&mut self, item: Item) -> Read {
        let partition = self.partition;
        match item {
            Item::Event(event) => {
                if let Some(reader) = self.readers.get_mut(&partition) {
                    reader.took(&event);
                }
                Read::Event(event)
            }
            Item::Gap { from, to } => Read::Gap(Gap {
                partition,
                first: from,
                last: to - 1,
            }),
            Item::Duplicate(sequence_number) => {
                if let Some(reader) = self.readers.get_mut(&partition) {
                    reader.left_a_place();
                }
                Read::Duplicate(Duplicate {
                    partition,
                    sequence_number,
                })
            }
            Item::Ended(why) => Read::Ended(Ended {
                partition,
                why: EventsError::of_end(partition, why),
            }),
        }
    }
}

impl Stream for Events {
    type Item = Read;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Read>> {
        loop {
            if let Some(item) = self.items.next() {
                return Poll::Ready(Some(self.read(item)));
            }
            let Some(Parcel { partition, items }) = ready!(self.parcels.poll_recv(cx)) else {
                return Poll::Ready(None);
            };
            self.partition = partition;
            self.items = items.into_iter();
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("partitions", &self.readers.keys())
            .finish_non_exhaustive()
    }
}
