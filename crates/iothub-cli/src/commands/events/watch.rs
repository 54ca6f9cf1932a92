//! `iothub events watch`

use std::pin::pin;
use std::task::Poll;

use futures_util::poll;
use iothub_amqp::{Event, Events, Position, Read};
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::view::View;
use super::{Reader, tell};
use crate::args::Format;
use crate::args::events::Watch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::event;
use crate::output::human::OneLine;
use crate::plan::checkpoint::Checkpoint;
use crate::plan::filter::{Answer, Filter};
use crate::plan::reading;
use crate::plan::service::Service;

pub(super) async fn run(args: Watch, io: &mut Io) -> Result<Exit, Failure> {
    let Watch {
        which,
        since,
        filter,
        stats,
        every,
        count,
        duration,
        idle,
        checkpoint,
        everywhere,
    } = args;
    let service = Service::of_events(everywhere, ("", false), io)?;
    let filter = filter.map(Filter::start).transpose()?;
    let view = View::of(service.output, stats.then_some(every.0), io)?;
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
    let mut events = reader.open(reading::position(since), &known).await?;
    let mut watching = Watching {
        view,
        reader,
        filter,
        unfit: 0,
        left: count,
        checkpoint,
        until: duration.map(|span| Instant::now() + span.0),
        idle: idle.map(|span| span.0),
    };
    let shown = watching.show(&mut events, io).await;
    // What was shown is shown, and kept, whatever came then.
    watching.view.finish(events.progress())?;
    watching.keep()?;
    watching.tell_unfit(io);
    let exit = shown?;
    let _ = watching.reader.client.close().await;
    Ok(exit)
}

struct Watching {
    reader: Reader,
    view: View,
    filter: Option<Filter>,
    /// How many events the filter could not be applied to.
    unfit: u64,
    /// How many are still to be shown, if they are counted.
    left: Option<u64>,
    checkpoint: Option<Checkpoint>,
    until: Option<Instant>,
    idle: Option<Duration>,
}

impl Watching {
    async fn show(&mut self, events: &mut Events, io: &mut Io) -> Result<Exit, Failure> {
        let mut last = Instant::now();
        let mut kept = last;
        while self.left != Some(0) && !self.view.is_closed() {
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
                    self.view.flush()?;
                    let idle = self.idle.map(|span| last + span);
                    let end = self.until.into_iter().chain(idle).min();
                    tokio::select! {
                        biased;
                        () = self.reader.stop.received() => return Ok(Exit::Interrupted),
                        _ = self.reader.status.changed() => {
                            self.view.make_way();
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
                        () = at(self.view.due()) => {
                            self.view.draw(events.progress())?;
                            continue;
                        }
                    }
                }
            };
            let Some(read) = read else { return Ok(Exit::Done) };
            let Read::Event(event) = &read else {
                self.view.noticed(&read);
                self.view.make_way();
                tell(&read, io)?;
                continue;
            };
            let now = Instant::now();
            if self.until.is_some_and(|until| now >= until) {
                return Ok(Exit::Done);
            }
            match self.judge(event, io).await? {
                Verdict::Interrupted => return Ok(Exit::Interrupted),
                Verdict::Over => return Ok(Exit::Done),
                Verdict::LeftOut => {}
                Verdict::Shown(line) => {
                    self.view.show(event, line)?;
                    self.left = self.left.map(|left| left - 1);
                    last = now;
                }
            }
            if let Some(checkpoint) = &mut self.checkpoint {
                checkpoint.saw(event.partition, event.sequence_number);
                if now.duration_since(kept) >= BETWEEN_CHECKPOINTS {
                    self.keep()?;
                    kept = now;
                }
            }
            if self.view.due().is_some_and(|due| due <= now) {
                self.view.draw(events.progress())?;
            }
        }
        Ok(Exit::Done)
    }

    /// Whether it is one of those that were asked for.
    async fn judge(&mut self, event: &Event, io: &mut Io) -> Result<Verdict, Failure> {
        if !self.reader.devices.include(event) {
            return Ok(Verdict::LeftOut);
        }
        let Some(filter) = &mut self.filter else {
            return Ok(Verdict::Shown(None));
        };
        let line = event::read_line(event, Format::Json);
        let mut asked = pin!(filter.ask(line.clone()));
        let answer = loop {
            tokio::select! {
                biased;
                () = self.reader.stop.received() => return Ok(Verdict::Interrupted),
                answer = &mut asked => break answer?,
                () = at(self.until) => return Ok(Verdict::Over),
                // What was let through before does not wait for a filter that takes its time.
                () = sleep(SLOW) => self.view.flush()?,
            }
        };
        match answer {
            Answer::Shown => Ok(Verdict::Shown(Some(line))),
            Answer::LeftOut => Ok(Verdict::LeftOut),
            Answer::Failed(why) => {
                self.unfit += 1;
                if self.unfit == 1 {
                    self.view.make_way();
                    io.note(&format!(
                        "warning: the filter can't be applied to event {} of partition {}: {}: such events are left out",
                        event.sequence_number,
                        event.partition,
                        OneLine(&why)
                    ));
                }
                Ok(Verdict::LeftOut)
            }
        }
    }

    /// Says of how many events nobody knows whether they were asked for; of the first it was said.
    fn tell_unfit(&self, io: &mut Io) {
        if self.unfit > 1 {
            io.note(&format!(
                "{} events were left out that the filter can't be applied to",
                self.unfit
            ));
        }
    }

    /// Keeps how far it has come, once that is shown.
    fn keep(&mut self) -> Result<(), Failure> {
        self.view.flush()?;
        match &mut self.checkpoint {
            Some(checkpoint) if !self.view.is_closed() => checkpoint.keep(),
            _ => Ok(()),
        }
    }
}

enum Verdict {
    /// It is, and this is its JSON if that was needed.
    Shown(Option<String>),
    LeftOut,
    Interrupted,
    /// The time is over, and it is not known.
    Over,
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// For a filter.
const SLOW: Duration = Duration::from_millis(100);
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(1);
