//! Flags of every command that speaks to a hub as a service does.

use clap::Args;
use iothub_address::Secret;

use super::given::Given;
use super::route::Carrier;
use super::values::secret;
use super::{Input, Output, Span};

/// With which credential, by which way, and how to write.
#[derive(Args)]
pub(crate) struct Everywhere {
    #[command(flatten)]
    pub(crate) given: Given,

    #[command(flatten)]
    pub(crate) way: Way,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// By which way a service reaches the hub.
#[derive(Args)]
#[command(next_help_heading = "The way to the hub")]
pub(crate) struct Way {
    /// Trust these certificates too (PEM, one or more); IOTHUB_CA_FILE in the environment does the same
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<Input>,

    /// Give up on any step that makes no progress for this long: 500ms, 30s, 2m, 1h
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) timeout: Span,

    /// What carries AMQP: amqp is TLS at port 5671, as without it; ws is a WebSocket at port 443
    #[arg(long, value_name = "WHAT")]
    pub(crate) transport: Option<Carrier>,

    /// Go through this HTTP proxy, http://[USER:PASSWORD@]HOST[:PORT], percent-encoded, or through none for 'none'.
    /// Without it HTTPS_PROXY and NO_PROXY in the environment count, and are the place for a password
    #[arg(long, value_name = "URL|none", value_parser = secret)]
    pub(crate) proxy: Option<Secret>,
}
