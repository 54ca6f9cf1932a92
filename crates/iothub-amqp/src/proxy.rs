//! HTTP proxies: which one a connection goes through, and with which credentials.

use std::ffi::OsString;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iothub_address::{AddressError, HubHost, Secret};
use percent_encoding::percent_decode_str;

mod exceptions;

use exceptions::Exceptions;

/// An HTTP proxy that opens tunnels to hubs by `CONNECT`.
///
/// # Delivery
/// It is a way for bytes and answers for no message: only the hub's word through it does.
///
/// # Cancel safety
/// Nobody is contacted by it. Dropping it takes it from no client that was given a clone.
///
/// # Examples
/// ```
/// use iothub_amqp::Proxy;
/// let proxy = Proxy::parse("http://dev%40corp:pass%2Fword@proxy.example:3128")?;
/// assert_eq!(format!("{proxy}"), "http://***@proxy.example:3128"); // neither name nor password is shown
/// # Ok::<(), iothub_amqp::ProxyError>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    host: HubHost,
    port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone)]
struct Credentials {
    user: String,
    password: Secret,
}

impl Proxy {
    /// Reads `http://[USER[:PASSWORD]@]HOST[:PORT]`, with user and password percent-encoded; `http://` and a `/` at the
    /// end may be left out. Default port 80, as the scheme has it.
    ///
    /// # Errors
    /// See [`ProxyError`]; none repeats a part of the text.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(ProxyError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A password may hold a raw '@', a host may not.
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(Credentials::parse(credentials)?), place),
            None => (None, rest),
        };
        let (host, port) = split_port(place).ok_or(ProxyError::Port)?;
        Ok(Self {
            host: HubHost::parse(host).map_err(ProxyError::Host)?,
            port: port.unwrap_or(DEFAULT_PORT),
            credentials,
        })
    }

    /// Signs in to the proxy with this name and password, by HTTP's Basic scheme: they go to the proxy unencrypted.
    ///
    /// # Errors
    /// [`ProxyError::Colon`], as the scheme has no way to say such a name.
    pub fn with_credentials(mut self, user: &str, password: Secret) -> Result<Self, ProxyError> {
        if user.contains(':') {
            return Err(ProxyError::Colon);
        }
        let user = user.to_owned();
        self.credentials = Some(Credentials { user, password });
        Ok(self)
    }

    /// Its host.
    #[must_use]
    pub const fn host(&self) -> &HubHost {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<Secret> {
        let Credentials { user, password } = self.credentials.as_ref()?;
        let pair = Secret::new([user.as_str(), password.expose()].join(":"));
        let encoded = Secret::new(STANDARD.encode(pair.expose()));
        Some(Secret::new(["Basic", encoded.expose()].join(" ")))
    }
}

impl Credentials {
    fn parse(text: &str) -> Result<Self, ProxyError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let user = decode(user)?;
        if user.contains(':') {
            return Err(ProxyError::Colon);
        }
        let password = Secret::new(decode(password)?);
        Ok(Self { user, password })
    }
}

fn decode(text: &str) -> Result<String, ProxyError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| ProxyError::Encoding)
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`; `None` if the port is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    match port.strip_prefix(':') {
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port != 0)?))),
        None if port.is_empty() => Some((host, None)),
        None => None,
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = if self.credentials.is_some() { "***@" } else { "" };
        write!(f, "http://{credentials}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// What is wrong with a proxy's address. Nothing of the address is repeated: it may hold a password.
///
/// # Delivery
/// Nobody was contacted: it comes while an address is read.
///
/// # Cancel safety
/// It comes at once, and of the text that was read nothing is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It begins with another scheme than `http`. SOCKS and TLS to the proxy itself are not supported.
    #[error("only proxies of the scheme http:// are supported")]
    Scheme,
    /// Its host can't be read.
    #[error("the proxy's host can't be read")]
    Host(#[source] AddressError),
    /// Its port is no number from 1 to 65535.
    #[error("the proxy's port is not a number from 1 to 65535")]
    Port,
    /// The percent-encoding of its user or password gives no UTF-8.
    #[error("the proxy's user or password is not UTF-8 after percent-decoding")]
    Encoding,
    /// Its user holds a `:`, where HTTP's Basic scheme begins the password (RFC 7617 §2).
    #[error("the proxy's user holds a ':', which HTTP's Basic scheme can't say")]
    Colon,
    /// A variable of the environment is not UTF-8.
    #[error("the environment variable {0} is not UTF-8")]
    Variable(&'static str),
}

/// Which connections go through a proxy.
///
/// # Delivery
/// They choose the way and change nothing of what is delivered. Where the chosen proxy fails, nothing goes past it.
///
/// # Cancel safety
/// Nobody is contacted by choosing: there is no future to drop.
///
/// # Examples
/// ```
/// use iothub_address::HubHost;
/// use iothub_amqp::Proxies;
/// let environment = |name: &str| match name {
///     "HTTPS_PROXY" => Some("http://proxy.example:3128".into()),
///     "NO_PROXY" => Some("localhost, .internal.example, 10.0.0.0/8".into()),
///     _ => None,
/// };
/// let proxies = Proxies::from_environment(environment)?;
/// assert!(proxies.of(&HubHost::parse("myhub.azure-devices.net")?, 5671).is_some());
/// assert!(proxies.of(&HubHost::parse("edge.internal.example")?, 5671).is_none());
/// assert!(proxies.of(&HubHost::parse("10.1.2.3")?, 5671).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    proxy: Option<Proxy>,
    exceptions: Exceptions,
}

