//! Flags of every command that connects: by which way it reaches the hub.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use iothub_address::{HubHost, Secret};
use serde::{Deserialize, Serialize};

use super::Input;
use super::values::secret;

/// By which way the hub is reached.
#[derive(Args)]
#[command(next_help_heading = "The way to the hub")]
pub(crate) struct Route {
    /// What carries AMQP: amqp is TLS at port 5671, as without it; ws is a WebSocket at port 443, for networks that let
    /// nothing else out
    #[arg(long, value_name = "WHAT")]
    pub(crate) transport: Option<Carrier>,

    /// Go through this HTTP proxy, http://[USER:PASSWORD@]HOST[:PORT], percent-encoded, or through none for 'none'.
    /// Without it HTTPS_PROXY and NO_PROXY in the environment count, and are the place for a password
    #[arg(long, value_name = "URL|none", value_parser = secret, hide_env_values = true)]
    pub(crate) proxy: Option<Secret>,

    /// Connect to this host in place of the hub's, such as an IoT Edge gateway
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) gateway: Option<Gateway>,

    /// Connect to this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// Sign in with this certificate (PEM, the device's own first, then its chain): an X.509 device
    #[arg(long, value_name = "FILE", requires = "cert_key")]
    pub(crate) cert: Option<Input>,

    /// The certificate's private key (PEM, not encrypted)
    #[arg(long, value_name = "FILE|-", requires = "cert")]
    pub(crate) cert_key: Option<Input>,
}

/// What carries AMQP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Carrier {
    /// TLS over TCP
    Amqp,
    /// A WebSocket over TLS
    Ws,
}

/// A host with a port, or with the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) host: HubHost,
    pub(crate) port: Option<u16>,
}

impl FromStr for Gateway {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As a whole first: an IPv6 address without brackets has no port behind it.
        if let Ok(host) = HubHost::parse(text) {
            return Ok(Self { host, port: None });
        }
        let (host, port) = text.rsplit_once(':').ok_or("no host name or address")?;
        let host = HubHost::parse(host).map_err(|error| error.to_string())?;
        match port.parse() {
            Ok(port @ 1..) => Ok(Self {
                host,
                port: Some(port),
            }),
            _ => Err("the port is not a number from 1 to 65535".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_has_a_host_and_may_have_a_port() {
        let read = |text: &str| {
            let gateway: Result<Gateway, _> = text.parse();
            gateway
                .map(|gateway| (gateway.host.to_string(), gateway.port))
                .ok()
        };
        let some = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(read("edge.example"), some("edge.example", None));
        assert_eq!(read("edge.example:8883"), some("edge.example", Some(8883)));
        assert_eq!(read("::1"), some("[::1]", None));
        assert_eq!(read("[::1]:8883"), some("[::1]", Some(8883)));
        for text in [
            "",
            "edge.example:0",
            "edge.example:x",
            "edge.example:65536",
            "a b",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
