//! `iothub device twin`

use std::io::Read;

use iothub_amqp::{TwinError, TwinState};
use serde_json::{Map, Value, json};

use super::live::{Ended, Live, stream_ended};
use crate::args::Format;
use crate::args::device_live::{Connect, Get, Report, Twin, Watch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{human, incoming, json};
use crate::plan::connecting;

pub(crate) fn run(twin: Twin, io: &mut Io) -> Result<Exit, Failure> {
    match twin {
        Twin::Get(Get { connect }) => with(connect, ("", false), io, Work::Get),
        Twin::Report(Report { patch, connect }) => {
            let is_stdin = patch == "-";
            with(connect, ("JSON '-'", is_stdin), io, Work::Report(patch))
        }
        Twin::Watch(Watch { connect, count }) => {
            with(connect, ("", false), io, Work::Watch(count.unwrap_or(u64::MAX)))
        }
    }
}

enum Work {
    Get,
    Report(String),
    Watch(u64),
}

fn with(mut connect: Connect, other: (&str, bool), io: &mut Io, work: Work) -> Result<Exit, Failure> {
    let builder = connecting::builder(&mut connect, other, io)?;
    let format = connect.output;
    let patch = match &work {
        Work::Report(text) => Some(patch(text, io)?),
        _ => None,
    };
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        let mut live = Live::connect(builder).await?;
        let twin = live.client.twin();
        let ended = match work {
            Work::Get => {
                let state = live.unless_stopped(twin.get()).await?.map_err(failure)?;
                io.print(&all(&state, format))?;
                Ended::Stopped
            }
            Work::Report(_) => {
                let patch = patch.unwrap_or_default();
                let version = live.unless_stopped(twin.report(&patch)).await?.map_err(failure)?;
                io.print(&incoming::reported(version, format))?;
                Ended::Stopped
            }
            Work::Watch(count) => watch(count, format, &mut live, io).await?,
        };
        live.close(ended).await
    });
    runtime.shutdown_background();
    done
}

async fn watch(mut left: u64, format: Format, live: &mut Live, io: &mut Io) -> Result<Ended, Failure> {
    let twin = live.client.twin();
    let mut changes = live
        .unless_stopped(twin.desired())
        .await?
        .map_err(|error| Failure::from(&error))?;
    while left > 0 {
        let change = tokio::select! {
            biased;
            change = changes.next() => change,
            ended = live.ended(io) => return Ok(ended),
        };
        let Some(change) = change else {
            return Ok(stream_ended(changes.ended()));
        };
        live.catch_up(io);
        io.print(&incoming::desired(&change, format))?;
        left -= 1;
    }
    Ok(Ended::Stopped)
}

/// The patch, from the argument or standard input.
fn patch(text: &str, io: &mut Io) -> Result<Value, Failure> {
    let mut read = String::new();
    let text = if text == "-" {
        let mut stdin = io.take_stdin().take(LONGEST_PATCH);
        stdin
            .read_to_string(&mut read)
            .map_err(|error| Failure::usage("can't read standard input").because(&error))?;
        &read
    } else {
        text
    };
    let patch: Value =
        serde_json::from_str(text).map_err(|error| Failure::usage("the patch is no JSON").because(&error))?;
    if patch.is_object() {
        Ok(patch)
    } else {
        Err(Failure::usage("the patch is JSON, but not an object").hint("write {\"name\": value}"))
    }
}

/// As the hub writes it.
fn all(state: &TwinState, format: Format) -> String {
    let part = |values: &Map<String, Value>, version: i64| {
        let mut values = values.clone();
        values.insert("$version".to_owned(), json!(version));
        Value::Object(values)
    };
    let twin = json!({
        "desired": part(&state.desired.values, state.desired.version),
        "reported": part(&state.reported.values, state.reported.version),
    });
    match format {
        Format::Json => json::line(&twin),
        Format::Text => human::pretty(&twin),
    }
}

pub(super) fn failure(error: TwinError) -> Failure {
    Failure::from(&error)
}

/// More than any twin holds: a hub takes 32 KiB of reported properties.
const LONGEST_PATCH: u64 = 1024 * 1024;
