//! An address in its parts.

use iothub_address::{AmqpUrl, Node, Oddity, Principal};
use serde::Serialize;

use super::{human, json};
use crate::args::Format;

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
    #[serde(skip)]
    has_password: bool,
    #[serde(skip)]
    default_port: u16,
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
            has_password: url.password().is_some(),
            default_port: url.scheme().default_port(),
        }
    }

    pub(crate) fn show(&self, format: Format) -> String {
        match format {
            Format::Json => json::line(self),
            Format::Text => self.for_people(),
        }
    }

    fn for_people(&self) -> String {
        let mut rows = vec![(
            "scheme",
            format!(
                "{} ({})",
                self.scheme,
                match self.scheme {
                    "amqps" => "AMQP 1.0 over TLS",
                    _ => "AMQP 1.0 without TLS: for this machine only",
                }
            ),
        )];
        match &self.user {
            Some(user) => rows.push(("user", format!("{user} ({})", self.principal()))),
            None => rows.push(("user", "(none)".to_owned())),
        }
        rows.push((
            "password",
            match (self.password, self.has_password) {
                (Some(password), _) => password.to_owned(),
                (None, true) => "(hidden: --show-secrets shows it)".to_owned(),
                (None, false) => "(none)".to_owned(),
            },
        ));
        rows.push(("host", self.host.to_owned()));
        rows.push((
            "port",
            match self.port {
                Some(port) => port.to_string(),
                None => format!("{} (by default)", self.default_port),
            },
        ));
        rows.push((
            "path",
            format!(
                "{} ({})",
                self.path,
                match self.node {
                    "events" => "telemetry",
                    "commands" => "cloud-to-device messages",
                    "methods" => "direct methods",
                    "twin" => "the twin",
                    _ => "no node of a device",
                }
            ),
        ));
        for oddity in &self.oddities {
            rows.push((
                "odd",
                format!("{} at bytes {}..{}", oddity.text, oddity.at[0], oddity.at[1]),
            ));
        }
        human::columns(&rows)
    }

    fn principal(&self) -> String {
        let hub = self.hub.unwrap_or_default();
        match (self.policy, self.device, self.module) {
            (Some(policy), ..) => format!("policy {policy} of hub {hub}"),
            (None, device, Some(module)) => format!(
                "module {module} of device {} of hub {hub}",
                device.unwrap_or_default()
            ),
            (None, device, None) => format!("device {} of hub {hub}", device.unwrap_or_default()),
        }
    }
}
