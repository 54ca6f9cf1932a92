//! The user name of SASL PLAIN, which is also the user name of the double-"@" URL.

use core::fmt;
use core::str::FromStr;

use crate::error::{AddressError, ErrorKind, Part};
use crate::identity::{Identity, split_module};
use crate::name::{DeviceId, HubName, ModuleId, PolicyName};

/// A user name of SASL PLAIN: `DEVICE@sas.HUB`, `DEVICE/modules/MODULE@sas.HUB` or `POLICY@sas.root.HUB`.
///
/// HUB is the hub's name alone; a hub refuses its full host name there. Prints unescaped, as it goes over
/// the wire, and reads that back: the last `@` is the one before `sas.`, since an id may hold others.
///
/// # Examples
/// ```
/// use iothub_address::User;
/// let user = User::parse("a@b@sas.myhub")?;
/// assert_eq!(user.identity().unwrap().device().as_str(), "a@b");
/// assert_eq!(user.hub().as_str(), "myhub");
/// assert_eq!(user.to_string(), "a@b@sas.myhub");
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    principal: Principal,
    hub: HubName,
}

/// Whom a user name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// A device or module, which authenticates with its own key.
    Identity(Identity),
    /// A shared access policy of the hub.
    Policy(PolicyName),
}

impl User {
    /// The user name of a device or module.
    #[must_use]
    pub const fn for_identity(identity: Identity, hub: HubName) -> Self {
        Self {
            principal: Principal::Identity(identity),
            hub,
        }
    }

    /// The user name of a shared access policy.
    #[must_use]
    pub const fn for_policy(policy: PolicyName, hub: HubName) -> Self {
        Self {
            principal: Principal::Policy(policy),
            hub,
        }
    }

    /// Reads a user name, nothing escaped.
    ///
    /// # Errors
    /// `NoUser` if there is no `@sas.`; `FullHostName` if the hub's name has dots; else what is wrong with
    /// an id, a policy's or the hub's name, with the place.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let shape = Shape::of(text)?;
        let hub = HubName::parse(shape.hub).map_err(|error| error.shifted(text.len() - shape.hub.len()))?;
        let principal = match shape.who {
            Who::Device(device) => Principal::Identity(Identity::Device(DeviceId::parse(device)?)),
            Who::Module(device, module) => {
                let start = device.len() + "/modules/".len();
                let module = ModuleId::parse(module).map_err(|error| error.shifted(start))?;
                Principal::Identity(Identity::Module(DeviceId::parse(device)?, module))
            }
            Who::Policy(policy) => Principal::Policy(PolicyName::parse(policy)?),
        };
        Ok(Self { principal, hub })
    }

    /// Whether the text is a user name, without keeping it.
    pub(crate) fn check(text: &str) -> Result<(), AddressError> {
        let shape = Shape::of(text)?;
        HubName::check(shape.hub)?;
        match shape.who {
            Who::Device(device) => DeviceId::check(device),
            Who::Module(device, module) => DeviceId::check(device).and_then(|()| ModuleId::check(module)),
            Who::Policy(policy) => PolicyName::check(policy),
        }
    }

    /// Whom it stands for.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The device or module, if it is one.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match &self.principal {
            Principal::Identity(identity) => Some(identity),
            Principal::Policy(_) => None,
        }
    }

    /// The policy, if it is one.
    #[must_use]
    pub const fn policy(&self) -> Option<&PolicyName> {
        match &self.principal {
            Principal::Policy(policy) => Some(policy),
            Principal::Identity(_) => None,
        }
    }

    /// The hub's name.
    #[must_use]
    pub const fn hub(&self) -> &HubName {
        &self.hub
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.principal {
            Principal::Identity(identity) => write!(f, "{identity}@sas.{}", self.hub),
            Principal::Policy(policy) => write!(f, "{policy}@sas.root.{}", self.hub),
        }
    }
}

impl FromStr for User {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// A user name taken apart, its names not yet checked.
pub(crate) struct Shape<'a> {
    pub(crate) who: Who<'a>,
    pub(crate) hub: &'a str,
}

pub(crate) enum Who<'a> {
    Device(&'a str),
    Module(&'a str, &'a str),
    Policy(&'a str),
}

impl<'a> Shape<'a> {
    /// Takes a user name apart from the right: a hub's name holds no `@`, all that is left of it may.
    pub(crate) fn of(text: &'a str) -> Result<Self, AddressError> {
        let no_user = || AddressError::new(ErrorKind::NoUser, 0..text.len());
        let (who, place) = text.rsplit_once('@').ok_or_else(no_user)?;
        let hub = place.strip_prefix("sas.").ok_or_else(no_user)?;
        let (hub, policy) = match hub.strip_prefix("root.") {
            Some(hub) => (hub, true),
            None => (hub, false),
        };
        if hub.contains('.') {
            return Err(AddressError::new(
                ErrorKind::FullHostName,
                text.len() - hub.len()..text.len(),
            ));
        }
        if who.is_empty() {
            return Err(AddressError::new(ErrorKind::Empty(Part::User), 0..0));
        }
        let who = match split_module(who) {
            _ if policy => Who::Policy(who),
            Some((device, module)) => Who::Module(device, module),
            None => Who::Device(who),
        };
        Ok(Self { who, hub })
    }
}
