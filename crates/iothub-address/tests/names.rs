//! Names, hosts, identities, user names, resources.

use core::net::IpAddr;

use iothub_address::{
    DeviceId, ErrorKind, EventHubName, HubHost, HubName, Identity, ModuleId, Part, PolicyName, Resource, User,
};

#[test]
fn device_and_module_ids_have_a_closed_alphabet() {
    // The regular expression of the C# service SDK.
    let legal = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:.+%_#*?!(),=@;$'";
    for character in (0..=0x7f_u8).map(char::from).chain(['é', '\u{202e}']) {
        let text = character.to_string();
        assert_eq!(
            DeviceId::parse(&text).is_ok(),
            legal.contains(character),
            "{character:?}"
        );
        assert_eq!(
            ModuleId::parse(&text).is_ok(),
            legal.contains(character),
            "{character:?}"
        );
    }
}

#[test]
fn an_id_has_1_to_128_bytes() {
    assert!(DeviceId::parse(&"x".repeat(128)).is_ok());
    let error = DeviceId::parse(&"x".repeat(129)).unwrap_err();
    assert_eq!(
        *error.kind(),
        ErrorKind::TooLong {
            part: Part::DeviceId,
            length: 129,
            limit: 128
        }
    );
    assert_eq!(
        *DeviceId::parse("").unwrap_err().kind(),
        ErrorKind::Empty(Part::DeviceId)
    );
}

#[test]
fn ids_compare_exactly_and_names_of_places_without_case() {
    assert_ne!(DeviceId::parse("a").unwrap(), DeviceId::parse("A").unwrap());
    assert_ne!(PolicyName::parse("a").unwrap(), PolicyName::parse("A").unwrap());
    assert_eq!(HubName::parse("MyHub").unwrap(), HubName::parse("myhub").unwrap());
    assert_eq!(
        EventHubName::parse("MyHub").unwrap(),
        EventHubName::parse("myhub").unwrap()
    );
    assert_eq!(
        HubHost::parse("H.example").unwrap(),
        HubHost::parse("h.EXAMPLE").unwrap()
    );
}

#[test]
fn an_error_tells_the_place_in_bytes() {
    let error = DeviceId::parse("caf\u{e9}").unwrap_err();
    assert_eq!(
        (error.span(), error.to_string().as_str()),
        (3..5, "'é' is not allowed in a device id (bytes 3..5)")
    );
    let error = Identity::parse("d/modules/a b").unwrap_err();
    assert_eq!(error.span(), 11..12);
    let error = User::parse("d/modules/a b@sas.hub").unwrap_err();
    assert_eq!(error.span(), 11..12);
    let error = User::parse("d@sas.hu_b c").unwrap_err();
    assert_eq!(error.span(), 10..11);
}

