//! The task of a link by which a partition is read: as many events come as there are places for, and none wants a word.

use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use super::engine::{End, Inlet, events};
use super::{Carried, Fact, Facts, LaneOrder};
use crate::event::Event;
use crate::supervisor::{DeliveryId, Epoch, Input, LaneId, LaneKind};

/// Runs until the link ends (then the end is given back) or nobody can give it orders any more.
pub(super) async fn run(
    mut inlet: Inlet,
    (lane, epoch): (LaneId, Epoch),
    mut orders: mpsc::UnboundedReceiver<LaneOrder>,
    facts: Facts,
) -> Option<End> {
    let LaneKind::Partition(partition) = lane.kind else {
        return None; // no other is opened so
    };
    let mut places = Free::default();
    let mut last = 0;
    loop {
        if let Some(credit) = places.grant() {
            // A link that is gone says so when it is asked for more.
            let _ = inlet.grant(credit).await;
        }
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => break,
                Some(LaneOrder::Room(more)) => places.more(more),
                Some(LaneOrder::Quiet) => {
                    places = Free::default();
                    let _ = inlet.grant(0).await;
                }
                Some(_) => {} // nothing is sent here, or settled
            },
            first = inlet.next() => {
                let mut run = Vec::new();
                let mut arrival = Some(first);
                let mut end = None;
                // What is there already goes on together.
                while let Some(arrived) = arrival {
                    match arrived {
                        Err(why) => {
                            end = Some(why);
                            break;
                        }
                        Ok(arrived) => {
                            let event = arrived.and_then(|arrived| events::event(arrived.message, partition));
                            places.used(event.is_some());
                            run.extend(event);
                        }
                    }
                    arrival = if run.len() < RUN { inlet.next().now_or_never() } else { None };
                }
                if !run.is_empty() {
                    last += 1;
                    let delivery = DeliveryId(last);
                    pass_on(&facts, Input::Arrived { lane, epoch, delivery }, run);
                }
                if end.is_some() {
                    return end;
                }
            }
        }
    }
    inlet.close().await;
    None
}

fn pass_on(facts: &Facts, input: Input, run: Vec<Event>) {
    let _ = facts.send(Fact::Carrying(input, Carried::Events(run)));
}

/// The places that are free, and for how many of them the peer has credit.
#[derive(Default)]
struct Free {
    all: u32,
    granted: u32,
    /// From how many on it is worth a frame to grant more.
    worth: u32,
}

impl Free {
    fn more(&mut self, places: u32) {
        self.all += places;
        self.worth = self.worth.max(self.all / 2);
    }

    /// The credit to grant, when it is worth a frame.
    fn grant(&mut self) -> Option<u32> {
        let worth = self.all > self.granted && (self.granted == 0 || self.all - self.granted >= self.worth);
        worth.then(|| {
            self.granted = self.all;
            self.all
        })
    }

    /// One has come; what is no event takes no place.
    fn used(&mut self, place: bool) {
        self.granted = self.granted.saturating_sub(1);
        self.all = self.all.saturating_sub(u32::from(place));
    }
}

/// How many events go on together at the most.
const RUN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_never_exceeds_the_free_places_and_is_topped_up_by_halves() {
        let mut free = Free::default();
        assert_eq!(free.grant(), None);
        free.more(8);
        assert_eq!(free.grant(), Some(8));
        for _ in 0..4 {
            free.used(true);
        }
        assert_eq!(free.grant(), None, "four are granted and free, four are taken");
        free.more(3);
        assert_eq!(free.grant(), None, "three would not be worth a frame");
        free.more(1);
        assert_eq!(free.grant(), Some(8));
        for _ in 0..8 {
            free.used(true);
        }
        free.more(1);
        assert_eq!(free.grant(), Some(1), "nothing else can come");
    }
}
