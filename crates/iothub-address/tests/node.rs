//! Link addresses: every spelling the SDKs use, and back.

use iothub_address::{ErrorKind, Identity, Node};

/// How each client writes the address of each node; the first is how we print it.
const SPELLINGS: [&[&str]; 15] = [
    &[
        "/devices/d/messages/events",
        "devices/d/messages/events",
        "amqps://hub.azure-devices.net/devices/d/messages/events",
        "amqps://hub.azure-devices.net:5671/devices/d/messages/events",
        "AMQPS://localhost:1/Devices/d/Messages/Events",
        "amqp://[::1]:5672/devices/d/messages/events",
    ],
    &[
        "/devices/d/modules/m/messages/events",
        "devices/d/MODULES/m/messages/events",
    ],
    &[
        "/devices/d/messages/devicebound",
        "/devices/d/messages/deviceBound",
    ],
    &["/devices/d/modules/m/messages/devicebound"],
    &["/devices/d/methods/devicebound"],
    &["/devices/d/modules/m/methods/devicebound"],
    &["/devices/d/twin", "/devices/d/Twin"],
    &["/devices/d/modules/m/twin"],
    &[
        "/messages/devicebound",
        "amqps://h:5671/messages/deviceBound",
        "messages/devicebound",
    ],
    &[
        "/messages/serviceBound/feedback",
        "/messages/servicebound/feedback",
    ],
    &[
        "/messages/serviceBound/filenotifications",
        "/messages/servicebound/fileNotifications",
    ],
    &["/messages/events/ConsumerGroups/$Default/Partitions/0"],
    &["/messages/events/$management"],
    &["$cbs", "/$cbs"],
    &[
        "0ne00000000/registrations/reg-1",
        "/0ne00000000/registrations/reg-1",
        "amqps://global.azure-devices-provisioning.net/0ne00000000/registrations/reg-1",
    ],
];

#[test]
fn every_spelling_of_the_sdks_is_read_and_the_first_is_printed() {
    for spellings in SPELLINGS {
        let nodes: Vec<Node> = spellings
            .iter()
            .map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
            .collect();
        for node in &nodes {
            assert_eq!(*node, nodes[0]);
            assert_eq!(node.to_string(), spellings[0]);
        }
    }
}

#[test]
fn the_event_endpoint_has_its_own_nodes() {
    for text in ["myhub/ConsumerGroups/$Default/Partitions/3", "$management"] {
        assert_eq!(text.parse::<Node>().unwrap().to_string(), text);
    }
}

#[test]
fn ids_are_taken_raw() {
    let id = "A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p;q:r%41";
    let node: Node = format!("/devices/{id}/messages/events").parse().unwrap();
    assert_eq!(node, Node::Events(Identity::parse(id).unwrap()));
}

#[test]
fn readings_are_raw_then_decoded_once_then_twice() {
    let twins = |ids: &[&str]| {
        ids.iter()
            .map(|id| Node::Twin(Identity::parse(id).unwrap()))
            .collect::<Vec<_>>()
    };
    for (id, expected) in [
        ("d", &["d"][..]),
        ("a%23b", &["a%23b", "a#b"]),
        ("a%2523b", &["a%2523b", "a%23b", "a#b"]),
        ("100%", &["100%"]),
        // A space is in no id, raw or decoded.
        ("a%20b", &["a%20b"]),
        ("a%2520b", &["a%2520b", "a%20b"]),
        ("a+b", &["a+b"]),
        ("a%2Fb", &["a%2Fb"]),
    ] {
        assert_eq!(
            Node::readings(&format!("amqps://h/devices/{id}/twin")),
            twins(expected),
            "{id}"
        );
    }
    // Escapes that are illegal raw, as in a registration id, leave the decoded reading alone.
    assert_eq!(Node::readings("0ne00000000/registrations/a%3Ab").len(), 1);
    assert!(Node::readings("/devices/d/other").is_empty());
}

#[test]
fn other_paths_are_refused() {
    for text in [
        "",
        "/",
        "/devices",
        "/devices/d",
        "/devices/d/",
        "//devices/d/twin",
        "/devices//twin",
        "/devices/d/twin/",
        "/devices/d/twin/x",
        "/devices/a/b/twin",
        "/devices/d e/twin",
        "/messages",
        "/messages/events",
        "/messages/events/ConsumerGroups/$Default/Partitions/01",
        "https://h/devices/d/twin",
        "amqps:///devices/d/twin",
        "amqps://u@h/devices/d/twin",
        "devices%2Fd%2Ftwin",
        "devices/registrations/x",
        "/x/events/ConsumerGroups/g/Partitions/0",
        "/messages/x/ConsumerGroups/g/Partitions/0",
        "/messages/events/x/g/Partitions/0",
        "/messages/events/ConsumerGroups/g/x/0",
        "/messages/events/ConsumerGroups/g/Partitions/-1",
        "/messages/events/ConsumerGroups/g/Partitions/",
        "e/x/g/Partitions/0",
        "e/ConsumerGroups/g/x/0",
        "/messages/serviceBound/x",
        "/messages/x/feedback",
        "/x/serviceBound/feedback",
        "/messages/x/filenotifications",
        "/x/events/$management",
        "/messages/x/$management",
        "/x/d/twin",
        "/devices/d/x/m/twin",
        "/devices/d/modules/m/x",
        "/devices/d/x/events",
        "/devices/d/x/devicebound",
        "/devices/d/methods/x",
        "/x/devicebound",
        "0ne00000000/x/r",
    ] {
        assert!(text.parse::<Node>().is_err(), "{text}");
    }
    for (text, span) in [
        ("amqps://h/devices/d e/twin", 19..20),
        ("/devices/d e/twin", 10..11),
        ("devices/d e/twin", 9..10),
    ] {
        let error = text.parse::<Node>().unwrap_err();
        assert_eq!(error.span(), span, "{text}");
        assert!(matches!(error.kind(), ErrorKind::Character { found: ' ', .. }));
    }
}
