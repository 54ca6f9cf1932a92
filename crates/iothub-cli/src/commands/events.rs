//! `iothub events …`

mod count;
mod export;
mod flow;
mod page;
mod view;
mod watch;

use iothub_amqp::{Events, EventsClient, EventsError, Position, Read, Status};
use tokio::sync::watch as state;

use self::page::Page;
use super::emulator_run::stop::StopSignals;
use crate::args::events::{Events as Command, Which};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::plan::reading::{self, Devices};
use crate::plan::service::Service;

pub(crate) fn run(command: Command, io: &mut Io) -> Result<Exit, Failure> {
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        match command {
            Command::Watch(args) => watch::run(args, io).await,
            Command::Count(args) => count::run(args, io).await,
            Command::Export(args) => export::run(args, io).await,
        }
    });
    runtime.shutdown_background();
    done
}

/// A client of the endpoint, until it is told to stop.
struct Reader {
    client: EventsClient,
    stop: StopSignals,
    status: state::Receiver<Status>,
    partitions: Vec<u32>,
    devices: Devices,
}

impl Reader {
    async fn connect(service: &Service, which: &Which) -> Result<Self, Failure> {
        let builder = reading::builder(service, which)?;
        let mut stop = StopSignals::new()?;
        let client = tokio::select! {
            biased;
            () = stop.received() => return Err(Failure::interrupted()),
            client = builder.connect() => client?,
        };
        let known = client.partitions();
        if let Some(unknown) = which
            .partitions
            .iter()
            .find(|partition| !known.contains(partition))
        {
            let what = format!("there is no partition {unknown}");
            let last = known.len().saturating_sub(1);
            return Err(Failure::usage(what).hint(format!("they are 0 to {last}")));
        }
        let partitions = if which.partitions.is_empty() {
            known.to_vec()
        } else {
            which.partitions.clone()
        };
        let mut status = client.status();
        status.mark_unchanged();
        Ok(Self {
            client,
            stop,
            status,
            partitions,
            devices: Devices::of(which),
        })
    }

    /// Does this, unless it is told to stop before.
    async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = Result<T, EventsError>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.stop.received() => Err(Failure::interrupted()),
            done = work => done.map_err(Failure::from),
        }
    }

    /// Opens the partitions from there on.
    async fn open(&mut self, from: Position, other: &[(u32, Position)]) -> Result<Events, Failure> {
        let reading = self
            .client
            .events(from)
            .partitions(self.partitions.iter().copied());
        let reading = other.iter().fold(reading, |reading, (partition, position)| {
            reading.from(*partition, position.clone())
        });
        self.unless_stopped(reading.open()).await
    }

    /// The last event of each partition that has any from there on, now.
    async fn ends(&mut self, from: &Position) -> Result<Vec<(u32, i64)>, Failure> {
        let since = match from {
            Position::Time(time) => Some(*time),
            _ => None,
        };
        let client = self.client.clone();
        let partitions = self.partitions.clone();
        let asking = async move {
            let mut ends = Vec::new();
            for partition in partitions {
                let state = client.partition(partition).await?;
                let is_older =
                    since.is_some_and(|since| state.last_enqueued_at.is_none_or(|last| last <= since));
                if let (Some(last), false) = (state.last, state.is_empty || is_older) {
                    ends.push((partition, last));
                }
            }
            Ok(ends)
        };
        self.unless_stopped(asking).await
    }

    /// Says how the connection fares.
    fn tell_status(&mut self, io: &mut Io) {
        let status = self.status.borrow_and_update().clone();
        match status {
            Status::Recovering { why, .. } => io.note(&format!("connection lost: {why}: trying again")),
            Status::Throttled { why, .. } => io.note(&format!("throttled: {why}: waiting")),
            Status::Connected { after: Some(why) } => io.note(&format!("connected again, after: {why}")),
            _ => {}
        }
    }
}

/// Tells what is no event; fails when a partition can't be read any more.
fn tell(read: &Read, io: &mut Io) -> Result<(), Failure> {
    match read {
        Read::Gap(gap) => {
            let count = gap.last - gap.first + 1;
            io.note(&format!(
                "warning: {count} events of partition {} are missing, {} to {}: the hub has dropped them",
                gap.partition, gap.first, gap.last
            ));
            Ok(())
        }
        Read::Duplicate(again) => {
            io.note(&format!(
                "warning: event {} of partition {} came again, and is left out",
                again.sequence_number, again.partition
            ));
            Ok(())
        }
        Read::Ended(ended) => Err(Failure::from(ended.why.clone())),
        _ => Ok(()),
    }
}
