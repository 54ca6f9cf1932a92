//! A client's own certificate, by which a device signs in without a token.

use std::fmt;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A device's certificate with its chain and its private key: what an X.509 device shows in the TLS handshake.
///
/// # Delivery
/// It is shown in the TLS handshake, before any message leaves: a server that refuses it, be it late, has got none.
///
/// # Cancel safety
/// Reading one is done at once: there is no future to drop.
///
/// # Examples
/// ```no_run
/// use iothub_amqp::ClientCertificate;
/// let (chain, key) = (std::fs::read("device.pem")?, std::fs::read("device.key")?);
/// let certificate = ClientCertificate::from_pem(&chain, &key)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientCertificate {
    certified: Arc<CertifiedKey>,
}

impl ClientCertificate {
    /// Reads PEM: the device's own certificate first, then those that lead from it to its CA; and the key, as PKCS#8
    /// (`PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`). One text may hold both.
    ///
    /// # Errors
    /// See [`CertificateError`]; none repeats a part of the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::BadCertificate)?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        if ENCRYPTED.iter().any(|mark| contains(key, mark)) {
            return Err(CertificateError::EncryptedKey);
        }
        let key = match PrivateKeyDer::from_pem_slice(key) {
            Ok(key) => key,
            Err(rustls_pki_types::pem::Error::NoItemsFound) => return Err(CertificateError::NoKey),
            Err(_) => return Err(CertificateError::BadKey),
        };
        let provider = rustls::crypto::ring::default_provider();
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|_| CertificateError::BadKey)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // What can't be told apart is left to the server.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(Self {
                certified: Arc::new(certified),
            }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch),
            Err(_) => Err(CertificateError::BadCertificate),
        }
    }

    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified)))
    }
}

fn contains(text: &[u8], mark: &[u8]) -> bool {
    text.windows(mark.len()).any(|window| window == mark)
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("chain", &self.certified.cert.len())
            .finish_non_exhaustive()
    }
}

/// Why a client certificate can't be used.
///
/// # Delivery
/// It comes before there is a client: nobody was contacted.
///
/// # Cancel safety
/// It comes at once, and of the key that was read nothing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The PEM text has no certificate.
    #[error("there is no certificate: PEM is expected, with a line BEGIN CERTIFICATE")]
    NoCertificate,
    /// A certificate of it can't be read.
    #[error("a certificate can't be read")]
    BadCertificate,
    /// The PEM text has no private key.
    #[error(
        "there is no private key: PEM is expected, with a line BEGIN PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY"
    )]
    NoKey,
    /// The private key is encrypted. Decrypt it, as with `openssl pkey -in FILE -out FILE`, and guard the file.
    #[error("the private key is encrypted, and only unencrypted ones can be read")]
    EncryptedKey,
    /// The private key can't be read, or is of a kind that TLS does not use.
    #[error("the private key can't be read")]
    BadKey,
    /// The private key is not that of the first certificate.
    #[error("the private key does not belong to the first certificate")]
    Mismatch,
}

/// How PKCS#8 and the older formats mark a key that is encrypted.
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
