//! What a hub keeps on disk: one file of an embedded database (redb) in the state directory.
//!
//! A thread of its own writes it: what the owner of the hub hands over while a commit runs goes into the next one, so
//! that one sync serves many. A commit is on the disk, synced, before it is reported.

mod archive;
mod error;
mod fault;
mod file;
mod form;
#[cfg(test)]
mod format_tests;
mod log;
mod restore;
mod service_form;
#[cfg(test)]
mod tests;
mod writer;

pub use error::StateError;
pub(crate) use restore::{Opened, open, read_kept};
pub(crate) use writer::{Batch, QUEUE, Report, Writer};

/// The file in the state directory.
pub const STATE_FILE: &str = "state.redb";

/// What the file's tables look like. It rises with any change that an older program would misread. A file of version 1
/// has neither twins nor messages for devices, and is made one of version 2 when it is opened.
const VERSION: u32 = 2;
