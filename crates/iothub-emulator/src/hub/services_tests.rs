//! Goal: a service's sends have the outcomes that are documented, and what became of the messages reaches it, once it is
//! done with as often as it takes. Method: the hub without a wire, its clock by hand.

use std::time::Duration;

use super::mailbox::{LockToken, Outcome};
use super::tests::{NOW, PRIMARY, World, identity, sign};
use super::*;

/// Message ids, and what became of each.
type Fates = Vec<(String, String)>;

impl World {
    /// Connection `from` as the holder of a policy's key.
    fn service(&mut self, from: ConnectionId, policy: &str) {
        let token = sign(PRIMARY, Some(policy), "myhub.azure-devices.net", NOW + 3600);
        self.plain(from, &format!("{policy}@sas.root.myhub"), &token)
            .unwrap();
    }

    fn send_to(&mut self, to: Option<&str>, message: Message) -> Option<String> {
        let mut message = message;
        message.properties.to = to.map(str::to_owned);
        let message = Box::new(message);
        match self.ask(1, |reply| Command::Send { message, reply }) {
            Answer::Took(Ok(Verdict::AllBut(rejected))) => rejected
                .first()
                .map(|(_, refusal)| refusal.condition_name().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// A receiver of feedback with credit for one batch; gives its link.
    fn feedback_receiver(&mut self, from: ConnectionId) -> LinkId {
        let opened = self.open_side(from, "/messages/serviceBound/feedback", Side::Receiver);
        assert_eq!(opened, Ok(Grant::Feedback));
        let link = self.replies;
        self.feedback_credit(from, link, 0);
        link
    }

    fn feedback_credit(&mut self, from: ConnectionId, link: LinkId, seen: u64) {
        let credit = Credit { seen, granted: 1 };
        self.hub.handle(from, Command::Credit { link, credit }, self.now);
    }

    fn turn_on(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.hub.handle_timeout(self.now);
    }

    /// The batches that have gone out since this was last asked: link, tag, and the fates in them by message id.
    fn batches(&mut self) -> Vec<(LinkId, LockToken, Fates)> {
        let mut batches = Vec::new();
        while let Some(effect) = self.hub.poll_effect() {
            let Effect::Send(link, parcel) = effect else {
                continue;
            };
            let Body::Data(bytes) = &parcel.message.body else {
                panic!("{:?}", parcel.message)
            };
            let records: Vec<serde_json::Value> = serde_json::from_slice(bytes).unwrap();
            let text = |record: &serde_json::Value, key: &str| record[key].as_str().unwrap().to_owned();
            let fates = records
                .iter()
                .map(|record| (text(record, "originalMessageId"), text(record, "statusCode")))
                .collect();
            batches.push((link, parcel.tag.unwrap(), fates));
        }
        batches
    }

    fn settle_batch(&mut self, link: LinkId, tag: LockToken, outcome: Outcome) -> Result<(), Refusal> {
        self.replies += 1;
        let reply = self.replies;
        let command = Command::Settle {
            link,
            tag,
            outcome,
            reply,
        };
        self.hub.handle(1, command, self.now);
        let mut rest = Vec::new();
        let mut settled = None;
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Answer(_, Answer::Settled(outcome)) => settled = Some(outcome),
                other => rest.push(other),
            }
        }
        self.hub.effects.extend(rest);
        settled.unwrap()
    }
}

fn message(id: &str) -> Message {
    let mut message = Message {
        application_properties: vec![("iothub-ack".to_owned(), "full".into())],
        body: Body::Data("hi".into()),
        ..Message::default()
    };
    message.properties.message_id = Some(MessageId::String(id.to_owned()));
    message
}

#[test]
fn a_message_of_a_service_goes_where_its_to_says_or_is_rejected_with_the_reason() {
    let mut world = World::new();
    world.service(1, "service");
    assert_eq!(
        world.open_side(
            1,
            "amqps://myhub.azure-devices.net/messages/deviceBound",
            Side::Sender
        ),
        Ok(Grant::ServiceCommands)
    );
    for to in [
        "/devices/device1/messages/devicebound",
        "/devices/device1/messages/deviceBound",
        "/devices/device%31/messages/devicebound",
        "/devices/device1/modules/m/messages/deviceBound",
    ] {
        assert_eq!(world.send_to(Some(to), message(to)), None, "{to}");
    }
    assert_eq!(world.hub.waiting_messages(&identity("device1")), 3);
    assert_eq!(world.hub.waiting_messages(&identity("device1/modules/m")), 1);

    let device = Some("/devices/device1/messages/devicebound");
    let large = Message {
        body: Body::Data(vec![b'x'; 65_537].into()),
        ..Message::default()
    };
    let odd_ack = Message {
        application_properties: vec![("iothub-ack".to_owned(), "perhaps".into())],
        ..Message::default()
    };
    for (to, message, condition) in [
        (
            Some("/devices/nobody/messages/devicebound"),
            message("m"),
            "amqp:not-found",
        ),
        (
            Some("/devices/device1/messages/events"),
            message("m"),
            "amqp:not-found",
        ),
        (Some("device1"), message("m"), "amqp:not-found"),
        (None, message("m"), "com.microsoft:argument-error"),
        (device, large, "amqp:link:message-size-exceeded"),
        (device, odd_ack, "com.microsoft:argument-error"),
    ] {
        assert_eq!(world.send_to(to, message).as_deref(), Some(condition), "{to:?}");
    }
    for number in 3..50 {
        assert_eq!(world.send_to(device, message(&number.to_string())), None);
    }
    let full = world.send_to(device, message("50"));
    assert_eq!(full.as_deref(), Some("amqp:resource-limit-exceeded"));
}

/// Protocol §2.2: the rights of the built-in policies.
#[test]
fn only_policies_with_service_connect_use_the_service_nodes() {
    for (policy, may) in [
        ("service", true),
        ("iothubowner", true),
        ("registryRead", false),
        ("device", false),
    ] {
        let mut world = World::new();
        world.service(1, policy);
        for (address, side) in [
            ("/messages/devicebound", Side::Sender),
            ("/messages/serviceBound/feedback", Side::Receiver),
            ("/messages/servicebound/filenotifications", Side::Receiver),
        ] {
            match world.open_side(1, address, side) {
                Ok(_) => assert!(may, "{policy} at {address}"),
                Err(refusal) => {
                    assert!(!may, "{policy} at {address}");
                    assert_eq!(refusal.condition_name(), "amqp:unauthorized-access");
                }
            }
        }
    }
    let mut world = World::new();
    world.admitted(1, "device1");
    let refused = world.open_side(1, "/messages/devicebound", Side::Sender);
    assert_eq!(refused.unwrap_err().condition_name(), "amqp:unauthorized-access");
}

#[test]
fn feedback_comes_in_batches_and_again_until_a_service_is_done_with_it() {
    let mut world = World::new();
    world.service(1, "service");
    let link = world.feedback_receiver(1);
    let device = Some("/devices/device1/messages/devicebound");
    let mut late = message("late");
    late.properties.absolute_expiry_time = Some(world.now + Duration::from_secs(1));
    assert_eq!(world.send_to(device, late), None);
    assert_eq!(world.send_to(device, message("gone")), None);
    world.turn_on(2);
    world.hub.purge(&identity("device1"), world.now).unwrap();
    world.turn_on(14);
    assert_eq!(world.batches(), []);
    world.turn_on(1);
    let records = vec![
        ("late".to_owned(), "Expired".to_owned()),
        ("gone".to_owned(), "Purged".to_owned()),
    ];
    let [(to, tag, fates)] = &world.batches()[..] else {
        panic!("not one batch")
    };
    assert_eq!((*to, fates), (link, &records));
    // Abandoned, it comes again when there is credit; not settled in a minute, too.
    world.settle_batch(link, *tag, Outcome::Abandon).unwrap();
    assert_eq!(world.batches(), []);
    world.feedback_credit(1, link, 1);
    let [(_, again, fates)] = &world.batches()[..] else {
        panic!("not one batch")
    };
    assert_eq!(fates, &records);
    assert!(
        world.settle_batch(link, *tag, Outcome::Complete).is_err(),
        "the lock is another"
    );
    world.turn_on(61);
    world.feedback_credit(1, link, 2);
    let [(_, last, _)] = &world.batches()[..] else {
        panic!("not one batch")
    };
    assert!(world.settle_batch(link, *again, Outcome::Complete).is_err());
    world.settle_batch(link, *last, Outcome::Complete).unwrap();
    world.feedback_credit(1, link, 3);
    world.turn_on(120);
    assert_eq!(world.batches(), []);
}

#[test]
fn feedback_waits_for_a_receiver_and_64_records_go_at_once() {
    let mut world = World::new();
    world.service(1, "service");
    for round in 0..2 {
        for number in 0..40 {
            world.send_to(
                Some("/devices/device1/messages/devicebound"),
                message(&number.to_string()),
            );
        }
        assert_eq!(
            world.hub.purge(&identity("device1"), world.now),
            Ok(40),
            "{round}"
        );
    }
    world.batches();
    let link = world.feedback_receiver(1);
    let batches = world.batches();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].2.len(), 64);
    world.turn_on(15);
    world.feedback_credit(1, link, 1);
    assert_eq!(world.batches()[0].2.len(), 16);
}