impl Proxies {
    /// None does.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All go through this one.
    #[must_use]
    pub fn all(proxy: Proxy) -> Self {
        Self {
            proxy: Some(proxy),
            exceptions: Exceptions::default(),
        }
    }

    /// As the environment says, that `lookup` reads: `HTTPS_PROXY` or `https_proxy` names the proxy, the first that is
    /// not empty; `NO_PROXY` or `no_proxy` the hosts that it is not for, and neither is it for this machine.
    ///
    /// `NO_PROXY` is a list with commas or spaces of `*` for all, host names, which stand for all names below them too
    /// (a leading `.` or `*.` changes nothing), IP addresses and networks such as `10.0.0.0/8`; each may have a `:PORT`
    /// behind it, and is then for that port alone. What is none of these is passed over.
    ///
    /// # Errors
    /// As [`Proxy::parse`], and [`ProxyError::Variable`].
    pub fn from_environment(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ProxyError> {
        let Some(Named { proxy, exceptions }) = Named::in_environment(lookup)? else {
            return Ok(Self::none());
        };
        Ok(Self {
            proxy: Some(Proxy::parse(proxy.expose())?),
            exceptions,
        })
    }

    /// The proxy for connections to this place. What the environment names for others may be of any kind.
    pub(crate) fn of_environment(
        lookup: impl Fn(&str) -> Option<OsString>,
        (host, port): (&HubHost, u16),
    ) -> Result<Option<Proxy>, ProxyError> {
        match Named::in_environment(lookup)? {
            Some(named) if !named.exceptions.hold(host, port) => Proxy::parse(named.proxy.expose()).map(Some),
            _ => Ok(None),
        }
    }

    /// The proxy for connections to this place.
    #[must_use]
    pub fn of(&self, host: &HubHost, port: u16) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref()?;
        (!self.exceptions.hold(host, port)).then_some(proxy)
    }
}

/// What the environment says, before it is known whether it is needed.
struct Named {
    proxy: Secret,
    exceptions: Exceptions,
}

impl Named {
    fn in_environment(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, ProxyError> {
        let first = |names: [&'static str; 2]| {
            let mut set = names
                .into_iter()
                .filter_map(|name| Some((name, lookup(name)?)))
                .filter(|(_, value)| !value.is_empty());
            match set.next() {
                None => Ok(None),
                Some((name, value)) => match value.into_string() {
                    Ok(text) => Ok(Some(Secret::new(text))),
                    Err(_) => Err(ProxyError::Variable(name)),
                },
            }
        };
        let Some(proxy) = first(["HTTPS_PROXY", "https_proxy"])? else {
            return Ok(None);
        };
        let exceptions = match first(["NO_PROXY", "no_proxy"])? {
            Some(list) => Exceptions::parse(list.expose()),
            None => Exceptions::default(),
        };
        Ok(Some(Self {
            proxy,
            exceptions: exceptions.and_this_machine(),
        }))
    }
}

/// Of the scheme `http` (RFC 9110 §4.2.1).
const DEFAULT_PORT: u16 = 80;

#[cfg(test)]
mod tests;
