//! What a token is for.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::host::HubHost;
use crate::identity::Identity;
use crate::name::{EventHubName, IdScope, RegistrationId};

/// The resource that a SAS token opens (its audience), raw: nothing in it is escaped. How it is spelled in
/// a token's `sr` is the signer's choice.
///
/// # Examples
/// ```
/// use iothub_address::{HubHost, Identity, Resource};
/// let host = HubHost::parse("myhub.azure-devices.net")?;
/// let module = Identity::parse("dev#1/modules/m")?;
/// let resource = Resource::identity(&host, &module);
/// assert_eq!(resource.as_ref(), "myhub.azure-devices.net/devices/dev#1/modules/m");
/// assert!(resource.is_within("MYHUB.azure-devices.net/devices/dev#1"));
/// assert!(!resource.is_within("myhub.azure-devices.net/devices/dev"));
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Resource(String);

impl Resource {
    /// The whole hub, for policy tokens: `HOST`.
    #[must_use]
    pub fn hub(host: &HubHost) -> Self {
        Self(format!("{host}"))
    }

    /// A device or module: `HOST/devices/DEVICE[/modules/MODULE]`.
    #[must_use]
    pub fn identity(host: &HubHost, identity: &Identity) -> Self {
        Self(format!("{host}/devices/{identity}"))
    }

    /// The built-in or another event hub: `sb://HOST/NAME`.
    #[must_use]
    pub fn event_hub(host: &HubHost, name: &EventHubName) -> Self {
        Self(format!("sb://{host}/{name}"))
    }

    /// A registration at a provisioning service: `SCOPE/registrations/ID`. The same text is the user name of
    /// SASL PLAIN there.
    #[must_use]
    pub fn registration(scope: &IdScope, id: &RegistrationId) -> Self {
        Self(format!("{scope}/registrations/{id}"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a token for `scope` opens this resource: `scope`, with its escapes taken off, is the resource
    /// or a parent of it, segment by segment. The host compares without regard to case, all else exactly.
    #[must_use]
    pub fn is_within(&self, scope: &str) -> bool {
        let (own_host, own_path) = split_host(&self.0);
        let (host, path) = split_host(scope.strip_suffix('/').unwrap_or(scope));
        if !own_host.eq_ignore_ascii_case(host) {
            return false;
        }
        match own_path.strip_prefix(path) {
            Some(rest) => rest.is_empty() || path.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

/// The host with its scheme, if any, and the path with its leading slash.
fn split_host(resource: &str) -> (&str, &str) {
    let host_start = resource.find("://").map_or(0, |at| at + 3);
    let host_end = resource[host_start..]
        .find('/')
        .map_or(resource.len(), |at| host_start + at);
    resource.split_at(host_end)
}

impl AsRef<str> for Resource {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resource").field(&self.0).finish()
    }
}
