//! Connections that did not come to a port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection::Context;
use super::socket::Ender;

/// Serves streams that are handed to it, and has their tasks.
pub(crate) struct Guests {
    context: Context,
    /// Of the ports too.
    permits: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

impl Guests {
    pub(crate) fn new(context: Context, permits: Arc<Semaphore>) -> Self {
        Self {
            context,
            permits,
            tasks: Mutex::default(),
        }
    }

    /// Serves a connection to its end, in a task; one too many is dropped.
    pub(crate) fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            tracing::warn!("too many connections");
            return;
        };
        let context = self.context.clone();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            context
                .serve_stream(stream, NOWHERE, None, Ender::default())
                .await;
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
