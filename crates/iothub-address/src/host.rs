//! What is dialled: a DNS name or an IP address, and the port behind it.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;
use core::str::FromStr;

use crate::error::{AddressError, ErrorKind, Part};
use crate::name::{HubName, case_insensitive, foreign_character, is_label_byte};

/// The host that is dialled: a DNS name, an IPv4 or an IPv6 address. Compares without regard to case.
///
/// [`as_str`](Self::as_str) is what a resolver and a TLS stack want: an IPv6 address stands there bare.
/// `Display` is what a URL wants: an IPv6 address stands there in brackets. An IPv6 address is kept in its
/// canonical text (RFC 5952), a name as it was given.
///
/// # Examples
/// ```
/// use iothub_address::HubHost;
/// let host = HubHost::parse("MyHub.azure-devices.net")?;
/// assert_eq!(host, HubHost::parse("myhub.azure-devices.net")?);
/// assert_eq!(host.hub_name().unwrap().as_str(), "MyHub");
///
/// let host = HubHost::parse("0:0::1")?;
/// assert_eq!((host.as_str(), host.to_string().as_str()), ("::1", "[::1]"));
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone)]
pub struct HubHost {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Ip(IpAddr),
}

impl HubHost {
    /// Reads a host: labels of ASCII letters, digits, `-` and `_` (1 to 63 bytes each, 253 in all, no
    /// hyphen at either end, the last not only digits), or an IPv4 address with four numbers, or an IPv6
    /// address with or without brackets. A name in another script must come in its ASCII (`xn--`) form.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `Character` or `Malformed`, with the place.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let kind = Kind::of(text)?;
        let text = match kind {
            Kind::Ip(IpAddr::V6(address)) => address.to_string(),
            _ => text.into(),
        };
        Ok(Self { text, kind })
    }

    /// The host without brackets, as a resolver, `SNI` and `open.hostname` want it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, if the host is one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self.kind {
            Kind::Name => None,
            Kind::Ip(address) => Some(address),
        }
    }

    /// Whether the host is this machine: `localhost`, a name below it, or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.kind {
            Kind::Ip(address) => address.is_loopback(),
            Kind::Name => {
                let last = self.text.rsplit('.').next().unwrap_or(&self.text);
                last.eq_ignore_ascii_case("localhost")
            }
        }
    }

    /// The hub's name, as it stands in user names: the first label of a DNS name.
    ///
    /// An address has no labels. A loopback address is `localhost` by another name, and so is its hub; for
    /// any other address there is `None`, and the name must be given apart.
    #[must_use]
    pub fn hub_name(&self) -> Option<HubName> {
        match self.kind {
            Kind::Name => {
                let label = self.text.split('.').next().unwrap_or(&self.text);
                HubName::parse(label).ok()
            }
            Kind::Ip(address) if address.is_loopback() => Some(HubName::localhost()),
            Kind::Ip(_) => None,
        }
    }
}

impl AsRef<str> for HubHost {
    /// As [`as_str`](HubHost::as_str), without brackets.
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for HubHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Ip(IpAddr::V6(_)) => write!(f, "[{}]", self.text),
            _ => f.pad(&self.text),
        }
    }
}

impl fmt::Debug for HubHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HubHost").field(&self.text).finish()
    }
}

impl FromStr for HubHost {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

case_insensitive!(HubHost);

impl Kind {
    /// What kind of host a text is, if it is one.
    pub(crate) fn of(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::new(ErrorKind::Empty(Part::Host), 0..0));
        }
        let mut label_start = 0;
        let mut number = true;
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'.' => {
                    check_label(text, label_start, at)?;
                    label_start = at + 1;
                    number = true;
                }
                b'0'..=b'9' => {}
                byte if is_label_byte(byte) => number = false,
                b':' | b'[' => return Self::of_ipv6(text),
                _ => return Err(foreign_character(text, at, Part::Host)),
            }
        }
        check_label(text, label_start, text.len())?;
        if text.len() > MAX_NAME {
            let kind = ErrorKind::TooLong {
                part: Part::Host,
                length: text.len(),
                limit: MAX_NAME,
            };
            return Err(AddressError::new(kind, 0..text.len()));
        }
        if number {
            // A name that ends in a number is an IPv4 address to every resolver, some of which take `10.1`
            // for `10.0.0.1`. Only the full form is the same everywhere.
            let address: Ipv4Addr = text.parse().map_err(|_| malformed(text))?;
            return Ok(Self::Ip(IpAddr::V4(address)));
        }
        Ok(Self::Name)
    }

    fn of_ipv6(text: &str) -> Result<Self, AddressError> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        let address: Ipv6Addr = bare.parse().map_err(|_| malformed(text))?;
        Ok(Self::Ip(IpAddr::V6(address)))
    }
}

/// A label has 1 to 63 bytes and no hyphen at either end.
fn check_label(text: &str, start: usize, end: usize) -> Result<(), AddressError> {
    let label = &text.as_bytes()[start..end];
    match (label.first(), label.last()) {
        (Some(first), Some(last)) if *first != b'-' && *last != b'-' && label.len() <= MAX_LABEL => Ok(()),
        _ => Err(AddressError::new(ErrorKind::Malformed(Part::Host), start..end)),
    }
}

fn malformed(host: &str) -> AddressError {
    AddressError::new(ErrorKind::Malformed(Part::Host), 0..host.len())
}

/// `HOST[:PORT]` as places in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Range<usize>,
    pub(crate) port: PortText,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortText {
    /// No colon.
    Absent,
    /// A colon and nothing behind it, as in `host:/path`.
    Empty,
    /// The number, and where its digits are.
    Number(u16, Range<usize>),
}

impl PortText {
    pub(crate) const fn number(&self) -> Option<u16> {
        match self {
            Self::Number(number, _) => Some(*number),
            Self::Absent | Self::Empty => None,
        }
    }
}

impl Authority {
    /// Splits and checks. An IPv6 address must be in brackets here.
    pub(crate) fn of(text: &str) -> Result<Self, AddressError> {
        let host_end = match text.strip_prefix('[') {
            Some(rest) => match rest.find(']') {
                Some(at) => at + 2,
                None => return Err(AddressError::new(ErrorKind::Malformed(Part::Host), 0..text.len())),
            },
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(host_end);
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => PortText::Absent,
            None => {
                return Err(AddressError::new(
                    ErrorKind::Malformed(Part::Port),
                    host_end..text.len(),
                ));
            }
            Some("") => PortText::Empty,
            Some(digits) => {
                let span = host_end + 1..text.len();
                // `u16::from_str` would take a plus sign.
                let number = digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| digits.parse().ok());
                match number.flatten() {
                    Some(number) => PortText::Number(number, span),
                    None => return Err(AddressError::new(ErrorKind::Malformed(Part::Port), span)),
                }
            }
        };
        Kind::of(host)?;
        Ok(Self {
            host: 0..host_end,
            port,
        })
    }
}

/// DNS: a name's length without the root's dot, and a label's.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
