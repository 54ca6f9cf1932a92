//! What the hub knows of one connection: who is behind it, for how long, and the links it was granted.

use std::collections::BTreeMap;
use std::time::Duration;

use iothub_address::{Identity, PolicyName};

use super::authentication::{AuthFailure, Held, MAX_TOKENS, Principal};
use super::certificate::Shown;
use super::endpoint::Reach;
use super::event::AuthMethod;
use super::faults::Impairments;
use super::registry::Registry;
use super::{Grant, LinkId};
use crate::clock::Timestamp;

/// One connection. It may hold one principal by SASL PLAIN and some by `$cbs`, and be whoever its certificate is
/// good for.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    plain: Option<Held>,
    put: BTreeMap<Subject, Held>,
    /// What it showed in its TLS handshake.
    certificate: Option<Shown>,
    links: BTreeMap<LinkId, Grant>,
    /// Its device has come on another connection, and this one is being closed.
    pub(super) superseded: bool,
    /// What it was last told is wrong with it.
    pub(super) impairments: Impairments,
}

/// Whom a token speaks for: a later one for the same replaces the earlier. Policies come first, so that all of them
/// are found at the front of the map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Policy(PolicyName, Reach),
    Identity(Identity),
}

impl Subject {
    fn of(principal: &Principal) -> Self {
        match principal {
            Principal::Identity { identity, .. } => Self::Identity(identity.clone()),
            Principal::Policy { name, reach, .. } => Self::Policy(name.clone(), reach.clone()),
        }
    }
}

/// At what a right is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// A link that is to be opened: the token must hold.
    Open,
    /// A link that is open: the token may have ended this long ago.
    Keep(Duration),
}

impl Use {
    pub(crate) fn allows(self, held: &Held, now: Timestamp) -> bool {
        match self {
            Self::Open => now < held.until,
            Self::Keep(grace) => now < held.until + grace,
        }
    }
}

impl Connection {
    pub(crate) fn show(&mut self, certificate: Option<Shown>) {
        self.certificate = certificate;
    }

    pub(crate) fn admit(&mut self, held: Held) {
        self.plain = Some(held);
    }

    /// Whether a token for the same was put already.
    pub(crate) fn holds(&self, principal: &Principal) -> bool {
        self.put.contains_key(&Subject::of(principal))
    }

    /// Takes a token that was put, in place of an earlier one for the same.
    pub(crate) fn put(&mut self, held: Held) -> Result<(), AuthFailure> {
        let subject = Subject::of(&held.principal);
        if self.put.len() >= MAX_TOKENS && !self.put.contains_key(&subject) {
            return Err(AuthFailure::TooManyTokens);
        }
        self.put.insert(subject, held);
        Ok(())
    }

    pub(crate) fn add_link(&mut self, link: LinkId, grant: Grant) {
        self.links.insert(link, grant);
    }

    pub(crate) fn remove_link(&mut self, link: LinkId) -> Option<Grant> {
        self.links.remove(&link)
    }

    pub(crate) fn grant(&self, link: LinkId) -> Option<&Grant> {
        self.links.get(&link)
    }

    /// Takes back the tokens that ended `grace` ago or earlier.
    pub(crate) fn expire(&mut self, grace: Duration, now: Timestamp) -> Vec<Principal> {
        let mut expired = Vec::new();
        self.put.retain(|_, held| {
            let keeps = Use::Keep(grace).allows(held, now);
            if !keeps {
                expired.push(held.principal.clone());
            }
            keeps
        });
        expired
    }

    /// Takes back the tokens of identities that may not connect.
    pub(crate) fn drop_disabled(&mut self, registry: &Registry) {
        self.put.retain(|subject, _| match subject {
            Subject::Identity(identity) => registry.is_enabled(identity),
            Subject::Policy(..) => true,
        });
    }

    /// Whether a token of `identity` itself was shown, by SASL or to `$cbs`.
    pub(crate) fn speaks_for(&self, identity: &Identity) -> bool {
        self.plain_is(identity) || self.put.contains_key(&Subject::Identity(identity.clone()))
    }

    /// Whether it came in by PLAIN as `identity`.
    pub(crate) fn plain_is(&self, identity: &Identity) -> bool {
        let plain = self.plain.as_ref().map(|held| &held.principal);
        matches!(plain, Some(Principal::Identity { identity: own, .. }) if own == identity)
    }

    /// Who came in by PLAIN.
    pub(crate) const fn plain(&self) -> Option<&Held> {
        self.plain.as_ref()
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (LinkId, &Grant)> {
        self.links.iter().map(|(link, grant)| (*link, grant))
    }

    /// By what right the connection may act as `identity`; `None` if by none, `Some(Err(…))` if by none and it showed a
    /// certificate that says why.
    pub(crate) fn right_or_why(
        &self,
        identity: &Identity,
        registry: &Registry,
        at: Use,
        now: Timestamp,
    ) -> Option<Result<AuthMethod, AuthFailure>> {
        let by_token = self.by_token(identity, at, now).map(Ok);
        by_token.or_else(|| Some(self.certificate.as_ref()?.proves(identity, registry, at, now)))
    }

    /// By what right the connection may act as `identity`.
    pub(crate) fn right(
        &self,
        identity: &Identity,
        registry: &Registry,
        at: Use,
        now: Timestamp,
    ) -> Option<AuthMethod> {
        self.right_or_why(identity, registry, at, now)?.ok()
    }

    fn by_token(&self, identity: &Identity, at: Use, now: Timestamp) -> Option<AuthMethod> {
        let own = self.put.get(&Subject::Identity(identity.clone()));
        self.plain
            .iter()
            .chain(own)
            .chain(self.policies())
            .filter(|held| at.allows(held, now))
            .find_map(|held| match &held.principal {
                Principal::Identity {
                    identity: own,
                    method,
                } if own == identity => Some(*method),
                Principal::Policy { rights, .. } if rights.device_connect => Some(AuthMethod::Policy),
                _ => None,
            })
    }

    /// Whether a policy's token is good for what services use, and for this part of it.
    pub(crate) fn may_serve(&self, asked: &Reach, at: Use, now: Timestamp) -> bool {
        self.plain
            .iter()
            .chain(self.policies())
            .filter(|held| at.allows(held, now))
            .any(|held| held.principal.may_serve(asked))
    }

    fn policies(&self) -> impl Iterator<Item = &Held> {
        self.put
            .iter()
            .take_while(|(subject, _)| matches!(subject, Subject::Policy(..)))
            .map(|(_, held)| held)
    }

    /// When the first of its tokens ends.
    pub(crate) fn first_end(&self) -> Option<Timestamp> {
        self.plain
            .iter()
            .chain(self.put.values())
            .map(|held| held.until)
            .min()
    }
}
