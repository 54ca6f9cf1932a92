//! What is known of a link that the client receives over, and whose deliveries wait here until it takes them.

use super::command::{Credit, LinkId};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver {
    pub(crate) link: LinkId,
    /// The client takes every delivery for settled as it comes (at most once).
    pub(crate) presettled: bool,
    /// How many deliveries went out over it.
    pub(crate) sent: u64,
    pub(crate) credit: Credit,
}

impl Receiver {
    pub(crate) fn new(link: LinkId, presettled: bool) -> Self {
        Self {
            link,
            presettled,
            sent: 0,
            credit: Credit::default(),
        }
    }

    /// How many more deliveries the client has asked for.
    pub(crate) fn room(&self) -> u64 {
        // What is on its way was sent after the client counted.
        u64::from(self.credit.granted).saturating_sub(self.sent.saturating_sub(self.credit.seen))
    }
}
