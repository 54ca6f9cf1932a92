//! `iothub emulator env`

use hyper::Method;
use iothub_registry::HTTPS_PORT;
use serde_json::json;

use super::running::RunningHub;
use crate::args::surroundings::Env;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::shell;
use crate::plan::settings::HTTPS_PORT_VARIABLE;

pub(crate) fn run(args: Env, io: &mut Io) -> Result<Exit, Failure> {
    let hub = RunningHub::find(&args.running, io)?;
    let string = match &args.device {
        Some(device) => {
            let whom = json!({ "device": device.as_str(), "module": args.module.as_ref().map(|module| module.as_str()) });
            let asking = hub.ask(Method::POST, "/admin/connection-string", Some(whom));
            let answer = super::runtime()?.block_on(asking)?;
            answer["connection_string"].as_str().map(str::to_owned)
        }
        None => first(&hub, io),
    };
    let ca = &hub.ready().ca;
    let mut variables: Vec<(&str, &str)> = Vec::new();
    variables.extend(string.as_deref().map(|string| (DEVICE_VARIABLE, string)));
    let of_policies = [
        (SERVICE_VARIABLE, &hub.ready().service),
        (EVENTS_VARIABLE, &hub.ready().events),
    ];
    for (name, string) in of_policies {
        variables.extend(string.as_deref().map(|string| (name, string)));
    }
    // Where it is everywhere else, nobody has to be told.
    let https_port = hub.ready().https_port.filter(|port| *port != HTTPS_PORT);
    let https_port = https_port.map(|port| port.to_string());
    variables.extend(https_port.as_deref().map(|port| (HTTPS_PORT_VARIABLE, port)));
    variables.extend(CA_VARIABLES.map(|name| (name, ca.as_str())));
    let lines: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| shell::set(args.shell, name, value))
        .collect();
    io.print(&lines.join("\n"))?;
    Ok(Exit::Done)
}

/// The first device's, by what the hub wrote down when it was ready.
fn first(hub: &RunningHub, io: &mut Io) -> Option<String> {
    let devices = &hub.ready().devices;
    let first = devices
        .iter()
        .find_map(|(device, string)| Some((device, string.as_str()?)));
    let Some((device, string)) = first else {
        io.note("warning: no device has a connection string: say which by --device, once there is one");
        return None;
    };
    if devices
        .values()
        .filter(|string| string.is_string())
        .nth(1)
        .is_some()
    {
        io.note(&format!("this is for device {device}; --device names another"));
    }
    Some(string.to_owned())
}

const DEVICE_VARIABLE: &str = "IOTHUB_DEVICE_CONNECTION_STRING";
/// A back end's, and that of readers of events who know Event Hubs alone.
const SERVICE_VARIABLE: &str = "IOTHUB_SERVICE_CONNECTION_STRING";
const EVENTS_VARIABLE: &str = "IOTHUB_EVENTS_CONNECTION_STRING";
/// Ours, Node's, OpenSSL's (and with it Python's), and that of Python's requests.
const CA_VARIABLES: [&str; 4] = [
    "IOTHUB_CA_FILE",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];
