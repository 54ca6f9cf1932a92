//! What clients are told when they ask for more than the tier lets through, with the time by hand.

use super::tests::{NOW, PRIMARY, World, identity, sign};
use super::*;

fn of(tier: Tier) -> World {
    World::with(|setup| setup.limits = Limits::of(tier, 1, Timestamp::from_seconds(1_700_000_000)))
}

impl World {
    /// As [`ask`](Self::ask), where the answer may be held back.
    pub(super) fn ask_late(
        &mut self,
        from: ConnectionId,
        command: impl FnOnce(Reply) -> Command,
    ) -> Option<Answer> {
        self.replies += 1;
        self.hub.handle(from, command(self.replies), self.now);
        match self.hub.poll_effect()? {
            Effect::Answer(reply, answer) if reply == self.replies => Some(answer),
            other => panic!("no answer but {other:?}"),
        }
    }

    fn deliver(&mut self, deliveries: Vec<Delivery>) -> Option<Result<Verdict, Refusal>> {
        match self.ask_late(1, |reply| Command::Telemetry {
            sender: identity("device1"),
            deliveries,
            reply,
        })? {
            Answer::Took(outcome) => Some(outcome),
            other => panic!("{other:?}"),
        }
    }

    fn count(&self) -> u64 {
        self.events.lock().end()
    }

    fn put_late(&mut self, from: ConnectionId, token: &str) -> Option<Result<(), TokenRefusal>> {
        let request = TokenRequest::Put {
            kind: cbs::SAS_TYPES[0].to_owned(),
            audience: String::new(),
            token: zeroize::Zeroizing::new(token.to_owned()),
        };
        match self.ask_late(from, |reply| Command::PutToken { request, reply })? {
            Answer::Token(outcome) => Some(outcome),
            other => panic!("{other:?}"),
        }
    }

    /// Lets so many milliseconds pass since the beginning.
    fn turn_to_millis(&mut self, millis: i64) {
        self.now = Timestamp::from_millis(1_700_000_000_000 + millis);
        self.hub.handle_timeout(self.now);
    }
}

fn messages(count: usize) -> Vec<Delivery> {
    (0..count)
        .map(|_| Delivery::Message(Message::default()))
        .collect()
}

/// S1: 100 sends a second, a minute's worth at once.
#[test]
fn sends_above_the_throttle_wait_for_their_answer_and_then_are_rejected() {
    let mut world = of(Tier::S1);
    world.admitted(1, "device1");
    assert_eq!(world.deliver(messages(6000)), Some(Ok(Verdict::AllBut(vec![]))));
    // Ten seconds' worth waits; what is beyond is rejected, and the rest of the command is not.
    assert_eq!(world.deliver(messages(1002)), None);
    assert_eq!(world.count(), 7000);
    world.turn_to_millis(9_999);
    assert_eq!(world.hub.poll_effect().map(|_| ()), None);
    world.turn_to_millis(10_000);
    let Some(Effect::Answer(_, Answer::Took(Ok(Verdict::AllBut(rejected))))) = world.hub.poll_effect() else {
        panic!("no answer")
    };
    let told: Vec<_> = rejected
        .iter()
        .map(|(place, refusal)| (*place, refusal.condition.as_str(), refusal.code))
        .collect();
    let throttled = "com.microsoft:device-container-throttled";
    assert_eq!(told, [(1000, throttled, 429_001), (1001, throttled, 429_001)]);
    // By then there is room again.
    world.turn_to_millis(11_000);
    assert_eq!(world.deliver(messages(100)), Some(Ok(Verdict::AllBut(vec![]))));
}

/// F1: 8,000 messages of 0.5 KB a day.
#[test]
fn above_the_daily_quota_messages_are_rejected_until_midnight() {
    let mut world = of(Tier::F1);
    let token = sign(PRIMARY, None, "localhost/devices/device1", NOW + 9000);
    world.plain(1, "device1@sas.myhub", &token).unwrap();
    let sized = |bytes: usize| Message {
        body: Body::Data(vec![0; bytes].into()),
        ..Message::default()
    };
    let batch = |messages: Vec<Message>| {
        vec![Delivery::Batch(Batch {
            properties: Vec::new(),
            messages,
        })]
    };
    // 513 bytes are two messages.
    let first = (0..4000).map(|_| sized(513)).collect();
    assert_eq!(world.deliver(batch(first)), Some(Ok(Verdict::AllBut(vec![]))));
    let Verdict::AllBut(rejected) = world.deliver(messages(1)).unwrap().unwrap() else {
        panic!("nothing was told")
    };
    assert_eq!(rejected[0].1.condition.as_str(), "amqp:resource-limit-exceeded");
    assert_eq!(rejected[0].1.code, 403_002);
    assert_eq!(world.count(), 4000);
    // 2023-11-15T00:00:00Z.
    world.turn_to_millis(6_400_000);
    assert_eq!(world.deliver(messages(1)), Some(Ok(Verdict::AllBut(vec![]))));
}

