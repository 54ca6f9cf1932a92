//! The file: opening it, and the tables in it.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase, StorageBackend, TableDefinition, WriteTransaction};

use super::VERSION;
use super::fault::Fault;

/// What the file says of itself.
pub(super) const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
/// Chunks of events by the place of their first.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Of each chunk: how many events, how many bytes, when its last event came (milliseconds).
pub(super) const CHUNKS: TableDefinition<'_, u64, (u32, u64, i64)> = TableDefinition::new("log chunks");

/// Identities by their text, in JSON.
pub(super) const IDENTITIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("identities");
/// Policies by their name, in JSON.
pub(super) const POLICIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("policies");
/// Twins by the text of their identity, in JSON.
pub(super) const TWINS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("twins");
/// Of each identity that ever got a message: the number of the last.
pub(super) const MAILBOXES: TableDefinition<'_, &str, u64> = TableDefinition::new("mailboxes");
/// Messages that wait for devices, by their identity and number.
pub(super) const MESSAGES: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("messages");
/// Configurations by their id, in JSON. A file that an earlier program made may not have this table, nor the next.
pub(super) const CONFIGURATIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("configurations");
/// Scheduled jobs by their id, in JSON.
pub(super) const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
/// What became of messages, by its place.
pub(super) const FEEDBACK: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("feedback");

/// The open file. Clones share it; the writer closes it for all.
#[derive(Clone)]
pub(super) struct File {
    disk: Arc<dyn Fn() -> Result<Database, Fault> + Send + Sync>,
    database: Arc<Mutex<Option<Arc<Database>>>>,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let path = path.to_owned();
        Self::on(move || open_database(FileBackend::new(open_file(&path)?)?))
    }

    /// The file that `disk` opens, again and again.
    pub(super) fn on(
        disk: impl Fn() -> Result<Database, Fault> + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        let database = disk()?;
        Ok(Self {
            disk: Arc::new(disk),
            database: Arc::new(Mutex::new(Some(Arc::new(database)))),
        })
    }

    /// Opens it anew: after a failed write the library takes no more.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        self.close();
        let database = (self.disk)()?;
        *self.lock() = Some(Arc::new(database));
        Ok(())
    }

    /// Nobody reads or writes it any more, once those who are at it have finished.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// `None` once it is closed.
    pub(super) fn database(&self) -> Option<Arc<Database>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction whose commit is synced, and after which a killed process's file opens without a repair: that walks
/// the whole file.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(redb::Error::from)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn open_file(path: &Path) -> Result<fs::File, std::io::Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // It holds keys.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

pub(super) fn open_database(disk: impl StorageBackend) -> Result<Database, Fault> {
    let database = Database::builder()
        .set_cache_size(CACHE)
        .create_with_backend(disk)?;
    match version(&database)? {
        Some(VERSION) => {}
        None | Some(WITHOUT_TWINS) => mark(&database)?,
        Some(newer) => return Err(Fault::Newer(newer)),
    }
    Ok(database)
}

/// `None` of a file that has just been made.
fn version(database: &Database) -> Result<Option<u32>, Fault> {
    let transaction = database.begin_read()?;
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return match transaction.list_tables()?.next() {
                None => Ok(None),
                Some(_) => Err(Fault::damaged("its version is missing")),
            };
        }
        Err(error) => return Err(error.into()),
    };
    let value = about
        .get(VERSION_KEY)?
        .ok_or_else(|| Fault::damaged("its version is missing"))?;
    let bytes: [u8; 4] = value
        .value()
        .try_into()
        .map_err(|_| Fault::damaged("its version is no number"))?;
    Ok(Some(u32::from_le_bytes(bytes)))
}

/// Makes a new file, or one of an older version, one of this version.
fn mark(database: &Database) -> Result<(), Fault> {
    let transaction = begin(database)?;
    transaction
        .open_table(ABOUT)?
        .insert(VERSION_KEY, &VERSION.to_le_bytes()[..])?;
    transaction.open_table(LOG)?;
    transaction.open_table(CHUNKS)?;
    transaction.open_table(IDENTITIES)?;
    transaction.open_table(POLICIES)?;
    transaction.open_table(TWINS)?;
    transaction.open_table(MAILBOXES)?;
    transaction.open_table(MESSAGES)?;
    transaction.open_table(FEEDBACK)?;
    transaction.commit()?;
    Ok(())
}

/// In what the file says of itself: the place before which services are done with the feedback. An older program knows
/// nothing of it, and leaves it as it is.
pub(super) const FEEDBACK_DONE_KEY: &str = "feedback done";
const VERSION_KEY: &str = "version";
/// The version whose tables are all in the present one, which has some more.
const WITHOUT_TWINS: u32 = 1;
/// How much of the file is kept in memory, in bytes.
const CACHE: usize = 4 * 1024 * 1024;
