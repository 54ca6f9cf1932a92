//! Who reads a partition in a consumer group, and who has to go when another comes.

use std::collections::BTreeMap;

use iothub_address::ConsumerGroup;

use crate::hub::LinkId;

/// The readers of all partitions, in all consumer groups.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    seats: BTreeMap<(ConsumerGroup, u16), Seats>,
}

/// Those of one partition in one consumer group: either one with an epoch, or some without.
#[derive(Debug, Default)]
struct Seats {
    /// Its epoch and its link.
    exclusive: Option<(u64, LinkId)>,
    shared: Vec<LinkId>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// One with this higher epoch reads.
    HigherEpoch(u64),
    /// One with this epoch reads, and the new one has none.
    Exclusive(u64),
    /// As many as may read without an epoch.
    TooMany,
}

impl Readers {
    /// Whether another may read, with an epoch or without.
    pub(crate) fn check(
        &self,
        group: &ConsumerGroup,
        partition: u16,
        epoch: Option<u64>,
    ) -> Result<(), NoSeat> {
        let Some(seats) = self.seats.get(&(group.clone(), partition)) else {
            return Ok(());
        };
        match (seats.exclusive, epoch) {
            (Some((there, _)), Some(epoch)) if epoch < there => Err(NoSeat::HigherEpoch(there)),
            (Some((there, _)), None) => Err(NoSeat::Exclusive(there)),
            (None, None) if seats.shared.len() >= MAX_SHARED => Err(NoSeat::TooMany),
            _ => Ok(()),
        }
    }

    /// Takes the seat that [`check`](Self::check) has found; gives those who must go for it, and their epochs.
    pub(crate) fn sit(
        &mut self,
        group: &ConsumerGroup,
        partition: u16,
        epoch: Option<u64>,
        link: LinkId,
    ) -> Vec<(LinkId, Option<u64>)> {
        let seats = self.seats.entry((group.clone(), partition)).or_default();
        let Some(epoch) = epoch else {
            seats.shared.push(link);
            return Vec::new();
        };
        let shared = std::mem::take(&mut seats.shared);
        let exclusive = seats.exclusive.replace((epoch, link));
        let exclusive = exclusive.map(|(epoch, link)| (link, Some(epoch)));
        shared
            .into_iter()
            .map(|link| (link, None))
            .chain(exclusive)
            .collect()
    }

    /// The link reads no more. Of one that had to go nothing is there any more.
    pub(crate) fn leave(&mut self, group: &ConsumerGroup, partition: u16, link: LinkId) {
        let key = (group.clone(), partition);
        let Some(seats) = self.seats.get_mut(&key) else {
            return;
        };
        seats.shared.retain(|other| *other != link);
        seats.exclusive.take_if(|(_, other)| *other == link);
        if seats.shared.is_empty() && seats.exclusive.is_none() {
            self.seats.remove(&key);
        }
    }
}

/// The most readers without an epoch of one partition in one consumer group (Azure docs, "Event Hubs quotas").
pub(crate) const MAX_SHARED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> ConsumerGroup {
        name.parse().unwrap()
    }

    #[test]
    fn an_epoch_that_is_not_lower_takes_over_and_a_lower_one_is_refused() {
        let mut readers = Readers::default();
        let own = group("$Default");
        assert_eq!(readers.sit(&own, 0, Some(3), 1), []);
        assert_eq!(readers.check(&own, 0, Some(2)), Err(NoSeat::HigherEpoch(3)));
        assert_eq!(readers.check(&own, 0, Some(3)), Ok(()));
        assert_eq!(readers.sit(&own, 0, Some(3), 2), [(1, Some(3))]);
        assert_eq!(readers.sit(&own, 0, Some(4), 3), [(2, Some(3))]);
        // Who had to go takes no one's seat with it.
        readers.leave(&own, 0, 1);
        readers.leave(&own, 0, 2);
        assert_eq!(readers.check(&own, 0, Some(3)), Err(NoSeat::HigherEpoch(4)));
        readers.leave(&own, 0, 3);
        assert_eq!(readers.check(&own, 0, Some(0)), Ok(()));
        assert!(readers.seats.is_empty());
    }

    #[test]
    fn an_epoch_sends_all_away_who_have_none_and_keeps_them_away() {
        let mut readers = Readers::default();
        let own = group("$Default");
        for link in 1..=5 {
            assert_eq!(readers.check(&own, 0, None), Ok(()));
            assert_eq!(readers.sit(&own, 0, None, link), []);
        }
        assert_eq!(readers.check(&own, 0, None), Err(NoSeat::TooMany));
        // Another partition, and another group, have seats of their own; a group's name has no case.
        assert_eq!(readers.check(&own, 1, None), Ok(()));
        assert_eq!(readers.check(&group("other"), 0, None), Ok(()));
        assert_eq!(readers.check(&group("$DEFAULT"), 0, None), Err(NoSeat::TooMany));
        assert_eq!(
            readers.sit(&own, 0, Some(0), 6),
            [1, 2, 3, 4, 5].map(|link| (link, None))
        );
        assert_eq!(readers.check(&own, 0, None), Err(NoSeat::Exclusive(0)));
    }
}
