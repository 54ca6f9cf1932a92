//! From a host's name to an HTTP connection with it: addresses, a proxy's tunnel, TLS.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Empty, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use iothub_address::HubHost;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::{NotSent, Step};
use crate::exchange::Progress;
use crate::proxy::Proxy;
use crate::tls;

/// Where the hub is, and by which way.
pub(crate) struct Dial {
    pub(crate) host: HubHost,
    pub(crate) port: u16,
    pub(crate) name: ServerName<'static>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) tls: Arc<ClientConfig>,
}

/// What requests are sent by. Its connection ends when it is dropped.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Dial {
    pub(crate) async fn connect(&self, progress: &Progress) -> Result<Sender, NotSent> {
        progress.at(Step::Connecting);
        let stream: Box<dyn Stream> = match &self.proxy {
            None => Box::new(reach(&self.host, self.port).await?),
            Some(proxy) => {
                let tcp = reach(proxy.host(), proxy.port())
                    .await
                    .map_err(|error| match error {
                        NotSent::Resolve { why, .. } | NotSent::Connect { why, .. } => {
                            NotSent::ProxyUnreachable {
                                proxy: proxy.to_string(),
                                why,
                            }
                        }
                        other => other,
                    })?;
                progress.at(Step::Proxy);
                self.tunnel(proxy, tcp).await?
            }
        };
        progress.at(Step::Tls);
        let place = self.place();
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), stream);
        let stream = handshake.await.map_err(|error| tls::failure(&error, &place))?;
        let shaken = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = shaken.map_err(|error| self.lost(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(sender)
    }

    /// `HOST:PORT`.
    pub(crate) fn place(&self) -> String {
        place(&self.host, self.port)
    }

    pub(crate) fn lost(&self, error: &hyper::Error) -> NotSent {
        NotSent::Lost {
            place: self.place(),
            why: error.to_string(),
        }
    }

    /// `CONNECT` (RFC 9110 §9.3.6).
    async fn tunnel(&self, proxy: &Proxy, tcp: TcpStream) -> Result<Box<dyn Stream>, NotSent> {
        let place = self.place();
        let failed = |why: String| NotSent::Proxy {
            proxy: proxy.to_string(),
            place: place.clone(),
            why,
        };
        let broken = |error: hyper::Error| failed(error.to_string());
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&place)
            .header(HOST, &place);
        if let Some(authorization) = proxy.authorization() {
            let value = HeaderValue::from_str(authorization.expose());
            let mut value = value.map_err(|error| failed(error.to_string()))?;
            value.set_sensitive(true);
            request = request.header(PROXY_AUTHORIZATION, value);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(error.to_string()))?;
        let shaken = http1::Builder::new()
            // Some proxies know names of headers in their usual spelling alone.
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(tcp))
            .await;
        let (mut sender, connection) = shaken.map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(request).await.map_err(broken)?;
        match answer.status() {
            status if status.is_success() => {
                let upgraded = hyper::upgrade::on(answer).await.map_err(broken)?;
                Ok(Box::new(TokioIo::new(upgraded)))
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(NotSent::ProxyUnauthorized {
                proxy: proxy.to_string(),
            }),
            status => Err(failed(format!("it answers {status}"))),
        }
    }
}

/// Its addresses in the system's order; one that is silent does not hold up the others for long.
async fn reach(host: &HubHost, port: u16) -> Result<TcpStream, NotSent> {
    let plain = host
        .ip()
        .map_or_else(|| host.as_str().to_owned(), |ip| ip.to_string());
    let unresolved = |why: String| NotSent::Resolve {
        host: plain.clone(),
        why,
    };
    let found = lookup_host((plain.as_str(), port)).await;
    let addresses: Vec<_> = found
        .map_err(|error| unresolved(error.to_string()))?
        .take(MAX_ADDRESSES)
        .collect();
    let mut why = None;
    for (at, address) in addresses.iter().enumerate() {
        let connecting = TcpStream::connect(address);
        let is_last = at + 1 == addresses.len();
        let connected = if is_last {
            // The call's own deadline holds.
            connecting.await.map_err(|error| error.to_string())
        } else {
            match timeout(ADDRESS_TIMEOUT, connecting).await {
                Ok(connected) => connected.map_err(|error| error.to_string()),
                Err(_) => Err("it is silent".to_owned()),
            }
        };
        match connected {
            Ok(stream) => {
                let _ = stream.set_nodelay(true); // only slower without
                return Ok(stream);
            }
            Err(error) => why = Some(error),
        }
    }
    match why {
        Some(why) => Err(NotSent::Connect {
            place: place(host, port),
            why,
        }),
        None => Err(unresolved("it has no address".to_owned())),
    }
}

fn place(host: &HubHost, port: u16) -> String {
    match host.ip() {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// The most bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// The most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 8;
/// How long each may take but the last.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
