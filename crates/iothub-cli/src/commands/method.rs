//! `iothub method call`

use std::ops::RangeInclusive;
use std::time::Duration;

use iothub_registry::MethodCall;
use serde_json::json;

use super::asking::{ask, failed};
use super::twin::{parse, text};
use crate::args::Output;
use crate::args::twin::{Call, Method};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{human, identity, rows};
use crate::plan::rest::Hub;

pub(crate) fn run(Method::Call(args): Method, io: &mut Io) -> Result<Exit, Failure> {
    let whose = args.of.identity();
    let Call {
        of,
        name,
        payload,
        connect_timeout,
    } = args;
    let is_stdin = payload.as_deref() == Some("-");
    let hub = Hub::of(of.rest, ("PAYLOAD '-'", is_stdin), io)?;
    if !ANSWERS_IN.contains(&hub.timeout) {
        return Err(Failure::usage(
            "--timeout is how long a device may take to answer: 5s to 300s",
        ));
    }
    let payload = match payload {
        Some(given) => parse(&text(given, io)?, "the payload")?,
        None => serde_json::Value::Null,
    };
    let mut call = MethodCall::new(&name)
        .payload(payload)
        .response_timeout(hub.timeout);
    if let Some(time) = connect_timeout {
        call = call.connect_timeout(time.0);
    }
    let output = hub.output;
    ask(hub, async |registry| {
        let response = failed(registry.call_method(&whose, &call).await)?;
        if output == Output::Text {
            io.note(&format!("status {}", response.status));
            io.print(&human::pretty(&response.payload))?;
            return Ok(Exit::Done);
        }
        let shown = identity::object(json!({
            "device": whose.device().as_str(),
            "module": whose.module().map(|module| module.as_str()),
            "method": name,
            "status": response.status,
            "payload": response.payload,
        }));
        rows::print_one(&shown, output, io)?;
        Ok(Exit::Done)
    })
}

/// What a hub takes.
const ANSWERS_IN: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(300);
