//! The task of a link on which messages come in: it lets as many come as there are places, and passes the word on each.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::engine::{End, Inlet, Key, incoming};
use super::{Carried, Fact, Facts, LaneOrder, tell};
use crate::supervisor::{DeliveryId, Epoch, Input, LaneId, Verdict};

/// Runs until the link ends (then the end is given back) or nobody can give it orders any more.
pub(super) async fn run(
    mut inlet: Inlet,
    (lane, epoch): (LaneId, Epoch),
    mut orders: mpsc::UnboundedReceiver<LaneOrder>,
    facts: Facts,
) -> Option<End> {
    let mut places = Places::new(MESSAGE_PLACES);
    let mut held: BTreeMap<DeliveryId, Key> = BTreeMap::new();
    let mut last = 0;
    loop {
        if let Some(credit) = places.grant(held.len()) {
            // A link that is gone says so when it is asked for more.
            let _ = inlet.grant(credit).await;
        }
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => break,
                Some(LaneOrder::Dispose(delivery, verdict, _)) => {
                    if let Some(key) = held.remove(&delivery)
                        && inlet.settle(key, verdict).await.is_ok()
                        && verdict != Verdict::Forget
                    {
                        tell(&facts, Input::Disposed { lane, epoch, delivery });
                    }
                }
                Some(LaneOrder::Quiet) => {
                    places.close();
                    let _ = inlet.grant(0).await;
                }
                Some(_) => {} // nothing is sent here
            },
            arrival = inlet.next() => {
                places.used();
                match arrival {
                    Err(end) => return Some(end),
                    Ok(None) => {}
                    Ok(Some(arrival)) => {
                        last += 1;
                        let delivery = DeliveryId(last);
                        held.insert(delivery, arrival.key);
                        let message = Carried::Message(Box::new(incoming::message(arrival.message)));
                        let input = Input::Arrived { lane, epoch, delivery };
                        let _ = facts.send(Fact::Carrying(input, message));
                    }
                }
            }
        }
    }
    inlet.close().await;
    None
}

/// How many more may come: never more than there are places for what has no word on it.
pub(super) struct Places {
    all: u32,
    granted: u32,
}

impl Places {
    pub(super) fn new(all: u32) -> Self {
        Self { all, granted: 0 }
    }

    /// The credit to grant, when it is worth a frame.
    pub(super) fn grant(&mut self, held: usize) -> Option<u32> {
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        let free = self.all.saturating_sub(held);
        let worth = free > self.granted && (self.granted == 0 || free - self.granted >= self.all / 2);
        worth.then(|| {
            self.granted = free;
            free
        })
    }

    /// One has come.
    pub(super) fn used(&mut self) {
        self.granted = self.granted.saturating_sub(1);
    }

    pub(super) fn close(&mut self) {
        self.all = 0;
    }
}

/// How many cloud-to-device messages, or module inputs, a client holds that have no word on them. A hub's lock on each
/// runs out after a minute, so that few are better than many.
pub(crate) const MESSAGE_PLACES: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_never_exceeds_the_free_places_and_is_topped_up_by_halves() {
        let mut places = Places::new(8);
        assert_eq!(places.grant(0), Some(8));
        for held in 1..=4 {
            places.used();
            assert_eq!(places.grant(held), None, "{held} places are taken");
        }
        // Four are granted, four are held: settling frees places, and half of all makes a frame worth it.
        for held in [3, 2, 1] {
            assert_eq!(places.grant(held), None, "{held} are still held");
        }
        assert_eq!(places.grant(0), Some(8));
    }

    #[test]
    fn the_last_place_is_granted_alone_when_nothing_else_can_come() {
        let mut places = Places::new(2);
        assert_eq!(places.grant(0), Some(2));
        places.used();
        places.used();
        assert_eq!(places.grant(2), None);
        assert_eq!(places.grant(1), Some(1));
        places.close();
        places.used();
        assert_eq!(places.grant(0), None);
    }
}
