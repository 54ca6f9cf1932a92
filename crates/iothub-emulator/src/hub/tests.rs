//! The hub's decisions, with no wire: commands in, effects out, the time by hand.

use iothub_address::{HubHost, Identity};
use iothub_sas::{SharedKey, Signer, UnixTime};
use zeroize::Zeroizing;

use super::refusal::Condition;
use super::*;

/// Bytes 00 to 1f, and two others.
pub(super) const PRIMARY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(super) const SECONDARY: &str = "cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE=";
pub(super) const STRANGER: &str = "//////////////////////////////////////////8=";
pub(super) const NOW: u64 = 1_700_000_000;
pub(super) const GRACE: Duration = Duration::from_secs(300);

fn key(text: &str) -> SharedKey {
    SharedKey::from_base64(text).unwrap()
}

pub(super) fn keys() -> Keys {
    Keys::new(key(PRIMARY), key(SECONDARY))
}

pub(super) fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) events: SharedRing<Event>,
    pub(super) feedback: SharedRing<Feedback>,
    pub(super) now: Timestamp,
    pub(super) replies: Reply,
}

impl World {
    /// Hub `myhub` with a device, its module, a disabled device with a module, and four policies.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Of a hub that starts otherwise.
    pub(super) fn with(set_up: impl FnOnce(&mut Setup)) -> Self {
        let hosts = ["localhost", "myhub.azure-devices.net"].map(|host| HubHost::parse(host).unwrap());
        let events = SharedRing::new(LogLimits::default());
        let feedback = SharedRing::new(LogLimits::default());
        let heads = Heads::new(&[Place::default(); 4], []);
        let mut setup = Setup {
            keeping: Keeping::Nothing,
            hub: "myhub".parse().unwrap(),
            token_grace: GRACE,
            clock_skew: Duration::ZERO,
            limits: Limits::default(),
            names: Names::new(hosts.to_vec(), &"myhub".parse().unwrap()),
            authorities: DeviceAuthorities::default(),
            partitions: vec![Place::default(); 4],
            events: events.clone(),
            endpoint: endpoint::of_tests(hosts[0].clone(), heads.clone()),
            heads,
            activities: SharedRing::new(LogLimits::default()),
            traffic: SharedRing::new(LogLimits::default()),
            feedback: feedback.clone(),
            feedback_done: 0,
            now: Timestamp::from_seconds(1_700_000_000),
            cloud_to_device: CloudToDevice::default(),
            seed: 7,
        };
        set_up(&mut setup);
        let mut hub = Hub::new(setup);
        for name in ["device1", "device1/modules/m", "off", "off/modules/m"] {
            let own = if name.contains('/') {
                Keys::new(key(SECONDARY), key(SECONDARY))
            } else {
                keys()
            };
            hub.register(&identity(name), own.into()).unwrap();
        }
        let off = hub.set_status(&"off".parse().unwrap(), Status::Disabled, Timestamp::default());
        off.unwrap();
        for name in ["device", "service", "iothubowner", "registryRead"] {
            let rights = Rights::of_built_in(name).unwrap();
            hub.set_policy(name.parse().unwrap(), Policy { keys: keys(), rights });
        }
        Self {
            hub,
            events,
            feedback,
            now: Timestamp::from_seconds(1_700_000_000),
            replies: 0,
        }
    }

    pub(super) fn ask(&mut self, from: ConnectionId, command: impl FnOnce(Reply) -> Command) -> Answer {
        self.replies += 1;
        self.hub.handle(from, command(self.replies), self.now);
        match self.hub.poll_effect() {
            Some(Effect::Answer(reply, answer)) if reply == self.replies => answer,
            other => panic!("no answer but {other:?}"),
        }
    }

