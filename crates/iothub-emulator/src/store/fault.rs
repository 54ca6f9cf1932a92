//! What went wrong below: the system's doing, or what the file holds.

use std::io;

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The system would not.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process has it.
    #[error("it is in use")]
    InUse,
    /// It holds something else than a hub wrote.
    #[error("{0}")]
    Damaged(String),
    /// It has another number of partitions.
    #[error("it has {kept} partitions, not {asked}")]
    Partitions { kept: u16, asked: u16 },
    /// A newer program wrote it.
    #[error("it has version {0}")]
    Newer(u32),
}

impl Fault {
    pub(super) fn damaged(what: impl std::fmt::Display) -> Self {
        Self::Damaged(what.to_string())
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse,
            // How the library says that this is no file of its own, or one that was cut short.
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::damaged(error)
            }
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo => Self::Io(io::Error::other("an earlier write has failed")),
            other => Self::damaged(other),
        }
    }
}

/// The library has an error type for each verb; all of them are a [`redb::Error`].
macro_rules! from_each {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_each!(
    CommitError,
    DatabaseError,
    StorageError,
    TableError,
    TransactionError
);
