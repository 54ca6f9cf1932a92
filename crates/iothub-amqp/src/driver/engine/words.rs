//! Words on deliveries of links that are gone.
//!
//! The engine tells a delivery by its handle and its link's count, and the peer gives a handle again: a word that comes late, on
//! what a link has sent that is detached since, would be taken for one on the next link's delivery of the same count. So it
//! does not pass; by the standard there is no such delivery any more (§2.6.12).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::performative::{DISPOSITION, first_fields, performative, uint};

/// Of the sessions of one connection, by this side's channel; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Arc<Mutex<BTreeMap<u16, Sent>>>);

/// What has left on one session and awaits a word.
#[derive(Debug, Default)]
struct Sent {
    /// The delivery behind the last one, by the handle of its link.
    next: BTreeMap<u32, u32>,
    /// What links that are gone have sent comes before this.
    alive: Option<u32>,
}

/// What becomes of a frame that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Passes,
    LeftOut,
    /// It speaks of later deliveries too, and this frame of those alone.
    Instead(Vec<u8>),
}

impl Words {
    /// A session begins, or has ended.
    pub(super) fn forget(&self, channel: u16) {
        self.lock().remove(&channel);
    }

    /// A delivery that awaits a word leaves.
    pub(super) fn leaves(&self, (channel, handle): (u16, u32), delivery: u32) {
        let mut all = self.lock();
        let sent = all.entry(channel).or_default();
        sent.next.insert(handle, delivery.wrapping_add(1));
        // Numbers come round; long before, nothing comes late any more.
        sent.alive.take_if(|alive| delivery.wrapping_sub(*alive) > FAR);
    }

    /// The detach of a link leaves.
    pub(super) fn detached(&self, (channel, handle): (u16, u32)) {
        if let Some(sent) = self.lock().get_mut(&channel)
            && let Some(next) = sent.next.remove(&handle)
        {
            sent.alive = Some(next);
        }
    }

    /// Judges a frame that comes in on the session that this side has on channel `ours`.
    pub(super) fn judge(&self, frame: &[u8], ours: Option<u16>) -> Word {
        let Some((_, DISPOSITION, list)) = performative(frame) else {
            return Word::Passes;
        };
        let (Some(ours), Ok([role, first])) = (ours, first_fields(list)) else {
            return Word::Passes;
        };
        let Some(alive) = self.lock().get(&ours).and_then(|sent| sent.alive) else {
            return Word::Passes;
        };
        let is_dead = |delivery: u32| alive.wrapping_sub(delivery).wrapping_sub(1) < FAR;
        if !matches!(role, [0x41] | [0x56, 1]) || !is_dead(uint(first)) {
            return Word::Passes;
        }
        match first_fields(list) {
            Ok([_, _, last]) if uint_of(last).is_some_and(|last| !is_dead(last)) => {
                Word::Instead(from(alive, frame, list, (role, first)))
            }
            _ => Word::LeftOut,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A uint that is there.
fn uint_of(value: &[u8]) -> Option<u32> {
    matches!(value, [0x43 | 0x52 | 0x70, ..]).then(|| uint(value))
}

/// The disposition with this as its first delivery.
fn from(delivery: u32, frame: &[u8], list: &[u8], (role, first): (&[u8], &[u8])) -> Vec<u8> {
    let (head, count) = match list {
        [0xc0, _, count, ..] => (3, u32::from(*count)),
        [_, _, _, _, _, a, b, c, d, ..] => (9, u32::from_be_bytes([*a, *b, *c, *d])),
        _ => return Vec::new(), // it has no first field
    };
    let behind = list.get(head + role.len() + first.len()..).unwrap_or_default();
    let fields = [role, &[0x70], &delivery.to_be_bytes(), behind].concat();
    let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    let size = number(fields.len() + 4);
    let body = [
        &[0x00, 0x53, DISPOSITION, 0xd0][..],
        &size,
        &count.to_be_bytes(),
        &fields,
    ]
    .concat();
    let channel = frame.get(6..8).unwrap_or_default();
    [&number(8 + body.len())[..], &[2, 0], channel, &body].concat()
}

/// A quarter of all numbers.
const FAR: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u16 = 7;

    /// An `accepted` on the peer's channel 1 for these, as a list8 (§2.7.6).
    fn accepted(first: u8, last: Option<u8>) -> Vec<u8> {
        let last = last.map_or_else(|| vec![0x40], |last| vec![0x52, last]);
        let fields = [&[0x41, 0x52, first], &last[..], &[0x41, 0x00, 0x53, 0x24, 0x45]].concat();
        let size = u8::try_from(fields.len() + 1).unwrap();
        let body = [&[0x00, 0x53, 0x15, 0xc0, size, 5], &fields[..]].concat();
        let size = u32::try_from(8 + body.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 1], &body].concat()
    }

    /// Of a session on which 5 and 6 left by a link that is gone, and 7 by the next one of its handle.
    fn of_two_links() -> Words {
        let words = Words::default();
        words.leaves((OURS, 0), 5);
        words.leaves((OURS, 0), 6);
        words.detached((OURS, 0));
        words.leaves((OURS, 0), 7);
        words
    }

    fn judge(words: &Words, first: u8, last: Option<u8>) -> Word {
        words.judge(&accepted(first, last), Some(OURS))
    }

    #[test]
    fn a_word_on_what_a_link_sent_that_is_gone_does_not_pass_and_one_on_the_next_link_s_does() {
        let words = of_two_links();
        assert_eq!(judge(&words, 5, None), Word::LeftOut);
        assert_eq!(judge(&words, 5, Some(6)), Word::LeftOut);
        assert_eq!(judge(&words, 7, None), Word::Passes);
        assert_eq!(judge(&words, 7, Some(9)), Word::Passes);
        // Another session's, or that of one which is begun anew on the channel.
        assert_eq!(words.judge(&accepted(5, None), Some(8)), Word::Passes);
        words.forget(OURS);
        assert_eq!(judge(&words, 5, None), Word::Passes);
    }

    #[test]
    fn of_a_word_on_both_the_later_part_passes() {
        let fields = [0x41, 0x70, 0, 0, 0, 7, 0x52, 9, 0x41, 0x00, 0x53, 0x24, 0x45];
        let list = [&[0x00, 0x53, 0x15, 0xd0, 0, 0, 0, 17, 0, 0, 0, 5], &fields[..]].concat();
        let expected = [&[0, 0, 0, 33, 2, 0, 0, 1], &list[..]].concat();
        assert_eq!(judge(&of_two_links(), 5, Some(9)), Word::Instead(expected));
    }

    #[test]
    fn a_link_that_sent_nothing_takes_no_word_of_another_with_it_when_it_goes() {
        let words = Words::default();
        words.leaves((OURS, 0), 5);
        words.detached((OURS, 1));
        assert_eq!(judge(&words, 5, None), Word::Passes);
    }

    #[test]
    fn when_the_numbers_have_come_far_all_pass() {
        let words = of_two_links();
        words.leaves((OURS, 0), 7 + FAR);
        assert_eq!(words.judge(&accepted(200, None), Some(OURS)), Word::Passes);
        words.leaves((OURS, 0), 7 + FAR + 1);
        assert_eq!(judge(&words, 5, None), Word::Passes);
    }
}
