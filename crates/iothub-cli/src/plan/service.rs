//! With which credential, and by which way, a command speaks to a hub as a service does.

use std::time::Duration;

use iothub_address::{ConnectionString, Secret};
use iothub_amqp::{Proxies, ServiceClient, ServiceClientBuilder, Transport};
use rustls_pki_types::CertificateDer;

use super::connecting::Planned;
use super::contexts::Role;
use super::settings::{self, Settings};
use super::{roots, secrets};
use crate::args::everywhere::{Everywhere, Way};
use crate::args::given::Given;
use crate::args::{Input, Output};
use crate::failure::Failure;
use crate::io::Io;

/// What a service needs to reach its hub.
pub(crate) struct Service {
    pub(crate) string: ConnectionString,
    /// Where the connection string was found, for messages.
    pub(crate) place: String,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) proxies: Proxies,
    /// Its address, wherever it stands, for clients that read it themselves. Whether it counts for a host, `proxies` knows.
    pub(crate) proxy: Option<Secret>,
    pub(crate) transport: Transport,
    pub(crate) timeout: Duration,
    pub(crate) output: Output,
    /// Where all this comes from.
    pub(crate) settings: Settings,
}

impl Service {
    /// Of commands that need a service's connection string. `other` is what else reads standard input.
    pub(crate) fn of(everywhere: Everywhere, other: (&str, bool), io: &mut Io) -> Result<Self, Failure> {
        Self::with(everywhere, &[Role::Service], other, io)
    }

    /// The client of a service that is to connect so.
    pub(crate) fn client(&self) -> Result<ServiceClientBuilder, Failure> {
        let builder = ServiceClient::with(&self.string)
            .map_err(|error| {
                Failure::usage(format!("the connection string in {}", self.place)).because(&error)
            })?
            .transport(self.transport)
            .proxies(self.proxies.clone())
            .operation_timeout(self.timeout);
        let roots = self.roots.iter().cloned();
        Ok(roots.fold(builder, ServiceClientBuilder::root_certificate))
    }

    /// Of commands that read events: an event hub's connection string does too.
    pub(crate) fn of_events(
        everywhere: Everywhere,
        other: (&str, bool),
        io: &mut Io,
    ) -> Result<Self, Failure> {
        Self::with(everywhere, &[Role::Events, Role::Service], other, io)
    }

    /// What the environment or a context has for reading events, for one whose own flags say something else; it trusts whom
    /// the other trusts.
    pub(crate) fn of_surroundings(
        context: Option<String>,
        timeout: Duration,
        other: &Planned,
        io: &mut Io,
    ) -> Result<Option<Self>, Failure> {
        let given = Given {
            context,
            ..Given::default()
        };
        let mut settings = Settings::new(given, io)?;
        let found = settings.connection_strings(false, io)?;
        let readers = [Role::Events, Role::Service];
        let found = readers
            .iter()
            .find_map(|role| found.iter().find(|(found, _)| found == role));
        let Some((_, found)) = found else { return Ok(None) };
        Ok(Some(Self {
            string: settings::parse(found)?,
            place: found.origin.to_string(),
            roots: other.roots.clone(),
            proxies: other.proxies.clone(),
            proxy: None,
            transport: other.transport,
            timeout,
            output: Output::Text,
            settings,
        }))
    }

    fn with(
        everywhere: Everywhere,
        roles: &[Role],
        other: (&str, bool),
        io: &mut Io,
    ) -> Result<Self, Failure> {
        let Everywhere { given, way, output } = everywhere;
        let Way {
            ca,
            timeout,
            transport,
            proxy,
        } = way;
        let is_stdin = |input: &Option<Input>| input == &Some(Input::Stdin);
        secrets::stdin_once(&[
            (
                "--connection-string-file",
                is_stdin(&given.connection_string_file),
            ),
            ("--ca", is_stdin(&ca)),
            other,
        ])?;
        let mut settings = Settings::new(given, io)?;
        let found = settings.connection_string(roles, io)?.ok_or_else(|| {
            let ways = format!(
                "give --connection-string-file FILE or --context NAME, set {}, or keep one with 'iothub context add'",
                roles[0].variable()
            );
            Failure::usage("no credential").hint(ways)
        })?;
        let string = settings::parse(&found)?;
        match Role::of(&string) {
            Some(role) if roles.contains(&role) => {}
            role => return Err(wrong_kind(role, roles, &found.origin.to_string())),
        }
        let roots = roots::read(ca, &settings, io)?;
        let carrier = settings.transport(transport).map(|found| found.value);
        let found_proxy = settings.proxy(proxy);
        let proxy = found_proxy.as_ref().map(|found| found.value.clone());
        Ok(Self {
            string,
            place: found.origin.to_string(),
            roots,
            proxies: settings::proxies(found_proxy.as_ref(), io)?,
            proxy: proxy.or_else(|| settings::proxy_of_environment(io)),
            transport: carrier.map_or(Transport::Amqp, settings::transport),
            timeout: timeout.0,
            output,
            settings,
        })
    }
}

fn wrong_kind(role: Option<Role>, wanted: &[Role], place: &str) -> Failure {
    let is = match role {
        Some(Role::Device) => "a device's",
        Some(Role::Service) => "a service's",
        Some(Role::Events) => "an event hub's",
        None => "a provisioning service's",
    };
    let needed = if wanted.contains(&Role::Events) {
        "a service's, with SharedAccessKeyName, or an event hub's, with Endpoint,"
    } else {
        "a service's, with SharedAccessKeyName,"
    };
    Failure::usage(format!(
        "the connection string in {place}: it is {is}, and {needed} is needed"
    ))
}
