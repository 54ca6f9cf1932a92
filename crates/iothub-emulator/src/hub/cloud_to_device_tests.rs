//! Who gets a cloud-to-device message, when, and what is said of it, with no wire and the time by hand.

use super::mailbox::Outcome;
use super::refusal::Condition;
use super::tests::{World, identity};
use super::*;

const ADDRESS: &str = "/devices/device1/messages/devicebound";

impl World {
    /// A receiver on the connection, with this much credit. Gives the link's number.
    fn receiver(&mut self, from: ConnectionId, address: &str, granted: u32) -> LinkId {
        self.open_side(from, address, Side::Receiver).unwrap();
        let link = self.replies;
        self.grant_credit(from, link, 0, granted);
        link
    }

    fn grant_credit(&mut self, from: ConnectionId, link: LinkId, seen: u64, granted: u32) {
        let credit = Credit { seen, granted };
        self.hub.handle(from, Command::Credit { link, credit }, self.now);
    }

    fn put_message(&mut self, name: &str, id: &str) -> Result<(), MailboxError> {
        let mut message = Message::default();
        message.properties.message_id = Some(MessageId::String(id.to_owned()));
        message.application_properties = vec![("iothub-ack".to_owned(), "full".into())];
        self.hub.send_to_device(&identity(name), message, self.now)
    }

    /// What was sent: the link, the token, the message's id and its delivery count.
    fn sent(&mut self) -> Vec<(LinkId, LockToken, String, Value)> {
        let effects = std::iter::from_fn(|| self.hub.poll_effect());
        effects
            .filter_map(|effect| match effect {
                Effect::Send(link, delivery) => Some((
                    link,
                    delivery.tag.unwrap(),
                    delivery.message.properties.message_id.unwrap().to_string(),
                    delivery.message.annotations[3].1.clone(),
                )),
                _ => None,
            })
            .collect()
    }

    fn settled(
        &mut self,
        from: ConnectionId,
        link: LinkId,
        tag: LockToken,
        outcome: Outcome,
    ) -> Result<(), Refusal> {
        self.replies += 1;
        let reply = self.replies;
        self.hub.handle(
            from,
            Command::Settle {
                link,
                tag,
                outcome,
                reply,
            },
            self.now,
        );
        let mut answers = Vec::new();
        let mut rest = Vec::new();
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Answer(_, Answer::Settled(outcome)) => answers.push(outcome),
                other => rest.push(other),
            }
        }
        rest.into_iter()
            .for_each(|effect| self.hub.effects.push_back(effect));
        answers.remove(0)
    }

    fn fates(&self) -> Vec<(String, &'static str)> {
        let told = self.feedback.lock().read(0, 100).entries;
        told.iter()
            .map(|feedback| (feedback.original_message_id.clone(), feedback.fate.as_str()))
            .collect()
    }

    fn turn(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.hub.handle_timeout(self.now);
    }
}

#[test]
fn nothing_is_locked_or_counted_while_the_client_takes_nothing() {
    let mut world = World::new();
    world.admitted(1, "device1");
    let link = world.receiver(1, ADDRESS, 0);
    world.put_message("device1", "a").unwrap();
    world.turn(3000);
    assert!(world.sent().is_empty());
    world.grant_credit(1, link, 0, 1);
    let sent = world.sent();
    assert_eq!((sent.len(), &sent[0].3), (1, &Value::Ubyte(0)));
}

/// What is on its way counts against a credit that was given before it arrived.
#[test]
fn credit_is_never_spent_twice() {
    let mut world = World::new();
    world.admitted(1, "device1");
    let link = world.receiver(1, ADDRESS, 2);
    for id in ["a", "b", "c", "d"] {
        world.put_message("device1", id).unwrap();
    }
    assert_eq!(world.sent().len(), 2);
    // The client said "2 more after the first" when it had seen one of the two.
    world.grant_credit(1, link, 1, 2);
    assert_eq!(world.sent().len(), 1);
    // A drain.
    world.grant_credit(1, link, 3, 0);
    assert_eq!(world.sent().len(), 0);
    world.grant_credit(1, link, 3, 9);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn each_outcome_has_its_effect_and_its_feedback() {
    let mut world = World::new();
    world.admitted(1, "device1");
    let link = world.receiver(1, ADDRESS, 100);
    for id in ["a", "b", "c"] {
        world.put_message("device1", id).unwrap();
    }
    let sent = world.sent();
    world.settled(1, link, sent[0].1, Outcome::Complete).unwrap();
    world.settled(1, link, sent[1].1, Outcome::Reject).unwrap();
    world.settled(1, link, sent[2].1, Outcome::Abandon).unwrap();
    let again = world.sent();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].2.as_str(), &again[0].3), ("c", &Value::Ubyte(1)));
    assert_eq!(
        world.fates(),
        [("a".to_owned(), "Success"), ("b".to_owned(), "Rejected")]
    );
    assert_eq!(world.hub.purge(&identity("device1"), world.now), Ok(1));
    assert_eq!(world.fates()[2], ("c".to_owned(), "Purged"));
}

