//! Link addresses: the nodes of a hub, of its event endpoint, and of a provisioning service.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::str::FromStr;

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use crate::error::{AddressError, ErrorKind, Part};
use crate::escape::{Decoded, ESCAPED, has_escape};
use crate::host::Authority;
use crate::identity::Identity;
use crate::name::{ConsumerGroup, DeviceId, EventHubName, IdScope, ModuleId, RegistrationId};
use crate::user::Who;

/// A link address.
///
/// Prints as the path that the SDKs use, ids raw: `/devices/ID/messages/events`. Reads it with or without
/// `amqps://HOST[:PORT]`, with or without the leading slash, literals in any case; ids are taken raw there.
/// Some SDKs escape ids once or twice in link addresses, and `%` is itself legal in an id, so only a
/// registry knows which one is meant: [`readings`](Self::readings) gives the candidates.
///
/// # Examples
/// ```
/// use iothub_address::{Identity, Node};
/// let node: Node = "amqps://myhub.azure-devices.net:5671/devices/dev#1/messages/events".parse()?;
/// assert_eq!(node, Node::Events(Identity::parse("dev#1")?));
/// assert_eq!(node.to_string(), "/devices/dev#1/messages/events");
/// assert_eq!(Node::readings("devices/dev%231/twin").len(), 2);
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Node {
    /// Telemetry, device to cloud: `/devices/D[/modules/M]/messages/events`. As a source, the inputs of an
    /// Edge module.
    Events(Identity),
    /// Cloud to device: `/devices/D[/modules/M]/messages/devicebound`.
    Commands(Identity),
    /// Direct methods, both directions: `/devices/D[/modules/M]/methods/devicebound`.
    Methods(Identity),
    /// The twin, both directions: `/devices/D[/modules/M]/twin`.
    Twin(Identity),
    /// Where a service sends cloud-to-device messages: `/messages/devicebound`.
    ServiceCommands,
    /// Where a service receives their feedback: `/messages/serviceBound/feedback`.
    Feedback,
    /// Where a service receives news of uploaded files: `/messages/serviceBound/filenotifications`.
    FileNotifications,
    /// A partition of the events, asked for at the hub, which redirects:
    /// `/messages/events/ConsumerGroups/G/Partitions/N`.
    HubEvents {
        /// The consumer group.
        group: ConsumerGroup,
        /// The partition, from 0.
        partition: u32,
    },
    /// The management node of the events, asked for at the hub, which redirects:
    /// `/messages/events/$management`.
    HubEventsManagement,
    /// A partition at the event endpoint: `NAME/ConsumerGroups/G/Partitions/N`.
    EventHub {
        /// The event hub's name (`EntityPath`).
        name: EventHubName,
        /// The consumer group.
        group: ConsumerGroup,
        /// The partition, from 0.
        partition: u32,
    },
    /// Claims-based security: `$cbs`.
    Cbs,
    /// Management of the event endpoint: `$management`.
    Management,
    /// A registration at a provisioning service: `SCOPE/registrations/ID`.
    Registration(IdScope, RegistrationId),
}

impl Node {
    /// What an address of which nobody knows how often its ids were escaped may mean: the ids raw, then with
    /// the escapes taken off once, then twice; legal and different ones only. Empty if there is none.
    ///
    /// A `+` stays a `+`: ids hold no space that it could stand for.
    #[must_use]
    pub fn readings(text: &str) -> Vec<Self> {
        let mut readings = Vec::new();
        if let Ok((shape, _)) = strip_authority(text).and_then(|(path, _)| shape_of_path(path)) {
            for times in 0..=2 {
                if let Ok(node) = shape.node(times)
                    && !readings.contains(&node)
                {
                    readings.push(node);
                }
                // Nothing to take off any more.
                if !text.contains('%') {
                    break;
                }
            }
        }
        readings
    }

