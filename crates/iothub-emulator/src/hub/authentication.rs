//! Who is there: checks what a client shows against the registry.

use std::fmt;

use iothub_address::{HubHost, HubName, Identity, PolicyName, Principal as Claimed, Resource, User};
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime, VerifyError};

use super::endpoint::{Reach, entity_of};
use super::event::{AuthMethod, Scope};
use super::registry::{Keys, Registry, Rights};
use super::thumbprint::Thumbprint;
use crate::clock::Timestamp;

/// Someone whom the hub let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// One device or module, and nobody else.
    Identity { identity: Identity, method: AuthMethod },
    /// The holder of a policy's key.
    Policy {
        name: PolicyName,
        rights: Rights,
        /// What of the hub it may come to.
        reach: Reach,
    },
}

impl Principal {
    /// Whether it may use what services use, and this part of it.
    pub(crate) fn may_serve(&self, asked: &Reach) -> bool {
        match self {
            Self::Policy { rights, reach, .. } => rights.service_connect && reach.covers(asked),
            Self::Identity { .. } => false,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity { identity, .. } => identity.fmt(f),
            Self::Policy { name, .. } => write!(f, "policy {name}"),
        }
    }
}

/// A principal, for as long as its token holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) principal: Principal,
    /// When the token ends: the first moment at which it does not hold.
    pub(crate) until: Timestamp,
}

impl Held {
    fn new(principal: Principal, token: &SasToken) -> Self {
        let last = i64::try_from(token.expires_at().as_secs()).unwrap_or(i64::MAX);
        Self {
            principal,
            until: Timestamp::from_seconds(last.saturating_add(1)),
        }
    }
}

/// Why a client was not let in. By SASL it is told nothing of this: all look alike on the wire. `$cbs` answers with
/// a status and a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// The SASL mechanism is none that was offered.
    #[error("the mechanism was not offered")]
    Mechanism,
    /// The initial response is not `\0user\0password` in UTF-8.
    #[error("the response is not that of PLAIN")]
    Response,
    /// The user name has none of the forms that a hub takes, and is no policy's name.
    #[error("the user name has no form that a hub takes")]
    User,
    /// The user name is for another hub.
    #[error("the user name is for hub {0}")]
    OtherHub(HubName),
    /// The password is no SAS token.
    #[error("the password is no SAS token")]
    Token,
    /// No such device or module is registered.
    #[error("{0} is not registered")]
    NotRegistered(Identity),
    /// The device is disabled.
    #[error("{0} is disabled")]
    Disabled(Identity),
    /// The device or module does not prove who it is by a key: it was registered with a certificate, or with nothing.
    #[error("{0} has no key: it is registered with another type of authentication")]
    NotByKey(Identity),
    /// The device or module does not prove who it is by a certificate: it was registered with keys, or with nothing.
    #[error("{0} has no certificate: it is registered with another type of authentication")]
    NotByCertificate(Identity),
    /// The certificate is not the one of the device or module: the thumbprint is another, or the common name.
    #[error("the certificate is not that of {0}")]
    OtherCertificate(Identity),
    /// The certificate is nobody's: no device is registered with its thumbprint, and none by an authority has its
    /// common name.
    #[error("nobody is registered with certificate {0}")]
    UnknownCertificate(Thumbprint),
    /// No authority that the hub trusts stands behind the certificate; with what the verifier says.
    #[error("no authority of the hub stands behind the certificate: {0}")]
    Untrusted(String),
    /// The certificate has expired.
    #[error("the certificate expired {seconds} s ago")]
    CertificateExpired {
        /// How long ago, in seconds.
        seconds: u64,
    },
    /// The certificate does not hold yet.
    #[error("the certificate holds only in {seconds} s")]
    CertificateNotYet {
        /// In how long, in seconds.
        seconds: u64,
    },
    /// The hub has no such policy.
    #[error("there is no policy {0:?}")]
    NoPolicy(String),
    /// The token was signed for another policy than the one in the user name.
    #[error("the token is not one of policy {0}")]
    OtherPolicy(PolicyName),
    /// The policy may not act for devices.
    #[error("policy {0} may not act for devices")]
    NoRight(PolicyName),
    /// Neither key of the identity or policy made the signature.
    #[error("the signature was made with another key")]
    Signature,
    /// The token has expired.
    #[error("the token expired {seconds} s ago")]
    Expired {
        /// How long ago, in seconds.
        seconds: u64,
    },
    /// The token's `sr` names another hub or another identity.
    #[error("the token is not for {0}")]
    OutOfScope(String),
    /// What was sent to `$cbs` is no request to put a token.
    #[error("the request to $cbs {0}")]
    Request(&'static str),
    /// The token is of a type that the hub does not take, cut to 64 characters.
    #[error("{0:?} is no token type that the hub takes")]
    TokenType(String),
    /// The connection holds as many tokens as one may.
    #[error("the connection holds {MAX_TOKENS} tokens, and none may hold more")]
    TooManyTokens,
    /// A fault that was injected says so.
    #[error("a fault was injected")]
    Injected {
        /// The status that the client is told.
        status: i32,
    },
    /// It was taken, and a fault that was injected says that the client is not told.
    #[error("the token was taken and not answered: a fault was injected")]
    Swallowed,
    /// More devices came at once than the hub's tier lets in.
    #[error("more devices come at once than the hub's tier lets in")]
    Throttled,
}

