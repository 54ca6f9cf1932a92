//! Why a state directory can't be used, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::VERSION;

/// Why the state in a directory can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another hub runs on it.
    #[error("{} is in use by another hub: stop that one, or take another state directory", .0.display())]
    InUse(PathBuf),
    /// A newer version of this program wrote it.
    #[error("{} has version {found}, and this program knows up to {VERSION}: run the newer program that wrote it, or take another state directory", .file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It is not what a hub wrote.
    #[error("{} is damaged ({what}): put a copy in its place, or move it away to begin with an empty hub", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A hub keeps its number of partitions for life: a device's events would lose their order.
    #[error("{} is a hub of {kept} partitions, and {asked} are asked for: ask for {kept}, or take another state directory", .file.display())]
    Partitions {
        /// The file.
        file: PathBuf,
        /// How many it has.
        kept: u16,
        /// How many were asked for.
        asked: u16,
    },
    /// The system would not read or write it.
    #[error("cannot use {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
