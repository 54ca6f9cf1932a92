//! What is told of an address, and that the models of other parsers are like the originals.

mod common;

use common::parts;
use iothub_address::{AmqpUrlRef, Difference, Explanation, Parser, Part};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use url::Url;

fn explain(text: &str) -> Explanation {
    AmqpUrlRef::parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .explain()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn other(text: &str, parser: Parser) -> String {
    let explanation = explain(text);
    let other = explanation
        .others()
        .iter()
        .find(|other| other.parser() == parser)
        .map(ToString::to_string);
    other
        .and_then(|line| Some(line.split_once(": ")?.1.to_owned()))
        .unwrap_or_default()
}

#[test]
fn the_parts_are_told_with_their_places_and_meanings() {
    let text = "amqps://d%231%2Fmodules%2Fm%40sas.hub:c4n4ry@[::1]:443/devices/d%231/modules/m/twin";
    let explanation = explain(text);
    let parts: Vec<_> = explanation
        .parts()
        .iter()
        .map(|part| (part.part(), &text[part.span()], part.meaning()))
        .collect();
    assert_eq!(
        parts,
        [
            (Part::Scheme, "amqps", "amqps, port 5671 unless another is named"),
            (
                Part::User,
                "d%231%2Fmodules%2Fm%40sas.hub",
                "d#1/modules/m@sas.hub"
            ),
            (Part::DeviceId, "d%231", "d#1"),
            (Part::ModuleId, "m", "m"),
            (Part::HubName, "hub", "hub"),
            (
                Part::Password,
                "c4n4ry",
                "6 bytes, no SAS token, so that no hub takes it"
            ),
            (Part::Host, "[::1]", "::1"),
            (Part::Port, "443", "443"),
            (
                Part::Path,
                "/devices/d%231/modules/m/twin",
                "/devices/d#1/modules/m/twin, the twin"
            ),
        ]
    );
    assert!(!explanation.to_string().contains("c4n4ry") && !format!("{explanation:?}").contains("c4n4ry"));
}

/// As Python 3.11's `urlsplit` and Node 20's `URL` read these.
#[test]
fn other_parsers_are_told_to_misread_raw_characters() {
    for (text, whatwg, python) in [
        (
            "amqps://dev@sas.hub:tok%2Fen@host/x",
            "reads the same",
            "reads the same",
        ),
        (
            "amqps://dev%40sas.hub:tok@host/x",
            "reads the same",
            "reads the same",
        ),
        (
            "amqps://dev@sas.hub:to/k@host/x",
            "refuses it: the port is no number",
            "refuses it: the port is no number (told when one asks for it)",
        ),
        (
            "amqps://dev#1@sas.hub:tok@host/x",
            "no user name, no password, host name \"dev\", no path",
            "no user name, no password, host name \"dev\", no path",
        ),
        (
            "amqps://dev:1@sas.hub:tok@host/x",
            "user name \"dev\", password of bytes 12..25",
            "user name \"dev\", password of bytes 12..25",
        ),
        // Digits, and yet no port; a number to some, and yet no digits.
        (
            "amqps://dev:99999#1@sas.hub:tok@host/x",
            "refuses it: the port is no number",
            "refuses it: the port is no number (told when one asks for it)",
        ),
        (
            "amqps://dev:+5#1@sas.hub:tok@host/x",
            "refuses it: the port is no number",
            "refuses it: the port is no number (told when one asks for it)",
        ),
        (
            "amqps://a@b@sas.hub:tok@host/x",
            "reads the same",
            "reads the same",
        ),
        ("amqps://host:/x", "reads the same", "reads the same"),
    ] {
        assert_eq!(other(text, Parser::Whatwg), whatwg, "{text}");
        assert_eq!(other(text, Parser::Python), python, "{text}");
    }
    // Nothing is left of the host's name, with a user name's end or a port's beginning.
    for text in ["amqps://@#1@sas.hub:tok@host/x", "amqps://:#1@sas.hub:tok@host/x"] {
        assert_eq!(Url::parse(text), Err(url::ParseError::EmptyHost), "{text}");
        assert_eq!(
            other(text, Parser::Whatwg),
            "refuses it: the host is empty",
            "{text}"
        );
    }
    // Proton 0.9 ends the user name at the first `@`; escaped, it reads the same.
    assert_eq!(
        other("amqps://dev@sas.hub:tok@host/x", Parser::Proton),
        "user name \"dev\", no password, host name \"sas.hub\", port number of bytes 20..28"
    );
    assert_eq!(
        other("amqps://dev%40sas.hub:tok@host/x", Parser::Proton),
        "reads the same"
    );
    assert_eq!(
        other("amqps://..%40sas.hub:tok@host/devices/../twin", Parser::Whatwg),
        "'.' and '..' in the path walked"
    );
}

/// Where each takes the escapes off, and where the path is walked; a text that lies behind the password is shown.
#[test]
fn other_parsers_are_told_to_take_escapes_and_dots_otherwise() {
    for (text, whatwg, python) in [
        // An id that is raw and holds what looks like an escape.
        (
            "amqps://a%20@sas.hub:tok@host/devices/a%20/twin",
            "escapes of the user name taken otherwise, escapes of the path taken otherwise",
            "escapes of the user name taken otherwise, escapes of the path taken otherwise",
        ),
        (
            "amqps://a+@sas.hub:tok@host/devices/a%252B/twin",
            "escapes of the path taken otherwise",
            "escapes of the path taken otherwise",
        ),
        (
            "amqps://a+@sas.hub:tok@host/devices/a%2B/twin",
            "reads the same",
            "reads the same",
        ),
        (
            "amqps://d%40sas.h:SharedAccessSignature+sr%3Dx@h/x",
            "escapes of the password taken otherwise",
            "escapes of the password taken otherwise",
        ),
        (
            "amqps://d%40sas.h:SharedAccessSignature sr=x%3D@h/x",
            "escapes of the password taken otherwise",
            "escapes of the password taken otherwise",
        ),
        (
            "amqps://d%40sas.h:SharedAccessSignature sr=x@h/x",
            "reads the same",
            "reads the same",
        ),
        (
            "amqps://..%40sas.hub:tok@host/devices/%2E%2e/twin",
            "'.' and '..' in the path walked",
            "reads the same",
        ),
        (
            "amqps://d%40sas.hub:tok@host/devices/a#b/twin",
            "path \"/devices/a\"",
            "path \"/devices/a\"",
        ),
        (
            "amqps://d%40sas.hub:tok@[::1]:443/x",
            "reads the same",
            "reads the same",
        ),
        (
            "amqps://d?1@sas.hub:tok@host/x",
            "no user name, no password, host name \"d\", no path",
            "no user name, no password, host name \"d\", no path",
        ),
    ] {
        assert_eq!(other(text, Parser::Whatwg), whatwg, "{text}");
        assert_eq!(other(text, Parser::Python), python, "{text}");
    }
    // Proton looks for no `?` or `#`, and for the first `/`.
    for (text, proton) in [
        (
            "amqps://d%40sas.hub:tok@host:1/devices/a#b/twin",
            "reads the same",
        ),
        ("amqps://d%40sas.hub:tok@[::1]:443/x", "reads the same"),
        ("amqps://host", "reads the same"),
        (
            "amqps://d%40sas.hub:to/k@host/x",
            "no user name, no password, host name \"d%40sas.hub\", port number of bytes 20..22, path of bytes 22..31",
        ),
    ] {
        assert_eq!(other(text, Parser::Proton), proton, "{text}");
    }
    // One of each, and what they are is for programs too.
    let explanation = explain("amqps://d%40sas.hub:to/k@host/x");
    let told: Vec<_> = explanation
        .others()
        .iter()
        .map(|other| (other.parser(), other.agrees(), other.differences().len()))
        .collect();
    assert_eq!(
        told,
        [
            (Parser::Whatwg, false, 1),
            (Parser::Python, false, 1),
            (Parser::Proton, false, 5)
        ]
    );
}

proptest! {
    /// The model of the WHATWG standard finds the parts where the `url` crate does.
    #[test]
    fn the_model_of_whatwg_reads_as_the_url_crate(parts in parts(), raw in any::<bool>()) {
        let text = match raw {
            true => format!("amqps://{}:{}@{}/{}", parts.user, parts.token.as_deref().unwrap_or("t"), parts.host, parts.node.to_string().trim_start_matches('/')),
            false => parts.url().expose(),
        };
        if let Ok(Ok(explanation)) = AmqpUrlRef::parse(&text).map(|url| url.explain()) {
            let other = explanation.others().iter().find(|other| other.parser() == Parser::Whatwg);
            let differences = other.map(|other| other.differences().to_vec()).unwrap_or_default();
            let rejects = differences.iter().any(|difference| matches!(difference, Difference::Rejects(_)));
            let theirs = Url::parse(&text);
            // The standard and Node refuse an empty host behind empty credentials, and a backslash in a
            // port; the crate does not.
            let is_quirk = (text.starts_with("amqps://:@") || text.contains(":\\")) && theirs.is_ok();
            prop_assert!(rejects == theirs.is_err() || is_quirk, "{}", text);
            if let (Ok(theirs), false) = (theirs, is_quirk) {
                // Our own part, or where they find another.
                let span = |part| {
                    let other = differences.iter().find_map(|difference| match difference {
                        Difference::Part(other, span, _) if *other == part => Some(span.clone()),
                        _ => None,
                    });
                    let own = explanation.parts().iter().find(|own| own.part() == part).map(|own| own.span());
                    other.unwrap_or(own).map(|span| text[span].to_owned()).unwrap_or_default()
                };
                let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                prop_assert_eq!(decoded(&span(Part::User)), decoded(theirs.username()), "{}", text);
                prop_assert_eq!(decoded(&span(Part::Password)), decoded(theirs.password().unwrap_or_default()), "{}", text);
                let host = span(Part::Host);
                prop_assert!(host.starts_with('[') || decoded(&host) == decoded(theirs.host_str().unwrap_or_default()), "{}", text);
                prop_assert_eq!(span(Part::Port).parse::<u16>().ok(), theirs.port(), "{}", text);
                if !differences.contains(&Difference::DotSegments) {
                    prop_assert_eq!(decoded(&span(Part::Path)), decoded(theirs.path()), "{}", text);
                }
            }
        }
    }
}
