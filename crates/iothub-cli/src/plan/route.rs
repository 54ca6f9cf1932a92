//! By which way a client is to reach its hub.

use iothub_amqp::{ClientCertificate, DeviceClientBuilder};

use super::secrets;
use super::settings::{self, Settings};
use crate::args::Input;
use crate::args::device::Auth;
use crate::args::route::Route;
use crate::failure::Failure;
use crate::io::Io;

/// Which of its flags read standard input.
pub(crate) fn stdin_readers(route: &Route) -> [(&'static str, bool); 2] {
    let is_stdin = |input: &Option<Input>| input == &Some(Input::Stdin);
    [
        ("--cert", is_stdin(&route.cert)),
        ("--cert-key", is_stdin(&route.cert_key)),
    ]
}

/// The certificate of `--cert` and `--cert-key`.
fn certificate(route: &Route, io: &mut Io) -> Result<Option<ClientCertificate>, Failure> {
    let (Some(chain), Some(key)) = (&route.cert, &route.cert_key) else {
        return Ok(None);
    };
    let (chain_pem, key_pem) = (secrets::read_bytes(chain, io)?, secrets::read_bytes(key, io)?);
    ClientCertificate::from_pem(&chain_pem, &key_pem)
        .map(Some)
        .map_err(|error| {
            Failure::usage(format!("the certificate of {chain} with the key of {key}")).because(&error)
        })
}

/// A hub in this process is reached directly, by either transport.
pub(crate) fn refuse_all_but_transport(route: &Route) -> Result<(), Failure> {
    let given = [
        ("--proxy", route.proxy.is_some()),
        ("--gateway", route.gateway.is_some()),
        ("--port", route.port.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::usage(format!(
            "--local starts a hub of its own, and {flag} leads elsewhere"
        ))
        .hint("leave one of them out")),
        None => Ok(()),
    }
}

/// Sends a client by the way that the flags say, or else the environment, and signs it in as they say.
pub(crate) fn apply(
    builder: DeviceClientBuilder,
    route: &Route,
    auth: Option<Auth>,
    settings: &Settings,
    io: &mut Io,
) -> Result<DeviceClientBuilder, Failure> {
    let builder = match (certificate(route, io)?, auth) {
        (Some(_), Some(Auth::Plain | Auth::Cbs)) => {
            return Err(
                Failure::usage("--cert signs in by a certificate, and --auth says otherwise")
                    .hint("leave one of them out"),
            );
        }
        (Some(certificate), _) => builder.certificate(certificate),
        (None, Some(Auth::X509)) => {
            return Err(Failure::usage("--auth x509 needs a certificate")
                .hint("give it by --cert FILE and --cert-key FILE"));
        }
        (None, _) => builder,
    };
    let proxies = settings::proxies(settings.proxy(route.proxy.clone()).as_ref(), io)?;
    let mut builder = builder.proxies(proxies);
    if let Some(carrier) = settings.transport(route.transport) {
        builder = builder.transport(settings::transport(carrier.value));
    }
    if let Some(gateway) = &route.gateway {
        builder = builder.gateway(gateway.host.clone());
    }
    let port = route
        .port
        .or_else(|| route.gateway.as_ref().and_then(|gateway| gateway.port));
    Ok(match port {
        Some(port) => builder.port(port),
        None => builder,
    })
}
