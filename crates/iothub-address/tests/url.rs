//! The double-"@" URL: each spelling that is read, the one that is printed, and what is refused.

use iothub_address::{
    AddressError, AmqpUrl, AmqpUrlRef, DeviceId, ErrorKind, HubHost, HubName, Identity, Node, PolicyName,
    Scheme, Secret, User,
};

fn parse(rest: &str) -> AmqpUrl {
    let text = format!("amqps://{rest}");
    AmqpUrl::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(rest: &str) -> AddressError {
    let text = format!("amqps://{rest}");
    match AmqpUrl::parse(&text) {
        Ok(url) => panic!("{text} was read as {url}"),
        Err(error) => error,
    }
}

/// User name, password, host, port, path.
fn parts(url: &AmqpUrl) -> (String, Option<String>, String, Option<u16>, String) {
    (
        url.user().map(ToString::to_string).unwrap_or_default(),
        url.password().map(|password| password.expose().to_owned()),
        url.host().as_str().to_owned(),
        url.port(),
        url.path().into_owned(),
    )
}

/// The inputs that general URL parsers misread, as people write them.
const MISREAD_BY_OTHERS: [(&str, &str, Option<&str>); 7] = [
    ("dev@sas.hub:tok%2Fen@host", "dev@sas.hub", Some("tok/en")),
    ("dev%40sas.hub:tok@host", "dev@sas.hub", Some("tok")),
    ("dev@sas.hub:to/k@host", "dev@sas.hub", Some("to/k")),
    ("dev#1@sas.hub:tok@host", "dev#1@sas.hub", Some("tok")),
    ("dev:1@sas.hub:tok@host", "dev:1@sas.hub", Some("tok")),
    ("a@b@sas.hub:tok@host", "a@b@sas.hub", Some("tok")),
    ("host:", "", None),
];

#[test]
fn what_other_parsers_misread_is_read_as_it_was_meant() {
    for path in [
        "/x",
        "/devices/dev/messages/events",
        "/devices/a@b/twin",
        "/devices/dev:1/messages/events",
    ] {
        for (authority, user, password) in MISREAD_BY_OTHERS {
            let url = parse(&format!("{authority}{path}"));
            let expected = (
                user.to_owned(),
                password.map(str::to_owned),
                "host".to_owned(),
                None,
                path.to_owned(),
            );
            assert_eq!(parts(&url), expected, "{authority}{path}");
        }
    }
}

#[test]
fn the_address_of_the_2016_post_is_read_with_its_python_quoted_token() {
    // The post quotes the token with Python 2's `urllib.quote`, which leaves '/' as it is.
    let url = parse(
        "myFirstDevice@sas.tcontehub:SharedAccessSignature%20sr%3Dtcontehub.azure-devices.net%252fdevices\
         %252fmyFirstDevice%26sig%3DssIiT5qwcXlnCU/fg2tIn7w9FphiV/49/Kdwcjmb/pg%253D%26se%3D1463330495\
         @tcontehub.azure-devices.net/devices/myFirstDevice/messages/events",
    );
    let device = Identity::parse("myFirstDevice").unwrap();
    assert_eq!(url.node(), Some(&Node::Events(device)));
    assert_eq!(url.hub(), Some(&HubName::parse("tcontehub").unwrap()));
    assert_eq!(
        url.password().unwrap().expose(),
        "SharedAccessSignature sr=tcontehub.azure-devices.net%2fdevices%2fmyFirstDevice&\
         sig=ssIiT5qwcXlnCU/fg2tIn7w9FphiV/49/Kdwcjmb/pg%3D&se=1463330495"
    );
}

#[test]
fn a_token_is_read_escaped_or_not_at_all() {
    let token = "SharedAccessSignature sr=hub.example%2Fdevices%2Fd&sig=a%2Fb%2Bc%3D&se=1700000000";
    let escaped = "SharedAccessSignature%20sr%3Dhub.example%252Fdevices%252Fd%26sig%3Da%252Fb%252Bc%253D%26se%3D1700000000";
    let form = "SharedAccessSignature+sr%3Dhub.example%252Fdevices%252Fd%26sig%3Da%252Fb%252Bc%253D%26se%3D1700000000";
    for spelling in [token, escaped, form] {
        let url = parse(&format!("d@sas.hub:{spelling}@hub.example/devices/d/twin"));
        assert_eq!(url.password().unwrap().expose(), token);
    }
}

#[test]
fn ports_schemes_and_hosts_of_every_kind_are_read() {
    for (authority, host, port) in [
        ("host", "host", None),
        ("host:", "host", None),
        ("host:443", "host", Some(443)),
        ("127.0.0.1:5671", "127.0.0.1", Some(5671)),
        ("[::1]", "::1", None),
        ("[::1]:5671", "::1", Some(5671)),
        ("localhost:1", "localhost", Some(1)),
    ] {
        let url = parse(&format!("d@sas.hub:t@{authority}/devices/d/twin"));
        assert_eq!((url.host().as_str(), url.port()), (host, port));
    }
    for (scheme, expected) in [("AMQPS", Scheme::Amqps), ("Amqp", Scheme::Amqp)] {
        let url = AmqpUrl::parse(&format!("{scheme}://d@sas.hub:t@host/devices/d/twin")).unwrap();
        assert_eq!(url.scheme(), expected);
    }
}

#[test]
fn module_and_policy_users_are_read() {
    let url = parse("d/modules/m@sas.hub:t/t@host/devices/d/modules/m/messages/events");
    let module = Identity::parse("d/modules/m").unwrap();
    assert_eq!(url.identity(), Some(&module));
    assert_eq!(url.node(), Some(&Node::Events(module)));
    let url = parse("service@sas.root.hub:t@host/messages/devicebound");
    assert_eq!(
        url.user().unwrap().policy(),
        Some(&PolicyName::parse("service").unwrap())
    );
    assert_eq!(url.node(), Some(&Node::ServiceCommands));
}

#[test]
fn the_canonical_form_escapes_all_but_unreserved_characters() {
    let identity = Identity::Device(DeviceId::parse("A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p").unwrap());
    let host = HubHost::parse("myhub.azure-devices.net").unwrap();
    let user = User::for_identity(identity.clone(), host.hub_name().unwrap());
    let url = AmqpUrl::new(host, Node::Events(identity))
        .with_credentials(user, Secret::new("SharedAccessSignature sr=a%2Fb&sig=c/d+e="))
        .with_port(5671);
    let id = "A-1.b%2Bc%25d_e%23f%2Ag%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p";
    assert_eq!(
        url.expose(),
        format!(
            "amqps://{id}%40sas.myhub:SharedAccessSignature%20sr%3Da%252Fb%26sig%3Dc%2Fd%2Be%3D\
             @myhub.azure-devices.net:5671/devices/{id}/messages/events"
        )
    );
    assert_eq!(parts(&AmqpUrl::parse(&url.expose()).unwrap()), parts(&url));
}

#[test]
fn a_user_name_that_ends_in_two_places_is_an_error_with_both_readings() {
    let text = "amqps://x@sas.h:t@sas.hub:tok@host/x";
    let found = AmqpUrl::parse(text).unwrap_err();
    let ErrorKind::Ambiguous { readings } = found.kind() else {
        panic!("{found}")
    };
    let users: Vec<_> = readings
        .iter()
        .map(|reading| &text[reading.user().unwrap()])
        .collect();
    assert_eq!(users, ["x@sas.h", "x@sas.h:t@sas.hub"]);
    let passwords: Vec<_> = readings
        .iter()
        .map(|reading| &text[reading.password().unwrap()])
        .collect();
    assert_eq!(passwords, ["t@sas.hub:tok", "tok"]);
    // What one reading takes for a password is not shown by another.
    assert!(!found.to_string().contains("t@sas.hub"), "{found}");
    // Escaped, each has one meaning.
    assert_eq!(parts(&parse("x%40sas.h:t%40sas.hub%3Atok@host/x")).0, "x@sas.h");
    assert_eq!(
        parts(&parse("x%40sas.h%3At%40sas.hub:tok@host/x")).0,
        "x@sas.h:t@sas.hub"
    );
}

#[test]
fn a_raw_id_with_an_escape_in_it_is_an_error_with_both_readings() {
    let found = error("a%41@sas.hub:tok@host/devices/a%41/twin");
    let ErrorKind::Ambiguous { readings } = found.kind() else {
        panic!("{found}")
    };
    assert_eq!(
        readings
            .iter()
            .map(|reading| reading.user_escaped())
            .collect::<Vec<_>>(),
        [false, true]
    );
    // No escape, or one that decodes to what no id can hold: one reading.
    for id in ["a%4", "a%", "a%zz", "a%20"] {
        let url = parse(&format!("{id}@sas.hub:tok@host/devices/{id}/twin"));
        assert_eq!(url.node(), Some(&Node::Twin(Identity::parse(id).unwrap())));
    }
}

#[test]
fn the_path_is_decoded_as_the_user_name_tells() {
    let device = Node::Twin(Identity::parse("a#b").unwrap());
    for rest in [
        "a#b@sas.hub:tok@host/devices/a#b/twin",
        "a#b@sas.hub:tok@host/devices/a%23b/twin",
        "a#b@sas.hub:tok@host/devices/a%2523b/twin",
        "a%23b%40sas.hub:tok@host/devices/a%23b/twin",
        "a%23b%40sas.hub:tok@host/devices/a#b/twin",
        "host/devices/a%23b/twin",
    ] {
        assert_eq!(parse(rest).node(), Some(&device), "{rest}");
    }
    let found = error("p@sas.root.hub:tok@host/devices/a%41/twin");
    assert!(matches!(found.kind(), ErrorKind::Ambiguous { .. }), "{found}");
}

#[test]
fn what_is_no_address_is_refused_with_the_reason_and_the_place() {
    for (text, kind, span) in [
        ("", ErrorKind::Scheme, 0..0),
        ("https://dev@sas.hub:tok@host/x", ErrorKind::Scheme, 0..5),
        (
            "amqps://dev@sas.hub:tok@host/x\n",
            ErrorKind::ControlCharacter,
            30..31,
        ),
        (
            "amqps://dev@sas.hub:tok@host/x\r\n",
            ErrorKind::ControlCharacter,
            30..31,
        ),
        ("amqps://dev@sas.hub:tok", ErrorKind::NoHost, 23..23),
        ("amqps://dev@sas.hub:tok@host:", ErrorKind::NoHost, 29..29),
        ("amqps://dev:tok@host/x", ErrorKind::NoUser, 8..11),
        ("amqps://d e@sas.h:tok@host/x", ErrorKind::NoUser, 8..17),
        (
            "amqps://dev@sas.hub.azure-devices.net:tok@host/x",
            ErrorKind::FullHostName,
            16..37,
        ),
    ] {
        let error = AmqpUrl::parse(text).unwrap_err();
        assert_eq!((error.kind(), error.span()), (&kind, span), "{text}");
    }
}

#[test]
fn neither_display_nor_debug_tells_the_password() {
    let url = parse("dev@sas.hub:c4n4ry@host/x");
    assert_eq!(url.to_string(), "amqps://dev%40sas.hub:***@host/x");
    assert_eq!(
        format!("{url:?}"),
        "AmqpUrl(\"amqps://dev%40sas.hub:***@host/x\")"
    );
    assert_eq!(format!("{:?}", url.password()), "Some(Secret(***))");
}

/// Found by the fuzzer: with the user name escaped, the one colon ends it, whatever the password ends like.
#[test]
fn a_password_that_ends_like_a_user_name_is_a_password_in_the_canonical_form() {
    let identity = Identity::Device(DeviceId::parse("dev").unwrap());
    let user = User::for_identity(identity.clone(), HubName::parse("hub").unwrap());
    for password in [
        "t@sas.hub",
        "SharedAccessSignature sr=h&sig=s&se=1&skn=policy@sas.hub",
        "a:b@sas.root.hub",
    ] {
        let url = AmqpUrl::new(
            HubHost::parse("localhost").unwrap(),
            Node::Events(identity.clone()),
        )
        .with_credentials(user.clone(), Secret::new(password));
        let again = AmqpUrl::parse(&url.expose()).unwrap();
        assert_eq!(again.user(), Some(&user));
        assert_eq!(again.password().map(Secret::expose), Some(password));
    }
}

/// The path has the form of a node, so it is meant for one: what is wrong is its name, and where.
#[test]
fn a_node_with_a_name_that_none_has_is_told_by_the_name_and_its_place() {
    for (text, span) in [
        ("amqps://h/devices/a b/twin", 19..20),
        ("amqps://h/devices/d/modules/a b/twin", 29..30),
        ("amqps://d@sas.h:t@h/devices/a b/twin", 29..30),
        (
            "amqps://h/messages/events/ConsumerGroups/a b/Partitions/0",
            42..43,
        ),
        ("amqps://h/a b/ConsumerGroups/g/Partitions/0", 11..12),
        ("amqps://h/e/ConsumerGroups/a b/Partitions/0", 28..29),
        ("amqps://h/0ne00000000/registrations/a b", 37..38),
        ("amqps://h/0ne00 00000/registrations/r", 15..16),
    ] {
        for error in [
            AmqpUrl::parse(text).unwrap_err(),
            AmqpUrlRef::parse(text).unwrap_err(),
        ] {
            assert!(
                matches!(error.kind(), ErrorKind::Character { found: ' ', .. }),
                "{text}: {error}"
            );
            assert_eq!(error.span(), span, "{text}");
        }
    }
}

/// How often the names of a path were escaped is told by what is legal, and by whose they are.
#[test]
fn the_names_of_each_node_are_decoded_as_often_as_they_were_escaped() {
    for (text, node) in [
        (
            "amqps://p@sas.root.h:t@h/messages/events/ConsumerGroups/%24Default/Partitions/0",
            "/messages/events/ConsumerGroups/$Default/Partitions/0",
        ),
        (
            "amqps://p@sas.root.h:t@h/e/ConsumerGroups/%2524Default/Partitions/1",
            "e/ConsumerGroups/$Default/Partitions/1",
        ),
        (
            "amqps://h/e/ConsumerGroups/%24Default/Partitions/1",
            "e/ConsumerGroups/$Default/Partitions/1",
        ),
        (
            "amqps://p@sas.root.h:t@h/0ne00000000/registrations/a%3Ab",
            "0ne00000000/registrations/a:b",
        ),
        (
            "amqps://d/modules/a#b@sas.h:t@h/devices/d/modules/a%23b/twin",
            "/devices/d/modules/a#b/twin",
        ),
        (
            "amqps://p@sas.root.h:t@h/devices/a%20b/twin",
            "/devices/a%20b/twin",
        ),
        (
            "amqps://d%2Fmodules%2Fa%2520b%40sas.h:t@h/devices/d/modules/a%20b/twin",
            "/devices/d/modules/a%20b/twin",
        ),
    ] {
        let url = AmqpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            url.node().map(ToString::to_string).as_deref(),
            Some(node),
            "{text}"
        );
    }
}

