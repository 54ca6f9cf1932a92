//! `iothub events export`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use iothub_amqp::{Event, Position, Read};

use super::{Page, Reader, tell};
use crate::args::events::Export;
use crate::args::{Format, Input};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::event;
use crate::output::progress::Progress;
use crate::plan::reading;
use crate::plan::service::Service;

pub(super) async fn run(args: Export, io: &mut Io) -> Result<Exit, Failure> {
    let service = Service::of_events(args.everywhere, ("", false), io)?;
    let to: Box<dyn Write + Send> = match &args.file {
        Input::Stdin => io.take_stdout(),
        // Another's export is not written over.
        Input::File(path) => Box::new(File::create_new(path).map_err(|error| {
            Failure::usage(format!("can't make {}", path.display()))
                .because(&error)
                .hint("name a file that is not there yet")
        })?),
    };
    let what = match &args.file {
        Input::Stdin => "standard output".to_owned(),
        file @ Input::File(_) => file.to_string(),
    };
    let mut page = Page::new(to, what.clone());
    let mut reader = Reader::connect(&service, &args.which).await?;
    let mut count: u64 = 0;
    let progress = Progress::start(None, io);
    let read = through(&mut reader, reading::position(Some(args.since)), io, |event| {
        page.line(&event::read_line(event, Format::Json))?;
        count += 1;
        progress.step();
        Ok(())
    })
    .await;
    drop(progress);
    // What was read before a failure is in the file.
    page.flush()?;
    read?;
    let _ = reader.client.close().await;
    let events = if count == 1 { "event" } else { "events" };
    io.note(&format!("{count} {events} exported"));
    Ok(Exit::Done)
}

/// Goes through all events that are there when it begins, of those that are wanted.
pub(super) async fn through(
    reader: &mut Reader,
    from: Position,
    io: &mut Io,
    mut take: impl FnMut(&Event) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left: BTreeMap<u32, i64> = reader.ends(&from).await?.into_iter().collect();
    let mut events = reader.open(from, &[]).await?;
    while !left.is_empty() {
        let read = tokio::select! {
            biased;
            () = reader.stop.received() => return Err(Failure::interrupted()),
            _ = reader.status.changed() => {
                reader.tell_status(io);
                continue;
            }
            read = events.next() => read,
        };
        let Some(read) = read else { return Ok(()) };
        let Read::Event(event) = &read else {
            tell(&read, io)?;
            continue;
        };
        let end = left.get(&event.partition).copied();
        if end.is_some_and(|end| event.sequence_number <= end) && reader.devices.include(event) {
            take(event)?;
        }
        if end.is_some_and(|end| event.sequence_number >= end) {
            left.remove(&event.partition);
        }
    }
    Ok(())
}
