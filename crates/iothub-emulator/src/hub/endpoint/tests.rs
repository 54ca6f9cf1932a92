//! Goal: who may read the events, from where, and beside whom. Method: the hub without a wire; what is expected stands in
//! the wire reference, in Azure's documents, or is arithmetic.

use crate::hub::tests::{NOW, PRIMARY, SECONDARY, STRANGER, World, sign};
use crate::hub::{
    Answer, AuthFailure, Bound, Claim, Command, ConnectionId, Effect, Filter, Grant, LinkId, Position,
    Refusal, Side, Terms, TokenRequest, Value,
};
use iothub_address::{HubHost, Secret};
use zeroize::Zeroizing;

use super::{EventEndpoint, Heads};

/// Of hub `myhub`, with the consumer group `extra`.
pub(crate) fn of_tests(host: HubHost, heads: Heads) -> EventEndpoint {
    let group = "extra".parse().unwrap();
    EventEndpoint::new(&"MyHub".parse().unwrap(), host, 5671, [group], heads)
}

impl World {
    fn read(&mut self, from: ConnectionId, address: &str, terms: Terms) -> Result<Grant, Refusal> {
        self.attach(from, address, Side::Receiver, terms)
    }

    fn attach(
        &mut self,
        from: ConnectionId,
        address: &str,
        side: Side,
        terms: Terms,
    ) -> Result<Grant, Refusal> {
        let address = address.to_owned();
        match self.ask(from, |reply| Command::OpenLink {
            link: reply,
            address,
            side,
            terms,
            reply,
        }) {
            Answer::Link(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn put_events(&mut self, from: ConnectionId, token: String) -> Result<(), i32> {
        let request = TokenRequest::Put {
            kind: "servicebus.windows.net:sastoken".to_owned(),
            audience: String::new(),
            token: Zeroizing::new(token),
        };
        match self.ask(from, |reply| Command::PutToken { request, reply }) {
            Answer::Token(outcome) => outcome.map_err(|refusal| refusal.status),
            other => panic!("{other:?}"),
        }
    }

    /// A connection that may read all events.
    fn reader(&mut self, from: ConnectionId) {
        let token = event_token("service", "sb://localhost/myhub");
        self.put_events(from, token).unwrap();
    }

    /// The number of the link that was opened last: in this world that of the reply.
    fn last_link(&self) -> LinkId {
        self.replies
    }

    fn may_manage(&mut self, from: ConnectionId, token: Option<String>) -> bool {
        let token = token.map(Secret::new);
        match self.ask(from, |reply| Command::Manage { token, reply }) {
            Answer::Taken(outcome) => outcome.is_ok(),
            other => panic!("{other:?}"),
        }
    }

    fn detached(&mut self) -> Vec<(LinkId, &'static str)> {
        let mut detached = Vec::new();
        while let Some(effect) = self.hub.poll_effect() {
            if let Effect::Detach(link, refusal) = effect {
                detached.push((link, refusal.condition.as_str()));
            }
        }
        detached
    }
}

/// As clients of Event Hubs sign: with the key's text.
fn event_token(policy: &str, resource: &str) -> String {
    let key = iothub_sas::SharedKey::from_text(PRIMARY).unwrap();
    let token = iothub_sas::Signer::new(key)
        .policy(policy)
        .sign(resource, iothub_sas::UnixTime::from_secs(NOW + 60));
    token.expose().to_owned()
}

const PARTITION: &str = "myhub/ConsumerGroups/$Default/Partitions/0";

#[test]
fn a_reader_at_the_hub_is_sent_to_the_event_endpoint_by_the_name_that_it_dialled() {
    let mut world = World::new();
    let token = sign(PRIMARY, Some("service"), "myhub.azure-devices.net", NOW + 60);
    world.put_events(1, token).unwrap();
    for (address, dialled, expected) in [
        (
            "amqps://myhub.azure-devices.net/messages/events/ConsumerGroups/$Default/Partitions/0",
            Some("myhub.azure-devices.net"),
            "amqps://myhub.azure-devices.net:5671/myhub/ConsumerGroups/$Default/Partitions/0",
        ),
        (
            "/messages/events/$management",
            Some("MYHUB.azure-devices.net:5671"),
            "amqps://myhub.azure-devices.net:5671/myhub/$management",
        ),
        // What stands behind is repeated as it was asked for, whatever is there.
        (
            "messages/events/consumergroups/Nobody/partitions/99",
            Some("elsewhere.example"),
            "amqps://localhost:5671/myhub/consumergroups/Nobody/partitions/99",
        ),
        (
            "messages/events/$Management",
            None,
            "amqps://localhost:5671/myhub/$Management",
        ),
    ] {
        let terms = Terms {
            dialled: dialled.map(str::to_owned),
            ..Terms::default()
        };
        let refusal = world.read(1, address, terms).unwrap_err();
        assert_eq!(refusal.condition_name(), "amqp:link:redirect");
        let to = refusal.redirect.expect("somewhere to go");
        assert_eq!((to.address.as_str(), to.port), (expected, 5671));
        assert!(to.address.starts_with(&format!("amqps://{}:", to.host)));
    }
    // Nobody sends events there, and nobody reads them without the right.
    let refused = world.attach(1, "messages/events/$management", Side::Sender, Terms::default());
    assert_eq!(refused.unwrap_err().condition_name(), "amqp:not-found");
    let refused = world.read(2, "messages/events/$management", Terms::default());
    assert_eq!(refused.unwrap_err().condition_name(), "amqp:unauthorized-access");
}

#[test]
fn a_token_opens_what_it_names_of_the_event_endpoint_and_no_more() {
    let by_text = |policy: &str, resource: &str| event_token(policy, resource);
    let decoded = |policy: &str, resource: &str| sign(PRIMARY, Some(policy), resource, NOW + 60);
    for (name, token, expected) in [
        (
            "the event hub, by the key's text",
            by_text("service", "sb://localhost/myhub"),
            [true, true, true, false],
        ),
        (
            "by another of the hub's names, with a port, in other letters",
            by_text("service", "amqps://MyHub.azure-devices.net:5671/MYHUB/"),
            [true, true, true, false],
        ),
        (
            "the namespace, by the key's text",
            by_text("service", "sb://localhost"),
            [true, true, true, false],
        ),
        (
            "the event hub, by the decoded key",
            decoded("service", "sb://localhost/myhub"),
            [true, true, true, false],
        ),
        (
            "the hub, by the decoded key",
            decoded("service", "localhost"),
            [true, true, true, true],
        ),
        (
            "one partition",
            by_text(
                "service",
                "sb://localhost/myhub/ConsumerGroups/$Default/Partitions/0",
            ),
            [true, false, false, false],
        ),
        (
            "the management node",
            by_text("service", "sb://localhost/myhub/$management"),
            [false, false, true, false],
        ),
        (
            "a policy that may only read the registry",
            by_text("registryRead", "sb://localhost/myhub"),
            [false, false, false, false],
        ),
    ] {
        let mut world = World::new();
        world
            .put_events(1, token)
            .unwrap_or_else(|status| panic!("{name}: {status}"));
        let opened = [
            (PARTITION, Side::Receiver),
            ("myhub/ConsumerGroups/$Default/Partitions/1", Side::Receiver),
            ("messages/events/$management", Side::Receiver),
        ]
        .map(
            |(address, side)| match world.attach(1, address, side, Terms::default()) {
                Ok(_) => true,
                Err(refusal) => refusal.condition_name() == "amqp:link:redirect",
            },
        );
        let [first, second, redirected] = opened;
        let opened = [first, second, world.may_manage(1, None), redirected];
        assert_eq!(opened, expected, "{name}");
    }
    let mut world = World::new();
    for (name, token) in [
        ("another event hub", by_text("service", "sb://localhost/other")),
        ("another namespace", by_text("service", "sb://elsewhere/myhub")),
        (
            "another key",
            sign(STRANGER, Some("service"), "sb://localhost/myhub", NOW + 60),
        ),
    ] {
        assert_eq!(world.put_events(1, token), Err(401), "{name}");
    }
}

#[test]
fn plain_takes_a_policy_and_its_key_for_the_events_alone() {
    let mut world = World::new();
    let mut plain = |from, user: &str, password: &str| {
        let claim = Claim::Plain {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        };
        match world.ask(from, |reply| Command::Authenticate {
            claim,
            certificate: None,
            reply,
        }) {
            Answer::Admitted(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(plain(1, "service", PRIMARY), Ok(()));
    assert_eq!(plain(2, "service", STRANGER), Err(AuthFailure::Signature));
    assert_eq!(plain(3, "service", ""), Err(AuthFailure::Signature));
    assert_eq!(plain(4, "nobody", SECONDARY), Err(AuthFailure::User));
    assert!(world.read(1, PARTITION, Terms::default()).is_ok());
    let refused = world.read(1, "messages/events/$management", Terms::default());
    assert_eq!(refused.unwrap_err().condition_name(), "amqp:unauthorized-access");
    // It does not end.
    world.now = world.now + std::time::Duration::from_secs(10 * 365 * 24 * 3600);
    world.hub.handle_timeout(world.now);
    assert_eq!(world.detached(), []);
}

#[test]
fn links_of_a_token_that_has_ended_are_detached() {
    let mut world = World::new();
    world.reader(1);
    world.read(1, PARTITION, Terms::default()).unwrap();
    let reader = world.last_link();
    assert!(world.may_manage(1, None));
    world.now = world.now + std::time::Duration::from_secs(60 + 301);
    world.hub.handle_timeout(world.now);
    assert_eq!(world.detached(), [(reader, "amqp:unauthorized-access")]);
    assert!(!world.may_manage(1, None));
}

/// As the .NET SDK asks: over links that are opened without a token, with one in each request.
#[test]
fn the_management_node_takes_a_token_in_the_request() {
    let mut world = World::new();
    for address in [
        "$management",
        "MyHub/$management",
        "amqps://localhost:5671/myhub/$Management",
    ] {
        let opened = world.attach(1, address, Side::Sender, Terms::default());
        assert_eq!(opened, Ok(Grant::ManagementRequests), "{address}");
    }
    let refused = world.attach(1, "other/$management", Side::Sender, Terms::default());
    assert_eq!(refused.unwrap_err().condition_name(), "amqp:not-found");
    for (token, may) in [
        (None, false),
        (Some(event_token("service", "amqps://localhost/myhub")), true),
        (
            Some(event_token("service", "amqps://localhost/myhub/$management")),
            true,
        ),
        (
            Some(event_token("service", "amqps://localhost/myhub/ConsumerGroups")),
            false,
        ),
        (
            Some(event_token("registryRead", "amqps://localhost/myhub")),
            false,
        ),
        (
            Some(sign(STRANGER, Some("service"), "localhost", NOW + 60)),
            false,
        ),
        (Some("nonsense".to_owned()), false),
    ] {
        assert_eq!(world.may_manage(1, token.clone()), may, "{token:?}");
    }
    // It opens nothing else, nor what comes after.
    assert!(!world.may_manage(1, None));
    let refused = world.read(1, PARTITION, Terms::default());
    assert_eq!(refused.unwrap_err().condition_name(), "amqp:unauthorized-access");
}

#[test]
fn what_cannot_be_read_is_refused_with_what_is_wrong() {
    let mut world = World::new();
    world.reader(1);
    let selector = |text: &str| Terms {
        filter: Filter::Selector(text.to_owned()),
        ..Terms::default()
    };
    let epoch = |value: Value| Terms {
        epoch: Some(value),
        ..Terms::default()
    };
    for (address, terms, condition) in [
        (
            "other/ConsumerGroups/$Default/Partitions/0",
            Terms::default(),
            "amqp:unauthorized-access",
        ),
        (
            "myhub/ConsumerGroups/nobody/Partitions/0",
            Terms::default(),
            "amqp:not-found",
        ),
        (
            "myhub/ConsumerGroups/$Default/Partitions/4",
            Terms::default(),
            "com.microsoft:argument-out-of-range",
        ),
        (PARTITION, selector("gibberish"), "com.microsoft:argument-error"),
        (
            PARTITION,
            Terms {
                filter: Filter::NoText,
                ..Terms::default()
            },
            "com.microsoft:argument-error",
        ),
        // The log is empty: its next event gets number 0, at 0.
        (
            PARTITION,
            selector("amqp.annotation.x-opt-sequence-number > '1'"),
            "com.microsoft:argument-error",
        ),
        (
            PARTITION,
            selector("amqp.annotation.x-opt-offset > '1'"),
            "com.microsoft:argument-error",
        ),
        (PARTITION, epoch(Value::Long(-1)), "com.microsoft:argument-error"),
        (PARTITION, epoch("three".into()), "com.microsoft:argument-error"),
    ] {
        let refused = world.read(1, address, terms.clone()).unwrap_err();
        assert_eq!(refused.condition_name(), condition, "{address} {terms:?}");
    }
    let granted = world.read(
        1,
        "MYHUB/consumergroups/EXTRA/partitions/3",
        Terms {
            filter: Filter::Selector("amqp.annotation.x-opt-sequence-number >= '0'".to_owned()),
            epoch: Some(Value::Int(2)),
            runtime_metric: true,
            ..Terms::default()
        },
    );
    let Ok(Grant::Events(reader)) = granted else {
        panic!("{granted:?}")
    };
    assert_eq!(
        (
            reader.group.as_str(),
            reader.partition,
            reader.epoch,
            reader.runtime_metric
        ),
        ("extra", 3, Some(2), true)
    );
    assert_eq!(reader.position, Position::SequenceNumber(Bound::From(0)));
}

#[test]
fn readers_make_room_for_one_with_an_epoch() {
    let mut world = World::new();
    world.reader(1);
    world.reader(2);
    let epoch = |epoch| Terms {
        epoch: Some(Value::Long(epoch)),
        ..Terms::default()
    };
    let mut shared = Vec::new();
    for _ in 0..5 {
        world.read(1, PARTITION, Terms::default()).unwrap();
        shared.push(world.last_link());
    }
    let refused = world.read(2, PARTITION, Terms::default()).unwrap_err();
    assert_eq!(refused.condition_name(), "amqp:resource-limit-exceeded");
    // One that goes leaves room for another.
    let gone = shared.remove(0);
    world.hub.handle(1, Command::LinkGone { link: gone }, world.now);
    world.read(2, PARTITION, Terms::default()).unwrap();
    shared.push(world.last_link());

    let mut answered = Vec::new();
    world.read(1, PARTITION, epoch(5)).unwrap();
    let first = world.last_link();
    answered.extend(world.detached());
    let stolen = |link: &LinkId| (*link, "amqp:link:stolen");
    assert_eq!(answered, shared.iter().map(stolen).collect::<Vec<_>>());
    for terms in [Terms::default(), epoch(4)] {
        let refused = world.read(2, PARTITION, terms).unwrap_err();
        assert_eq!(refused.condition_name(), "amqp:link:stolen");
    }
    assert_eq!(world.detached(), []);
    world.read(2, PARTITION, epoch(5)).unwrap();
    assert_eq!(world.detached(), [stolen(&first)]);
}
