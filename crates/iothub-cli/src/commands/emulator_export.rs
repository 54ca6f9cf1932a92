//! `iothub emulator export`

use std::io::ErrorKind;

use hyper::Method;
use iothub_emulator::{ExportKeys, StateError};
use serde_json::Value;

use super::running::RunningHub;
use crate::args::administration::Running;
use crate::args::emulator::Export;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::io::Io;

/// Prints what a hub has that runs, or what is in a state directory that none uses.
pub(crate) fn run(args: Export, io: &mut Io) -> Result<Exit, Failure> {
    let keys = if args.exclude_keys {
        ExportKeys::Excluded
    } else {
        ExportKeys::Included
    };
    let kept = match &args.state_dir {
        Some(directory) => kept(iothub_emulator::Export::of_state_dir(directory, keys))?,
        None => None,
    };
    match kept {
        Some(export) => print(export.expose().lines(), io),
        None => {
            let running = Running {
                state_dir: args.state_dir,
            };
            let lines = asked(&RunningHub::find(&running, io)?, keys)?;
            print(lines.iter().map(String::as_str), io)
        }
    }
}

/// `None` when a hub runs there.
fn kept(
    read: Result<iothub_emulator::Export, StateError>,
) -> Result<Option<iothub_emulator::Export>, Failure> {
    match read {
        Ok(export) => Ok(Some(export)),
        Err(StateError::InUse(_)) => Ok(None),
        Err(StateError::Io { file, source }) if source.kind() == ErrorKind::NotFound => {
            let what = format!("there is no {}", file.display());
            Err(Failure::usage(what).hint("no hub was kept there: name its --state-dir"))
        }
        Err(error @ StateError::Io { .. }) => Err(Failure::unexpected(chain(&error))),
        Err(error) => Err(Failure::usage(chain(&error))),
    }
}

fn asked(hub: &RunningHub, keys: ExportKeys) -> Result<Vec<String>, Failure> {
    let path = match keys {
        ExportKeys::Excluded => "/admin/export?keys=excluded",
        _ => "/admin/export",
    };
    match super::runtime()?.block_on(hub.ask(Method::GET, path, None))? {
        Value::Array(lines) => Ok(lines.iter().map(ToString::to_string).collect()),
        _ => Err(Failure::unexpected("the hub's answer is no list")),
    }
}

fn print<'a>(lines: impl Iterator<Item = &'a str>, io: &mut Io) -> Result<Exit, Failure> {
    for line in lines {
        io.print(line)?;
    }
    Ok(Exit::Done)
}
