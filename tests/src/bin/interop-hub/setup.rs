//! How the hub is to be.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use iothub_address::{HubHost, HubName};
use iothub_emulator::{
    Authentication, Builder, CloudToDevice, Emulator, Keys, Thumbprint, Thumbprints, Tier,
};
use iothub_sas::SharedKey;
use serde::Deserialize;

use crate::Failure;

/// The first line. What is left away is as with [`Emulator::builder`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    hub: String,
    listen: IpAddr,
    amqps_port: u16,
    https_port: u16,
    /// Files of certificates whose authority counts for devices.
    #[serde(default)]
    device_ca: Vec<PathBuf>,
    token_grace_s: Option<u64>,
    /// `S1` and so on.
    tier: Option<String>,
    max_delivery_count: Option<u8>,
    lock_s: Option<u64>,
    /// Shared access policies by name and primary key, base64.
    #[serde(default)]
    policies: Vec<(String, String)>,
    partitions: Option<u16>,
    #[serde(default)]
    consumer_groups: Vec<String>,
}

impl Setup {
    pub(crate) fn builder(self) -> Result<Builder, Failure> {
        let mut cloud_to_device = CloudToDevice::default();
        if let Some(count) = self.max_delivery_count {
            cloud_to_device = cloud_to_device.max_delivery_count(count);
        }
        if let Some(seconds) = self.lock_s {
            cloud_to_device = cloud_to_device.lock(Duration::from_secs(seconds));
        }
        let mut builder = Emulator::builder()
            .hub(HubName::parse(&self.hub)?)
            .listen(self.listen)
            // Peers dial the very address: a case has one of its own, and with it the ports that SDKs insist on.
            .extra_names([HubHost::parse(&self.listen.to_string())?])
            .amqps_port(self.amqps_port)
            .https_port(self.https_port)
            .cloud_to_device(cloud_to_device);
        for file in self.device_ca {
            builder = builder.device_authority(file);
        }
        for (name, key) in self.policies {
            builder = builder.policy(name.parse()?, SharedKey::from_base64(&key)?);
        }
        if let Some(count) = self.partitions {
            builder = builder.partitions(count);
        }
        for group in self.consumer_groups {
            builder = builder.consumer_group(group.parse()?);
        }
        if let Some(seconds) = self.token_grace_s {
            builder = builder.token_grace(Duration::from_secs(seconds));
        }
        Ok(match self.tier.as_deref() {
            None => builder,
            Some("F1") => builder.tier(Tier::F1),
            Some("S1") => builder.tier(Tier::S1),
            Some(other) => return Err(format!("no case asks for tier {other}").into()),
        })
    }
}

/// How a device or module proves who it is.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// The primary and the secondary key, base64.
    Sas(String, String),
    /// The thumbprint of its certificate.
    SelfSigned(String),
    CertificateAuthority,
}

impl Proof {
    pub(crate) fn authentication(&self) -> Result<Authentication, Failure> {
        Ok(match self {
            Self::Sas(primary, secondary) => Authentication::Sas(Keys::new(
                SharedKey::from_base64(primary)?,
                SharedKey::from_base64(secondary)?,
            )),
            Self::SelfSigned(thumbprint) => {
                Authentication::SelfSigned(Thumbprints::new(Thumbprint::parse(thumbprint)?, None))
            }
            Self::CertificateAuthority => Authentication::CertificateAuthority,
        })
    }
}