#[test]
fn a_settlement_after_the_lock_was_lost_is_refused() {
    let mut world = World::new();
    world.admitted(1, "device1");
    let link = world.receiver(1, ADDRESS, 100);
    world.put_message("device1", "a").unwrap();
    let first = world.sent();
    world.turn(60);
    let second = world.sent();
    assert_eq!(second[0].3, Value::Ubyte(1));
    let refusal = world.settled(1, link, first[0].1, Outcome::Complete).unwrap_err();
    assert_eq!((refusal.condition, refusal.code), (Condition::NotFound, 412_002));
    world.settled(1, link, second[0].1, Outcome::Complete).unwrap();
}

#[test]
fn a_message_whose_time_is_over_is_told_so_although_nobody_came() {
    let mut world = World::new();
    world.put_message("device1", "a").unwrap();
    world.turn(3599);
    assert!(world.fates().is_empty());
    world.turn(1);
    assert_eq!(world.fates(), [("a".to_owned(), "Expired")]);
    assert_eq!(world.hub.waiting_messages(&identity("device1")), 0);
}

#[test]
fn a_newer_receiver_takes_the_older_ones_place_and_its_messages() {
    let mut world = World::new();
    world.admitted(1, "device1");
    let old = world.receiver(1, ADDRESS, 100);
    world.put_message("device1", "a").unwrap();
    assert_eq!(world.sent().len(), 1);
    world.open_side(1, ADDRESS, Side::Receiver).unwrap();
    let new = world.replies;
    match world.hub.poll_effect() {
        Some(Effect::Detach(link, refusal)) => {
            assert_eq!((link, refusal.condition), (old, Condition::LinkStolen));
        }
        other => panic!("{other:?}"),
    }
    world.grant_credit(1, new, 0, 10);
    let sent = world.sent();
    assert_eq!((sent[0].0, &sent[0].3), (new, &Value::Ubyte(1)));
    // The end of the old one changes nothing.
    world.hub.handle(1, Command::LinkGone { link: old }, world.now);
    world.settled(1, new, sent[0].1, Outcome::Complete).unwrap();
}

#[test]
fn a_module_has_a_mailbox_of_its_own_at_two_addresses() {
    let mut world = World::new();
    world.admitted(1, "device1/modules/m");
    let link = world.receiver(1, "/devices/device1/modules/m/messages/events", 10);
    world.put_message("device1", "for the device").unwrap();
    world.put_message("device1/modules/m", "for the module").unwrap();
    let sent = world.sent();
    assert_eq!(
        (sent.len(), sent[0].0, sent[0].2.as_str()),
        (1, link, "for the module")
    );
    let other = world.open_side(1, ADDRESS, Side::Receiver).unwrap_err();
    assert_eq!(other.condition, Condition::UnauthorizedAccess);
}

#[test]
fn what_cannot_be_put_is_refused() {
    let mut world = World::new();
    let nobody = identity("nobody");
    let refused = world.hub.send_to_device(&nobody, Message::default(), world.now);
    assert_eq!(refused, Err(MailboxError::NotFound(nobody)));
    let of_size = |size: usize| Message {
        body: Body::Data(vec![0; size].into()),
        ..Message::default()
    };
    let device = identity("device1");
    assert_eq!(
        world.hub.send_to_device(&device, of_size(65_536), world.now),
        Ok(())
    );
    let refused = world.hub.send_to_device(&device, of_size(65_537), world.now);
    assert_eq!(refused, Err(MailboxError::TooLarge { size: 65_537 }));
    for _ in 1..50 {
        world.put_message("device1", "x").unwrap();
    }
    assert_eq!(
        world.put_message("device1", "x"),
        Err(MailboxError::Full(device.clone()))
    );
    world.hub.remove(&device, world.now).unwrap();
    assert_eq!(world.hub.waiting_messages(&device), 0);
}

/// A client that asks for settled deliveries never says what became of them: handing one over is all.
#[test]
fn a_receiver_of_settled_deliveries_completes_each_by_getting_it() {
    let mut world = World::new();
    world.admitted(1, "device1");
    world.hub.handle(
        1,
        Command::OpenLink {
            link: 77,
            address: ADDRESS.to_owned(),
            side: Side::Receiver,
            terms: Terms {
                presettled: true,
                ..Terms::default()
            },
            reply: 77,
        },
        world.now,
    );
    world.put_message("device1", "a").unwrap();
    assert!(world.sent().is_empty());
    world.grant_credit(1, 77, 0, 1);
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.fates(), [("a".to_owned(), "Success")]);
}