/// The names that the hub answers to.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    hosts: Vec<HubHost>,
    labels: Vec<HubName>,
    /// The path of the event hub in the hub's event endpoint, in small letters.
    events: Reach,
}

impl Names {
    pub(crate) fn new(hosts: Vec<HubHost>, hub: &HubName) -> Self {
        let mut labels = Vec::new();
        for host in &hosts {
            // SDKs make the user name from the host's text up to the first dot, whatever kind of host it is.
            let first = host
                .as_str()
                .split('.')
                .next()
                .and_then(|label| HubName::parse(label).ok());
            labels.extend(host.hub_name().into_iter().chain(first));
        }
        let events = Reach::events(&format!("/{}", entity_of(hub)));
        Self {
            hosts,
            labels,
            events,
        }
    }

    /// The host of that name, with a port behind it or without, if it is one of the hub's.
    pub(crate) fn host(&self, name: &str) -> Option<&HubHost> {
        let named = |host: &&HubHost| {
            let rest = name
                .get(..host.as_str().len())
                .filter(|own| own.eq_ignore_ascii_case(host.as_str()));
            rest.is_some_and(|own| {
                let port = &name[own.len()..];
                port.is_empty()
                    || port
                        .strip_prefix(':')
                        .is_some_and(|port| port.parse::<u16>().is_ok())
            })
        };
        self.hosts.iter().find(named)
    }

    /// What of the hub a token opens that a policy has signed; `None` if nothing.
    fn reach_of(&self, token: &SasToken) -> Option<Reach> {
        if covers(token, self.hosts.iter().map(Resource::hub)) {
            return Some(Reach::Hub);
        }
        token.resource_readings().find_map(|reading| {
            let rest = reading.split_once("://").map_or(&*reading, |(_, rest)| rest);
            let (authority, path) = rest.split_at(rest.find('/')?);
            self.host(authority)?;
            let reach = Reach::events(path.strip_suffix('/').unwrap_or(path));
            self.events.covers(&reach).then_some(reach)
        })
    }
}

