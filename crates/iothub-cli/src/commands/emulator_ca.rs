//! `iothub emulator ca`

use std::fs;
use std::path::PathBuf;

use iothub_emulator::CA_FILE;

use super::running::RunningHub;
use crate::args::surroundings::Ca;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;

pub(crate) fn run(args: Ca, io: &mut Io) -> Result<Exit, Failure> {
    let file = match &args.running.state_dir {
        Some(directory) => directory.join(CA_FILE),
        None => PathBuf::from(&RunningHub::find(&args.running, io)?.ready().ca),
    };
    let pem = fs::read_to_string(&file).map_err(|error| {
        let failure = Failure::usage(format!("can't read {}", file.display())).because(&error);
        failure.hint("the first 'iothub emulator run' on a state directory makes it")
    })?;
    io.print(pem.trim_end())?;
    Ok(Exit::Done)
}
