//! How a device that stays is to connect.

use iothub_address::{AmqpUrl, ConnectionString};
use iothub_amqp::{DeviceClient, DeviceClientBuilder};

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
            is_stdin(&connect.connection_string_file),
        ),
        ("--ca", is_stdin(&connect.ca)),
        other,
    ])?;
    let builder = if let Some(input) = &connect.url_file {
        let text = secrets::read(input, io)?;
        let url = AmqpUrl::parse(text.expose())
            .map_err(|error| Failure::usage(format!("the address in {input}")).because(&error))?;
        DeviceClient::at(&url)?
    } else {
        let (text, place) = match &connect.connection_string_file {
            Some(input) => (Some(secrets::read(input, io)?), input.to_string()),
            None => (secrets::from_environment(VARIABLE, io)?, VARIABLE.to_owned()),
        };
        let text = text.ok_or_else(|| Failure::usage("no credential").and(WAYS))?;
        let string = ConnectionString::parse(text.expose())
            .map_err(|error| Failure::usage(format!("the connection string in {place}")).because(&error))?;
        let builder = DeviceClient::with(&string)?;
        match connect.auth {
            Some(Auth::Plain) => {
                return Err(
                    Failure::usage("a connection string signs in by claims-based security")
                        .and("leave --auth away, or give an address by --url-file"),
                );
            }
            _ => builder,
        }
    };
    let builder = match connect.auth {
        Some(Auth::Cbs) => builder.claims_based(),
        _ => builder,
    };
    let builder = route::apply(builder, &connect.route, connect.auth, io)?;
    let builder = roots::read(connect.ca.take(), io)?
        .into_iter()
        .fold(builder, DeviceClientBuilder::root_certificate);
    Ok(builder.operation_timeout(connect.timeout.0))
}

const VARIABLE: &str = "IOTHUB_DEVICE_CONNECTION_STRING";
const WAYS: &str =
    "give --url-file FILE or --connection-string-file FILE, or set IOTHUB_DEVICE_CONNECTION_STRING";