    /// The device or module whose node it is, if it is one's.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Events(identity)
            | Self::Commands(identity)
            | Self::Methods(identity)
            | Self::Twin(identity) => Some(identity),
            _ => None,
        }
    }

    /// What the node is for, for people.
    pub(crate) const fn purpose(&self) -> &'static str {
        match self {
            Self::Events(_) => "telemetry",
            Self::Commands(_) => "cloud-to-device messages",
            Self::Methods(_) => "direct methods",
            Self::Twin(_) => "the twin",
            Self::ServiceCommands => "cloud-to-device messages of a service",
            Self::Feedback => "feedback on cloud-to-device messages",
            Self::FileNotifications => "news of uploaded files",
            Self::HubEvents { .. } | Self::HubEventsManagement => "events, redirected to the event endpoint",
            Self::EventHub { .. } => "events of a partition",
            Self::Cbs => "claims-based security",
            Self::Management => "management of the event endpoint",
            Self::Registration(..) => "registration at a provisioning service",
        }
    }

    /// The path with the names escaped for a URL, without the leading slash.
    pub(crate) fn write_escaped(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.write(out, Spelled::Escaped)
    }

    fn write(&self, out: &mut dyn fmt::Write, names: Spelled) -> fmt::Result {
        let (identity, tail) = match self {
            Self::Events(identity) => (identity, "/messages/events"),
            Self::Commands(identity) => (identity, "/messages/devicebound"),
            Self::Methods(identity) => (identity, "/methods/devicebound"),
            Self::Twin(identity) => (identity, "/twin"),
            Self::ServiceCommands => return out.write_str("messages/devicebound"),
            Self::Feedback => return out.write_str("messages/serviceBound/feedback"),
            Self::FileNotifications => return out.write_str("messages/serviceBound/filenotifications"),
            Self::HubEvents { group, partition } => {
                out.write_str("messages/events/ConsumerGroups/")?;
                names.write(out, group.as_str())?;
                return write!(out, "/Partitions/{partition}");
            }
            Self::HubEventsManagement => return out.write_str("messages/events/$management"),
            Self::EventHub {
                name,
                group,
                partition,
            } => {
                names.write(out, name.as_str())?;
                out.write_str("/ConsumerGroups/")?;
                names.write(out, group.as_str())?;
                return write!(out, "/Partitions/{partition}");
            }
            Self::Cbs => return out.write_str("$cbs"),
            Self::Management => return out.write_str("$management"),
            Self::Registration(scope, id) => {
                names.write(out, scope.as_str())?;
                out.write_str("/registrations/")?;
                return names.write(out, id.as_str());
            }
        };
        out.write_str("devices/")?;
        names.write(out, identity.device().as_str())?;
        if let Some(module) = identity.module() {
            out.write_str("/modules/")?;
            names.write(out, module.as_str())?;
        }
        out.write_str(tail)
    }

    /// Whether the clients write the address with a leading slash.
    const fn has_leading_slash(&self) -> bool {
        !matches!(
            self,
            Self::EventHub { .. } | Self::Cbs | Self::Management | Self::Registration(..)
        )
    }
}

#[derive(Clone, Copy)]
enum Spelled {
    Raw,
    Escaped,
}

impl Spelled {
    fn write(self, out: &mut dyn fmt::Write, name: &str) -> fmt::Result {
        match self {
            Self::Raw => out.write_str(name),
            Self::Escaped => utf8_percent_encode(name, ESCAPED).try_for_each(|piece| out.write_str(piece)),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_leading_slash() {
            f.write_char('/')?;
        }
        self.write(f, Spelled::Raw)
    }
}

impl FromStr for Node {
    type Err = AddressError;

    /// Reads an address with its ids raw.
    ///
    /// # Errors
    /// `UnknownNode` for any other path; what is wrong with the host or an id, with the place.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (path, path_start) = strip_authority(text)?;
        let (shape, slash) = shape_of_path(path).map_err(|error| error.shifted(path_start))?;
        shape.node(0).map_err(|error| error.shifted(path_start + slash))
    }
}

/// Takes `amqps://HOST[:PORT]` off, if it is there. The second is where the path starts.
fn strip_authority(text: &str) -> Result<(&str, usize), AddressError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok((text, 0));
    };
    if !scheme.eq_ignore_ascii_case("amqps") && !scheme.eq_ignore_ascii_case("amqp") {
        return Err(AddressError::new(ErrorKind::Scheme, 0..scheme.len()));
    }
    let start = text.len() - rest.len();
    let authority = rest.find('/').map_or(rest, |at| &rest[..at]);
    Authority::of(authority).map_err(|error| error.shifted(start))?;
    Ok((&rest[authority.len()..], start + authority.len()))
}

/// The shape of a path with or without its leading slash. The second is the length of that slash.
fn shape_of_path(path: &str) -> Result<(Shape<'_>, usize), AddressError> {
    let bare = path.strip_prefix('/').unwrap_or(path);
    match Shape::of(bare) {
        Some(shape) => Ok((shape, path.len() - bare.len())),
        None => Err(AddressError::new(ErrorKind::UnknownNode, 0..path.len())),
    }
}

