//! Certificates to trust beside the platform's.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::secrets;
use crate::args::Input;
use crate::failure::Failure;
use crate::io::Io;

/// The certificates of `--ca`, or else of the environment.
pub(crate) fn read(flag: Option<Input>, io: &mut Io) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let from_environment = || {
        io.variable(CA_VARIABLE)
            .map(|path| Input::File(PathBuf::from(path)))
    };
    let Some(input) = flag.or_else(from_environment) else {
        return Ok(Vec::new());
    };
    let pem = secrets::read_bytes(&input, io)?;
    let broken = || Failure::usage(format!("{input} holds a certificate that can't be read"));
    let roots: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| broken())?;
    if roots.is_empty() {
        return Err(Failure::usage(format!("{input} holds no certificate"))
            .and("it takes PEM, with lines that say BEGIN CERTIFICATE"));
    }
    Ok(roots)
}

const CA_VARIABLE: &str = "IOTHUB_CA_FILE";
