//! Opening a state directory: what is in it, and who writes it from now on.

use std::fs;
use std::path::Path;

use redb::{ReadableDatabase, ReadableTable};

use super::archive::Archive;
use super::error::StateError;
use super::fault::Fault;
use super::file::{ABOUT, File, IDENTITIES, POLICIES, begin};
use super::log::LogBounds;
use super::writer::Writer;
use super::{STATE_FILE, form};
use crate::hub::{Kept, LogLimits, Place};

/// An open state directory.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) writer: Writer,
    pub(crate) archive: Archive,
    pub(crate) log: LogBounds,
    pub(crate) kept: Kept,
}

/// Opens the state in `directory`, which is made if it is not there; a hub that is new gets `partitions`, or as many
/// as is usual.
pub(crate) fn open(
    directory: &Path,
    partitions: Option<u16>,
    usual_partitions: u16,
    limits: LogLimits,
) -> Result<Opened, StateError> {
    let path = directory.join(STATE_FILE);
    let failed = |fault: Fault| match fault {
        Fault::InUse => StateError::InUse(directory.to_owned()),
        Fault::Newer(found) => StateError::Newer {
            file: path.clone(),
            found,
        },
        Fault::Partitions { kept, asked } => StateError::Partitions {
            file: path.clone(),
            kept,
            asked,
        },
        Fault::Damaged(what) => StateError::Damaged {
            file: path.clone(),
            what,
        },
        Fault::Io(source) => StateError::Io {
            file: path.clone(),
            source,
        },
    };
    create_private(directory).map_err(|error| failed(error.into()))?;
    File::open(&path)
        .and_then(|file| open_on(file, partitions, usual_partitions, limits))
        .map_err(failed)
}

pub(super) fn open_on(
    file: File,
    partitions: Option<u16>,
    usual_partitions: u16,
    limits: LogLimits,
) -> Result<Opened, Fault> {
    let (found, kept) = read(&file)?;
    let log = match found {
        Some(log) => log,
        None => begin_log(&file, partitions.unwrap_or(usual_partitions))?,
    };
    let kept_partitions = u16::try_from(log.partitions.len()).unwrap_or(u16::MAX);
    if let Some(asked) = partitions
        && asked != kept_partitions
    {
        return Err(Fault::Partitions {
            kept: kept_partitions,
            asked,
        });
    }
    let archive = Archive::new(file.clone(), log.first);
    let writer = Writer::start(file, archive.clone(), log.clone(), limits)?;
    Ok(Opened {
        writer,
        archive,
        log,
        kept,
    })
}

/// The log of a new hub.
fn begin_log(file: &File, partitions: u16) -> Result<LogBounds, Fault> {
    let log = LogBounds {
        partitions: vec![Place::default(); partitions.max(1).into()],
        ..LogBounds::default()
    };
    if let Some(database) = file.database() {
        let transaction = begin(&database)?;
        log.write(&transaction)?;
        transaction.commit()?;
    }
    Ok(log)
}

fn read(file: &File) -> Result<(Option<LogBounds>, Kept), Fault> {
    let mut kept = Kept::default();
    let Some(database) = file.database() else {
        return Ok((None, kept));
    };
    let transaction = database.begin_read()?;
    for entry in transaction.open_table(IDENTITIES)?.iter()? {
        let (identity, entry) = entry?;
        let identity = identity.value().parse().map_err(Fault::damaged)?;
        kept.identities.push((identity, form::read_entry(entry.value())?));
    }
    for policy in transaction.open_table(POLICIES)?.iter()? {
        let (name, policy) = policy?;
        let name = name.value().parse().map_err(Fault::damaged)?;
        kept.policies.push((name, form::read_policy(policy.value())?));
    }
    let log = LogBounds::read(&transaction.open_table(ABOUT)?)?;
    Ok((log, kept))
}

/// Makes a directory that only its owner may enter; one that is there stays as it is.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
