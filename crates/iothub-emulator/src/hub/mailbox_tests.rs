//! The life of messages in a mailbox, with the time by hand. The rules are those of Azure docs, "Send
//! cloud-to-device messages from an IoT hub", the message life cycle.

use super::*;

const HOUR: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn token(number: u8) -> LockToken {
    [number; 16]
}

/// A mailbox with `count` messages that expire after an hour.
fn mailbox(count: usize) -> Mailbox {
    let mut mailbox = Mailbox::default();
    for _ in 0..count {
        mailbox
            .put(Message::default(), Ack::Full, at(HOUR), at(0))
            .unwrap();
    }
    mailbox
}

fn lock(mailbox: &mut Mailbox, number: u8, now: i64) -> Option<(u64, u8)> {
    let until = at(now + 60);
    let locked = mailbox.lock(token(number), until, 1, at(now));
    locked.map(|(sequence_number, waiting)| (sequence_number, waiting.delivery_count))
}

#[test]
fn fifty_messages_wait_and_the_next_is_refused_whether_or_not_some_are_locked() {
    let mut mailbox = mailbox(50);
    lock(&mut mailbox, 1, 0).unwrap();
    let mut put = || mailbox.put(Message::default(), Ack::None, at(HOUR), at(0));
    assert_eq!(put(), None);
    let left = mailbox.settle(&token(1), 1, Outcome::Complete, 10).unwrap();
    assert_eq!(left.unwrap().fate, Fate::Success);
    assert_eq!(
        mailbox.put(Message::default(), Ack::None, at(HOUR), at(0)),
        Some(51)
    );
}

#[test]
fn an_abandoned_message_comes_back_before_younger_ones_with_a_higher_count() {
    let mut mailbox = mailbox(3);
    assert_eq!(lock(&mut mailbox, 1, 0), Some((1, 0)));
    assert_eq!(lock(&mut mailbox, 2, 0), Some((2, 0)));
    assert!(
        mailbox
            .settle(&token(1), 1, Outcome::Abandon, 10)
            .unwrap()
            .is_none()
    );
    assert_eq!(lock(&mut mailbox, 3, 0), Some((1, 1)));
    assert_eq!(lock(&mut mailbox, 4, 0), Some((3, 0)));
    assert_eq!(lock(&mut mailbox, 5, 0), None);
}

#[test]
fn a_lock_that_ends_puts_the_message_back_and_its_token_is_worth_nothing() {
    let mut mailbox = mailbox(1);
    lock(&mut mailbox, 1, 0).unwrap();
    assert_eq!(mailbox.deadline(), Some(at(60)));
    assert!(mailbox.expire(10, at(59)).is_empty());
    assert_eq!(lock(&mut mailbox, 2, 59), None);
    assert!(mailbox.expire(10, at(60)).is_empty());
    assert_eq!(
        mailbox.settle(&token(1), 1, Outcome::Complete, 10).unwrap_err(),
        LockLost
    );
    assert_eq!(lock(&mut mailbox, 2, 60), Some((1, 1)));
    // Another link may not settle it.
    assert_eq!(
        mailbox.settle(&token(2), 7, Outcome::Complete, 10).unwrap_err(),
        LockLost
    );
}

#[test]
fn a_message_that_came_back_as_often_as_it_may_is_given_up() {
    let mut mailbox = mailbox(1);
    for round in 0..2 {
        lock(&mut mailbox, round, 0).unwrap();
        assert!(
            mailbox
                .settle(&token(round), 1, Outcome::Abandon, 3)
                .unwrap()
                .is_none()
        );
    }
    lock(&mut mailbox, 9, 0).unwrap();
    let left = mailbox.settle(&token(9), 1, Outcome::Abandon, 3).unwrap();
    assert_eq!(left.unwrap().fate, Fate::DeliveryCountExceeded);
    assert_eq!((mailbox.len(), mailbox.deadline()), (0, None));
}

#[test]
fn a_message_that_is_too_old_leaves_but_not_while_it_is_locked() {
    let mut mailbox = mailbox(2);
    lock(&mut mailbox, 1, HOUR - 10).unwrap();
    let left = mailbox.expire(10, at(HOUR));
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].sequence_number, left[0].fate), (2, Fate::Expired));
    // A message is never handed out once its time is over, even if nobody has looked.
    assert_eq!(lock(&mut mailbox, 2, HOUR), None);
    let left = mailbox.settle(&token(1), 1, Outcome::Complete, 10).unwrap();
    assert_eq!(left.unwrap().fate, Fate::Success);
}

#[test]
fn what_a_link_has_locked_comes_back_with_its_end() {
    let mut mailbox = mailbox(2);
    lock(&mut mailbox, 1, 0).unwrap();
    lock(&mut mailbox, 2, 0).unwrap();
    assert!(mailbox.link_gone(2, 10).is_empty());
    assert_eq!(lock(&mut mailbox, 3, 0), None);
    assert!(mailbox.link_gone(1, 10).is_empty());
    assert_eq!(lock(&mut mailbox, 3, 0), Some((1, 1)));
}

#[test]
fn a_purge_takes_locked_messages_too() {
    let mut mailbox = mailbox(2);
    lock(&mut mailbox, 1, 0).unwrap();
    assert!(mailbox.purge().iter().all(|left| left.fate == Fate::Purged));
    assert_eq!(
        mailbox.settle(&token(1), 1, Outcome::Complete, 10).unwrap_err(),
        LockLost
    );
}
