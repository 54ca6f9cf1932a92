//! Who is there, and who takes over from whom, with no wire and the time by hand.

use std::time::Duration;

use super::*;
use crate::hub::tests::{PRIMARY, World, identity, token};
use crate::hub::{Answer, Authentication, Claim, Command, LinkId, Message, Side, TokenRequest};

const EVENTS: &str = "/devices/device1/messages/events";
const TWIN: &str = "/devices/device1/twin";

/// The number of a link or connection, the condition and the code.
type Ended = (u64, Condition, u32);

impl World {
    /// The connection without credentials, and then with the identity's token.
    fn by_cbs(&mut self, from: ConnectionId, name: &str, key: &str) {
        let nothing = |reply| Command::Authenticate {
            claim: Claim::Nothing,
            certificate: None,
            reply,
        };
        assert!(matches!(self.ask(from, nothing), Answer::Admitted(Ok(()))));
        let request = TokenRequest::Put {
            kind: "servicebus.windows.net:sastoken".to_owned(),
            audience: String::new(),
            token: token(key, name).into(),
        };
        let put = self.ask(from, |reply| Command::PutToken { request, reply });
        assert!(matches!(put, Answer::Token(Ok(()))), "{put:?}");
    }

    fn link(&mut self, from: ConnectionId, address: &str) -> LinkId {
        self.open(from, address).unwrap();
        self.replies
    }

    fn link_gone(&mut self, from: ConnectionId, link: LinkId) {
        self.hub.handle(from, Command::LinkGone { link }, self.now);
    }

    /// The links that were detached and the connections that were closed since, each with its condition and code.
    fn ended(&mut self) -> (Vec<Ended>, Vec<Ended>) {
        let (mut links, mut connections) = (Vec::new(), Vec::new());
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Detach(link, why) => links.push((link, why.condition, why.code)),
                Effect::Close(connection, why) => connections.push((connection, why.condition, why.code)),
                _ => {}
            }
        }
        (links, connections)
    }

    fn is_there(&self, name: &str) -> bool {
        let presence = self.hub.presence(&identity(name)).unwrap();
        presence.state == ConnectionState::Connected
    }
}

/// Protocol §12, row 17: closing some links is not leaving.
#[test]
fn a_device_is_there_from_its_first_link_to_its_last() {
    let mut world = World::new();
    let start = world.now;
    let never = world.hub.presence(&identity("device1")).unwrap();
    assert_eq!(
        never,
        Presence {
            state: ConnectionState::Disconnected,
            state_updated: None,
            last_activity: None,
        }
    );
    world.admitted(1, "device1");
    assert!(!world.is_there("device1"), "a connection is no presence");
    let telemetry = world.link(1, EVENTS);
    let twin = world.link(1, TWIN);
    world.now = start + Duration::from_secs(10);
    world.link_gone(1, twin);
    world.link_gone(1, twin);
    assert!(world.is_there("device1"));
    assert!(!world.is_there("device1/modules/m"), "its module is another");
    world.now = start + Duration::from_secs(20);
    world.send(1, "device1").unwrap();
    world.now = start + Duration::from_secs(30);
    world.link_gone(1, telemetry);
    let gone = world.hub.presence(&identity("device1")).unwrap();
    assert_eq!(gone.state, ConnectionState::Disconnected);
    assert_eq!(gone.state_updated, Some(start + Duration::from_secs(30)));
    assert_eq!(gone.last_activity, Some(start + Duration::from_secs(20)));
    assert!(world.hub.presence(&identity("nobody")).is_err());
}

#[test]
fn a_device_leaves_with_its_connection() {
    let mut world = World::new();
    world.admitted(1, "device1");
    world.link(1, EVENTS);
    world.link(1, TWIN);
    let why = String::new();
    world.hub.handle(1, Command::Gone { why }, world.now);
    assert!(!world.is_there("device1"));
}

