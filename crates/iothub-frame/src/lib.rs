#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "tokio"), no_std)]
#![forbid(unsafe_code)]

mod guard;
#[cfg(feature = "tokio")]
mod stream;
mod violation;
pub mod walk;
#[cfg(feature = "tokio")]
mod writer;

// The public interface:
pub use crate::guard::{FrameGuard, FrameLimits, MIN_MAX_FRAME_SIZE};
#[cfg(feature = "tokio")]
pub use crate::stream::{Blown, Fuse, Guarded, Limits};
pub use crate::violation::Violation;
