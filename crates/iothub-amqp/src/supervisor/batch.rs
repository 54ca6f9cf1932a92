//! How queued messages become one transfer (message-format 0x80013700: a data section for each whole message).

/// How many messages are put into one transfer.
///
/// # Delivery
/// The same with and without: each message has an outcome of its own, and first copies come in order. A batch is lost and
/// sent again as a whole, so after a loss a [window](crate::DeviceClientBuilder::window) of batches may come twice.
///
/// # Cancel safety
/// Where the future of one of its messages is dropped, a batch that was handed over flies on whole, and the others have
/// their outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Batching {
    /// One each.
    #[default]
    Off,
    /// As many as have queued up, in order, as far as the link's limit and 256 KiB go; after a time-out that no outcome came
    /// in, half as far, and from then on farther with each that comes. Nothing waits for company: what
    /// queues while the window is full is the batch, so load makes batches and idleness makes none.
    ///
    /// A batch has one outcome, which each of its messages gets. One that is rejected is sent again as single
    /// messages, once, so that a bad message does not sink its neighbours.
    On,
}

/// How many of the messages with these encoded sizes go into the next transfer: as many as fit, but always the first.
///
/// `limit` is the link's largest message, in bytes; 0 is none.
pub(super) fn fitting(sizes: impl Iterator<Item = usize>, limit: u64, bytes_free: usize) -> usize {
    let link = match limit {
        0 => usize::MAX,
        // The C SDK keeps this much of the link's limit free for the outer message.
        limit => usize::try_from(limit.saturating_sub(RESERVE)).unwrap_or(usize::MAX),
    };
    let room = link.min(MAX_BATCH_BYTES).min(bytes_free);
    let mut taken = 0;
    let mut count = 0;
    for size in sizes.take(MAX_BATCH_MESSAGES) {
        taken += size + SECTION_HEAD;
        if count > 0 && taken > room {
            break;
        }
        count += 1;
    }
    count
}

const RESERVE: u64 = 1024;

/// Azure's documentation: a device-to-cloud batch has at most 256 KB.
pub(crate) const MAX_BATCH_BYTES: usize = 256 * 1024 - RESERVE as usize;

/// Each message costs the hub more than its bytes, so a batch of empty ones ends here.
pub const MAX_BATCH_MESSAGES: usize = 500;

/// Descriptor, constructor and length of a data section (AMQP 1.0 §3.2.6).
const SECTION_HEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_at_256_kib_at_the_link_s_limit_at_the_budget_and_at_its_count() {
        let fit = |size: usize, limit, free| fitting(std::iter::repeat_n(size, 10_000), limit, free);
        assert_eq!(fit(1000 - 8, 1 << 20, usize::MAX), 261); // 261,000 of 261,120 bytes
        assert_eq!(fit(1000 - 8, 0, usize::MAX), 261);
        assert_eq!(fit(1000 - 8, 11_024, usize::MAX), 10);
        assert_eq!(fit(1000 - 8, 1 << 20, 5_000), 5);
        assert_eq!(fit(0, 1 << 20, usize::MAX), MAX_BATCH_MESSAGES);
    }

    #[test]
    fn the_first_message_goes_even_if_nothing_fits() {
        assert_eq!(fitting([1 << 20, 1].into_iter(), 1 << 20, 0), 1);
        assert_eq!(fitting([].into_iter(), 0, 0), 0);
    }
}