/// The names of a path, at most two, decoded without allocation.
#[derive(PartialEq, Eq)]
pub(crate) struct Names(
    pub(crate) Option<Decoded<MAX_NAME>>,
    pub(crate) Option<Decoded<MAX_NAME>>,
);

impl Names {
    /// Whether they are the ids of the one whom a user name stands for.
    pub(crate) fn are_of(&self, who: &Who<'_>) -> bool {
        let (device, module) = match *who {
            Who::Device(device) => (device, None),
            Who::Module(device, module) => (device, Some(module)),
            Who::Policy(_) => return false,
        };
        self.0.as_ref().and_then(Decoded::as_str) == Some(device)
            && self.1.as_ref().and_then(Decoded::as_str) == module
    }
}

/// A path of known form, its names as they were written, not yet checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    /// The whole path, without the leading slash.
    path: &'a str,
    pub(crate) form: Form<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Form<'a> {
    Identity {
        lane: Lane,
        device: &'a str,
        module: Option<&'a str>,
    },
    ServiceCommands,
    Feedback,
    FileNotifications,
    HubEvents {
        group: &'a str,
        partition: u32,
    },
    HubEventsManagement,
    EventHub {
        name: &'a str,
        group: &'a str,
        partition: u32,
    },
    Cbs,
    Management,
    Registration {
        scope: &'a str,
        id: &'a str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Events,
    Commands,
    Methods,
    Twin,
}

impl<'a> Shape<'a> {
    /// Recognises a path by its literals, in any case, and by how many segments it has.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let mut segments = [""; MAX_SEGMENTS];
        let mut count = 0;
        for segment in path.split('/') {
            *segments.get_mut(count)? = segment;
            count += 1;
        }
        let form = Form::of(segments.get(..count)?)?;
        Some(Self { path, form })
    }

    /// Whether its names are legal as they are written.
    pub(crate) fn is_legal(&self) -> bool {
        match self.form {
            Form::Identity { device, module, .. } => {
                DeviceId::check(device).is_ok() && module.is_none_or(|module| ModuleId::check(module).is_ok())
            }
            _ => self.names(0).is_some(),
        }
    }

    /// Its names with the escapes taken off `times` times, if all of them are legal then.
    pub(crate) fn names(&self, times: u8) -> Option<Names> {
        let name = |text: &str, check: fn(&str) -> Result<(), AddressError>| {
            let mut name = Decoded::verbatim(text)?;
            for _ in 0..times {
                name = Decoded::of(name.as_str()?)?;
            }
            check(name.as_str()?).ok()?;
            Some(name)
        };
        Some(match self.form {
            Form::Identity {
                device, module: None, ..
            } => Names(Some(name(device, DeviceId::check)?), None),
            Form::Identity {
                device,
                module: Some(module),
                ..
            } => Names(
                Some(name(device, DeviceId::check)?),
                Some(name(module, ModuleId::check)?),
            ),
            Form::HubEvents { group, .. } => Names(Some(name(group, ConsumerGroup::check)?), None),
            Form::EventHub {
                name: entity, group, ..
            } => Names(
                Some(name(entity, EventHubName::check)?),
                Some(name(group, ConsumerGroup::check)?),
            ),
            Form::Registration { scope, id } => Names(
                Some(name(scope, IdScope::check)?),
                Some(name(id, RegistrationId::check)?),
            ),
            _ => Names(None, None),
        })
    }

    /// The node, with the escapes of its names taken off `times` times.
    pub(crate) fn node(&self, times: u8) -> Result<Node, AddressError> {
        let name = |text: &'a str| Name {
            whole: self.path,
            text,
            times,
        };
        Ok(match self.form {
            Form::Identity { lane, device, module } => {
                let device = name(device).read(DeviceId::parse)?;
                let identity = match module {
                    Some(module) => Identity::Module(device, name(module).read(ModuleId::parse)?),
                    None => Identity::Device(device),
                };
                match lane {
                    Lane::Events => Node::Events(identity),
                    Lane::Commands => Node::Commands(identity),
                    Lane::Methods => Node::Methods(identity),
                    Lane::Twin => Node::Twin(identity),
                }
            }
            Form::ServiceCommands => Node::ServiceCommands,
            Form::Feedback => Node::Feedback,
            Form::FileNotifications => Node::FileNotifications,
            Form::HubEvents { group, partition } => Node::HubEvents {
                group: name(group).read(ConsumerGroup::parse)?,
                partition,
            },
            Form::HubEventsManagement => Node::HubEventsManagement,
            Form::EventHub {
                name: entity,
                group,
                partition,
            } => Node::EventHub {
                name: name(entity).read(EventHubName::parse)?,
                group: name(group).read(ConsumerGroup::parse)?,
                partition,
            },
            Form::Cbs => Node::Cbs,
            Form::Management => Node::Management,
            Form::Registration { scope, id } => Node::Registration(
                name(scope).read(IdScope::parse)?,
                name(id).read(RegistrationId::parse)?,
            ),
        })
    }
}

