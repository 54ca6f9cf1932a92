//! How far a reader is behind.

use std::time::SystemTime;

/// How far a reader has come in a partition, and how far the partition has.
///
/// The partition's end is learnt from the endpoint's management when the reading begins, then with each event, which
/// tells how far the partition had come when it was sent (Event Hubs' receiver runtime metric). While no events come it
/// does not move; [`EventsClient::partition`](crate::EventsClient::partition) asks anew.
///
/// # Delivery
/// It counts what the application has taken. Events that wait here for it count as not read.
///
/// # Cancel safety
/// Asking moves nothing, and a [`next`](crate::Events::next) that was dropped has not moved it either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The partition, from 0.
    pub partition: u32,
    /// The sequence number of the last event that the application has taken.
    pub sequence_number: Option<i64>,
    /// When the hub took that event.
    pub enqueued_at: Option<SystemTime>,
    /// The last sequence number that the partition is known to have; `None` if it is empty.
    pub last_enqueued: Option<i64>,
    /// The first sequence number that is to be read, if nothing was.
    pub(crate) first: Option<i64>,
}

impl Progress {
    /// How many events of the partition the application has not taken; `None` if that can't be told before the first.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let Some(last) = self.last_enqueued else {
            return Some(0);
        };
        let next = self
            .sequence_number
            .map(|number| number.saturating_add(1))
            .or(self.first)?;
        let lag = i128::from(last) - i128::from(next) + 1;
        Some(u64::try_from(lag).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_what_lies_between_the_last_taken_and_the_last_there() {
        let progress = |sequence_number, last_enqueued, first| Progress {
            partition: 0,
            sequence_number,
            enqueued_at: None,
            last_enqueued,
            first,
        };
        assert_eq!(progress(Some(4), Some(9), Some(0)).lag(), Some(5));
        assert_eq!(progress(Some(9), Some(9), None).lag(), Some(0));
        // The partition's end as it was known may be behind what has come since.
        assert_eq!(progress(Some(12), Some(9), None).lag(), Some(0));
        assert_eq!(progress(None, Some(9), Some(0)).lag(), Some(10));
        assert_eq!(progress(None, Some(9), None).lag(), None);
        assert_eq!(progress(None, None, None).lag(), Some(0));
        // Numbers that a peer may say.
        assert_eq!(progress(Some(i64::MAX), Some(0), None).lag(), Some(0));
        assert_eq!(
            progress(Some(i64::MIN), Some(i64::MAX), None).lag(),
            Some(u64::MAX)
        );
    }
}
