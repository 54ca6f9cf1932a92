//! What needs Azure Storage, of which there is none here: import and export jobs, and files that devices upload. All of it
//! is answered with 501, so that nobody takes it for done.

use super::code::Code;
use super::refusal::Refusal;

pub(super) fn jobs() -> Refusal {
    Refusal::new(
        Code::NotImplemented,
        "Import and export jobs need Azure Storage, and the emulator has none. Use its seed files and its export.",
    )
}

pub(super) fn files() -> Refusal {
    Refusal::new(
        Code::NotImplemented,
        "File upload needs Azure Storage, and the emulator has none.",
    )
}
