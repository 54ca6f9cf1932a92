//! `iothub address …`

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use iothub_address::{DeviceId, HubHost, HubName, ModuleId, PolicyName, Secret};

use super::sas::{Key, Lifetime};
use super::values::secret;
use super::{Format, Input};

#[derive(Subcommand)]
pub(crate) enum Address {
    /// Make an address, with a token in it
    Build(Build),
    /// Take an address apart, for programs
    Parse(Parse),
    /// Take an address apart, for people
    Explain(Explain),
    /// Turn an address into a connection string, or the other way round
    Convert(Convert),
}

/// Make an address, with a token in it.
#[derive(Args)]
#[command(
    group = ArgGroup::new("who").required(true).args(["device", "policy"]),
    group = ArgGroup::new("credential").required(true).args(["sas_file", "key_env", "key_file"]),
    after_long_help = "\
Example:
  iothub address build --hub myhub --device d1 --key-file key.txt > address.txt"
)]
pub(crate) struct Build {
    /// The hub's name, the first label of its host
    #[arg(long, value_name = "NAME")]
    pub(crate) hub: HubName,

    /// What is dialled [default: HUB.azure-devices.net]
    #[arg(long)]
    pub(crate) host: Option<HubHost>,

    /// The port; left out, programs take 5671
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,

    /// The device
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<DeviceId>,

    /// The device's module
    #[arg(long, value_name = "ID", requires = "device")]
    pub(crate) module: Option<ModuleId>,

    /// The policy, for an address of a service
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<PolicyName>,

    /// A ready token
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["ttl", "expires_at"])]
    pub(crate) sas_file: Option<Input>,

    #[command(flatten)]
    pub(crate) key: Key,

    #[command(flatten)]
    pub(crate) lifetime: Lifetime,

    /// What the address leads to
    #[arg(long, default_value = "events")]
    pub(crate) node: NodeName,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// The nodes that every device has, and two of a service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeName {
    /// Telemetry
    Events,
    /// Cloud-to-device messages
    Commands,
    /// Direct methods
    Methods,
    /// The device twin
    Twin,
}

/// Take an address apart, for programs.
#[derive(Args)]
#[command(after_long_help = "\
Example:
  iothub address parse - < address.txt")]
pub(crate) struct Parse {
    /// The address; '-', or nothing, reads it from standard input
    #[arg(value_name = "URL|-", value_parser = secret)]
    pub(crate) url: Vec<Secret>,

    /// Show the token
    #[arg(long)]
    pub(crate) show_secrets: bool,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub(crate) output: Format,
}

/// Take an address apart, for people.
#[derive(Args)]
#[command(after_long_help = "\
Example:
  iothub address explain - < address.txt")]
pub(crate) struct Explain {
    /// The address; '-', or nothing, reads it from standard input
    #[arg(value_name = "URL|-", value_parser = secret)]
    pub(crate) url: Vec<Secret>,

    /// Show the token
    #[arg(long)]
    pub(crate) show_secrets: bool,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// Turn an address into a connection string, or the other way round.
///
/// Of a connection string's key a token is signed. The result holds the secret, but for --to json, which shows it
/// with --show-secrets.
#[derive(Args)]
#[command(after_long_help = "\
Example:
  iothub address convert --to url - < connection-string.txt")]
pub(crate) struct Convert {
    /// The address or connection string; '-', or nothing, reads it from standard input
    #[arg(value_name = "TEXT|-", value_parser = secret)]
    pub(crate) text: Vec<Secret>,

    /// What to turn it into
    #[arg(long, value_name = "FORM")]
    pub(crate) to: Form,

    #[command(flatten)]
    pub(crate) lifetime: Lifetime,

    /// What an address leads to, if it is made of a connection string
    #[arg(long, default_value = "events")]
    pub(crate) node: NodeName,

    /// Show the key or token with --to json
    #[arg(long)]
    pub(crate) show_secrets: bool,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The double-"@" address
    Url,
    /// A connection string
    ConnectionString,
    /// The parts, as 'address parse' gives them
    Json,
}
