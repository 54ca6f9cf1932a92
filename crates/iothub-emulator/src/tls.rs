//! The hub's own certificate authority and the certificate it serves.
//!
//! The authority is made once per state directory and used again, so that a developer trusts it once; the
//! server's certificate is made anew at every start, for the names of that start.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::client_certificate::AnyCertificate;
use crate::random;

/// The authority's certificate in the state directory, PEM. This is the file that clients are given.
pub const CA_FILE: &str = "ca.pem";
/// The authority's private key in the state directory, PEM, readable by its owner only.
pub const CA_KEY_FILE: &str = "ca-key.pem";

/// Why the certificate authority or the server's certificate could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file of the state directory could not be read or written; usually a permission.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the state directory is there but holds no usable key or certificate. Remove it (and its
    /// partner) to have a new authority made; clients then have to trust the new one.
    #[error("{} holds no usable {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// `private key` or `certificate`.
        what: &'static str,
    },
    /// The file of an authority for devices holds no certificate, or one that no certificate can be checked against.
    #[error("{} holds no usable certificate of an authority", path.display())]
    DeviceAuthority {
        /// The file.
        path: PathBuf,
        /// What the TLS library said, if the file holds certificates.
        #[source]
        source: Option<rustls::Error>,
    },
    /// A certificate could not be made, for instance for a name that cannot stand in one.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// The TLS library would not take what was made.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// The authority that signs the server's certificate.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    /// One that lives only in memory.
    pub(crate) fn in_memory() -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        let certificate = ca_params(&key).self_signed(&key).map_err(TlsError::Make)?;
        Ok(Self {
            pem: certificate.pem(),
            certificate: certificate.into(),
            key,
        })
    }

    /// The one of `dir`, made at the first call. Two processes that start at once get the same one: what is
    /// there first stays.
    pub(crate) fn in_directory(dir: &Path) -> Result<Self, TlsError> {
        fs::create_dir_all(dir).map_err(|source| TlsError::File {
            path: dir.to_owned(),
            source,
        })?;
        let key_file = dir.join(CA_KEY_FILE);
        let key_pem = read_or_create(&key_file, Access::Owner, || {
            Ok(KeyPair::generate().map_err(TlsError::Make)?.serialize_pem())
        })?;
        let key = KeyPair::from_pem(&key_pem).map_err(|_| TlsError::Unusable {
            path: key_file,
            what: "private key",
        })?;

        let file = dir.join(CA_FILE);
        let pem = read_or_create(&file, Access::All, || {
            Ok(ca_params(&key).self_signed(&key).map_err(TlsError::Make)?.pem())
        })?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::Unusable {
            path: file,
            what: "certificate",
        })?;
        Ok(Self {
            certificate,
            pem,
            key,
        })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// TLS 1.2 and 1.3 for `names` and `addresses`, on ring, which is handed in here: the process-wide
    /// default provider belongs to the application that embeds us.
    pub(crate) fn server_config(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        let certificate = server_params(names, addresses)?
            .signed_by(&key, &Issuer::new(ca_params(&self.key), &self.key))
            .map_err(TlsError::Make)?;
        let chain = vec![certificate.into(), self.certificate.clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
            .with_single_cert(chain, key)
            .map_err(TlsError::Setup)?;
        Ok(Arc::new(config))
    }
}

/// The certificates of a file of authorities for devices, each of them tried.
pub(crate) fn authorities_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })?;
    let unusable = |source| TlsError::DeviceAuthority {
        path: path.to_owned(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable(None))?;
    if certificates.is_empty() {
        return Err(unusable(None));
    }
    for certificate in &certificates {
        let tried = rustls::RootCertStore::empty().add(certificate.clone());
        tried.map_err(|error| unusable(Some(error)))?;
    }
    Ok(certificates)
}

/// The same for the same key, since the issuer of the server's certificate is rebuilt from the key alone.
/// The name has a part of the key's fingerprint in it: a trust store that holds the authorities of two state
/// directories must be able to tell them apart.
fn ca_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let fingerprint: String = params
        .key_identifier(key)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("iothub emulator CA {fingerprint}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + CA_VALIDITY;
    params
}

fn server_params(names: &[String], addresses: &[IpAddr]) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(TlsError::Make)?;
    params
        .subject_alt_names
        .extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "iothub emulator");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + SERVER_VALIDITY;
    Ok(params)
}

enum Access {
    Owner,
    All,
}

fn read_or_create(
    path: &Path,
    access: Access,
    make: impl FnOnce() -> Result<String, TlsError>,
) -> Result<String, TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let text = make()?;
    match create(path, access, &text) {
        Ok(()) => Ok(text),
        // Another process was first: its file counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::read_to_string(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Puts the whole file there at once, and only if there is none: a reader never sees half of it.
fn create(path: &Path, access: Access, text: &str) -> io::Result<()> {
    let nonce = random::seed().map_err(io::Error::other)?;
    let draft = path.with_extension(format!("{nonce:016x}.draft"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(match access {
            Access::Owner => 0o600,
            Access::All => 0o644,
        });
    }
    #[cfg(not(unix))]
    let _ = access;
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    // The draft may never have come to be.
    let _ = fs::remove_file(&draft);
    linked
}

/// Clients whose clock is a little behind accept the certificate too.
const BACKDATED: Duration = Duration::DAY;
const CA_VALIDITY: Duration = Duration::days(3650);
/// The longest that all of today's verifiers accept for a server.
const SERVER_VALIDITY: Duration = Duration::days(397);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_authority() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::in_directory(&dir.path().join("state")).unwrap();
        let second = Authority::in_directory(&dir.path().join("state")).unwrap();
        assert_eq!(first.der(), second.der());
        assert_eq!(first.key.serialize_der(), second.key.serialize_der());
        assert_eq!(
            fs::read_to_string(dir.path().join("state").join(CA_FILE)).unwrap(),
            first.pem()
        );
    }

    #[test]
    fn those_who_start_at_once_get_the_same_authority() {
        let dir = tempfile::tempdir().unwrap();
        let authorities: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Authority::in_directory(dir.path()).unwrap()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        for authority in &authorities {
            assert_eq!(authority.der(), authorities[0].der());
            assert_eq!(authority.key.serialize_der(), authorities[0].key.serialize_der());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no draft is left");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Authority::in_directory(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(CA_KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lost_certificate_is_made_again_from_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::in_directory(dir.path()).unwrap();
        fs::remove_file(dir.path().join(CA_FILE)).unwrap();
        let second = Authority::in_directory(dir.path()).unwrap();
        assert_eq!(first.key.serialize_der(), second.key.serialize_der());
    }

    #[test]
    fn a_broken_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CA_KEY_FILE), "nonsense").unwrap();
        let Err(error) = Authority::in_directory(dir.path()) else {
            panic!("took nonsense for a key")
        };
        assert_eq!(
            error.to_string(),
            format!(
                "{} holds no usable private key",
                dir.path().join(CA_KEY_FILE).display()
            )
        );
    }

    #[test]
    fn two_authorities_have_two_names() {
        let [one, other] = [(); 2].map(|()| Authority::in_memory().unwrap());
        let name = |authority: &Authority| {
            format!(
                "{:?}",
                ca_params(&authority.key)
                    .distinguished_name
                    .get(&DnType::CommonName)
            )
        };
        assert_ne!(name(&one), name(&other));
    }
}
