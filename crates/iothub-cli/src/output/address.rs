//! An address in its parts.

use iothub_address::{AmqpUrl, Explanation, Node, Oddity, Part, Principal, Secret};
use serde::Serialize;

use super::{human, json};

/// Whether a secret is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    Shown,
    Hidden,
}

impl Secrets {
    pub(crate) const fn of(show: bool) -> Self {
        if show { Self::Shown } else { Self::Hidden }
    }
}

/// The parts of an address, null where there is none.
#[derive(Serialize)]
pub(crate) struct Parts<'a> {
    scheme: &'static str,
    user: Option<String>,
    kind: Option<&'static str>,
    device: Option<&'a str>,
    module: Option<&'a str>,
    policy: Option<&'a str>,
    hub: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    node: &'static str,
    path: String,
    oddities: Vec<Odd>,
}

/// Something in the text of an address that the canonical form does not have.
#[derive(Serialize)]
struct Odd {
    kind: &'static str,
    /// The bytes it spans: start, and end behind it.
    at: [usize; 2],
    text: String,
}

impl From<&Oddity> for Odd {
    fn from(oddity: &Oddity) -> Self {
        let span = oddity.span();
        Self {
            kind: oddity.kind().code(),
            at: [span.start, span.end],
            text: oddity.kind().to_string(),
        }
    }
}

impl<'a> Parts<'a> {
    pub(crate) fn of(url: &'a AmqpUrl, oddities: &[Oddity], secrets: Secrets) -> Self {
        let user = url.user();
        let identity = url.identity();
        Self {
            scheme: url.scheme().as_str(),
            user: user.map(ToString::to_string),
            kind: user.map(|user| match user.principal() {
                Principal::Identity(identity) if identity.module().is_some() => "module",
                Principal::Identity(_) => "device",
                _ => "policy",
            }),
            device: identity.map(|identity| identity.device().as_str()),
            module: identity
                .and_then(|identity| identity.module())
                .map(|module| module.as_str()),
            policy: user.and_then(|user| user.policy()).map(|policy| policy.as_str()),
            hub: url.hub().map(|hub| hub.as_str()),
            password: url
                .password()
                .filter(|_| secrets == Secrets::Shown)
                .map(|secret| secret.expose()),
            host: url.host().as_str(),
            port: url.port(),
            node: match url.node() {
                Some(Node::Events(_)) => "events",
                Some(Node::Commands(_)) => "commands",
                Some(Node::Methods(_)) => "methods",
                Some(Node::Twin(_)) => "twin",
                _ => "other",
            },
            path: url.path().into_owned(),
            oddities: oddities.iter().map(Odd::from).collect(),
        }
    }

    /// One line, for programs.
    pub(crate) fn line(&self) -> String {
        json::line(self)
    }
}

/// The parts with their places and meanings, what is odd, and what other parsers would read: several lines, for
/// people.
pub(crate) fn explain(explanation: &Explanation, password: Option<&Secret>, secrets: Secrets) -> String {
    let mut rows = Vec::new();
    for part in explanation.parts() {
        let span = part.span();
        let mut meaning = part.meaning().to_owned();
        if part.part() == Part::Password {
            let shown = match (secrets, password) {
                (Secrets::Shown, Some(password)) => password.expose(),
                _ => "--show-secrets shows it",
            };
            meaning = format!("{meaning}: {shown}");
        }
        rows.push((
            part.part().to_string(),
            format!("{meaning} (bytes {}..{})", span.start, span.end),
        ));
    }
    rows.extend(
        explanation
            .oddities()
            .iter()
            .map(|oddity| ("odd".to_owned(), oddity.to_string())),
    );
    rows.extend(
        explanation
            .others()
            .iter()
            .map(|other| ("read by".to_owned(), other.to_string())),
    );
    human::columns(&rows)
}
