//! What holds for any text whatever: shared by the property tests, the corpus and the fuzz targets.
#![allow(dead_code, unreachable_pub, reason = "each user takes what it needs")]
#![allow(
    clippy::unwrap_used,
    reason = "what is read once is read again, or the check fails"
)]

use iothub_address::{
    AmqpUrl, AmqpUrlRef, ConnectionString, ErrorKind, HubHost, Identity, Node, Secret, User,
};

/// An address that is read prints back as the same parts, and its oddities tell whether to the byte.
pub fn url(text: &str) {
    let borrowed = AmqpUrlRef::parse(text);
    let url = match (AmqpUrl::parse(text), &borrowed) {
        (Ok(url), Ok(_)) => url,
        (Err(error), Ok(_)) => {
            // What reading in place leaves to `to_url`.
            assert!(
                matches!(error.kind(), ErrorKind::Escape(_) | ErrorKind::Malformed(_)),
                "{text}: {error}"
            );
            return;
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, *other);
            assert!(one.span().end <= text.len(), "{text}: {one:?}");
            return;
        }
        (Ok(_), Err(error)) => panic!("{text}: {error}"),
    };
    let borrowed = borrowed.unwrap();
    let printed = url.expose();
    let again = AmqpUrl::parse(&printed).unwrap_or_else(|error| panic!("{text}: {printed}: {error}"));
    assert_eq!(again.expose(), printed);
    assert_eq!(again.user(), url.user());
    assert_eq!(
        again.password().map(Secret::expose),
        url.password().map(Secret::expose)
    );
    assert_eq!((again.host(), again.port()), (url.host(), url.port()));
    assert_eq!((again.node(), again.path()), (url.node(), url.path()));

    // The literals of a node may be in another case.
    assert!(
        borrowed.path().decoded().eq_ignore_ascii_case(&url.path()),
        "{text}"
    );
    assert_eq!(
        borrowed.user().map(|user| user.to_string()),
        url.user().map(ToString::to_string)
    );
    let identity = borrowed.device().map(|device| match borrowed.module() {
        Some(module) => format!("{device}/modules/{module}"),
        None => device.to_string(),
    });
    assert_eq!(identity, url.identity().map(ToString::to_string));

    let foreign = url
        .identity()
        .zip(url.node())
        .is_some_and(|(own, node)| node.identity() != Some(own));
    let oddities = borrowed.oddities().unwrap();
    assert_eq!(
        oddities.is_empty(),
        printed == text && !foreign,
        "{text}: {oddities:?}"
    );
    assert_eq!(oddities.is_empty(), AmqpUrl::parse_strict(text).is_ok(), "{text}");

    // The password is nowhere told: with another in its place, that one is not.
    if let Some(password) = borrowed.expose_password()
        && !text.contains(CANARY)
    {
        // Its own place: the same characters may stand in the user name too.
        let at = password.as_ptr() as usize - text.as_ptr() as usize;
        let marked = format!("{}{CANARY}{}", &text[..at], &text[at + password.len()..]);
        match AmqpUrlRef::parse(&marked) {
            Ok(marked) if marked.expose_password() == Some(CANARY) => {
                let told = format!("{} {marked:?} {:?}", marked.explain().unwrap(), marked.to_url());
                assert!(!told.contains(CANARY), "{text}: {told}");
            }
            Ok(_) => {}
            Err(error) => assert!(
                !format!("{error} {error:?}").contains(CANARY),
                "{text}: {error:?}"
            ),
        }
    }
}

const CANARY: &str = "c4n4ry";

/// A connection string that is read prints back to the byte, once its order is ours.
pub fn connection_string(text: &str) {
    match ConnectionString::parse(text) {
        Ok(string) => {
            let printed = string.expose();
            assert_eq!(ConnectionString::parse(&printed).unwrap().expose(), printed);
        }
        Err(error) => assert!(error.span().end <= text.len(), "{text}: {error:?}"),
    }
}

/// A node that is read prints back, and is its own first reading; names do likewise.
pub fn node(text: &str) {
    if let Ok(node) = text.parse::<Node>() {
        assert_eq!(node.to_string().parse(), Ok(node.clone()));
        assert_eq!(Node::readings(text).first(), Some(&node));
    }
    for reading in Node::readings(text) {
        assert_eq!(reading.to_string().parse(), Ok(reading));
    }
    if let Ok(identity) = Identity::parse(text) {
        assert_eq!(identity.to_string(), text);
    }
    if let Ok(user) = User::parse(text) {
        assert_eq!(User::parse(&user.to_string()), Ok(user));
    }
    if let Ok(host) = HubHost::parse(text) {
        assert_eq!(format!("{host}").parse(), Ok(host));
    }
}
