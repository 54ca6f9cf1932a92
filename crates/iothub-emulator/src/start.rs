//! Why an emulator does not start.

use std::io;
use std::net::SocketAddr;

use crate::hub::RegistryError;
use crate::random::NoRandomness;
use crate::seed::SeedError;
use crate::store::StateError;
use crate::tls::TlsError;

/// A port of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// AMQP over TLS.
    Amqps,
    /// HTTPS.
    Https,
    /// AMQP without TLS.
    Amqp,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Amqps => "AMQPS",
            Self::Https => "HTTPS",
            Self::Amqp => "AMQP",
        })
    }
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port could not be had. The source's kind says why: `AddrInUse`, or `PermissionDenied` for a port below
    /// 1024. Ask for another, or for 0, which takes a free one.
    #[error("cannot listen on {address} for {endpoint}")]
    Listen {
        /// Whose port.
        endpoint: Endpoint,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The certificate authority or the certificate could not be had.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// A device or module was given twice, or a module of a device that was not.
    #[error("cannot register a device")]
    Device(#[source] RegistryError),
    /// A file of identities can't be used.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The state directory can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no randomness to make keys of.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}
