//! Names, hosts, resources and what is read from a text, as values that programs keep, print, sort and look up.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use iothub_address::{
    AmqpUrl, AmqpUrlRef, ConnectionString, ConsumerGroup, DeviceId, ErrorKind, EventHubName, HubHost,
    HubName, IdScope, Identity, ModuleId, Node, Part, PolicyName, RegistrationId, Resource, Scheme, Secret,
    User,
};

/// Each name gives its text, in all the ways that there are, and prints into a column.
macro_rules! is_its_text {
    ($($name:ident: $text:literal),*) => {$(
        let name: $name = $text.parse().unwrap();
        assert_eq!((name.as_str(), name.as_ref() as &str, name.to_string().as_str()), ($text, $text, $text));
        assert_eq!(format!("{name:>20}"), format!("{:>20}", $text));
        assert_eq!(name, $name::parse($text).unwrap());
        assert!("a b".parse::<$name>().is_err());
    )*};
}

#[test]
fn a_name_is_its_text() {
    is_its_text!(
        DeviceId: "d#1",
        ModuleId: "m",
        PolicyName: "iothubowner",
        HubName: "my-hub",
        RegistrationId: "r:1",
        ConsumerGroup: "$Default",
        EventHubName: "e.h",
        IdScope: "0ne00000000",
        HubHost: "h.example"
    );
    assert_eq!(DeviceId::try_from("d".to_owned()).unwrap().as_str(), "d");
    assert!(DeviceId::try_from("a b".to_owned()).is_err());
    let resource = Resource::hub(&"h.example".parse().unwrap());
    assert_eq!((resource.as_str(), resource.as_ref()), ("h.example", "h.example"));
    assert_eq!(format!("{resource:>12}"), "   h.example");
    assert_eq!(format!("{:>8}", Scheme::Amqps), "   amqps");
}

#[test]
fn ids_sort_and_are_found_by_their_bytes_and_names_of_places_without_case() {
    let ids: BTreeSet<DeviceId> = ["b", "B", "a"].map(|text| text.parse().unwrap()).into();
    assert_eq!(
        ids.iter().map(DeviceId::as_str).collect::<Vec<_>>(),
        ["B", "a", "b"]
    );
    let known: HashMap<DeviceId, u8> = HashMap::from([("d".parse().unwrap(), 1)]);
    // By the text alone: `Borrow<str>`.
    assert_eq!((known.get("d"), known.get("D")), (Some(&1), None));

    let hubs: BTreeSet<HubName> = ["b", "A"].map(|text| text.parse().unwrap()).into();
    assert_eq!(hubs.iter().map(HubName::as_str).collect::<Vec<_>>(), ["A", "b"]);
    let known: HashSet<HubHost> = HashSet::from(["H.example".parse().unwrap()]);
    assert!(known.contains(&"h.EXAMPLE".parse::<HubHost>().unwrap()));
    assert!(!known.contains(&"h.exampl".parse::<HubHost>().unwrap()));
    // Two names behind one another are not the same two cut elsewhere.
    let hash = |one: &str, other: &str| {
        let mut hasher = DefaultHasher::new();
        (one.parse::<HubName>().unwrap(), other.parse::<HubName>().unwrap()).hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash("Ab", "c"), hash("aB", "C"));
    assert_ne!(hash("ab", "c"), hash("a", "bc"));
    assert_ne!(hash("ab", "c"), hash("ac", "b"));
}

