//! The steps before AMQP: the clock, the name, the ports, the certificate.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{DATE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use iothub_address::HubHost;
use iothub_amqp::{Proxies, Transport};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::chart::Chart;
use crate::exit::Exit;
use crate::failure::Failure;

/// The server that is looked at, and how.
pub(super) struct Server {
    host: String,
    name: ServerName<'static>,
    amqps_port: u16,
    https_port: u16,
    transport: Transport,
    /// Of the way to the port of the transport.
    proxy: Option<String>,
    tls: TlsConnector,
    patience: Duration,
}

impl Server {
    pub(super) fn new(
        host: &HubHost,
        port: Option<u16>,
        https_port: u16,
        transport: Transport,
        proxies: &Proxies,
        roots: Vec<CertificateDer<'static>>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let is_websocket = transport == Transport::WebSocket;
        let (amqps_port, https_port) = match port {
            Some(port) if is_websocket => (AMQPS_PORT, port),
            Some(port) => (port, https_port),
            None => (AMQPS_PORT, https_port),
        };
        let used = if is_websocket { https_port } else { amqps_port };
        let proxy = proxies.of(host, used).map(ToString::to_string);
        let host = host.as_str().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|error| Failure::usage("the hub's host").because(&error))?;
        Ok(Self {
            host,
            name,
            amqps_port,
            https_port,
            transport,
            proxy,
            tls: connector(roots)?,
            patience,
        })
    }

    /// Tells of all steps up to TLS; gives whether what comes behind can be tried.
    pub(super) async fn examine(&self, chart: &mut Chart<'_>) -> Result<bool, Failure> {
        if let Some(proxy) = &self.proxy {
            for step in ["clock", "dns", "tcp", "tls"] {
                let why = format!("the way goes through {proxy}, which signing in tries");
                chart.skip(step, &why)?;
            }
            return Ok(true);
        }
        let addresses = self.resolve().await;
        let https = match &addresses {
            Ok(addresses) => self.connect(addresses, self.https_port).await,
            Err(_) => Err(Failure::new(Exit::Unreachable, "the host has no address")),
        };
        let https = match https {
            Ok(stream) => self.shake_hands(stream).await,
            Err(failure) => Err(failure),
        };
        self.clock(https, chart).await?;
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(failure) => {
                chart.fail("dns", &failure)?;
                return Ok(false);
            }
        };
        let listed: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        chart.ok("dns", &format!("{} is {}", self.host, listed.join(", ")))?;
        let Some(stream) = self.ports(&addresses, chart).await? else {
            return Ok(false);
        };
        match self.shake_hands(stream).await {
            Ok(stream) => {
                let version = stream.get_ref().1.protocol_version();
                // `TLSv1_3` to rustls.
                let version = version.and_then(|version| version.as_str()).unwrap_or("TLS");
                let version = version.replace("TLSv", "TLS ").replace('_', ".");
                let found = format!("the certificate is {}'s, and trusted ({version})", self.host);
                chart.ok("tls", &found)?;
                Ok(true)
            }
            Err(failure) => {
                chart.fail("tls", &failure)?;
                Ok(false)
            }
        }
    }

    /// Looks at both ports; gives a stream to the one that the transport takes.
    async fn ports(&self, addresses: &[IpAddr], chart: &mut Chart<'_>) -> Result<Option<TcpStream>, Failure> {
        let is_websocket = self.transport == Transport::WebSocket;
        let mut used = None;
        for (port, is_used, other) in [
            (
                self.amqps_port,
                !is_websocket,
                "or go by the other one: --transport ws",
            ),
            (
                self.https_port,
                is_websocket,
                "or go by the other one, without --transport ws",
            ),
        ] {
            match self.connect(addresses, port).await {
                Ok(stream) => {
                    chart.ok("tcp", &format!("port {port} is open"))?;
                    if is_used {
                        used = Some(stream);
                    }
                }
                Err(failure) if is_used => {
                    let next =
                        format!("check that something listens there, open the port in the firewall, {other}");
                    chart.fail("tcp", &failure.hint(next))?;
                }
                Err(failure) => chart.warn("tcp", failure.message(), "this transport does without it")?,
            }
        }
        if used.is_none() {
            chart.skip("tls", "the port is not open")?;
        }
        Ok(used)
    }

    async fn resolve(&self) -> Result<Vec<IpAddr>, Failure> {
        let failure = |why: &dyn std::error::Error| {
            Failure::new(Exit::Unreachable, format!("can't resolve {}", self.host))
                .because(why)
                .hint("check the host's name in the credential, and this machine's DNS")
        };
        let found = timeout(self.patience, lookup_host((self.host.as_str(), 0))).await;
        let found = found
            .map_err(|late| failure(&late))?
            .map_err(|error| failure(&error))?;
        let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
        addresses.dedup();
        Ok(addresses)
    }

    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
        let mut last = "the host has no address".to_owned();
        for address in addresses {
            match timeout(self.patience, TcpStream::connect(SocketAddr::new(*address, port))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => "no answer: a firewall may be between".clone_into(&mut last),
            }
        }
        Err(Failure::new(
            Exit::Unreachable,
            format!("port {port} is not open: {last}"),
        ))
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        match timeout(self.patience, self.tls.connect(self.name.clone(), stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let failure = Failure::new(Exit::Unreachable, "the TLS handshake fails").because(&error);
                let tls = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>());
                Err(failure.hint(match tls {
                    Some(rustls::Error::InvalidCertificate(why)) => next_for(why),
                    _ => {
                        "check that host and port are a hub's, and that nothing between changes what is sent"
                    }
                }))
            }
            Err(_) => Err(
                Failure::new(Exit::TimedOut, "the server does not answer the TLS handshake")
                    .hint("check the network, or wait longer with --timeout"),
            ),
        }
    }

    /// Compares this machine's clock with the one that the server writes into an answer.
    async fn clock(
        &self,
        https: Result<TlsStream<TcpStream>, Failure>,
        chart: &mut Chart<'_>,
    ) -> Result<(), Failure> {
        let unknown = |why: &str| format!("the server's time is not known: {why}");
        let stream = match https {
            Ok(stream) => stream,
            Err(failure) => return chart.skip("clock", &unknown(failure.message())),
        };
        let date = match timeout(self.patience, self.ask_date(stream)).await {
            Ok(Some(date)) => date,
            Ok(None) => return chart.skip("clock", &unknown("its answer has no Date")),
            Err(_) => return chart.skip("clock", &unknown("it does not answer")),
        };
        let behind = (date - OffsetDateTime::now_utc()).whole_seconds();
        let found = match behind {
            0 => "this machine's and the server's are alike".to_owned(),
            1.. => format!("this machine's is {behind} s behind the server's"),
            _ => format!(
                "this machine's is {} s ahead of the server's",
                behind.unsigned_abs()
            ),
        };
        if behind.unsigned_abs() <= CLOCKS_MAY_DIFFER_BY_S {
            chart.ok("clock", &found)
        } else {
            let next = "set this machine's clock: tokens and certificates hold by time";
            chart.warn("clock", &found, next)
        }
    }

    async fn ask_date(&self, stream: TlsStream<TcpStream>) -> Option<OffsetDateTime> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let request = Request::builder()
            .method(Method::GET)
            .uri("/")
            .header(HOST, self.host.as_str())
            .body(Empty::<Bytes>::new())
            .ok()?;
        let asking = sender.send_request(request);
        tokio::pin!(asking);
        let answer = tokio::select! {
            biased;
            answer = &mut asking => answer,
            _ = connection => asking.await,
        };
        let date = answer.ok()?.headers().get(DATE)?.to_str().ok()?.to_owned();
        OffsetDateTime::parse(&date, &Rfc2822).ok()
    }
}

/// Trusts the platform's roots and these, as the client does.
fn connector(roots: Vec<CertificateDer<'static>>) -> Result<TlsConnector, Failure> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in roots {
        store
            .add(root)
            .map_err(|error| Failure::usage("a certificate of --ca").because(&error))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::unexpected("can't set up TLS").because(&error))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

const fn next_for(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "add the CA's certificate with --ca FILE or IOTHUB_CA_FILE, or find out who is between"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "connect by a name that stands in the certificate"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "check this machine's clock, or have the certificate renewed"
        }
        _ => "have the server's certificate looked at",
    }
}

const AMQPS_PORT: u16 = 5671;
/// Less than any hub minds: tokens hold some minutes longer than that.
const CLOCKS_MAY_DIFFER_BY_S: u64 = 60;
