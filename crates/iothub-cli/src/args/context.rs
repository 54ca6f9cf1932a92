//! `iothub context …`

use std::num::NonZeroU16;

use clap::{Args, Subcommand};
use iothub_address::Secret;

use super::examples::examples;
use super::route::Carrier;
use super::values::secret;
use super::{Input, Output};
use crate::args::given::Given;

/// Keep credentials and how to reach a hub, under a name.
///
/// Contexts are kept in one file that its owner alone can read: contexts.json in the folder 'iothub' of XDG_CONFIG_HOME, or
/// else of ~/.config (on Windows of APPDATA). A command takes each value from the first that has it: its flags; the
/// environment, with IOTHUB_CONTEXT to name a context; the context in use.
#[derive(Subcommand)]
#[command(after_long_help = examples!(
    "eval \"$(iothub emulator env)\" && iothub context add local",
    "iothub context add plant-7 --connection-string-file service.txt --ca ca.pem",
    "iothub context use plant-7",
    "iothub context show",
))]
pub(crate) enum Context {
    /// Keep a context, in place of the one with its name
    #[command(after_long_help = examples!(
        "eval \"$(iothub emulator env)\" && iothub context add local",
        "iothub context add plant-7 --connection-string-file service.txt --ca ca.pem",
        "iothub context add far --connection-string-file service.txt --transport ws",
    ))]
    Add(Add),
    /// Use a context from now on, where nothing else is said
    #[command(after_long_help = examples!(
        "iothub context add plant-7 --connection-string-file service.txt",
        "iothub context use plant-7",
    ))]
    Use(Named),
    /// Show all contexts, without their secrets
    #[command(after_long_help = examples!(
        "iothub context list",
    ))]
    List(List),
    /// Show what a command would use here, without the secrets, and where each value comes from
    #[command(after_long_help = examples!(
        "eval \"$(iothub emulator env)\" && iothub context add local",
        "iothub context show",
        "iothub context show --context local -o json",
    ))]
    Show(Show),
    /// Forget a context
    #[command(after_long_help = examples!(
        "eval \"$(iothub emulator env)\" && iothub context add local",
        "iothub context remove local",
    ))]
    Remove(Named),
}

/// Keep a context, in place of the one with its name. The first one is used at once.
///
/// What a connection string is for, it tells itself: a service, a device or module, or an event hub. Without flags all
/// that the environment gives is kept, as 'iothub emulator env' sets it.
#[derive(Args)]
pub(crate) struct Add {
    /// Its name: letters, digits, '.', '-' and '_'
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: String,

    /// Read a connection string from a file; may be given once for each kind
    #[arg(long, value_name = "FILE|-")]
    pub(crate) connection_string_file: Vec<Input>,

    /// Trust these certificates too (PEM, one or more): they are copied into the context
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<Input>,

    /// What carries AMQP
    #[arg(long, value_name = "WHAT")]
    pub(crate) transport: Option<Carrier>,

    /// Go through this HTTP proxy, http://[USER:PASSWORD@]HOST[:PORT], percent-encoded, or through none for 'none'
    #[arg(long, value_name = "URL|none", value_parser = secret)]
    pub(crate) proxy: Option<Secret>,

    /// Where the hub has HTTPS, if not at 443
    #[arg(long, value_name = "PORT")]
    pub(crate) https_port: Option<NonZeroU16>,
}

#[derive(Args)]
pub(crate) struct Named {
    /// The context's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) given: Given,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text.len() {
        1..=64 if text.chars().all(is_plain) => Ok(text.to_owned()),
        _ => Err("1 to 64 letters, digits, '.', '-' or '_'"),
    }
}