#[test]
fn limits_are_where_they_are_said_to_be() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(HubHost::parse(&longest).is_ok());
    assert!(HubHost::parse(&format!("{longest}a")).is_err());
    assert!(IdScope::parse("0abcd").is_ok());
    for wrong in ["0abc", "1abcd", "0abc-", &format!("0{}", "a".repeat(32))] {
        assert!(IdScope::parse(wrong).is_err(), "{wrong}");
    }
    assert!(IdScope::parse(&format!("0{}", "a".repeat(31))).is_ok());
    // An address in brackets ends there, or has a port behind it.
    assert!("amqps://[::1]:1/devices/d/twin".parse::<Node>().is_ok());
    for wrong in ["[::1]x", "[::1]1", "[::1", "h:1x", "h:+1", "h:65536"] {
        assert!(
            format!("amqps://{wrong}/devices/d/twin").parse::<Node>().is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_connection_string_tells_all_that_it_holds() {
    let all = "HostName=h.example:1;DeviceId=d;ModuleId=m;SharedAccessKeyName=p;SharedAccessKey=k;GatewayHostName=gw:2";
    let string: ConnectionString = all.parse().unwrap();
    assert_eq!((string.host().as_str(), string.port()), ("h.example", Some(1)));
    assert_eq!(string.gateway().map(HubHost::as_str), Some("gw"));
    assert_eq!(string.gateway_port(), Some(2));
    assert_eq!(string.identity().unwrap().to_string(), "d/modules/m");
    assert_eq!(string.policy().map(PolicyName::as_str), Some("p"));
    assert_eq!(string.key().unwrap().expose(), "k");
    assert!(string.signature().is_none() && !string.x509() && string.entity_path().is_none());

    let string: ConnectionString = "HostName=h;DeviceId=d;SharedAccessSignature=s".parse().unwrap();
    assert_eq!(string.signature().unwrap().expose(), "s");
    assert!(string.key().is_none() && string.gateway().is_none() && string.gateway_port().is_none());
    assert_eq!((string.port(), string.policy()), (None, None));

    let string: ConnectionString = "HostName=h;DeviceId=d;x509=true".parse().unwrap();
    assert!(string.x509() && string.key().is_none() && string.signature().is_none());

    let events = "Endpoint=sb://h/;SharedAccessKeyName=p;SharedAccessKey=k;EntityPath=e";
    let string: ConnectionString = events.parse().unwrap();
    assert_eq!(string.entity_path().map(EventHubName::as_str), Some("e"));
    assert!(string.identity().is_none());
}

#[test]
fn a_borrowed_address_tells_all_that_it_holds() {
    let text = "amqp://d%23%2Fmodules%2Fm%40sas.hub:t%2Fk@[::1]:443/devices/d%23/modules/m/twin";
    let url = AmqpUrlRef::parse(text).unwrap();
    let told =
        |piece: iothub_address::Piece<'_>| (piece.as_written().to_owned(), piece.decoded().into_owned());
    let pair = |written: &str, decoded: &str| (written.to_owned(), decoded.to_owned());
    assert_eq!(url.scheme(), Scheme::Amqp);
    assert_eq!(
        url.user().map(told),
        Some(pair("d%23%2Fmodules%2Fm%40sas.hub", "d#/modules/m@sas.hub"))
    );
    assert_eq!(url.device().map(told), Some(pair("d%23", "d#")));
    assert_eq!(url.module().map(told), Some(pair("m", "m")));
    assert_eq!(url.hub().map(told), Some(pair("hub", "hub")));
    assert_eq!(url.policy(), None);
    assert_eq!(url.expose_password(), Some("t%2Fk"));
    assert_eq!((url.host(), url.port()), ("[::1]", Some(443)));
    assert_eq!(
        told(url.path()),
        pair("/devices/d%23/modules/m/twin", "/devices/d#/modules/m/twin")
    );
    assert_eq!(format!("{:>6}", url.device().unwrap()), "    d#");
    assert_eq!(&text[url.hub().unwrap().span()], "hub");

    let url = AmqpUrlRef::parse("amqps://p@sas.root.hub:@h/messages/devicebound").unwrap();
    assert_eq!(url.policy().map(told), Some(pair("p", "p")));
    assert!(url.device().is_none() && url.module().is_none());
    assert_eq!((url.expose_password(), url.port()), (None, None));
    let url = AmqpUrlRef::parse("amqps://h").unwrap();
    assert!(url.user().is_none() && url.hub().is_none() && url.path().as_written().is_empty());
    // A raw user name and a path that is escaped twice.
    let url = AmqpUrlRef::parse("amqps://a#b@sas.hub:t@h/devices/a%2523b/twin").unwrap();
    assert_eq!(url.device().map(told), Some(pair("a#b", "a#b")));
    assert_eq!(told(url.path()).1, "/devices/a#b/twin");
}

#[test]
fn an_identity_and_a_user_name_tell_their_parts() {
    let module: Identity = "d/modules/m".parse().unwrap();
    assert_eq!(module.device().as_str(), "d");
    assert_eq!(module.module().map(ModuleId::as_str), Some("m"));
    let device = Identity::from("d".parse::<DeviceId>().unwrap());
    assert_eq!((device.module(), device.to_string().as_str()), (None, "d"));
    assert_eq!(format!("{device:>4}"), "   d");
    let user: User = "p@sas.root.hub".parse().unwrap();
    assert_eq!(
        user,
        User::for_policy("p".parse().unwrap(), "HUB".parse().unwrap())
    );
    assert_eq!(user.policy().map(PolicyName::as_str), Some("p"));
    assert!(user.identity().is_none());
    let user = User::for_identity(module.clone(), "hub".parse().unwrap());
    assert_eq!((user.identity(), user.policy()), (Some(&module), None));
}

#[test]
fn an_empty_token_is_none() {
    assert!(Secret::new("").is_empty() && !Secret::new("t").is_empty());
    let device: Identity = "d".parse().unwrap();
    let user = User::for_identity(device.clone(), "h".parse().unwrap());
    let url = AmqpUrl::new("h".parse().unwrap(), Node::Twin(device));
    for (token, text) in [
        ("", "amqps://d%40sas.h@h/devices/d/twin"),
        ("t", "amqps://d%40sas.h:t@h/devices/d/twin"),
    ] {
        let url = url.clone().with_credentials(user.clone(), Secret::new(token));
        assert_eq!(url.expose(), text);
        assert_eq!(url.password().is_none(), token.is_empty());
    }
}

#[test]
fn a_password_is_read_as_its_beginning_says() {
    for (written, read) in [
        ("", None),
        // As long as a token's first word, and none: a '+' is a '+'.
        ("xxxxxxxxxxxxxxxxxxxxx+%41", Some("xxxxxxxxxxxxxxxxxxxxx+A")),
        ("SharedAccessSignature+sr%3Dx", Some("SharedAccessSignature sr=x")),
        // No raw '=': the space is the only thing that is not escaped.
        ("SharedAccessSignature sr%3Dx", Some("SharedAccessSignature sr=x")),
        (
            "SharedAccessSignature sr=x%3D",
            Some("SharedAccessSignature sr=x%3D"),
        ),
    ] {
        let text = format!("amqps://d%40sas.h:{written}@h/devices/d/twin");
        let url = AmqpUrl::parse(&text).unwrap();
        assert_eq!(url.password().map(Secret::expose), read, "{written}");
    }
}

#[test]
fn a_path_of_no_node_has_no_dot_segment_however_written() {
    for path in ["/a/./b", "/a/../b", "/a/%2e/b", "/%2E%2e"] {
        let error = AmqpUrl::parse(&format!("amqps://h{path}")).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Malformed(Part::Path), "{path}");
    }
    assert!(AmqpUrl::parse("amqps://h/a/.../b").is_ok());
}
