//! Tokens to be signed: for what, with which key, until when.

use std::time::{Duration, SystemTime};

use iothub_address::{DeviceId, HubHost, HubName, Identity, ModuleId, PolicyName, Resource};
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime};

use crate::args::sas::Lifetime;
use crate::failure::Failure;

/// How long a token holds if nobody says otherwise.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(3600);

/// When a token is to end.
pub(crate) fn end(lifetime: &Lifetime) -> UnixTime {
    match lifetime.expires_at {
        Some(time) => UnixTime::from_secs(time),
        None => now() + lifetime.ttl.map_or(DEFAULT_TTL, |span| span.0),
    }
}

pub(crate) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// The host that is named, or else the hub's in the public cloud.
pub(crate) fn host(host: Option<HubHost>, hub: &HubName) -> Result<HubHost, Failure> {
    match host {
        Some(host) => Ok(host),
        None => HubHost::parse(&format!("{hub}.azure-devices.net")).map_err(|error| {
            Failure::usage("--hub makes no host name")
                .because(&error)
                .hint("give --host too")
        }),
    }
}

/// The device or module that two flags name.
pub(crate) fn identity(device: Option<DeviceId>, module: Option<ModuleId>) -> Option<Identity> {
    Some(match (device?, module) {
        (device, None) => Identity::Device(device),
        (device, Some(module)) => Identity::Module(device, module),
    })
}

/// What a token opens: the device or module, or the whole hub.
pub(crate) fn resource(host: &HubHost, identity: Option<&Identity>) -> Resource {
    match identity {
        Some(identity) => Resource::identity(host, identity),
        None => Resource::hub(host),
    }
}

/// Signs with a device's or module's own key, or with that of a policy.
pub(crate) fn sign(
    key: SharedKey,
    policy: Option<&PolicyName>,
    resource: &Resource,
    end: UnixTime,
) -> SasToken {
    signer(key, policy).sign(resource, end)
}

pub(crate) fn signer(key: SharedKey, policy: Option<&PolicyName>) -> Signer {
    match policy {
        Some(policy) => Signer::new(key).policy(policy),
        None => Signer::new(key),
    }
}
