//! A request over HTTPS to a hub whose authority is known: no other is trusted.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use iothub_address::Secret;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::exit::Exit;
use crate::failure::Failure;

/// Where, and whom to trust.
pub(super) struct Https {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Https {
    pub(super) fn new(host: &str, port: u16, ca_file: &Path) -> Result<Self, Failure> {
        let unusable = || Failure::usage(format!("{} holds no usable certificate", ca_file.display()));
        let pem = fs::read(ca_file)
            .map_err(|error| Failure::usage(format!("can't read {}", ca_file.display())).because(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots
                .add(certificate.map_err(|_| unusable())?)
                .map_err(|_| unusable())?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::unexpected("can't set up TLS").because(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Failure::usage("the hub's host").because(&error))?;
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Gives the answer's status and body.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<Value>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let request = self
            .made(method, path, token, body)
            .map_err(|error| Failure::unexpected("can't make the request").because(&error))?;
        match timeout(PATIENCE, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::new(
                Exit::TimedOut,
                format!("the hub at {}:{} does not answer", self.host, self.port),
            )),
        }
    }

    fn made(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<Value>,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
        authorization.set_sensitive(true);
        let host = if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(body.map_or_else(Full::default, |body| body.to_string().into()))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
        let unreached = |error: &dyn std::error::Error| {
            let what = format!("can't reach the hub at {}:{}", self.host, self.port);
            Failure::new(Exit::Unreachable, what)
                .because(error)
                .and("it may have been killed")
        };
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| unreached(&error))?;
        let tls = self.tls.connect(self.name.clone(), tcp).await;
        let tls = TokioIo::new(tls.map_err(|error| unreached(&error))?);
        let (mut sender, connection) = http1::handshake(tls).await.map_err(|error| unreached(&error))?;
        let asking = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            Ok((status, body))
        };
        tokio::pin!(asking);
        let answered = tokio::select! {
            biased;
            answered = &mut asking => answered,
            // What it was given to answer with is there all the same.
            _ = connection => asking.await,
        };
        answered.map_err(|error: hyper::Error| unreached(&error))
    }
}

/// For an answer as a whole.
const PATIENCE: Duration = Duration::from_secs(30);
