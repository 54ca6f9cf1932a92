//! Which events are read, and from where on.

use std::time::SystemTime;

use iothub_amqp::{ConnectError, Event, EventsClient, EventsClientBuilder, Position};
use wildmatch::WildMatch;

use super::service::Service;
use crate::args::Since;
use crate::args::events::Which;
use crate::failure::{Failure, chain};

/// A client that is still to connect.
pub(crate) fn builder(service: &Service, which: &Which) -> Result<EventsClientBuilder, Failure> {
    Ok(of(service)?.consumer_group(which.consumer_group.clone()))
}

/// As [`builder`], in the group that every event hub has.
pub(crate) fn of(service: &Service) -> Result<EventsClientBuilder, Failure> {
    let bad = |why: ConnectError| {
        Failure::usage(format!("the connection string in {}", service.place)).and(chain(&why))
    };
    let builder = EventsClient::with(&service.string)
        .map_err(bad)?
        .transport(service.transport)
        .proxies(service.proxies.clone())
        .operation_timeout(service.timeout);
    let roots = service.roots.iter().cloned();
    Ok(roots.fold(builder, EventsClientBuilder::root_certificate))
}

pub(crate) fn position(since: Option<Since>) -> Position {
    match since {
        None => Position::Latest,
        Some(Since::Start) => Position::Earliest,
        Some(Since::At(time)) => Position::Time(time),
        Some(Since::Ago(span)) => {
            let now = SystemTime::now();
            now.checked_sub(span).map_or(Position::Earliest, Position::Time)
        }
    }
}

/// Whose events are shown.
pub(crate) struct Devices(Vec<WildMatch>);

impl Devices {
    pub(crate) fn of(which: &Which) -> Self {
        Self(
            which
                .devices
                .iter()
                .map(|pattern| WildMatch::new(pattern))
                .collect(),
        )
    }

    pub(crate) fn include(&self, event: &Event) -> bool {
        let device = event.device.as_deref();
        self.0.is_empty() || device.is_some_and(|device| self.0.iter().any(|pattern| pattern.matches(device)))
    }
}
