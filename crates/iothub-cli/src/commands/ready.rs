//! How to reach a hub that is ready, for those who start it and for those who look for it.

use std::path::Path;

use iothub_address::{PolicyName, Secret};
use iothub_emulator::{Emulator, HubError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::args::surroundings::Shell;
use crate::failure::Failure;
use crate::output::json;
use crate::output::shell::quoted;

/// What a ready hub says of itself. It holds the keys: that is its purpose.
#[derive(Serialize, Deserialize)]
pub(super) struct Ready {
    ready: bool,
    hub: String,
    pub(super) host: String,
    amqps_port: u16,
    amqp_port: Option<u16>,
    pub(super) https_port: Option<u16>,
    pub(super) ca: String,
    /// The first hundred. Null for an id that no connection string can hold, and for a device without keys.
    pub(super) devices: Map<String, Json>,
    /// What a back end connects with, as policy `iothubowner`.
    pub(super) service: Option<String>,
    /// What readers of events connect with that know Event Hubs and no IoT Hub, as policy `service`.
    pub(super) events: Option<String>,
}

/// What the file holds: all of it, and what only the hub's owner may know.
#[derive(Serialize, Deserialize)]
pub(super) struct Announced {
    #[serde(flatten)]
    pub(super) ready: Ready,
    /// Shown to the administration at `https://HOST:HTTPS_PORT/admin/`.
    #[serde(serialize_with = "exposed", deserialize_with = "secret")]
    pub(super) admin_token: Secret,
}

impl Announced {
    pub(super) fn of(ready: Ready, emulator: &Emulator) -> Self {
        Self {
            ready,
            admin_token: emulator.admin_token().clone(),
        }
    }

    /// One line.
    pub(super) fn json(&self) -> String {
        json::line(self)
    }
}

fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl Ready {
    pub(super) async fn of(emulator: &Emulator, ca_file: &Path) -> Result<Self, Failure> {
        let mut devices = Map::new();
        let known = emulator.devices().await;
        let known = known.map_err(|error| Failure::unexpected("the hub's devices").because(&error))?;
        for device in known.iter().take(DEVICES) {
            // Legal in an id, and what separates the parts of a connection string.
            let string = if device.as_str().contains(';') {
                Json::Null
            } else {
                let string = emulator.connection_string(&device.clone().into()).await;
                let string =
                    string.map_err(|error| Failure::unexpected("the hub's devices").because(&error))?;
                Json::String(string.expose())
            };
            devices.insert(device.to_string(), string);
        }
        let failed = |error: HubError| Failure::unexpected("the hub's policies").because(&error);
        let service = emulator.policy_connection_string(&policy("iothubowner")).await;
        let service = service.map_err(failed)?;
        let events = emulator.events_connection_string(&policy("service")).await;
        Ok(Self {
            ready: true,
            hub: emulator.hub().to_string(),
            host: service.host().to_string(),
            amqps_port: emulator.amqps_address().port(),
            amqp_port: emulator.amqp_address().map(|address| address.port()),
            https_port: emulator.https_address().map(|address| address.port()),
            ca: ca_file.display().to_string(),
            devices,
            service: Some(service.expose()),
            events: Some(events.map_err(failed)?.expose()),
        })
    }

    /// One line.
    pub(super) fn json(&self) -> String {
        json::line(self)
    }

    /// Several lines, with commands to copy; events come behind them, unless it is quiet.
    pub(super) fn for_people(&self, quiet: bool) -> String {
        let mut lines = vec![format!("hub {} is ready", self.hub)];
        lines.push(format!("  AMQP over TLS  {}:{}", self.host, self.amqps_port));
        lines.extend(
            self.amqp_port
                .map(|port| format!("  AMQP           {}:{port}", self.host)),
        );
        lines.extend(self.https_port.map(|port| {
            format!(
                "  HTTPS          https://{}:{port}/ (a page, on this machine)",
                self.host
            )
        }));
        lines.push(format!("  CA             {}", self.ca));
        for (device, string) in &self.devices {
            lines.push(format!("device {device}"));
            lines.push(match string {
                Json::String(string) => format!("  {string}"),
                _ => "  (no connection string can hold its id)".to_owned(),
            });
        }
        if let Some(string) = self.devices.values().find_map(Json::as_str) {
            lines.push("send to it from another terminal:".to_owned());
            lines.push(format!(
                "  export IOTHUB_CA_FILE={}",
                quoted(Shell::Bash, &self.ca)
            ));
            lines.push(format!(
                "  export IOTHUB_DEVICE_CONNECTION_STRING={}",
                quoted(Shell::Bash, string)
            ));
            lines.push("  iothub device send 'Hello World!'".to_owned());
        }
        let events = if quiet { "" } else { " It receives:" };
        lines.push(format!("Ctrl-C stops it.{events}"));
        lines.join("\n")
    }
}

fn policy(name: &str) -> PolicyName {
    PolicyName::parse(name).expect("it is a policy's name")
}

/// By which other commands find a running hub, in its directory.
pub(super) const READY_FILE: &str = "emulator.json";

/// How many devices of a hub that has many it names.
const DEVICES: usize = 100;
