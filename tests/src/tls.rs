//! A certificate authority for tests, and servers that show its certificates.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// A CA of one test's own.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a server certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validity {
    /// Now.
    Current,
    /// It has expired.
    Past,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// 1.2, in whose handshake the server judges the client's certificate.
    V12,
    /// 1.3, in which a client has shaken hands before the server has judged.
    V13,
}

impl TestCa {
    /// A CA that nobody trusts yet.
    ///
    /// # Panics
    /// When the certificate can't be made, which a test may not survive.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are legal names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key can be made");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a CA can be made"),
        }
    }

    /// The certificate to trust.
    #[must_use]
    pub fn root(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The certificate to trust, as a PEM file has it.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's side of TLS, for this name.
    ///
    /// # Panics
    /// When the certificate can't be made, which a test may not survive.
    #[must_use]
    pub fn acceptor(&self, name: &str, validity: Validity) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (certificate, key) = self.certificate(name, validity);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        TlsAcceptor::from(Arc::new(config.expect("the certificate fits its key")))
    }

    /// The same, for clients that show a certificate of this CA, and no others.
    ///
    /// # Panics
    /// When the certificate can't be made, which a test may not survive.
    #[must_use]
    pub fn acceptor_for_clients_of(&self, name: &str, clients: &Self, version: TlsVersion) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(clients.root()).expect("a CA is a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let version = match version {
            TlsVersion::V12 => &rustls::version::TLS12,
            TlsVersion::V13 => &rustls::version::TLS13,
        };
        let (certificate, key) = self.certificate(name, Validity::Current);
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("ring has both versions")
            .with_client_cert_verifier(verifier.build().expect("there is a root"))
            .with_single_cert(vec![certificate], key);
        TlsAcceptor::from(Arc::new(config.expect("the certificate fits its key")))
    }

    /// A certificate for this name with its key, as PEM files have them.
    ///
    /// # Panics
    /// When the certificate can't be made, which a test may not survive.
    #[must_use]
    pub fn certificate_pem(&self, name: &str) -> (String, String) {
        let (certificate, key) = self.signed(name, Validity::Current);
        (certificate.pem(), key.serialize_pem())
    }

    fn certificate(
        &self,
        name: &str,
        validity: Validity,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let (certificate, key) = self.signed(name, validity);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (certificate.der().clone(), key)
    }

    fn signed(&self, name: &str, validity: Validity) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a test's name is legal");
        if validity == Validity::Past {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate can be signed");
        (certificate, key)
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}
