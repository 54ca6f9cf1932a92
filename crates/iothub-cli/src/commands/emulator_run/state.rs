//! The directory of a running hub: its certificate authority, and the file by which others find it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use iothub_emulator::CA_FILE;

use crate::commands::ready::READY_FILE;
use crate::commands::runtime_folder::{Run, RuntimeFolder};
use crate::failure::Failure;
use crate::io::Io;
use crate::plan::private::create_folder;

/// A hub's state directory.
pub(super) struct StateDir {
    path: PathBuf,
    /// Unless it is the user's own, of which only the file that says that a hub runs is removed at the end.
    run: Option<Run>,
}

impl StateDir {
    pub(super) fn prepare(given: Option<&Path>, io: &Io) -> Result<Self, Failure> {
        match given {
            Some(path) => Self::given(path).map_err(|error| {
                Failure::usage(format!("--state-dir {} can't be used", path.display())).because(&error)
            }),
            None => Self::of_this_run(io).map_err(|error| {
                let failure = Failure::unexpected("no folder for the hub's state").because(&error);
                failure.hint("give one by --state-dir")
            }),
        }
    }

    fn given(path: &Path) -> io::Result<Self> {
        create_folder(path)?;
        Ok(Self {
            path: std::path::absolute(path)?,
            run: None,
        })
    }

    fn of_this_run(io: &Io) -> io::Result<Self> {
        let run = RuntimeFolder::of(io)?.begin_run()?;
        Ok(Self {
            path: run.path().to_owned(),
            run: Some(run),
        })
    }

    /// Where the hub itself is kept, if it is.
    pub(super) fn of_the_hub(&self) -> Option<&Path> {
        self.run.is_none().then_some(&self.path)
    }

    /// Writes the certificate to trust where the hub does not keep it itself.
    pub(super) fn write_ca(&self, pem: &str) -> Result<(), Failure> {
        if self.run.is_none() {
            return Ok(());
        }
        fs::write(self.ca_file(), pem).map_err(|error| self.unwritable(&error))
    }

    /// Where clients find the certificate to trust.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.path.join(CA_FILE)
    }

    /// Writes down that the hub is ready, for its owner's eyes only; a reader never sees half of it.
    pub(super) fn announce(&self, ready: &str) -> Result<(), Failure> {
        let write = || {
            // Mode 0600, and so it stays when it gets its name.
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            writeln!(file, "{ready}")?;
            file.persist(self.path.join(READY_FILE))
                .map_err(|error| error.error)
        };
        let written = write();
        written.map(drop).map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::unexpected(format!("can't write to {}", self.path.display())).because(error)
    }

    /// The hub has stopped. What can't be removed does no harm.
    pub(super) fn remove(self) {
        match self.run {
            Some(run) => run.end(),
            None => {
                let _ = fs::remove_file(self.path.join(READY_FILE));
            }
        }
    }
}
