//! What a start is given of identities and policies, over what an earlier run has kept of them.

use std::collections::BTreeSet;

use iothub_address::{Identity, PolicyName};
use iothub_sas::SharedKey;

use crate::hub::{Authentication, Hub, Keys, Policy, Rights};
use crate::random::{self, NoRandomness};
use crate::start::StartError;

/// What is given of how an identity proves who it is.
pub(crate) enum Shown {
    /// Nothing: new keys, or what it has.
    Nothing,
    /// That it is by keys: new ones, or those that it has.
    Keys,
    Primary(SharedKey),
    All(Authentication),
}

impl Shown {
    pub(crate) fn of(authentication: Option<Authentication>) -> Self {
        authentication.map_or(Self::Nothing, Self::All)
    }

    /// What an identity gets that has `there`, if it is there.
    pub(crate) fn over(self, there: Option<&Authentication>) -> Result<Authentication, NoRandomness> {
        match (self, there) {
            (Self::All(all), _) => Ok(all),
            (Self::Nothing, Some(there)) => Ok(there.clone()),
            (Self::Keys, Some(there @ Authentication::Sas(_))) => Ok(there.clone()),
            (Self::Nothing | Self::Keys, _) => Authentication::generate(),
            (Self::Primary(key), there) => {
                let secondary = there
                    .and_then(Authentication::keys)
                    .map(|keys| keys.secondary.clone());
                let secondary = secondary.map_or_else(random::key, Ok)?;
                Ok(Keys::new(key, secondary).into())
            }
        }
    }
}

/// Registers each; one that is kept from an earlier run keeps what it has but for the authentication given.
pub(crate) fn add_identities(hub: &mut Hub, identities: Vec<(Identity, Shown)>) -> Result<(), StartError> {
    let mut given = BTreeSet::new();
    for (identity, shown) in identities {
        let there = hub.authentication(&identity);
        let authentication = shown.over(there)?;
        let changed = if there.is_some() && given.insert(identity.clone()) {
            hub.set_authentication(&identity, authentication)
        } else {
            given.insert(identity.clone());
            hub.register(&identity, authentication)
        };
        changed.map_err(StartError::Device)?;
    }
    Ok(())
}

/// What is given of a policy's keys.
pub(crate) enum PolicyKeys {
    One(SharedKey),
    Both(Keys),
}

/// Sets each policy, and makes those of the built-in ones that are not there. One that is kept from an earlier run keeps
/// what it has but for the key given.
pub(crate) fn add_policies(
    hub: &mut Hub,
    policies: Vec<(PolicyName, PolicyKeys, Rights)>,
) -> Result<(), NoRandomness> {
    for (name, keys, rights) in policies {
        let there = hub.policy(&name).cloned();
        let policy = match (keys, there) {
            (PolicyKeys::Both(keys), _) => Policy { keys, rights },
            (PolicyKeys::One(key), Some(there)) => Policy {
                keys: Keys::new(key, there.keys.secondary),
                rights: there.rights,
            },
            (PolicyKeys::One(key), None) => Policy {
                keys: Keys::new(key, random::key()?),
                rights,
            },
        };
        hub.set_policy(name, policy);
    }
    for name in Rights::BUILT_IN {
        let rights = Rights::of_built_in(name).unwrap_or(Rights::NONE);
        let name = PolicyName::parse(name).expect("it is a policy's name");
        if hub.policy(&name).is_none() {
            let keys = Keys::generate()?;
            hub.set_policy(name, Policy { keys, rights });
        }
    }
    Ok(())
}
