//! TLS by rustls on ring: the platform's roots and the caller's, and no way to verify less.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::Endpoint;
use crate::ClientCertificate;
use crate::error::{ConnectError, Phase, TlsFailure};

/// Shakes hands over `stream`, verifying the certificate for the endpoint's host.
pub(crate) async fn shake_hands<S>(
    stream: S,
    endpoint: &Endpoint,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<TlsStream<S>, ConnectError>
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
        Ok(Ok(stream)) => Ok(stream),
    }
}

/// Trusts the platform's roots and these, and shows this certificate to who asks for one.
pub(crate) async fn client_config(
    extra_roots: Vec<CertificateDer<'static>>,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, ConnectError> {
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
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::BadRoot(error.to_string()))?
        .with_root_certificates(roots);
    Ok(Arc::new(match certificate {
        Some(certificate) => config.with_client_cert_resolver(certificate.resolver()),
        None => config.with_no_client_auth(),
    }))
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
        other => TlsFailure::Other(other.to_string()),
    }
}
