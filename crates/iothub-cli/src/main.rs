//! The binary `iothub`: see the crate's documentation.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    iothub_cli::run(std::env::args_os(), &mut iothub_cli::Io::of_process())
}
