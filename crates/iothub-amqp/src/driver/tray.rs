//! Where the events of one partition are put for who reads them: in order, none twice, and no more than there are places.

use tokio::sync::mpsc;

use super::engine::Reading;
use crate::cursor::{Cursor, Position, Seen};
use crate::error::Interruption;
use crate::event::Event;

/// The owner's end of a partition's stream.
pub(crate) struct Tray {
    partition: u32,
    cursor: Cursor,
    epoch: Option<i64>,
    places: u32,
    /// How many places are taken by what the reader has not taken.
    taken: u32,
    parcels: mpsc::UnboundedSender<Parcel>,
}

/// What comes to a reader together.
pub(crate) struct Parcel {
    pub(crate) partition: u32,
    pub(crate) items: Vec<Item>,
}

pub(crate) enum Item {
    Event(Box<Event>),
    /// From this sequence number up to that one, the latter not included, nothing came.
    Gap {
        from: i64,
        to: i64,
    },
    Duplicate(i64),
    Ended(Interruption),
}

impl Tray {
    pub(crate) fn new(
        partition: u32,
        from: Position,
        epoch: Option<i64>,
        places: u32,
        parcels: mpsc::UnboundedSender<Parcel>,
    ) -> Self {
        Self {
            partition,
            cursor: Cursor::new(from),
            epoch,
            places,
            taken: 0,
            parcels,
        }
    }

    /// From where a new link is to read.
    pub(super) fn reading(&self) -> Reading {
        Reading {
            selector: self.cursor.selector(),
            epoch: self.epoch,
        }
    }

    /// How many events a new link may bring.
    pub(super) fn free(&self) -> u32 {
        self.places.saturating_sub(self.taken)
    }

    /// Takes what has come. What comes again takes a place too until it is read: there is no end to it where the other side repeats itself.
    pub(super) fn put(&mut self, events: Vec<Event>) {
        let mut items = Vec::with_capacity(events.len());
        for event in events {
            self.taken += 1;
            match self.cursor.take(event.sequence_number) {
                Seen::Before => {
                    items.push(Item::Duplicate(event.sequence_number));
                    continue;
                }
                Seen::After(from) => items.push(Item::Gap {
                    from,
                    to: event.sequence_number,
                }),
                Seen::Next => {}
            }
            items.push(Item::Event(Box::new(event)));
        }
        self.send(items);
    }

    /// The reader has taken so many.
    pub(super) fn took(&mut self, events: u32) {
        self.taken = self.taken.saturating_sub(events);
    }

    /// Nothing more comes of this partition.
    pub(super) fn end(&self, why: Interruption) {
        self.send(vec![Item::Ended(why)]);
    }

    /// Who has dropped the stream ends it by that.
    fn send(&self, items: Vec<Item>) {
        let partition = self.partition;
        let _ = self.parcels.send(Parcel { partition, items });
    }
}