/// Of a tier that lets 100 a second in, a minute's worth at once.
#[test]
fn connections_above_the_throttle_are_let_in_late_and_then_closed() {
    let mut world = of(Tier::S1);
    let token = sign(PRIMARY, None, "localhost/devices/device1", NOW + 9000);
    let claim = || Claim::Plain {
        user: "device1@sas.myhub".to_owned(),
        password: zeroize::Zeroizing::new(token.clone()),
    };
    let come = |world: &mut World, from| {
        world.ask_late(from, |reply| Command::Authenticate {
            claim: claim(),
            certificate: None,
            reply,
        })
    };
    for from in 1..=6000 {
        assert!(matches!(come(&mut world, from), Some(Answer::Admitted(Ok(())))));
    }
    for from in 6001..=7000 {
        assert!(come(&mut world, from).is_none());
    }
    world.turn_to_millis(10);
    assert!(matches!(
        world.hub.poll_effect(),
        Some(Effect::Answer(_, Answer::Admitted(Ok(()))))
    ));
    assert!(world.hub.poll_effect().is_none(), "one each 10 ms");
    assert!(come(&mut world, 7001).is_none());
    // SASL has no word for it: the connection is closed once it is open.
    world.hub.handle(
        7002,
        Command::Authenticate {
            claim: claim(),
            certificate: None,
            reply: 0,
        },
        world.now,
    );
    let Some(Effect::Close(7002, refusal)) = world.hub.poll_effect() else {
        panic!("not closed")
    };
    assert_eq!(
        refusal.condition.as_str(),
        "com.microsoft:device-container-throttled"
    );
    assert!(matches!(
        world.hub.poll_effect(),
        Some(Effect::Answer(_, Answer::Admitted(Ok(()))))
    ));
}

#[test]
fn a_token_above_the_throttle_is_answered_429_and_renewal_is_not_counted() {
    let mut world = of(Tier::S1);
    let token = sign(PRIMARY, None, "localhost/devices/device1", NOW + 9000);
    world.came(1);
    for _ in 0..9000 {
        assert_eq!(world.put(1, &token), Ok(()));
    }
    // One has been counted.
    for from in 2..=7000 {
        world.came(from);
        assert_eq!(world.put_late(from, &token), (from <= 6000).then_some(Ok(())));
    }
    world.came(7001);
    let refusal = world.put_late(7001, &token).unwrap().unwrap_err();
    assert_eq!(refusal.status, 429);
    let refusal = world.open(7001, "/devices/device1/messages/events").unwrap_err();
    assert_eq!(refusal.condition.as_str(), "amqp:unauthorized-access");
    assert_eq!(world.put(1, &token), Ok(()));
}

/// "Body + system property values + user property names and values".
#[test]
fn a_message_is_metered_by_its_body_and_properties() {
    let mut message = Message {
        body: Body::Data(vec![0; 100].into()),
        encoded_size: 999,
        ..Message::default()
    };
    assert_eq!(message.metered_size(), 100);
    message.properties.message_id = Some(MessageId::String("id".into()));
    message.properties.content_type = Some("text".into());
    message.application_properties = vec![("mood".into(), Value::String("good".into()))];
    assert_eq!(message.metered_size(), 100 + 2 + 4 + 8);
    message.body = Body::Value(Value::Null);
    assert_eq!(message.metered_size(), 999);
}

/// S1: 100 a minute, and ten seconds' worth more.
#[test]
fn messages_to_devices_above_the_throttle_are_refused() {
    let mut world = of(Tier::S1);
    let device = identity("device1");
    for number in 0..116 {
        if number % 50 == 0 {
            world.hub.purge(&device, world.now).unwrap();
        }
        let sent = world.hub.send_to_device(&device, Message::default(), world.now);
        assert_eq!(sent, Ok(()), "{number}");
    }
    let sent = world.hub.send_to_device(&device, Message::default(), world.now);
    assert_eq!(sent, Err(MailboxError::Throttled));
    // One in 0.6 s.
    world.turn_to_millis(1_200);
    assert_eq!(
        world.hub.send_to_device(&device, Message::default(), world.now),
        Ok(())
    );
}

/// S1: 160 KB a second, of which a call is at least 4 KB: 2,400 a minute, and ten seconds' worth more.
#[test]
fn calls_above_the_throttle_are_refused() {
    let mut world = of(Tier::S1);
    let device = identity("device1");
    let call = |world: &mut World, reply| {
        let call = Call {
            method: "m".to_owned(),
            payload: bytes::Bytes::new(),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::ZERO,
        };
        world.hub.call_method(&device, call, reply, world.now);
        match world.hub.poll_effect() {
            Some(Effect::Answer(_, Answer::Method(outcome))) => outcome.unwrap_err(),
            other => panic!("{other:?}"),
        }
    };
    for reply in 0..2800 {
        let told = call(&mut world, reply);
        assert!(matches!(told, MethodError::NotOnline(_)), "{reply}: {told:?}");
    }
    assert_eq!(call(&mut world, 2800), MethodError::Throttled);
}

/// S1: 50 updates and 100 reads a second, each a minute's worth at once and ten seconds' more.
#[test]
fn twin_requests_above_the_throttle_are_answered_429() {
    let mut world = of(Tier::S1);
    world.admitted(1, "device1");
    for side in [Side::Sender, Side::Receiver] {
        world.open_side(1, "/devices/device1/twin", side).unwrap();
    }
    let requests = world.replies - 1;
    for (operation, resource, body, most) in [
        ("PATCH", "/properties/reported", "{}", 3500),
        ("GET", "", " ", 7000),
    ] {
        let ask = |world: &mut World| {
            world.replies += 1;
            let message = Message {
                annotations: vec![
                    ("operation".to_owned(), operation.into()),
                    ("resource".to_owned(), resource.into()),
                ],
                body: Body::Data(body.into()),
                ..Message::default()
            };
            let command = Command::Request {
                link: requests,
                message: Box::new(message),
                reply: world.replies,
            };
            world.hub.handle(1, command, world.now);
            let effects: Vec<_> = std::iter::from_fn(|| world.hub.poll_effect()).collect();
            let status = effects.iter().find_map(|effect| match effect {
                Effect::Send(_, parcel) => Some(parcel.message.annotations[0].1.clone()),
                _ => None,
            });
            status.unwrap()
        };
        for number in 0..most {
            assert_eq!(ask(&mut world), Value::Int(200), "{operation} {number}");
        }
        assert_eq!(ask(&mut world), Value::Int(429), "{operation}");
    }
}
