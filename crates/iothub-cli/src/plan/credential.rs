//! Where to send, and as whom.

use iothub_address::{AmqpUrl, ConnectionString, ConnectionStringKind, Resource, Secret};
use iothub_amqp::{DeviceClient, DeviceClientBuilder};
use iothub_sas::{SasToken, SharedKey};

use super::contexts::Role;
use super::settings::Settings;
use super::{secrets, token};
use crate::args::device::{Auth, Credential};
use crate::failure::{Failure, chain};
use crate::io::Io;

/// What `device send` talks to.
pub(crate) enum Target {
    /// A hub in this process.
    Local,
    /// A hub elsewhere.
    Hub(Box<DeviceClientBuilder>),
}

impl Target {
    /// What the flags say, or else the environment.
    pub(crate) fn of(
        credential: &Credential,
        auth: Option<Auth>,
        settings: &mut Settings,
        io: &mut Io,
    ) -> Result<Self, Failure> {
        if credential.local {
            return Ok(Self::Local);
        }
        let builder = if let Some(input) = &credential.url_file {
            by_url(&secrets::read(input, io)?, &input.to_string()).map(|builder| match auth {
                Some(Auth::Cbs) => builder.claims_based(),
                _ => builder,
            })
        } else if let Some(found) = settings.connection_string(&[Role::Device], io)? {
            by_connection_string(&found.value, &found.origin.to_string(), auth)
        } else {
            Err(Failure::usage("no credential").hint(WAYS))
        };
        builder.map(|builder| Self::Hub(Box::new(builder)))
    }
}

fn by_url(text: &Secret, place: &str) -> Result<DeviceClientBuilder, Failure> {
    let url = AmqpUrl::parse(text.expose())
        .map_err(|error| Failure::usage(format!("the address in {place}")).because(&error))?;
    DeviceClient::at(&url).map_err(Failure::from)
}

fn by_connection_string(
    text: &Secret,
    place: &str,
    auth: Option<Auth>,
) -> Result<DeviceClientBuilder, Failure> {
    let bad = |what: &str| Failure::usage(format!("the connection string in {place}")).and(what);
    let string = ConnectionString::parse(text.expose()).map_err(|error| bad(&error.to_string()))?;
    let Some(identity) = string.identity() else {
        return Err(bad(match string.kind() {
            ConnectionStringKind::EventHub => "it is an event hub's, and a device's or module's is needed",
            ConnectionStringKind::Provisioning => {
                "it is a provisioning service's, and a device's or module's is needed"
            }
            _ => "it is a service's, and a device's or module's, with DeviceId, is needed",
        }));
    };
    if auth != Some(Auth::Plain) {
        // Its errors say which part can't be read.
        return DeviceClient::with(&string).map_err(|error| bad(&chain(&error)));
    }
    let hub = string.host().hub_name().ok_or_else(|| {
        bad("HostName is an address that does not tell the hub's name: give the hub's host name, and the address as GatewayHostName")
    })?;
    let token = if let Some(signature) = string.signature() {
        SasToken::parse(signature.expose())
            .map_err(|error| bad(&format!("SharedAccessSignature: {error}")))?
    } else if let Some(key) = string.key() {
        let key = SharedKey::from_base64(key.expose())
            .map_err(|error| bad(&format!("SharedAccessKey: {error}")))?;
        let resource = Resource::identity(string.host(), identity);
        token::sign(key, string.policy(), &resource, token::now() + token::DEFAULT_TTL)
    } else {
        return Err(bad("x509=true: it has no token for SASL PLAIN"));
    };
    // Gateways are dialled, and know the hub by its own name; the token is for the hub.
    let (host, port) = match string.gateway() {
        Some(gateway) => (gateway, string.gateway_port()),
        None => (string.host(), string.port()),
    };
    let builder = DeviceClient::builder(host.clone(), identity.clone(), token).hub(hub);
    Ok(match port {
        Some(port) => builder.port(port),
        None => builder,
    })
}

const WAYS: &str = "give --url-file FILE, --connection-string-file FILE or --context NAME, set \
                    IOTHUB_DEVICE_CONNECTION_STRING, or try it without a hub by --local";