/// SASL PLAIN: `user` as sent, `password` a SAS token.
pub(crate) fn plain(
    registry: &Registry,
    names: &Names,
    user: &str,
    password: &str,
    now: UnixTime,
) -> Result<Held, AuthFailure> {
    let Ok(user) = User::parse(user) else {
        return by_key(registry, user, password);
    };
    if !names.labels.contains(user.hub()) {
        return Err(AuthFailure::OtherHub(user.hub().clone()));
    }
    let token = SasToken::parse(password).map_err(|_| AuthFailure::Token)?;
    let principal = match user.principal() {
        Claimed::Identity(identity) => as_identity(registry, names, identity, &token, now),
        Claimed::Policy(policy) => as_policy(registry, names, policy.as_str(), &token, now),
        // No form of user name that we do not know yet.
        _ => Err(AuthFailure::User),
    }?;
    Ok(Held::new(principal, &token))
}

/// SASL PLAIN as clients of Event Hubs use it: a policy's name, and its key as it is. It opens the events alone, and does
/// not end.
fn by_key(registry: &Registry, name: &str, password: &str) -> Result<Held, AuthFailure> {
    let (name, policy) = registry.policy(name).ok_or(AuthFailure::User)?;
    // Two keys are the same if they sign the same: that takes the same time whatever the key.
    let shown = SharedKey::from_text(password).map_err(|_| AuthFailure::Signature)?;
    let token = Signer::new(shown).sign(name.as_str(), UnixTime::YEAR_9999);
    check(&token, &policy.keys.as_text(), UnixTime::from_secs(0))?;
    Ok(Held {
        principal: Principal::Policy {
            name: name.clone(),
            rights: policy.rights,
            reach: Reach::events(""),
        },
        until: Timestamp::from_seconds(i64::MAX),
    })
}

/// A token put to `$cbs`. Who it makes of the client stands in the token's own `sr`: the request's `name` leaves out
/// the module (Java SDK), has a scheme and a port (C# SDK) or is escaped (Node SDK).
pub(crate) fn put_token(
    registry: &Registry,
    names: &Names,
    token: &str,
    now: UnixTime,
) -> Result<Held, AuthFailure> {
    let token = SasToken::parse(token).map_err(|_| AuthFailure::Token)?;
    let principal = match (identity_of(&token, registry), token.policy()) {
        (Some(identity), _) => as_identity(registry, names, &identity, &token, now),
        (None, Some(policy)) => as_policy(registry, names, policy, &token, now),
        (None, None) => Err(AuthFailure::OutOfScope("a device or module".to_owned())),
    }?;
    Ok(Held::new(principal, &token))
}

/// A token in a request over HTTPS for `path`, decoded. A policy's opens what its `sr` is a prefix of, in whole segments;
/// a device's or module's, what is its own.
pub(crate) fn request_token(
    registry: &Registry,
    names: &Names,
    token: &str,
    path: &str,
    now: UnixTime,
) -> Result<Principal, AuthFailure> {
    let token = SasToken::parse(token).map_err(|_| AuthFailure::Token)?;
    let Some(name) = token.policy() else {
        let identity = identity_of(&token, registry);
        let identity = identity.ok_or_else(|| AuthFailure::OutOfScope("a device or module".to_owned()))?;
        return as_identity(registry, names, &identity, &token, now);
    };
    let (name, policy) = registry
        .policy(name)
        .ok_or_else(|| AuthFailure::NoPolicy(name.to_owned()))?;
    check(&token, &policy.keys, now)?;
    if !names
        .hosts
        .iter()
        .any(|host| token.covers(&format!("{host}{path}")))
    {
        return Err(AuthFailure::OutOfScope(path.to_owned()));
    }
    Ok(Principal::Policy {
        name: name.clone(),
        rights: policy.rights,
        // Of this one request, whose path has been looked at.
        reach: Reach::Hub,
    })
}

/// The device or module that `sr` names. SDKs escape its id never, once or twice, and only the registry knows which
/// reading is one; if none is registered, the likeliest.
fn identity_of(token: &SasToken, registry: &Registry) -> Option<Identity> {
    let mut named = token.resource_readings().filter_map(|reading| {
        let (_, path) = reading.split_once("/devices/")?;
        path.strip_suffix('/').unwrap_or(path).parse::<Identity>().ok()
    });
    let likeliest = named.next()?;
    if registry.get(&likeliest).is_some() {
        return Some(likeliest);
    }
    Some(
        named
            .find(|other| registry.get(other).is_some())
            .unwrap_or(likeliest),
    )
}

