//! How a device that stays is to connect.

use clap::ValueEnum;
use iothub_address::{AmqpUrl, HubHost, Identity, Secret, User};
use iothub_amqp::{DeviceClient, DeviceClientBuilder, Proxies, Transport};
use rustls_pki_types::CertificateDer;

use super::contexts::Role;
use super::settings::{self, Settings};
use super::{roots, route, secrets};
use crate::args::Input;
use crate::args::device::Auth;
use crate::args::device_live::Connect;
use crate::failure::Failure;
use crate::io::Io;

/// A device's client that is still to connect, and what is known of its way.
pub(crate) struct Planned {
    pub(crate) builder: DeviceClientBuilder,
    /// Where its credential was found, for the middle of a sentence.
    pub(crate) place: String,
    pub(crate) identity: Option<Identity>,
    /// The token that it has, where it signs none.
    pub(crate) token: Option<Secret>,
    /// What is dialled.
    pub(crate) host: HubHost,
    pub(crate) port: Option<u16>,
    pub(crate) transport: Transport,
    pub(crate) proxies: Proxies,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// Where all this comes from.
    pub(crate) settings: Settings,
}

/// What the flags say, or else the environment. `other` is what else reads standard input.
pub(crate) fn builder(
    connect: &mut Connect,
    other: (&str, bool),
    io: &mut Io,
) -> Result<DeviceClientBuilder, Failure> {
    plan(connect, other, io).map(|planned| planned.builder)
}

/// As [`builder`], with all that is known of its way.
pub(crate) fn plan<F>(connect: &mut Connect<F>, other: (&str, bool), io: &mut Io) -> Result<Planned, Failure>
where
    F: ValueEnum + Send + Sync,
{
    let is_stdin = |input: &Option<Input>| input == &Some(Input::Stdin);
    let [cert, cert_key] = route::stdin_readers(&connect.route);
    secrets::stdin_once(&[
        cert,
        cert_key,
        ("--url-file", is_stdin(&connect.url_file)),
        (
            "--connection-string-file",
            is_stdin(&connect.given.connection_string_file),
        ),
        ("--ca", is_stdin(&connect.ca)),
        other,
    ])?;
    let mut settings = Settings::new(std::mem::take(&mut connect.given), io)?;
    let (builder, place, identity, token, host, port);
    if let Some(input) = &connect.url_file {
        let text = secrets::read(input, io)?;
        let url = AmqpUrl::parse(text.expose())
            .map_err(|error| Failure::usage(format!("the address in {input}")).because(&error))?;
        builder = DeviceClient::at(&url)?;
        place = input.to_string();
        identity = url.user().and_then(User::identity).cloned();
        token = url.password().cloned();
        (host, port) = (url.host().clone(), url.port());
    } else {
        let found = settings.connection_string(&[Role::Device], io)?;
        let found = found.ok_or_else(|| Failure::usage("no credential").hint(WAYS))?;
        let string = settings::parse(&found)?;
        builder = DeviceClient::with(&string)?;
        if connect.auth == Some(Auth::Plain) {
            return Err(
                Failure::usage("a connection string signs in by claims-based security")
                    .hint("leave --auth away, or give an address by --url-file"),
            );
        }
        place = found.origin.to_string();
        identity = string.identity().cloned();
        token = string.signature().cloned();
        (host, port) = match string.gateway() {
            Some(gateway) => (gateway.clone(), string.gateway_port()),
            None => (string.host().clone(), string.port()),
        };
    }
    let builder = match connect.auth {
        Some(Auth::Cbs) => builder.claims_based(),
        _ => builder,
    };
    let route = &connect.route;
    let builder = route::apply(builder, route, connect.auth, &settings, io)?;
    let roots = roots::read(connect.ca.take(), &settings, io)?;
    let builder = roots
        .iter()
        .cloned()
        .fold(builder, DeviceClientBuilder::root_certificate);
    let gateway = route.gateway.as_ref();
    Ok(Planned {
        builder: builder.operation_timeout(connect.timeout.0),
        place,
        identity,
        token,
        host: gateway.map_or(host, |gateway| gateway.host.clone()),
        port: route
            .port
            .or_else(|| gateway.map_or(port, |gateway| gateway.port)),
        transport: settings
            .transport(route.transport)
            .map_or(Transport::Amqp, |found| settings::transport(found.value)),
        proxies: settings::proxies(settings.proxy(route.proxy.clone()).as_ref(), io)?,
        roots,
        settings,
    })
}

const WAYS: &str = "give --url-file FILE, --connection-string-file FILE or --context NAME, set IOTHUB_DEVICE_CONNECTION_STRING, or \
                    keep one with 'iothub context add'";
