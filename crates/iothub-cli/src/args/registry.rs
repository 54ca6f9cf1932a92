//! `iothub registry …` and `iothub module …`

use clap::{Args, Subcommand, ValueEnum};
use iothub_address::{DeviceId, ModuleId};

use super::Input;
use super::examples::service_examples;
use super::rest::{Rest, Whose};

/// Keep the devices that a hub knows.
#[derive(Subcommand)]
#[command(after_long_help = service_examples!(
    "iothub registry create dev1 -o json",
    "iothub registry list",
    "iothub registry query \"SELECT deviceId FROM devices WHERE status = 'enabled'\"",
    "iothub registry export devices.jsonl",
))]
pub(crate) enum Registry {
    /// Register a device
    #[command(after_long_help = service_examples!(
        "iothub registry create dev1 -o json",
        "iothub registry create gateway-7 --edge",
        "iothub registry create dev2 --key-file key.txt",
        "iothub registry create dev3 --ca-signed --status disabled",
    ))]
    Create(Create),
    /// Show a device
    #[command(after_long_help = service_examples!(
        "iothub registry show myFirstDevice",
    ))]
    Show(Show),
    /// Remove a device, with its modules, its twin and what waits for it
    #[command(after_long_help = service_examples!(
        "iothub registry create dev1",
        "iothub registry delete dev1 --yes",
    ))]
    Delete(Delete),
    /// Change a device
    #[command(after_long_help = service_examples!(
        "iothub registry update myFirstDevice --status disabled --reason workshop",
        "iothub registry update myFirstDevice --status enabled --reason \"\"",
    ))]
    Update(Update),
    /// List devices
    #[command(after_long_help = service_examples!(
        "iothub registry list",
        "iothub registry list --top 10 -o csv",
    ))]
    List(List),
    /// Ask in the hub's query language
    #[command(after_long_help = service_examples!(
        "iothub registry query \"SELECT deviceId FROM devices WHERE status = 'enabled'\"",
        "iothub registry query \"SELECT COUNT() AS number FROM devices\"",
    ))]
    Query(Query),
    /// Show or replace a device's or module's keys
    #[command(subcommand)]
    Keys(Keys),
    /// Make the changes that a file's lines say, in bulks of 100
    #[command(after_long_help = service_examples!(
        "iothub registry import devices.jsonl",
        "iothub registry import devices.jsonl --mode update",
        "grep dev2 devices.jsonl | iothub registry import - --mode delete",
    ))]
    Import(Import),
    /// Write all devices and modules with their keys and twins, a line each
    #[command(after_long_help = service_examples!(
        "iothub registry export devices.jsonl",
        "iothub registry export - | grep myFirstDevice",
    ))]
    Export(Export),
}

/// Keep the modules of a device.
#[derive(Subcommand)]
#[command(after_long_help = service_examples!(
    "iothub module create myFirstDevice cam",
    "iothub module list myFirstDevice",
))]
pub(crate) enum Module {
    /// Register a module
    #[command(after_long_help = service_examples!(
        "iothub module create myFirstDevice cam -o json",
    ))]
    Create(ModuleCreate),
    /// Show a module
    #[command(after_long_help = service_examples!(
        "iothub module create myFirstDevice cam",
        "iothub module show myFirstDevice cam",
    ))]
    Show(ModuleShow),
    /// List a device's modules
    #[command(after_long_help = service_examples!(
        "iothub module list myFirstDevice",
    ))]
    List(Show),
    /// Remove a module with its twin
    #[command(after_long_help = service_examples!(
        "iothub module create myFirstDevice cam",
        "iothub module delete myFirstDevice cam --yes",
    ))]
    Delete(ModuleDelete),
}

/// Register a device. The output has its connection string.
#[derive(Args)]
pub(crate) struct Create {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    #[command(flatten)]
    pub(crate) proof: Proof,

    /// It is an Edge device
    #[arg(long)]
    pub(crate) edge: bool,