/// A device or module, with its own key or with that of a policy that may act for devices.
fn as_identity(
    registry: &Registry,
    names: &Names,
    identity: &Identity,
    token: &SasToken,
    now: UnixTime,
) -> Result<Principal, AuthFailure> {
    let entry = registry
        .get(identity)
        .ok_or_else(|| AuthFailure::NotRegistered(identity.clone()))?;
    let (keys, method) = match token.policy() {
        None => {
            let keys = entry
                .authentication
                .keys()
                .ok_or_else(|| AuthFailure::NotByKey(identity.clone()))?;
            (keys, AuthMethod::OwnKey(Scope::of(identity)))
        }
        Some(name) => {
            let (name, policy) = registry
                .policy(name)
                .ok_or_else(|| AuthFailure::NoPolicy(name.to_owned()))?;
            if !policy.rights.device_connect {
                return Err(AuthFailure::NoRight(name.clone()));
            }
            (&policy.keys, AuthMethod::Policy)
        }
    };
    check(token, keys, now)?;
    if !covers(
        token,
        names.hosts.iter().map(|host| Resource::identity(host, identity)),
    ) {
        return Err(AuthFailure::OutOfScope(identity.to_string()));
    }
    // Last, so that only one who has the key can learn by the log's reason that it is disabled.
    if !registry.is_enabled(identity) {
        return Err(AuthFailure::Disabled(identity.clone()));
    }
    Ok(Principal::Identity {
        identity: identity.clone(),
        method,
    })
}

/// The holder of a policy's key. What it may do is decided link by link.
fn as_policy(
    registry: &Registry,
    names: &Names,
    name: &str,
    token: &SasToken,
    now: UnixTime,
) -> Result<Principal, AuthFailure> {
    let (name, policy) = registry
        .policy(name)
        .ok_or_else(|| AuthFailure::NoPolicy(name.to_owned()))?;
    if token.policy() != Some(name.as_str()) {
        return Err(AuthFailure::OtherPolicy(name.clone()));
    }
    let reach = names.reach_of(token);
    let reach = match check(token, &policy.keys, now) {
        Ok(()) => reach,
        // Clients of Event Hubs sign with the key's text as it stands, where those of IoT Hub decode it first.
        Err(AuthFailure::Signature) => {
            check(token, &policy.keys.as_text(), now)?;
            reach.map(|reach| match reach {
                Reach::Hub => Reach::events(""),
                events => events,
            })
        }
        Err(failure) => return Err(failure),
    };
    Ok(Principal::Policy {
        name: name.clone(),
        rights: policy.rights,
        reach: reach.ok_or_else(|| AuthFailure::OutOfScope("the hub".to_owned()))?,
    })
}

/// The signature by either key, then the time: an expired token of a stranger is a stranger's token.
fn check(token: &SasToken, keys: &Keys, now: UnixTime) -> Result<(), AuthFailure> {
    let verify = |key: &SharedKey| token.verify(key, token.policy(), now);
    let outcome = match verify(&keys.primary) {
        Err(VerifyError::WrongSignature) => verify(&keys.secondary),
        outcome => outcome,
    };
    outcome.map_err(|error| match error {
        VerifyError::Expired { by } => AuthFailure::Expired {
            seconds: by.as_secs(),
        },
        VerifyError::ExpiryOutOfRange => AuthFailure::Token,
        _ => AuthFailure::Signature,
    })
}

fn covers(token: &SasToken, mut resources: impl Iterator<Item = Resource>) -> bool {
    resources.any(|resource| token.covers(resource.as_str()))
}

/// The most tokens that one connection holds (the SDKs' error code 403005, `IotHubMaxCbsTokenExceeded`).
pub(crate) const MAX_TOKENS: usize = 999;
