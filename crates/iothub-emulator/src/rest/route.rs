//! Which request is for what: the paths, their methods, and what each needs.

use hyper::Method;
use iothub_address::{AddressError, DeviceId, Identity, ModuleId};

use super::asked::Asked;
use super::refusal::Refusal;
use super::reply::Reply;
use super::{blobs, bulk, configurations, digital_twins, identities, jobs, methods, polling, queries, twins};
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
    ListJobs,
    GetJob(String),
    PutJob(String),
    CancelJob(String),
    ListConfigurations,
    GetConfiguration(String),
    PutConfiguration(String),
    DeleteConfiguration(String),
    TestConfiguration,
    ApplyContent(DeviceId),
    GetDigitalTwin(DeviceId),
    PatchDigitalTwin(DeviceId),
    Command(DeviceId, Option<String>, String),
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
            (["devices", _, "applyconfigurationcontent"], &Method::POST) => {
                Self::ApplyContent(device_id(segments)?)
            }
            (["devices", _, "applyconfigurationcontent"], _) => return Err(Refusal::method("POST")),
            (["configurations"], &Method::GET) => Self::ListConfigurations,
            (["configurations"], _) => return Err(Refusal::method("GET")),
            (["configurations", "testqueries"], &Method::POST) => Self::TestConfiguration,
            (["configurations", _], method) => Self::of_configuration(segments[1].clone(), method)?,
            (["digitaltwins", _], &Method::GET) => Self::GetDigitalTwin(device_id(segments)?),
            (["digitaltwins", _], &Method::PATCH) => Self::PatchDigitalTwin(device_id(segments)?),
            (["digitaltwins", _], _) => return Err(Refusal::method("GET, PATCH")),
            (["digitaltwins", _, "commands", _], &Method::POST) => {
                Self::Command(device_id(segments)?, None, segments[3].clone())
            }
            (["digitaltwins", _, "components", _, "commands", _], &Method::POST) => {
                let component = Some(segments[3].clone());
                Self::Command(device_id(segments)?, component, segments[5].clone())
            }
            (["digitaltwins", _, "commands", _] | ["digitaltwins", _, "components", _, "commands", _], _) => {
                return Err(Refusal::method("POST"));
            }
            (["jobs", "v2", "query"], &Method::GET) => Self::ListJobs,
            (["jobs", "v2", _], &Method::GET) => Self::GetJob(segments[2].clone()),
            (["jobs", "v2", _], &Method::PUT) => Self::PutJob(segments[2].clone()),
            (["jobs", "v2", _], _) => return Err(Refusal::method("GET, PUT")),
            (["jobs", "v2", _, "cancel"], &Method::POST) => Self::CancelJob(segments[2].clone()),
            (["jobs", "v2", _, "cancel"], _) => return Err(Refusal::method("POST")),
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

    fn of_configuration(id: String, method: &Method) -> Result<Self, Refusal> {
        match *method {
            Method::GET => Ok(Self::GetConfiguration(id)),
            Method::PUT => Ok(Self::PutConfiguration(id)),
            Method::DELETE => Ok(Self::DeleteConfiguration(id)),
            _ => Err(Refusal::method("GET, PUT, DELETE")),
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
            | Self::ListConfigurations
            | Self::GetConfiguration(_)
            | Self::TestConfiguration
            | Self::CountConnected => Right::RegistryRead,
            Self::PutIdentity(_)
            | Self::DeleteIdentity(_)
            | Self::Bulk
            | Self::PutConfiguration(_)
            | Self::DeleteConfiguration(_)
            | Self::ApplyContent(_) => Right::RegistryWrite,
            Self::BlobJobs | Self::ListJobs | Self::GetJob(_) | Self::PutJob(_) | Self::CancelJob(_) => {
                Right::RegistryReadWrite
            }
            Self::Purge(_)
            | Self::GetTwin(_)
            | Self::ChangeTwin(..)
            | Self::CallMethod(_)
            | Self::GetDigitalTwin(_)
            | Self::PatchDigitalTwin(_)
            | Self::Command(..) => Right::ServiceConnect,
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
            Self::ListJobs => jobs::list(&asked).await,
            Self::GetJob(id) => jobs::get(&asked, id).await,
            Self::PutJob(id) => jobs::put(&asked, id).await,
            Self::CancelJob(id) => jobs::cancel(&asked, id).await,
            Self::ListConfigurations => configurations::list(&asked).await,
            Self::GetConfiguration(id) => configurations::get(&asked, id).await,
            Self::PutConfiguration(id) => configurations::put(&asked, id).await,
            Self::DeleteConfiguration(id) => configurations::delete(&asked, id).await,
            Self::TestConfiguration => configurations::test(&asked).await,
            Self::ApplyContent(device) => configurations::apply(&asked, device).await,
            Self::GetDigitalTwin(device) => digital_twins::get(&asked, device).await,
            Self::PatchDigitalTwin(device) => digital_twins::patch(&asked, device).await,
            Self::Command(device, component, command) => {
                digital_twins::command(&asked, device, component, command).await
            }
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
