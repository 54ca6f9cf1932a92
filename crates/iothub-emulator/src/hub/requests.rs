//! Who may ask what over HTTPS.

use iothub_address::{Identity, PolicyName};

use super::Hub;
use super::authentication::{self, AuthFailure, Principal};
use super::certificate::{ClientCertificate, Shown};
use super::connection::Use;
use super::event::AuthMethod;
use super::registry::Rights;
use crate::clock::Timestamp;

/// What a request of a back end needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    RegistryRead,
    RegistryWrite,
    /// Both: of scheduled jobs (Azure docs, "How to schedule and broadcast jobs").
    RegistryReadWrite,
    ServiceConnect,
}

impl Right {
    const fn is_in(self, rights: Rights) -> bool {
        match self {
            Self::RegistryRead => rights.registry_read,
            Self::RegistryWrite => rights.registry_write,
            Self::RegistryReadWrite => rights.registry_read && rights.registry_write,
            Self::ServiceConnect => rights.service_connect,
        }
    }
}

/// As whom a request is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A back end that has the right.
    Service(Right),
    /// This device or module, or who may act for it.
    Identity(Identity),
}

/// Why a request is not served. The client is told nothing of it: all look alike on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error(transparent)]
    Token(#[from] AuthFailure),
    #[error("{0} has not the right that is needed, {1:?}")]
    Right(PolicyName, Right),
    #[error("it is {0}, and no policy")]
    NoPolicy(Identity),
    #[error("it is {0}, and not the device whose path it is")]
    Other(Identity),
    #[error("there is neither a token nor a certificate")]
    Nothing,
}

impl Hub {
    /// Whether a request for `path`, decoded, may be made. Gives by what right, if it is a device's.
    pub(crate) fn admit_request(
        &self,
        token: Option<&str>,
        certificate: Option<&ClientCertificate>,
        path: &str,
        who: &Who,
        now: Timestamp,
    ) -> Result<Option<AuthMethod>, NotAdmitted> {
        let Some(token) = token else {
            return self.admit_certificate(certificate, who, now);
        };
        let time = self.token_time(now);
        let principal = authentication::request_token(&self.registry, &self.names, token, path, time)?;
        match (principal, who) {
            (Principal::Policy { name, rights, .. }, Who::Service(right)) => {
                if right.is_in(rights) {
                    Ok(None)
                } else {
                    Err(NotAdmitted::Right(name, *right))
                }
            }
            (Principal::Policy { name, rights, .. }, Who::Identity(identity)) => {
                if !rights.device_connect {
                    return Err(AuthFailure::NoRight(name).into());
                }
                if self.registry.get(identity).is_none() {
                    return Err(AuthFailure::NotRegistered(identity.clone()).into());
                }
                if !self.registry.is_enabled(identity) {
                    return Err(AuthFailure::Disabled(identity.clone()).into());
                }
                Ok(Some(AuthMethod::Policy))
            }
            (Principal::Identity { identity, .. }, Who::Service(_)) => Err(NotAdmitted::NoPolicy(identity)),
            (Principal::Identity { identity, method }, Who::Identity(wanted)) => {
                if identity == *wanted {
                    Ok(Some(method))
                } else {
                    Err(NotAdmitted::Other(identity))
                }
            }
        }
    }

    fn admit_certificate(
        &self,
        certificate: Option<&ClientCertificate>,
        who: &Who,
        now: Timestamp,
    ) -> Result<Option<AuthMethod>, NotAdmitted> {
        let (Some(certificate), Who::Identity(identity)) = (certificate, who) else {
            return Err(NotAdmitted::Nothing);
        };
        let shown = Shown::new(certificate.clone(), &self.authorities, now);
        Ok(Some(shown.proves(identity, &self.registry, Use::Open, now)?))
    }
}
