//! How a device that stays is to connect.

use iothub_address::AmqpUrl;
use iothub_amqp::{DeviceClient, DeviceClientBuilder};

use super::contexts::Role;
use super::settings::{self, Settings};
use super::{roots, route, secrets};
use crate::args::Input;
use crate::args::device::Auth;
use crate::args::device_live::Connect;
use crate::failure::Failure;
use crate::io::Io;

/// What the flags say, or else the environment. `other` is what else reads standard input.
pub(crate) fn builder(
    connect: &mut Connect,
    other: (&str, bool),
    io: &mut Io,
) -> Result<DeviceClientBuilder, Failure> {
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
    let builder = if let Some(input) = &connect.url_file {
        let text = secrets::read(input, io)?;
        let url = AmqpUrl::parse(text.expose())
            .map_err(|error| Failure::usage(format!("the address in {input}")).because(&error))?;
        DeviceClient::at(&url)?
    } else {
        let found = settings.connection_string(&[Role::Device], io)?;
        let found = found.ok_or_else(|| Failure::usage("no credential").hint(WAYS))?;
        let string = settings::parse(&found)?;
        let builder = DeviceClient::with(&string)?;
        match connect.auth {
            Some(Auth::Plain) => {
                return Err(
                    Failure::usage("a connection string signs in by claims-based security")
                        .hint("leave --auth away, or give an address by --url-file"),
                );
            }
            _ => builder,
        }
    };
    let builder = match connect.auth {
        Some(Auth::Cbs) => builder.claims_based(),
        _ => builder,
    };
    let builder = route::apply(builder, &connect.route, connect.auth, &settings, io)?;
    let builder = roots::read(connect.ca.take(), &settings, io)?
        .into_iter()
        .fold(builder, DeviceClientBuilder::root_certificate);
    Ok(builder.operation_timeout(connect.timeout.0))
}

const WAYS: &str = "give --url-file FILE, --connection-string-file FILE or --context NAME, set IOTHUB_DEVICE_CONNECTION_STRING, or \
                    keep one with 'iothub context add'";
