//! The harness that the tests across crates share.
#![forbid(unsafe_code)]

pub mod frames;
pub mod scripted;
