//! Where a value comes from: flags, the environment, a context, in this order.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;

use iothub_address::{ConnectionString, Secret};
use iothub_amqp::{Proxies, Proxy, Transport};

use super::contexts::{Context, Contexts, Role};
use super::secrets;
use crate::args::Input;
use crate::args::given::Given;
use crate::args::route::Carrier;
use crate::failure::Failure;
use crate::io::Io;

/// What a command is to use, of all the places where it may stand.
pub(crate) struct Settings {
    given: Given,
    /// The context, and who named it.
    context: Option<(String, NamedBy, Context)>,
}

/// Who said which context counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// `--context`: then it counts more than the environment.
    Flag,
    Environment,
    /// `iothub context use`.
    Use,
}

/// A value, and where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file or standard input that a flag names.
    File(Input),
    /// The flag itself.
    Flag(&'static str),
    Environment(String),
    Context(String),
}

/// For the middle of a sentence.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(input) => input.fmt(f),
            Self::Flag(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Context(name) => write!(f, "the context {name}"),
        }
    }
}

impl Settings {
    pub(crate) fn new(given: Given, io: &mut Io) -> Result<Self, Failure> {
        let named = given.context.clone().map(|name| (name, NamedBy::Flag));
        let named = match named {
            Some(named) => Some(named),
            None => context_of_environment(io)?.map(|name| (name, NamedBy::Environment)),
        };
        let contexts = Contexts::read(io)?;
        let named = named.or_else(|| Some((contexts.current()?.to_owned(), NamedBy::Use)));
        let context = named
            .map(|(name, by)| {
                let context = contexts.get(&name)?.clone();
                Ok::<_, Failure>((name, by, context))
            })
            .transpose()?;
        Ok(Self { given, context })
    }

    /// The name of the context that counts, and who named it.
    pub(crate) fn context(&self) -> Option<(&str, NamedBy)> {
        self.context.as_ref().map(|(name, by, _)| (name.as_str(), *by))
    }

    /// The connection string for this, or for the first of these that is found.
    pub(crate) fn connection_string(
        &mut self,
        roles: &[Role],
        io: &mut Io,
    ) -> Result<Option<Found<Secret>>, Failure> {
        if let Some(input) = self.given.connection_string_file.take() {
            let value = secrets::read(&input, io)?;
            let origin = Origin::File(input);
            return Ok(Some(Found { value, origin }));
        }
        if let Some(name) = self.given.connection_string_env.take() {
            let value = secrets::from_environment(&name, io)?
                .ok_or_else(|| Failure::usage(format!("the environment variable {name} is not set")))?;
            let origin = Origin::Environment(name);
            return Ok(Some(Found { value, origin }));
        }
        if let Some(value) = self.given.connection_string.take() {
            io.note(
                "warning: others can see --connection-string in the list of processes, and the shell's history keeps \
                 it: use --connection-string-file, the environment or a context",
            );
            let origin = Origin::Flag("--connection-string");
            return Ok(Some(Found { value, origin }));
        }
        if let (false, Some(found)) = (self.context_first(), environment(roles, io)?) {
            return Ok(Some(found));
        }
        if let Some((name, _, context)) = &self.context {
            if let Some(value) = roles.iter().find_map(|role| context.string(*role)) {
                let (value, origin) = (value.clone(), Origin::Context(name.clone()));
                return Ok(Some(Found { value, origin }));
            }
            if self.context_first() {
                let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
                let what = format!(
                    "the context {name} has no connection string of this kind: {}",
                    roles.join(", ")
                );
                return Err(
                    Failure::usage(what).hint("add one with 'iothub context add', or name another context")
                );
            }
        }
        Ok(None)
    }

    /// All connection strings that commands would find, and what each is for: the one of the flags alone, where one is given.
    pub(crate) fn connection_strings(
        &mut self,
        is_given: bool,
        io: &mut Io,
    ) -> Result<Vec<(Role, Found<Secret>)>, Failure> {
        if is_given {
            let found = self.connection_string(&[], io)?;
            let Some(found) = found else { return Ok(Vec::new()) };
            let role = Role::of(&parse(&found)?);
            return Ok(role.map(|role| (role, found)).into_iter().collect());
        }
        let mut all = Vec::new();
        for role in Role::ALL {
            let of_context = self.context.as_ref().and_then(|(name, _, context)| {
                let (value, origin) = (context.string(role)?.clone(), Origin::Context(name.clone()));
                Some(Found { value, origin })
            });
            let found = if self.context_first() {
                of_context
            } else {
                environment(&[role], io)?.or(of_context)
            };
            all.extend(found.map(|found| (role, found)));
        }
        Ok(all)
    }

    /// The CA file to trust beside the platform's: its text.
    pub(crate) fn ca(&self, flag: Option<Input>, io: &mut Io) -> Result<Option<Found<Vec<u8>>>, Failure> {
        let read = |input: &Input, io: &mut Io| Ok::<_, Failure>(secrets::read_bytes(input, io)?.to_vec());
        if let Some(input) = flag {
            let value = read(&input, io)?;
            let origin = Origin::File(input);
            return Ok(Some(Found { value, origin }));
        }
        let of_context = self.context.as_ref().and_then(|(name, _, context)| {
            let value = context.ca.clone()?.into_bytes();
            let origin = Origin::Context(name.clone());
            Some(Found { value, origin })
        });
        if self.context_first() {
            return Ok(of_context);
        }
        match io.variable(CA_VARIABLE) {
            Some(path) => {
                let value = read(&Input::File(PathBuf::from(path)), io)?;
                let origin = Origin::Environment(CA_VARIABLE.to_owned());
                Ok(Some(Found { value, origin }))
            }
            None => Ok(of_context),
        }
    }

