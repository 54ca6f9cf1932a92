//! TLS by rustls on ring: the platform's roots and the caller's, and no way to verify less.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ConfigBuilder, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::Endpoint;
use crate::ClientCertificate;
use crate::error::{ConnectError, Phase, TlsFailure};

/// What a TLS peer says of the client's certificate after the handshake, if it refuses it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusal(Arc<OnceLock<TlsFailure>>);

impl Refusal {
    /// What an attempt really failed of, when all that was seen of it above TLS is a lost connection.
    pub(crate) fn explain(&self, endpoint: &Endpoint, error: ConnectError) -> ConnectError {
        match (self.0.get(), &error) {
            (Some(why), ConnectError::Lost { .. } | ConnectError::WebSocket { .. }) => ConnectError::Tls {
                endpoint: endpoint.to_string(),
                why: why.clone(),
            },
            _ => error,
        }
    }
}

/// A TLS stream that notes when the peer refuses the client's certificate: in TLS 1.3 the client has shaken hands by
/// then, and whoever reads learns no more than that reading failed.
pub(crate) struct Attentive<S> {
    stream: TlsStream<S>,
    refusal: Refusal,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Attentive<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read
            && let why @ TlsFailure::ClientCertificate(_) = failure(error)
        {
            let _ = self.refusal.0.set(why); // the first word counts
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Attentive<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Shakes hands over `stream`, verifying the certificate for the endpoint's host.
pub(crate) async fn shake_hands<S>(
    stream: S,
    endpoint: &Endpoint,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<(Attentive<S>, Refusal), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |why| ConnectError::Tls {
        endpoint: endpoint.to_string(),
        why,
    };
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| failed(TlsFailure::BadName))?;
    let handshake = TlsConnector::from(config).connect(name, stream);
    match timeout(limit, handshake).await {
        Err(_) => Err(ConnectError::TimedOut {
            phase: Phase::Tls,
            after: limit,
        }),
        Ok(Err(error)) => Err(failed(failure(&error))),
        Ok(Ok(stream)) => {
            let refusal = Refusal::default();
            let attentive = Attentive {
                stream,
                refusal: refusal.clone(),
            };
            Ok((attentive, refusal))
        }
    }
}

/// Trusts the platform's roots and these, and shows this certificate to who asks for one.
///
/// Clients that trust the same and show nothing share it: the platform's roots take some 80 KiB, and reading them takes
/// longer than shaking hands.
pub(crate) async fn client_config(
    extra_roots: Vec<CertificateDer<'static>>,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, ConnectError> {
    if let Some(certificate) = certificate {
        let config = trusting(extra_roots).await?;
        return Ok(Arc::new(config.with_client_cert_resolver(certificate.resolver())));
    }
    if let Some(config) = shared(&extra_roots) {
        return Ok(config);
    }
    let config = Arc::new(trusting(extra_roots.clone()).await?.with_no_client_auth());
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, config)| config.strong_count() > 0);
    all.push((extra_roots, Arc::downgrade(&config)));
    Ok(config)
}

/// Those of clients that there are, by what they trust beside the platform's roots.
static SHARED: Mutex<Vec<(Vec<CertificateDer<'static>>, Weak<ClientConfig>)>> = Mutex::new(Vec::new());

fn shared(extra_roots: &[CertificateDer<'static>]) -> Option<Arc<ClientConfig>> {
    let all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut alike = all.iter().filter(|(roots, _)| roots == extra_roots);
    alike.find_map(|(_, config)| config.upgrade())
}

async fn trusting(
    extra_roots: Vec<CertificateDer<'static>>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ConnectError> {
    let mut roots = RootCertStore::empty();
    // Reads files, so not on a thread that drives connections.
    match tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await {
        Ok(native) => {
            for error in &native.errors {
                tracing::debug!(%error, "a platform root can't be read");
            }
            let (added, ignored) = roots.add_parsable_certificates(native.certs);
            tracing::debug!(added, ignored, "platform roots");
        }
        Err(error) => tracing::debug!(%error, "the platform's roots can't be read"),
    }
    for root in extra_roots {
        roots
            .add(root)
            .map_err(|error| ConnectError::BadRoot(error.to_string()))?;
    }
    // The provider is named, so that nothing depends on what else the process installs.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::BadRoot(error.to_string()))?
        .with_root_certificates(roots))
}

fn failure(error: &io::Error) -> TlsFailure {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return TlsFailure::Ended(error.kind().to_string());
    };
    match tls {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            // A CA that was made anew under its old name shows as a signature that does not fit.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFailure::NameMismatch
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFailure::NotNow,
            other => TlsFailure::Other(format!("the server's certificate is not acceptable: {other}")),
        },
        rustls::Error::InvalidMessage(_) => TlsFailure::NotTls,
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => TlsFailure::NameMismatch,
        rustls::Error::AlertReceived(alert) if is_of_certificate(*alert) => {
            TlsFailure::ClientCertificate(format!("{alert:?}"))
        }
        other => TlsFailure::Other(other.to_string()),
    }
}

/// The alerts of RFC 8446 §6.2 that a server sends about the certificate of its client, or for want of one. A CA that
/// was made anew under its old name shows as a signature that does not fit.
fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[tokio::test]
    async fn clients_that_trust_the_same_share_it_and_others_do_not() {
        let (one, other) = (root(), root());
        let config = |roots| async { client_config(roots, None).await.unwrap() };
        let first = config(vec![one.clone()]).await;
        assert!(Arc::ptr_eq(&first, &config(vec![one.clone()]).await));
        assert!(!Arc::ptr_eq(&first, &config(vec![other.clone()]).await));
        assert!(!Arc::ptr_eq(&first, &config(vec![one, other]).await));
        assert!(!Arc::ptr_eq(&first, &config(Vec::new()).await));
    }
}
