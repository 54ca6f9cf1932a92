//! `iothub events count`

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Reader, export::through};
use crate::args::Output;
use crate::args::events::Count;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::progress::Progress;
use crate::output::{json, table};
use crate::plan::reading;
use crate::plan::service::Service;

/// Its fields are a contract.
#[derive(Serialize)]
struct Line {
    partition: u32,
    count: u64,
}

pub(super) async fn run(args: Count, io: &mut Io) -> Result<Exit, Failure> {
    let service = Service::of_events(args.everywhere, ("", false), io)?;
    let mut reader = Reader::connect(&service, &args.which).await?;
    let mut counts: BTreeMap<u32, u64> = reader.partitions.iter().map(|number| (*number, 0)).collect();
    let progress = Progress::start(None, io);
    through(&mut reader, reading::position(Some(args.since)), io, |event| {
        if let Some(count) = counts.get_mut(&event.partition) {
            *count += 1;
            progress.step();
        }
        Ok(())
    })
    .await?;
    drop(progress);
    let _ = reader.client.close().await;
    let lines = counts.iter().map(|(partition, count)| Line {
        partition: *partition,
        count: *count,
    });
    match service.output {
        Output::Json => lines
            .map(|line| json::line(&line))
            .try_for_each(|line| io.print(&line))?,
        output => {
            let total: u64 = counts.values().sum();
            let mut rows: Vec<_> = lines
                .map(|line| vec![line.partition.to_string(), line.count.to_string()])
                .collect();
            if output == Output::Text {
                rows.push(vec!["all".to_owned(), total.to_string()]);
                io.print(&table::text(&COLUMNS, &rows))?;
            } else {
                io.print(&table::csv(COLUMNS))?;
                rows.iter()
                    .try_for_each(|row| io.print(&table::csv(row.iter().map(String::as_str))))?;
            }
        }
    }
    Ok(Exit::Done)
}

const COLUMNS: [&str; 2] = ["partition", "count"];