    /// What carries AMQP.
    pub(crate) fn transport(&self, flag: Option<Carrier>) -> Option<Found<Carrier>> {
        let of_flag = flag.map(|value| Found {
            value,
            origin: Origin::Flag("--transport"),
        });
        of_flag.or_else(|| {
            let (name, _, context) = self.context.as_ref()?;
            Some(Found {
                value: context.transport?,
                origin: Origin::Context(name.clone()),
            })
        })
    }

    /// The address of a proxy, or `none`. What is not found here may still stand in `HTTPS_PROXY`.
    pub(crate) fn proxy(&self, flag: Option<Secret>) -> Option<Found<Secret>> {
        let of_flag = flag.map(|value| Found {
            value,
            origin: Origin::Flag("--proxy"),
        });
        of_flag.or_else(|| {
            let (name, _, context) = self.context.as_ref()?;
            Some(Found {
                value: context.proxy.clone()?,
                origin: Origin::Context(name.clone()),
            })
        })
    }

    /// Where the hub has HTTPS, if that is said anywhere.
    pub(crate) fn https_port(
        &self,
        flag: Option<NonZeroU16>,
        io: &Io,
    ) -> Result<Option<Found<NonZeroU16>>, Failure> {
        if let Some(value) = flag {
            let origin = Origin::Flag("--https-port");
            return Ok(Some(Found { value, origin }));
        }
        let of_context = self.context.as_ref().and_then(|(name, _, context)| {
            Some(Found {
                value: context.https_port?,
                origin: Origin::Context(name.clone()),
            })
        });
        if self.context_first() {
            return Ok(of_context);
        }
        Ok(https_port_of_environment(io)?.or(of_context))
    }

    fn context_first(&self) -> bool {
        matches!(self.context, Some((_, NamedBy::Flag, _)))
    }
}

/// The connection string as it is meant.
pub(crate) fn parse(found: &Found<Secret>) -> Result<ConnectionString, Failure> {
    ConnectionString::parse(found.value.expose())
        .map_err(|error| Failure::usage(format!("the connection string in {}", found.origin)).because(&error))
}

/// The proxies that were found, or else those of the environment.
pub(crate) fn proxies(found: Option<&Found<Secret>>, io: &Io) -> Result<Proxies, Failure> {
    match found {
        Some(Found { value, .. }) if value.expose() == "none" => Ok(Proxies::none()),
        Some(Found { value, origin }) => Proxy::parse(value.expose())
            .map(Proxies::all)
            .map_err(|error| Failure::usage(format!("the proxy in {origin}")).because(&error)),
        None => Proxies::from_environment(|name| io.variable(name))
            .map_err(|error| Failure::usage("the proxy of the environment").because(&error)),
    }
}

/// The text of the environment's proxy, once [`proxies`] has read it.
pub(crate) fn proxy_of_environment(io: &Io) -> Option<Secret> {
    let text = ["HTTPS_PROXY", "https_proxy"]
        .into_iter()
        .find_map(|name| io.variable(name))?;
    text.into_string().ok().map(Secret::new)
}

pub(crate) const fn transport(carrier: Carrier) -> Transport {
    match carrier {
        Carrier::Amqp => Transport::Amqp,
        Carrier::Ws => Transport::WebSocket,
    }
}

pub(crate) const fn carrier_name(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Amqp => "amqp",
        Carrier::Ws => "ws",
    }
}

/// The environment's word on where the hub has HTTPS.
pub(crate) fn https_port_of_environment(io: &Io) -> Result<Option<Found<NonZeroU16>>, Failure> {
    let Some(text) = io.variable(HTTPS_PORT_VARIABLE) else {
        return Ok(None);
    };
    let port = text.to_str().and_then(|text| text.parse().ok());
    let value = port.ok_or_else(|| {
        Failure::usage(format!(
            "the environment variable {HTTPS_PORT_VARIABLE} is no port: a number from 1 to 65535 is"
        ))
    })?;
    let origin = Origin::Environment(HTTPS_PORT_VARIABLE.to_owned());
    Ok(Some(Found { value, origin }))
}

fn environment(roles: &[Role], io: &mut Io) -> Result<Option<Found<Secret>>, Failure> {
    for role in roles {
        if let Some(value) = secrets::from_environment(role.variable(), io)? {
            let origin = Origin::Environment(role.variable().to_owned());
            return Ok(Some(Found { value, origin }));
        }
    }
    Ok(None)
}

fn context_of_environment(io: &Io) -> Result<Option<String>, Failure> {
    io.variable(CONTEXT_VARIABLE)
        .map(|name| {
            name.into_string().map_err(|_| {
                Failure::usage(format!(
                    "the environment variable {CONTEXT_VARIABLE} is not UTF-8 text"
                ))
            })
        })
        .transpose()
}

pub(crate) const CONTEXT_VARIABLE: &str = "IOTHUB_CONTEXT";
pub(crate) const HTTPS_PORT_VARIABLE: &str = "IOTHUB_HTTPS_PORT";
pub(crate) const CA_VARIABLE: &str = "IOTHUB_CA_FILE";
