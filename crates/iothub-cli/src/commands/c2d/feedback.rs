//! `iothub c2d feedback`

use iothub_amqp::{FeedbackRecord, Interruption, ServiceClient};
use serde_json::json;

use crate::args::Output;
use crate::args::c2d::Feedback;
use crate::commands::emulator_run::stop::StopSignals;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::human::{self, OneLine};
use crate::output::{json, table};
use crate::plan::service::Service;

pub(super) fn run(args: Feedback, io: &mut Io) -> Result<Exit, Failure> {
    let service = Service::of(args.everywhere, ("", false), io)?;
    let runtime = crate::commands::runtime()?;
    let done = runtime.block_on(show(&service, args.count, io));
    runtime.shutdown_background();
    done
}

async fn show(service: &Service, count: Option<u64>, io: &mut Io) -> Result<Exit, Failure> {
    let mut stop = StopSignals::new()?;
    let opening = async {
        let client = service.client()?.connect().await?;
        let feedback = client.feedback().await.map_err(|error| Failure::from(&error))?;
        Ok::<_, Failure>((client, feedback))
    };
    let (client, mut feedback) = tokio::select! {
        biased;
        () = stop.received() => return Err(Failure::interrupted()),
        opened = opening => opened?,
    };
    if service.output == Output::Csv {
        io.print(&table::csv(COLUMNS))?;
    }
    let mut shown = 0;
    let exit = loop {
        if count.is_some_and(|count| shown >= count) {
            break Exit::Done;
        }
        let batch = tokio::select! {
            biased;
            () = stop.received() => break Exit::Interrupted,
            batch = feedback.next() => batch,
        };
        let Some(batch) = batch else {
            return Err(ended(feedback.ended()));
        };
        match batch.records() {
            Ok(records) => {
                let mut shown_all = Ok(());
                for record in records {
                    shown_all = io.hand_over(&line(record, service.output));
                    if shown_all.is_err() {
                        break;
                    }
                    shown += 1;
                }
                if let Err(failure) = shown_all {
                    let _ = batch.abandon().await;
                    close(client).await;
                    return Err(failure);
                }
                // Only what was shown is taken.
                if let Err(error) = batch.complete().await {
                    io.note(&format!(
                        "warning: the hub tells the last of it once more: {error}"
                    ));
                }
            }
            Err(error) => {
                io.note(&format!(
                    "warning: what is no feedback is taken from the hub: {error}"
                ));
                let _ = batch.reject().await;
            }
        }
    };
    close(client).await;
    Ok(exit)
}

async fn close(client: ServiceClient) {
    if let Err(error) = client.close().await {
        tracing::debug!("closing: {error}");
    }
}

fn line(record: &FeedbackRecord, output: Output) -> String {
    let at = record.at.map(human::rfc3339);
    match output {
        Output::Text => format!(
            "{}  {}  {}  {}",
            at.unwrap_or_default(),
            OneLine(&record.device),
            OneLine(&record.original_message_id),
            OneLine(record.status.as_str()),
        ),
        Output::Json => json::line(&json!({
            "time": at,
            "device": record.device,
            "message_id": record.original_message_id,
            "status": record.status.as_str(),
            "description": record.description,
            "generation": record.generation,
        })),
        Output::Csv => table::csv([
            at.as_deref().unwrap_or_default(),
            &record.device,
            &record.original_message_id,
            record.status.as_str(),
        ]),
    }
}

/// Why there is no more feedback.
pub(super) fn ended(why: Option<Interruption>) -> Failure {
    let why = why.unwrap_or(Interruption::Stopped);
    Failure::new(Exit::from(&why), "the hub tells no more feedback").and(why.to_string())
}

const COLUMNS: [&str; 4] = ["time", "device", "message_id", "status"];
