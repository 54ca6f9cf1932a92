//! The HTTPS port. It says what the hub is, takes AMQP over WebSocket, and leads to the page, the administration and the REST
//! API.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::admin::Admin;
use crate::emulator::Parts;
use crate::hub::ClientCertificate;
use crate::page::Page;
use crate::rest::Rest;
use crate::websocket::{self, Messages, NotGranted};
use crate::wire::{Context, Ender, Socket, certificate_of};

/// What `GET /` answers with: a JSON text.
pub(crate) struct About(Bytes);

impl About {
    pub(crate) fn new(parts: &Parts) -> Self {
        let about = serde_json::json!({
            "product": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "hub": parts.hub_name.as_str(),
            "amqps_port": parts.amqps.port(),
            "https_port": parts.https.map(|address| address.port()),
            "amqp_port": parts.amqp.map(|address| address.port()),
        });
        Self(about.to_string().into())
    }
}

#[derive(Clone)]
pub(crate) struct Site {
    rest: Rest,
    page: Page,
    amqp: Context,
    admin: Arc<Admin>,
    tls: Arc<ServerConfig>,
    about: Bytes,
    stopping: watch::Receiver<bool>,
}

impl Site {
    pub(crate) fn new(
        rest: Rest,
        page: Page,
        amqp: Context,
        admin: Admin,
        tls: Arc<ServerConfig>,
        about: About,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            rest,
            page,
            amqp,
            admin: Arc::new(admin),
            tls,
            about: about.0,
            stopping,
        }
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let mut stopping = self.stopping.clone();
        let (stream, ender) = Socket::new(stream);
        let accepting = timeout(
            TLS_TIMEOUT,
            TlsAcceptor::from(Arc::clone(&self.tls)).accept(stream),
        );
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            accepted = accepting => accepted,
        };
        let Ok(Ok(stream)) = accepted else {
            tracing::debug!(%peer, "no TLS on the HTTPS port");
            return;
        };
        let certificate = certificate_of(&stream);
        self.serve_stream(stream, peer, certificate, ender).await;
    }

    /// As [`serve`](Self::serve), from behind TLS.
    pub(crate) async fn serve_stream<S>(
        self,
        stream: S,
        peer: SocketAddr,
        certificate: Option<ClientCertificate>,
        ender: Ender,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (upgrade, upgraded) = oneshot::channel();
        let upgrade = Arc::new(Mutex::new(Some(upgrade)));
        let service = {
            let site = self.clone();
            let certificate = certificate.clone().map(Arc::new);
            service_fn(move |mut request: Request<Incoming>| {
                let site = site.clone();
                let certificate = certificate.clone();
                let upgrade = Arc::clone(&upgrade);
                async move {
                    let response = site.answer(&mut request, peer, certificate.as_deref()).await;
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        let upgrade = upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
                        // The receiver waits until the connection is at its end.
                        let _ = upgrade.map(|upgrade| upgrade.send(hyper::upgrade::on(&mut request)));
                    }
                    Ok::<_, Infallible>(response)
                }
            })
        };
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_BUFFER)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        );
        let mut stopped = self.stopping.clone();
        let stopped = stopped.wait_for(|stopping| *stopping);
        let mut stopped = std::pin::pin!(stopped);
        let ended = tokio::select! {
            biased;
            _ = &mut stopped => Err(ANSWER_TIMEOUT),
            ended = timeout(CONNECTION_TIMEOUT, connection.as_mut()) => ended.map_err(|_| LONGEST_ANSWER),
        };
        if let Err(left) = ended {
            // It takes no further request; one that is being answered may go on.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = timeout(left, connection.as_mut()) => return,
                _ = stopped, if left > ANSWER_TIMEOUT => {}
            }
            let _ = timeout(ANSWER_TIMEOUT, connection).await;
            return;
        }
        // The connection is at its end, so that whoever would have sent it is gone by now.
        let Some(upgraded) = upgraded.now_or_never().and_then(Result::ok) else {
            return;
        };
        if let Ok(stream) = upgraded.await {
            let messages = Messages::new(TokioIo::new(stream)).await;
            self.amqp.serve_stream(messages, peer, certificate, ender).await;
        }
    }

    /// The connection is closed behind an answer to a body that was not read to its end.
    async fn answer(
        &self,
        request: &mut Request<Incoming>,
        peer: SocketAddr,
        certificate: Option<&ClientCertificate>,
    ) -> Response<Full<Bytes>> {
        if websocket::is_asked_for(request) {
            return websocket::grant(request, Full::default())
                .unwrap_or_else(|refused| not_granted(&refused));
        }
        if Admin::owns(request.uri().path()) {
            return self.admin.answer(request).await;
        }
        if let Some(shown) = self.page.answer(request, peer).await {
            return shown;
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => json(StatusCode::OK, self.about.clone()),
            _ => self.rest.answer(request, certificate).await,
        }
    }
}

fn not_granted(refused: &NotGranted) -> Response<Full<Bytes>> {
    let error = serde_json::json!({
        "Message": format!("ErrorCode:{BAD_REQUEST};No WebSocket: {refused}."),
        "ExceptionMessage": "",
    });
    json(StatusCode::BAD_REQUEST, error.to_string().into())
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

const BAD_REQUEST: &str = "ArgumentInvalid";
const TLS_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a request's head may take, and how long a connection may wait for the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest life of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
/// How long an answer may still take when the connection has had its time: a method call is held open for 600 s at most.
const LONGEST_ANSWER: Duration = Duration::from_secs(660);
/// How long an answer may still take when the hub is to stop.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of a request's head.
const MAX_BUFFER: usize = 64 * 1024;
