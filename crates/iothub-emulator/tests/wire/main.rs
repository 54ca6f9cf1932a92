//! The hub as its clients meet it: over sockets, from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;
mod door;
mod hostile;
mod https;
mod links;
mod messages;
mod raw;
mod telemetry;
