//! Which request is for what: the paths, their methods, and what each needs.

use hyper::Method;
use iothub_address::{AddressError, DeviceId, Identity, ModuleId};

use super::asked::Asked;
use super::refusal::Refusal;
use super::reply::Reply;
use super::{blobs, bulk, identities, methods, polling, queries, twins};
use crate::hub::{How, Outcome, Right, Who};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ListDevices,
    GetIdentity(Identity),
    PutIdentity(Identity),
    DeleteIdentity(Identity),
    ListModules(DeviceId),
    CountDevices,
    CountConnected,
    Purge(DeviceId),
    GetTwin(Identity),
    ChangeTwin(Identity, How),
    CallMethod(Identity),
    Bulk,
    Query,
    BlobJobs,
    SendEvent(DeviceId),
    ReceiveMessage(DeviceId),
    Settle(DeviceId, String, Outcome),
    Files(DeviceId),
}

impl Operation {
    /// Literals compare in any case, as those of the hub's AMQP addresses do; ids exactly.
    pub(super) fn of(method: &Method, segments: &[String]) -> Result<Self, Refusal> {
        let folded: Vec<String> = segments.iter().map(|word| word.to_ascii_lowercase()).collect();
        let words: Vec<&str> = folded.iter().map(String::as_str).collect();
        let device = || device_in(segments);
        let module = || module_in(segments);
        Ok(match (words.as_slice(), method) {
            (["devices"], &Method::GET) => Self::ListDevices,
            (["devices"], &Method::POST) => Self::Bulk,
            (["devices"], _) => return Err(Refusal::method("GET, POST")),
            (["devices", "query"], &Method::POST) => Self::Query,
            (["devices", _], &Method::GET) => Self::GetIdentity(device()?),
            (["devices", _], &Method::PUT) => Self::PutIdentity(device()?),
            (["devices", _], &Method::DELETE) => Self::DeleteIdentity(device()?),
            (["devices", _], _) => return Err(Refusal::method("GET, PUT, DELETE")),
            (["devices", _, "commands"], &Method::DELETE) => Self::Purge(device_id(segments)?),
            (["devices", _, "commands"], _) => return Err(Refusal::method("DELETE")),
            (["devices", _, "modules"], &Method::GET) => Self::ListModules(device_id(segments)?),
            (["devices", _, "modules"], _) => return Err(Refusal::method("GET")),
            (["devices", _, "modules", _], &Method::GET) => Self::GetIdentity(module()?),
            (["devices", _, "modules", _], &Method::PUT) => Self::PutIdentity(module()?),
            (["devices", _, "modules", _], &Method::DELETE) => Self::DeleteIdentity(module()?),
            (["devices", _, "modules", _], _) => return Err(Refusal::method("GET, PUT, DELETE")),
            (["devices", _, "messages", "events"], &Method::POST) => Self::SendEvent(device_id(segments)?),
            (["devices", _, "messages", "events"], _) => return Err(Refusal::method("POST")),
            (["devices", _, "messages", "devicebound"], &Method::GET) => {
                Self::ReceiveMessage(device_id(segments)?)
            }
            (["devices", _, "messages", "devicebound"], _) => return Err(Refusal::method("GET")),
            (["devices", _, "messages", "devicebound", _], &Method::DELETE) => {
                Self::Settle(device_id(segments)?, segments[4].clone(), Outcome::Complete)
            }
            (["devices", _, "messages", "devicebound", _], _) => return Err(Refusal::method("DELETE")),
            (["devices", _, "messages", "devicebound", _, "abandon"], &Method::POST) => {
                Self::Settle(device_id(segments)?, segments[4].clone(), Outcome::Abandon)
            }
            (["devices", _, "messages", "devicebound", _, "abandon"], _) => {
                return Err(Refusal::method("POST"));
            }
            (["devices", _, "files"] | ["devices", _, "files", "notifications"], &Method::POST) => {
                Self::Files(device_id(segments)?)
            }
            (["devices", _, "files"] | ["devices", _, "files", "notifications"], _) => {
                return Err(Refusal::method("POST"));
            }
            (["jobs", "create"], &Method::POST) => Self::BlobJobs,
            (["jobs", "create"], _) => return Err(Refusal::method("POST")),
            (["jobs"], &Method::GET) | (["jobs", _], &Method::GET | &Method::DELETE) => Self::BlobJobs,
            (["jobs"], _) => return Err(Refusal::method("GET")),
            (["jobs", _], _) => return Err(Refusal::method("GET, DELETE")),
            (["statistics", "devices"], &Method::GET) => Self::CountDevices,
            (["statistics", "service"], &Method::GET) => Self::CountConnected,
            (["statistics", "devices" | "service"], _) => return Err(Refusal::method("GET")),
            (["twins", _], method) => Self::of_twin(device()?, method)?,
            (["twins", _, "modules", _], method) => Self::of_twin(module()?, method)?,
            (["twins", _, "methods"], &Method::POST) => Self::CallMethod(device()?),
            (["twins", _, "modules", _, "methods"], &Method::POST) => Self::CallMethod(module()?),
            (["twins", _, "methods"] | ["twins", _, "modules", _, "methods"], _) => {
                return Err(Refusal::method("POST"));
            }
            _ => return Err(Refusal::no_such_path()),
        })
    }

