//! Certificates to trust beside the platform's.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::settings::Settings;
use crate::args::Input;
use crate::failure::Failure;
use crate::io::Io;

/// The certificates of `--ca`, or else of the environment, or else of the context.
pub(crate) fn read(
    flag: Option<Input>,
    settings: &Settings,
    io: &mut Io,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    match settings.ca(flag, io)? {
        Some(found) => parse(&found.value, &found.origin.to_string()),
        None => Ok(Vec::new()),
    }
}

/// The certificates in a PEM text that was found there.
pub(crate) fn parse(pem: &[u8], place: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let broken = || Failure::usage(format!("{place} holds a certificate that can't be read"));
    let roots: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| broken())?;
    if roots.is_empty() {
        return Err(Failure::usage(format!("{place} holds no certificate"))
            .hint("it takes PEM, with lines that say BEGIN CERTIFICATE"));
    }
    Ok(roots)
}
