//! Round trips of every legal value, and what the readings of other spellings may be.
//! The number of cases is proptest's own, set by `PROPTEST_CASES`.
#![allow(
    clippy::unwrap_used,
    reason = "what is read once is read again, or the test fails"
)]

use iothub_address::{
    AmqpUrl, AmqpUrlRef, ConnectionString, ErrorKind, HubHost, Identity, ModuleId, Node, Scheme, Secret, User,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

#[path = "common/checks.rs"]
mod checks;
mod common;

use common::{Parts, host, identity, node, node_of, parts, user};

trait Check {
    fn check(&self, url: &AmqpUrl) -> Result<(), TestCaseError>;
}

impl Check for Parts {
    fn check(&self, url: &AmqpUrl) -> Result<(), TestCaseError> {
        prop_assert_eq!(url.scheme(), self.scheme);
        prop_assert_eq!(url.user(), Some(&self.user));
        prop_assert_eq!(url.password().map(Secret::expose), self.token.as_deref());
        prop_assert_eq!(url.host(), &self.host);
        prop_assert_eq!(url.port(), self.port);
        prop_assert_eq!(url.node(), Some(&self.node));
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_canonical_form_is_read_back_as_the_same_parts(parts in parts()) {
        let text = parts.url().expose();
        let url = AmqpUrl::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        parts.check(&url)?;
        prop_assert_eq!(&url.expose(), &text);
        check_any(&text);

        let url = AmqpUrlRef::parse(&text).unwrap();
        let device = parts.user.identity().map(|identity| identity.device().as_str());
        let read = url.device().map(|piece| piece.to_string());
        prop_assert_eq!(read.as_deref(), device);
        let module = parts.user.identity().and_then(Identity::module).map(ModuleId::as_str);
        let read = url.module().map(|piece| piece.to_string());
        prop_assert_eq!(read.as_deref(), module);
        prop_assert_eq!(url.hub().unwrap().as_written(), parts.user.hub().as_str());
    }

    /// Every part raw or escaped or as Python's `quote` leaves it, each by itself.
    #[test]
    fn any_other_spelling_is_the_same_parts_or_an_ambiguity_that_names_them(
        parts in parts(),
        user_spelling in 0..3_u8,
        token_spelling in 0..2_u8,
        path_spelling in 0..3_u8,
        empty_port in any::<bool>(),
    ) {
        let user = spell(&parts.user.to_string(), user_spelling);
        let token = parts.token.as_deref().unwrap_or_default();
        // What is raw in a password cannot be told from an escape, but for a whole token.
        let is_token = token.starts_with("SharedAccessSignature sr=");
        let password = match (&parts.token, token_spelling) {
            (None, _) => String::new(),
            (Some(_), 0) if is_token => format!(":{token}"),
            (Some(_), 0) => format!(":{}", spell(token, 1)),
            (Some(_), _) => format!(":{}", spell(token, 2)),
        };
        let port = match parts.port {
            Some(port) => format!(":{port}"),
            None if empty_port => String::from(":"),
            None => String::new(),
        };
        let canonical = parts.url().expose();
        let path = match path_spelling {
            0 => format!("/{}", parts.node.to_string().trim_start_matches('/')),
            1 => canonical[canonical.len() - canonical_path_length(&parts)..].to_owned(),
            // As Python's quote leaves it: the slashes stay.
            _ => spell(&format!("/{}", parts.node.to_string().trim_start_matches('/')), 2),
        };
        let scheme = if empty_port { "AmqpS" } else { "amqps" };
        let text = format!("{scheme}://{user}{password}@{}{port}{path}", parts.host);
        let own = parts.user.identity().is_some() && parts.user.identity() == parts.node.identity();
        check_any(&text);
        match AmqpUrl::parse(&text) {
            // Where the path was raw and the user name escaped, or nothing tells how the path was written,
            // a path has another meaning by the standard.
            Ok(url) if own && (user_spelling == 0) == (path_spelling == 0) => {
                let parts = Parts { scheme: Scheme::Amqps, ..parts };
                parts.check(&url)?;
            }
            Ok(url) => {
                prop_assert_eq!(url.user(), Some(&parts.user));
                prop_assert_eq!(url.password().map(Secret::expose), parts.token.as_deref());
                prop_assert_eq!(url.host(), &parts.host);
                prop_assert_eq!(url.port(), parts.port);
            }
            Err(error) => {
                let ErrorKind::Ambiguous { readings } = error.kind() else { panic!("{text}: {error}") };
                let user = (text.find("://").unwrap() + 3, user.len());
                let truth = readings.iter().any(|reading| {
                    reading.user() == Some(user.0..user.0 + user.1) && reading.user_escaped() == (user_spelling != 0)
                        && text[reading.path()] == path
                });
                // No more than four readings are told.
                prop_assert!(truth || readings.len() == 4, "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn nodes_are_read_back(node in node()) {
        let text = node.to_string();
        prop_assert_eq!(&text.parse::<Node>().unwrap(), &node);
        let whole = format!("amqps://h.example:5671/{}", text.trim_start_matches('/'));
        prop_assert_eq!(&whole.parse::<Node>().unwrap(), &node);
        let readings = Node::readings(&text);
        prop_assert_eq!(readings.first(), Some(&node));
    }

    #[test]
    fn readings_hold_the_node_however_often_its_ids_were_escaped(identity in identity(), lane in any::<u8>()) {
        let raw = node_of(identity.clone(), lane);
        let once = escaped_ids(&raw, &identity, 1);
        let twice = escaped_ids(&raw, &identity, 2);
        for text in [raw.to_string(), once, twice] {
            prop_assert!(Node::readings(&text).contains(&raw), "{}", text);
        }
    }

    #[test]
    fn users_are_read_back(user in user()) {
        prop_assert_eq!(&User::parse(&user.to_string()).unwrap(), &user);
    }

    #[test]
    fn connection_strings_are_read_back(
        identity in identity(),
        host in host(),
        port in proptest::option::of(any::<u16>()),
        gateway in proptest::option::of(host()),
        auth in 0..3_u8,
        token in "[!-:<-~]{1,60}",
    ) {
        let mut builder = ConnectionString::builder(host.clone()).port(port).identity(identity.clone());
        builder = match auth {
            0 => builder.key(Secret::new(token.clone())),
            1 => builder.signature(Secret::new(token.clone())),
            _ => builder.x509(),
        };
        if let Some(gateway) = &gateway {
            builder = builder.gateway(gateway.clone(), port);
        }
        match builder.build() {
            Err(error) => {
                let key = if identity.device().as_str().contains(';') { "DeviceId" } else { "ModuleId" };
                prop_assert_eq!(error.kind(), &ErrorKind::Unwritable(key));
            }
            Ok(string) => {
                let text = string.expose();
                let read = ConnectionString::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                prop_assert_eq!(read.host(), &host);
                prop_assert_eq!(read.port(), port);
                prop_assert_eq!(read.gateway(), gateway.as_ref());
                prop_assert_eq!(read.identity(), Some(&identity));
                let secret = read.key().or_else(|| read.signature()).map(Secret::expose);
                prop_assert_eq!(secret, (auth < 2).then_some(token.as_str()));
                prop_assert_eq!(read.expose(), text);
            }
        }
    }

    #[test]
    fn no_input_panics_and_all_that_is_read_prints_back_the_same(text in any_text()) {
        check_any(&text);
    }

    #[test]
    fn no_mutation_of_an_address_panics(parts in parts(), at in any::<prop::sample::Index>(), with in "[@:/%#?a.\u{0}é4 ]{0,3}", keep in any::<bool>()) {
        let text = parts.url().expose();
        let at = at.index(text.len());
        let rest = if keep { &text[at..] } else { &text[at + 1..] };
        check_any(&format!("{}{with}{rest}", &text[..at]));
    }
}

/// `0` raw, `1` everything but unreserved characters escaped, `2` as Python 2's `quote` leaves it.
fn spell(text: &str, spelling: u8) -> String {
    const ALL: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    const QUOTE: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'/');
    match spelling {
        0 => text.to_owned(),
        1 => utf8_percent_encode(text, ALL).to_string(),
        _ => utf8_percent_encode(text, QUOTE).to_string(),
    }
}

fn canonical_path_length(parts: &Parts) -> usize {
    let url = AmqpUrl::new(HubHost::parse("h").unwrap(), parts.node.clone()).expose();
    url.len() - "amqps://h".len()
}

fn escaped_ids(node: &Node, identity: &Identity, times: u8) -> String {
    let escape = |id: &str| (0..times).fold(id.to_owned(), |id, _| spell(&id, 1));
    let device = escape(identity.device().as_str());
    let escaped = match identity.module() {
        Some(module) => format!("{device}/modules/{}", escape(module.as_str())),
        None => device,
    };
    node.to_string().replacen(&identity.to_string(), &escaped, 1)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,60}",
        "amqps?://[a-z@:/%#?.=; 0-9]{0,60}",
        "amqps://[a@:/.]{0,16}@(sas[.]|sas[.]root[.]|%40sas.)?[a:@]{1,6}@?h(:[0-9]{0,5})?/(devices/[a@%4]{1,5}/)?(twin|x|messages/events)?",
        "(HostName|DeviceId|SharedAccessKey|x509|Endpoint|;|=|:|[a-z]|sb://|true){0,12}",
        "/?(devices|modules|messages|events|twin|[$]cbs|/|%2[F5]|[a-z0]){0,10}",
    ]
}

fn check_any(text: &str) {
    checks::url(text);
    checks::connection_string(text);
    checks::node(text);
}
