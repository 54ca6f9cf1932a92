//! What `device send` is to do.

use std::time::Duration;

use iothub_amqp::{Batching, Message};
use rustls_pki_types::CertificateDer;

use super::bodies::Bodies;
use super::credential::Target;
use super::pace::Pace;
use super::settings::Settings;
use super::supply::Supply;
use super::{roots, route, secrets};
use crate::args::device::{Auth, Send};
use crate::args::route::Carrier;
use crate::args::{Format, Input};
use crate::failure::Failure;
use crate::io::Io;
use crate::output::human::uuid;

/// All that `device send` needs to know.
pub(crate) struct Sending {
    pub(crate) target: Target,
    /// For the local hub; what else a target is signed in by, it knows.
    pub(crate) auth: Option<Auth>,
    /// For the local hub too.
    pub(crate) transport: Carrier,
    pub(crate) batching: Batching,
    pub(crate) pace: Pace,
    /// How many messages there will be, where that is known before.
    pub(crate) total: Option<u64>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) bodies: Supply,
    pub(crate) template: Template,
    pub(crate) timeout: Duration,
    pub(crate) format: Format,
}

impl Sending {
    pub(crate) fn of(mut args: Send, io: &mut Io) -> Result<Self, Failure> {
        let given = std::mem::take(&mut args.credential.given);
        let credential = &args.credential;
        let is_stdin = |input: &Option<Input>| input == &Some(Input::Stdin);
        let [cert, cert_key] = route::stdin_readers(&args.route);
        let dashes = args.bodies.iter().filter(|body| *body == "-").count();
        secrets::stdin_once(&[
            ("--url-file", is_stdin(&credential.url_file)),
            (
                "--connection-string-file",
                is_stdin(&given.connection_string_file),
            ),
            ("--ca", is_stdin(&args.ca)),
            ("--jsonl", is_stdin(&args.jsonl)),
            ("BODY '-'", dashes > 0),
            ("another BODY '-'", dashes > 1),
            cert,
            cert_key,
        ])?;
        if args.bodies.is_empty() && args.jsonl.is_none() {
            return Err(
                Failure::usage("nothing to send").hint("give a BODY, '-' to read one, or --jsonl FILE")
            );
        }
        if args.message_id.is_some() && (args.bodies.len() > 1 || args.jsonl.is_some()) {
            return Err(Failure::usage("--message-id goes with a single BODY")
                .hint("leave it out: each message then has an id of its own"));
        }
        let mut settings = Settings::new(given, io)?;
        let target = match Target::of(credential, args.auth, &mut settings, io)? {
            Target::Hub(builder) => Target::Hub(Box::new(route::apply(
                *builder,
                &args.route,
                args.auth,
                &settings,
                io,
            )?)),
            Target::Local if args.auth == Some(Auth::X509) || args.route.cert.is_some() => {
                return Err(Failure::usage(
                    "--local has a device with a key, and no certificate signs it in",
                )
                .hint("leave --auth x509 and --cert out"));
            }
            Target::Local => {
                route::refuse_all_but_transport(&args.route)?;
                Target::Local
            }
        };
        let total = args.count.or_else(|| {
            let known = args.jsonl.is_none();
            known.then_some(args.bodies.len() as u64)
        });
        let pace = match (args.rate, args.interval) {
            (Some(rate), _) => Pace::rate(rate.0),
            (None, Some(interval)) => Pace::interval(interval.0),
            (None, None) => Pace::unbounded(),
        };
        let roots = match target {
            // It brings its own authority.
            Target::Local if args.ca.is_none() => Vec::new(),
            _ => roots::read(args.ca, &settings, io)?,
        };
        Ok(Self {
            target,
            auth: args.auth,
            transport: args.route.transport.unwrap_or(Carrier::Amqp),
            batching: if args.batch { Batching::On } else { Batching::Off },
            pace,
            total,
            roots,
            bodies: Supply::new(Bodies::of(args.bodies, args.jsonl, io)?, args.count),
            template: Template {
                message_id: args.message_id,
                content_type: args.content_type,
                properties: args.properties,
            },
            timeout: args.timeout.0,
            format: args.output,
        })
    }
}

/// What every message has beside its body.
pub(crate) struct Template {
    message_id: Option<String>,
    content_type: Option<String>,
    properties: Vec<(String, String)>,
}

impl Template {
    /// The message with this body, and its id.
    pub(crate) fn message(&self, body: Vec<u8>) -> Result<(String, Message), Failure> {
        let id = match &self.message_id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        // A hub reads a body, to route by it, only if both are said.
        let is_json = self
            .content_type
            .as_deref()
            .is_some_and(|text| text.eq_ignore_ascii_case("application/json"));
        let is_utf8_json = is_json && std::str::from_utf8(&body).is_ok();
        let mut message = Message::new(body).message_id(id.as_str());
        if let Some(content_type) = &self.content_type {
            message = message.content_type(content_type);
        }
        if is_utf8_json {
            message = message.content_encoding("utf-8");
        }
        for (key, value) in &self.properties {
            message = message.property(key, value);
        }
        Ok((id, message))
    }
}

/// A random UUID (RFC 9562 §5.4, version 4).
pub(crate) fn random_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::unexpected("no randomness").because(&error))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(uuid(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_version_4_uuids_and_differ() {
        let (one, other) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, other);
        let bytes = one.as_bytes();
        assert_eq!(one.len(), 36);
        assert_eq!(bytes[14], b'4');
        assert!(b"89ab".contains(&bytes[19]));
        assert!([8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-'));
    }

    #[test]
    fn utf_8_is_said_of_json_that_is_utf_8_and_of_nothing_else() {
        let message = |content_type: Option<&str>, body: &[u8]| {
            let content_type = content_type.map(str::to_owned);
            let template = Template {
                message_id: Some("1".into()),
                content_type,
                properties: Vec::new(),
            };
            template.message(body.to_vec()).unwrap().1
        };
        let json = Message::new("{}")
            .message_id("1")
            .content_type("application/json");
        assert_eq!(
            message(Some("application/json"), b"{}"),
            json.content_encoding("utf-8")
        );
        let broken = Message::new([0xff])
            .message_id("1")
            .content_type("application/json");
        assert_eq!(message(Some("application/json"), b"\xff"), broken);
        let text = Message::new("{}").message_id("1").content_type("text/plain");
        assert_eq!(message(Some("text/plain"), b"{}"), text);
        assert_eq!(message(None, b"{}"), Message::new("{}").message_id("1"));
    }
}
