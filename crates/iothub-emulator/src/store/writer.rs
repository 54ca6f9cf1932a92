//! The thread that writes the file: many batches a commit, one sync a commit.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TryRecvError};
use std::thread;
use std::time::Duration;

use redb::{ReadableDatabase, Table, WriteTransaction};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::archive::Archive;
use super::fault::Fault;
use super::file::{
    ABOUT, CONFIGURATIONS, FEEDBACK, FEEDBACK_DONE_KEY, File, IDENTITIES, JOBS, MAILBOXES, MESSAGES,
    POLICIES, TWINS, begin,
};
use super::log::LogBounds;
use super::{form, service_form};
use crate::clock::Timestamp;
use crate::hub::{Event, LogLimits, Record};

/// What the hub did in one turn.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Its number; numbers rise.
    pub(crate) number: u64,
    /// When.
    pub(crate) now: Timestamp,
    pub(crate) records: Vec<Record>,
}

/// What has become of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// All up to this one are on disk.
    Durable {
        through: u64,
        /// When events have to go for their age.
        trim_at: Option<Timestamp>,
    },
    /// None of them up to this one is, and the writer goes on trying.
    Failed { through: u64 },
}

/// The writer, for the one who hands over batches. When it is dropped, the thread writes what it has, closes the file
/// and ends.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: SyncSender<Batch>,
    reports: UnboundedReceiver<Report>,
}

impl Writer {
    pub(super) fn start(
        file: File,
        archive: Archive,
        bounds: LogBounds,
        limits: LogLimits,
    ) -> Result<Self, std::io::Error> {
        let (batches, queue) = mpsc::sync_channel(QUEUE);
        let (report, reports) = unbounded_channel();
        let thread = Thread {
            file,
            archive,
            bounds,
            limits,
            failing: false,
            report,
        };
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || thread.run(&queue))?;
        Ok(Self { batches, reports })
    }

    /// Hands over a batch. At most [`QUEUE`] of them may be without a report.
    pub(crate) fn write(&self, batch: Batch) {
        if self.batches.try_send(batch).is_err() {
            // It has panicked, and said so: what waits for it waits for ever, and nothing is acknowledged.
            tracing::error!("the hub's state is no longer written");
        }
    }

    /// The next report; `None` once the file is closed. There is at most one report to wait for per batch.
    ///
    /// Cancel safe.
    pub(crate) async fn report(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// Writes what there is, and closes the file.
    pub(crate) async fn close(self) {
        let Self { batches, mut reports } = self;
        drop(batches);
        while reports.recv().await.is_some() {}
    }
}

struct Thread {
    file: File,
    archive: Archive,
    bounds: LogBounds,
    limits: LogLimits,
    failing: bool,
    report: UnboundedSender<Report>,
}

impl Thread {
    fn run(mut self, queue: &mpsc::Receiver<Batch>) {
        let mut pending = Vec::new();
        let mut open = true;
        while open || !pending.is_empty() {
            open = open && gather(queue, &mut pending, self.failing);
            let Some(last) = pending.last() else { continue };
            let through = last.number;
            match self.commit(&pending) {
                Ok(trim_at) => {
                    pending.clear();
                    if std::mem::take(&mut self.failing) {
                        tracing::warn!("the hub's state is written again");
                    }
                    // The owner may have gone.
                    let _ = self.report.send(Report::Durable { through, trim_at });
                }
                Err(fault) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::error!(
                            "the hub's state can't be written, so nothing is taken until it can: {fault}"
                        );
                    }
                    let _ = self.report.send(Report::Failed { through });
                    if !open {
                        break;
                    }
                }
            }
        }
        self.file.close();
    }

    fn commit(&mut self, batches: &[Batch]) -> Result<Option<Timestamp>, Fault> {
        if self.failing {
            self.file.reopen()?;
            self.recount()?;
        }
        let database = self
            .file
            .database()
            .ok_or_else(|| Fault::Io(std::io::Error::other("it is closed")))?;
        let transaction = begin(&database)?;
        let mut bounds = self.bounds.clone();
        let mut now = Timestamp::default();
        let mut events: Vec<Arc<Event>> = Vec::new();
        if self.failing {
            bounds.truncate(&transaction)?;
        }
        for batch in batches {
            now = batch.now;
            for record in &batch.records {
                match record {
                    Record::Event(event) => events.push(Arc::clone(event)),
                    other => write(&transaction, other)?,
                }
            }
        }
        bounds.append(&transaction, &events, &self.limits)?;
        let trim_at = bounds.trim(&transaction, &self.limits, now)?;
        bounds.write(&transaction)?;
        transaction.commit()?;
        self.archive.set_first(bounds.first);
        self.bounds = bounds;
        Ok(trim_at)
    }

    /// A commit that failed may have reached the disk all the same: what it dropped at the front is gone then.
    fn recount(&mut self) -> Result<(), Fault> {
        let Some(database) = self.file.database() else {
            return Ok(());
        };
        let transaction = database.begin_read()?;
        if let Some(found) = LogBounds::read(&transaction.open_table(ABOUT)?)? {
            self.bounds.first = found.first;
            self.bounds.bytes = found.bytes;
        }
        Ok(())
    }
}

