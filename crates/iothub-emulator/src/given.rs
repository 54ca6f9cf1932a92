//! What a start is given of identities, over what an earlier run has kept of them.

use std::collections::BTreeSet;

use iothub_address::Identity;
use iothub_sas::SharedKey;

use crate::builder::StartError;
use crate::hub::{Authentication, Hub, Keys};
use crate::random::{self, NoRandomness};

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
