//! Tokens that are put, and tokens that end, with the time by hand.

use iothub_address::DeviceId;
use iothub_sas::{Signer, Spelling, UnixTime};
use zeroize::Zeroizing;

use super::cbs::SAS_TYPES;
use super::refusal::Condition;
use super::tests::{GRACE, NOW, PRIMARY, SECONDARY, STRANGER, World, identity, keys, sign};
use super::*;

impl World {
    /// Connection `from`, on which nothing was said.
    pub(super) fn came(&mut self, from: ConnectionId) {
        let peer = "127.0.0.1:9".parse().unwrap();
        self.hub.handle(from, Command::Came { peer }, self.now);
    }

    fn put_as(&mut self, from: ConnectionId, kind: &str, token: &str) -> Result<(), TokenRefusal> {
        let request = TokenRequest::Put {
            kind: kind.to_owned(),
            audience: "whatever it says".to_owned(),
            token: Zeroizing::new(token.to_owned()),
        };
        match self.ask(from, |reply| Command::PutToken { request, reply }) {
            Answer::Token(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn put(&mut self, from: ConnectionId, token: &str) -> Result<(), TokenRefusal> {
        self.put_as(from, SAS_TYPES[0], token)
    }

    /// Lets the time come to `seconds` after 1970 and a thousandth less than the next.
    fn turn_to(&mut self, seconds: u64) {
        let seconds = i64::try_from(seconds).unwrap();
        self.now = Timestamp::from_millis(seconds * 1000 + 999);
        self.hub.handle_timeout(self.now);
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.hub.poll_effect()).collect()
    }
}

fn own(path: &str, expires: u64) -> String {
    let key = if path.contains("modules") {
        SECONDARY
    } else {
        PRIMARY
    };
    sign(
        key,
        None,
        &format!("myhub.azure-devices.net/devices/{path}"),
        expires,
    )
}

const TELEMETRY: &str = "/devices/device1/messages/events";

#[test]
fn the_identity_comes_from_the_tokens_own_resource_however_it_is_escaped() {
    let names = ["device1", "a#b", "a%2Bb", "a%252Bb"];
    let spellings = [Spelling::Raw, Spelling::Escaped, Spelling::Double];
    let hosts = ["myhub.azure-devices.net", "MYHUB.azure-devices.net", "localhost"];
    for (name, spelling, host) in names
        .iter()
        .flat_map(|name| spellings.map(|spelling| (name, spelling)))
        .flat_map(|(name, spelling)| hosts.map(|host| (name, spelling, host)))
    {
        let mut world = World::new();
        let _ = world.hub.register(&identity(name), keys().into());
        world.came(1);
        let resource = format!("{host}/devices/{name}");
        let signer = Signer::new(keys().primary).spelling(spelling);
        let token = signer.sign(resource, UnixTime::from_secs(NOW + 60));
        assert_eq!(world.put(1, token.expose()), Ok(()), "{name} {spelling:?} {host}");
        let opened = world.open(1, &format!("/devices/{name}/messages/events"));
        assert_eq!(
            opened,
            Ok(Grant::Telemetry(identity(name))),
            "{name} {spelling:?}"
        );
    }
}

#[test]
fn what_is_put_is_answered_with_a_status() {
    let by = |policy: &str, key: &str, resource: &str| sign(key, Some(policy), resource, NOW + 60);
    let hub = "myhub.azure-devices.net";
    let later = NOW + 60;
    let cases = [
        ("a device", own("device1", later), None),
        ("a module", own("device1/modules/m", later), None),
        ("its last second", own("device1", NOW), None),
        ("a second late", own("device1", NOW - 1), Some(401)),
        ("a policy", by("service", PRIMARY, hub), None),
        (
            "a device by a policy",
            by("device", SECONDARY, &format!("{hub}/devices/device1")),
            None,
        ),
        (
            "a device by a policy that may not",
            by("service", PRIMARY, &format!("{hub}/devices/device1")),
            Some(401),
        ),
        ("no such policy", by("none", PRIMARY, hub), Some(401)),
        ("a policy, another key", by("service", STRANGER, hub), Some(401)),
        (
            "another key",
            sign(STRANGER, None, &format!("{hub}/devices/device1"), later),
            Some(401),
        ),
        (
            "the device's key for its module",
            sign(PRIMARY, None, &format!("{hub}/devices/device1/modules/m"), later),
            Some(401),
        ),
        ("a key for the hub", sign(PRIMARY, None, hub, later), Some(401)),
        (
            "another hub",
            sign(PRIMARY, None, "other.azure-devices.net/devices/device1", later),
            Some(401),
        ),
        ("disabled", own("off", later), Some(401)),
        ("unknown", own("nobody", later), Some(404)),
        ("no token", "token".to_owned(), Some(400)),
    ];
    let mut world = World::new();
    world.came(1);
    for (name, token, expected) in cases {
        let status = world.put(1, &token).err().map(|refusal| refusal.status);
        assert_eq!(status, expected, "{name}");
    }
    let other = world.put_as(1, "jwt", &own("device1", later));
    assert_eq!(other.unwrap_err().status, 400);
    assert_eq!(world.put_as(1, SAS_TYPES[1], &own("device1", later)), Ok(()));
}

#[test]
fn a_failed_put_changes_nothing() {
    let mut world = World::new();
    world.came(1);
    world.put(1, &own("device1", NOW + 60)).unwrap();
    world.put(1, &own("device1", NOW - 1)).unwrap_err();
    assert!(world.open(1, TELEMETRY).is_ok());
}

#[test]
fn the_last_token_for_an_identity_counts() {
    let mut world = World::new();
    world.came(1);
    world.put(1, &own("device1", NOW + 1000)).unwrap();
    world.put(1, &own("device1", NOW + 10)).unwrap();
    world.open(1, TELEMETRY).unwrap();
    world.turn_to(NOW + 10);
    assert!(world.open(1, TELEMETRY).is_ok(), "its last second");
    world.turn_to(NOW + 11);
    let refused = world.open(1, TELEMETRY).unwrap_err();
    assert_eq!(refused.condition, Condition::UnauthorizedAccess);
    assert_eq!(world.send(1, "device1"), Ok(()), "the open link has its grace");
}

#[test]
fn a_token_that_ended_takes_its_links_with_it_after_the_grace() {
    let mut world = World::new();
    world.came(1);
    assert_eq!(world.hub.poll_timeout(), None);
    world.put(1, &own("device1", NOW + 10)).unwrap();
    world.put(1, &own("device1/modules/m", NOW + 500)).unwrap();
    let ends = Timestamp::from_seconds(1_700_000_011) + GRACE;
    assert_eq!(world.hub.poll_timeout(), Some(ends));
    // The number of the command is the link's.
    world.open(1, TELEMETRY).unwrap();
    world
        .open(1, "/devices/device1/modules/m/messages/events")
        .unwrap();
    world.turn_to(NOW + 10 + GRACE.as_secs());
    assert!(world.effects().is_empty());
    world.turn_to(NOW + 11 + GRACE.as_secs());
    match &world.effects()[..] {
        [Effect::Detach(3, refusal)] => {
            assert_eq!(refusal.condition, Condition::UnauthorizedAccess);
            assert_eq!(refusal.message, "The token for device1 has expired.");
        }
        other => panic!("{other:?}"),
    }
    assert!(world.send(1, "device1").is_err());
    assert_eq!(world.send(1, "device1/modules/m"), Ok(()));
}

#[test]
fn a_renewal_moves_the_end() {
    let mut world = World::new();
    world.came(1);
    world.put(1, &own("device1", NOW + 10)).unwrap();
    world.open(1, TELEMETRY).unwrap();
    world.turn_to(NOW + 100);
    world.put(1, &own("device1", NOW + 5000)).unwrap();
    world.turn_to(NOW + 4000);
    assert!(world.effects().is_empty());
    assert_eq!(world.send(1, "device1"), Ok(()));
}

#[test]
fn a_link_that_another_token_covers_stays() {
    let mut world = World::new();
    world.came(1);
    let policy = sign(PRIMARY, Some("device"), "localhost", NOW + 5000);
    world.put(1, &policy).unwrap();
    world.put(1, &own("device1", NOW + 10)).unwrap();
    world.open(1, TELEMETRY).unwrap();
    world.turn_to(NOW + 1000);
    assert!(world.effects().is_empty());
    assert_eq!(world.send(1, "device1"), Ok(()));
}

#[test]
fn a_link_that_is_gone_is_not_detached() {
    let mut world = World::new();
    world.came(1);
    world.put(1, &own("device1", NOW + 10)).unwrap();
    world.open(1, TELEMETRY).unwrap();
    world.hub.handle(1, Command::LinkGone { link: 2 }, world.now);
    world.turn_to(NOW + 1000);
    assert!(world.effects().is_empty());
}

#[test]
fn a_connection_by_plain_ends_with_its_token() {
    let mut world = World::new();
    world.admitted(1, "device1"); // a minute's token
    world.admitted(2, "device1");
    world.hub.handle(
        2,
        Command::Gone {
            why: "the client closed".to_owned(),
        },
        world.now,
    );
    world.turn_to(NOW + 60 + GRACE.as_secs());
    assert!(world.effects().is_empty());
    world.turn_to(NOW + 61 + GRACE.as_secs());
    match &world.effects()[..] {
        [Effect::Close(1, refusal)] => assert_eq!(refusal.condition, Condition::UnauthorizedAccess),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.hub.poll_timeout(), None);
}

#[test]
fn a_connection_holds_999_tokens() {
    let mut world = World::new();
    world.came(1);
    for number in 0..1000 {
        world
            .hub
            .register(&identity(&format!("d{number}")), keys().into())
            .unwrap();
    }
    for number in 0..999 {
        world.put(1, &own(&format!("d{number}"), NOW + 60)).unwrap();
    }
    assert_eq!(world.put(1, &own("d999", NOW + 60)).unwrap_err().status, 403);
    assert_eq!(world.put(1, &own("d0", NOW + 90)), Ok(()), "a renewal");
    world.came(2);
    assert_eq!(world.put(2, &own("d999", NOW + 60)), Ok(()), "another connection");
}

#[test]
fn one_pair_of_cbs_links_a_connection() {
    let mut world = World::new();
    world.came(1);
    world.came(2);
    for from in [1, 2] {
        assert_eq!(
            world.open_side(from, "$cbs", Side::Sender),
            Ok(Grant::TokenRequests)
        );
        assert_eq!(
            world.open_side(from, "$cbs", Side::Receiver),
            Ok(Grant::TokenReplies)
        );
    }
    for side in [Side::Sender, Side::Receiver] {
        let refused = world.open_side(1, "$cbs", side).unwrap_err();
        assert_eq!(refused.condition, Condition::NotAllowed);
    }
    world.hub.handle(1, Command::LinkGone { link: 1 }, world.now);
    assert!(
        world.open_side(1, "$cbs", Side::Sender).is_ok(),
        "the first has gone"
    );
}

#[test]
fn a_removed_device_loses_its_links_and_its_token() {
    let mut world = World::new();
    world.came(1);
    world.put(1, &own("device1", NOW + 60)).unwrap();
    world.open(1, TELEMETRY).unwrap();
    let device: DeviceId = "device1".parse().unwrap();
    world.hub.remove(&device.into(), world.now).unwrap();
    match &world.effects()[..] {
        [Effect::Detach(2, refusal)] => {
            assert_eq!((refusal.condition, refusal.code), (Condition::NotFound, 404_001));
        }
        other => panic!("{other:?}"),
    }
    // Registered again it is another one, whom this connection never proved to be.
    world.hub.register(&identity("device1"), keys().into()).unwrap();
    assert!(world.open(1, TELEMETRY).is_err());
}

#[test]
fn a_token_request_prints_no_token() {
    let request = TokenRequest::Put {
        kind: "k".to_owned(),
        audience: "a".to_owned(),
        token: Zeroizing::new(own("device1", NOW)),
    };
    assert_eq!(format!("{request:?}"), r#"Put { kind: "k", audience: "a", .. }"#);
}

/// How the time is split between the two: a token ends at `NOW + 10`.
#[test]
fn clocks_may_differ_by_as_much_as_is_said() {
    for (skew, grace, last_opened, last_kept) in [(0, 300, 10, 310), (60, 300, 70, 310), (400, 300, 410, 410)]
    {
        let at = |seconds: i64| Timestamp::from_seconds(1_700_000_000 + seconds);
        let mut world = World::with(|setup| {
            setup.clock_skew = Duration::from_secs(skew);
            setup.token_grace = Duration::from_secs(grace);
        });
        let token = sign(PRIMARY, None, "localhost/devices/device1", NOW + 10);
        world.now = at(last_opened);
        assert_eq!(world.plain(1, "device1@sas.myhub", &token), Ok(()));
        world.now = at(last_opened + 1);
        assert!(world.plain(2, "device1@sas.myhub", &token).is_err());
        // The second that the token names is its last.
        assert_eq!(world.hub.poll_timeout(), Some(at(last_kept + 1)));
    }
}
