//! The hosts that a proxy is not for, as `NO_PROXY` lists them.

use std::net::IpAddr;

use iothub_address::HubHost;

/// A list of hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Exceptions {
    rules: Vec<Rule>,
    this_machine: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone)]
enum Hosts {
    All,
    /// This name, in lower case, and all below it.
    Name(String),
    Network {
        address: IpAddr,
        bits: u32,
    },
}

impl Exceptions {
    pub(super) fn parse(list: &str) -> Self {
        let items = list.split([',', ' ', '\t']).filter(|item| !item.is_empty());
        Self {
            rules: items.filter_map(Rule::parse).collect(),
            this_machine: false,
        }
    }

    pub(super) fn and_this_machine(mut self) -> Self {
        self.this_machine = true;
        self
    }

    pub(super) fn hold(&self, host: &HubHost, port: u16) -> bool {
        (self.this_machine && host.is_loopback()) || self.rules.iter().any(|rule| rule.holds(host, port))
    }
}

impl Rule {
    fn parse(item: &str) -> Option<Self> {
        // An IPv6 address without brackets has no port behind it.
        if let Some(hosts) = Hosts::parse(item) {
            return Some(Self { hosts, port: None });
        }
        let (host, port) = item.rsplit_once(':')?;
        let hosts = Hosts::parse(host)?;
        let port = Some(port.parse().ok()?);
        Some(Self { hosts, port })
    }

    fn holds(&self, host: &HubHost, port: u16) -> bool {
        self.port.is_none_or(|only| only == port) && self.hosts.hold(host)
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address = HubHost::parse(address).ok()?.ip()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Self::Network { address, bits });
        }
        let text = text.strip_prefix('*').unwrap_or(text);
        let host = HubHost::parse(text.strip_prefix('.').unwrap_or(text)).ok()?;
        Some(match host.ip() {
            Some(address) => Self::Network {
                address,
                bits: width(address),
            },
            None => Self::Name(host.as_str().to_ascii_lowercase()),
        })
    }

    fn hold(&self, host: &HubHost) -> bool {
        match (self, host.ip()) {
            (Self::All, _) => true,
            (Self::Name(name), None) => {
                let host = host.as_str().to_ascii_lowercase();
                host.strip_suffix(name.as_str())
                    .is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            (Self::Network { address, bits }, Some(host)) => match (*address, host.to_canonical()) {
                (IpAddr::V4(network), IpAddr::V4(host)) => same_front(
                    u128::from(network.to_bits()),
                    u128::from(host.to_bits()),
                    32 - bits,
                ),
                (IpAddr::V6(network), IpAddr::V6(host)) => {
                    same_front(network.to_bits(), host.to_bits(), 128 - bits)
                }
                _ => false,
            },
            (Self::Name(_), Some(_)) | (Self::Network { .. }, None) => false,
        }
    }
}

/// Whether all but the last `free` bits are the same.
fn same_front(one: u128, other: u128, free: u32) -> bool {
    (one ^ other).checked_shr(free).unwrap_or(0) == 0
}

const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
