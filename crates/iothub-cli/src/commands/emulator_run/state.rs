//! The directory of a running hub: its certificate authority, and the file by which others find it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use iothub_emulator::CA_FILE;
use tempfile::TempDir;

use crate::failure::Failure;
use crate::io::Io;

/// A hub's state directory.
pub(super) struct StateDir {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    /// The user's own: only the file that says that a hub runs is removed at the end.
    Given,
    /// This run's own, in the user's runtime folder: all of it goes.
    OfThisRun { run: TempDir, base: PathBuf },
}

impl StateDir {
    pub(super) fn prepare(given: Option<&Path>, io: &Io) -> Result<Self, Failure> {
        match given {
            Some(path) => Self::given(path).map_err(|error| {
                Failure::usage(format!("--state-dir {} can't be used", path.display())).because(&error)
            }),
            None => Self::of_this_run(io).map_err(|error| {
                let failure = Failure::unexpected("no folder for the hub's state").because(&error);
                failure.and("give one by --state-dir")
            }),
        }
    }

    fn given(path: &Path) -> io::Result<Self> {
        create_private(path)?;
        Ok(Self {
            path: std::path::absolute(path)?,
            kind: Kind::Given,
        })
    }

    fn of_this_run(io: &Io) -> io::Result<Self> {
        let base = match io.variable("XDG_RUNTIME_DIR").map(PathBuf::from) {
            Some(runtime) if runtime.is_absolute() && runtime.is_dir() => runtime.join("iothub"),
            _ => std::env::temp_dir().join(format!("iothub-{}", user()?)),
        };
        let prefix = format!("emulator-{}-", std::process::id());
        let mut attempts = 0;
        let run = loop {
            create_private(&base)?;
            attempts += 1;
            match private_builder().prefix(&prefix).tempdir_in(&base) {
                // Another run that ended has just removed the empty base.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS => {}
                made => break made?,
            }
        };
        refuse_foreign(&base, run.path())?;
        Ok(Self {
            path: run.path().to_owned(),
            kind: Kind::OfThisRun { run, base },
        })
    }

    /// Where the hub itself is kept, if it is.
    pub(super) fn of_the_hub(&self) -> Option<&Path> {
        match self.kind {
            Kind::Given => Some(&self.path),
            Kind::OfThisRun { .. } => None,
        }
    }

    /// Writes the certificate to trust where the hub does not keep it itself.
    pub(super) fn write_ca(&self, pem: &str) -> Result<(), Failure> {
        match self.kind {
            Kind::Given => Ok(()),
            Kind::OfThisRun { .. } => fs::write(self.ca_file(), pem).map_err(|error| self.unwritable(&error)),
        }
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
        match self.kind {
            Kind::Given => {
                let _ = fs::remove_file(self.path.join(READY_FILE));
            }
            Kind::OfThisRun { run, base } => {
                let _ = run.close();
                // Unless another run is in it.
                let _ = fs::remove_dir(base);
            }
        }
    }
}

/// Makes a directory that only its owner may enter; one that is there stays as it is.
fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(unix)]
fn private_builder<'a>() -> tempfile::Builder<'a, 'a> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    builder.permissions(fs::Permissions::from_mode(0o700));
    builder
}

#[cfg(not(unix))]
fn private_builder<'a>() -> tempfile::Builder<'a, 'a> {
    tempfile::Builder::new()
}

/// In a temporary directory that all users share, someone else may have made the folder first.
#[cfg(unix)]
fn refuse_foreign(base: &Path, own: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let (base, own) = (fs::symlink_metadata(base)?, fs::symlink_metadata(own)?);
    if base.is_dir() && base.uid() == own.uid() && base.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "others can change the runtime folder",
    ))
}

#[cfg(not(unix))]
fn refuse_foreign(_base: &Path, _own: &Path) -> io::Result<()> {
    Ok(())
}

/// What tells users apart: the owner of a file that this user makes.
#[cfg(unix)]
fn user() -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    Ok(tempfile::tempfile()?.metadata()?.uid())
}

/// The temporary directory is each user's own.
#[cfg(not(unix))]
fn user() -> io::Result<&'static str> {
    Ok("runtime")
}

/// By which other commands find a running hub.
const READY_FILE: &str = "emulator.json";
const ATTEMPTS: u32 = 3;
