//! `iothub emulator fault` and `clock`: what is asked of a hub that runs.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use iothub_address::{DeviceId, ModuleId};
use iothub_emulator::{CloseReason, FaultKind};

use super::examples::examples;
use super::{Format, Span};

/// Which hub.
#[derive(Args)]
pub(crate) struct Running {
    /// The hub that runs on this state directory [default: the one that runs without]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Let something go wrong in a hub that runs
#[derive(Subcommand)]
pub(crate) enum Fault {
    /// Let something go wrong
    Inject(Inject),
    /// Show what goes wrong, and what is to come
    #[command(after_long_help = examples!(
        "iothub emulator fault list",
    ))]
    List(Plain),
    /// End all that goes wrong, and forget what is to come
    #[command(after_long_help = examples!(
        "iothub emulator fault clear",
    ))]
    Clear(Plain),
}

/// Let something go wrong in a hub that runs, for one device or for everyone.
///
/// What is killed is killed once, or again and again for --duration; the rest lasts for 30 s, or for --duration. Times
/// are by the hub's clock, which 'iothub emulator clock' turns.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  iothub emulator fault inject KillTcp --device myFirstDevice
  iothub emulator fault inject InvokeThrottling --duration 1m
  iothub emulator fault inject RefusePutToken --status 401 --delay 10s")]
pub(crate) struct Inject {
    /// What goes wrong; those up to ShutDownMqtt are the real hub's own
    #[arg(value_name = "KIND", ignore_case = true, value_parser = kinds())]
    pub(crate) kind: FaultKind,

    /// For this device alone
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<DeviceId>,

    /// For this module of the device alone
    #[arg(long, value_name = "ID", requires = "device")]
    pub(crate) module: Option<ModuleId>,

    /// How what is killed ends: boom with an error or by force, byebye as one does who has finished [default: boom]
    #[arg(long, value_name = "HOW")]
    pub(crate) reason: Option<CloseReason>,

    /// When, from now: 500ms, 30s, 2m; at most a day
    #[arg(long, value_name = "TIME")]
    pub(crate) delay: Option<Span>,

    /// For how long; at most a day
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<Span>,

    /// The AMQP condition that is given in place of the usual one, such as amqp:link:stolen
    #[arg(long, value_name = "SYMBOL")]
    pub(crate) condition: Option<String>,

    /// The status that tokens are refused with, 300 to 599; of RefusePutToken
    #[arg(long, value_name = "N")]
    pub(crate) status: Option<i32>,

    /// How late outcomes are told; of DelaySettlement
    #[arg(long, value_name = "TIME")]
    pub(crate) late: Option<Span>,

    #[command(flatten)]
    pub(crate) plain: Plain,
}

/// The clock of a hub that runs
#[derive(Subcommand)]
pub(crate) enum Clock {
    /// Show it
    #[command(after_long_help = examples!(
        "iothub emulator clock show",
    ))]
    Show(Plain),
    /// Turn it on: what falls due by that is done when this returns
    #[command(after_long_help = examples!(
        "iothub emulator clock turn 1h",
    ))]
    Turn(Turn),
}

#[derive(Args)]
pub(crate) struct Turn {
    /// By how much: 500ms, 30s, 2m, 1h, 7d
    #[arg(value_name = "TIME")]
    pub(crate) by: Span,

    #[command(flatten)]
    pub(crate) plain: Plain,
}

/// Which hub, and how to write.
#[derive(Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    pub(crate) running: Running,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

fn kinds() -> impl TypedValueParser<Value = FaultKind> {
    PossibleValuesParser::new(FaultKind::ALL.map(FaultKind::name)).try_map(|name| name.parse::<FaultKind>())
}