impl<'a> Form<'a> {
    fn of(segments: &[&'a str]) -> Option<Self> {
        let is = |segment: &str, literal: &str| segment.eq_ignore_ascii_case(literal);
        let lane = |tail: &[&str]| match tail {
            [a, b] if is(a, "messages") && is(b, "events") => Some(Lane::Events),
            [a, b] if is(a, "messages") && is(b, "devicebound") => Some(Lane::Commands),
            [a, b] if is(a, "methods") && is(b, "devicebound") => Some(Lane::Methods),
            [a] if is(a, "twin") => Some(Lane::Twin),
            _ => None,
        };
        if let [devices, device, ref rest @ ..] = *segments
            && is(devices, "devices")
        {
            if let [modules, module, ref tail @ ..] = *rest
                && is(modules, "modules")
                && let Some(lane) = lane(tail)
            {
                return Some(Self::Identity {
                    lane,
                    device,
                    module: Some(module),
                });
            }
            if let Some(lane) = lane(rest) {
                return Some(Self::Identity {
                    lane,
                    device,
                    module: None,
                });
            }
        }
        match *segments {
            [a] if is(a, "$cbs") => Some(Self::Cbs),
            [a] if is(a, "$management") => Some(Self::Management),
            [a, b] if is(a, "messages") && is(b, "devicebound") => Some(Self::ServiceCommands),
            [a, b, c] if is(a, "messages") && is(b, "serviceBound") && is(c, "feedback") => {
                Some(Self::Feedback)
            }
            [a, b, c] if is(a, "messages") && is(b, "serviceBound") && is(c, "filenotifications") => {
                Some(Self::FileNotifications)
            }
            [a, b, c] if is(a, "messages") && is(b, "events") && is(c, "$management") => {
                Some(Self::HubEventsManagement)
            }
            [a, b, c, group, d, partition]
                if is(a, "messages") && is(b, "events") && is(c, "ConsumerGroups") && is(d, "Partitions") =>
            {
                Some(Self::HubEvents {
                    group,
                    partition: partition_number(partition)?,
                })
            }
            [name, a, group, b, partition] if is(a, "ConsumerGroups") && is(b, "Partitions") => {
                Some(Self::EventHub {
                    name,
                    group,
                    partition: partition_number(partition)?,
                })
            }
            [scope, a, id] if is(a, "registrations") => Some(Self::Registration { scope, id }),
            _ => None,
        }
    }
}

/// A partition number as it is printed: digits, no sign, no zero in front.
fn partition_number(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// A name inside a path, and how often to take its escapes off.
struct Name<'a> {
    whole: &'a str,
    text: &'a str,
    times: u8,
}

impl Name<'_> {
    fn read<T>(&self, parse: fn(&str) -> Result<T, AddressError>) -> Result<T, AddressError> {
        let start = self.text.as_ptr() as usize - self.whole.as_ptr() as usize;
        let span = start..start + self.text.len();
        let mut decoded: Option<String> = None;
        for _ in 0..self.times {
            let text = decoded.as_deref().unwrap_or(self.text);
            if !has_escape(text) {
                break;
            }
            let once = percent_decode_str(text).decode_utf8();
            let once = once.map_err(|_| AddressError::new(ErrorKind::Escape(Part::Path), span.clone()))?;
            decoded = Some(once.to_string());
        }
        match decoded {
            // Places inside the decoded text are none of the input.
            Some(text) => parse(&text).map_err(|error| AddressError::new(error.kind().clone(), span)),
            None => parse(self.text).map_err(|error| error.shifted(start)),
        }
    }
}

/// `devices/D/modules/M/messages/events`, `messages/events/ConsumerGroups/G/Partitions/N`.
const MAX_SEGMENTS: usize = 6;

/// An id of 128 bytes, each escaped twice (`%2525`).
const MAX_NAME: usize = 640;
