//! Opening a state directory: what is in it, and who writes it from now on.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use super::archive::Archive;
use super::error::StateError;
use super::fault::Fault;
use super::file::{
    ABOUT, CONFIGURATIONS, FEEDBACK, FEEDBACK_DONE_KEY, File, IDENTITIES, JOBS, MAILBOXES, MESSAGES,
    POLICIES, TWINS, begin,
};
use super::log::LogBounds;
use super::writer::Writer;
use super::{STATE_FILE, form, service_form};
use crate::hub::{Feedback, Kept, KeptMessage, LogLimits, Place};

/// An open state directory.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) writer: Writer,
    pub(crate) archive: Archive,
    pub(crate) log: LogBounds,
    pub(crate) kept: Kept,
    /// By place.
    pub(crate) feedback: Vec<(u64, Arc<Feedback>)>,
    /// Services are done with what stands before.
    pub(crate) feedback_done: u64,
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
    let failed = |fault| failed(directory, fault);
    create_private(directory).map_err(|error| failed(error.into()))?;
    File::open(&path)
        .and_then(|file| open_on(file, partitions, usual_partitions, limits))
        .map_err(failed)
}

/// What is in the state of a directory that no hub uses.
pub(crate) fn read_kept(directory: &Path) -> Result<Kept, StateError> {
    let path = directory.join(STATE_FILE);
    let read = || {
        // Opening it makes one.
        fs::metadata(&path)?;
        let found = read(&File::open(&path)?)?;
        Ok(found.kept)
    };
    read().map_err(|fault| failed(directory, fault))
}

fn failed(directory: &Path, fault: Fault) -> StateError {
    let file = directory.join(STATE_FILE);
    match fault {
        Fault::InUse => StateError::InUse(directory.to_owned()),
        Fault::Newer(found) => StateError::Newer { file, found },
        Fault::Partitions { kept, asked } => StateError::Partitions { file, kept, asked },
        Fault::Damaged(what) => StateError::Damaged { file, what },
        Fault::Io(source) => StateError::Io { file, source },
    }
}

pub(super) fn open_on(
    file: File,
    partitions: Option<u16>,
    usual_partitions: u16,
    limits: LogLimits,
) -> Result<Opened, Fault> {
    let found = read(&file)?;
    let log = match found.log {
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
        kept: found.kept,
        feedback: found.feedback,
        feedback_done: found.feedback_done,
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

#[derive(Default)]
pub(super) struct Found {
    pub(super) log: Option<LogBounds>,
    pub(super) kept: Kept,
    pub(super) feedback: Vec<(u64, Arc<Feedback>)>,
    pub(super) feedback_done: u64,
}

pub(super) fn read(file: &File) -> Result<Found, Fault> {
    let mut kept = Kept::default();
    let Some(database) = file.database() else {
        return Ok(Found::default());
    };
    let transaction = database.begin_read()?;
    for entry in transaction.open_table(IDENTITIES)?.iter()? {
        let (identity, entry) = entry?;
        kept.identities
            .push((name_in(identity.value())?, form::read_entry(entry.value())?));
    }
    for policy in transaction.open_table(POLICIES)?.iter()? {
        let (name, policy) = policy?;
        kept.policies
            .push((name_in(name.value())?, form::read_policy(policy.value())?));
    }
    for twin in transaction.open_table(TWINS)?.iter()? {
        let (identity, twin) = twin?;
        kept.twins
            .push((name_in(identity.value())?, form::read_twin(twin.value())?));
    }
    for mailbox in transaction.open_table(MAILBOXES)?.iter()? {
        let (identity, last) = mailbox?;
        kept.mailboxes.push((name_in(identity.value())?, last.value()));
    }
    for message in transaction.open_table(MESSAGES)?.iter()? {
        let (key, message) = message?;
        let (identity, number) = key.value();
        let (waiting, was_locked) = form::read_message(message.value())?;
        let message = KeptMessage {
            number,
            waiting,
            was_locked,
        };
        kept.messages.push((name_in(identity)?, message));
    }
    for (id, configuration) in rows(&transaction, CONFIGURATIONS)? {
        kept.configurations
            .push((id, service_form::read_configuration(&configuration)?));
    }
    for (id, job) in rows(&transaction, JOBS)? {
        kept.jobs.push((id, service_form::read_job(&job)?));
    }
    let mut feedback = Vec::new();
    for one in transaction.open_table(FEEDBACK)?.iter()? {
        let (place, one) = one?;
        feedback.push((place.value(), Arc::new(form::read_feedback(one.value())?)));
    }
    let about = transaction.open_table(ABOUT)?;
    let log = LogBounds::read(&about)?;
    let feedback_done = match about.get(FEEDBACK_DONE_KEY)? {
        None => 0,
        Some(place) => u64::from_le_bytes(place.value().try_into().map_err(Fault::damaged)?),
    };
    Ok(Found {
        log,
        kept,
        feedback,
        feedback_done,
    })
}

/// Of a table that an earlier program may not have made.
fn rows(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        rows.push((key.value().to_owned(), value.value().to_owned()));
    }
    Ok(rows)
}

fn name_in<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(Fault::damaged)
}

/// Makes a directory that only its owner may enter; one that is there stays as it is.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
