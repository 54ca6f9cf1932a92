//! The settings of the way to the hub.

use std::sync::Arc;

use iothub_address::HubHost;
use rustls_pki_types::CertificateDer;

use crate::config::{AMQP_PORT, AMQPS_PORT, HTTPS_PORT};
use crate::driver::dial::Endpoint;
use crate::driver::route::Route;
use crate::driver::tls::client_config;
use crate::error::ConnectError;
use crate::{ClientCertificate, Network, Proxies, SystemNetwork, Transport};

/// Which way a client takes to its hub.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) host: HubHost,
    /// Where to connect to, if not the host.
    pub(crate) gateway: Option<HubHost>,
    pub(crate) port: Option<u16>,
    pub(crate) transport: Transport,
    /// `None` for what the environment says.
    pub(crate) proxies: Option<Proxies>,
    pub(crate) plain_tcp: bool,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) network: Arc<dyn Network>,
}

impl Way {
    pub(crate) fn to(host: HubHost) -> Self {
        Self {
            host,
            gateway: None,
            port: None,
            transport: Transport::default(),
            proxies: None,
            plain_tcp: false,
            roots: Vec::new(),
            certificate: None,
            network: Arc::new(SystemNetwork),
        }
    }

    /// Who is dialled: the name that TLS verifies, and that AMQP's open names.
    pub(crate) fn place(&self) -> &HubHost {
        self.gateway.as_ref().unwrap_or(&self.host)
    }

    pub(crate) async fn route(&self) -> Result<Route, ConnectError> {
        let place = self.place();
        let port = self.port.unwrap_or(match (self.plain_tcp, self.transport) {
            (true, _) => AMQP_PORT,
            (false, Transport::Amqp) => AMQPS_PORT,
            (false, Transport::WebSocket) => HTTPS_PORT,
        });
        let proxy = match &self.proxies {
            _ if self.plain_tcp => None, // it goes no farther than this machine
            Some(proxies) => proxies.of(place, port).cloned(),
            None => Proxies::of_environment(|name| std::env::var_os(name), (place, port))
                .map_err(ConnectError::BadProxy)?,
        };
        let tls = if self.plain_tcp {
            None
        } else {
            Some(client_config(self.roots.clone(), self.certificate.as_ref()).await?)
        };
        Ok(Route {
            network: Arc::clone(&self.network),
            proxy,
            endpoint: Endpoint {
                host: place.as_str().to_owned(),
                port,
            },
            tls,
            transport: self.transport,
        })
    }
}
