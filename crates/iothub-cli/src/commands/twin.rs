//! `iothub twin …`

use std::io::Read;

use iothub_registry::{IfMatch, TwinChange};
use serde_json::{Map, Value};

use super::asking::{ask, failed};
use super::emulator_run::stop::StopSignals;
use crate::args::Output;
use crate::args::rest::Whose;
use crate::args::twin::{Change, Twin, Watch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{human, json};
use crate::plan::rest::Hub;

pub(crate) fn run(command: Twin, io: &mut Io) -> Result<Exit, Failure> {
    match command {
        Twin::Show(args) => show(args, io),
        Twin::Patch(args) => change(args, How::Patch, io),
        Twin::Replace(args) => change(args, How::Replace, io),
        Twin::Watch(args) => watch(args, io),
    }
}

enum How {
    Patch,
    Replace,
}

fn show(args: Whose, io: &mut Io) -> Result<Exit, Failure> {
    let whose = args.identity();
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = formats(hub.output)?;
    ask(hub, async |registry| {
        let twin = failed(registry.twin_document(&whose).await)?;
        print(&twin, output, io)?;
        Ok(Exit::Done)
    })
}

fn change(args: Change, how: How, io: &mut Io) -> Result<Exit, Failure> {
    let whose = args.of.identity();
    let hub = Hub::of(args.of.rest, ("JSON '-'", args.json == "-"), io)?;
    let output = formats(hub.output)?;
    let Value::Object(given) = parse(&text(args.json, io)?, "the twin")? else {
        return Err(Failure::usage("the twin is no JSON object").hint(FORM));
    };
    check(&given)?;
    let change = failed(TwinChange::from_json(given))?;
    let state = args.if_match.as_deref().map(IfMatch::etag);
    ask(hub, async |registry| {
        let done = match how {
            How::Patch => registry.patch_twin(&whose, &change, state.as_ref()).await,
            How::Replace => registry.replace_twin(&whose, &change, state.as_ref()).await,
        };
        failed(done)?;
        let twin = failed(registry.twin_document(&whose).await)?;
        print(&twin, output, io)?;
        Ok(Exit::Done)
    })
}

fn watch(args: Watch, io: &mut Io) -> Result<Exit, Failure> {
    let whose = args.of.identity();
    let hub = Hub::of(args.of.rest, ("", false), io)?;
    let output = formats(hub.output)?;
    super::runtime()?.block_on(async {
        let mut stop = StopSignals::new()?;
        let registry = hub.registry().await?;
        let mut every = tokio::time::interval(args.every.0);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = None;
        let mut left = args.count.unwrap_or(u64::MAX);
        while left > 0 {
            let twin = tokio::select! {
                biased;
                () = stop.received() => return Ok(Exit::Done),
                twin = async { every.tick().await; registry.twin_document(&whose).await } => failed(twin)?,
            };
            let version = (twin["version"].clone(), twin["etag"].clone());
            if seen.as_ref() != Some(&version) {
                print(&twin, output, io)?;
                seen = Some(version);
                left -= 1;
            }
        }
        Ok(Exit::Done)
    })
}

/// A section that is misspelled would be passed over, and nothing would change.
fn check(given: &Map<String, Value>) -> Result<(), Failure> {
    if given.contains_key("tags") || given.contains_key("properties") {
        return Ok(());
    }
    Err(Failure::usage("the twin has neither tags nor properties").hint(FORM))
}

/// What stands in an argument, or on standard input for `-`.
pub(super) fn text(given: String, io: &mut Io) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    io.take_stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage("can't read standard input").because(&error))?;
    Ok(text)
}

pub(super) fn parse(text: &str, what: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::usage(format!("{what} is no JSON")).because(&error))
}

/// JSON that is not made of rows.
pub(super) fn print(value: &Value, output: Output, io: &mut Io) -> Result<(), Failure> {
    let text = match output {
        Output::Json | Output::Csv => json::line(value),
        Output::Text => human::pretty(value),
    };
    io.print(&text)
}

fn formats(output: Output) -> Result<Output, Failure> {
    match output {
        Output::Csv => Err(Failure::usage("a twin has no rows").hint("take -o json or -o text")),
        other => Ok(other),
    }
}

const FORM: &str = "it is {\"tags\":{…},\"properties\":{\"desired\":{…}}}, either of the two";
/// Twice what a hub takes, in bytes.
const LONGEST: u64 = 256 * 1024;
