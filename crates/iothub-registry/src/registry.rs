//! The client, and how it is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iothub_address::{ConnectionString, ConnectionStringKind, HubHost, Resource};
use iothub_sas::{SasToken, SharedKey};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use crate::credential::{Credential, PolicyKey, Tokens};
use crate::dial::Dial;
use crate::error::{BuildError, RegistryError};
use crate::exchange::Exchange;
use crate::pool::Pool;
use crate::proxy::Proxy;
use crate::request::Call;
use crate::tls;

/// A hub's REST API, as a service uses it (Azure docs, "IoT Hub service REST APIs", version 2021-04-12).
///
/// Clones are cheap and share connections and the token. Nothing is sent before the first call.
///
/// # Errors
/// Each call gives a [`RegistryError`]: that the hub refuses, with its error code and tracking id, that it was not reached, or that what
/// became of it is unknown.
///
/// # Delivery
/// A call is made again, within its deadline, where that can do no harm: if the hub was not reached, if it throttles (429, as
/// long after as `Retry-After` says), and if it is busy (503), but for methods. What only reads is made again after a lost connection
/// and a fault of the hub's too. What changes something is not: its end is then [`RegistryError::Unknown`].
///
/// # Cancel safety
/// When a call's future is dropped, the hub may do what was asked, and nobody learns of it.
///
/// # Limits
/// A call takes at most [`DEADLINE`] in all, whatever it waits for, and a method as long as its own times beside; an
/// answer has at most [`MAX_REPLY`] bytes. At most 16 connections wait for the next call, each for 20 s.
///
/// # Examples
/// See the [crate's documentation](crate).
#[derive(Clone)]
pub struct Registry(Arc<Exchange>);

impl Registry {
    /// Starts a client of this hub with this credential.
    pub fn builder(host: HubHost, credential: impl Credential) -> RegistryBuilder {
        RegistryBuilder::new(host, Box::new(credential))
    }

    /// Starts a client with a service's connection string: with a policy's key, of which it signs tokens that live for
    /// [`TOKEN_LIFE`](crate::TOKEN_LIFE), or with a ready signature. A port in it is that of AMQP, and has no meaning here.
    ///
    /// # Errors
    /// [`BuildError::NotAServices`], [`BuildError::BadKey`], [`BuildError::BadToken`].
    pub fn from_connection_string(string: &ConnectionString) -> Result<RegistryBuilder, BuildError> {
        if string.kind() != ConnectionStringKind::Service {
            return Err(BuildError::NotAServices);
        }
        let credential: Box<dyn Credential> = match (string.policy(), string.key(), string.signature()) {
            (Some(policy), Some(key), _) => {
                let key = SharedKey::from_base64(key.expose()).map_err(BuildError::BadKey)?;
                Box::new(PolicyKey::new(policy, key))
            }
            (_, _, Some(signature)) => {
                Box::new(SasToken::parse(signature.expose()).map_err(|_| BuildError::BadToken)?)
            }
            _ => return Err(BuildError::NotAServices),
        };
        Ok(RegistryBuilder::new(string.host().clone(), credential))
    }

    pub(crate) async fn run(&self, call: &Call) -> Result<crate::reply::Reply, RegistryError> {
        self.0.run(call).await
    }

    pub(crate) async fn run_any(&self, call: &Call) -> Result<crate::reply::Reply, RegistryError> {
        self.0.run_any(call).await
    }

    /// The answer's JSON.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Value, RegistryError> {
        Ok(self.run(call).await?.json()?)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("place", &self.0.dial.place())
            .finish_non_exhaustive()
    }
}

/// How a client is to be.
#[must_use]
pub struct RegistryBuilder {
    host: HubHost,
    credential: Box<dyn Credential>,
    port: u16,
    roots: Vec<CertificateDer<'static>>,
    proxy: Option<Proxy>,
    deadline: Duration,
    largest_reply: usize,
}

impl RegistryBuilder {
    fn new(host: HubHost, credential: Box<dyn Credential>) -> Self {
        Self {
            host,
            credential,
            port: HTTPS_PORT,
            roots: Vec::new(),
            proxy: None,
            deadline: DEADLINE,
            largest_reply: MAX_REPLY,
        }
    }

    /// The port. Default [`HTTPS_PORT`], where every hub is; an emulator may be elsewhere.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Trusts this root too, beside those of the platform: of an emulator, or of a proxy that opens TLS. Each call adds one.
    pub fn root(mut self, root: CertificateDer<'static>) -> Self {
        self.roots.push(root);
        self
    }

    /// Goes through this proxy. Default none; the environment is the caller's to read.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// How long a call takes at most in all: token, connection, answer, and all that is made again. Default [`DEADLINE`]. Shorter
    /// ends sooner when the hub is gone, and leaves less time to wait out a throttle.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The most bytes of an answer. Default [`MAX_REPLY`]. Less bounds memory, and needs smaller pages of queries.
    pub fn largest_reply(mut self, bytes: usize) -> Self {
        self.largest_reply = bytes;
        self
    }

    /// The client. It reads the platform's roots, and sends nothing.
    ///
    /// # Errors
    /// [`BuildError::BadRoot`], [`BuildError::BadName`].
    ///
    /// # Cancel safety
    /// Nothing is left when dropped.
    pub async fn build(self) -> Result<Registry, BuildError> {
        let plain = match self.host.ip() {
            Some(ip) => ip.to_string(),
            None => self.host.as_str().to_owned(),
        };
        let name = ServerName::try_from(plain).map_err(|_| BuildError::BadName(self.host.clone()))?;
        let tls = tls::config(self.roots).await?;
        let resource = Resource::hub(&self.host);
        Ok(Registry(Arc::new(Exchange {
            dial: Dial {
                host: self.host,
                port: self.port,
                name,
                proxy: self.proxy,
                tls: Arc::new(tls),
            },
            tokens: Tokens::new(self.credential, resource),
            pool: Pool::default(),
            deadline: self.deadline,
            largest_reply: self.largest_reply,
        })))
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// How long a call takes at most in all. Default 60 s.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The port of HTTPS: 443.
pub const HTTPS_PORT: u16 = 443;
/// The most bytes of an answer. Default 64 MiB: a page of 1,000 large twins.
pub const MAX_REPLY: usize = 64 * 1024 * 1024;
