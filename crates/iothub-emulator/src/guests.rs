//! Connections that did not come to a port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::http::Site;
use crate::wire::{Context, Ender};

/// Serves streams that are handed to it, and has their tasks.
pub(crate) struct Guests {
    amqp: Context,
    site: Site,
    /// Of the ports too.
    permits: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

impl Guests {
    pub(crate) fn new(amqp: Context, site: Site, permits: Arc<Semaphore>) -> Self {
        Self {
            amqp,
            site,
            permits,
            tasks: Mutex::default(),
        }
    }

    /// Serves AMQP on a stream.
    pub(crate) fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let amqp = self.amqp.clone();
        self.spawn(async move { amqp.serve_stream(stream, NOWHERE, None, Ender::default()).await });
    }

    /// Serves HTTP on a stream.
    pub(crate) fn serve_http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let site = self.site.clone();
        self.spawn(async move { site.serve_stream(stream, NOWHERE, None, Ender::default()).await });
    }

    /// Serves a connection to its end, in a task; one too many is dropped.
    fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            tracing::warn!("too many connections");
            return;
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }

    /// Waits for the connections to end; they are told that the hub stops as those of the ports are.
    pub(crate) async fn gone(self) {
        let mut tasks = self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        while tasks.join_next().await.is_some() {}
    }
}

/// Where such clients come from.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
