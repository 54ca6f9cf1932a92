//! `iothub emulator env` and `ca`: what other programs need to reach a hub.

use clap::{Args, ValueEnum};
use iothub_address::{DeviceId, ModuleId};

use super::administration::Running;
use super::examples::examples;

/// Print what a shell needs to reach a hub that runs.
///
/// These variables, as commands for the shell: IOTHUB_DEVICE_CONNECTION_STRING, with the device's key;
/// IOTHUB_SERVICE_CONNECTION_STRING for back ends, with the key of policy iothubowner; IOTHUB_EVENTS_CONNECTION_STRING for
/// readers of events that know Event Hubs and no IoT Hub, with the key of policy service; IOTHUB_CA_FILE for this program; NODE_EXTRA_CA_CERTS for Node; SSL_CERT_FILE for Python and all that uses OpenSSL; REQUESTS_CA_BUNDLE for
/// Python's requests. The last two take the place of the roots that such programs have, so that they may trust nobody
/// but this hub in that shell.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  eval \"$(iothub emulator env)\"
  iothub emulator env --shell fish | source
  iothub emulator env --shell powershell | Out-String | Invoke-Expression")]
pub(crate) struct Env {
    /// The shell that reads it; sh and zsh read bash's form
    #[arg(long, value_name = "SHELL", default_value_t = Shell::HERE)]
    pub(crate) shell: Shell,

    /// The device to be [default: the first by its id]
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<DeviceId>,

    /// The module of the device to be
    #[arg(long, value_name = "ID", requires = "device")]
    pub(crate) module: Option<ModuleId>,

    #[command(flatten)]
    pub(crate) running: Running,
}

/// Print the certificate (PEM) that clients of a hub must trust.
///
/// With --state-dir the hub need not run, but must have run before.
#[derive(Args)]
#[command(after_long_help = examples!(
    "iothub emulator ca > ca.pem",
))]
pub(crate) struct Ca {
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Whose language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash, zsh, and any other like sh
    Bash,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

impl Shell {
    const HERE: Self = if cfg!(windows) {
        Self::Powershell
    } else {
        Self::Bash
    };
}

impl std::fmt::Display for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bash => "bash",
            Self::Fish => "fish",
            Self::Powershell => "powershell",
        })
    }
}
