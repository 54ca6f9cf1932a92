//! `iothub device send`

mod local;
mod tally;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use iothub_amqp::{
    Accepted, Batching, CloseError, DeviceClient, DeviceClientBuilder, Message, Recover, SendError,
};
use tokio::time::sleep_until;

use self::local::LocalHub;
use self::tally::Tally;
use crate::advice;
use crate::args::Format;
use crate::args::device::{self, Auth};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::io::Io;
use crate::output::outcome::{self, Outcome};
use crate::output::progress::Progress;
use crate::plan::bodies::{Body, LONGEST_BODY};
use crate::plan::credential::Target;
use crate::plan::pace::Pace;
use crate::plan::sending::{Sending, Template};
use crate::plan::supply::Supply;

/// Sends the messages and prints what became of each.
pub(crate) fn run(args: device::Send, io: &mut Io) -> Result<Exit, Failure> {
    let sending = Sending::of(args, io)?;
    let runtime = super::runtime()?;
    let done = runtime.block_on(send(sending, io));
    // A name that is being looked up is waited for by nobody.
    runtime.shutdown_background();
    done
}

async fn send(sending: Sending, io: &mut Io) -> Result<Exit, Failure> {
    let Sending {
        target,
        auth,
        transport,
        batching,
        pace,
        total,
        roots,
        bodies,
        template,
        timeout,
        format,
    } = sending;
    let mut ctrl_c = pin!(tokio::signal::ctrl_c());
    let preparing = async {
        let (builder, hub) = match target {
            Target::Hub(builder) => (*builder, None),
            Target::Local => {
                let (builder, hub) = LocalHub::start(transport, io).await?;
                let builder = match auth {
                    Some(Auth::Cbs) => builder.claims_based(),
                    _ => builder,
                };
                (builder, Some(hub))
            }
        };
        let builder = roots
            .into_iter()
            .fold(builder, DeviceClientBuilder::root_certificate);
        // Who runs a command sees what ended it, and runs it again.
        let builder = builder.recovery(Recover::Never).batching(batching);
        let client = builder.operation_timeout(timeout).connect().await?;
        Ok::<_, Failure>((client, hub))
    };
    let (client, hub) = tokio::select! {
        biased;
        _ = &mut ctrl_c => return Err(Failure::interrupted()),
        prepared = preparing => prepared?,
    };
    tracing::info!("connected");

    let mut run = Run {
        client: &client,
        hub,
        template,
        format,
        progress: Progress::start(total, io),
        io,
        in_flight: match batching {
            Batching::On => IN_FLIGHT_BATCHED,
            _ => IN_FLIGHT,
        },
        flying: BTreeMap::new(),
        tally: Tally::default(),
    };
    let ended = {
        let sent = run.send_all(bodies, pace, ctrl_c.as_mut()).await?;
        run.progress.clear();
        if sent == Sent::Interrupted {
            return Err(Failure::interrupted());
        }
        tokio::select! {
            biased;
            // What became of each message is known: the farewell is no part of the work.
            _ = ctrl_c => Ok(()),
            closed = client.clone().close() => closed,
        }
    };
    let Run { hub, tally, io, .. } = run;
    if let Some(hub) = hub {
        hub.stop().await;
    }
    tally.verdict()?;
    farewell(ended, io)
}

/// Every message was accepted; only the end of the connection may have gone wrong.
fn farewell(ended: Result<(), CloseError>, io: &mut Io) -> Result<Exit, Failure> {
    match ended {
        Ok(()) => Ok(Exit::Done),
        Err(error @ CloseError::TimedOut { .. }) => {
            Err(Failure::from(error)
                .hint("every message was accepted before, so there is nothing to send again"))
        }
        Err(error) => {
            io.note(&format!(
                "warning: every message was accepted, then: {}",
                chain(&error)
            ));
            Ok(Exit::Done)
        }
    }
}

/// Messages on their way, and what they came to.
struct Run<'a> {
    client: &'a DeviceClient,
    hub: Option<LocalHub>,
    template: Template,
    format: Format,
    progress: Progress,
    io: &'a mut Io,
    /// How many messages are on their way at once.
    in_flight: usize,
    /// Ids of the messages whose outcome is awaited, in the order in which they were given to the client.
    flying: BTreeMap<u64, (String, Instant)>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    Interrupted,
}

