//! The way to the hub: from nothing to a stream that AMQP can be spoken on.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::dial::{Endpoint, Reach, dial};
use super::tls::shake_hands;
use super::tunnel::open_tunnel;
use super::websocket::upgrade;
use crate::error::ConnectError;
use crate::{ByteStream, Network, Proxy, Transport};

/// How every connection of a client reaches its hub.
pub(crate) struct Route {
    pub(crate) network: Arc<dyn Network>,
    /// The hub, or the gateway in its place.
    pub(crate) endpoint: Endpoint,
    pub(crate) proxy: Option<Proxy>,
    /// None for plain TCP to this machine.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) transport: Transport,
}

impl Route {
    /// Goes it, each step of it within `limit`.
    pub(crate) async fn open(&self, limit: Duration) -> Result<Box<dyn ByteStream>, ConnectError> {
        let network = &*self.network;
        let stream = match (&self.proxy, &self.tls) {
            (None, Some(_)) => dial(network, &self.endpoint, Reach::Anywhere, limit).await?,
            // What is not encrypted leaves this machine by no way.
            (_, None) => dial(network, &self.endpoint, Reach::ThisMachine, limit).await?,
            (Some(proxy), Some(_)) => {
                let place = Endpoint {
                    host: proxy.host().as_str().to_owned(),
                    port: proxy.port(),
                };
                let mut stream = dial(network, &place, Reach::Anywhere, limit).await?;
                open_tunnel(&mut stream, proxy, &self.endpoint, limit).await?;
                stream
            }
        };
        let stream = match &self.tls {
            None => stream,
            Some(config) => {
                let config = Arc::clone(config);
                Box::new(shake_hands(stream, &self.endpoint, config, limit).await?)
            }
        };
        Ok(match self.transport {
            Transport::Amqp => stream,
            Transport::WebSocket => Box::new(upgrade(stream, &self.endpoint, limit).await?),
        })
    }
}
