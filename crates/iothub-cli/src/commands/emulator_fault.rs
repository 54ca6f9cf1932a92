//! `iothub emulator fault`

use hyper::Method;
use iothub_address::Identity;
use iothub_emulator::{Fault as Injected, FaultKind};
use serde_json::{Value, json};

use super::running::RunningHub;
use crate::args::Format;
use crate::args::administration::{Fault, Inject, Plain};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::human::OneLine;
use crate::output::json;

pub(crate) fn run(args: Fault, io: &mut Io) -> Result<Exit, Failure> {
    match args {
        Fault::Inject(inject) => {
            let body = json!(fault(&inject)?);
            let answer = ask(Method::POST, Some(body), &inject.plain, io)?;
            show(&answer, &inject.plain, |_| "injected".to_owned(), io)
        }
        Fault::List(plain) => {
            let answer = ask(Method::GET, None, &plain, io)?;
            list(&answer, &plain, io)
        }
        Fault::Clear(plain) => {
            let answer = ask(Method::DELETE, None, &plain, io)?;
            show(
                &answer,
                &plain,
                |answer| format!("{} cleared", answer["cleared"]),
                io,
            )
        }
    }
}

fn ask(method: Method, body: Option<Value>, plain: &Plain, io: &Io) -> Result<Value, Failure> {
    let hub = RunningHub::find(&plain.running, io)?;
    super::runtime()?.block_on(hub.ask(method, "/admin/faults", body))
}

/// What the flags say.
fn fault(args: &Inject) -> Result<Injected, Failure> {
    let kind = match (args.kind, args.status, args.late) {
        (FaultKind::RefusePutToken { .. }, Some(status), None) => FaultKind::RefusePutToken { status },
        (FaultKind::DelaySettlement { .. }, None, Some(late)) => FaultKind::DelaySettlement { by: late.0 },
        (kind, None, None) => kind,
        (FaultKind::RefusePutToken { .. }, _, _) | (_, None, _) => {
            return Err(Failure::usage("--late is for DelaySettlement"));
        }
        _ => return Err(Failure::usage("--status is for RefusePutToken")),
    };
    let mut fault = Injected::new(kind);
    if let Some(device) = &args.device {
        fault = fault.of(match &args.module {
            Some(module) => Identity::Module(device.clone(), module.clone()),
            None => Identity::Device(device.clone()),
        });
    }
    if let Some(reason) = args.reason {
        fault = fault.reason(reason);
    }
    if let Some(delay) = args.delay {
        fault = fault.delay(delay.0);
    }
    if let Some(duration) = args.duration {
        fault = fault.duration(duration.0);
    }
    if let Some(condition) = &args.condition {
        fault = fault.condition(condition);
    }
    Ok(fault)
}

fn show(
    answer: &Value,
    plain: &Plain,
    text: impl FnOnce(&Value) -> String,
    io: &mut Io,
) -> Result<Exit, Failure> {
    io.print(&match plain.output {
        Format::Json => json::line(answer),
        Format::Text => text(answer),
    })?;
    Ok(Exit::Done)
}

/// A line each.
fn list(answer: &Value, plain: &Plain, io: &mut Io) -> Result<Exit, Failure> {
    for fault in answer["faults"].as_array().into_iter().flatten() {
        io.print(&match plain.output {
            Format::Json => json::line(fault),
            Format::Text => line(fault),
        })?;
    }
    Ok(Exit::Done)
}

/// The kind, and then whatever else the hub says of it.
fn line(fault: &Value) -> String {
    let mut line = String::new();
    for (name, value) in fault.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if name == "kind" {
            line.insert_str(0, &value);
        } else {
            line.push_str(&format!("  {name} {value}"));
        }
    }
    OneLine(&line).to_string()
}
