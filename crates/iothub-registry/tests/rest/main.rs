//! The client against the emulator, and against a peer that says what a test wants.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod emulator;
mod harness;
mod peer;
