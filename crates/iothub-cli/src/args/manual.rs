//! `iothub completions` and `iothub man`

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Print what a shell needs to complete command lines.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  eval \"$(iothub completions bash)\"
  iothub completions fish > ~/.config/fish/completions/iothub.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Write the manual's pages into a folder, one for each command.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  iothub man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
