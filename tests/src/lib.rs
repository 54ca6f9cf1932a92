//! The harness that the tests across crates share.
#![forbid(unsafe_code)]

pub mod cloud;
pub mod faults;
pub mod frames;
pub mod kill;
pub mod memory;
pub mod proxy;
pub mod reactive;
pub mod scripted;
pub mod sections;
pub mod sim;
pub mod supervised;
pub mod tls;
pub mod transfers;
pub mod whole;

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
