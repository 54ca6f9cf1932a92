//! Where a hub's events are: it answers who asks for them at the hub with a redirect.

use iothub_address::{EventHubName, HubHost, Resource};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::access::Access;
use crate::driver::member::Items;
use crate::driver::place::Place;
use crate::error::{ConnectError, EventsError, Interruption, Phase, SubscribeError};
use crate::listening::Listening;
use crate::recovery::REDIRECT;
use crate::supervisor::LaneKind;

/// An event endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: HubHost,
    pub(super) port: Option<u16>,
    pub(super) name: EventHubName,
}

/// Asks the hub.
pub(super) async fn of_hub(access: Access) -> Result<Endpoint, EventsError> {
    let resource = Resource::hub(&access.way.host);
    let limit = access.operation_timeout;
    let shared = access.join(Place::Service, resource).await?;
    let (nobody, mut nothing) = mpsc::unbounded_channel();
    // The hub attaches the link first, and detaches it then; or it refuses at once.
    let why = match Listening::to(&shared, LaneKind::Redirect, Items::Messages(nobody)).await {
        Ok(listening) => {
            let phase = Phase::Attach;
            match timeout(limit, nothing.recv()).await {
                Ok(None) => listening.ended().unwrap_or(Interruption::Closed),
                Ok(Some(_)) => return Err(EventsError::NoRedirect(Interruption::Closed)),
                Err(_) => Interruption::TimedOut { phase, after: limit },
            }
        }
        Err(SubscribeError::Ended(why)) => why,
        Err(SubscribeError::AlreadyOpen) => Interruption::Closed,
    };
    let Interruption::Refused(condition) = why else {
        return Err(EventsError::NoRedirect(why));
    };
    if condition.name != REDIRECT {
        let phase = Phase::Attach;
        return Err(ConnectError::RefusedWith { phase, condition }.into());
    }
    let address = condition.redirect.unwrap_or_default();
    parse(&address).ok_or(EventsError::BadRedirect(address))
}

/// `amqps://HOST:PORT/NAME/…`, as every SDK takes it apart.
fn parse(address: &str) -> Option<Endpoint> {
    let (_, rest) = address.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (authority, None),
    };
    let name = path.split('/').next()?;
    Some(Endpoint {
        host: HubHost::parse(host).ok()?,
        port,
        name: EventHubName::parse(name).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read_as_hubs_write_it() {
        // The shapes that Microsoft's SDKs take apart.
        let host = "iothub-ns-myhub-123-0abc.servicebus.windows.net";
        let tails = ["$management", "ConsumerGroups/$Default/Partitions/0"];
        for tail in tails {
            let address = format!("amqps://{host}:5671/myhub/{tail}");
            let endpoint = Endpoint {
                host: HubHost::parse(host).unwrap(),
                port: Some(5671),
                name: EventHubName::parse("myhub").unwrap(),
            };
            assert_eq!(parse(&address), Some(endpoint));
        }
        let bare = parse("amqps://localhost/hub/$management").unwrap();
        assert_eq!((bare.host.as_str(), bare.port), ("localhost", None));
        for bad in [
            "",
            "localhost/hub/$management",
            "amqps://localhost:5671",
            "amqps://localhost:x/hub/$management",
            "amqps://localhost:5671//$management",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