/// Protocol §7.4: the new one wins.
#[test]
fn a_device_that_came_by_cbs_loses_its_links_to_its_newer_connection() {
    let mut world = World::new();
    world.by_cbs(1, "device1", PRIMARY);
    world.by_cbs(2, "device1", PRIMARY);
    let (telemetry, twin) = (world.link(1, EVENTS), world.link(1, TWIN));
    assert_eq!(
        world.ended(),
        (vec![], vec![]),
        "its own links do not disturb each other"
    );
    world.now = world.now + Duration::from_secs(1);
    let newer = world.link(2, EVENTS);
    let stolen = |link| (link, Condition::LinkStolen, 400_027);
    assert_eq!(world.ended(), (vec![stolen(telemetry), stolen(twin)], vec![]));
    // What the older says of its links now means nothing to the newer.
    world.link_gone(1, telemetry);
    world.link_gone(1, twin);
    assert!(world.is_there("device1"));
    let presence = world.hub.presence(&identity("device1")).unwrap();
    assert_eq!(presence.state_updated, Some(world.now));
    // The older may come back, and then it is the newer.
    let again = world.link(1, EVENTS);
    assert_eq!(world.ended(), (vec![stolen(newer)], vec![]));
    assert_ne!(again, telemetry);
}

#[test]
fn a_connection_by_plain_is_closed_when_its_device_comes_on_another_and_gets_no_link_any_more() {
    let mut world = World::new();
    world.admitted(1, "device1");
    world.admitted(2, "device1");
    world.link(1, EVENTS);
    world.link(2, EVENTS);
    assert_eq!(
        world.ended(),
        (vec![], vec![(1, Condition::ConnectionForced, 400_027)])
    );
    let refused = world.open(1, TWIN).unwrap_err();
    assert_eq!(
        (refused.condition, refused.code),
        (Condition::ConnectionForced, 400_027)
    );
    assert_eq!(world.ended(), (vec![], vec![]), "the newer keeps its place");
    assert!(world.is_there("device1"));
}

#[test]
fn a_device_and_its_module_do_not_disturb_each_other() {
    let mut world = World::new();
    world.admitted(1, "device1");
    world.admitted(2, "device1/modules/m");
    world.link(1, EVENTS);
    world.link(2, "/devices/device1/modules/m/messages/events");
    assert_eq!(world.ended(), (vec![], vec![]));
    assert!(world.is_there("device1") && world.is_there("device1/modules/m"));
}

#[test]
fn on_a_connection_of_many_devices_one_is_taken_over_and_the_others_stay() {
    let mut world = World::new();
    world
        .hub
        .register(
            &identity("device2"),
            Authentication::Sas(crate::hub::tests::keys()),
        )
        .unwrap();
    for name in ["device1", "device2"] {
        world.by_cbs(1, name, PRIMARY);
    }
    let first = world.link(1, EVENTS);
    world.link(1, "/devices/device2/messages/events");
    world.admitted(2, "device1");
    world.link(2, EVENTS);
    let (links, connections) = world.ended();
    assert_eq!(links, [(first, Condition::LinkStolen, 400_027)]);
    assert_eq!(connections, []);
    world.send(1, "device2").unwrap();
    assert!(world.is_there("device2"));
}

/// A device that comes anew gets what the former connection had and had not settled.
#[test]
fn messages_follow_the_device() {
    let mut world = World::new();
    world.by_cbs(1, "device1", PRIMARY);
    world.by_cbs(2, "device1", PRIMARY);
    let commands = "/devices/device1/messages/devicebound";
    let credit = crate::hub::Credit { seen: 0, granted: 5 };
    let receive = |world: &mut World, from| {
        world.open_side(from, commands, Side::Receiver).unwrap();
        let link = world.replies;
        world
            .hub
            .handle(from, Command::Credit { link, credit }, world.now);
        link
    };
    receive(&mut world, 1);
    world
        .hub
        .send_to_device(&identity("device1"), Message::default(), world.now)
        .unwrap();
    world.ended();
    let newer = receive(&mut world, 2);
    let sent = std::iter::from_fn(|| world.hub.poll_effect())
        .filter(|effect| matches!(effect, Effect::Send(link, _) if *link == newer));
    assert_eq!(sent.count(), 1);
}

#[test]
fn who_is_removed_and_registered_again_has_never_been_there() {
    let mut world = World::new();
    world.admitted(1, "device1");
    let link = world.link(1, EVENTS);
    world.hub.remove(&identity("device1"), world.now).unwrap();
    let keys = crate::hub::tests::keys();
    world.hub.register(&identity("device1"), keys.into()).unwrap();
    world.link_gone(1, link);
    let presence = world.hub.presence(&identity("device1")).unwrap();
    assert_eq!(presence.state_updated, None);
}
