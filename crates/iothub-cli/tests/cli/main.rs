//! The binary as a process, as people and scripts meet it: exit codes, standard streams, signals.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

#[cfg(unix)]
mod administration;
mod bad_input;
mod c2d;
#[cfg(unix)]
mod context;
mod doctor;
mod emulator;
mod events;
#[cfg(unix)]
mod examples;
#[cfg(target_os = "linux")]
mod flood;
mod harness;
#[cfg(unix)]
mod live;
mod manual;
mod offline;
mod operators;
#[cfg(unix)]
mod round;
mod secrets;
mod send;
#[cfg(unix)]
mod signals;
mod state;
#[cfg(unix)]
mod surroundings;
mod terminal;
#[cfg(unix)]
mod transcripts;
mod transfer;
mod watching;
mod ways;
mod wrong_uses;
