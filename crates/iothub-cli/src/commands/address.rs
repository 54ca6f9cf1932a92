//! `iothub address build`, `parse`, `explain` and `convert`.

use iothub_address::{
    AmqpUrl, AmqpUrlRef, ConnectionString, Explanation, HubHost, Identity, Node, PolicyName, Principal,
    Secret, User,
};
use iothub_sas::{SasToken, SharedKey};
use serde::Serialize;

use crate::args::address::{Build, Convert, Explain, Form, NodeName, Parse};
use crate::args::sas::Lifetime;
use crate::args::{Format, Input};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::address::{Parts, Secrets};
use crate::output::{self, json};
use crate::plan::{secrets, token};

/// Prints an address with a token in it.
pub(crate) fn build(args: Build, io: &mut Io) -> Result<Exit, Failure> {
    let host = token::host(args.host, &args.hub)?;
    let principal = match (token::identity(args.device, args.module), args.policy) {
        (Some(identity), _) => Principal::Identity(identity),
        (None, Some(policy)) => Principal::Policy(policy),
        (None, None) => return Err(Failure::usage("no --device and no --policy")),
    };
    let (identity, policy) = match &principal {
        Principal::Identity(identity) => (Some(identity), None),
        Principal::Policy(policy) => (None, Some(policy)),
        _ => (None, None),
    };
    let resource = token::resource(&host, identity);
    let token = match (&args.sas_file, secrets::key(&args.key, io)?) {
        (Some(input), _) => {
            let token = read_token(input, io)?;
            if !token.covers(resource.as_str()) {
                io.note(&format!(
                    "warning: the token in {input} is not for {resource}: a hub will refuse it"
                ));
            }
            token
        }
        (None, Some(key)) => token::sign(key, policy, &resource, token::end(&args.lifetime)),
        (None, None) => return Err(Failure::usage("no token and no key")),
    };
    let user = match principal.clone() {
        Principal::Policy(policy) => User::for_policy(policy, args.hub),
        Principal::Identity(identity) => User::for_identity(identity, args.hub),
        _ => return Err(Failure::usage("no --device and no --policy")),
    };
    let url = address(host, &principal, args.node)?
        .with_credentials(user, Secret::new(token.expose()))
        .with_port(args.port);
    io.print(&match args.output {
        Format::Text => url.expose(),
        Format::Json => json::line(&Built {
            url: &url.expose(),
            expires: token.expires_at().as_secs(),
        }),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Built<'a> {
    url: &'a str,
    expires: u64,
}

/// The address of a node that the principal has, without credentials.
fn address(host: HubHost, principal: &Principal, node: NodeName) -> Result<AmqpUrl, Failure> {
    let node = match (principal, node) {
        (Principal::Identity(identity), node) => node_of(identity.clone(), node),
        (_, NodeName::Commands) => Node::ServiceCommands,
        // Where the events of all devices are; a reader is sent on from there.
        (_, NodeName::Events) => {
            let url = format!("amqps://{host}/messages/events");
            return AmqpUrl::parse(&url).map_err(|error| Failure::unexpected("the address").because(&error));
        }
        (_, NodeName::Methods | NodeName::Twin) => {
            return Err(Failure::usage("a policy has no methods or twin of its own").hint("give --device"));
        }
    };
    Ok(AmqpUrl::new(host, node))
}

fn node_of(identity: Identity, node: NodeName) -> Node {
    match node {
        NodeName::Events => Node::Events(identity),
        NodeName::Commands => Node::Commands(identity),
        NodeName::Methods => Node::Methods(identity),
        NodeName::Twin => Node::Twin(identity),
    }
}

fn read_token(input: &Input, io: &mut Io) -> Result<SasToken, Failure> {
    let text = secrets::read(input, io)?;
    SasToken::parse(text.expose())
        .map_err(|error| Failure::usage(format!("the token in {input}")).because(&error))
}

/// Prints an address's parts for programs.
pub(crate) fn parse(args: Parse, io: &mut Io) -> Result<Exit, Failure> {
    take_apart(args.url, Secrets::of(args.show_secrets), args.output, io)
}

/// Prints an address's parts for people.
pub(crate) fn explain(args: Explain, io: &mut Io) -> Result<Exit, Failure> {
    take_apart(args.url, Secrets::of(args.show_secrets), args.output, io)
}

fn take_apart(given: Vec<Secret>, secrets: Secrets, format: Format, io: &mut Io) -> Result<Exit, Failure> {
    let text = secrets::argument(given, "address", io)?;
    let url = read_url(&text)?;
    let explanation = explanation(&text)?;
    io.print(&match format {
        Format::Json => Parts::of(&url, explanation.oddities(), secrets).line(),
        Format::Text => output::address::explain(&explanation, url.password(), secrets),
    })?;
    Ok(Exit::Done)
}

fn explanation(text: &Secret) -> Result<Explanation, Failure> {
    AmqpUrlRef::parse(text.expose())
        .and_then(|url| url.explain())
        .map_err(|error| Failure::usage("the address").because(&error))
}

fn read_url(text: &Secret) -> Result<AmqpUrl, Failure> {
    AmqpUrl::parse(text.expose()).map_err(|error| Failure::usage("the address").because(&error))
}

/// Prints an address as a connection string, or the other way round.
pub(crate) fn convert(args: Convert, io: &mut Io) -> Result<Exit, Failure> {
    let text = secrets::argument(args.text, "address or connection string", io)?;
    let is_url = text
        .expose()
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("amqp"));
    let source = if is_url {
        Source::Url(read_url(&text)?)
    } else {
        let string = ConnectionString::parse(text.expose());
        Source::String(string.map_err(|error| Failure::usage("the connection string").because(&error))?)
    };
    io.print(&match (args.to, args.output) {
        (Form::Json, _) => {
            let url = source.to_url(&args.lifetime, args.node)?;
            // A connection string has no text of an address that could be odd.
            let explanation = if is_url { Some(explanation(&text)?) } else { None };
            let oddities = explanation.as_ref().map_or(&[][..], Explanation::oddities);
            Parts::of(&url, oddities, Secrets::of(args.show_secrets)).line()
        }
        (Form::Url, Format::Text) => source.to_url(&args.lifetime, args.node)?.expose(),
        (Form::Url, Format::Json) => json::line(&Converted {
            url: Some(source.to_url(&args.lifetime, args.node)?.expose()),
            ..Converted::default()
        }),
        (Form::ConnectionString, Format::Text) => source.to_connection_string()?.expose(),
        (Form::ConnectionString, Format::Json) => json::line(&Converted {
            connection_string: Some(source.to_connection_string()?.expose()),
            ..Converted::default()
        }),
    })?;
    Ok(Exit::Done)
}

#[derive(Default, Serialize)]
struct Converted {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_string: Option<String>,
}

enum Source {
    Url(AmqpUrl),
    String(ConnectionString),
}

impl Source {
    /// An address as it is; of a connection string one with its token, or one signed with its key.
    fn to_url(&self, lifetime: &Lifetime, node: NodeName) -> Result<AmqpUrl, Failure> {
        let string = match self {
            Self::Url(url) => return Ok(url.clone()),
            Self::String(string) => string,
        };
        let hub = string.host().hub_name();
        let hub =
            hub.ok_or_else(|| Failure::usage("HostName is an address that does not tell the hub's name"))?;
        let (principal, user) = match (string.identity(), string.policy()) {
            (Some(identity), _) => (
                Principal::Identity(identity.clone()),
                User::for_identity(identity.clone(), hub),
            ),
            (None, Some(policy)) => (
                Principal::Policy(policy.clone()),
                User::for_policy(policy.clone(), hub),
            ),
            (None, None) => {
                return Err(Failure::usage(
                    "the connection string names no device and no policy",
                ));
            }
        };
        let (host, port) = match string.gateway() {
            Some(gateway) => (gateway, string.gateway_port()),
            None => (string.host(), string.port()),
        };
        let url = address(host.clone(), &principal, node)?.with_port(port);
        Ok(
            match token_of(string, string.identity(), string.policy(), lifetime)? {
                Some(token) => url.with_credentials(user, token),
                None => url.with_user(user),
            },
        )
    }

    /// A connection string as it is; of an address one that holds its token.
    fn to_connection_string(&self) -> Result<ConnectionString, Failure> {
        let url = match self {
            Self::String(string) => return Ok(string.clone()),
            Self::Url(url) => url,
        };
        let token = url
            .password()
            .ok_or_else(|| Failure::usage("the address holds no token"))?;
        SasToken::parse(token.expose())
            .map_err(|error| Failure::usage("the address's password is not a token").because(&error))?;
        let builder = ConnectionString::builder(url.host().clone())
            .port(url.port())
            .signature(token.clone());
        let builder = match url.identity() {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        };
        builder
            .build()
            .map_err(|error| Failure::usage("no connection string can say this").because(&error))
    }
}

fn token_of(
    string: &ConnectionString,
    identity: Option<&Identity>,
    policy: Option<&PolicyName>,
    lifetime: &Lifetime,
) -> Result<Option<Secret>, Failure> {
    if let Some(signature) = string.signature() {
        SasToken::parse(signature.expose())
            .map_err(|error| Failure::usage("SharedAccessSignature").because(&error))?;
        return Ok(Some(signature.clone()));
    }
    let Some(key) = string.key() else { return Ok(None) };
    let key = SharedKey::from_base64(key.expose())
        .map_err(|error| Failure::usage("SharedAccessKey").because(&error))?;
    let resource = token::resource(string.host(), identity);
    let token = token::sign(key, policy, &resource, token::end(lifetime));
    Ok(Some(Secret::new(token.expose())))
}
