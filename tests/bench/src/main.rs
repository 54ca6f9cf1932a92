//! The load that `cargo xtask bench peers` puts on hubs, and a hub with many devices: one process each, whose CPU time and
//! memory are then theirs alone. Each prints one JSON object a line.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the command line: printing is what it is for"
)]

mod fleet;
mod hub;
mod process;
mod send;

use std::error::Error;
use std::process::ExitCode;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

const USAGE: &str = "\
usage: iothub-bench send CONNECTION-STRING CA COUNT SIZE WINDOW single|batched
       iothub-bench hub DEVICES CA
       iothub-bench fleet PORT CA DEVICES connection|pool|separate

send   sends COUNT messages of SIZE bytes, at most WINDOW of them without an outcome. CA - is plain TCP.
hub    runs a hub with DEVICES devices until its standard input ends, and writes its CA to a file.
fleet  connects DEVICES devices to such a hub: over one connection, over as many as they need, or over one each. At the
       first line on its standard input each sends a message; at the second they leave.";

/// What a mode comes to.
type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["send", connection, ca, count, size, window, how] => {
            send::run(connection, ca, count, size, window, how)
        }
        ["hub", devices, ca] => hub::run(devices, ca),
        ["fleet", port, ca, devices, how] => fleet::run(port, ca, devices, how),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iothub-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The certificate to trust, unless `file` is "-".
fn ca(file: &str) -> Result<Option<CertificateDer<'static>>, Box<dyn Error>> {
    if file == "-" {
        return Ok(None);
    }
    Ok(Some(CertificateDer::from_pem_file(file)?))
}

/// All devices of a benchmark's hub have this key. Made up.
const KEY: [u8; 32] = [7; 32];

/// The name of a hub's device.
fn device_name(number: usize) -> String {
    format!("device-{number}")
}
