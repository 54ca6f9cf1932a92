//! What the tolerant reading tells of, and the strict one refuses.
#![allow(clippy::unwrap_used, reason = "an address that is not read fails the test")]

use iothub_address::{AmqpUrl, AmqpUrlRef, ErrorKind, OddityKind, Part};

/// The kinds, and the text at each place.
fn oddities(text: &str) -> Vec<(OddityKind, &str)> {
    let found = AmqpUrlRef::parse(text).unwrap().oddities().unwrap();
    found
        .into_iter()
        .map(|oddity| (oddity.kind(), &text[oddity.span()]))
        .collect()
}

#[test]
fn the_canonical_form_has_none_and_is_read_strictly() {
    let text = "amqps://dev%231%40sas.hub:t%2Fk@[2001:db8::1]:443/devices/dev%231/messages/events";
    assert_eq!(oddities(text), []);
    assert_eq!(AmqpUrl::parse_strict(text).unwrap().expose(), text);
}

#[test]
fn each_oddity_is_told_with_its_place() {
    use OddityKind::*;
    for (text, expected) in [
        (
            "AMQPS://d%40sas.h:t@h/devices/d/twin",
            vec![(SchemeCase, "AMQPS")],
        ),
        (
            "amqps://d@sas.h:t@h/devices/d/twin",
            vec![(Unescaped(Part::User), "@")],
        ),
        (
            "amqps://d%zz%40sas.h:t@h/devices/d%25zz/twin",
            vec![(StrayPercent(Part::User), "%")],
        ),
        (
            "amqps://%64%40sas.h:t@h/devices/d/twin",
            vec![(NeedlessEscape(Part::User), "%64")],
        ),
        (
            "amqps://d%3a%40sas.h:t@h/devices/d%3a/twin",
            vec![
                (LowerCaseEscape(Part::User), "%3a"),
                (LowerCaseEscape(Part::Path), "%3a"),
            ],
        ),
        (
            "amqps://d%40sas.h:t/k@h/devices/d/twin",
            vec![(Unescaped(Part::Password), "/")],
        ),
        (
            "amqps://d%40sas.h:SharedAccessSignature sr=x@h/devices/d/twin",
            vec![(UnescapedToken, "SharedAccessSignature sr=x")],
        ),
        (
            "amqps://d%40sas.h:SharedAccessSignature+sr%3Dx@h/devices/d/twin",
            vec![(PlusForSpace, "+")],
        ),
        ("amqps://d%40sas.h:@h/devices/d/twin", vec![(EmptyPassword, "")]),
        (
            "amqps://d%40sas.h:t@[::0:1]/devices/d/twin",
            vec![(HostSpelling, "[::0:1]")],
        ),
        ("amqps://d%40sas.h:t@h:/devices/d/twin", vec![(EmptyPort, ":")]),
        (
            "amqps://d%40sas.h:t@h:0443/devices/d/twin",
            vec![(PortSpelling, "0443")],
        ),
        ("amqps://d%40sas.h:t@h:0/devices/d/twin", vec![]),
        (
            "amqps://a%20@sas.h:t@h/devices/a%20/twin",
            vec![(Unescaped(Part::User), "%"), (Unescaped(Part::Path), "%")],
        ),
        (
            "amqps://d#@sas.h:t@h/devices/d%2523/twin",
            vec![
                (Unescaped(Part::User), "#"),
                (EscapedTwice, "/devices/d%2523/twin"),
            ],
        ),
        (
            "amqps://d%40sas.h:t@h/Devices/d/twin",
            vec![(PathSpelling, "/Devices/d/twin")],
        ),
        (
            "amqps://d%40sas.h:t@h/devices/e/twin",
            vec![(ForeignNode, "/devices/e/twin")],
        ),
        ("amqps://p%40sas.root.h:t@h/devices/e/twin", vec![]),
    ] {
        assert_eq!(oddities(text), expected, "{text}");
        match AmqpUrl::parse_strict(text) {
            Ok(_) => assert!(expected.is_empty(), "{text}"),
            Err(error) => assert_eq!(*error.kind(), ErrorKind::Odd(expected[0].0), "{text}"),
        }
    }
}

#[test]
fn the_names_in_each_shape_of_path_are_looked_at() {
    use OddityKind::*;
    for (path, expected) in [
        (
            "/messages/events/ConsumerGroups/$Default/Partitions/1",
            (Unescaped(Part::Path), "$"),
        ),
        (
            "/my%68ub/ConsumerGroups/g/Partitions/1",
            (NeedlessEscape(Part::Path), "%68"),
        ),
        (
            "/hub/ConsumerGroups/$Default/Partitions/1",
            (Unescaped(Part::Path), "$"),
        ),
        ("/0ne00000000/registrations/a:b", (Unescaped(Part::Path), ":")),
        (
            "/0ne0000000%30/registrations/a",
            (NeedlessEscape(Part::Path), "%30"),
        ),
    ] {
        assert_eq!(oddities(&format!("amqps://h{path}")), [expected], "{path}");
    }
}
