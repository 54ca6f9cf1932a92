//! TLS by rustls on ring: the platform's roots and the caller's, and no way to verify less.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::error::{BuildError, NotSent};

/// Trusts the platform's roots and these.
pub(crate) async fn config(extra: Vec<CertificateDer<'static>>) -> Result<ClientConfig, BuildError> {
    let mut roots = RootCertStore::empty();
    // Reads files, so not on a thread that drives connections.
    match tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await {
        Ok(native) => {
            let (added, ignored) = roots.add_parsable_certificates(native.certs);
            tracing::debug!(added, ignored, "platform roots");
        }
        Err(error) => tracing::debug!(%error, "the platform's roots can't be read"),
    }
    let bad = |error: rustls::Error| BuildError::BadRoot(error.to_string());
    for root in extra {
        roots.add(root).map_err(bad)?;
    }
    // The provider is named, so that nothing depends on what else the process installs.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(bad)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What a handshake failed of.
pub(crate) fn failure(error: &io::Error, place: &str) -> NotSent {
    let place = place.to_owned();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(certificate)) => NotSent::Certificate {
            place,
            why: match certificate {
                // A CA that was made anew under its old name shows as a signature that does not fit.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "no root that is trusted has signed it".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "it is for another name".to_owned()
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => "it does not hold today".to_owned(),
                other => other.to_string(),
            },
        },
        Some(rustls::Error::InvalidMessage(_)) => NotSent::Tls {
            place,
            why: "it speaks no TLS".to_owned(),
        },
        Some(other) => NotSent::Tls {
            place,
            why: other.to_string(),
        },
        None => NotSent::Tls {
            place,
            why: error.kind().to_string(),
        },
    }
}
