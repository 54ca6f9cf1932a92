//! Several connections to one hub, and devices spread over them.

use std::fmt;
use std::sync::Arc;

use iothub_address::Identity;

use crate::connection::{Connection, ConnectionBuilder, DeviceBuilder};
use crate::error::{CloseError, ConnectError};
use crate::{Credential, MAX_DEVICES};

/// A fixed number of connections to one hub, over which devices and modules are spread evenly.
///
/// A device stays on the connection that it came to. More connections use more cores, attach devices side by side (a
/// session takes a round trip, and a connection begins one after the other), and have fewer devices share a fate.
///
/// # Delivery
/// What [`Connection`] says holds for each.
///
/// # Cancel safety
/// As for [`Connection`].
///
/// # Limits
/// [`MAX_DEVICES`] a connection.
#[derive(Clone)]
pub struct Pool {
    connections: Arc<[Connection]>,
}

impl Pool {
    /// So many connections, at the least one, each made as `builder` says. They connect when devices come.
    ///
    /// # Errors
    /// As [`ConnectionBuilder::open`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn open(mut builder: ConnectionBuilder, connections: usize) -> Result<Self, ConnectError> {
        let mut all = Vec::new();
        for _ in 0..connections.max(1) {
            all.push(builder.clone().open().await?);
            builder = builder.next();
        }
        Ok(Self {
            connections: all.into(),
        })
    }

    /// As many connections as so many devices need.
    #[must_use]
    pub fn connections_for(devices: usize) -> usize {
        devices.div_ceil(MAX_DEVICES).max(1)
    }

    /// A device or module that comes to the connection with the fewest.
    pub fn device(&self, identity: Identity, credential: impl Credential) -> DeviceBuilder {
        DeviceBuilder::in_pool(Arc::clone(&self.connections), identity, Arc::new(credential))
    }

    /// The connections.
    #[must_use]
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// How many devices and modules have a client here, or are about to.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.connections.iter().map(Connection::devices).sum()
    }

    /// Closes all connections, side by side, each as [`Connection::close`] does.
    ///
    /// # Errors
    /// The first error of those that did not end as they should. All are gone in any case.
    ///
    /// # Cancel safety
    /// As [`Connection::close`].
    pub async fn close(self) -> Result<(), CloseError> {
        let closing = self.connections.iter().cloned().map(Connection::close);
        futures_util::future::join_all(closing)
            .await
            .into_iter()
            .collect()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("connections", &self.connections.len())
            .field("devices", &self.devices())
            .finish_non_exhaustive()
    }
}
