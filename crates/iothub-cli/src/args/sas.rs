//! `iothub sas …`

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use iothub_address::{DeviceId, HubHost, HubName, ModuleId, PolicyName, Secret};

use super::values::secret;
use super::{Format, Input, Span};

#[derive(Subcommand)]
pub(crate) enum Sas {
    /// Sign a token
    Sign(Sign),
    /// Take a token apart
    Decode(Decode),
    /// Check whether a key signed a token and whether it still holds
    Verify(Verify),
}

/// Sign a token.
///
/// It is for a device, for a module, or with --policy alone for the whole hub.
#[derive(Args)]
#[command(
    group = ArgGroup::new("place").required(true).args(["hub", "host"]),
    group = ArgGroup::new("who").required(true).multiple(true).args(["device", "policy"]),
    group = ArgGroup::new("key").required(true).args(["key_env", "key_file"]),
    after_long_help = "\
Example:
  iothub sas sign --hub myhub --device dev1 --key-file key.txt --ttl 1h"
)]
pub(crate) struct Sign {
    /// The hub's name: the token is for HUB.azure-devices.net
    #[arg(long, value_name = "NAME")]
    pub(crate) hub: Option<HubName>,

    /// The hub's host
    #[arg(long)]
    pub(crate) host: Option<HubHost>,

    /// The device
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<DeviceId>,

    /// The device's module
    #[arg(long, value_name = "ID", requires = "device")]
    pub(crate) module: Option<ModuleId>,

    /// The policy whose key it is
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<PolicyName>,

    #[command(flatten)]
    pub(crate) key: Key,

    #[command(flatten)]
    pub(crate) lifetime: Lifetime,

    /// How to write the resource into the token
    #[arg(long, default_value = "escaped")]
    pub(crate) spelling: SpellingName,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpellingName {
    /// Escaped once, as Python does: right for every legal id
    Escaped,
    /// Ids escaped twice, as C# does
    Double,
    /// Not escaped, as C does
    Raw,
    /// Escaped but for the slashes, as Java does
    SlashesRaw,
}

/// A key in base64: from the environment or a file, never from the command line, which others can see.
#[derive(Args)]
pub(crate) struct Key {
    /// The environment variable that holds the key, in base64
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) key_env: Option<String>,

    /// The file that holds the key, in base64
    #[arg(long, value_name = "FILE|-")]
    pub(crate) key_file: Option<Input>,
}

/// How long a token is to hold.
#[derive(Args)]
pub(crate) struct Lifetime {
    /// How long the token holds: 90s, 30m, 1h, 7d [default: 1h]
    #[arg(long, value_name = "TIME", conflicts_with = "expires_at")]
    pub(crate) ttl: Option<Span>,

    /// When the token ends, in seconds since 1970
    #[arg(long, value_name = "UNIX")]
    pub(crate) expires_at: Option<u64>,
}

/// Take a token apart.
#[derive(Args)]
#[command(after_long_help = "\
Example:
  iothub sas decode - < token.txt")]
pub(crate) struct Decode {
    /// The token; '-', or nothing, reads it from standard input
    #[arg(value_name = "TOKEN|-", value_parser = secret)]
    pub(crate) token: Vec<Secret>,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub(crate) output: Format,
}

/// Check whether a key signed a token and whether it still holds.
///
/// Exits with 0 if it holds and with 4 if not, with the reasons on standard output.
#[derive(Args)]
#[command(
    group = ArgGroup::new("key").required(true).args(["key_env", "key_file"]),
    group = ArgGroup::new("place").args(["hub", "host"]),
    after_long_help = "\
Example:
  iothub sas verify --key-file key.txt --hub myhub --device dev1 - < token.txt"
)]
pub(crate) struct Verify {
    /// The token; '-', or nothing, reads it from standard input
    #[arg(value_name = "TOKEN|-", value_parser = secret)]
    pub(crate) token: Vec<Secret>,

    #[command(flatten)]
    pub(crate) key: Key,

    /// The environment variable that holds the secondary key, in base64
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) secondary_key_env: Option<String>,

    /// The hub's name, to check what the token opens
    #[arg(long, value_name = "NAME")]
    pub(crate) hub: Option<HubName>,

    /// The hub's host, if it is not HUB.azure-devices.net
    #[arg(long)]
    pub(crate) host: Option<HubHost>,

    /// The device that the token is to open
    #[arg(long, value_name = "ID", requires = "place")]
    pub(crate) device: Option<DeviceId>,

    /// The module that the token is to open
    #[arg(long, value_name = "ID", requires = "device")]
    pub(crate) module: Option<ModuleId>,

    /// The policy whose key it is; without it, the key of a device or module
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<PolicyName>,

    /// What time it is, in seconds since 1970 [default: now]
    #[arg(long, value_name = "UNIX")]
    pub(crate) now: Option<u64>,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}
