//! `iothub events …`

use clap::{Args, Subcommand};
use iothub_address::ConsumerGroup;

use super::everywhere::Everywhere;
use super::examples::service_examples;
use super::values::Since;
use super::{Input, Span};

/// Read what devices have sent, from the hub's event endpoint.
///
/// With a service's connection string, of a policy that may ServiceConnect, or an Event Hubs-compatible one.
#[derive(Subcommand)]
pub(crate) enum Events {
    /// Print events as they come, a line each
    Watch(Watch),
    /// Count the events that are there, by partition
    Count(Count),
    /// Write the events that are there into a file, as lines of JSON
    Export(Export),
}

/// Which events.
#[derive(Args)]
#[command(next_help_heading = "Which events")]
pub(crate) struct Which {
    /// Of this device, with * for any letters and ? for one; may be given again
    #[arg(short, long = "device", value_name = "ID")]
    pub(crate) devices: Vec<String>,

    /// Of this partition; may be given again
    #[arg(long = "partition", value_name = "N")]
    pub(crate) partitions: Vec<u32>,

    /// Read as one of this consumer group
    #[arg(long, value_name = "NAME", default_value = "$Default")]
    pub(crate) consumer_group: ConsumerGroup,
}

/// Print events as they come, a line each.
///
/// It goes on through lost connections, with none lost and none twice; what the hub has dropped meanwhile is told on
/// standard error. Ctrl-C ends it, with exit code 130.
#[derive(Args)]
#[command(after_long_help = service_examples!(
    "iothub events watch",
    "iothub events watch -d 'pump-*' --since 10m -o json",
    "iothub events watch --where '.body.temp > 20 and .properties.alarm != null'",
    "iothub events watch --since start --stats",
    "iothub events watch --since start --checkpoint seen.json -n 1000",
))]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) which: Which,

    /// From so long ago (10m), from a time (2026-11-29T08:00:00Z), or from the 'start' of the log; otherwise what comes from now on
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,

    /// Of these only those that a jq filter lets through: its input is the object that '-o json' prints, and an event
    /// goes through when the first output is neither false nor null
    #[arg(long = "where", value_name = "FILTER")]
    pub(crate) filter: Option<String>,

    /// In place of the events, show how many come, how fast, and how far behind the reading is, by partition
    #[arg(long)]
    pub(crate) stats: bool,

    /// Show that anew each time
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "stats")]
    pub(crate) every: Span,

    /// End after so many events
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// End after so long
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) duration: Option<Span>,

    /// End when nothing has come for so long
    #[arg(long, value_name = "TIME")]
    pub(crate) idle: Option<Span>,

    /// Keep in this file how far it has come, and go on there the next time
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<std::path::PathBuf>,

    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
}

/// Count the events that are there, by partition.
#[derive(Args)]
#[command(after_long_help = service_examples!(
    "iothub events count",
    "iothub events count --since 1h -d 'pump-*' -o json",
))]
pub(crate) struct Count {
    #[command(flatten)]
    pub(crate) which: Which,

    /// From so long ago (10m) or from a time (2026-11-29T08:00:00Z); otherwise from the start of the log
    #[arg(long, value_name = "TIME", default_value = "start")]
    pub(crate) since: Since,

    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
}

/// Write the events that are there into a file, as lines of JSON.
#[derive(Args)]
#[command(after_long_help = service_examples!(
    "iothub events export events.jsonl",
    "iothub events export --since 1h -d pump-7 -",
))]
pub(crate) struct Export {
    /// The file, which must not be there yet; '-' is standard output
    #[arg(value_name = "FILE|-")]
    pub(crate) file: Input,

    #[command(flatten)]
    pub(crate) which: Which,

    /// From so long ago (10m) or from a time (2026-11-29T08:00:00Z); otherwise from the start of the log
    #[arg(long, value_name = "TIME", default_value = "start")]
    pub(crate) since: Since,

    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
}
