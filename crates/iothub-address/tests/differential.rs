//! Against `url`, the parser that most Rust programs would use: it reads our canonical form as we do, and
//! where it reads a raw form otherwise, the reason is one of a closed list.

mod common;

use common::parts;
use iothub_address::{AmqpUrl, HubHost};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use url::Url;

/// User name, password, host, port and path, unescaped; what `url` takes for query and fragment stays away.
#[derive(Debug, PartialEq)]
struct Reading {
    user: String,
    password: Option<String>,
    host: HubHost,
    port: Option<u16>,
    path: String,
}

fn ours(url: &AmqpUrl) -> Reading {
    Reading {
        user: url.user().map(ToString::to_string).unwrap_or_default(),
        password: url.password().map(|password| password.expose().to_owned()),
        host: url.host().clone(),
        port: url.port(),
        path: url.path().into_owned(),
    }
}

fn theirs(text: &str) -> Option<Reading> {
    let url = Url::parse(text).ok()?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(Reading {
        user: decoded(url.username()),
        password: url.password().map(decoded),
        host: HubHost::parse(url.host_str()?).ok()?,
        port: url.port(),
        path: decoded(url.path()),
    })
}

/// Why `url` rejects a raw form or reads it otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reason {
    /// A raw `/`, `?` or `#` of the user name or token ends the authority.
    EndsAuthority,
    /// A raw `:` of the user name starts the password.
    StartsPassword,
    /// A raw `%` with two hexadecimal digits behind it is an escape.
    TakenForAnEscape,
    /// A raw `?` or `#` ends the path.
    EndsPath,
    /// A segment `.` or `..` is walked.
    DotSegment,
}

/// The reasons that a URL has whose parts are spelled so.
fn reasons(user: &str, password: &str, path: &str, reading: &Reading) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |reason, holds: bool| {
        if holds {
            reasons.push(reason);
        }
    };
    add(
        Reason::EndsAuthority,
        format!("{user}{password}").contains(['/', '?', '#']),
    );
    add(Reason::StartsPassword, user.contains(':'));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    add(
        Reason::TakenForAnEscape,
        decoded(user) != reading.user || decoded(path) != reading.path,
    );
    add(
        Reason::TakenForAnEscape,
        reading
            .password
            .as_ref()
            .is_some_and(|own| decoded(password) != *own),
    );
    add(Reason::EndsPath, path.contains(['?', '#']));
    add(
        Reason::DotSegment,
        reading
            .path
            .split('/')
            .any(|segment| segment == "." || segment == ".."),
    );
    reasons
}

#[test]
fn url_misreads_the_raw_forms_for_known_reasons_and_our_canonical_forms_never() {
    use Reason::{EndsAuthority, StartsPassword};
    for (user, password, host, expected) in [
        ("dev@sas.hub", "tok%2Fen", "host", &[][..]),
        ("dev%40sas.hub", "tok", "host", &[]),
        ("dev@sas.hub", "to/k", "host", &[EndsAuthority]),
        ("dev#1@sas.hub", "tok", "host", &[EndsAuthority]),
        ("dev:1@sas.hub", "tok", "host", &[StartsPassword]),
        ("a@b@sas.hub", "tok", "host", &[]),
        ("", "", "host:", &[]),
    ] {
        for path in [
            "/x",
            "/devices/dev/messages/events",
            "/devices/dev/modules/m/twin",
            "/messages/devicebound",
        ] {
            let text = match user {
                "" => format!("amqps://{host}{path}"),
                _ => format!("amqps://{user}:{password}@{host}{path}"),
            };
            let url = AmqpUrl::parse(&text).unwrap();
            let reading = ours(&url);
            assert_eq!(reasons(user, password, path, &reading), expected, "{text}");
            assert_eq!(
                theirs(&text).as_ref() == Some(&reading),
                expected.is_empty(),
                "{text}"
            );
            assert_eq!(theirs(&url.expose()), Some(reading), "{text}");
        }
    }
}

/// What `url` makes of the rows that it misreads, to the part.
#[test]
fn a_raw_character_makes_url_name_another_host_or_user_without_an_error() {
    let user_and_host = |text| theirs(text).map(|reading| (reading.user, reading.host.as_str().to_owned()));
    assert_eq!(
        user_and_host("amqps://dev#1@sas.hub:tok@host/x"),
        Some((String::new(), "dev".into()))
    );
    assert_eq!(
        user_and_host("amqps://dev:1@sas.hub:tok@host/x"),
        Some(("dev".into(), "host".into()))
    );
    // Here it says that the port is no number.
    assert_eq!(user_and_host("amqps://dev@sas.hub:to/k@host/x"), None);
}

proptest! {
    #[test]
    fn url_reads_our_canonical_form_as_we_do(parts in parts()) {
        let url = parts.url();
        let reading = ours(&url);
        let text = url.expose();
        // No spelling of such a name survives a WHATWG parser: it walks "%2E%2E" too.
        let walked = reading.path.split('/').any(|segment| segment == "." || segment == "..");
        let theirs = theirs(&text);
        if walked {
            let theirs = theirs.map(|theirs| Reading { path: reading.path.clone(), ..theirs });
            prop_assert_eq!(theirs, Some(reading), "{}", text);
        } else {
            prop_assert_eq!(theirs, Some(reading), "{}", text);
        }
    }

    #[test]
    fn where_url_reads_a_raw_form_otherwise_the_reason_is_known(parts in parts()) {
        let user = parts.user.to_string();
        let password = parts.token.as_deref().unwrap_or_default();
        let path = format!("/{}", parts.node.to_string().trim_start_matches('/'));
        let colon = if password.is_empty() { "" } else { ":" };
        let text = format!("amqps://{user}{colon}{password}@{}{path}", parts.host);
        // What is ambiguous to us, or has control characters, has no reading to compare.
        if let Ok(url) = AmqpUrl::parse(&text) {
            let reading = ours(&url);
            if theirs(&text).as_ref() != Some(&reading) {
                prop_assert!(!reasons(&user, password, &path, &reading).is_empty(), "{}", text);
            }
        }
    }
}