    fn of_twin(identity: Identity, method: &Method) -> Result<Self, Refusal> {
        match *method {
            Method::GET => Ok(Self::GetTwin(identity)),
            Method::PATCH => Ok(Self::ChangeTwin(identity, How::Merge)),
            Method::PUT => Ok(Self::ChangeTwin(identity, How::Replace)),
            _ => Err(Refusal::method("GET, PATCH, PUT")),
        }
    }

    /// Who may ask it (Azure docs, "Control access to IoT Hub by using shared access signatures", permissions).
    pub(super) fn who(&self) -> Who {
        let right = match self {
            Self::ListDevices
            | Self::GetIdentity(_)
            | Self::ListModules(_)
            | Self::CountDevices
            | Self::Query
            | Self::CountConnected => Right::RegistryRead,
            Self::PutIdentity(_) | Self::DeleteIdentity(_) | Self::Bulk => Right::RegistryWrite,
            Self::BlobJobs => Right::RegistryReadWrite,
            Self::Purge(_) | Self::GetTwin(_) | Self::ChangeTwin(..) | Self::CallMethod(_) => {
                Right::ServiceConnect
            }
            Self::SendEvent(device)
            | Self::ReceiveMessage(device)
            | Self::Settle(device, ..)
            | Self::Files(device) => return Who::Identity(Identity::Device(device.clone())),
        };
        Who::Service(right)
    }

    pub(super) async fn perform(self, asked: Asked<'_>) -> Result<Reply, Refusal> {
        match self {
            Self::ListDevices => identities::list(&asked).await,
            Self::GetIdentity(identity) => identities::get(&asked, identity).await,
            Self::PutIdentity(identity) => identities::put(&asked, identity).await,
            Self::DeleteIdentity(identity) => identities::delete(&asked, identity).await,
            Self::ListModules(device) => identities::modules(&asked, device).await,
            Self::CountDevices => identities::count(&asked).await,
            Self::CountConnected => identities::connected(&asked).await,
            Self::Purge(device) => identities::purge(&asked, device).await,
            Self::GetTwin(identity) => twins::get(&asked, identity).await,
            Self::ChangeTwin(identity, how) => twins::change(&asked, identity, how).await,
            Self::CallMethod(identity) => methods::call(&asked, identity).await,
            Self::Bulk => bulk::import(&asked).await,
            Self::Query => queries::query(&asked).await,
            Self::BlobJobs => Err(blobs::jobs()),
            Self::SendEvent(device) => polling::send(&asked, device).await,
            Self::ReceiveMessage(device) => polling::receive(&asked, device).await,
            Self::Settle(device, lock, outcome) => polling::settle(&asked, device, &lock, outcome).await,
            Self::Files(_) => Err(blobs::files()),
        }
    }
}

/// The id in the second segment.
fn device_id(segments: &[String]) -> Result<DeviceId, Refusal> {
    DeviceId::parse(&segments[1]).map_err(|error| bad_id("device", &error))
}

fn device_in(segments: &[String]) -> Result<Identity, Refusal> {
    device_id(segments).map(Identity::Device)
}

/// The ids in the second and fourth segments.
fn module_in(segments: &[String]) -> Result<Identity, Refusal> {
    let module = ModuleId::parse(&segments[3]).map_err(|error| bad_id("module", &error))?;
    Ok(Identity::Module(device_id(segments)?, module))
}

fn bad_id(of: &str, error: &AddressError) -> Refusal {
    Refusal::invalid(format!("The {of} id in the path: {error}."))
}
