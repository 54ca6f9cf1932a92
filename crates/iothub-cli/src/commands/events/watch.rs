//! `iothub events watch`

use std::pin::pin;
use std::task::Poll;

use futures_util::poll;
use iothub_amqp::{Events, Position, Read};
use tokio::time::{Duration, Instant, sleep_until};

use super::{Page, Reader, format, tell};
use crate::args::Format;
use crate::args::events::Watch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::event;
use crate::plan::checkpoint::Checkpoint;
use crate::plan::reading;
use crate::plan::service::Service;

pub(super) async fn run(args: Watch, io: &mut Io) -> Result<Exit, Failure> {
    let Watch {
        which,
        since,
        count,
        duration,
        idle,
        checkpoint,
        everywhere,
    } = args;
    let service = Service::of_events(everywhere, ("", false), io)?;
    let format = format(&service)?;
    let mut reader = Reader::connect(&service, &which).await?;
    let checkpoint = checkpoint
        .map(|path| {
            let client = &reader.client;
            Checkpoint::read(
                &path,
                client.host().as_str(),
                client.event_hub(),
                which.consumer_group.as_str(),
            )
        })
        .transpose()?;
    let known: Vec<_> = checkpoint
        .iter()
        .flat_map(|kept| {
            reader
                .partitions
                .iter()
                .filter_map(|number| Some((*number, kept.last(*number)?)))
        })
        .map(|(partition, last)| (partition, Position::AfterSequence(last)))
        .collect();
    let events = reader.open(reading::position(since), &known).await?;
    let mut watching = Watching {
        page: Page::new(io.take_stdout(), "standard output"),
        reader,
        format,
        left: count,
        checkpoint,
        until: duration.map(|span| Instant::now() + span.0),
        idle: idle.map(|span| span.0),
    };
    let shown = watching.show(events, io).await;
    // What was shown is shown, and kept, whatever came then.
    watching.page.flush()?;
    watching.keep()?;
    let exit = shown?;
    let _ = watching.reader.client.close().await;
    Ok(exit)
}

struct Watching {
    reader: Reader,
    page: Page,
    format: Format,
    /// How many are still to be shown, if they are counted.
    left: Option<u64>,
    checkpoint: Option<Checkpoint>,
    until: Option<Instant>,
    idle: Option<Duration>,
}

impl Watching {
    async fn show(&mut self, mut events: Events, io: &mut Io) -> Result<Exit, Failure> {
        let mut last = Instant::now();
        let mut kept = last;
        while self.left != Some(0) && !self.page.is_closed() {
            let ready = poll!(pin!(events.next()));
            let read = match ready {
                Poll::Ready(read) => {
                    // Ctrl-C has its turn in a flood too.
                    if poll!(pin!(self.reader.stop.received())).is_ready() {
                        return Ok(Exit::Interrupted);
                    }
                    read
                }
                Poll::Pending => {
                    self.page.flush()?;
                    let idle = self.idle.map(|span| last + span);
                    let end = self.until.into_iter().chain(idle).min();
                    tokio::select! {
                        biased;
                        () = self.reader.stop.received() => return Ok(Exit::Interrupted),
                        _ = self.reader.status.changed() => {
                            self.reader.tell_status(io);
                            continue;
                        }
                        read = events.next() => read,
                        () = at(end) => return Ok(Exit::Done),
                        () = at(self.checkpoint.as_ref().map(|_| kept + BETWEEN_CHECKPOINTS)) => {
                            self.keep()?;
                            kept = Instant::now();
                            continue;
                        }
                    }
                }
            };
            let Some(read) = read else { return Ok(Exit::Done) };
            let Read::Event(event) = &read else {
                tell(&read, io)?;
                continue;
            };
            let now = Instant::now();
            if self.until.is_some_and(|until| now >= until) {
                return Ok(Exit::Done);
            }
            if self.reader.devices.include(event) {
                self.page.line(&event::read_line(event, self.format))?;
                self.left = self.left.map(|left| left - 1);
                last = now;
            }
            if let Some(checkpoint) = &mut self.checkpoint {
                checkpoint.saw(event.partition, event.sequence_number);
                if now.duration_since(kept) >= BETWEEN_CHECKPOINTS {
                    self.keep()?;
                    kept = now;
                }
            }
        }
        Ok(Exit::Done)
    }

    /// Keeps how far it has come, once that is shown.
    fn keep(&mut self) -> Result<(), Failure> {
        self.page.flush()?;
        match &mut self.checkpoint {
            Some(checkpoint) if !self.page.is_closed() => checkpoint.keep(),
            _ => Ok(()),
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(1);
