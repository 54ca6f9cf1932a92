//! A client of the hub's REST API, as flags, environment and contexts have it.

use std::time::Duration;

use iothub_address::HubHost;
use iothub_registry::{BuildError, HTTPS_PORT, Proxy, Registry, RegistryBuilder};

use super::service::Service;
use crate::args::Output;
use crate::args::rest::Rest;
use crate::failure::Failure;
use crate::io::Io;

/// The hub, and how to write what it says.
pub(crate) struct Hub {
    pub(crate) host: HubHost,
    pub(crate) port: Option<u16>,
    pub(crate) timeout: Duration,
    pub(crate) output: Output,
    builder: RegistryBuilder,
}

impl Hub {
    /// `other` is what else reads standard input.
    pub(crate) fn of(rest: Rest, other: (&str, bool), io: &mut Io) -> Result<Self, Failure> {
        let Rest {
            everywhere,
            https_port,
        } = rest;
        let service = Service::of(everywhere, other, io)?;
        let port = service
            .settings
            .https_port(https_port, io)?
            .map_or(HTTPS_PORT, |found| found.value.get());
        let failed = |error: &BuildError| {
            Failure::usage(format!("the connection string in {}", service.place)).because(error)
        };
        let string = &service.string;
        let mut builder = Registry::from_connection_string(string)
            .map_err(|error| failed(&error))?
            .port(port)
            .deadline(service.timeout);
        for root in service.roots {
            builder = builder.root(root);
        }
        let goes_through = service.proxies.of(string.host(), port).is_some();
        if let Some(text) = service.proxy.filter(|_| goes_through) {
            let proxy = Proxy::parse(text.expose());
            builder = builder.proxy(proxy.map_err(|error| Failure::usage("the proxy").because(&error))?);
        }
        Ok(Self {
            host: string.host().clone(),
            port: string.port(),
            timeout: service.timeout,
            output: service.output,
            builder,
        })
    }

    pub(crate) async fn registry(self) -> Result<Registry, Failure> {
        self.builder
            .build()
            .await
            .map_err(|error| Failure::usage("can't reach the hub so").because(&error))
    }
}