    pub(super) fn plain(
        &mut self,
        from: ConnectionId,
        user: &str,
        password: &str,
    ) -> Result<(), AuthFailure> {
        let claim = Claim::Plain {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        };
        match self.ask(from, |reply| Command::Authenticate {
            claim,
            certificate: None,
            reply,
        }) {
            Answer::Admitted(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Connection `from` as the device, with its own key.
    pub(super) fn admitted(&mut self, from: ConnectionId, name: &str) {
        let own = if name.contains('/') { SECONDARY } else { PRIMARY };
        self.plain(from, &format!("{name}@sas.myhub"), &token(own, name))
            .unwrap();
    }

    pub(super) fn open(&mut self, from: ConnectionId, address: &str) -> Result<Grant, Refusal> {
        self.open_side(from, address, Side::Sender)
    }

    /// The link has the number of the reply.
    pub(super) fn open_side(
        &mut self,
        from: ConnectionId,
        address: &str,
        side: Side,
    ) -> Result<Grant, Refusal> {
        let address = address.to_owned();
        match self.ask(from, |reply| Command::OpenLink {
            link: reply,
            address,
            side,
            terms: Terms::default(),
            reply,
        }) {
            Answer::Link(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn send(&mut self, from: ConnectionId, sender: &str) -> Result<(), Refusal> {
        let deliveries = vec![Delivery::Message(Message::default())];
        match self.ask(from, |reply| Command::Telemetry {
            sender: identity(sender),
            deliveries,
            reply,
        }) {
            Answer::Took(outcome) => outcome.map(|told| assert_eq!(told, Verdict::AllBut(vec![]))),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn sign(key_text: &str, policy: Option<&str>, resource: &str, expires: u64) -> String {
    let signer = Signer::new(key(key_text));
    let signer = match policy {
        Some(policy) => signer.policy(policy),
        None => signer,
    };
    signer
        .sign(resource, UnixTime::from_secs(expires))
        .expose()
        .to_owned()
}

/// A device's or module's own token.
pub(super) fn token(key_text: &str, name: &str) -> String {
    sign(
        key_text,
        None,
        &format!("myhub.azure-devices.net/devices/{name}"),
        NOW + 60,
    )
}

#[test]
fn authentication() {
    use AuthFailure::*;
    let resource = |path: &str| format!("myhub.azure-devices.net{path}");
    let d1 = resource("/devices/device1");
    let own = |key_text: &str, at: &str| sign(key_text, None, at, NOW + 60);
    let by = |policy: &str, key_text: &str, at: &str| sign(key_text, Some(policy), at, NOW + 60);
    let policy = |name: &str| -> PolicyName { name.parse().unwrap() };
    let cases: Vec<(&str, &str, String, Result<(), AuthFailure>)> = vec![
        ("first key", "device1@sas.myhub", own(PRIMARY, &d1), Ok(())),
        ("second key", "device1@sas.myhub", own(SECONDARY, &d1), Ok(())),
        (
            "another key",
            "device1@sas.myhub",
            own(STRANGER, &d1),
            Err(Signature),
        ),
        (
            "last second",
            "device1@sas.myhub",
            sign(PRIMARY, None, &d1, NOW),
            Ok(()),
        ),
        (
            "a second late",
            "device1@sas.myhub",
            sign(PRIMARY, None, &d1, NOW - 1),
            Err(Expired { seconds: 1 }),
        ),
        (
            "late, and another key",
            "device1@sas.myhub",
            sign(STRANGER, None, &d1, NOW - 1),
            Err(Signature),
        ),
        (
            "whole hub",
            "device1@sas.myhub",
            own(PRIMARY, &resource("")),
            Ok(()),
        ),
        (
            "all devices",
            "device1@sas.myhub",
            own(PRIMARY, &resource("/devices")),
            Ok(()),
        ),
        (
            "a longer name",
            "device1@sas.myhub",
            own(PRIMARY, &resource("/devices/device")),
            Err(OutOfScope("device1".into())),
        ),
        (
            "another hub",
            "device1@sas.myhub",
            own(PRIMARY, "other.azure-devices.net/devices/device1"),
            Err(OutOfScope("device1".into())),
        ),
        (
            "its module",
            "device1@sas.myhub",
            own(PRIMARY, &resource("/devices/device1/modules/m")),
            Err(OutOfScope("device1".into())),
        ),
        (
            "unknown device",
            "device2@sas.myhub",
            own(PRIMARY, &d1),
            Err(NotRegistered(identity("device2"))),
        ),
        (
            "case of the id",
            "Device1@sas.myhub",
            own(PRIMARY, &d1),
            Err(NotRegistered(identity("Device1"))),
        ),
        (
            "disabled",
            "off@sas.myhub",
            own(PRIMARY, &resource("/devices/off")),
            Err(Disabled(identity("off"))),
        ),
        (
            "disabled, and another key",
            "off@sas.myhub",
            own(STRANGER, &resource("/devices/off")),
            Err(Signature),
        ),
        (
            "module of a disabled device",
            "off/modules/m@sas.myhub",
            own(SECONDARY, &resource("/devices/off/modules/m")),
            Err(Disabled(identity("off/modules/m"))),
        ),
        (
            "other label",
            "device1@sas.other",
            own(PRIMARY, &d1),
            Err(OtherHub("other".parse().unwrap())),
        ),
        (
            "full host name",
            "device1@sas.myhub.azure-devices.net",
            own(PRIMARY, &d1),
            Err(User),
        ),
        ("no sas", "device1@myhub", own(PRIMARY, &d1), Err(User)),
        ("no token", "device1@sas.myhub", String::new(), Err(Token)),
        (
            "a key for a token",
            "device1@sas.myhub",
            PRIMARY.to_owned(),
            Err(Token),
        ),
        (
            "module, own key",
            "device1/modules/m@sas.myhub",
            own(SECONDARY, &resource("/devices/device1/modules/m")),
            Ok(()),
        ),
        (
            "module, scope of its device",
            "device1/modules/m@sas.myhub",
            own(SECONDARY, &d1),
            Ok(()),
        ),
        (
            "module, its device's key",
            "device1/modules/m@sas.myhub",
            own(PRIMARY, &d1),
            Err(Signature),
        ),
        (
            "unknown module",
            "device1/modules/n@sas.myhub",
            own(SECONDARY, &d1),
            Err(NotRegistered(identity("device1/modules/n"))),
        ),
        (
            "device by policy",
            "device1@sas.myhub",
            by("device", SECONDARY, &d1),
            Ok(()),
        ),
        (
            "device by policy of the hub",
            "device1@sas.myhub",
            by("iothubowner", PRIMARY, &resource("")),
            Ok(()),
        ),
        (
            "device by policy without right",
            "device1@sas.myhub",
            by("service", PRIMARY, &d1),
            Err(NoRight(policy("service"))),
        ),
        (
            "device by unknown policy",
            "device1@sas.myhub",
            by("none", PRIMARY, &d1),
            Err(NoPolicy("none".into())),
        ),
        (
            "device by policy, another key",
            "device1@sas.myhub",
            by("device", STRANGER, &d1),
            Err(Signature),
        ),
        (
            "module by policy",
            "device1/modules/m@sas.myhub",
            by("device", PRIMARY, &d1),
            Ok(()),
        ),
        (
            "policy",
            "service@sas.root.myhub",
            by("service", PRIMARY, &resource("")),
            Ok(()),
        ),
        (
            "policy, second key",
            "service@sas.root.localhost",
            by("service", SECONDARY, "localhost"),
            Ok(()),
        ),
        (
            "policy, other policy's token",
            "service@sas.root.myhub",
            by("iothubowner", PRIMARY, &resource("")),
            Err(OtherPolicy(policy("service"))),
        ),
        (
            "policy, no policy in the token",
            "service@sas.root.myhub",
            own(PRIMARY, &resource("")),
            Err(OtherPolicy(policy("service"))),
        ),
        (
            "policy, token for a device",
            "service@sas.root.myhub",
            by("service", PRIMARY, &d1),
            Err(OutOfScope("the hub".into())),
        ),
        (
            "unknown policy",
            "none@sas.root.myhub",
            by("none", PRIMARY, &resource("")),
            Err(NoPolicy("none".into())),
        ),
    ];
    let mut world = World::new();
    for (name, user, password, expected) in cases {
        assert_eq!(world.plain(1, user, &password), expected, "{name}");
    }
}

/// The signature of this token was made by another program (Python's hmac), over the `sr` as it is written.
#[test]
fn a_token_that_we_did_not_make_is_verified_as_written() {
    let mut world = World::new();
    let token = "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdevice1\
                 &sig=gFSfLGMXDOvf906%2FiaX3KwzLLNFHgaFZyCbsGjxtd1Y%3D&se=1700000000";
    assert_eq!(world.plain(1, "device1@sas.myhub", token), Ok(()));
    let respelled = token.replace("%2F", "%2f");
    assert_eq!(
        world.plain(1, "device1@sas.myhub", &respelled),
        Err(AuthFailure::Signature)
    );
}

#[test]
fn a_link_is_for_its_own_identity_only() {
    let mut world = World::new();
    world.admitted(1, "device1");
    world.admitted(2, "device1/modules/m");
    let granted = |name: &str| Ok(Grant::Telemetry(identity(name)));
    assert_eq!(
        world.open(1, "/devices/device1/messages/events"),
        granted("device1")
    );
    assert_eq!(
        world.open(1, "DEVICES/device1/Messages/Events"),
        granted("device1")
    );
    assert_eq!(
        world.open(2, "/devices/device1/modules/m/messages/events"),
        granted("device1/modules/m")
    );
    let unauthorized = [
        (1, "/devices/device1/modules/m/messages/events"),
        (1, "/devices/off/messages/events"),
        (2, "/devices/device1/messages/events"),
        (3, "/devices/device1/messages/events"),
    ];
    for (from, address) in unauthorized {
        let refusal = world.open(from, address).unwrap_err();
        assert_eq!(
            refusal.condition,
            Condition::UnauthorizedAccess,
            "{from} {address}"
        );
        assert_eq!(refusal.code, 401_002);
    }
    let unknown = world.open(1, "/devices/device1/messages/nonsense").unwrap_err();
    assert_eq!((unknown.condition, unknown.code), (Condition::NotFound, 404_006));
}

/// The C# SDK escapes ids in addresses, others do not; both mean the registered one.
#[test]
fn an_address_is_read_as_the_registered_identity() {
    let mut world = World::new();
    for name in ["a%2Bb", "a#b"] {
        world.hub.register(&identity(name), keys().into()).unwrap();
        world.admitted(1, name);
        for spelled in [name.to_owned(), name.replace('%', "%25").replace('#', "%23")] {
            let opened = world.open(1, &format!("/devices/{spelled}/messages/events"));
            assert_eq!(opened, Ok(Grant::Telemetry(identity(name))), "{spelled}");
        }
    }
}

#[test]
fn telemetry_is_logged_for_its_sender_and_nobody_else() {
    let mut world = World::new();
    world.admitted(1, "device1");
    assert_eq!(world.send(1, "device1"), Ok(()));
    assert_eq!(
        world.send(1, "off").unwrap_err().condition,
        Condition::UnauthorizedAccess
    );
    assert_eq!(
        world.send(9, "device1").unwrap_err().condition,
        Condition::UnauthorizedAccess
    );
    let logged = world.events.lock().read(0, 10).entries;
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].sender.identity, identity("device1"));
    assert_eq!(logged[0].enqueued, world.now);
}

#[test]
fn rights_end_while_links_are_open() {
    let mut world = World::new();
    world.admitted(1, "device1");
    world.admitted(2, "device1/modules/m");
    world
        .hub
        .set_status(&"device1".parse().unwrap(), Status::Disabled, world.now)
        .unwrap();
    let mut closed = Vec::new();
    while let Some(Effect::Close(connection, refusal)) = world.hub.poll_effect() {
        assert_eq!(
            (refusal.condition, refusal.code),
            (Condition::ConnectionForced, 403_012)
        );
        closed.push(connection);
    }
    closed.sort_unstable();
    assert_eq!(closed, [1, 2]);
    assert!(world.send(1, "device1").is_err());
    assert!(world.send(2, "device1/modules/m").is_err());
    assert_eq!(world.events.lock().end(), 0);
}

#[test]
fn an_identity_that_is_registered_again_is_another_generation() {
    let mut world = World::new();
    let generation = |world: &World| {
        world
            .hub
            .registry
            .get(&identity("device1"))
            .unwrap()
            .generation_id
            .clone()
    };
    let first = generation(&world);
    world.hub.remove(&identity("device1"), world.now).unwrap();
    assert!(
        world.hub.authentication(&identity("device1/modules/m")).is_none(),
        "its modules went with it"
    );
    world.hub.register(&identity("device1"), keys().into()).unwrap();
    assert_ne!(generation(&world), first);
}

#[test]
fn a_device_has_at_most_50_modules() {
    let mut world = World::new();
    let register = |world: &mut World, number: u32| {
        world.hub.register(
            &identity(&format!("device1/modules/extra{number}")),
            keys().into(),
        )
    };
    for number in 1..50 {
        register(&mut world, number).unwrap();
    }
    assert_eq!(
        register(&mut world, 50),
        Err(RegistryError::TooManyModules("device1".parse().unwrap()))
    );
}

#[test]
fn what_happened_at_the_door_is_noted_without_a_secret() {
    let mut world = World::new();
    world.hub.handle(
        1,
        Command::Came {
            peer: "127.0.0.1:9".parse().unwrap(),
        },
        world.now,
    );
    let secret = token(STRANGER, "device1");
    let _ = world.plain(1, "device1@sas.myhub", &secret);
    world.hub.handle(
        1,
        Command::Gone {
            why: "the client closed".to_owned(),
        },
        world.now,
    );
    let noted: Vec<String> = world
        .hub
        .activities
        .lock()
        .read(0, 10)
        .entries
        .iter()
        .map(|entry| entry.what.to_string())
        .collect();
    assert_eq!(
        noted,
        [
            "came from 127.0.0.1:9",
            "was refused: the signature was made with another key",
            "is gone: the client closed",
        ]
    );
    let claim = Claim::Plain {
        user: "u".to_owned(),
        password: Zeroizing::new(secret),
    };
    assert_eq!(format!("{claim:?}"), r#"Plain { user: "u", .. }"#);
}