/// Writes what is not an event.
fn write(transaction: &WriteTransaction, record: &Record) -> Result<(), Fault> {
    match record {
        Record::Event(_) => Ok(()),
        Record::Identity(identity, entry) => {
            let value = entry.as_deref().map(form::write_entry).transpose()?;
            put(
                &mut transaction.open_table(IDENTITIES)?,
                &*identity.to_string(),
                value,
            )
        }
        Record::Configuration(id, configuration) => {
            let value = configuration
                .as_deref()
                .map(service_form::write_configuration)
                .transpose()?;
            put(&mut transaction.open_table(CONFIGURATIONS)?, id.as_str(), value)
        }
        Record::Job(id, job) => {
            let value = job.as_deref().map(service_form::write_job).transpose()?;
            put(&mut transaction.open_table(JOBS)?, id.as_str(), value)
        }
        Record::Policy(name, policy) => {
            let value = policy.as_deref().map(form::write_policy).transpose()?;
            put(&mut transaction.open_table(POLICIES)?, name.as_str(), value)
        }
        Record::Twin(identity, twin) => {
            let value = twin.as_deref().map(form::write_twin).transpose()?;
            put(&mut transaction.open_table(TWINS)?, &*identity.to_string(), value)
        }
        Record::Mailbox(identity, last) => {
            let mut mailboxes = transaction.open_table(MAILBOXES)?;
            match last {
                Some(last) => drop(mailboxes.insert(&*identity.to_string(), last)?),
                None => drop(mailboxes.remove(&*identity.to_string())?),
            }
            Ok(())
        }
        Record::Message(identity, number, waiting) => {
            let value = waiting.as_deref().map(form::write_message).transpose()?;
            put(
                &mut transaction.open_table(MESSAGES)?,
                (&*identity.to_string(), *number),
                value,
            )
        }
        Record::FeedbackDone(place) => {
            let mut about = transaction.open_table(ABOUT)?;
            about.insert(FEEDBACK_DONE_KEY, &place.to_le_bytes()[..])?;
            Ok(())
        }
        Record::Feedback {
            place,
            feedback,
            first,
        } => {
            let mut kept = transaction.open_table(FEEDBACK)?;
            kept.insert(place, &form::write_feedback(feedback)?[..])?;
            kept.retain_in::<u64, _>(..*first, |_, _| false)?;
            Ok(())
        }
    }
}

fn put<'k, K: redb::Key + 'static>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: impl std::borrow::Borrow<K::SelfType<'k>>,
    value: Option<Vec<u8>>,
) -> Result<(), Fault> {
    match value {
        Some(value) => drop(table.insert(key, &value[..])?),
        None => drop(table.remove(key)?),
    }
    Ok(())
}

/// Waits for a batch, and takes those behind it; while writing fails, waits a while at most. False when no more will
/// come.
fn gather(queue: &mpsc::Receiver<Batch>, pending: &mut Vec<Batch>, failing: bool) -> bool {
    if failing {
        match queue.recv_timeout(RETRY) {
            Ok(batch) => pending.push(batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    } else {
        match queue.recv() {
            Ok(batch) => pending.push(batch),
            Err(_) => return false,
        }
    }
    loop {
        match queue.try_recv() {
            Ok(batch) => pending.push(batch),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

/// How many batches may be without a report.
pub(crate) const QUEUE: usize = 256;
/// How long it waits before it tries again to write what could not be written.
const RETRY: Duration = Duration::from_secs(1);
