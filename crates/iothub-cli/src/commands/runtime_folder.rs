//! The user's folder for hubs that run without a state directory: a folder of its own for each, which holds a locked file
//! as long as the hub lives.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::io::Io;
use crate::plan::private::create_folder;

/// Where the folders of runs are.
pub(super) struct RuntimeFolder(PathBuf);

impl RuntimeFolder {
    /// `$XDG_RUNTIME_DIR/iothub`, or a folder with the user's number in the temporary directory. It may not be there.
    pub(super) fn of(io: &Io) -> io::Result<Self> {
        Ok(Self(match io.variable("XDG_RUNTIME_DIR").map(PathBuf::from) {
            Some(runtime) if runtime.is_absolute() && runtime.is_dir() => runtime.join("iothub"),
            _ => std::env::temp_dir().join(format!("iothub-{}", user()?)),
        }))
    }

    /// Makes a folder for a run, and removes those of runs that were killed.
    pub(super) fn begin_run(self) -> io::Result<Run> {
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let mut attempts = 0;
        let folder = loop {
            create_folder(&self.0)?;
            attempts += 1;
            match private_builder().prefix(&prefix).tempdir_in(&self.0) {
                // Another run that ended has just removed the empty folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS => {}
                made => break made?,
            }
        };
        self.refuse_foreign()?;
        let lock = hold(folder.path())?;
        self.sweep();
        Ok(Run {
            folder,
            lock,
            base: self.0,
        })
    }

    /// The folders of runs that live.
    pub(super) fn living(&self) -> io::Result<Vec<PathBuf>> {
        match fs::symlink_metadata(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            there => there?,
        };
        self.refuse_foreign()?;
        let mut living = self.runs()?;
        living.retain(|run| !is_dead(run));
        living.sort();
        Ok(living)
    }

    fn runs(&self) -> io::Result<Vec<PathBuf>> {
        let mut runs = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_dir() {
                runs.push(entry.path());
            }
        }
        Ok(runs)
    }

    /// What can't be removed does no harm.
    fn sweep(&self) {
        for run in self.runs().unwrap_or_default() {
            if is_dead(&run) {
                tracing::info!("removing {}, whose hub was killed", run.display());
                let _ = fs::remove_dir_all(run);
            }
        }
    }

    /// In a temporary directory that all users share, someone else may have made the folder first.
    #[cfg(unix)]
    fn refuse_foreign(&self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let base = fs::symlink_metadata(&self.0)?;
        if base.is_dir() && base.uid() == user()? && base.mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("others can change {}", self.0.display()),
        ))
    }

    #[cfg(not(unix))]
    fn refuse_foreign(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A run's own folder.
pub(super) struct Run {
    folder: TempDir,
    lock: File,
    base: PathBuf,
}

impl Run {
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes all of it. What can't be removed does no harm.
    pub(super) fn end(self) {
        // Some systems remove no file that is open.
        drop(self.lock);
        let _ = self.folder.close();
        // Unless another run is in it.
        let _ = fs::remove_dir(self.base);
    }
}

/// Puts a locked file into the folder. It gets its name when it is locked, so that nobody takes the run for dead.
fn hold(folder: &Path) -> io::Result<File> {
    let draft = folder.join(DRAFT_FILE);
    let file = File::create_new(&draft)?;
    file.lock()?;
    fs::rename(draft, folder.join(LOCK_FILE))?;
    Ok(file)
}

/// Whether the run's process has ended. What has no such file is just beginning.
fn is_dead(run: &Path) -> bool {
    let locked = File::open(run.join(LOCK_FILE)).map(|file| file.try_lock_shared());
    match locked {
        Ok(Ok(())) => true,
        Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) | Err(_) => false,
    }
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

const PREFIX: &str = "emulator-";
const LOCK_FILE: &str = "run.lock";
const DRAFT_FILE: &str = "run.lock.draft";
const ATTEMPTS: u32 = 3;