/// Each way to read it is given once, and no other.
#[test]
fn an_ambiguity_has_as_many_readings_as_there_are() {
    for (text, readings) in [
        // A user name that is raw and a password, or one that is escaped.
        ("amqps://a@sas.h:t%40sas.hub@host/x", 2),
        // Raw and decoded once; decoded twice it is no id.
        ("amqps://p@sas.root.h:t@h/devices/a%2520b/twin", 2),
        ("amqps://p@sas.root.h:t@h/devices/a%2541b/twin", 3),
        // Services' nodes are closed to a device, so that the longer path is as good.
        ("amqps://d@sas.h:t@host/x@h2/messages/devicebound", 2),
    ] {
        let error = AmqpUrl::parse(text).unwrap_err();
        let ErrorKind::Ambiguous { readings: found } = error.kind() else {
            panic!("{text}: {error}")
        };
        assert_eq!(found.len(), readings, "{text}: {error}");
    }
    let url = parse("p@sas.root.h:t@host/x@h2/messages/devicebound");
    assert_eq!(
        (url.host().as_str(), url.node()),
        ("h2", Some(&Node::ServiceCommands))
    );
}

/// Of a module: each of its bytes as it is, or each escaped.
#[test]
fn the_longest_user_name_is_read_in_either_spelling() {
    let (id, hub) = ("i".repeat(128), "h".repeat(63));
    let raw = format!("{id}/modules/{id}@sas.{hub}");
    let escaped: String = raw.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for user in [&raw, &escaped] {
        for password in ["", ":t"] {
            let url = parse(&format!("{user}{password}@host/x"));
            assert_eq!(url.user().map(ToString::to_string), Some(raw.clone()));
            assert_eq!(url.password().is_some(), !password.is_empty());
        }
        assert_eq!(*error(&format!("i{user}:t@host/x")).kind(), ErrorKind::NoUser);
    }
}
