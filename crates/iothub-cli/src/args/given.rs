//! Flags of every command that needs a credential: where it is found.

use clap::Args;
use iothub_address::Secret;

use super::Input;
use super::values::secret;

/// Where a connection string is found. At most one of them.
#[derive(Args, Default)]
#[command(next_help_heading = "The credential")]
pub(crate) struct Given {
    /// Read the connection string from a file
    #[arg(long, value_name = "FILE|-", group = "credential")]
    pub(crate) connection_string_file: Option<Input>,

    /// Take the connection string from this environment variable
    #[arg(long, value_name = "VARIABLE", group = "credential")]
    pub(crate) connection_string_env: Option<String>,

    /// The connection string itself. Others on this machine can see it while the command runs, and the shell remembers
    /// it: keep it in a file, the environment or a context
    #[arg(long, value_name = "VALUE", group = "credential", value_parser = secret)]
    pub(crate) connection_string: Option<Secret>,

    /// Take credentials, CA and the way to the hub from this context, which then counts more than the environment
    #[arg(long, value_name = "NAME", group = "credential")]
    pub(crate) context: Option<String>,
}
