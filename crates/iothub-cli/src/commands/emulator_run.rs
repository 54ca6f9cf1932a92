//! `iothub emulator run`

mod printer;
mod registry;
mod state;
pub(super) mod stop;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iothub_emulator::{
    Activity, Builder, Emulator, Endpoint, Event, Feed, LogLimits, Notice, SeedError, StartError, StateError,
    Tier, TlsError, Traffic, What,
};
use tokio::time::timeout;

use self::printer::Printer;
use self::registry::Registry;
use self::state::StateDir;
use self::stop::StopSignals;
use crate::args::emulator::Run;
use crate::args::{self, Format};
use crate::commands::ready::{Announced, Ready};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::io::Io;
use crate::output::event;
use crate::output::human::OneLine;

/// Runs a hub until SIGINT or SIGTERM.
pub(crate) fn run(args: Run, io: &mut Io) -> Result<Exit, Failure> {
    if args.units > 1 && matches!(args.tier, args::emulator::Tier::Off | args::emulator::Tier::F1) {
        let failure = Failure::usage("only a hub of tier S1, S2 or S3 has more than one unit");
        return Err(failure.hint("leave --units away, or choose a tier by --tier"));
    }
    let registry = Registry::of(&args)?;
    let runtime = super::runtime()?;
    let done = runtime.block_on(serve(args, registry, io));
    runtime.shutdown_background();
    done
}

async fn serve(args: Run, registry: Registry, io: &mut Io) -> Result<Exit, Failure> {
    // Before anyone can know of us: whoever reads that we are ready may stop us at once.
    let mut stop = StopSignals::new()?;
    let state = StateDir::prepare(args.state_dir.as_deref(), io)?;
    let emulator = start(&args, &registry, &state, io).await?;
    state.write_ca(emulator.root_certificate_pem())?;
    registry.add_default(&emulator).await?;
    let announced = Announced::of(Ready::of(&emulator, &state.ca_file()).await?, &emulator);
    state.announce(&announced.json())?;

    let on_terminal = io.stdout_is_terminal;
    let (mut printer, lines) = Printer::start(io.take_stdout())?;
    let text = match args.output {
        Format::Json => announced.ready.json(),
        Format::Text => announced.ready.for_people(io.manner.quiet),
    };
    // The printer cannot have ended: if it failed, that is seen below.
    let _ = lines.send(text).await;
    let watched = args.output == Format::Text && on_terminal && !io.manner.quiet;
    let coming = watched.then(|| emulator.activity());
    let traffic = watched.then(|| emulator.traffic());
    let journal = (!io.manner.quiet).then(|| emulator.journal());
    let showing = tokio::spawn(async move {
        let comings = show_comings(coming, lines.clone());
        let traffic = show_traffic(traffic, lines.clone());
        tokio::join!(show_events(journal, args.output, lines), comings, traffic);
    });
    let logging = tokio::spawn(log_activity(emulator.activity()));

    let ended = tokio::select! {
        () = stop.received() => Ok(Exit::Done),
        failure = printer.failed() => Err(failure),
    };
    tracing::info!("stopping");
    if timeout(FAREWELL, emulator.stop()).await.is_err() {
        io.note("warning: some clients did not let go in time");
    }
    // What was received to the last is shown, unless nobody reads it.
    let _ = timeout(FAREWELL, async {
        let _ = showing.await;
        printer.finished().await;
    })
    .await;
    logging.abort();
    state.remove();
    ended
}

/// Starts the hub. If nobody asked for 443 and it may not be bound, HTTPS goes to a free port.
async fn start(args: &Run, registry: &Registry, state: &StateDir, io: &mut Io) -> Result<Emulator, Failure> {
    let https_port = args.https_port.unwrap_or(HTTPS_PORT);
    let builder = |https_port| -> Builder {
        let builder = Emulator::builder()
            .hub(args.hub.clone())
            .listen(args.listen)
            .extra_names(args.name.iter().cloned())
            .amqps_port(args.amqps_port.unwrap_or(AMQPS_PORT))
            .https_port(https_port)
            .amqp_port(args.amqp_port)
            .journal_limits(LogLimits::new(usize::MAX, args.log_size.0).with_age(args.log_age.0))
            .tier(tier(args.tier))
            .units(args.units)
            .clock_skew(args.clock_skew.map_or(Duration::ZERO, |skew| skew.0));
        let builder = match state.of_the_hub() {
            Some(directory) => builder.state_dir(directory),
            None => builder,
        };
        let builder = match args.partitions {
            Some(count) => builder.partitions(count),
            None => builder,
        };
        let groups = args.consumer_group.iter().cloned();
        let builder = groups.fold(builder, Builder::consumer_group);
        let builder = args.device_ca.iter().fold(builder, Builder::device_authority);
        let builder = match args.token_grace {
            Some(grace) => builder.token_grace(grace.0),
            None => builder,
        };
        let builder = args.seed.iter().fold(builder, Builder::seed);
        registry.add_to(builder)
    };
    let started = match builder(https_port).start().await {
        Err(StartError::Listen {
            endpoint: Endpoint::Https,
            source,
            ..
        }) if args.https_port.is_none() => {
            let remedy = match source.kind() {
                ErrorKind::PermissionDenied => {
                    "run it with the right to bind ports below 1024, or choose another by --https-port"
                }
                _ => "stop what uses it, or choose another by --https-port",
            };
            io.note(&format!(
                "warning: port {HTTPS_PORT} can't be bound ({source}), so HTTPS is at a free port, where SDKs don't \
                 look by themselves: {remedy}"
            ));
            builder(0).start().await
        }
        started => started,
    };
    started.map_err(|error| not_started(error, &args.device_ca))
}

