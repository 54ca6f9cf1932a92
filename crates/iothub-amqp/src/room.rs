//! The room for messages that have no outcome yet: bounded by their count and by their bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

use crate::config::{QUEUE, QUEUE_BYTES};

pub(crate) struct Room(Arc<State>);

struct State {
    /// What is free: the count in the upper half, the bytes in the lower, so that one step takes both or gives both back.
    free: AtomicU64,
    /// How many wait for more. Those that do not wait leave it to them.
    waiting: AtomicUsize,
    /// Whose turn it is to wait, in the order in which they came.
    turn: Mutex<()>,
    /// For that one: something is free again.
    freed: Notify,
}

/// What a message takes of the room, given back when this is dropped.
pub(crate) struct Place {
    room: Arc<State>,
    taken: u64,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self::of(QUEUE, QUEUE_BYTES)
    }

    fn of(count: usize, bytes: usize) -> Self {
        Self(Arc::new(State {
            free: AtomicU64::new(packed(count, bytes)),
            waiting: AtomicUsize::new(0),
            turn: Mutex::new(()),
            freed: Notify::new(),
        }))
    }

    /// A place for a message of this weight, if there is one now and nobody waits for it.
    pub(crate) fn take(&self, weight: usize) -> Option<Place> {
        let nobody_waits = self.0.waiting.load(Ordering::SeqCst) == 0;
        nobody_waits.then(|| self.0.take(weight)).flatten()
    }

    /// Waits for a place, behind those who wait already.
    ///
    /// Cancel safe: whoever is dropped leaves its turn to the next.
    pub(crate) async fn wait(&self, weight: usize) -> Place {
        if let Some(place) = self.take(weight) {
            return place;
        }
        let _waiting = Waiting::of(&self.0);
        let _turn = self.0.turn.lock().await;
        loop {
            if let Some(place) = self.0.take(weight) {
                return place;
            }
            self.0.freed.notified().await;
        }
    }
}

impl State {
    fn take(self: &Arc<Self>, weight: usize) -> Option<Place> {
        // A message that is larger than all the room takes all of it: its link will refuse it.
        let weight = weight.min(QUEUE_BYTES) as u64;
        let taken = (1 << HALF) | weight;
        let has_place = |free: u64| free >> HALF >= 1 && free & LOWER >= weight;
        self.free
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| {
                has_place(free).then(|| free - taken)
            })
            .ok()?;
        Some(Place {
            room: Arc::clone(self),
            taken,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Who comes to wait counts itself first and looks for a place then; here it is the other way round.
        self.room.free.fetch_add(self.taken, Ordering::SeqCst);
        if self.room.waiting.load(Ordering::SeqCst) > 0 {
            self.room.freed.notify_one();
        }
    }
}

struct Waiting<'a>(&'a State);

impl<'a> Waiting<'a> {
    fn of(room: &'a State) -> Self {
        room.waiting.fetch_add(1, Ordering::SeqCst);
        Self(room)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

const HALF: u32 = 32;
const LOWER: u64 = (1 << HALF) - 1;

const fn packed(count: usize, bytes: usize) -> u64 {
    (count as u64) << HALF | bytes as u64
}

// Neither half runs over.
const _: () = assert!((QUEUE as u64) < LOWER && (QUEUE_BYTES as u64) < LOWER);

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn places_are_bounded_by_count_and_by_bytes_and_come_back() {
        let room = Room::of(2, 100);
        let first = room.take(60).unwrap();
        assert!(room.take(41).is_none(), "its bytes are not free");
        let second = room.take(40).unwrap();
        assert!(room.take(0).is_none(), "the count is all taken");
        drop(first);
        let third = room.take(60).unwrap();
        drop((second, third));
        assert_eq!(room.0.free.load(Ordering::SeqCst), packed(2, 100));
    }

    #[test]
    fn a_message_that_is_larger_than_all_the_room_takes_all_of_it() {
        let room = Room::new();
        let all = room.take(usize::MAX).unwrap();
        assert!(room.take(1).is_none());
        drop(all);
        assert!(room.take(1).is_some());
    }

    #[test]
    fn who_waits_is_served_in_order_and_not_overtaken_by_who_needs_less() {
        let room = Room::of(10, 100);
        let held = room.take(100).unwrap();
        let mut large = Box::pin(room.wait(80));
        let mut small = Box::pin(room.wait(10));
        assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
        drop(held);
        assert!(room.take(1).is_none(), "it is left to those who wait");
        assert!(small.as_mut().now_or_never().is_none(), "the large one was first");
        let large = large.now_or_never().unwrap();
        let small = small.now_or_never().unwrap();
        assert!(room.take(11).is_none() && room.take(10).is_some());
        drop((large, small));
    }

    #[test]
    fn who_stops_waiting_leaves_its_turn_to_the_next() {
        let room = Room::of(1, 100);
        let held = room.take(1).unwrap();
        let mut first = Box::pin(room.wait(1));
        assert!(first.as_mut().now_or_never().is_none());
        {
            let second = pin!(room.wait(1));
            assert!(second.now_or_never().is_none());
        }
        // Dropped after it was told that something is free, and before it took it.
        let mut third = Box::pin(room.wait(1));
        assert!(third.as_mut().now_or_never().is_none());
        drop(held);
        drop(first);
        assert!(third.now_or_never().is_some());
        assert_eq!(room.0.waiting.load(Ordering::SeqCst), 0);
    }
}