type Landing = (u64, Result<Accepted, SendError>, Duration);

impl Run<'_> {
    /// Hands bodies to the client as they come, a bounded number at once, in their order.
    async fn send_all(
        &mut self,
        mut bodies: Supply,
        mut pace: Pace,
        mut ctrl_c: std::pin::Pin<&mut impl Future>,
    ) -> Result<Sent, Failure> {
        let mut landings = FuturesUnordered::new();
        let mut ticket = 0;
        let mut more = true;
        let mut reading_failed = None;
        while more || !landings.is_empty() {
            let room = more && landings.len() < self.in_flight;
            let wait = pace.wait(Instant::now());
            tokio::select! {
                biased;
                _ = &mut ctrl_c => return self.interrupted(landings).await,
                Some(landing) = landings.next() => {
                    let (_, result, _): &Landing = &landing;
                    if matches!(result, Err(SendError::NotSent(_) | SendError::Unknown(_))) && bodies.stop_reading() {
                        self.io.note("warning: the rest of the input is not read");
                    }
                    self.landed(landing).await?;
                }
                () = sleep_until(wait.unwrap_or_else(Instant::now).into()), if room && wait.is_some() => {}
                body = bodies.next(), if room && wait.is_none() => match body {
                    None => more = false,
                    Some(Err(failure)) => {
                        more = false;
                        reading_failed = Some(failure);
                    }
                    Some(Ok(Body::TooLong)) => self.too_long()?,
                    Some(Ok(Body::Whole(body))) => {
                        pace.gone(Instant::now());
                        let (id, message) = self.template.message(body)?;
                        ticket += 1;
                        self.flying.insert(ticket, (id, Instant::now()));
                        landings.push(hand_over(self.client, ticket, message));
                    }
                },
            }
        }
        reading_failed.map_or(Ok(Sent::All), Err)
    }

    /// Prints an outcome, and of a local hub what it received.
    async fn landed(&mut self, (ticket, result, took): Landing) -> Result<(), Failure> {
        let Some((id, _)) = self.flying.remove(&ticket) else {
            return Ok(());
        };
        self.progress.step();
        let line = Outcome::of(&id, &result, took).line(self.format);
        self.progress.print(&line, self.io)?;
        match &result {
            Ok(_) => {
                self.tally.accepted();
                if let Some(hub) = &mut self.hub {
                    hub.show_next(self.format, self.io).await?;
                }
            }
            Err(error) => {
                let failure = Failure::from(error).of(format!("message {id}"));
                self.tally.failed(outcome::name(&result), failure);
            }
        }
        Ok(())
    }

    fn too_long(&mut self) -> Result<(), Failure> {
        let (id, _) = self.template.message(Vec::new())?;
        self.progress.step();
        let line = Outcome::too_long(&id, LONGEST_BODY).line(self.format);
        self.progress.print(&line, self.io)?;
        let what = format!("message {id}: the body has more than {LONGEST_BODY} bytes");
        let failure = Failure::new(Exit::Rejected, what).hint(advice::TOO_LARGE);
        self.tally.failed(outcome::TOO_LARGE, failure);
        Ok(())
    }

    /// Prints what is known when Ctrl-C comes: outcomes that are there, and that the others are not.
    async fn interrupted(
        &mut self,
        mut landings: FuturesUnordered<impl Future<Output = Landing>>,
    ) -> Result<Sent, Failure> {
        while let Some(Some(landing)) = landings.next().now_or_never() {
            self.landed(landing).await?;
        }
        for (id, since) in std::mem::take(&mut self.flying).into_values() {
            self.io
                .print(&Outcome::interrupted(&id, since.elapsed()).line(self.format))?;
        }
        Ok(Sent::Interrupted)
    }
}

async fn hand_over(client: &DeviceClient, ticket: u64, message: Message) -> Landing {
    let since = Instant::now();
    let result = client.send(message).await;
    (ticket, result, since.elapsed())
}

/// How many messages are on their way at once. More of them would fill the client's window, and so their time would
/// run out while they wait for their turn.
const IN_FLIGHT: usize = 64;

/// As [`IN_FLIGHT`], where what queues up beyond the client's window makes the batches.
const IN_FLIGHT_BATCHED: usize = 2048;
