//! `iothub completions` and `iothub man`: both from the definition of the command line itself.

use std::fs;

use clap::CommandFactory;

use crate::args::Args;
use crate::args::manual::{Completions, Man};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;

pub(crate) fn completions(args: &Completions, io: &mut Io) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), PROGRAM, &mut script);
    io.print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

pub(crate) fn man(args: &Man, io: &mut Io) -> Result<Exit, Failure> {
    let unwritten = |error: std::io::Error| {
        Failure::unexpected(format!(
            "can't write the manual into {}",
            args.directory.display()
        ))
        .because(&error)
    };
    fs::create_dir_all(&args.directory).map_err(unwritten)?;
    let command = Args::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &args.directory).map_err(unwritten)?;
    io.note(&format!(
        "the manual is in {}: {PROGRAM}(1) comes first",
        args.directory.display()
    ));
    Ok(Exit::Done)
}

const PROGRAM: &str = "iothub";
