//! What the commands that ask the REST API have in common.

use iothub_registry::{IfMatch, Registry, RegistryError};

use super::emulator_run::stop::StopSignals;
use crate::args::registry::Deletion;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::plan::rest::Hub;

/// Asks the hub, unless it is told to stop before.
pub(super) fn ask<F>(hub: Hub, work: impl FnOnce(Registry) -> F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    super::runtime()?.block_on(async {
        let mut stop = StopSignals::new()?;
        let registry = hub.registry().await?;
        tokio::select! {
            biased;
            () = stop.received() => Err(Failure::interrupted()),
            done = work(registry) => done,
        }
    })
}

/// For which state a change is meant.
pub(super) fn state(if_match: Option<&str>) -> IfMatch {
    if_match.map_or(IfMatch::Any, IfMatch::etag)
}

/// Asks whoever sits there, unless it is sure.
pub(super) fn confirm(deletion: &Deletion, what: &str, io: &mut Io) -> Result<(), Failure> {
    if deletion.yes {
        return Ok(());
    }
    if !io.stdin_is_terminal || !io.stderr_is_terminal {
        return Err(
            Failure::usage(format!("nobody is there to ask whether to delete {what}"))
                .hint("say so by --yes"),
        );
    }
    io.say(&format!("delete {what} for good? y or n"));
    let mut answer = [0; 1];
    let read = std::io::Read::read(&mut io.stdin, &mut answer);
    match read {
        Ok(1) if answer[0].eq_ignore_ascii_case(&b'y') => Ok(()),
        _ => Err(Failure::usage(format!("{what} was not deleted"))),
    }
}

/// Whether there is no such thing.
pub(super) fn failed<T>(outcome: Result<T, RegistryError>) -> Result<T, Failure> {
    outcome.map_err(Failure::from)
}