    /// Whether it may connect
    #[arg(long, value_name = "WORD", default_value = "enabled")]
    pub(crate) status: Status,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

/// How it proves who it is. Without any of these the hub makes two keys.
#[derive(Args)]
pub(crate) struct Proof {
    /// Read its primary key from a file, in base64, and its secondary key from the second line if there is one
    #[arg(long, value_name = "FILE|-", group = "proof")]
    pub(crate) key_file: Option<Input>,

    /// By a certificate with this thumbprint, or one of two: 40 or 64 hexadecimal digits
    #[arg(long, value_name = "T", num_args = 1..=2, group = "proof")]
    pub(crate) thumbprint: Vec<String>,

    /// By a certificate of a CA that the hub knows
    #[arg(long, group = "proof")]
    pub(crate) ca_signed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// It may
    Enabled,
    /// It may not
    Disabled,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

/// How a deletion is meant.
#[derive(Args)]
pub(crate) struct Deletion {
    /// Only if it has this ETag still
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,

    /// Do not ask; where nobody can be asked, it is needed
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
pub(crate) struct Delete {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    #[command(flatten)]
    pub(crate) deletion: Deletion,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Args)]
pub(crate) struct Update {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    /// Whether it may connect
    #[arg(long, value_name = "WORD")]
    pub(crate) status: Option<Status>,

    /// Why, in at most 128 characters; an empty text takes the old one away
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,

    /// From now on by a certificate with this thumbprint, or one of two
    #[arg(long, value_name = "T", num_args = 1..=2)]
    pub(crate) thumbprint: Vec<String>,

    /// Only if it has this ETag still
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Args)]
pub(crate) struct List {
    /// At most so many, 1 to 1000; without it the hub gives up to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) top: Option<u16>,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Args)]
pub(crate) struct Query {
    /// The query
    #[arg(value_name = "SQL")]
    pub(crate) text: String,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Show both keys and the connection string
    #[command(after_long_help = service_examples!(
        "iothub registry keys show myFirstDevice",
    ))]
    Show(Whose),
    /// Make new keys
    #[command(after_long_help = service_examples!(
        "iothub registry keys renew myFirstDevice --key secondary",
    ))]
    Renew(Renew),
    /// Put the secondary key in the primary's place, and the other way round
    #[command(after_long_help = service_examples!(
        "iothub registry keys swap myFirstDevice",
    ))]
    Swap(Whose),
}

#[derive(Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    pub(crate) whose: Whose,

    /// Which of them
    #[arg(long, value_name = "WHICH", default_value = "both")]
    pub(crate) key: Which,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// The first
    Primary,
    /// The second
    Secondary,
    /// Both
    Both,
}

/// Make the changes that a file's lines say, in bulks of 100. A line is as 'registry export' and a hub's export job write it.
#[derive(Args)]
pub(crate) struct Import {
    /// The file
    #[arg(value_name = "FILE|-")]
    pub(crate) file: Input,

    /// What to do where a line has no importMode
    #[arg(long, value_name = "WHAT", default_value = "create")]
    pub(crate) mode: Mode,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Register it
    Create,
    /// Set all of it
    Update,
    /// Remove it
    Delete,
    /// Change its twin
    UpdateTwin,
}

/// Write all devices and modules with their keys and twins, a line each. The file is for its owner alone, and is there whole or not at all.
#[derive(Args)]
pub(crate) struct Export {
    /// The file
    #[arg(value_name = "FILE|-")]
    pub(crate) file: Input,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Args)]
pub(crate) struct ModuleShow {
    /// The device
    #[arg(value_name = "ID")]
    pub(crate) id: DeviceId,

    /// The module
    #[arg(value_name = "MODULE")]
    pub(crate) module: ModuleId,

    #[command(flatten)]
    pub(crate) rest: Rest,
}

#[derive(Args)]
pub(crate) struct ModuleCreate {
    #[command(flatten)]
    pub(crate) named: ModuleShow,

    #[command(flatten)]
    pub(crate) proof: Proof,
}

#[derive(Args)]
pub(crate) struct ModuleDelete {
    #[command(flatten)]
    pub(crate) named: ModuleShow,

    #[command(flatten)]
    pub(crate) deletion: Deletion,
}