#[test]
fn hosts_are_names_or_full_addresses() {
    for name in [
        "a",
        "hub.azure-devices.net",
        "localhost",
        "a_b.c-d.e",
        "1.2.x",
        &format!("{}.x", "a".repeat(63)),
    ] {
        assert_eq!(HubHost::parse(name).unwrap().ip(), None, "{name}");
    }
    for (text, address) in [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[0:0::01]", "::1"),
    ] {
        let host = HubHost::parse(text).unwrap();
        assert_eq!(host.ip(), Some(address.parse::<IpAddr>().unwrap()));
        assert_eq!(host.as_str(), address);
    }
    for text in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "-a",
        "a-",
        "a b",
        "a/b",
        "a@b",
        "a:1",
        "10.1",
        "256.0.0.1",
        "1.2.3.4.5",
        "[a]",
        "[::1",
        "::1]",
        "[::1]x",
        "[fe80::1%eth0]",
        "é.example",
        &"a".repeat(64),
        &["a"; 128].join("."),
    ] {
        assert!(HubHost::parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_hub_is_the_first_label_of_its_host_and_localhost_for_a_loopback_address() {
    for (host, hub) in [
        ("myhub.azure-devices.net", Some("myhub")),
        ("localhost", Some("localhost")),
        ("127.0.0.1", Some("localhost")),
        ("::1", Some("localhost")),
        ("10.0.0.1", None),
    ] {
        let name = HubHost::parse(host).unwrap().hub_name();
        assert_eq!(name.as_ref().map(HubName::as_str), hub);
    }
}

#[test]
fn loopback_hosts_are_told() {
    for (host, loopback) in [
        ("localhost", true),
        ("a.LOCALHOST", true),
        ("127.1.2.3", true),
        ("[::1]", true),
        ("localhost.x", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(HubHost::parse(host).unwrap().is_loopback(), loopback, "{host}");
    }
}

#[test]
fn user_names_are_taken_apart_at_the_last_at_sign() {
    for (text, device, module, hub) in [
        ("d@sas.hub", "d", None, "hub"),
        ("a@b@sas.hub", "a@b", None, "hub"),
        ("x@sas.h:t@sas.hub", "x@sas.h:t", None, "hub"),
        ("d/modules/m@sas.hub", "d", Some("m"), "hub"),
        ("d@sas.localhost", "d", None, "localhost"),
        ("d@sas.root", "d", None, "root"),
    ] {
        let user = User::parse(text).unwrap();
        let identity = user.identity().unwrap();
        assert_eq!(identity.device().as_str(), device);
        assert_eq!(identity.module().map(ModuleId::as_str), module);
        assert_eq!(user.hub().as_str(), hub);
        assert_eq!(user.to_string(), text);
    }
    let user = User::parse("iothubowner@sas.root.hub").unwrap();
    assert_eq!(user.policy(), Some(&PolicyName::parse("iothubowner").unwrap()));
    assert_eq!(
        (user.identity(), user.to_string().as_str()),
        (None, "iothubowner@sas.root.hub")
    );
}

#[test]
fn what_is_no_user_name_is_refused() {
    for text in [
        "",
        "d",
        "d@hub",
        "@sas.hub",
        "d@sas.",
        "d@sas.root.",
        "d/m@sas.hub",
        "d/Modules/m@sas.hub",
        "d/modules/@sas.hub",
        "a/modules/b/c@sas.hub",
        "d@SAS.hub",
        "d#@sas.root.hub",
    ] {
        assert!(User::parse(text).is_err(), "{text}");
    }
    // "the full host name fails" at the real hub.
    assert_eq!(
        *User::parse("d@sas.hub.azure-devices.net").unwrap_err().kind(),
        ErrorKind::FullHostName
    );
}

#[test]
fn resources_are_raw_and_cover_whole_segments() {
    let host = HubHost::parse("h.example").unwrap();
    let device = Identity::parse("d%41").unwrap();
    let resource = Resource::identity(&host, &device);
    assert_eq!(resource.as_ref(), "h.example/devices/d%41");
    assert_eq!(Resource::hub(&host).as_ref(), "h.example");
    assert_eq!(
        Resource::event_hub(&host, &EventHubName::parse("e").unwrap()).as_ref(),
        "sb://h.example/e"
    );
    for (scope, within) in [
        ("h.example", true),
        ("H.Example", true),
        ("h.example/", true),
        ("h.example/devices", true),
        ("h.example/devices/d%41", true),
        ("h.example/devices/d%41/modules/m", false),
        ("h.example/devices/d", false),
        ("h.example/devices/D%41", false),
        ("h.exampl", false),
        ("", false),
        ("sb://h.example", false),
        ("amqps://h", false),
        ("a://", false),
    ] {
        assert_eq!(resource.is_within(scope), within, "{scope}");
    }
    let events = Resource::event_hub(&host, &EventHubName::parse("e").unwrap());
    for (scope, within) in [
        ("sb://h.example", true),
        ("SB://H.example/", true),
        ("sb://h.example/e", true),
        ("sb://h.example/E", false),
        ("h.example", false),
    ] {
        assert_eq!(events.is_within(scope), within, "{scope}");
    }
    let registration = Resource::registration(&"0ne00000000".parse().unwrap(), &"r".parse().unwrap());
    assert_eq!(registration.as_str(), "0ne00000000/registrations/r");
}
