//! What errors, oddities and explanations say to people: the whole text of each, so that none is lost or swapped.
#![allow(clippy::unwrap_used, reason = "an address that is not read fails the test")]

use iothub_address::{
    AddressError, AmqpUrl, AmqpUrlRef, ConnectionString, DeviceId, ErrorKind, HubHost, Identity, Node,
    OddityKind, Part, Secret, User,
};

fn url(text: &str) -> AddressError {
    AmqpUrl::parse(text).unwrap_err()
}

fn connection_string(text: &str) -> AddressError {
    ConnectionString::parse(text).unwrap_err()
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let strict = AmqpUrl::parse_strict("amqps://d@sas.h:t@h/devices/d/twin").unwrap_err();
    let host = HubHost::parse("h").unwrap();
    let unwritable = ConnectionString::builder(host)
        .identity(Identity::parse("a;b").unwrap())
        .x509()
        .build()
        .unwrap_err();
    for (error, text) in [
        (DeviceId::parse("").unwrap_err(), "the device id is empty"),
        (
            DeviceId::parse(&"x".repeat(129)).unwrap_err(),
            "the device id has 129 bytes and may have 128 (bytes 0..129)",
        ),
        (
            DeviceId::parse("a b").unwrap_err(),
            "' ' is not allowed in a device id (byte 1)",
        ),
        (
            HubHost::parse("10.1").unwrap_err(),
            "this is not a host name (bytes 0..4)",
        ),
        (
            User::parse("d@sas.h.x").unwrap_err(),
            "the user name holds a full host name: write the hub's name alone, the part before the first dot (bytes 6..9)",
        ),
        (
            url("https://h/x"),
            "the address does not start with amqps:// or amqp:// (bytes 0..5)",
        ),
        (
            url("amqps://h/x\n"),
            "there is a control character in the address (byte 11)",
        ),
        (
            url("amqps://d@sas.h:t"),
            "no host name with a path or the end behind it (byte 17)",
        ),
        (
            url("amqps://dev:t@h/x"),
            "no user name before the host: it is DEVICE@sas.HUB, DEVICE/modules/MODULE@sas.HUB or POLICY@sas.root.HUB (bytes 8..11)",
        ),
        (
            url("amqps://h/x%zz"),
            "a percent escape of the path is broken or no UTF-8 (bytes 9..14)",
        ),
        (
            "x".parse::<Node>().unwrap_err(),
            "this is no link address of a hub (byte 0)",
        ),
        (
            connection_string("HostName=h;DeviceId"),
            "a part of the connection string has no '=' (bytes 11..19)",
        ),
        (
            connection_string("DeviceId=d;x509=true"),
            "HostName is missing: it says which hub is meant (byte 20)",
        ),
        (
            connection_string("HostName=h;DeviceId=d"),
            "the connection string has no credential: give SharedAccessKey, SharedAccessSignature or x509=true (byte 21)",
        ),
        (
            connection_string("HostName=h;HostName=h"),
            "HostName is given twice (bytes 11..19)",
        ),
        (
            connection_string("HostName=h;Device=d"),
            "the connection string has an unknown key, or a value with a ';' before it (bytes 11..17)",
        ),
        (
            connection_string("HostName=h;deviceid=d"),
            "the key is spelled DeviceId (bytes 11..19)",
        ),
        (
            connection_string("HostName=h;DeviceId=d;x509=true;SharedAccessKey=k"),
            "x509 cannot stand beside SharedAccessKey (bytes 22..26)",
        ),
        (
            connection_string("HostName=h;DeviceId=d;x509=no"),
            "the value of x509 is not one that it can have (bytes 27..29)",
        ),
        (
            unwritable,
            "the value of DeviceId holds a ';', which no connection string can hold: use an amqps:// address",
        ),
        (
            strict,
            "a reserved character of the user name is not escaped (byte 9)",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[cfg(feature = "url")]
#[test]
fn a_dot_segment_is_told_without_a_place() {
    let address = AmqpUrl::parse("amqps://..@sas.h:t@h/devices/../twin").unwrap();
    let error = url::Url::try_from(&address).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a URL of the url crate cannot hold an id of '.' or '..'"
    );
}

#[test]
fn an_ambiguity_says_all_readings_and_the_remedy() {
    let error = url("amqps://a%41@sas.h:t@h/devices/a%41/twin");
    assert_eq!(
        error.to_string(),
        "the address can be read in more than one way: \
         user name \"a%41@sas.h\" at bytes 8..18, host at bytes 21..22, ids of the path as written; or \
         user name \"aA@sas.h\" at bytes 8..18, host at bytes 21..22, ids of the path decoded once; \
         escape the user name and the ids of the path, such as '@' by %40, ':' by %3A and '%' by %25"
    );
    let ErrorKind::Ambiguous { readings } = error.kind() else {
        panic!("{error}")
    };
    let told: Vec<_> = readings
        .iter()
        .map(|reading| {
            (
                reading.user(),
                reading.user_escaped(),
                reading.password(),
                reading.host(),
                reading.path(),
                reading.path_escaped(),
            )
        })
        .collect();
    let of = |escaped, times| (Some(8..18), escaped, Some(19..20), 21..22, 22..40, times);
    assert_eq!(told, [of(false, 0), of(true, 1)]);

    // A user name that holds what another reading takes for the password is not shown; a path may be escaped twice.
    let error = url("amqps://x@sas.h:t@sas.hub:tok@h/x");
    assert!(
        error
            .to_string()
            .contains("; or a longer user name at bytes 8..25, host at bytes 30..31; escape"),
        "{error}"
    );
    let error = url("amqps://p@sas.root.h:t@h/devices/a%2541/twin");
    assert_eq!(
        error.to_string().matches("ids of the path decoded twice").count(),
        1,
        "{error}"
    );
}

#[test]
fn parts_have_names() {
    for (part, name) in [
        (Part::Scheme, "scheme"),
        (Part::User, "user name"),
        (Part::Password, "password"),
        (Part::Host, "host name"),
        (Part::Port, "port number"),
        (Part::Path, "path"),
        (Part::DeviceId, "device id"),
        (Part::ModuleId, "module id"),
        (Part::HubName, "hub name"),
        (Part::PolicyName, "policy name"),
        (Part::IdScope, "id scope"),
        (Part::RegistrationId, "registration id"),
        (Part::ConsumerGroup, "consumer group"),
        (Part::EventHubName, "event hub name"),
        (Part::Partition, "partition number"),
    ] {
        assert_eq!(part.to_string(), name);
    }
}

#[test]
fn oddities_have_a_word_for_programs_and_a_sentence_for_people() {
    use OddityKind::*;
    for (kind, code, text) in [
        (SchemeCase, "scheme-case", "the scheme is not in lower case"),
        (
            Unescaped(Part::Path),
            "unescaped",
            "a reserved character of the path is not escaped",
        ),
        (
            StrayPercent(Part::User),
            "stray-percent",
            "a '%' of the user name starts no escape and is not written %25",
        ),
        (
            NeedlessEscape(Part::User),
            "needless-escape",
            "a character of the user name is escaped without need",
        ),
        (
            LowerCaseEscape(Part::Password),
            "lower-case-escape",
            "an escape of the password has lower-case digits",
        ),
        (UnescapedToken, "unescaped-token", "the token is not escaped"),
        (
            PlusForSpace,
            "plus-for-space",
            "the token's space is written '+' and not %20",
        ),
        (
            EmptyPassword,
            "empty-password",
            "there is a ':' and no password behind it",
        ),
        (
            HostSpelling,
            "host-spelling",
            "the host is not in its canonical form",
        ),
        (EmptyPort, "empty-port", "there is a ':' and no port behind it"),
        (PortSpelling, "port-spelling", "the port has zeros in front"),
        (
            EscapedTwice,
            "escaped-twice",
            "the ids of the path are escaped twice",
        ),
        (
            PathSpelling,
            "path-spelling",
            "a literal of the path is in another case, or escaped",
        ),
        (
            ForeignNode,
            "foreign-node",
            "the path is not one of the device or module that the user name stands for",
        ),
    ] {
        assert_eq!((kind.code(), kind.to_string().as_str()), (code, text));
    }
}

#[test]
fn an_explanation_is_a_line_a_fact() {
    let text = "amqps://dev#1@sas.hub:tok@host/devices/dev#1/twin";
    let url = AmqpUrlRef::parse(text).unwrap();
    let explanation = url.explain().unwrap();
    assert_eq!(explanation.oddities(), url.oddities().unwrap());
    assert_eq!(
        explanation.to_string(),
        "scheme (bytes 0..5): amqps, port 5671 unless another is named\n\
         user name (bytes 8..21): dev#1@sas.hub\n\
         device id (bytes 8..13): dev#1\n\
         hub name (bytes 18..21): hub\n\
         password (bytes 22..25): 3 bytes, no SAS token, so that no hub takes it\n\
         host name (bytes 26..30): host\n\
         path (bytes 30..49): /devices/dev#1/twin, the twin\n\
         odd: a reserved character of the user name is not escaped (bytes 11..12)\n\
         odd: a reserved character of the path is not escaped (bytes 42..43)\n\
         WHATWG (browsers, Node, the url crate): no user name, no password, host name \"dev\", no path\n\
         Python's urlsplit: no user name, no password, host name \"dev\", no path\n\
         Qpid Proton up to 0.9: user name \"dev#1\", no password, host name \"sas.hub\", port number of bytes 22..30\n"
    );
}

#[test]
fn a_policy_a_token_and_a_foreign_path_are_explained() {
    let text = "amqp://p%40sas.root.hub:SharedAccessSignature%20sr@host/a%20b";
    let explanation = AmqpUrlRef::parse(text).unwrap().explain().unwrap();
    let told: Vec<_> = explanation
        .parts()
        .iter()
        .map(|part| (part.part(), &text[part.span()], part.meaning()))
        .collect();
    assert_eq!(
        told,
        [
            (Part::Scheme, "amqp", "amqp, port 5672 unless another is named"),
            (Part::User, "p%40sas.root.hub", "p@sas.root.hub"),
            (Part::PolicyName, "p", "p"),
            (Part::HubName, "hub", "hub"),
            (
                Part::Password,
                "SharedAccessSignature%20sr",
                "24 bytes, a SAS token"
            ),
            (Part::Host, "host", "host"),
            (Part::Path, "/a%20b", "/a b, no link address of a hub"),
        ]
    );
    assert!(!explanation.others().is_empty());
}

#[test]
fn each_node_is_explained_by_its_purpose() {
    for (path, purpose) in [
        ("/devices/d/messages/events", "telemetry"),
        ("/devices/d/messages/devicebound", "cloud-to-device messages"),
        ("/devices/d/methods/devicebound", "direct methods"),
        ("/devices/d/twin", "the twin"),
        ("/messages/devicebound", "cloud-to-device messages of a service"),
        (
            "/messages/serviceBound/feedback",
            "feedback on cloud-to-device messages",
        ),
        (
            "/messages/serviceBound/filenotifications",
            "news of uploaded files",
        ),
        (
            "/messages/events/ConsumerGroups/$Default/Partitions/0",
            "events, redirected to the event endpoint",
        ),
        (
            "/messages/events/$management",
            "events, redirected to the event endpoint",
        ),
        ("/e/ConsumerGroups/$Default/Partitions/0", "events of a partition"),
        ("/$cbs", "claims-based security"),
        ("/$management", "management of the event endpoint"),
        (
            "/0ne00000000/registrations/r",
            "registration at a provisioning service",
        ),
    ] {
        let text = format!("amqps://h{path}");
        let explanation = AmqpUrlRef::parse(&text).unwrap().explain().unwrap();
        let last = explanation.parts().last().unwrap();
        let (_, told) = last.meaning().split_once(", ").unwrap();
        assert_eq!(told, purpose, "{path}");
    }
}

/// A debugger's view names the type, and of what is no secret the text.
#[test]
fn debug_names_the_type() {
    let host = HubHost::parse("h.x").unwrap();
    let device = Identity::parse("d").unwrap();
    let text = "amqps://d@sas.h:c4n4ry@h/x";
    for (debugged, expected) in [
        (format!("{host:?}"), "HubHost(\"h.x\")".to_owned()),
        (format!("{:?}", device.device()), "DeviceId(\"d\")".to_owned()),
        (
            format!("{:?}", iothub_address::Resource::hub(&host)),
            "Resource(\"h.x\")".to_owned(),
        ),
        (
            format!("{:?}", AmqpUrlRef::parse(text).unwrap()),
            "AmqpUrlRef(\"amqps://d@sas.h:***@h/x\")".to_owned(),
        ),
        (
            format!("{:?}", AmqpUrlRef::parse("amqps://d@sas.h@h/x").unwrap()),
            "AmqpUrlRef(\"amqps://d@sas.h@h/x\")".to_owned(),
        ),
        (
            format!(
                "{:?}",
                ConnectionString::parse("HostName=h;DeviceId=d;x509=true").unwrap()
            ),
            "ConnectionString(\"HostName=h;DeviceId=d;x509=true\")".to_owned(),
        ),
        (format!("{:?}", Secret::from("c4n4ry")), "Secret(***)".to_owned()),
    ] {
        assert_eq!(debugged, expected);
    }
}