fn tier(asked: args::emulator::Tier) -> Option<Tier> {
    use args::emulator::Tier as Asked;
    match asked {
        Asked::Off => None,
        Asked::F1 => Some(Tier::F1),
        Asked::S1 => Some(Tier::S1),
        Asked::S2 => Some(Tier::S2),
        Asked::S3 => Some(Tier::S3),
    }
}

fn not_started(error: StartError, device_authorities: &[PathBuf]) -> Failure {
    match &error {
        StartError::Listen { endpoint, source, .. } => {
            let flag = match endpoint {
                Endpoint::Amqps => "--amqps-port",
                Endpoint::Https => "--https-port",
                _ => "--amqp-port",
            };
            let remedy = match source.kind() {
                ErrorKind::AddrNotAvailable => "choose an address of this machine by --listen".to_owned(),
                _ => format!("choose another port by {flag}, or a free one by {flag} 0"),
            };
            Failure::usage(chain(&error)).hint(remedy)
        }
        StartError::Tls(why @ (TlsError::DeviceAuthority { path, .. } | TlsError::File { path, .. }))
            if device_authorities.contains(path) =>
        {
            Failure::usage("--device-ca").because(why)
        }
        StartError::State(StateError::Io { .. }) => Failure::unexpected(chain(&error)),
        StartError::State(_) => Failure::usage(chain(&error)),
        StartError::Seed(SeedError::Line { .. }) => Failure::usage(format!("--seed {}", chain(&error))),
        StartError::Seed(SeedError::Io { .. }) => Failure::usage(format!("--seed: {}", chain(&error))),
        StartError::Device(_) => Failure::usage(chain(&error))
            .hint("give each --device once, and the device of each --module before"),
        _ => Failure::unexpected(chain(&error)),
    }
}

/// Gives what the hub receives to the printer, as fast as that takes it: what falls off the hub's log meanwhile is
/// counted.
async fn show_events(journal: Option<Feed<Event>>, format: Format, lines: printer::Lines) {
    let Some(journal) = journal else { return };
    let mut events = journal.subscribe_from_this_run();
    while let Some(notice) = events.next().await {
        let line = match notice {
            Notice::Entry(received) => event::line(&received, format),
            Notice::Missed(count) => {
                tracing::warn!("{count} events are not shown: standard output is too slow");
                continue;
            }
            _ => continue,
        };
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// The same of who comes and goes. Whose name is not known yet has only come.
async fn show_comings(activity: Option<Feed<Activity>>, lines: printer::Lines) {
    let Some(activity) = activity else { return };
    let mut activity = activity.subscribe_from_start();
    while let Some(notice) = activity.next().await {
        let Notice::Entry(happened) = notice else { continue };
        if matches!(happened.what, What::Came { .. }) {
            continue;
        }
        let line = happened.to_string();
        if lines.send(OneLine(&line).to_string()).await.is_err() {
            return;
        }
    }
}

/// The same of messages to devices, methods and twins.
async fn show_traffic(traffic: Option<Feed<Traffic>>, lines: printer::Lines) {
    let Some(traffic) = traffic else { return };
    let mut traffic = traffic.subscribe_from_start();
    while let Some(notice) = traffic.next().await {
        let Notice::Entry(passed) = notice else { continue };
        let line = passed.to_string();
        if lines.send(OneLine(&line).to_string()).await.is_err() {
            return;
        }
    }
}

/// Why a client does not get in, which it is not told itself; with `-v` all that happens at the door.
async fn log_activity(activity: Feed<Activity>) {
    let mut activity = activity.subscribe_from_start();
    while let Some(notice) = activity.next().await {
        let Notice::Entry(happened) = notice else { continue };
        log(&happened);
    }
}

fn log(happened: &Arc<Activity>) {
    let connection = happened.connection;
    let what = happened.what.to_string();
    let what = OneLine(&what);
    match happened.what {
        What::Refused(_) | What::LinkRefused { .. } => tracing::warn!("connection {connection} {what}"),
        _ => tracing::info!("connection {connection} {what}"),
    }
}

const AMQPS_PORT: u16 = 5671;
const HTTPS_PORT: u16 = 443;

/// How long clients, and then readers of standard output, may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);
