//! Certificates of clients: what one says, whether it holds, and which identities it is good for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iothub_address::Identity;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::authentication::AuthFailure;
use super::connection::Use;
use super::event::{AuthMethod, Scope};
use super::registry::{Authentication, Registry};
use super::thumbprint::{Thumbprint, Thumbprints};
use crate::clock::Timestamp;

/// What a client showed in its TLS handshake, and proved there to have the key of. Whether it holds is decided here:
/// a handshake cannot know a certificate that no authority stands behind.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The client's own first, then those that lead to an authority.
    chain: Arc<[CertificateDer<'static>]>,
    sha1: Thumbprint,
    sha256: Thumbprint,
    common_name: Option<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl ClientCertificate {
    /// Reads the first certificate of the chain. `None` if there is none, or it is none: the handshake lets no such
    /// pass.
    pub(crate) fn read(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let der = chain.first()?;
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let common_name = parsed.subject().iter_common_name().next();
        let validity = parsed.validity();
        Some(Self {
            chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
            sha1: Thumbprint::sha1(der),
            sha256: Thumbprint::sha256(der),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            not_before: Timestamp::from_seconds(validity.not_before.timestamp()),
            not_after: Timestamp::from_seconds(validity.not_after.timestamp()),
        })
    }

    /// Its thumbprints: by SHA-1, and by SHA-256.
    pub(super) const fn thumbprints(&self) -> [Thumbprint; 2] {
        [self.sha1, self.sha256]
    }

    /// The identity that its common name names: `DEVICE`, or `DEVICE/MODULE`.
    pub(super) fn named(&self) -> Option<Identity> {
        let name = self.common_name.as_deref()?;
        Some(match name.split_once('/') {
            None => Identity::Device(name.parse().ok()?),
            Some((device, module)) => Identity::Module(device.parse().ok()?, module.parse().ok()?),
        })
    }

    fn is_one_of(&self, known: &Thumbprints) -> bool {
        let mut known = [Some(known.primary()), known.secondary()].into_iter().flatten();
        known.any(|known| self.thumbprints().contains(known))
    }

    /// Its own time. That of the certificates above it is looked at by [`DeviceAuthorities::check`].
    fn check_time(&self, now: Timestamp) -> Result<(), AuthFailure> {
        let seconds =
            |from: Timestamp, to: Timestamp| to.as_unix_seconds().saturating_sub(from.as_unix_seconds());
        if now < self.not_before {
            return Err(AuthFailure::CertificateNotYet {
                seconds: seconds(now, self.not_before),
            });
        }
        // RFC 5280 §4.1.2.5: the last second is in it.
        if now >= self.not_after + Duration::from_secs(1) {
            return Err(AuthFailure::CertificateExpired {
                seconds: seconds(self.not_after, now),
            });
        }
        Ok(())
    }
}

/// The authorities whose word the hub takes for the name of a device.
#[derive(Clone, Default)]
pub(crate) struct DeviceAuthorities(Option<Arc<dyn ClientCertVerifier>>);

impl DeviceAuthorities {
    /// Those of these certificates.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        if certificates.is_empty() {
            return Ok(Self(None));
        }
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(|verifier| Self(Some(verifier)))
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    /// Whether one of them has signed the certificate, and every one on the way holds now.
    fn check(&self, certificate: &ClientCertificate, now: Timestamp) -> Result<(), String> {
        let verifier = self.0.as_ref().ok_or("the hub has no authority for devices")?;
        let (own, above) = certificate.chain.split_first().ok_or("there is none")?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_unix_seconds()));
        verifier
            .verify_client_cert(own, above, now)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// A certificate with the authorities' word on it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    certificate: ClientCertificate,
    /// Or why no authority of the hub stands behind it.
    trusted: Result<(), String>,
}

impl Shown {
    pub(super) const fn thumbprint(&self) -> Thumbprint {
        self.certificate.sha256
    }

    pub(super) fn new(
        certificate: ClientCertificate,
        authorities: &DeviceAuthorities,
        now: Timestamp,
    ) -> Self {
        let trusted = authorities.check(&certificate, now);
        Self { certificate, trusted }
    }

    /// How the client may act as `identity` by it, or why it may not. What is open stays open when the certificate's
    /// time ends, as a TLS connection does.
    pub(super) fn proves(
        &self,
        identity: &Identity,
        registry: &Registry,
        at: Use,
        now: Timestamp,
    ) -> Result<AuthMethod, AuthFailure> {
        let entry = registry
            .get(identity)
            .ok_or_else(|| AuthFailure::NotRegistered(identity.clone()))?;
        let check_time = || match at {
            Use::Open => self.certificate.check_time(now),
            Use::Keep(_) => Ok(()),
        };
        let other = || AuthFailure::OtherCertificate(identity.clone());
        match &entry.authentication {
            Authentication::SelfSigned(known) if !self.certificate.is_one_of(known) => return Err(other()),
            Authentication::SelfSigned(_) => {}
            Authentication::CertificateAuthority => {
                // The time of its own comes first: it is told more plainly.
                check_time()?;
                self.trusted.clone().map_err(AuthFailure::Untrusted)?;
                if self.certificate.named().as_ref() != Some(identity) {
                    return Err(other());
                }
            }
            Authentication::Sas(_) | Authentication::None => {
                return Err(AuthFailure::NotByCertificate(identity.clone()));
            }
        }
        check_time()?;
        // Last, so that only one who has the certificate can learn by the log's reason that it is disabled.
        if !registry.is_enabled(identity) {
            return Err(AuthFailure::Disabled(identity.clone()));
        }
        Ok(AuthMethod::Certificate(Scope::of(identity)))
    }

    /// SASL EXTERNAL: whether it is good for anyone. As whom the client acts, its links say. Gives what it is known
    /// by.
    pub(super) fn external(&self, registry: &Registry, now: Timestamp) -> Result<String, AuthFailure> {
        let thumbprints = self.certificate.thumbprints();
        if thumbprints.iter().any(|thumbprint| registry.knows(thumbprint)) {
            self.certificate.check_time(now)?;
            return Ok(self.to_string());
        }
        let named = self.certificate.named();
        let by_authority = named.filter(|identity| {
            let entry = registry.get(identity);
            entry.is_some_and(|entry| matches!(entry.authentication, Authentication::CertificateAuthority))
        });
        match by_authority {
            Some(identity) => self
                .proves(&identity, registry, Use::Open, now)
                .map(|_| identity.to_string()),
            None => Err(AuthFailure::UnknownCertificate(self.certificate.sha256)),
        }
    }
}

/// What it is known by in the log.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the holder of certificate {}", self.certificate.sha256)
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("sha256", &self.sha256)
            .field("common_name", &self.common_name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DeviceAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceAuthorities")
            .field(&self.0.is_some())
            .finish()
    }
}
