//! An HTTP proxy that opens tunnels.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iothub_address::{AddressError, HubHost, Secret};
use percent_encoding::percent_decode_str;

/// An HTTP proxy that opens tunnels to hubs by `CONNECT`.
///
/// # Examples
/// ```
/// use iothub_registry::Proxy;
/// let proxy = Proxy::parse("http://dev%40corp:pass%2Fword@proxy.example:3128")?;
/// assert_eq!(format!("{proxy}"), "http://***@proxy.example:3128"); // neither name nor password is shown
/// # Ok::<(), iothub_registry::ProxyError>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    host: HubHost,
    port: u16,
    /// `Basic …`
    authorization: Option<Secret>,
}

impl Proxy {
    /// Reads `http://[USER[:PASSWORD]@]HOST[:PORT]`, with user and password percent-encoded; `http://` and a `/` at the
    /// end may be left out. Default port 80, as the scheme has it. Credentials go to the proxy by HTTP's Basic scheme,
    /// unencrypted.
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
        let (authorization, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(basic(credentials)?), place),
            None => (None, rest),
        };
        let (host, port) = split_port(place).ok_or(ProxyError::Port)?;
        Ok(Self {
            host: HubHost::parse(host).map_err(ProxyError::Host)?,
            port: port.unwrap_or(DEFAULT_PORT),
            authorization,
        })
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
    pub(crate) const fn authorization(&self) -> Option<&Secret> {
        self.authorization.as_ref()
    }
}

/// RFC 7617 §2.
fn basic(credentials: &str) -> Result<Secret, ProxyError> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let user = decode(user)?;
    if user.expose().contains(':') {
        return Err(ProxyError::Colon);
    }
    let pair = Secret::new([user.expose(), decode(password)?.expose()].join(":"));
    let encoded = Secret::new(STANDARD.encode(pair.expose()));
    Ok(Secret::new(["Basic", encoded.expose()].join(" ")))
}

fn decode(text: &str) -> Result<Secret, ProxyError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| Secret::new(text.into_owned()))
        .map_err(|_| ProxyError::Encoding)
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
        let credentials = if self.authorization.is_some() { "***@" } else { "" };
        write!(f, "http://{credentials}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// What is wrong with a proxy's address. Nothing of the address is repeated: it may hold a password.
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
    /// Its user holds a `:`, where HTTP's Basic scheme begins the password.
    #[error("the proxy's user holds a ':', which HTTP's Basic scheme can't say")]
    Colon,
}

/// Of the scheme `http` (RFC 9110 §4.2.1).
const DEFAULT_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_said_as_rfc_7617_has_it() {
        // RFC 7617 §2: "Aladdin" with the password "open sesame".
        let proxy = Proxy::parse("http://Aladdin:open%20sesame@proxy.example").unwrap();
        assert_eq!(
            proxy.authorization().unwrap().expose(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(format!("{proxy:?}"), "Proxy(http://***@proxy.example:80)");
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_repeated() {
        for (text, error) in [
            ("https://proxy.example", ProxyError::Scheme),
            ("proxy.example:0", ProxyError::Port),
            ("proxy.example:x", ProxyError::Port),
            ("http://a%3Ab:c@proxy.example", ProxyError::Colon),
            ("http://a:%ff@proxy.example", ProxyError::Encoding),
        ] {
            assert_eq!(Proxy::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
