//! The way to the hub: from nothing to a stream that AMQP can be spoken on.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::dial::{Endpoint, Reach, dial};
use super::tls::{Refusal, shake_hands};
use super::tunnel::open_tunnel;
use super::websocket::upgrade;
use crate::error::{ConnectError, ProxyFailure};
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
    /// Goes it, each step of it within `limit`. What the peer thinks of the client's certificate may come later.
    pub(crate) async fn open(&self, limit: Duration) -> Result<(Box<dyn ByteStream>, Refusal), ConnectError> {
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
                let mut stream = dial(network, &place, Reach::Anywhere, limit)
                    .await
                    .map_err(|error| of_proxy(proxy, error))?;
                open_tunnel(&mut stream, proxy, &self.endpoint, limit).await?;
                stream
            }
        };
        let (stream, refusal): (Box<dyn ByteStream>, _) = match &self.tls {
            None => (stream, Refusal::default()),
            Some(config) => {
                let config = Arc::clone(config);
                let (stream, refusal) = shake_hands(stream, &self.endpoint, config, limit).await?;
                (Box::new(stream), refusal)
            }
        };
        let stream: Box<dyn ByteStream> = match self.transport {
            Transport::Amqp => stream,
            Transport::WebSocket => Box::new(
                upgrade(stream, &self.endpoint, limit)
                    .await
                    .map_err(|error| refusal.explain(&self.endpoint, error))?,
            ),
        };
        Ok((stream, refusal))
    }
}

/// What keeps from the proxy is not taken for what keeps from the hub.
fn of_proxy(proxy: &Proxy, error: ConnectError) -> ConnectError {
    let (ConnectError::Resolve { source, .. } | ConnectError::Connect { source, .. }) = error else {
        return error;
    };
    ConnectError::Proxy {
        proxy: proxy.to_string(),
        why: ProxyFailure::Unreachable(source.to_string()),
    }
}
